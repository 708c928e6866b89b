"""Batches of sequences of different lengths: padding them to one tensor, and packing them for recurrent layers."""

from collections import namedtuple

import rushlight as rl
from rushlight import Tensor

_Fields = namedtuple("PackedSequence", ("data", "batch_sizes", "sorted_indices", "unsorted_indices"))


class PackedSequence(_Fields):
    """Sequences laid out time step by time step: `data` holds the first elements of all sequences, then the second
    ones, and so on; `batch_sizes` counts how many sequences reach each step. Made by pack_padded_sequence.

    sorted_indices puts the caller's order into the decreasing order of lengths, unsorted_indices undoes it.
    """

    __slots__ = ()

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if batch_sizes is None:  # the two fields may come as one pair
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequences in "
                "nn.utils.rnn."
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def pin_memory(self):
        return self._with_data(self.data.pin_memory())

    def to(self, *args, **kwargs):
        """The data and the indices moved or converted, as Tensor.to does."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        return self._with_data(data)

    def _with_data(self, data):
        def follow(indices):
            return None if indices is None else indices.to(data.device)

        return type(self)(data, self.batch_sizes, follow(self.sorted_indices), follow(self.unsorted_indices))

    def cuda(self, *args, **kwargs):
        return self._with_data(self.data.cuda(*args, **kwargs))

    def cpu(self, *args, **kwargs):
        return self.to("cpu", *args, **kwargs)

    def double(self):
        return self.to(dtype=rl.double)

    def float(self):
        return self.to(dtype=rl.float)

    def half(self):
        return self.to(dtype=rl.half)

    def long(self):
        return self.to(dtype=rl.long)

    def int(self):
        return self.to(dtype=rl.int)

    def short(self):
        return self.to(dtype=rl.short)

    def char(self):
        return self.to(dtype=rl.int8)

    def byte(self):
        return self.to(dtype=rl.uint8)

    @property
    def is_cuda(self):
        return self.data.is_cuda

    def is_pinned(self):
        return self.data.is_pinned()


def invert_permutation(permutation):
    """The permutation that undoes the given one."""
    if permutation is None:
        return None
    inverse = rl.empty_like(permutation)
    inverse.scatter_(0, permutation, rl.arange(permutation.numel(), device=permutation.device))
    return inverse


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Packs a padded batch.

    Args:
        input: (time, batch, ...), or (batch, time, ...) with batch_first.
        lengths: the length of each sequence.
        enforce_sorted: require decreasing lengths; otherwise the sequences are sorted here.
    """
    if not isinstance(lengths, Tensor):
        lengths = rl.as_tensor(lengths, dtype=rl.int64, device="cpu")
    sorted_indices = None
    if not enforce_sorted:
        lengths, sorted_indices = rl.sort(lengths, descending=True)
        sorted_indices = sorted_indices.to(input.device)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    if batch_first:
        input = input.transpose(0, 1)
    sizes = [int(n) for n in lengths.tolist()]
    batch = input.size(1)
    if len(sizes) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={batch})"
        )
    if any(a < b for a, b in zip(sizes, sizes[1:])):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
    if sizes[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if sizes[0] > input.size(0):
        raise RuntimeError(
            f"Expected the longest length ({sizes[0]}) to be at most the padded length ({input.size(0)})"
        )
    # between two different lengths all steps have the same number of sequences: one block each
    blocks, batch_sizes, done = [], [], 0
    for count in range(batch, 0, -1):
        end = sizes[count - 1]
        if end > done:
            blocks.append(input[done:end, :count].reshape(-1, *input.shape[2:]))
            batch_sizes += [count] * (end - done)
            done = end
    return PackedSequence(rl.cat(blocks), rl.tensor(batch_sizes, dtype=rl.int64), sorted_indices, None)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """Undoes pack_padded_sequence: returns the padded batch and the lengths.

    Args:
        total_length: pad to this length instead of that of the longest sequence.
    """
    counts = sequence.batch_sizes.tolist()
    longest = len(counts)
    if total_length is not None:
        if total_length < longest:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {longest}"
            )
        longest = total_length
    batch = counts[0]
    data = sequence.data
    padded = data.new_full((longest, batch, *data.shape[1:]), padding_value)
    start = time = 0
    while time < len(counts):
        count, end = counts[time], time
        while end < len(counts) and counts[end] == count:
            end += 1
        steps = end - time
        block = data[start : start + steps * count]
        padded[time:end, :count] = block.view(steps, count, *data.shape[1:])
        start += steps * count
        time = end
    lengths = rl.tensor([sum(1 for c in counts if c > i) for i in range(batch)], dtype=rl.int64)
    if batch_first:
        padded = padded.transpose(0, 1)
    order = sequence.unsorted_indices
    if order is not None:
        return padded.index_select(0 if batch_first else 1, order), lengths[order.cpu()]
    return padded, lengths


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Stacks sequences (length, ...) into one tensor, padded to the longest."""
    if isinstance(sequences, Tensor):
        sequences = sequences.unbind(0)
    elif not hasattr(sequences, "__iter__"):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    longest = max(s.size(0) for s in sequences)
    padded = sequences[0].new_full((len(sequences), longest, *sequences[0].shape[1:]), padding_value)
    for i, s in enumerate(sequences):
        length = s.size(0)
        start = longest - length if padding_side == "left" else 0
        padded[i, start : start + length] = s
    return padded if batch_first else padded.transpose(0, 1).contiguous()


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """Undoes pad_sequence: a list of sequences."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [row[: int(length)] for row, length in zip(padded_sequences, lengths)]


def pack_sequence(sequences, enforce_sorted=True):
    """Packs a list of sequences (length, ...)."""
    lengths = rl.as_tensor([s.size(0) for s in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """Undoes pack_sequence: a list of sequences."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)

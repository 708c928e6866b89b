"""Padding with a constant or with the input's own values."""

import rushlight

from ... import _C
from ..._composite import core_first

_SUPPORTED = """Supported combinations for non-constant padding:
  - 2D or 3D input: padding size = 2 (pads last dimension)
  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)
  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"""


def _pairs(padding):
    """(before, after) of each padded dimension, the last dimension first as in the argument."""
    return list(zip(padding[::2], padding[1::2]))


def _check_input(input, n):
    if input.dim() not in (n + 1, n + 2) or 0 in input.shape[-n - 1 :]:
        raise RuntimeError(
            f"Expected {n + 1}D or {n + 2}D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(input.shape)}"
        )


def _take(input, padding, source):
    """Rebuild each padded dimension out of the positions that source(position, size) names."""
    for k, (before, after) in enumerate(_pairs(padding)):
        dim = input.dim() - 1 - k
        size = input.size(dim)
        if size + before + after < 1:
            letter = "WHD"[k]
            raise RuntimeError(
                f"input ({letter}: {size}) is too small. Calculated output {letter}: {size + before + after}"
            )
        places = [source(place, size) for place in range(-before, size + after)]
        input = input.index_select(dim, rushlight.tensor(places, device=input.device))
    return input


def _mirrored(place, size):
    place = abs(place)
    return place if place < size else 2 * (size - 1) - place


def _nearest(place, size):
    return min(max(place, 0), size - 1)


def _reflect(input, padding):
    n = len(padding) // 2
    _check_input(input, n)
    for k, (before, after) in enumerate(_pairs(padding)):
        dim = input.dim() - 1 - k
        if before >= input.size(dim) or after >= input.size(dim):
            raise RuntimeError(
                f"Argument #{2 * k + 4}: Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({before}, {after}) at dimension {dim} of input {list(input.shape)}"
            )
    return _take(input, padding, _mirrored)


def _replicate(input, padding):
    _check_input(input, len(padding) // 2)
    return _take(input, padding, _nearest)


_BORROWED = {
    ("reflect", 2): core_first("reflection_pad1d")(_reflect),
    ("reflect", 4): core_first("reflection_pad2d")(_reflect),
    ("reflect", 6): core_first("reflection_pad3d")(_reflect),
    ("replicate", 2): core_first("replication_pad1d")(_replicate),
    ("replicate", 4): core_first("replication_pad2d")(_replicate),
    ("replicate", 6): core_first("replication_pad3d")(_replicate),
}


def _circular(input, padding):
    """The input copied into a larger tensor, then the opposite borders copied into the margins."""
    shape = list(input.shape)
    for k, (before, after) in enumerate(_pairs(padding)):
        dim = input.dim() - 1 - k
        size = input.size(dim)
        if before > size or after > size:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        shape[dim] = size + before + after
        if shape[dim] < 0:
            raise RuntimeError("Negative padding value is resulting in an empty dimension")
    # a negative margin can leave elements that nothing is copied to
    output = input.new_zeros(shape) if min(padding) < 0 else input.new_empty(shape)
    inner = output
    source = input
    for k, (before, after) in enumerate(_pairs(padding)):
        dim = input.dim() - 1 - k
        skip_before, skip_after = max(-before, 0), max(-after, 0)
        source = source.narrow(dim, skip_before, input.size(dim) - skip_before - skip_after)
        inner = inner.narrow(dim, max(before, 0), source.size(dim))
    inner.copy_(source)
    # outermost padded dimension last, so that corners are filled from margins already written
    for k, (before, after) in reversed(list(enumerate(_pairs(padding)))):
        dim = input.dim() - 1 - k
        end = output.size(dim) - max(after, 0)
        if before > 0:
            output.narrow(dim, 0, before).copy_(output.narrow(dim, end - before, before))
        if after > 0:
            output.narrow(dim, end, after).copy_(output.narrow(dim, max(before, 0), after))
    return output


def pad(input, pad, mode="constant", value=None):
    """Pad the last len(pad) / 2 dimensions; pad lists (before, after) from the last dimension backwards.

    Args:
        mode: "constant", "reflect", "replicate" or "circular".
        value: what constant padding fills in, 0 by default.
    """
    pad = tuple(pad)
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) // 2 > input.dim():
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {input.dim()}"
        )
    if mode == "constant":
        return _C.constant_pad_nd(input, pad, 0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if len(pad) not in (2, 4, 6) or input.dim() - len(pad) // 2 not in (1, 2):
        if mode not in ("reflect", "replicate", "circular"):
            raise NotImplementedError(f"Unrecognised padding mode {mode}")
        raise NotImplementedError(
            f"Padding size {len(pad)} is not supported for {input.dim()}D input tensor.\n{_SUPPORTED}"
        )
    if mode == "circular":
        return _circular(input, pad)
    if mode not in ("reflect", "replicate"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    return _BORROWED[mode, len(pad)](input, pad)

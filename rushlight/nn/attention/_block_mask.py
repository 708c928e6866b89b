"""BlockMask: which blocks of (queries, keys) an attention has to look at, and how such masks are made."""

import inspect
import itertools

import rushlight as rl

_DEFAULT_SPARSE_BLOCK_SIZE = 128


def noop_mask(batch, head, token_q, token_kv):
    """The mask function that hides nothing."""
    return batch.new_ones(size=(), dtype=rl.bool, device=batch.device)


def _combine(mask_mods, join, start):
    if not all(callable(mod) for mod in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")

    def combined(b, h, q_idx, kv_idx):
        result = b.new_full((), start, dtype=rl.bool)
        for mod in mask_mods:
            result = join(result, mod(b, h, q_idx, kv_idx))
        return result

    return combined


def or_masks(*mask_mods):
    """A mask function that lets through what any of the given ones does."""
    return _combine(mask_mods, lambda a, b: a | b, False)


def and_masks(*mask_mods):
    """A mask function that lets through what all of the given ones do."""
    return _combine(mask_mods, lambda a, b: a & b, True)


def positions(batch, heads, q_len, kv_len, device=None):
    """Indices of batch, head, query and key that broadcast to (batch, heads, q_len, kv_len)."""
    index = [rl.arange(n, dtype=rl.int32, device=device) for n in (batch, heads, q_len, kv_len)]
    shapes = ((-1, 1, 1, 1), (1, -1, 1, 1), (1, 1, -1, 1), (1, 1, 1, -1))
    return tuple(i.view(shape) for i, shape in zip(index, shapes))


def create_mask(mod_fn, B, H, Q_LEN, KV_LEN, device=None):
    """The (B, H, Q_LEN, KV_LEN) values of a mask function; for a score function, its scores of zeros.

    Args:
        mod_fn: mask_mod(b, h, q_idx, kv_idx), or score_mod(score, b, h, q_idx, kv_idx). It gets tensors of indices
            that broadcast.
    """
    size = (1 if B is None else B, 1 if H is None else H, Q_LEN, KV_LEN)
    index = positions(*size, device)
    if _takes_score(mod_fn):
        values = mod_fn(rl.zeros(size, device=device), *index)
        return rl.where(rl.isneginf(values), False, True)
    return rl.as_tensor(mod_fn(*index)).expand(size)


def _takes_score(mod_fn):
    if not callable(mod_fn):
        raise TypeError(f"{mod_fn!r} is not a callable object")
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(mod_fn).parameters.values()
    count = sum(p.kind in kinds and p.default is p.empty for p in parameters)
    if count not in (4, 5):
        raise AssertionError(f"Expected 4 or 5 positional args, got {count}")
    return count == 5


def _as_lists(dense):
    """Numbers of blocks per row, and the columns of each row with the blocks to look at in front."""
    dense = dense.to(rl.int32)
    return (
        dense.sum(-1).to(rl.int32),
        dense.argsort(dim=-1, descending=True, stable=True).to(rl.int32).contiguous(),
    )


def _as_dense(counts, indices, columns):
    """The inverse of _as_lists, for a given number of columns."""
    dense = rl.zeros(*indices.shape[:-1], columns + 1, dtype=rl.int32, device=indices.device)
    used = rl.arange(indices.size(-1), device=indices.device) < counts.unsqueeze(-1)
    # entries behind the count say nothing: they go to an extra column
    return dense.scatter(-1, rl.where(used, indices, columns).long(), 1)[..., :columns].contiguous()


def create_block_mask(
    mask_mod,
    B,
    H,
    Q_LEN,
    KV_LEN,
    device=None,
    BLOCK_SIZE=_DEFAULT_SPARSE_BLOCK_SIZE,
    _compile=False,
    separate_full_blocks=True,
    compute_dq_write_order=False,
    dq_kv_order=True,
):
    """The BlockMask of a mask function.

    Args:
        mask_mod: mask_mod(b, h, q_idx, kv_idx), True where a query may look at a key.
        B, H: sizes of batch and heads, None for a mask that serves all.
        BLOCK_SIZE: size of a block of queries and keys, or a pair of sizes.
        separate_full_blocks: list blocks in which nothing is hidden by themselves.
        compute_dq_write_order, dq_kv_order: concern other devices.
    """
    if compute_dq_write_order:
        raise NotImplementedError("create_block_mask: compute_dq_write_order is not implemented")
    if _takes_score(mask_mod):
        raise AssertionError(f"create-block_mask requires a mask_mod function! Got {mask_mod}")
    block = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else tuple(BLOCK_SIZE)
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device)
    mask = rl.nn.functional.pad(mask, (0, -KV_LEN % block[1], 0, -Q_LEN % block[0]))
    batch, heads, rows, columns = mask.shape
    cells = mask.view(batch, heads, rows // block[0], block[0], columns // block[1], block[1]).sum((3, 5))
    full = cells == block[0] * block[1]
    some = (cells > 0) & ~full if separate_full_blocks else cells > 0
    counts, indices = _as_lists(some)
    full_lists = _as_lists(full) if separate_full_blocks else (None, None)
    return BlockMask.from_kv_blocks(counts, indices, *full_lists, block, mask_mod, (Q_LEN, KV_LEN))


class BlockMask:
    """The blocks of an attention matrix that are not hidden entirely. Made by create_block_mask or from_kv_blocks.

    Attributes:
        kv_num_blocks, kv_indices: per block of queries (B, H, rows), the number of blocks of keys in which mask_mod
            decides, and their positions (B, H, rows, columns), of which so many in front count.
        full_kv_num_blocks, full_kv_indices: the same for blocks in which nothing is hidden, or None.
        q_num_blocks, q_indices, full_q_num_blocks, full_q_indices: the same the other way round.
    """

    def __init__(
        self,
        seq_lengths,
        kv_num_blocks,
        kv_indices,
        full_kv_num_blocks,
        full_kv_indices,
        q_num_blocks,
        q_indices,
        full_q_num_blocks,
        full_q_indices,
        BLOCK_SIZE=(_DEFAULT_SPARSE_BLOCK_SIZE, _DEFAULT_SPARSE_BLOCK_SIZE),
        mask_mod=noop_mask,
    ):
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        pairs = {"kv": (full_kv_num_blocks, full_kv_indices), "q": (full_q_num_blocks, full_q_indices)}
        for name, (counts, indices) in pairs.items():
            if (counts is None) != (indices is None):
                raise AssertionError(
                    f"full_{name}_num_blocks and full_{name}_indices must be both provided or omitted"
                )
        self.seq_lengths = seq_lengths
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices
        self.q_num_blocks, self.q_indices = q_num_blocks, q_indices
        self.full_q_num_blocks, self.full_q_indices = full_q_num_blocks, full_q_indices
        self.BLOCK_SIZE, self.mask_mod = BLOCK_SIZE, mask_mod

    _TENSORS = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices",
                "q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices")  # fmt: skip

    @classmethod
    def from_kv_blocks(
        cls,
        kv_num_blocks,
        kv_indices,
        full_kv_num_blocks=None,
        full_kv_indices=None,
        BLOCK_SIZE=_DEFAULT_SPARSE_BLOCK_SIZE,
        mask_mod=None,
        seq_lengths=None,
        compute_q_blocks=True,
    ):
        """A BlockMask from the lists of blocks per block of queries; see the attributes of the class."""
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise AssertionError("full_kv_num_blocks and full_kv_indices must be both provided or omitted")
        block = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else tuple(BLOCK_SIZE)
        columns = kv_indices.size(-1)
        if seq_lengths is None:
            seq_lengths = (kv_indices.size(-2) * block[0], columns * block[1])
        by_key = full_by_key = (None, None)
        if compute_q_blocks:
            by_key = _as_lists(_as_dense(kv_num_blocks, kv_indices, columns).transpose(-2, -1))
            if full_kv_indices is not None:
                dense = _as_dense(full_kv_num_blocks, full_kv_indices, columns)
                full_by_key = _as_lists(dense.transpose(-2, -1))
        full = (full_kv_num_blocks, full_kv_indices)
        mask_mod = noop_mask if mask_mod is None else mask_mod
        return cls(seq_lengths, kv_num_blocks, kv_indices, *full, *by_key, *full_by_key, block, mask_mod)

    @property
    def shape(self):
        """(B, H, number of queries, number of keys)."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self):
        """The number of pairs of a query and a key."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    def sparsity(self):
        """The share of pairs, in percent, that need not be computed."""
        blocks = self.kv_num_blocks.sum().item()
        if self.full_kv_num_blocks is not None:
            blocks += self.full_kv_num_blocks.sum().item()
        return 100 * (1 - blocks * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1] / self.numel())

    def to_dense(self):
        """A tensor (B, H, rows, columns) of blocks, 1 where a block is not hidden entirely."""
        some, full = self._dense_parts()
        return some if full is None else some | full

    def _dense_parts(self):
        columns = self.kv_indices.size(-1)
        some = _as_dense(self.kv_num_blocks, self.kv_indices, columns)
        if self.full_kv_indices is None:
            return some, None
        return some, _as_dense(self.full_kv_num_blocks, self.full_kv_indices, columns)

    def allowed(self, index):
        """Where queries may look at keys, from the indices that positions() gives."""
        some, full = self._dense_parts()
        mask = self.mask_mod(*index) & self._spread(some)
        return mask if full is None else mask | self._spread(full)

    def _spread(self, blocks):
        rows, columns = self.seq_lengths
        wide = (
            blocks.bool().repeat_interleave(self.BLOCK_SIZE[0], -2).repeat_interleave(self.BLOCK_SIZE[1], -1)
        )
        return wide[..., :rows, :columns]

    def _adjust(self, new_q_len, new_kv_len):
        """The mask of the first new_q_len queries and new_kv_len keys."""
        rows, columns = -(-new_q_len // self.BLOCK_SIZE[0]), -(-new_kv_len // self.BLOCK_SIZE[1])
        some, full = self._dense_parts()
        lists = _as_lists(some[..., :rows, :columns])
        full_lists = (None, None) if full is None else _as_lists(full[..., :rows, :columns])
        lengths = (new_q_len, new_kv_len)
        return self.from_kv_blocks(*lists, *full_lists, self.BLOCK_SIZE, self.mask_mod, lengths)

    def __getitem__(self, index):
        """The mask of some batch entries and heads. mask_mod goes by indices within those."""
        index = index if isinstance(index, tuple) else (index,)
        index = tuple(slice(i, i + 1 or None) if isinstance(i, int) else i for i in index)
        picked = [None if t is None else t[index] for t in self._tensors()[:4]]
        return self.from_kv_blocks(
            *picked, self.BLOCK_SIZE, None, self.seq_lengths, self.q_indices is not None
        )

    def _tensors(self):
        return [getattr(self, name) for name in self._TENSORS]

    def as_tuple(self, flatten=True):
        """The lengths, the tensors, the size of blocks and mask_mod."""
        front, back = self.seq_lengths, self.BLOCK_SIZE
        if not flatten:
            front, back = (front,), (back,)
        return (*front, *self._tensors(), *back, self.mask_mod)

    def to(self, device):
        """The mask with its tensors on a device."""
        tensors = [None if t is None else t.to(device) for t in self._tensors()]
        return BlockMask(self.seq_lengths, *tensors, self.BLOCK_SIZE, self.mask_mod)

    def to_string(self, grid_size=(20, 20), limit=4):
        """A picture of the blocks, at most limit of (batch, head), with at most grid_size cells each."""
        dense = self.to_dense()
        rows, columns = dense.shape[-2:]
        wanted = (rows, columns) if grid_size == -1 else grid_size
        row_step, column_step = max(1, -(-rows // wanted[0])), max(1, -(-columns // wanted[1]))
        text = ""
        for number, where in enumerate(itertools.product(*map(range, dense.shape[:-2]))):
            if number == limit:
                text += "...\nTo print out more, set BlockMask.to_string(limit=N)\n"
                text += "You can also index (BlockMask[batch, head]) to choose a specific batch or head"
                break
            text += f"{where}\n"
            cells = dense[where].float()
            for r in range(0, rows, row_step):
                for c in range(0, columns, column_step):
                    share = cells[r : r + row_step, c : c + column_step].mean().item()
                    text += "██" if share == 1 else "  " if share == 0 else "░░"
                text += "\n"
            text += "\n"
        return text.rstrip("\n") if text.endswith("\n\n") else text

    def __str__(self):
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%, \n{self.to_string()}\n)"

    def __repr__(self):
        def form(value):
            return value.shape if isinstance(value, rl.Tensor) else value

        lines = [f"    {name}={form(getattr(self, name))}," for name in self._TENSORS]
        lines += [f"    BLOCK_SIZE={self.BLOCK_SIZE},", f"    shape={self.shape},"]
        lines += [f"    sparsity={self.sparsity():.2f}%,", f"    mask_mod={_name_of(self.mask_mod)}"]
        return "BlockMask(\n" + "\n".join(lines) + "\n)"


def _name_of(function):
    return getattr(function, "__name__", function)

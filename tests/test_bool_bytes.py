"""Bools made of bytes other than 0 and 1, as a view of other memory gives them: every such byte is True, in every operator."""

import numpy as np
import pytest

import rushlight as rl

BYTES = [[0, 1, 2, 255, 128, 0, 3], [0, 0, 1, 0, 16, 255, 0], [7, 1, 1, 2, 64, 1, 255]]

CODES = """x.sum()
x.sum(0)
x.sum(1)
x.any()
x.all()
x.any(1)
x.all(1)
x.count_nonzero()
x.prod(1)
x.float().mean()
x.cumsum(0)
x.cumsum(1)
x.cumprod(1)
x.cumsum(1, dtype=rl.bool)
x.max()
x.min()
x.amax(1)
x.amin(0)
x.max(1)
x.min(0)
x.sort(1, stable=True)
x.sort(1, stable=True, descending=True)
x.unique()
x.nonzero()
x.logical_not()
~x
x & y
x | y
x ^ y
x == y
x != y
x < y
x >= y
x == True
x.logical_and(y)
x.logical_xor(y)
x + y
x * y
x + 1
x * 2.5
x.t() + y.t()
x[:, ::2] + y[:, ::2]
rl.where(x, 1, 0)
rl.where(x, rl.ones(3, 7), rl.zeros(7))
rl.where(rl.tensor(True), x, y)
rl.masked_select(rl.arange(21).view(3, 7), x)
rl.arange(21).view(3, 7)[x]
rl.zeros(3, 7).masked_fill(x, 1.0)
x.to(rl.uint8)
x.to(rl.int8)
x.to(rl.int64)
x.to(rl.float16)
x.to(rl.float32)
x.to(rl.float64)
x.to(rl.complex64)
x.to(rl.float8_e4m3fn).float()
x.to(rl.uint16).int()
x.tolist()
x[0, 3].item()
bool(x[0, 3])
repr(x)
rl.cat([x, y]).long()
rl.cat([x, rl.ones(1, 7)])
x.diff(dim=1)
x.float() @ y.float().t()
x.maximum(y)
x.minimum(y)
x.clamp(0, 1)
x.trace()
rl.zeros(3, 7).index_put((x,), rl.tensor(2.0))
rl.zeros(7, dtype=rl.bool).index_add(0, rl.tensor([0, 1, 1]), x[0, 1:4])
rl.zeros(3, dtype=rl.bool).scatter_add(0, rl.tensor([0, 0, 2]), x[0, 1:4])
rl.zeros(3, dtype=rl.bool).scatter_reduce(0, rl.tensor([0, 0, 2]), x[0, 1:4], "amax")
x.gather(1, rl.tensor([[3], [2], [1]])).int()
rl.isin(rl.tensor([True, False]), x)
x.equal(z)
rl.equal(z, x)
x.mode(1).values
x.cummax(1)
x.bitwise_not()
x.sign()
x.isnan()
x.isreal()
x.square()
x.nan_to_num()
rl.logical_or(x, y)
x.repeat_interleave(2, 0).long()
x.tril().long()
x.flip(1).int()
x.double().std()
rl.nn.functional.scaled_dot_product_attention(rl.ones(1, 1, 3, 2), rl.ones(1, 1, 7, 2), rl.arange(14.0).view(1, 1, 7, 2), attn_mask=x)
x.numpy().view(np.uint8).astype(bool)""".splitlines()


def plain(result):
    """Nested lists of what a call returned; tensors of bool by truth, whatever their bytes."""
    if isinstance(result, rl.Tensor):
        values = result.int() if result.dtype is rl.bool else result
        return str(result.dtype), tuple(result.shape), values.tolist()
    if isinstance(result, (tuple, list)):
        return [plain(item) for item in result]
    return result.tolist() if isinstance(result, np.ndarray) else result


@pytest.mark.parametrize("code", CODES)
def test_every_byte_but_zero_is_true(code):
    odd, regular = (np.array(BYTES, np.uint8), (np.array(BYTES) != 0).astype(np.uint8))

    def run(first):
        x = rl.from_numpy(first.copy()).view(rl.bool)
        y = rl.from_numpy(np.roll(first, 2, 1).copy()).view(rl.bool)
        z = rl.from_numpy(regular.copy()).view(rl.bool)
        return plain(eval(code, {"rl": rl, "np": np, "x": x, "y": y, "z": z}))

    assert run(odd) == run(regular)

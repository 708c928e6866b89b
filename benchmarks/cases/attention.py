"""Scaled dot product attention on 2 x 8 x 512 x 64 and on a long sequence."""

from benchmarks.timing import Case


def attention(length, causal, backward):
    grad = ", requires_grad=True" if backward else ""
    setup = (
        f"q, k, v = (torch.randn(2, 8, {length}, 64{grad}) for _ in range(3)); g = torch.randn(2, 8, {length}, 64)\n"
        "f = torch.nn.functional.scaled_dot_product_attention"
    )
    call = f"f(q, k, v, is_causal={causal})"
    name = f"2 x 8 x {length} x 64{', causal' * causal}{', forward and backward' * backward}"
    stmt = f"q.grad = k.grad = v.grad = None; {call}.backward(g)" if backward else call
    return Case(
        name,
        setup,
        stmt,
        floor=1.5,
        flop=(2 if not backward else 7) * 2 * 2 * 8 * length**2 * 64 / (1 + causal),
    )


CASES = [attention(length, causal, backward)
         for length in (512, 2048) for causal in (False, True) for backward in (False, True)]  # fmt: skip

SHORT = """
The limit is that of multiply-adds. The matrix unit, where there is one, needs 16 cycles for a product of tiles by itself, and
20 with the loading of tiles from the first-level cache; inside attention it reaches about 25. The exponentials and the
splitting of probabilities are half as much work as the products, and only a part of it is hidden behind them. Blocks of 64, 128
or 256 keys make no difference. Without the unit the register tile delivers 85-90 % of the multiply-adds on panels of 64 terms,
which is 1.2 times PyTorch's speed without a causal mask. Causal attention computes only the tiles up to the diagonal.
"""

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
The register tile of the matrix product delivers 85-90 % of the machine's multiply-adds on panels of 64 terms, and the
exponentials of the scores take another tenth of the time (twelve operations for sixteen of them): without a causal mask
half as much again as PyTorch's speed is above what this machine can do in float32. Tried: blocks of 128 keys instead of 256
(4 % slower: the running sums are rescaled more often), and no fetching ahead in the tile (no difference). Causal attention
computes only the tiles up to the diagonal.
"""

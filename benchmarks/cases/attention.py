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

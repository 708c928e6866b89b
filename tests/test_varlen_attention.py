"""nn.attention.varlen: sequences one after the other against attention with masks in NumPy."""

import math

import numpy as np
import pytest

import rushlight as torch
from rushlight.nn.attention.varlen import AuxRequest, varlen_attn


def reference(q, k, v, starts_q, starts_k, window, used=None):
    """Outputs (Tq, H, D) and logsumexp (Tq, H), with loops."""
    out, lse = np.zeros((*q.shape[:2], v.shape[-1])), np.zeros(q.shape[:2])
    share = q.shape[1] // k.shape[1]
    for n in range(len(starts_q) - 1):
        q0, q1, k0, k1 = starts_q[n], starts_q[n + 1], starts_k[n], starts_k[n + 1]
        k1 = k1 if used is None else k0 + used[n]
        for h in range(q.shape[1]):
            for i in range(q0, q1):
                place = (i - q0) + (k1 - k0) - (q1 - q0)
                seen = [j for j in range(k0, k1) if (window[0] < 0 or j - k0 >= place - window[0])
                        and (window[1] < 0 or j - k0 <= place + window[1])]  # fmt: skip
                scores = np.array([q[i, h] @ k[j, h // share] for j in seen]) / math.sqrt(q.shape[-1])
                weights = np.exp(scores)
                lse[i, h] = np.log(weights.sum())
                out[i, h] = sum(w * v[j, h // share] for w, j in zip(weights, seen)) / weights.sum()
    return out, lse


@pytest.mark.parametrize("window", [(-1, -1), (-1, 0), (2, 0), (1, 1)])
@pytest.mark.parametrize("heads", [2, 4])
def test_against_loops(window, heads):
    torch.manual_seed(0)
    q = torch.randn(9, heads, 8)
    k, v = torch.randn(11, 2, 8), torch.randn(11, 2, 8)
    starts_q, starts_k = [0, 3, 5, 9], [0, 4, 6, 11]
    out, lse = varlen_attn(
        q, k, v, torch.tensor(starts_q), torch.tensor(starts_k), 4, 5,
        window_size=window, enable_gqa=heads != 2, return_aux=AuxRequest(lse=True),
    )  # fmt: skip
    expected, sums = reference(q.numpy(), k.numpy(), v.numpy(), starts_q, starts_k, window)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(lse.numpy(), sums, rtol=1e-4, atol=1e-5)


def test_sequences_do_not_see_each_other_and_have_gradients():
    x = torch.randn(6, 1, 4, dtype=torch.float64, requires_grad=True)
    starts = torch.tensor([0, 2, 6], dtype=torch.int32)

    def attend(x):
        return varlen_attn(x, x, x, starts, None, 4, 4, window_size=(-1, 0))

    (g,) = torch.autograd.grad(attend(x)[:2].sum(), x)
    assert (g[2:] == 0).all() and (g[:2] != 0).any()
    torch.autograd.gradcheck(attend, (x,))


def test_only_the_keys_in_use_count():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 4), torch.randn(10, 1, 4)
    out = varlen_attn(
        q, k, k, torch.tensor([0, 1, 2]), torch.tensor([0, 5, 10]), 1, 5, seqused_k=torch.tensor([2, 4])
    )
    expected, _ = reference(q.numpy(), k.numpy(), k.numpy(), [0, 1, 2], [0, 5, 10], (-1, -1), [2, 4])
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_arguments():
    q, k = torch.randn(4, 4, 8), torch.randn(4, 3, 8)
    starts = torch.tensor([0, 4])
    with pytest.raises(ValueError, match="enable_gqa"):
        varlen_attn(q, k, k, starts, starts, 4, 4)
    with pytest.raises(ValueError, match="rises from 0"):
        varlen_attn(q, q, q, torch.tensor([0, 9]), starts, 4, 4)
    with pytest.raises(NotImplementedError, match="block_table"):
        varlen_attn(q, q, q, starts, starts, 4, 4, block_table=torch.zeros(1, 1))

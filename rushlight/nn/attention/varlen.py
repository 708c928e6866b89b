"""Attention over sequences of different lengths that lie one after the other in one tensor, without padding."""

import math
from typing import NamedTuple

import rushlight as rl

from ..functional import scaled_dot_product_attention

__all__ = ["AuxRequest", "varlen_attn"]


class AuxRequest(NamedTuple):
    """What varlen_attn() shall return beside the output."""

    lse: bool = False


def _bounds(cumulative, total, name):
    bounds = cumulative.tolist()
    if cumulative.dim() != 1 or len(bounds) < 1 or bounds[0] != 0 or bounds[-1] > total or sorted(bounds) != bounds:
        raise ValueError(f"varlen_attn: {name} must be a vector that rises from 0 to at most {total}, got {bounds}")
    return bounds


def _visible(queries, keys, window):
    """Which keys each query sees, the last ones of both facing each other; None for all."""
    left, right = window
    if left < 0 and right < 0:
        return None
    distance = rl.arange(keys) - (rl.arange(queries) + (keys - queries)).unsqueeze(1)
    mask = rl.ones(queries, keys, dtype=rl.bool)
    if left >= 0:
        mask = mask & (distance >= -left)
    return mask & (distance <= right) if right >= 0 else mask


def varlen_attn(
    query,
    key,
    value,
    cu_seq_q,
    cu_seq_k,
    max_q,
    max_k,
    *,
    return_aux=None,
    scale=None,
    window_size=(-1, -1),
    enable_gqa=False,
    seqused_k=None,
    block_table=None,
    num_splits=None,
):
    """scaled_dot_product_attention within each of N sequences.

    Args:
        query: (Tq, Hq, D), all sequences' tokens one after the other; key and value: (Tk, Hkv, D).
        cu_seq_q, cu_seq_k: (N + 1) positions at which the sequences begin, and the end.
        max_q, max_k: the longest sequence's length; accepted, the positions say it.
        return_aux: with AuxRequest(lse=True) also the logarithm of the sum of exponentials of the scores, (Tq, Hq).
        scale: 1 / sqrt(D) by default.
        window_size: how far to the left and to the right of its own position a query sees; -1 without limit.
            (-1, 0) is causal. The last query faces the last key.
        enable_gqa: key and value may have fewer heads, each for Hq / Hkv heads of query.
        seqused_k: (N) how many of each sequence's keys count.
        block_table: not implemented (keys in pages).
        num_splits: accepted; a sequence's result never depends on the others.

    Returns (Tq, Hq, D).
    """
    if block_table is not None:
        raise NotImplementedError("varlen_attn: block_table (keys in pages) is not implemented")
    if query.dim() != 3 or key.dim() != 3 or value.dim() != 3:
        raise ValueError("varlen_attn: query, key and value must have the shape (tokens, heads, features)")
    heads, shared = query.shape[1], key.shape[1]
    if heads != shared and not (enable_gqa and shared and heads % shared == 0):
        raise ValueError(f"varlen_attn: {heads} heads of query and {shared} of key need enable_gqa=True and a multiple")
    starts_q = _bounds(cu_seq_q, query.shape[0], "cu_seq_q")
    starts_k = starts_q if cu_seq_k is None else _bounds(cu_seq_k, key.shape[0], "cu_seq_k")
    if len(starts_q) != len(starts_k):
        raise ValueError(f"varlen_attn: {len(starts_q) - 1} sequences of queries, but {len(starts_k) - 1} of keys")
    used = None if seqused_k is None else seqused_k.tolist()
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    outputs, sums = [], []
    for i, (q0, q1, k0, k1) in enumerate(zip(starts_q, starts_q[1:], starts_k, starts_k[1:])):
        if used is not None:
            k1 = min(k1, k0 + used[i])  # noqa: PLW2901
        q, k, v = query[q0:q1].transpose(0, 1), key[k0:k1].transpose(0, 1), value[k0:k1].transpose(0, 1)  # (H, T, D)
        if heads != shared:
            k, v = k.repeat_interleave(heads // shared, 0), v.repeat_interleave(heads // shared, 0)
        mask = _visible(q1 - q0, k1 - k0, window_size)
        outputs.append(scaled_dot_product_attention(q, k, v, mask, scale=scale).transpose(0, 1))
        if return_aux is not None and return_aux.lse:
            scores = (q @ k.transpose(1, 2)).float() * scale
            if mask is not None:
                scores = scores.masked_fill(~mask, -math.inf)
            sums.append(scores.logsumexp(-1).transpose(0, 1))
    rest = query.shape[0] - starts_q[-1]
    if rest or not outputs:
        outputs.append(query.new_zeros(rest, heads, value.shape[-1]))
    output = rl.cat(outputs)
    if return_aux is None or not return_aux.lse:
        return output
    if rest or not sums:
        sums.append(rl.full((rest, heads), -math.inf))
    return output, rl.cat(sums)

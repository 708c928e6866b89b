"""Attention whose scores a function changes and whose pairs a function hides (Dong et al., 2024), out of operators.

The functions are called once, with tensors of indices that broadcast, so that they have to be made of tensor
operators. The whole (queries, keys) matrix of scores is made; BlockMask saves no work here.
"""

import math
from typing import NamedTuple, TypedDict

import rushlight as rl

from ._block_mask import _DEFAULT_SPARSE_BLOCK_SIZE as _DEFAULT_SPARSE_BLOCK_SIZE
from ._block_mask import BlockMask as BlockMask
from ._block_mask import and_masks as and_masks
from ._block_mask import create_block_mask as create_block_mask
from ._block_mask import create_mask as create_mask
from ._block_mask import noop_mask as noop_mask
from ._block_mask import or_masks as or_masks
from ._block_mask import positions


class AuxRequest(NamedTuple):
    """Which further results flex_attention returns."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """Further results: the logarithm of each query's sum of exponentials, and its largest score."""

    lse: "rl.Tensor | None" = None
    max_scores: "rl.Tensor | None" = None


class FlexKernelOptions(TypedDict, total=False):
    """Settings of kernels on other devices, accepted and without effect."""

    num_warps: int
    num_stages: int
    BLOCK_M: int
    BLOCK_N: int
    PRESCALE_QK: bool
    ROWS_GUARANTEED_SAFE: bool
    BLOCKS_ARE_CONTIGUOUS: bool
    FORCE_USE_FLEX_ATTENTION: bool
    BACKEND: str


def flex_attention(
    query,
    key,
    value,
    score_mod=None,
    block_mask=None,
    scale=None,
    enable_gqa=False,
    return_lse=False,
    kernel_options=None,
    *,
    return_aux=None,
):
    """softmax(score_mod(query @ key.T * scale)) @ value over the pairs that block_mask allows.

    Args:
        query: (B, Hq, L, E); key: (B, Hkv, S, E); value: (B, Hkv, S, Ev).
        score_mod: score_mod(score, b, h, q_idx, kv_idx), the score that counts.
        block_mask: a BlockMask; a query that may look nowhere gets zeros.
        scale: 1 / sqrt(E) by default.
        enable_gqa: several heads of query share one head of key and value.
        return_aux: an AuxRequest; the result is then (output, AuxOutput).
        return_lse: return (output, lse); the older form of return_aux.

    >>> q = rl.ones(1, 1, 2, 4)
    >>> rl.nn.attention.flex_attention.flex_attention(q, q, q, score_mod=lambda s, b, h, i, j: s - (i - j)).shape
    torch.Size([1, 1, 2, 4])
    """
    if return_lse and return_aux is not None:
        raise ValueError(
            "Cannot specify both return_lse and return_aux. return_lse is deprecated, please use "
            "return_aux=AuxRequest(lse=True) instead."
        )
    _check(query, key, value, block_mask, enable_gqa)
    share = query.size(1) // max(1, key.size(1))
    if share > 1:
        key, value = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
    working = rl.float64 if query.dtype == rl.float64 else rl.float32
    if scale is None:
        scale = 1.0 / math.sqrt(query.size(-1))
    scores = query.to(working) @ key.to(working).transpose(-2, -1) * scale  # (B, Hq, L, S)
    index = positions(*scores.shape, query.device)
    if score_mod is not None:
        scores = score_mod(scores, *index)
    if block_mask is not None:
        scores = rl.where(block_mask.allowed(index), scores, -math.inf)
    lse = scores.logsumexp(-1)
    nowhere = lse == -math.inf
    weights = rl.exp(scores - rl.where(nowhere, 0.0, lse).unsqueeze(-1))
    output = (weights @ value.to(working)).to(query.dtype)
    if return_lse:
        return output, lse
    if return_aux is None:
        return output
    return output, AuxOutput(
        lse if return_aux.lse else None, scores.amax(-1) if return_aux.max_scores else None
    )


def _check(query, key, value, block_mask, enable_gqa):
    if not query.dim() == key.dim() == value.dim() == 4:
        raise NotImplementedError("NYI: query, key, and value must be 4D tensors")
    heads, shared = query.size(1), key.size(1)
    if not enable_gqa and heads != shared:
        raise ValueError(
            "Expect query and key/value to have the same number of heads "
            f"but got Hq={heads} and Hkv={shared}. Try setting enable_gqa=True for GQA."
        )
    if enable_gqa and heads % shared:
        raise ValueError(
            "Expect number of query heads to be a multiple of kv heads for GQA "
            f"but got Hq={heads} and Hkv={shared}."
        )
    if query.size(-1) != key.size(-1):
        raise ValueError(
            "Expect query and key/value to have the same embedding dimension "
            f"but got E={query.size(-1)} and E={key.size(-1)}."
        )
    lengths = query.size(-2), key.size(-2)
    if block_mask is not None and tuple(block_mask.seq_lengths) != lengths:
        made = tuple(block_mask.seq_lengths)
        start = (
            f"block_mask was created for block_mask.shape={block_mask.shape} "
            f"but got q_len={lengths[0]} and kv_len={lengths[1]}. "
        )
        if made[0] < lengths[0] or made[1] < lengths[1]:
            raise ValueError(
                start
                + "As the block mask was created for a smaller length than you're using it for, you likely "
                "need to create a new block mask."
            )
        raise ValueError(
            start
            + "As the block mask was created for a larger length than you're using it for, you can either "
            "1. create a new block mask with the correct length, or 2. 'adjust' the existing block mask to the correct "
            "length by calling block_mask._adjust(q_len, kv_len). This essentially 'crops' the block mask to the "
            "upper left corner, which does not work for all mask_mods!"
        )

"""Scaled dot-product and multi-head attention."""

import math
import warnings

import rushlight

from ... import _C
from ..._composite import core_first
from .activation import softmax
from .dropout import dropout
from .linear import linear


@core_first("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, enable_gqa=False
):
    """softmax(query @ key.T * scale + mask) @ value, for queries (..., L, E), keys (..., S, E), values (..., S, V).

    Args:
        attn_mask: added to the scores, or boolean with False where a query must not look.
        is_causal: mask every key after the query's own position.
        scale: 1 / sqrt(E) by default.
        enable_gqa: several heads of query share one head of key and value.
    """
    if min(query.dim(), key.dim(), value.dim()) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{query.dim()} key.dim: {key.dim()} and value.dim: {value.dim()} instead."
        )
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
        )
    if enable_gqa:
        share = query.size(-3) // key.size(-3)
        key, value = key.repeat_interleave(share, -3), value.repeat_interleave(share, -3)
    if scale is None:
        scale = 1.0 / math.sqrt(query.size(-1))
    scores = query.matmul(key.transpose(-2, -1)) * scale
    if is_causal:
        attn_mask = rushlight.ones(scores.shape[-2:], dtype=rushlight.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == rushlight.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    weights = softmax(scores, -1)
    if attn_mask is not None:
        # a query that may look nowhere gets zeros instead of 0 / 0
        weights = weights.masked_fill((scores == -math.inf).all(-1, keepdim=True), 0.0)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p)
    return weights.matmul(value)


def _additive_mask(mask, name, other, other_name, dtype, check_other=True):
    """A mask as numbers to add to the scores: -inf where a boolean mask is True."""
    if mask is None:
        return None
    if mask.dtype != rushlight.bool and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if check_other and other is not None and mask.dtype != other.dtype:
        warnings.warn(
            f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead.",
            stacklevel=3,
        )
    if mask.dtype == rushlight.bool:
        return rushlight.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)
    return mask


def _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads):
    """Raise unless all are batched (3-d) or all are not (2-d); return which."""
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query tensor"
        )
    batched = query.dim() == 3
    kind, rank = ("batched (3-D)", 3) if batched else ("unbatched (2-D)", 2)
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {rank}-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != rank - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {rank - 1}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(
                f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D "
                "tensor instead"
            )
        expected = (num_heads, query.size(0), key.size(0))
        if not batched and attn_mask.dim() == 3 and tuple(attn_mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}")
    return batched


def _project(query, key, value, weight, bias):
    """Queries, keys and values out of one stacked weight; one product where the inputs are the same tensor."""
    size = query.size(-1)
    if query is key and key is value:
        return linear(query, weight, bias).split(size, -1)
    biases = (None,) * 3 if bias is None else bias.split(size)
    return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), weight.split(size), biases))


def _grow(mask, columns=1):
    """A mask with more columns, in which nothing is hidden."""
    return None if mask is None else _C.constant_pad_nd(mask, (0, columns), 0)


def multi_head_attention_forward(
    query,
    key,
    value,
    embed_dim_to_check,
    num_heads,
    in_proj_weight,
    in_proj_bias,
    bias_k,
    bias_v,
    add_zero_attn,
    dropout_p,
    out_proj_weight,
    out_proj_bias,
    training=True,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    use_separate_proj_weight=False,
    q_proj_weight=None,
    k_proj_weight=None,
    v_proj_weight=None,
    static_k=None,
    static_v=None,
    average_attn_weights=True,
    is_causal=False,
):
    """Attention of several heads on projections of query, key and value: (output, weights or None).

    Shapes are (L, N, E) for the query, (S, N, E) for key and value, or the same without N.
    nn.MultiheadAttention explains the arguments.
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, batch, embed_dim = query.shape
    source = key.size(0)
    if key_padding_mask is not None:
        for dim, size in enumerate((batch, source)):
            if key_padding_mask.size(dim) != size:
                raise AssertionError(
                    f"Expected key_padded_mask.shape[{dim}] to be {size}, but got {key_padding_mask.size(dim)}"
                )
    key_padding_mask = _additive_mask(
        key_padding_mask, "key_padding_mask", attn_mask, "attn_mask", query.dtype
    )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None  # the flag alone says it
    else:
        attn_mask = _additive_mask(attn_mask, "attn_mask", None, "", query.dtype, check_other=False)
        is_causal = is_causal and key_padding_mask is None and not need_weights
    if embed_dim != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}"
        )
    head_dim = embed_dim // num_heads
    if head_dim * num_heads != embed_dim:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            )
    elif key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")

    if use_separate_proj_weight:
        for name, weight in (("q", q_proj_weight), ("k", k_proj_weight), ("v", v_proj_weight)):
            if weight is None:
                raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
        biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))
    else:
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias)

    if attn_mask is not None:
        if attn_mask.dim() == 2:
            expected = (length, source)
            attn_mask_rank = 2
        else:
            expected = (batch * num_heads, length, source)
            attn_mask_rank = 3
        if tuple(attn_mask.shape) != expected:
            raise RuntimeError(
                f"The shape of the {attn_mask_rank}D attn_mask is {attn_mask.shape}, but should be {expected}."
            )
        if attn_mask_rank == 2:
            attn_mask = attn_mask.unsqueeze(0)
    if bias_k is not None and bias_v is not None:
        k = rushlight.cat([k, bias_k.repeat(1, batch, 1)])
        v = rushlight.cat([v, bias_v.repeat(1, batch, 1)])
        attn_mask, key_padding_mask = _grow(attn_mask), _grow(key_padding_mask)

    def heads(x):  # (S, N, E) to (N * heads, S, head_dim)
        return x.reshape(x.size(0), batch * num_heads, head_dim).transpose(0, 1)

    q = heads(q)
    k = heads(k) if static_k is None else static_k
    v = heads(v) if static_v is None else static_v
    if add_zero_attn:
        zeros = k.new_zeros(batch * num_heads, 1, head_dim)
        k, v = rushlight.cat([k, zeros], 1), rushlight.cat([v, zeros], 1)
        attn_mask, key_padding_mask = _grow(attn_mask), _grow(key_padding_mask)
    source = k.size(1)

    if key_padding_mask is not None:
        hidden = key_padding_mask.view(batch, 1, 1, source).expand(-1, num_heads, -1, -1)
        hidden = hidden.reshape(batch * num_heads, 1, source)
        attn_mask = hidden if attn_mask is None else attn_mask + hidden
    if not training:
        dropout_p = 0.0

    if need_weights:
        scores = (q * math.sqrt(1.0 / head_dim)).bmm(k.transpose(-2, -1))
        if attn_mask is not None:
            scores = scores + attn_mask
        weights = softmax(scores, -1)
        if dropout_p > 0.0:
            weights = dropout(weights, dropout_p)
        output = weights.bmm(v)  # (N * heads, L, head_dim)
    else:

        def split(x):
            return x.view(batch, num_heads, x.size(1), head_dim)

        if attn_mask is not None:
            if attn_mask.size(0) == 1 and attn_mask.dim() == 3:
                attn_mask = attn_mask.unsqueeze(0)
            else:
                attn_mask = attn_mask.view(batch, num_heads, -1, source)
        output = scaled_dot_product_attention(split(q), split(k), split(v), attn_mask, dropout_p, is_causal)
        output = output.reshape(batch * num_heads, length, head_dim)
    output = output.transpose(0, 1).reshape(length * batch, embed_dim)
    output = linear(output, out_proj_weight, out_proj_bias).view(length, batch, embed_dim)
    if not batched:
        output = output.squeeze(1)
    if not need_weights:
        return output, None
    weights = weights.view(batch, num_heads, length, source)
    if average_attn_weights:
        weights = weights.mean(1)
    return output, weights if batched else weights.squeeze(0)

"""Causal masks for scaled_dot_product_attention that know what they are."""

import enum
import warnings

import rushlight


class CausalVariant(enum.IntEnum):
    """Where the diagonal of a causal mask begins if it is not square."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(rushlight.Tensor):
    """A causal mask of (seq_len_q, seq_len_kv) that is made when scaled_dot_product_attention needs it.

    >>> from rushlight.nn.attention.bias import causal_lower_right
    >>> causal_lower_right(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """

    def __new__(cls, variant, seq_len_q, seq_len_kv):
        return rushlight.empty(0).as_subclass(cls)

    def __init__(self, variant, seq_len_q, seq_len_kv):
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"variant must be a CausalVariant, got {type(variant).__name__}")
        self.variant, self.seq_len_q, self.seq_len_kv = variant, seq_len_q, seq_len_kv
        if seq_len_q > seq_len_kv and variant == CausalVariant.LOWER_RIGHT:
            warnings.warn(
                "Lower right causal bias will produce NaNs in the output when seq_len_q > seq_len_kv!",
                stacklevel=3,
            )

    def _materialize(self, device=None):
        shift = self.seq_len_kv - self.seq_len_q if self.variant == CausalVariant.LOWER_RIGHT else 0
        ones = rushlight.ones(self.seq_len_q, self.seq_len_kv, dtype=rushlight.bool, device=device)
        return ones.tril(diagonal=shift)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "scaled_dot_product_attention":
            return cls._attend(*args, **kwargs)
        return super().__torch_function__(func, types, args, kwargs)

    @staticmethod
    def _attend(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **options):
        if is_causal:
            raise ValueError("CausalBias should not be used with causal=True")
        attend = rushlight.nn.functional.scaled_dot_product_attention
        if attn_mask.variant == CausalVariant.UPPER_LEFT or attn_mask.seq_len_q == attn_mask.seq_len_kv:
            return attend(query, key, value, None, dropout_p, True, **options)
        return attend(query, key, value, attn_mask._materialize(query.device), dropout_p, **options)

    def __repr__(self):
        return repr(self._materialize())


def causal_upper_left(*size):
    """A causal mask whose diagonal begins in the upper left corner: query i sees the keys 0..i."""
    if len(size) != 2:
        raise AssertionError(f"causal_upper_left only supports 2D tensors, got {len(size)}D")
    return CausalBias(CausalVariant.UPPER_LEFT, *size)


def causal_lower_right(*size):
    """A causal mask whose diagonal ends in the lower right corner: the last query sees all keys."""
    if len(size) != 2:
        raise AssertionError(f"causal_lower_right only supports 2D tensors, got {len(size)}D")
    return CausalBias(CausalVariant.LOWER_RIGHT, *size)

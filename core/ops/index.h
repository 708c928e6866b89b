// Operators on indices that other formulas use.
#pragma once
#include "op/op.h"

namespace rushlight::ops {

// Zeros of the given sizes with values added at t[indices]; differentiable.
Tensor zeros_with(IntSpan sizes, const Value& indices, const Tensor& values);
// Masks become the indices of their true elements, other integers int64; raises for anything else.
TensorList plain_indices(const Tensor& t, std::span<const Tensor> indices);
// Zeros of the given sizes that take no memory: one element, broadcast. Where values are added to them, the operators below
// do not read them. is_spread_zero: whether t is such a tensor, or looks like one.
Tensor spread_zero(IntSpan sizes, Dtype dtype);
bool is_spread_zero(const Tensor& t);
// Positions of the nonzero elements of t, (n, ndim).
Tensor nonzero_positions(const Tensor& t);
// t itself, or its values as a contiguous tensor of another dtype or broadcast to sizes. Not recorded.
Tensor packed(const Tensor& t, Dtype dtype, IntSpan sizes);
inline Tensor packed(const Tensor& t) { return packed(t, t.dtype(), t.sizes()); }

extern const Op &gather, &index_add, &scatter_add;

}  // namespace rushlight::ops

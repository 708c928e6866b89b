// Matrix products that other formulas use, and the kernel-level product of strided tensors.
#pragma once
#include "op/op.h"

namespace rushlight::ops {

extern const Op &mm, &bmm, &mv, &dot, &addmm, &baddbmm, &matmul, &linear;

// out (+)= a @ b for matrices, or for batches of them (3-d), of any strides; rows of out are contiguous. `name` is the kernel's
// name in the error for dtypes without a product (bool).
void multiply(const Tensor& out, const Tensor& a, const Tensor& b, bool accumulate, const char* name);

// Gradients of a @ b with respect to a and b, whose sizes and strides are given: in a's and b's own memory order.
Tensor left_gradient(const Tensor& g, const Tensor& b, IntSpan sizes, IntSpan strides);
Tensor right_gradient(const Tensor& g, const Tensor& a, IntSpan sizes, IntSpan strides);

// Raises PyTorch's error unless a tensor of these sizes expands to `target`.
void check_expands(const Tensor& t, IntSpan target);
// The last two dimensions exchanged, differentiable, complex numbers conjugated.
Tensor adjoint(const Tensor& t);

}  // namespace rushlight::ops

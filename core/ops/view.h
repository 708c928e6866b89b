// Helpers about views that other formulas and rules use.
#pragma once
#include "op/op.h"

namespace rushlight::ops {

// Strides that show t under other sizes without a copy; false where there are none.
bool view_strides(const Tensor& t, IntSpan sizes, Dims& strides);
// Replaces the -1 in a requested shape; PyTorch's errors where the shape does not fit.
Dims infer_size(IntSpan wanted, int64_t numel);
// Differentiable: a view where possible, a copy otherwise.
Tensor reshape(const Tensor& x, IntSpan sizes);
Tensor contiguous_copy(const Tensor& x);
// Raises unless the geometry lies inside t's storage.
void check_bounds(const Tensor& t, IntSpan sizes, IntSpan strides, int64_t offset);

}  // namespace rushlight::ops

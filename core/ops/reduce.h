// What the reduction blocks share: wrapping of dims, output sizes, gradients back to the input's size.
#pragma once
#include "op/op.h"

namespace rushlight::ops {

// The dims argument wrapped; none or an empty list means all dimensions. Raises for repeated dims.
Dims reduced_dims(const Value& dims, int64_t ndim);
Dims reduced_sizes(IntSpan sizes, const Dims& dims, bool keepdim);
// x (a result, or its gradient) with the reduced dimensions put back as size one.
Tensor restore_dims(const Tensor& x, IntSpan input_sizes, const Dims& dims, bool keepdim);
// ... and repeated to the input's size.
Tensor expand_back(const Tensor& g, IntSpan input_sizes, const Dims& dims, bool keepdim);

}  // namespace rushlight::ops

// Helpers of operators that make tensors: memory formats, and the check of a number against a dtype.
#pragma once
#include "op/op.h"

namespace rushlight::ops {

enum class Format { preserve, contiguous, channels_last, channels_last_3d };
// What a memory_format= argument names; preserve where it was left out.
Format format_of(const Value& v);
// Strides of a fresh tensor in that format; false where they are the contiguous ones.
bool format_strides(Format f, IntSpan sizes, Dims& strides);
// Raises where the number has no value in dtype d: complex for a real dtype, or out of an integer's range.
void check_fits(const Value& number, Dtype d);
// Output 0 shaped and strided like argument 0, with the dtype, device and memory_format arguments that start at dtype_at.
void like_rule(Call& c, int dtype_at);

}  // namespace rushlight::ops

// Helpers of operators that make tensors: memory formats, and the check of a number against a dtype.
#pragma once
#include "op/op.h"

namespace rushlight::ops {

enum class Format { preserve, contiguous, channels_last, channels_last_3d };
// What a memory_format= argument names; preserve where it was left out.
Format format_of(const Value& v);
// Strides of a fresh tensor in that format; false where they are the contiguous ones.
bool format_strides(Format f, IntSpan sizes, Dims& strides);
// Whether t lies in memory with its channels (dimension 1 of 4 or 5) last.
bool channels_last(const Tensor& t);
// For rules: output k lies as `like` does, channels last or contiguous. Convolutions, poolings and normalisations keep it.
void keep_format(Call& c, int k, const Tensor& like);
// Raises where the number has no value in dtype d: complex for a real dtype, or out of an integer's range.
void check_fits(const Value& number, Dtype d);
// Output 0 shaped and strided like argument 0, with the dtype, device and memory_format arguments that start at dtype_at.
void like_rule(Call& c, int dtype_at);

}  // namespace rushlight::ops

// Convolutions of float32 on the matrix unit of Intel's servers, by Note [Split products] in split_products.h: when they
// are chosen.
#pragma once

#include "conv.h"

namespace rushlight::cpu {

// Each computes its result and returns true, or returns false where the machine, the shape or the numbers are for the
// other kernels: see Note [Choice of split products] in conv_split.cpp. Outputs may have been written then.
bool split_forward(const Conv2dShape& s, const float* x, const float* weight, const float* bias, float* y);
bool split_backward_data(const Conv2dShape& s, const float* gy, const float* weight, float* gx);
bool split_backward_weight(const Conv2dShape& s, const float* x, const float* gy, float* gw);

}  // namespace rushlight::cpu

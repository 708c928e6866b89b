// Convolutions with 3x3 kernels by Winograd's algorithm: when it is chosen, and the switch that turns it off.
#pragma once

#include "conv.h"

namespace rushlight::cpu {

// Whether such convolutions may be computed by Winograd's algorithm; true from the start.
bool winograd_enabled();
void set_winograd_enabled(bool enabled);

// Each computes its result and returns true, or returns false where the shape or the numbers are for the
// direct kernels: see Note [Choice of Winograd] in conv_winograd.cpp. Outputs may have been written then.
bool winograd_forward(const Conv2dShape& s, const float* x, const float* weight, const float* bias, float* y);
bool winograd_backward_data(const Conv2dShape& s, const float* gy, const float* weight, float* gx);
bool winograd_backward_weight(const Conv2dShape& s, const float* x, const float* gy, float* gw);

// A convolution by 3x3 kernels with stride 1, as the code of an instruction set takes it: x (n, cin, h, w),
// y (n, cout, hout, wout). The weight of (output o, input channel c, tap t) lies at weight[o * w_out + c * w_in
// + t], or at tap 8 - t when flipped. The paddings may be negative: what lies outside is not read.
struct WinogradConv {
  int64_t n, cin, h, w;
  int64_t cout, hout, wout;
  int64_t pad_h, pad_w;
  const float* x;
  const float* weight;
  int64_t w_out, w_in;
  bool flipped;
  const float* bias;  // may be null
  float* y;
};

}  // namespace rushlight::cpu

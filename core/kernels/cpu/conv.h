// Two-dimensional convolution (cross-correlation, as in neural networks) of contiguous NCHW arrays, and its
// two gradients. One dimension is h = kh = 1. A transposed convolution is conv2d_backward_data used forward.
// Results do not depend on the number of threads, nor on AVX2 against AVX-512.
#pragma once

#include <cstdint>

namespace rushlight::cpu {

// x (n, cin, h, w), weight (cout, cin / groups, kh, kw), y (n, cout, hout, wout). Output element (oy, ox)
// reads x at (oy * stride_h - pad_h + i * dil_h, ox * stride_w - pad_w + j * dil_w), zero outside; hout and
// wout are what the caller says, so padding at the far sides may differ from pad_h and pad_w.
struct Conv2dShape {
  int64_t n, cin, h, w;
  int64_t cout, kh, kw;
  int64_t stride_h, stride_w, pad_h, pad_w, dil_h, dil_w;
  int64_t groups;
  int64_t hout, wout;
};

// T is float or double. bias (cout) may be null. Outputs are overwritten.
template <class T>
void conv2d_forward(const Conv2dShape& shape, const T* x, const T* weight, const T* bias, T* y);
template <class T>
void conv2d_backward_data(const Conv2dShape& shape, const T* gy, const T* weight, T* gx);
template <class T>
void conv2d_backward_weight(const Conv2dShape& shape, const T* x, const T* gy, T* gw);

}  // namespace rushlight::cpu

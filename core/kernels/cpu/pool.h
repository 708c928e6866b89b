// Pooling over the last two dimensions of contiguous arrays of `planes` planes (batch times channels), and
// the gradients. Backward functions overwrite gx. One-dimensional pooling has h = kh = 1.
#pragma once

#include <cstdint>

namespace rushlight::cpu {

// Window (oy, ox) starts at (oy * stride_h - pad_h, ox * stride_w - pad_w); padding never wins a maximum.
// hout and wout are the caller's (ceil_mode or not).
struct Pool2dShape {
  int64_t planes, h, w;
  int64_t kh, kw, stride_h, stride_w, pad_h, pad_w, dil_h, dil_w;
  int64_t hout, wout;
};

// Adaptive pooling: output i covers inputs floor(i * in / out) up to ceil((i + 1) * in / out).
struct AdaptivePool2dShape {
  int64_t planes, h, w, hout, wout;
};

// T is float or double; the two maximum forwards also take int8_t, uint8_t, int16_t, int32_t and int64_t.
// `index` receives the place of the maximum in its h * w plane: the first one in reading order, or the last
// NaN; -1 (and the lowest value of T) where a dilated window has no element inside the plane.
template <class T>
void max_pool2d_forward(const Pool2dShape& shape, const T* x, T* y, int64_t* index);

template <class T>
void adaptive_max_pool2d_forward(const AdaptivePool2dShape& shape, const T* x, T* y, int64_t* index);

// The same without places (taps null), or with the number of the tap that won, row by row of the window: at most
// most_taps of them, no_tap for none. T is float or double.
constexpr int64_t most_taps = 255;
constexpr uint8_t no_tap = 255;
template <class T>
void max_pool2d_taps(const Pool2dShape& shape, const T* x, T* y, uint8_t* taps);
template <class T>
void max_pool2d_taps_backward(const Pool2dShape& shape, const T* gy, const uint8_t* taps, T* gx);

// Adds each gy to its window's maximum (-1: to none). Serves max_pool2d and adaptive_max_pool2d alike:
// in_plane = h * w, out_plane = hout * wout. Indices out of range throw std::out_of_range.
template <class T>
void max_pool2d_backward(int64_t planes, int64_t in_plane, int64_t out_plane, const T* gy,
                         const int64_t* index, T* gx);

// Mean over the window. count_include_pad counts padding as zeros (but not what lies beyond it, which
// ceil_mode can reach); divisor_override replaces the count unless it is 0. Dilation must be 1.
template <class T>
void avg_pool2d_forward(const Pool2dShape& shape, bool count_include_pad, int64_t divisor_override,
                        const T* x, T* y);
template <class T>
void avg_pool2d_backward(const Pool2dShape& shape, bool count_include_pad, int64_t divisor_override,
                         const T* gy, T* gx);

template <class T>
void adaptive_avg_pool2d_forward(const AdaptivePool2dShape& shape, const T* x, T* y);
template <class T>
void adaptive_avg_pool2d_backward(const AdaptivePool2dShape& shape, const T* gy, T* gx);

}  // namespace rushlight::cpu

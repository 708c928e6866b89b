// Normalisation of contiguous arrays: by rows (layer norm, rms norm), and by channels of an (n, channels, inner) array (batch, group and
// instance norm). T is float or double. Sums run in 16 lanes over fixed pieces that are combined in double: results depend
// neither on threads nor on the instruction set.
#pragma once

#include <cstdint>

namespace rushlight::cpu {

// y = (x - mean) * rstd * weight + bias for each row; weight and bias (one number per column) may be null.
template <class T>
void layer_norm(int64_t rows, int64_t columns, const T* x, const T* weight, const T* bias, double eps, T* y,
                T* mean, T* rstd);
// Null gw, gb: not wanted.
template <class T>
void layer_norm_backward(int64_t rows, int64_t columns, const T* g, const T* x, const T* mean, const T* rstd,
                         const T* weight, T* gx, T* gw, T* gb);

// y = x * rstd * weight for each row, where rstd is 1 / sqrt(mean(x * x) + eps); weight may be null.
template <class T>
void rms_norm(int64_t rows, int64_t columns, const T* x, const T* weight, double eps, T* y, T* rstd);

struct Planes {
  int64_t n, channels, inner;
};
// Mean and (biased) variance of each channel over n and inner.
template <class T>
void channel_moments(const Planes& p, const T* x, T* mean, T* variance);
// y = (x - mean) * scale + shift, with one mean, scale and shift (may be null) per channel.
template <class T>
void channel_affine(const Planes& p, const T* x, const T* mean, const T* scale, const T* shift, T* y);
// Sums of g and of g * (x - mean) over each channel.
template <class T>
void channel_dots(const Planes& p, const T* g, const T* x, const T* mean, T* sum_g, T* sum_gx);
// gx = g * a - b - (x - mean) * d
template <class T>
void channel_backward(const Planes& p, const T* g, const T* x, const T* mean, const T* a, const T* b,
                      const T* d, T* gx);

}  // namespace rushlight::cpu

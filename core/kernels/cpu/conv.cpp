// Chooses the instruction set for the convolutions and answers the empty cases.
#include "conv.h"

#include <algorithm>

#include "conv_split.h"
#include "conv_winograd.h"
#include "isa.h"

namespace rushlight::cpu {

RL_FOR_EACH_ISA(template <class T> void conv_forward(const Conv2dShape&, const T*, const T*, const T*, T*);
                template <class T> void conv_backward_data(const Conv2dShape&, const T*, const T*, T*);
                template <class T> void conv_backward_weight(const Conv2dShape&, const T*, const T*, T*);)

namespace {

// A sum without terms: every output is zero (or the bias).
bool no_terms(const Conv2dShape& s) { return s.cin == 0 || s.cout == 0 || s.kh == 0 || s.kw == 0; }

}  // namespace

template <class T>
void conv2d_forward(const Conv2dShape& s, const T* x, const T* weight, const T* bias, T* y) {
  const int64_t plane = s.hout * s.wout;
  if (s.n == 0 || s.cout == 0 || plane == 0) return;
  if (no_terms(s)) {
    for (int64_t i = 0; i < s.n * s.cout; i++)
      std::fill_n(y + i * plane, plane, bias ? bias[i % s.cout] : T(0));
    return;
  }
  if constexpr (sizeof(T) == sizeof(float))
    if (winograd_forward(s, x, weight, bias, y) || split_forward(s, x, weight, bias, y)) return;
  static const auto fn = RL_PICK(conv_forward<T>);
  fn(s, x, weight, bias, y);
}

template <class T>
void conv2d_backward_data(const Conv2dShape& s, const T* gy, const T* weight, T* gx) {
  const int64_t size = s.n * s.cin * s.h * s.w;
  if (size == 0) return;
  if (no_terms(s) || s.hout * s.wout == 0) {
    std::fill_n(gx, size, T(0));
    return;
  }
  if constexpr (sizeof(T) == sizeof(float))
    if (winograd_backward_data(s, gy, weight, gx) || split_backward_data(s, gy, weight, gx)) return;
  static const auto fn = RL_PICK(conv_backward_data<T>);
  fn(s, gy, weight, gx);
}

template <class T>
void conv2d_backward_weight(const Conv2dShape& s, const T* x, const T* gy, T* gw) {
  if (no_terms(s)) return;
  if (s.n == 0 || s.h * s.w == 0 || s.hout * s.wout == 0) {
    std::fill_n(gw, s.cout * (s.cin / s.groups) * s.kh * s.kw, T(0));
    return;
  }
  if constexpr (sizeof(T) == sizeof(float))
    if (winograd_backward_weight(s, x, gy, gw) || split_backward_weight(s, x, gy, gw)) return;
  static const auto fn = RL_PICK(conv_backward_weight<T>);
  fn(s, x, gy, gw);
}

#define INSTANTIATE(T) \
  template void conv2d_forward(const Conv2dShape&, const T*, const T*, const T*, T*); \
  template void conv2d_backward_data(const Conv2dShape&, const T*, const T*, T*); \
  template void conv2d_backward_weight(const Conv2dShape&, const T*, const T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace rushlight::cpu

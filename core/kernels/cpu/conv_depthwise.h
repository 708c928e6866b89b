// Convolutions whose groups read one channel each: conv_depthwise.isa.cpp. Include only from conv*.isa.cpp.
#pragma once

#include "conv.h"

namespace rushlight::cpu::RL_ISA {

// One input channel and few outputs per group.
inline __attribute__((always_inline)) bool is_depthwise(const Conv2dShape& s) {
  return s.cin == s.groups && s.cout <= 4 * s.groups;
}
template <class T>
void depthwise_forward(const Conv2dShape& s, const T* x, const T* weight, const T* bias, T* y);

// Taps that step by one, over all of the padding's reach.
inline __attribute__((always_inline)) bool steps_by_one(const Conv2dShape& s) {
  return s.stride_h == 1 && s.stride_w == 1 && s.dil_h == 1 && s.dil_w == 1;
}
// For one output per group, steps_by_one, and padding smaller than the kernel.
template <class T>
void depthwise_backward_data(const Conv2dShape& s, const T* gy, const T* weight, T* gx);
// gw (kh, kw) (+)= sums over one plane of x and one of gy; for shapes that step by one.
template <class T>
void depthwise_weight(const Conv2dShape& s, const T* x, const T* gy, T* gw, bool add);

}  // namespace rushlight::cpu::RL_ISA

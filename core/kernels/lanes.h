// Sums in 16 virtual lanes, whatever the width of the registers: the same bits on every instruction set.
#pragma once
#include <cstdint>

#include "kernels/target.h"

namespace rushlight {

constexpr int lane_count = 16;

template <class T> struct Lanes {
  T lane[lane_count];

  RL_INLINE explicit Lanes(T start) {
    for (int k = 0; k < lane_count; ++k) lane[k] = start;
  }
  // Combines the lanes pairwise: 0 with 8, 1 with 9, ...; then 0 with 4, and so on.
  template <class F> RL_INLINE T combine(F&& f) {
    for (int width = lane_count / 2; width; width /= 2)
      for (int k = 0; k < width; ++k) lane[k] = f(lane[k], lane[k + width]);
    return lane[0];
  }
  RL_INLINE T total() {
    return combine([](T a, T b) { return a + b; });
  }
};

// Sum of f(i) for i in [0, n); f(i) must be a plain expression, so that sixteen of them become vector instructions.
template <class T, class F> RL_INLINE T lane_sum(int64_t n, F&& f) {
  Lanes<T> sum(T(0));
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count)
    for (int k = 0; k < lane_count; ++k) sum.lane[k] += f(i + k);
  const int64_t rest = n - i;
  for (int k = 0; k < lane_count; ++k)  // masked loads where f reads memory
    if (k < rest) sum.lane[k] += f(i + k);
  return sum.total();
}

// f(lane_count elements) for x[0 .. n), the last block filled up with `pad`. f takes a pointer and changes the block in place;
// results are stored to y, which may be x. Costly functions so never run element by element.
template <class T, class F> RL_INLINE void lane_blocks(int64_t n, const T* x, T* y, T pad, F&& f) {
  int64_t i = 0;
  T block[lane_count];
  for (; i + lane_count <= n; i += lane_count) {
    for (int k = 0; k < lane_count; ++k) block[k] = x[i + k];
    f(block);
    for (int k = 0; k < lane_count; ++k) y[i + k] = block[k];
  }
  if (i == n) return;
  const int64_t rest = n - i;
  for (int k = 0; k < lane_count; ++k) block[k] = pad;
  for (int k = 0; k < lane_count; ++k)
    if (k < rest) block[k] = x[i + k];
  f(block);
  for (int k = 0; k < lane_count; ++k)
    if (k < rest) y[i + k] = block[k];
}

}  // namespace rushlight

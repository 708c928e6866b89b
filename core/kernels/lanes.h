// Sums in 16 virtual lanes, whatever the width of the registers: the same bits on every instruction set.
#pragma once
#include <cstdint>

#include "kernels/target.h"

namespace rushlight {

constexpr int lane_count = 16;

template <class T> struct Lanes {
  T lane[lane_count];

  RL_INLINE explicit Lanes(T start) {
    RL_LANES
    for (int k = 0; k < lane_count; ++k) lane[k] = start;
  }
  // Combines the lanes pairwise: 0 with 8, 1 with 9, ...; then 0 with 4, and so on.
  template <int width = lane_count / 2, class F> RL_INLINE T combine(F&& f) {
    RL_LANES
    for (int k = 0; k < width; ++k) lane[k] = f(lane[k], lane[k + width]);
    if constexpr (width > 1) combine<width / 2>(f);
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
  for (; i + lane_count <= n; i += lane_count) RL_LANES
  for (int k = 0; k < lane_count; ++k) sum.lane[k] += f(i + k);
  if (i < n && n >= lane_count) {  // the rest, as the end of a full vector
    const int skip = int(lane_count - (n - i));
    const int64_t last = n - lane_count;
    RL_LANES
    for (int k = 0; k < lane_count; ++k) {
      const T with = sum.lane[k] + f(last + k);
      sum.lane[k] = k >= skip ? with : sum.lane[k];
    }
  } else {
    for (int k = 0; i < n; ++i, ++k) sum.lane[k] += f(i);
  }
  return sum.total();
}

// f(block, k) for blocks of lane_count elements of x[0 .. n), which it changes in place and which are stored to y (x itself,
// perhaps). Only elements k and later are new to f: the last block overlaps the one before, and short rows are filled up in
// front with `pad`. So costly functions never run element by element.
template <class T, class F> RL_INLINE void lane_blocks(int64_t n, const T* x, T* y, T pad, F&& f) {
  T block[lane_count], last[lane_count];
  if (n < lane_count) {
    const int skip = int(lane_count - n);
    for (int k = 0; k < skip; ++k) block[k] = pad;
    for (int k = skip; k < lane_count; ++k) block[k] = x[k - skip];
    f(block, skip);
    for (int k = skip; k < lane_count; ++k) y[k - skip] = block[k];
    return;
  }
  RL_LANES
  for (int k = 0; k < lane_count; ++k) last[k] = x[n - lane_count + k];
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count) {
    RL_LANES
    for (int k = 0; k < lane_count; ++k) block[k] = x[i + k];
    f(block, 0);
    RL_LANES
    for (int k = 0; k < lane_count; ++k) y[i + k] = block[k];
  }
  if (i == n) return;
  f(last, int(lane_count - (n - i)));
  RL_LANES
  for (int k = 0; k < lane_count; ++k) y[n - lane_count + k] = last[k];
}

}  // namespace rushlight

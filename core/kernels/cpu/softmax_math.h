// The row operations that softmax and attention share.
#pragma once
#include <limits>

#include "kernels/lanes.h"
#include "kernels/mathfn.h"

namespace rushlight::cpu {

template <class T>
constexpr T minus_infinity = -std::numeric_limits<T>::infinity();

template <class T>
RL_INLINE T larger(T a, T b) {
  return a > b ? a : b;
}

// exp for differences to a maximum, none above zero. Results that are no normal numbers count as zero: subnormal arithmetic takes a hundred times
// longer on some processors, and hidden positions (-inf) are frequent.
RL_INLINE float exp_or_zero(float x) {
  const float e = fn::detail::exp_plain(x < -87.0f ? -87.0f : x);
  return x < -87.0f ? 0.0f : e;
}
RL_INLINE double exp_or_zero(double x) {
  const double e = fn::exp(x < -708.0 ? -708.0 : x);
  return x < -708.0 ? 0.0 : e;
}

template <class T>
RL_INLINE T row_maximum(int64_t n, const T* x) {
  Lanes<T> lanes(minus_infinity<T>);
  int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count) RL_LANES
  for (int k = 0; k < lane_count; ++k) lanes.lane[k] = larger(x[i + k], lanes.lane[k]);
  if (i < n && n >= lane_count)  // the last full vector again: it does no harm
    RL_LANES
  for (int k = 0; k < lane_count; ++k) lanes.lane[k] = larger(x[n - lane_count + k], lanes.lane[k]);
  else for (int k = 0; i < n; ++i, ++k) lanes.lane[k] = larger(x[i], lanes.lane[k]);
  return lanes.combine([](T a, T b) { return larger(a, b); });
}
// y = exp(x - top); returns the sum of y.
template <class T>
RL_INLINE T row_exp(int64_t n, T top, const T* x, T* y) {
  Lanes<T> sum(T(0));
  lane_blocks(n, x, y, minus_infinity<T>, [&](T* block, int first) {
    RL_LANES
    for (int k = 0; k < lane_count; ++k) {
      block[k] = exp_or_zero(block[k] - top);
      sum.lane[k] += k >= first ? block[k] : T(0);
    }
  });
  return sum.total();
}
// The sum of exp(x - top)
template <class T>
RL_INLINE T row_exp_sum(int64_t n, T top, const T* x) {
  if (n >= lane_count) return lane_sum<T>(n, [x, top](int64_t j) { return exp_or_zero(x[j] - top); });
  T few[lane_count];
  return row_exp(n, top, x, few);
}
template <class T>
RL_INLINE void row_divide(int64_t n, T by, T* y) {
  const T factor = T(1) / by;
  RL_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) y[j] = y[j] * factor;
}

}  // namespace rushlight::cpu

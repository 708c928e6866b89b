// Pooling: chooses the instruction set for sliding windows over floats (pool_max.isa.cpp, pool_avg.isa.cpp), and holds the plain loops over
// windows of any kind: adaptive ones, integers.
#include "pool.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "../parallel.h"
#include "../with_isa.h"
#include "isa.h"
#include "pool_windows.h"

namespace rushlight::cpu {

RL_FOR_EACH_ISA(template <class T> void max_pool_planes(const Pool2dShape&, int64_t first, int64_t last,
                                                        const T*, T*, uint8_t*, int64_t*);
                template <class T> void max_pool_planes_backward(const Pool2dShape&, int64_t first,
                                                                 int64_t last, const T*, const uint8_t*, T*);
                template <class T> void avg_pool_planes(const Pool2dShape&, bool, int64_t, int64_t first,
                                                        int64_t last, const T*, T*);
                template <class T> void avg_pool_planes_backward(const Pool2dShape&, bool, int64_t,
                                                                 int64_t first, int64_t last, const T*, T*);)

namespace {

Window adaptive(int64_t out, int64_t in, int64_t outs) {
  const int64_t begin = out * in / outs, end = ((out + 1) * in + outs - 1) / outs;
  return {begin, end, end - begin};
}

template <class T>
bool is_nan(T x) {
  return x != x;
}

int64_t planes_per_chunk(int64_t work) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, work)); }

// Runs f(plane) in chunks of planes that are worth a thread.
template <class F>
void over_planes(int64_t planes, int64_t work, F&& f) {
  parallel_for(planes, planes_per_chunk(work), [&](int64_t begin, int64_t end) {
    with_isa([&] {
      for (int64_t p = begin; p < end; p++) f(p);
    });
  });
}

int64_t work_of(const Pool2dShape& s) { return s.hout * s.wout * s.kh * s.kw + s.h * s.w; }
int64_t work_of(const AdaptivePool2dShape& s) { return 2 * (s.h * s.w + s.hout * s.wout); }

// The largest element of each window, the first of equals, the last NaN.
template <class T, class Rows, class Columns>
void max_forward(int64_t planes, int64_t h, int64_t w, int64_t hout, int64_t wout, int64_t step_h,
                 int64_t step_w, int64_t work, const T* x, T* y, int64_t* index, Rows rows, Columns columns) {
  using Limits = std::numeric_limits<T>;
  constexpr T lowest = std::is_integral_v<T> ? Limits::lowest() : -Limits::infinity();
  over_planes(planes, work, [&](int64_t p) {
    const T* in = x + p * h * w;
    int64_t at = p * hout * wout;
    for (int64_t oy = 0; oy < hout; oy++) {
      const Window r = rows(oy);
      for (int64_t ox = 0; ox < wout; ox++, at++) {
        const Window c = columns(ox);
        T best = lowest;
        int64_t where = r.begin < r.end && c.begin < c.end ? r.begin * w + c.begin : -1;
        for (int64_t i = r.begin; i < r.end; i += step_h)
          for (int64_t j = c.begin; j < c.end; j += step_w) {
            const T value = in[i * w + j];
            const bool better = (value > best) | is_nan(value);  // no branch: which one wins is unpredictable
            best = better ? value : best;
            where = better ? i * w + j : where;
          }
        y[at] = best;
        index[at] = where;
      }
    }
  });
}

// f(first plane, last plane), the function compiled for the instruction set, in chunks of planes.
template <class S, class F>
void by_planes(const S& s, F&& f) {
  parallel_for(s.planes, planes_per_chunk(work_of(s)), f);
}

}  // namespace

template <class T>
void max_pool2d_forward(const Pool2dShape& s, const T* x, T* y, int64_t* index) {
  if constexpr (std::is_floating_point_v<T>)
    if (s.h * s.w <= INT32_MAX) {  // places in a plane are as wide as its elements
      static const auto planes = RL_PICK(max_pool_planes<T>);
      return by_planes(s, [&](int64_t begin, int64_t end) { planes(s, begin, end, x, y, nullptr, index); });
    }
  max_forward(
      s.planes, s.h, s.w, s.hout, s.wout, s.dil_h, s.dil_w, work_of(s), x, y, index,
      [&](int64_t o) { return sliding(o, s.h, s.kh, s.stride_h, s.pad_h, s.dil_h, false); },
      [&](int64_t o) { return sliding(o, s.w, s.kw, s.stride_w, s.pad_w, s.dil_w, false); });
}

template <class T>
void max_pool2d_taps(const Pool2dShape& s, const T* x, T* y, uint8_t* taps) {
  static const auto planes = RL_PICK(max_pool_planes<T>);
  by_planes(s, [&](int64_t begin, int64_t end) { planes(s, begin, end, x, y, taps, nullptr); });
}

template <class T>
void max_pool2d_taps_backward(const Pool2dShape& s, const T* gy, const uint8_t* taps, T* gx) {
  static const auto planes = RL_PICK(max_pool_planes_backward<T>);
  by_planes(s, [&](int64_t begin, int64_t end) { planes(s, begin, end, gy, taps, gx); });
}

template <class T>
void max_pool2d_backward(int64_t planes, int64_t in_plane, int64_t out_plane, const T* gy,
                         const int64_t* index, T* gx) {
  over_planes(planes, in_plane + 2 * out_plane, [&](int64_t p) {
    T* to = gx + p * in_plane;
    std::fill_n(to, in_plane, T(0));
    for (int64_t i = p * out_plane; i < (p + 1) * out_plane; i++) {
      if (index[i] == -1) continue;
      if (index[i] < -1 || index[i] >= in_plane)
        throw std::out_of_range("max_pool2d_backward: index out of range");
      to[index[i]] += gy[i];
    }
  });
}

template <class T>
void avg_pool2d_forward(const Pool2dShape& s, bool count_include_pad, int64_t divisor, const T* x, T* y) {
  static const auto planes = RL_PICK(avg_pool_planes<T>);
  by_planes(s, [&](int64_t begin, int64_t end) { planes(s, count_include_pad, divisor, begin, end, x, y); });
}

template <class T>
void avg_pool2d_backward(const Pool2dShape& s, bool count_include_pad, int64_t divisor, const T* gy, T* gx) {
  static const auto planes = RL_PICK(avg_pool_planes_backward<T>);
  by_planes(s,
            [&](int64_t begin, int64_t end) { planes(s, count_include_pad, divisor, begin, end, gy, gx); });
}

template <class T>
void adaptive_max_pool2d_forward(const AdaptivePool2dShape& s, const T* x, T* y, int64_t* index) {
  max_forward(
      s.planes, s.h, s.w, s.hout, s.wout, 1, 1, work_of(s), x, y, index,
      [&](int64_t o) { return adaptive(o, s.h, s.hout); },
      [&](int64_t o) { return adaptive(o, s.w, s.wout); });
}

template <class T>
void adaptive_avg_pool2d_forward(const AdaptivePool2dShape& s, const T* x, T* y) {
  over_planes(s.planes, work_of(s), [&](int64_t p) {
    const T* in = x + p * s.h * s.w;
    int64_t at = p * s.hout * s.wout;
    for (int64_t oy = 0; oy < s.hout; oy++) {
      const Window r = adaptive(oy, s.h, s.hout);
      for (int64_t ox = 0; ox < s.wout; ox++, at++) {
        const Window c = adaptive(ox, s.w, s.wout);
        T sum = 0;
        for (int64_t i = r.begin; i < r.end; i++)
          for (int64_t j = c.begin; j < c.end; j++) sum += in[i * s.w + j];
        y[at] = sum / static_cast<T>(r.size * c.size);
      }
    }
  });
}

template <class T>
void adaptive_avg_pool2d_backward(const AdaptivePool2dShape& s, const T* gy, T* gx) {
  over_planes(s.planes, work_of(s), [&](int64_t p) {
    T* to = gx + p * s.h * s.w;
    std::fill_n(to, s.h * s.w, T(0));
    int64_t at = p * s.hout * s.wout;
    for (int64_t oy = 0; oy < s.hout; oy++) {
      const Window r = adaptive(oy, s.h, s.hout);
      for (int64_t ox = 0; ox < s.wout; ox++, at++) {
        const Window c = adaptive(ox, s.w, s.wout);
        const T share = gy[at] / static_cast<T>(r.size * c.size);
        for (int64_t i = r.begin; i < r.end; i++)
          for (int64_t j = c.begin; j < c.end; j++) to[i * s.w + j] += share;
      }
    }
  });
}

#define INSTANTIATE_MAX(T) \
  template void max_pool2d_forward(const Pool2dShape&, const T*, T*, int64_t*); \
  template void adaptive_max_pool2d_forward(const AdaptivePool2dShape&, const T*, T*, int64_t*);
#define INSTANTIATE(T) \
  INSTANTIATE_MAX(T) \
  template void max_pool2d_taps(const Pool2dShape&, const T*, T*, uint8_t*); \
  template void max_pool2d_taps_backward(const Pool2dShape&, const T*, const uint8_t*, T*); \
  template void max_pool2d_backward(int64_t, int64_t, int64_t, const T*, const int64_t*, T*); \
  template void avg_pool2d_forward(const Pool2dShape&, bool, int64_t, const T*, T*); \
  template void avg_pool2d_backward(const Pool2dShape&, bool, int64_t, const T*, T*); \
  template void adaptive_avg_pool2d_forward(const AdaptivePool2dShape&, const T*, T*); \
  template void adaptive_avg_pool2d_backward(const AdaptivePool2dShape&, const T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE_MAX(int8_t)
INSTANTIATE_MAX(uint8_t)
INSTANTIATE_MAX(int16_t)
INSTANTIATE_MAX(int32_t)
INSTANTIATE_MAX(int64_t)

}  // namespace rushlight::cpu

// Pooling kernels: plain loops over windows, in parallel over planes. Sums run in reading order.
#include "pool.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "../parallel.h"

namespace rushlight::cpu {
namespace {

// Part of one axis: begin, begin + step, ... below end; `size` is what the mean divides by along this axis.
struct Window {
  int64_t begin, end, size;
};

Window sliding(int64_t out, int64_t in, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
               bool count_include_pad) {
  const int64_t start = out * stride - pad, stop = std::min(start + (kernel - 1) * dilation + 1, in + pad);
  int64_t begin = start;
  if (begin < 0) begin += (-begin + dilation - 1) / dilation * dilation;  // first tap inside
  const int64_t end = std::min(stop, in);
  return {begin, end, count_include_pad ? stop - start : end - begin};
}

Window adaptive(int64_t out, int64_t in, int64_t outs) {
  const int64_t begin = out * in / outs, end = ((out + 1) * in + outs - 1) / outs;
  return {begin, end, end - begin};
}

template <class T>
bool is_nan(T x) {
  return x != x;
}

// Runs f(plane) in chunks of planes that are worth a thread.
template <class F>
void over_planes(int64_t planes, int64_t work, F&& f) {
  parallel_for(planes, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, work)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t p = begin; p < end; p++) f(p);
               });
}

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

template <class T, class Rows, class Columns>
void avg_forward(int64_t planes, int64_t h, int64_t w, int64_t hout, int64_t wout, int64_t work,
                 int64_t divisor, const T* x, T* y, Rows rows, Columns columns) {
  over_planes(planes, work, [&](int64_t p) {
    const T* in = x + p * h * w;
    int64_t at = p * hout * wout;
    for (int64_t oy = 0; oy < hout; oy++) {
      const Window r = rows(oy);
      for (int64_t ox = 0; ox < wout; ox++, at++) {
        const Window c = columns(ox);
        T sum = 0;
        for (int64_t i = r.begin; i < r.end; i++)
          for (int64_t j = c.begin; j < c.end; j++) sum += in[i * w + j];
        const bool empty = r.begin >= r.end || c.begin >= c.end;  // a window that lies in the padding alone
        y[at] = empty ? T(0) : sum / static_cast<T>(divisor ? divisor : r.size * c.size);
      }
    }
  });
}

template <class T, class Rows, class Columns>
void avg_backward(int64_t planes, int64_t h, int64_t w, int64_t hout, int64_t wout, int64_t work,
                  int64_t divisor, const T* gy, T* gx, Rows rows, Columns columns) {
  over_planes(planes, work, [&](int64_t p) {
    T* to = gx + p * h * w;
    std::fill_n(to, h * w, T(0));
    int64_t at = p * hout * wout;
    for (int64_t oy = 0; oy < hout; oy++) {
      const Window r = rows(oy);
      for (int64_t ox = 0; ox < wout; ox++, at++) {
        const Window c = columns(ox);
        if (r.begin >= r.end || c.begin >= c.end) continue;
        const T share = gy[at] / static_cast<T>(divisor ? divisor : r.size * c.size);
        for (int64_t i = r.begin; i < r.end; i++)
          for (int64_t j = c.begin; j < c.end; j++) to[i * w + j] += share;
      }
    }
  });
}

// The windows of one shape along both axes, as functions of the output position.
auto row_windows(const Pool2dShape& s, bool pad = false) {
  return [&s, pad](int64_t o) { return sliding(o, s.h, s.kh, s.stride_h, s.pad_h, s.dil_h, pad); };
}
auto column_windows(const Pool2dShape& s, bool pad = false) {
  return [&s, pad](int64_t o) { return sliding(o, s.w, s.kw, s.stride_w, s.pad_w, s.dil_w, pad); };
}
auto row_windows(const AdaptivePool2dShape& s) {
  return [&s](int64_t o) { return adaptive(o, s.h, s.hout); };
}
auto column_windows(const AdaptivePool2dShape& s) {
  return [&s](int64_t o) { return adaptive(o, s.w, s.wout); };
}
int64_t work_of(const Pool2dShape& s) { return s.hout * s.wout * s.kh * s.kw + s.h * s.w; }
int64_t work_of(const AdaptivePool2dShape& s) { return 2 * (s.h * s.w + s.hout * s.wout); }

}  // namespace

template <class T>
void max_pool2d_forward(const Pool2dShape& s, const T* x, T* y, int64_t* index) {
  max_forward(s.planes, s.h, s.w, s.hout, s.wout, s.dil_h, s.dil_w, work_of(s), x, y, index, row_windows(s),
              column_windows(s));
}

template <class T>
void adaptive_max_pool2d_forward(const AdaptivePool2dShape& s, const T* x, T* y, int64_t* index) {
  max_forward(s.planes, s.h, s.w, s.hout, s.wout, 1, 1, work_of(s), x, y, index, row_windows(s),
              column_windows(s));
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
void avg_pool2d_forward(const Pool2dShape& s, bool count_include_pad, int64_t divisor_override, const T* x,
                        T* y) {
  avg_forward(s.planes, s.h, s.w, s.hout, s.wout, work_of(s), divisor_override, x, y,
              row_windows(s, count_include_pad), column_windows(s, count_include_pad));
}

template <class T>
void avg_pool2d_backward(const Pool2dShape& s, bool count_include_pad, int64_t divisor_override, const T* gy,
                         T* gx) {
  avg_backward(s.planes, s.h, s.w, s.hout, s.wout, work_of(s), divisor_override, gy, gx,
               row_windows(s, count_include_pad), column_windows(s, count_include_pad));
}

template <class T>
void adaptive_avg_pool2d_forward(const AdaptivePool2dShape& s, const T* x, T* y) {
  avg_forward(s.planes, s.h, s.w, s.hout, s.wout, work_of(s), 0, x, y, row_windows(s), column_windows(s));
}

template <class T>
void adaptive_avg_pool2d_backward(const AdaptivePool2dShape& s, const T* gy, T* gx) {
  avg_backward(s.planes, s.h, s.w, s.hout, s.wout, work_of(s), 0, gy, gx, row_windows(s), column_windows(s));
}

#define INSTANTIATE_MAX(T) \
  template void max_pool2d_forward(const Pool2dShape&, const T*, T*, int64_t*); \
  template void adaptive_max_pool2d_forward(const AdaptivePool2dShape&, const T*, T*, int64_t*);
#define INSTANTIATE(T) \
  INSTANTIATE_MAX(T) \
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

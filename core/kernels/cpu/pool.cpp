// Pooling kernels: plain loops over windows, in parallel over planes. Sums run in reading order. Windows that lie inside
// their row go tap by tap, a row of outputs at a time, so that the compiler makes vectors of them.
#include "pool.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "../parallel.h"
#include "../with_isa.h"

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
                 with_isa([&] {
                   for (int64_t p = begin; p < end; p++) f(p);
                 });
               });
}

// The outputs [begin, end) of a row whose windows have all their taps inside, `stride` apart.
struct Inside {
  int64_t begin = 0, end = 0, stride = 1, pad = 0;
};

Inside inside_of(const Pool2dShape& s) {
  const int64_t reach = (s.kw - 1) * s.dil_w + 1;
  if (s.w + s.pad_w < reach || s.h * s.w > INT32_MAX) return {};
  const int64_t begin = std::min(s.wout, (s.pad_w + s.stride_w - 1) / s.stride_w);
  const int64_t end = std::min(s.wout, (s.w + s.pad_w - reach) / s.stride_w + 1);
  return {begin, std::max(begin, end), s.stride_w, s.pad_w};
}

// f(first source column, step, number of outputs) with the usual strides as constants.
template <class F>
RL_INLINE void with_stride(const Inside& in, int64_t tap, F&& f) {
  const int64_t first = in.begin * in.stride - in.pad + tap, count = in.end - in.begin;
  if (in.stride == 1) f(first, std::integral_constant<int64_t, 1>(), count);
  else if (in.stride == 2) f(first, std::integral_constant<int64_t, 2>(), count);
  else f(first, in.stride, count);
}

// The largest element of a window, the first of equals, the last NaN.
template <class T, class Where>
struct Best {
  T value;
  Where where;
  RL_INLINE void meet(T x, Where at) {
    const bool better = (x > value) | is_nan(x);  // no branch: which one wins is unpredictable
    value = better ? x : value;
    where = better ? at : where;
  }
};

template <class T, class Rows, class Columns>
void max_forward(int64_t planes, int64_t h, int64_t w, int64_t hout, int64_t wout, int64_t step_h,
                 int64_t step_w, int64_t taps_w, const Inside& in_row, int64_t work, const T* x, T* y,
                 int64_t* index, Rows rows, Columns columns) {
  using Limits = std::numeric_limits<T>;
  constexpr T lowest = std::is_integral_v<T> ? Limits::lowest() : -Limits::infinity();
  parallel_for(planes, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, work)),
               [&](int64_t first, int64_t last) {
                 std::vector<int32_t> places(in_row.end - in_row.begin);
                 with_isa([&, place = places.data(), inside = in_row] {
                   for (int64_t p = first; p < last; p++) {
                     const T* in = x + p * h * w;
                     for (int64_t oy = 0; oy < hout; oy++) {
                       const Window r = rows(oy);
                       T* to = y + (p * hout + oy) * wout;
                       int64_t* where = index + (p * hout + oy) * wout;
                       for (int64_t ox = 0; ox < wout; ox++) {
                         if (ox == inside.begin && r.begin < r.end) ox = inside.end;
                         if (ox >= wout) break;
                         const Window c = columns(ox);
                         const bool some = r.begin < r.end && c.begin < c.end;
                         Best<T, int64_t> best{lowest, some ? r.begin * w + c.begin : -1};
                         for (int64_t i = r.begin; i < r.end; i += step_h)
                           for (int64_t j = c.begin; j < c.end; j += step_w)
                             best.meet(in[i * w + j], i * w + j);
                         to[ox] = best.value;
                         where[ox] = best.where;
                       }
                       if (inside.begin == inside.end || r.begin >= r.end) continue;
                       for (int64_t i = r.begin; i < r.end; i += step_h)
                         for (int64_t tap = 0; tap < taps_w; tap++)
                           with_stride(inside, tap * step_w, [&](int64_t column, auto step, int64_t count) {
                             const T* from = in + i * w + column;
                             T* value = to + inside.begin;
                             int32_t* at = place;
                             const auto base = static_cast<int32_t>(i * w + column);
                             const bool fresh = i == r.begin && tap == 0;
                             RL_INDEPENDENT
                             for (int64_t o = 0; o < count; o++) {
                               const auto here = static_cast<int32_t>(base + o * step);
                               Best<T, int32_t> best{fresh ? lowest : value[o], fresh ? here : at[o]};
                               best.meet(from[o * step], here);
                               value[o] = best.value;
                               at[o] = best.where;
                             }
                           });
                       for (int64_t o = inside.begin; o < inside.end; o++) where[o] = place[o - inside.begin];
                     }
                   }
                 });
               });
}

template <class T, class Rows, class Columns>
void avg_forward(int64_t planes, int64_t h, int64_t w, int64_t hout, int64_t wout, int64_t taps_w,
                 const Inside& inside, int64_t work, int64_t divisor, const T* x, T* y, Rows rows,
                 Columns columns) {
  over_planes(planes, work, [&](int64_t p) {
    const T* in = x + p * h * w;
    for (int64_t oy = 0; oy < hout; oy++) {
      const Window r = rows(oy);
      T* to = y + (p * hout + oy) * wout;
      for (int64_t ox = 0; ox < wout; ox++) {
        if (ox == inside.begin && r.begin < r.end) ox = inside.end;
        if (ox >= wout) break;
        const Window c = columns(ox);
        T sum = 0;
        for (int64_t i = r.begin; i < r.end; i++)
          for (int64_t j = c.begin; j < c.end; j++) sum += in[i * w + j];
        const bool empty = r.begin >= r.end || c.begin >= c.end;  // a window that lies in the padding alone
        to[ox] = empty ? T(0) : sum / static_cast<T>(divisor ? divisor : r.size * c.size);
      }
      if (inside.begin == inside.end || r.begin >= r.end) continue;
      T* sum = to + inside.begin;
      for (int64_t i = r.begin; i < r.end; i++)
        for (int64_t tap = 0; tap < taps_w; tap++)
          with_stride(inside, tap, [&](int64_t column, auto step, int64_t count) {
            const T* from = in + i * w + column;
            const bool fresh = i == r.begin && tap == 0;
            RL_INDEPENDENT
            for (int64_t o = 0; o < count; o++) sum[o] = (fresh ? T(0) : sum[o]) + from[o * step];
          });
      const T by = static_cast<T>(divisor ? divisor : r.size * taps_w);
      RL_INDEPENDENT
      for (int64_t o = 0; o < inside.end - inside.begin; o++) sum[o] = sum[o] / by;
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
  max_forward(s.planes, s.h, s.w, s.hout, s.wout, s.dil_h, s.dil_w, s.kw, inside_of(s), work_of(s), x, y,
              index, row_windows(s), column_windows(s));
}

template <class T>
void adaptive_max_pool2d_forward(const AdaptivePool2dShape& s, const T* x, T* y, int64_t* index) {
  max_forward(s.planes, s.h, s.w, s.hout, s.wout, 1, 1, 0, Inside(), work_of(s), x, y, index, row_windows(s),
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
  avg_forward(s.planes, s.h, s.w, s.hout, s.wout, s.kw, inside_of(s), work_of(s), divisor_override, x, y,
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
  avg_forward(s.planes, s.h, s.w, s.hout, s.wout, 0, Inside(), work_of(s), 0, x, y, row_windows(s),
              column_windows(s));
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

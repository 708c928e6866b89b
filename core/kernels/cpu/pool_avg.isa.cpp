// Means of sliding windows, and their gradient: Note [Pooling by rows] in pool_rows.h.
#include "pool_rows.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// The divisor of each column of outputs, to be multiplied by that of its row; 1 where the window is empty.
int64_t divisor_of(const Window& window) { return window.begin < window.end ? window.size : 1; }

template <class T>
void column_divisors(const Pool2dShape& s, bool include_pad, T* by) {
  for (int64_t ox = 0; ox < s.wout; ox++)
    by[ox] = static_cast<T>(divisor_of(sliding(ox, s.w, s.kw, s.stride_w, s.pad_w, 1, include_pad)));
}

// sum / (row * column), where `given` is the divisor to use instead, unless it is 0.
template <class T>
RL_INLINE Vec<T> mean_of(Vec<T> sum, int64_t row, const T* column, int64_t given) {
  return sum / (given ? splat(static_cast<T>(given)) : load(column) * splat(static_cast<T>(row)));
}

template <int taps, class T>
RL_INLINE Vec<T> sum_of(const T* const* line, int64_t rows, const int64_t* offset, int64_t columns,
                        int64_t at) {
  if (taps) rows = columns = taps;
  Vec<T> sum = {};
#pragma GCC unroll 3
  for (int64_t k = 0; k < rows; k++)
#pragma GCC unroll 3
    for (int64_t j = 0; j < columns; j++) sum += load(line[k] + at + offset[j]);
  return sum;
}

template <int stride, int taps, class T>
void avg_planes(const Pool2dShape& shape, bool include_pad, int64_t given, int64_t first, int64_t last,
                const T* x, T* y) {
  const Pool2dShape s = shape;  // a copy: stores of vectors might change what a reference names
  constexpr int w = width<T>;
  Lines<T> lines(s, 0);
  Scratch pointers(Use::panels, sizeof(T*) * s.kh), divisors(Use::result, sizeof(T) * (s.wout + w));
  const auto** line = pointers.as<const T*>();
  T* column = divisors.as<T>();
  column_divisors(s, include_pad, column);
  const auto rows_of = [&](int64_t oy) {
    return sliding(oy, s.h, s.kh, s.stride_h, s.pad_h, 1, include_pad);
  };
  const auto fill = [&](int64_t p, int64_t oy) {
    if (oy < s.hout) lines.template fill_rows<stride>(x + p * s.h * s.w, rows_of(oy));
  };
  for (int64_t p = first; p < last; p++) {
    lines.begin_plane();
    fill(p, 0);
    for (int64_t oy = 0; oy < s.hout; oy++) {
      const Window rows = rows_of(oy);
      fill(p, oy + 1);
      int64_t height = 0;
      for (int64_t r = rows.begin; r < rows.end; r++) line[height++] = lines.line(r);
      T* to = y + (p * s.hout + oy) * s.wout;
      for (int64_t ox = 0; ox < s.wout; ox += w) {
        const Vec<T> sum = taps && height == taps ? sum_of<taps>(line, taps, lines.offset(), taps, ox)
                                                  : sum_of<0>(line, height, lines.offset(), s.kw, ox);
        store_first(to + ox, mean_of(sum, divisor_of(rows), column + ox, given), s.wout - ox);
      }
    }
  }
}

template <int stride, class T>
void avg_planes_backward(const Pool2dShape& shape, bool include_pad, int64_t given, int64_t first,
                         int64_t last, const T* gy, T* gx) {
  const Pool2dShape s = shape;  // a copy: stores of vectors might change what a reference names
  constexpr int w = width<T>;
  const Phases phases(s);
  const Margins m = Margins::of<T>(s);
  const GradientRows<T> output(s);
  Scratch scratch(Use::image, sizeof(T) * (m.length + s.wout + w));
  T *shares = scratch.as<T>() + m.before, *column = scratch.as<T>() + m.length;
  for (int64_t i = 0; i < m.length; i++) scratch.as<T>()[i] = 0;
  column_divisors(s, include_pad, column);
  for (int64_t p = first; p < last; p++) {
    int64_t low = -1, high = -1;  // the rows of outputs whose shares are added up in `shares`
    for (int64_t y = 0; y < s.h; y++) {
      T* row = gx + (p * s.h + y) * s.w;
      const int64_t from = ceil_div(most(0, y + s.pad_h - s.kh + 1), s.stride_h);
      const int64_t to = least(s.hout, (y + s.pad_h) / s.stride_h + 1);
      if (from == low && to == high) {  // the same windows as the row above
        output.repeat(row);
        continue;
      }
      low = from, high = to;
      for (int64_t ox = 0; ox < s.wout; ox += w) {
        const int64_t count = s.wout - ox;
        Vec<T> sum = {};
        for (int64_t oy = from; oy < to; oy++) {
          const int64_t size = divisor_of(sliding(oy, s.h, s.kh, s.stride_h, s.pad_h, 1, include_pad));
          const Vec<T> g = load_first(gy + (p * s.hout + oy) * s.wout + ox, count);
          sum += mean_of(g, size, column + ox, given);
        }
        store_first(shares + ox, sum, count);
      }
      write_row<stride>(s, output.begin(row), [&](int64_t phase, int64_t q) {
        Vec<T> sum = {};
        phases.each(phase, [&](int64_t, int64_t shift) { sum += load(shares + q - shift); });
        return sum;
      });
      output.finish(row);
    }
  }
}

}  // namespace

template <class T>
void avg_pool_planes(const Pool2dShape& s, bool include_pad, int64_t divisor, int64_t first, int64_t last,
                     const T* x, T* y) {
  with_window(s, [&]<int stride, int taps>() {
    avg_planes<stride, taps>(s, include_pad, divisor, first, last, x, y);
  });
}

template <class T>
void avg_pool_planes_backward(const Pool2dShape& s, bool include_pad, int64_t divisor, int64_t first,
                              int64_t last, const T* gy, T* gx) {
  with_stride(
      s, [&]<int stride>() { avg_planes_backward<stride>(s, include_pad, divisor, first, last, gy, gx); });
}

#define INSTANTIATE(T) \
  template void avg_pool_planes(const Pool2dShape&, bool, int64_t, int64_t, int64_t, const T*, T*); \
  template void avg_pool_planes_backward(const Pool2dShape&, bool, int64_t, int64_t, int64_t, const T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace rushlight::cpu::RL_ISA

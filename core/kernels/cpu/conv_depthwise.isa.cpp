// Convolutions whose groups read one channel each (depthwise): forward, and the gradients for the input and the
// weight with stride and dilation 1. There is no matrix product in them: outputs of a row go through the taps by
// vectors, several rows at a time, so that what is loaded serves all the taps of a column.
#include "conv_depthwise.h"
#include "conv_planes.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// One output channel: rows x columns of sums of `taps` terms over a padded plane, taps in order from zero, then bias.
template <class T>
struct Channel {
  const T* plane;
  int64_t pitch;
  const int64_t* offset;  // of each tap
  const T* weight;
  int64_t taps;
  T bias;
  T* out;
  int64_t rows, columns;
};

constexpr int rows_together = 4;

template <class T>
RL_INLINE void put(T* to, Vec<T> v, int64_t count) {
  if (count >= width<T>) store(to, v);
  else store_tail(to, v, static_cast<int>(count));
}

// `rows` output rows from `row` on, any taps.
template <int rows, class T>
RL_INLINE void channel_rows(const Channel<T>& c, int64_t row) {
  for (int64_t x = 0; x < c.columns; x += width<T>) {
    const T* from = c.plane + row * c.pitch + x;
    Vec<T> sum[rows] = {};
    for (int64_t t = 0; t < c.taps; t++) {
      const Vec<T> weight = splat(c.weight[t]);
#pragma GCC unroll 4
      for (int r = 0; r < rows; r++) sum[r] = fma(weight, load(from + c.offset[t] + r * c.pitch), sum[r]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
      put(c.out + (row + r) * c.columns + x, sum[r] + splat(c.bias), c.columns - x);
  }
}

template <class T>
void channel(const Channel<T>& of) {
  const Channel<T> c = of;  // a copy: stores of vectors might change what a reference names
  int64_t row = 0;
  for (; row + rows_together <= c.rows; row += rows_together) channel_rows<rows_together>(c, row);
  for (; row < c.rows; row++) channel_rows<1>(c, row);
}

// ---- square kernels with stride and dilation 1 ----

// Lanes [first, last) of a vector, to load: the others are zero, and nothing is read for them.
template <class T>
struct Lanes {
  int64_t first, last;
#if defined(__AVX512F__)
  unsigned mask;
#endif
  Lanes() = default;
  RL_INLINE Lanes(int64_t from, int64_t to) : first(most(0, from)), last(least(width<T>, to)) {
#if defined(__AVX512F__)
    mask = first < last ? ((1u << last) - 1) & ~((1u << first) - 1) : 0;
#endif
  }
  RL_INLINE Vec<T> load(const T* p) const {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), p);
    else return (Vec<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>(mask), p);
#else
    if (first == 0 && last == width<T>) return cpu::RL_ISA::load(p);
    Vec<T> v = {};
    for (int64_t lane = first; lane < last; lane++) v[lane] = p[lane];
    return v;
#endif
  }
};

// A plane read in place, and one channel of outputs. Negative padding leaves out rows or columns.
template <class T>
struct Plane {
  const T* x;
  int64_t h, w, pad_h, pad_w;
  const T* weight;
  T bias;
  T* out;
  int64_t rows, columns;
};

// `rows` outputs of a block of columns: each row of the plane is loaded once for all the outputs that it meets.
template <int rows, int side, bool inside, class T>
RL_INLINE void square_rows(const Plane<T>& c, int64_t row, int64_t x, const Lanes<T>* lanes,
                           const Vec<T>* weight) {
  const int64_t top = row - c.pad_h;
  const T* from = c.x + top * c.w + x - c.pad_w;
  Vec<T> sum[rows] = {};
#pragma GCC unroll 16
  for (int y = 0; y < rows + side - 1; y++) {
    if (!inside && (top + y < 0 || top + y >= c.h)) continue;  // adds zeros
#pragma GCC unroll 5
    for (int j = 0; j < side; j++) {
      const Vec<T> v = lanes[j].load(from + y * c.w + j);
#pragma GCC unroll 4
      for (int r = 0; r < rows; r++)
        if (y >= r && y - r < side) sum[r] = fma(weight[(y - r) * side + j], v, sum[r]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++)
    put(c.out + (row + r) * c.columns + x, sum[r] + splat(c.bias), c.columns - x);
}

template <int side, class T>
void square(const Plane<T>& of) {
  const Plane<T> c = of;  // a copy: stores of vectors might change what a reference names
  Vec<T> weight[side * side];
#pragma GCC unroll 25
  for (int t = 0; t < side * side; t++) weight[t] = splat(c.weight[t]);
  for (int64_t x = 0; x < c.columns; x += width<T>) {
    Lanes<T> lanes[side];
#pragma GCC unroll 5
    for (int j = 0; j < side; j++) lanes[j] = Lanes<T>(c.pad_w - j - x, c.w + c.pad_w - j - x);
    int64_t row = 0;
    for (; row + rows_together <= c.rows; row += rows_together) {
      if (row >= c.pad_h && row - c.pad_h + rows_together + side - 1 <= c.h)
        square_rows<rows_together, side, true>(c, row, x, lanes, weight);
      else square_rows<rows_together, side, false>(c, row, x, lanes, weight);
    }
    for (; row < c.rows; row++) square_rows<1, side, false>(c, row, x, lanes, weight);
  }
}

int64_t planes_per_chunk(const Conv2dShape& s) {
  return most(1, 16384 / ((s.cout / s.groups) * s.kh * s.kw * s.hout * s.wout / 8 + s.h * s.w));
}

}  // namespace

template <class T>
void depthwise_forward(const Conv2dShape& s, const T* x, const T* weight, const T* bias, T* y) {
  const int64_t outs = s.cout / s.groups, taps = s.kh * s.kw;
  if (steps_by_one(s) && s.kh == s.kw && (s.kh == 3 || s.kh == 5)) {
    const auto run = s.kh == 3 ? square<3, T> : square<5, T>;
    parallel_for(s.n * s.cout, planes_per_chunk(s), [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; item++) {
        const int64_t to = item % s.cout;
        run({x + item / outs * s.h * s.w, s.h, s.w, s.pad_h, s.pad_w, weight + to * taps,
             bias ? bias[to] : T(0), y + item * s.hout * s.wout, s.hout, s.wout});
      }
    });
    return;
  }
  Scratch offsets(Use::offsets, sizeof(int64_t) * (taps + s.stride_h + s.stride_w));
  auto* offset = offsets.as<int64_t>();
  const Axis ay = forward_axis(s.hout, s.kh, s.stride_h, s.pad_h, s.dil_h, offset + taps);
  const Axis ax = forward_axis(s.wout, s.kw, s.stride_w, s.pad_w, s.dil_w, offset + taps + s.stride_h);
  for (int64_t i = 0, t = 0; i < s.kh; i++)
    for (int64_t j = 0; j < s.kw; j++, t++) offset[t] = tap_offset(ay, ax, i * s.dil_h, j * s.dil_w);
  parallel_for(s.n * s.groups, planes_per_chunk(s), [&](int64_t begin, int64_t end) {
    Scratch image(Use::image, sizeof(T) * planes_room<T>(1, ay, ax));
    T* plane = image.as<T>();
    for (int64_t item = begin; item < end; item++) {
      fill_planes(x + item * s.h * s.w, 1, s.h, s.w, ay, ax, plane, item > begin);
      for (int64_t o = 0; o < outs; o++) {
        const int64_t to = item % s.groups * outs + o;
        channel<T>({plane, ax.length, offset, weight + to * taps, taps, bias ? bias[to] : T(0),
                    y + (item * outs + o) * s.hout * s.wout, s.hout, s.wout});
      }
    }
  });
}

// With stride 1 the gradient for the input is the convolution of gy with the kernel turned round.
template <class T>
void depthwise_backward_data(const Conv2dShape& s, const T* gy, const T* weight, T* gx) {
  const int64_t taps = s.kh * s.kw;
  Scratch packing(Use::weight, sizeof(T) * s.cout * taps);
  T* turned = packing.as<T>();
  for (int64_t c = 0; c < s.cout; c++)
    for (int64_t t = 0; t < taps; t++) turned[c * taps + t] = weight[c * taps + taps - 1 - t];
  Conv2dShape back = s;
  back.h = s.hout, back.w = s.wout, back.hout = s.h, back.wout = s.w;
  back.pad_h = s.kh - 1 - s.pad_h, back.pad_w = s.kw - 1 - s.pad_w;
  depthwise_forward(back, gy, turned, static_cast<const T*>(nullptr), gx);
}

namespace {

// Sums of gy * x for a block of taps, in 16 virtual lanes along the rows: each lane runs over blocks of 16 columns, and
// over the rows in each, whatever the width of the registers; the lanes are folded in halves. A row of x is loaded once
// for all the rows of gy that meet it.
template <int down, int right, class T>
void dots(const Plane<T>& of, const T* gy, T* out, int64_t out_row, bool add) {
  constexpr int w = width<T>, lanes = 16;
  const Plane<T> c = of;
  T lane[down * right][lanes];
  for (int v = 0; v < lanes; v += w) {
    Vec<T> sum[down][right] = {};
    for (int64_t x = v; x < c.columns; x += lanes) {
      const int64_t left = c.columns - x;
      Lanes<T> of_gy(0, left), of_x[right];
#pragma GCC unroll 3
      for (int j = 0; j < right; j++) of_x[j] = Lanes<T>(c.pad_w - j - x, least(left, c.w + c.pad_w - j - x));
      Vec<T> g[down] = {};  // g[i]: row y - i of gy
      const auto step = [&](int64_t y, bool inside) {
#pragma GCC unroll 3
        for (int i = down - 1; i > 0; i--) g[i] = g[i - 1];
        if (inside || y < c.rows) g[0] = of_gy.load(gy + y * c.columns + x);
        const int64_t row = y - c.pad_h;
        if (row < 0 || row >= c.h) return;
        const T* from = c.x + row * c.w + x - c.pad_w;
#pragma GCC unroll 3
        for (int j = 0; j < right; j++) {
          const Vec<T> p = of_x[j].load(from + j);
#pragma GCC unroll 3
          for (int i = 0; i < down; i++)
            if (inside || (y >= i && y - i < c.rows)) sum[i][j] = fma(g[i], p, sum[i][j]);
        }
      };
      const int64_t last = c.rows + down - 1, first = least(down - 1, last);
      for (int64_t y = 0; y < first; y++) step(y, false);
      for (int64_t y = first; y < c.rows; y++) step(y, true);
      for (int64_t y = most(first, c.rows); y < last; y++) step(y, false);
    }
    for (int i = 0; i < down; i++)
      for (int j = 0; j < right; j++) store(lane[i * right + j] + v, sum[i][j]);
  }
  for (int i = 0; i < down; i++)
    for (int j = 0; j < right; j++) {
      T* fold = lane[i * right + j];
      for (int half = lanes / 2; half > 0; half /= 2)
        for (int q = 0; q < half; q++) fold[q] += fold[q + half];
      T& to = out[i * out_row + j];
      to = add ? to + fold[0] : fold[0];
    }
}

}  // namespace

template <class T>
void depthwise_weight(const Conv2dShape& s, const T* x, const T* gy, T* gw, bool add) {
  using Fn = void (*)(const Plane<T>&, const T*, T*, int64_t, bool);
  static constexpr Fn blocks[3][3] = {{dots<1, 1, T>, dots<1, 2, T>, dots<1, 3, T>},
                                      {dots<2, 1, T>, dots<2, 2, T>, dots<2, 3, T>},
                                      {dots<3, 1, T>, dots<3, 2, T>, dots<3, 3, T>}};
  for (int64_t i = 0; i < s.kh; i += 3)
    for (int64_t j = 0; j < s.kw; j += 3)
      blocks[least(3, s.kh - i) - 1][least(3, s.kw - j) - 1](
          {x, s.h, s.w, s.pad_h - i, s.pad_w - j, nullptr, 0, nullptr, s.hout, s.wout}, gy, gw + i * s.kw + j,
          s.kw, add);
}

#define INSTANTIATE(T) \
  template void depthwise_forward(const Conv2dShape&, const T*, const T*, const T*, T*); \
  template void depthwise_backward_data(const Conv2dShape&, const T*, const T*, T*); \
  template void depthwise_weight(const Conv2dShape&, const T*, const T*, T*, bool);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace rushlight::cpu::RL_ISA

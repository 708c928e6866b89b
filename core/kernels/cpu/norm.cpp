// Bodies of the normalisation kernels. Rows and planes are the units of parallel work.
#include "kernels/cpu/norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/lanes.h"
#include "kernels/parallel.h"
#include "kernels/with_isa.h"

namespace rushlight::cpu {
namespace {

constexpr int64_t rows_per_piece = 64;  // of sums across rows

template <class F>
void over(int64_t count, int64_t size, F&& f) {
  parallel_for(count, std::max<int64_t>(1, 16384 / std::max<int64_t>(size, 1)),
               [&](int64_t begin, int64_t end) {
                 with_isa([&] {
                   for (int64_t i = begin; i < end; ++i) f(i);
                 });
               });
}

// Adds pieces [count][width] up in order.
template <class T>
void combine(const std::vector<double>& pieces, int64_t count, int64_t width, T* out) {
  for (int64_t j = 0; j < width; ++j) {
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += pieces[k * width + j];
    out[j] = T(sum);
  }
}

int64_t pieces_of(int64_t n) { return (n + rows_per_piece - 1) / rows_per_piece; }

// sums[k] of channel c = sum over n and inner of f_k(index, c). Pieces are groups of n; short planes are summed column-wise.
template <class T, class F, class G>
void two_sums(const Planes& p, F&& first, G&& second, bool both, T* sum_first, T* sum_second) {
  const int64_t per_piece = p.inner >= lane_count ? 1 : rows_per_piece;
  const int64_t pieces = (p.n + per_piece - 1) / per_piece;
  std::vector<double> a(pieces * p.channels), b(both ? a.size() : 0);
  if (p.inner >= lane_count) {
    over(p.n * p.channels, p.inner, [&](int64_t plane) {
      const int64_t at = plane * p.inner, c = plane % p.channels;
      a[plane] = double(lane_sum<T>(p.inner, [&](int64_t i) { return first(at + i, c); }));
      if (both) b[plane] = double(lane_sum<T>(p.inner, [&](int64_t i) { return second(at + i, c); }));
    });
  } else {
    over(pieces, per_piece * p.channels * p.inner, [&](int64_t piece) {
      double *to_a = a.data() + piece * p.channels, *to_b = both ? b.data() + piece * p.channels : nullptr;
      for (int64_t i = piece * per_piece; i < std::min(p.n, (piece + 1) * per_piece); ++i)
        for (int64_t c = 0; c < p.channels; ++c)
          for (int64_t j = 0; j < p.inner; ++j) {
            const int64_t at = (i * p.channels + c) * p.inner + j;
            to_a[c] += double(first(at, c));
            if (both) to_b[c] += double(second(at, c));
          }
    });
  }
  combine(a, pieces, p.channels, sum_first);
  if (both) combine(b, pieces, p.channels, sum_second);
}

// f(index, channel) writes every element.
template <class F>
void each_value(const Planes& p, F&& f) {
  if (p.inner >= 8) {
    over(p.n * p.channels, p.inner, [&](int64_t plane) {
      const int64_t at = plane * p.inner, c = plane % p.channels;
      for (int64_t i = 0; i < p.inner; ++i) f(at + i, c);
    });
  } else {
    over(p.n, p.channels * p.inner, [&](int64_t row) {
      const int64_t at = row * p.channels * p.inner;
      if (p.inner == 1) {
        for (int64_t c = 0; c < p.channels; ++c) f(at + c, c);
        return;
      }
      for (int64_t c = 0; c < p.channels; ++c)
        for (int64_t j = 0; j < p.inner; ++j) f(at + c * p.inner + j, c);
    });
  }
}

}  // namespace

template <class T>
void layer_norm(int64_t rows, int64_t columns, const T* x, const T* weight, const T* bias, double eps, T* y,
                T* mean, T* rstd) {
  const T n = T(columns);
  over(rows, columns, [&](int64_t r) {
    const T* from = x + r * columns;
    T* to = y + r * columns;
    const T m = lane_sum<T>(columns, [&](int64_t j) { return from[j]; }) / n;
    const T variance = lane_sum<T>(columns, [&](int64_t j) { return (from[j] - m) * (from[j] - m); }) / n;
    const T s = T(1) / std::sqrt(variance + T(eps));
    mean[r] = m;
    rstd[r] = s;
    if (weight && bias)
      for (int64_t j = 0; j < columns; ++j) to[j] = (from[j] - m) * s * weight[j] + bias[j];
    else
      for (int64_t j = 0; j < columns; ++j) {
        const T v = (from[j] - m) * s;
        to[j] = weight ? v * weight[j] : bias ? v + bias[j] : v;
      }
  });
}

template <class T>
void layer_norm_backward(int64_t rows, int64_t columns, const T* g, const T* x, const T* mean, const T* rstd,
                         const T* weight, T* gx, T* gw, T* gb) {
  if (gx)
    over(rows, columns, [&](int64_t r) {
      const T *from = x + r * columns, *in = g + r * columns;
      T* to = gx + r * columns;
      const T m = mean[r], s = rstd[r];
      auto scaled = [&](int64_t j) { return weight ? in[j] * weight[j] : in[j]; };
      const T sum = lane_sum<T>(columns, [&](int64_t j) { return scaled(j); }) / T(columns);
      const T dot = lane_sum<T>(columns, [&](int64_t j) { return scaled(j) * ((from[j] - m) * s); }) /
                    T(columns);
      for (int64_t j = 0; j < columns; ++j) to[j] = s * (scaled(j) - sum - (from[j] - m) * s * dot);
    });
  if (!gw && !gb) return;
  const int64_t pieces = pieces_of(rows);
  std::vector<double> w(gw ? pieces * columns : 0), b(gb ? pieces * columns : 0);
  over(pieces, rows_per_piece * columns, [&](int64_t piece) {
    for (int64_t r = piece * rows_per_piece; r < std::min(rows, (piece + 1) * rows_per_piece); ++r) {
      const T *from = x + r * columns, *in = g + r * columns;
      const T m = mean[r], s = rstd[r];
      double *to_w = w.data() + piece * columns, *to_b = b.data() + piece * columns;
      if (gw)
        for (int64_t j = 0; j < columns; ++j) to_w[j] += double(in[j] * ((from[j] - m) * s));
      if (gb)
        for (int64_t j = 0; j < columns; ++j) to_b[j] += double(in[j]);
    }
  });
  if (gw) combine(w, pieces, columns, gw);
  if (gb) combine(b, pieces, columns, gb);
}

template <class T>
void channel_moments(const Planes& p, const T* x, T* mean, T* variance) {
  const double count = double(p.n) * double(p.inner);
  two_sums<T>(
      p, [&](int64_t i, int64_t) { return x[i]; }, [](int64_t, int64_t) { return T(0); }, false, mean,
      variance);
  for (int64_t c = 0; c < p.channels; ++c) mean[c] = T(mean[c] / count);
  two_sums<T>(
      p, [&](int64_t i, int64_t c) { return (x[i] - mean[c]) * (x[i] - mean[c]); },
      [](int64_t, int64_t) { return T(0); }, false, variance, variance);
  for (int64_t c = 0; c < p.channels; ++c) variance[c] = T(variance[c] / count);
}

template <class T>
void channel_affine(const Planes& p, const T* x, const T* mean, const T* scale, const T* shift, T* y) {
  if (shift) each_value(p, [&](int64_t i, int64_t c) { y[i] = (x[i] - mean[c]) * scale[c] + shift[c]; });
  else each_value(p, [&](int64_t i, int64_t c) { y[i] = (x[i] - mean[c]) * scale[c]; });
}

template <class T>
void channel_dots(const Planes& p, const T* g, const T* x, const T* mean, T* sum_g, T* sum_gx) {
  two_sums<T>(
      p, [&](int64_t i, int64_t) { return g[i]; },
      [&](int64_t i, int64_t c) { return g[i] * (x[i] - mean[c]); }, true, sum_g, sum_gx);
}

template <class T>
void channel_backward(const Planes& p, const T* g, const T* x, const T* mean, const T* a, const T* b,
                      const T* d, T* gx) {
  each_value(p, [&](int64_t i, int64_t c) { gx[i] = g[i] * a[c] - b[c] - (x[i] - mean[c]) * d[c]; });
}

#define INSTANTIATE(T) \
  template void layer_norm(int64_t, int64_t, const T*, const T*, const T*, double, T*, T*, T*); \
  template void layer_norm_backward(int64_t, int64_t, const T*, const T*, const T*, const T*, const T*, T*, \
                                    T*, T*); \
  template void channel_moments(const Planes&, const T*, T*, T*); \
  template void channel_affine(const Planes&, const T*, const T*, const T*, const T*, T*); \
  template void channel_dots(const Planes&, const T*, const T*, const T*, T*, T*); \
  template void channel_backward(const Planes&, const T*, const T*, const T*, const T*, const T*, const T*, \
                                 T*);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace rushlight::cpu

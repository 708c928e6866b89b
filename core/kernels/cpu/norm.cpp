// Bodies of the normalisation kernels. Rows and planes are the units of parallel work.
#include "kernels/cpu/norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/lanes.h"
#include "kernels/parallel.h"
#include "kernels/stream.h"
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

// The same for rows of results: f(i, output).
template <class T, class F>
void over_outputs(int64_t count, int64_t size, int64_t longest, bool past, F&& f) {
  parallel_for(count, std::max<int64_t>(1, 16384 / std::max<int64_t>(size, 1)),
               [&](int64_t begin, int64_t end) {
                 const RowOutput<T> output(past, longest);
                 with_isa([&] {
                   for (int64_t i = begin; i < end; ++i) f(i, output);
                 });
               });
}

// Whether `tensors` arrays of rows of results and inputs are too much for the caches.
template <class T>
bool past_caches(int64_t tensors, int64_t rows, int64_t columns) {
  return streams(tensors * rows * columns * int64_t(sizeof(T))) && columns <= RowOutput<T>::most;
}

// Adds pieces [count][width] up in order.
template <class T>
void combine(const std::vector<double>& pieces, int64_t count, int64_t width, T* out) {
  std::vector<double> sum(width);
  for (int64_t k = 0; k < count; ++k)
    for (int64_t j = 0; j < width; ++j) sum[j] += pieces[k * width + j];
  for (int64_t j = 0; j < width; ++j) out[j] = T(sum[j]);
}

int64_t pieces_of(int64_t n) { return (n + rows_per_piece - 1) / rows_per_piece; }

// Functors below are copied into locals before a loop and capture by value: the compiler must see that stores do not change them.

// Adds up rows first <= i < last of f(i * channels + c, c) for each channel, and of g where there is to_g.
template <class T, class F, class G>
RL_INLINE void sum_rows(int64_t first, int64_t last, int64_t channels, F f, G g, double* to_f, double* to_g) {
  constexpr int64_t width = 4096;  // long pieces of rows: memory is read in order
  T sum[width], other[width];
  for (int64_t c0 = 0; c0 < channels; c0 += width) {
    const int64_t n = std::min(width, channels - c0);
    for (int64_t c = 0; c < n; ++c) sum[c] = other[c] = 0;
    for (int64_t i = first; i < last; ++i) {
      const int64_t at = i * channels + c0;
      RL_INDEPENDENT
      for (int64_t c = 0; c < n; ++c) sum[c] += f(at + c, c0 + c);
      if (!to_g) continue;
      RL_INDEPENDENT
      for (int64_t c = 0; c < n; ++c) other[c] += g(at + c, c0 + c);
    }
    for (int64_t c = 0; c < n; ++c) to_f[c0 + c] = double(sum[c]);
    if (!to_g) continue;
    for (int64_t c = 0; c < n; ++c) to_g[c0 + c] = double(other[c]);
  }
}

// Sums over each channel of first(i, c) and second(i, c), i being the element's index. Pieces are planes, or groups of rows where
// planes are short.
template <class T, class F, class G>
void two_sums(const Planes& p, F first, G second, bool both, T* sum_first, T* sum_second) {
  const bool by_planes = p.inner >= lane_count;
  const int64_t per_piece = by_planes ? 1 : rows_per_piece, pieces = (p.n + per_piece - 1) / per_piece;
  std::vector<double> sums_a(pieces * p.channels), sums_b(both ? sums_a.size() : 0);
  double *a = sums_a.data(), *b = sums_b.data();
  if (by_planes) {
    over(p.n * p.channels, p.inner, [=](int64_t plane) {
      const F f = first;
      const G g = second;
      const int64_t at = plane * p.inner, c = plane % p.channels;
      a[plane] = double(lane_sum<T>(p.inner, [=](int64_t i) { return f(at + i, c); }));
      if (both) b[plane] = double(lane_sum<T>(p.inner, [=](int64_t i) { return g(at + i, c); }));
    });
  } else {
    over(pieces, per_piece * p.channels * p.inner, [=](int64_t piece) {
      const F f = first;
      const G g = second;
      double *to_a = a + piece * p.channels, *to_b = b + piece * p.channels;
      if (p.inner == 1) {
        const int64_t begin = piece * per_piece, end = std::min(p.n, begin + per_piece);
        return sum_rows<T>(begin, end, p.channels, f, g, to_a, both ? to_b : nullptr);
      }
      for (int64_t i = piece * per_piece; i < std::min(p.n, (piece + 1) * per_piece); ++i)
        for (int64_t j = 0; j < p.inner; ++j) {
          const int64_t row = i * p.channels * p.inner + j, step = p.inner;
          RL_INDEPENDENT
          for (int64_t c = 0; c < p.channels; ++c) to_a[c] += double(f(row + c * step, c));
          if (!both) continue;
          RL_INDEPENDENT
          for (int64_t c = 0; c < p.channels; ++c) to_b[c] += double(g(row + c * step, c));
        }
    });
  }
  combine(sums_a, pieces, p.channels, sum_first);
  if (both) combine(sums_b, pieces, p.channels, sum_second);
}

// Whether there are channels enough to share them out whole: what a first pass over a channel reads is then still in the
// cache for the next. The sums are those of two_sums, to the bit.
bool by_channels(const Planes& p) { return p.inner >= lane_count && p.channels >= 4 * num_threads(); }

// The sum of f(i) over channel c, plane by plane.
template <class T, class F>
RL_INLINE T sum_channel(const Planes& p, int64_t c, F f) {
  double sum = 0;
  for (int64_t k = 0; k < p.n; ++k) {
    const int64_t at = (k * p.channels + c) * p.inner;
    sum += double(lane_sum<T>(p.inner, [=](int64_t i) { return f(at + i); }));
  }
  return T(sum);
}

// of_channel(c)(i) gives the value that is stored at index i. x and others: inputs that are read at the same places.
template <class T, class F, class... Input>
void each_value(const Planes& p, T* y, F of_channel, const Input*... x) {
  constexpr int64_t piece = 4096;
  const bool much = streams((1 + sizeof...(x)) * p.n * p.channels * p.inner * int64_t(sizeof(T)));
  if (p.inner >= 8) {
    over_outputs<T>(p.n * p.channels, p.inner, piece, much, [=](int64_t plane, const RowOutput<T>& output) {
      const auto f = of_channel(plane % p.channels);
      const int64_t end = (plane + 1) * p.inner;
      for (int64_t at = plane * p.inner; at < end; at += piece) {
        const int64_t n = std::min(piece, end - at);
        T* const to = output.begin(y + at);
        RL_INDEPENDENT
        for (int64_t i = 0; i < n; ++i) to[i] = f(at + i);
        output.finish(y + at, n, (x + at + n)...);
      }
    });
  } else if (p.inner == 1) {
    over_outputs<T>(p.n, p.channels, std::min(p.channels, piece), much,
                    [=](int64_t row, const RowOutput<T>& output) {
                      const F f = of_channel;
                      const int64_t end = p.channels, first = row * end;
                      for (int64_t c0 = 0; c0 < end; c0 += piece) {
                        const int64_t n = std::min(piece, end - c0);
                        T* const to = output.begin(y + first + c0);
                        RL_INDEPENDENT
                        for (int64_t c = 0; c < n; ++c) to[c] = f(c0 + c)(first + c0 + c);
                        output.finish(y + first + c0, n, (x + first + c0 + n)...);
                      }
                    });
  } else {
    over(p.n, p.channels * p.inner, [=](int64_t row) {
      const F f = of_channel;
      const int64_t n = p.channels, step = p.inner;
      for (int64_t j = 0; j < step; ++j) {
        const int64_t at = row * n * step + j;
        RL_INDEPENDENT
        for (int64_t c = 0; c < n; ++c) y[at + c * step] = f(c)(at + c * step);
      }
    });
  }
}

template <class T>
RL_INLINE void norm_row(int64_t n, const T* x, const T* weight, const T* bias, T eps, T* y, T* mean,
                        T* rstd) {
  const T m = lane_sum<T>(n, [x](int64_t j) { return x[j]; }) / T(n);
  const T variance = lane_sum<T>(n, [x, m](int64_t j) { return (x[j] - m) * (x[j] - m); }) / T(n);
  const T s = T(1) / std::sqrt(variance + eps);
  *mean = m;
  *rstd = s;
  if (weight && bias) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - m) * s * weight[j] + bias[j];
  } else if (weight) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - m) * s * weight[j];
  } else {  // a bias comes with a weight, or is added apart
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - m) * s;
    if (!bias) return;
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) y[j] = y[j] + bias[j];
  }
}

template <class T>
RL_INLINE void rms_row(int64_t n, const T* x, const T* weight, T eps, T* y, T* rstd) {
  const T s = T(1) / std::sqrt(lane_sum<T>(n, [x](int64_t j) { return x[j] * x[j]; }) / T(n) + eps);
  *rstd = s;
  if (weight) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) y[j] = x[j] * s * weight[j];
  } else {
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) y[j] = x[j] * s;
  }
}

// scaled: room for one row
template <class T>
RL_INLINE void backward_row(int64_t n, const T* g, const T* x, T m, T s, const T* weight, T* scaled, T* gx) {
  if (weight) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) scaled[j] = g[j] * weight[j];
    g = scaled;
  }
  const T sum = lane_sum<T>(n, [g](int64_t j) { return g[j]; }) / T(n);
  const T dot = lane_sum<T>(n, [g, x, m, s](int64_t j) { return g[j] * ((x[j] - m) * s); }) / T(n);
  RL_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) gx[j] = s * (g[j] - sum - (x[j] - m) * s * dot);
}

// `rows` rows that lie one after the other, added up in order.
template <int rows, class T>
RL_INLINE void add_parameter_rows(int64_t n, const T* g, const T* x, const T* mean, const T* rstd, double* gw,
                                  double* gb) {
  T m[rows], s[rows];
  for (int r = 0; r < rows; ++r) m[r] = mean[r], s[r] = rstd[r];
  if (gw) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) {
      double sum = gw[j];
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) sum += double(g[r * n + j] * ((x[r * n + j] - m[r]) * s[r]));
      gw[j] = sum;
    }
  }
  if (gb) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) {
      double sum = gb[j];
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) sum += double(g[r * n + j]);
      gb[j] = sum;
    }
  }
}

}  // namespace

template <class T>
void layer_norm(int64_t rows, int64_t columns, const T* x, const T* weight, const T* bias, double eps, T* y,
                T* mean, T* rstd) {
  over_outputs<T>(rows, columns, columns, past_caches<T>(2, rows, columns),
                  [=](int64_t r, const RowOutput<T>& output) {
                    const T* const from = x + r * columns;
                    T* const to = y + r * columns;
                    norm_row(columns, from, weight, bias, T(eps), output.begin(to), mean + r, rstd + r);
                    output.finish(to, columns, from + columns);
                  });
}

template <class T>
void rms_norm(int64_t rows, int64_t columns, const T* x, const T* weight, double eps, T* y, T* rstd) {
  over_outputs<T>(rows, columns, columns, past_caches<T>(2, rows, columns),
                  [=](int64_t r, const RowOutput<T>& output) {
                    const T* const from = x + r * columns;
                    T* const to = y + r * columns;
                    rms_row(columns, from, weight, T(eps), output.begin(to), rstd + r);
                    output.finish(to, columns, from + columns);
                  });
}

template <class T>
void layer_norm_backward(int64_t rows, int64_t columns, const T* g, const T* x, const T* mean, const T* rstd,
                         const T* weight, T* gx, T* gw, T* gb) {
  constexpr int group = 4;
  const bool past = gx && past_caches<T>(3, rows, columns);
  const int64_t pieces = gw || gb ? pieces_of(rows) : 0;
  std::vector<double> w(gw ? pieces * columns : 0), b(gb ? pieces * columns : 0);
  double *to_w = gw ? w.data() : nullptr, *to_b = gb ? b.data() : nullptr;
  // Rows [first, last) of one piece, several at a time: the sums, which are longer than rows, are read and written less often.
  auto add_parameters = [=](int64_t first, int64_t last) {
    const int64_t sums = first / rows_per_piece * columns;
    double *gw_sum = to_w ? to_w + sums : nullptr, *gb_sum = to_b ? to_b + sums : nullptr;
    for (; first + group <= last; first += group)
      add_parameter_rows<group>(columns, g + first * columns, x + first * columns, mean + first, rstd + first,
                                gw_sum, gb_sum);
    for (; first < last; ++first)
      add_parameter_rows<1>(columns, g + first * columns, x + first * columns, mean + first, rstd + first,
                            gw_sum, gb_sum);
  };
  // Where there are pieces enough for all threads, the parameters' shares are added while the rows are in the cache.
  const bool together = gx && pieces >= 16;
  if (gx) {
    const int64_t grain = together ? rows_per_piece
                                   : std::max<int64_t>(1, 16384 / std::max<int64_t>(columns, 1));
    parallel_for(rows, grain, [=](int64_t begin, int64_t end) {
      std::vector<T> room(weight ? columns : 0);
      T* scaled = room.data();
      const RowOutput<T> output(past, columns);
      with_isa([=, &output] {
        for (int64_t r = begin; r < end; ++r) {
          const int64_t at = r * columns;
          backward_row(columns, g + at, x + at, mean[r], rstd[r], weight, scaled, output.begin(gx + at));
          if (together && (r % group == group - 1 || r == end - 1)) add_parameters(r / group * group, r + 1);
          output.finish(gx + at, columns, g + at + columns, x + at + columns);
        }
      });
    });
  }
  if (!together)
    over(pieces, rows_per_piece * columns, [=](int64_t piece) {
      add_parameters(piece * rows_per_piece, std::min(rows, (piece + 1) * rows_per_piece));
    });
  if (gw) combine(w, pieces, columns, gw);
  if (gb) combine(b, pieces, columns, gb);
}

template <class T>
void channel_moments(const Planes& p, const T* x, T* mean, T* variance) {
  const double count = double(p.n) * double(p.inner);
  if (by_channels(p)) {
    over(p.channels, p.n * p.inner, [=](int64_t c) {
      const T m = T(sum_channel<T>(p, c, [x](int64_t i) { return x[i]; }) / count);
      mean[c] = m;
      variance[c] = T(sum_channel<T>(p, c, [x, m](int64_t i) { return (x[i] - m) * (x[i] - m); }) / count);
    });
    return;
  }
  auto nothing = [](int64_t, int64_t) { return T(0); };
  two_sums<T>(p, [x](int64_t i, int64_t) { return x[i]; }, nothing, false, mean, mean);
  for (int64_t c = 0; c < p.channels; ++c) mean[c] = T(mean[c] / count);
  two_sums<T>(
      p, [x, mean](int64_t i, int64_t c) { return (x[i] - mean[c]) * (x[i] - mean[c]); }, nothing, false,
      variance, variance);
  for (int64_t c = 0; c < p.channels; ++c) variance[c] = T(variance[c] / count);
}

template <class T>
void channel_affine(const Planes& p, const T* x, const T* mean, const T* scale, const T* shift, T* y) {
  if (shift)
    each_value(
        p, y,
        [=](int64_t c) {
          const T m = mean[c], k = scale[c], b = shift[c];
          return [=](int64_t i) { return (x[i] - m) * k + b; };
        },
        x);
  else
    each_value(
        p, y,
        [=](int64_t c) {
          const T m = mean[c], k = scale[c];
          return [=](int64_t i) { return (x[i] - m) * k; };
        },
        x);
}

template <class T>
void channel_dots(const Planes& p, const T* g, const T* x, const T* mean, T* sum_g, T* sum_gx) {
  two_sums<T>(
      p, [g](int64_t i, int64_t) { return g[i]; },
      [g, x, mean](int64_t i, int64_t c) { return g[i] * (x[i] - mean[c]); }, true, sum_g, sum_gx);
}

template <class T>
void channel_backward(const Planes& p, const T* g, const T* x, const T* mean, const T* a, const T* b,
                      const T* d, T* gx) {
  each_value(
      p, gx,
      [=](int64_t c) {
        const T m = mean[c], slope = a[c], shift = b[c], pull = d[c];
        return [=](int64_t i) { return g[i] * slope - shift - (x[i] - m) * pull; };
      },
      g, x);
}

#define INSTANTIATE(T) \
  template void layer_norm(int64_t, int64_t, const T*, const T*, const T*, double, T*, T*, T*); \
  template void rms_norm(int64_t, int64_t, const T*, const T*, double, T*, T*); \
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

// Softmax by rows where dim is the last dimension, by blocks of columns otherwise.
#include "kernels/cpu/softmax.h"

#include <algorithm>

#include "kernels/cpu/softmax_math.h"
#include "kernels/parallel.h"
#include "kernels/with_isa.h"

namespace rushlight::cpu {
namespace {

constexpr int64_t column_block = 64;

template <class T>
RL_INLINE void softmax_row(int64_t n, bool log, const T* x, T* y) {
  const T top = row_maximum(n, x);
  if (log) {
    const T rest = fn::log(row_exp_sum(n, top, x));
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - top) - rest;
    return;
  }
  row_divide(n, row_exp(n, top, x, y), y);
}

template <class T>
RL_INLINE void softmax_columns(int64_t n, int64_t inner, int64_t width, bool log, const T* x, T* y) {
  T top[column_block], sum[column_block];
  for (int64_t j = 0; j < width; ++j) top[j] = minus_infinity<T>, sum[j] = 0;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < width; ++j) top[j] = larger(x[i * inner + j], top[j]);
  if (log) {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < width; ++j) sum[j] += exp_or_zero(x[i * inner + j] - top[j]);
    for (int64_t j = 0; j < width; ++j) sum[j] = fn::log(sum[j]);
    for (int64_t i = 0; i < n; ++i) {
      RL_INDEPENDENT
      for (int64_t j = 0; j < width; ++j) y[i * inner + j] = (x[i * inner + j] - top[j]) - sum[j];
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) {
      const T e = exp_or_zero(x[i * inner + j] - top[j]);
      y[i * inner + j] = e;
      sum[j] += e;
    }
  }
  for (int64_t j = 0; j < width; ++j) sum[j] = T(1) / sum[j];
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < width; ++j) y[i * inner + j] *= sum[j];
}

template <class T>
RL_INLINE void backward_row(int64_t n, bool log, const T* g, const T* y, T* gx) {
  if (log) {
    const T sum = lane_sum<T>(n, [g](int64_t j) { return g[j]; });
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) gx[j] = g[j] - exp_or_zero(y[j]) * sum;
  } else {
    const T sum = lane_sum<T>(n, [g, y](int64_t j) { return g[j] * y[j]; });
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) gx[j] = (g[j] - sum) * y[j];
  }
}

template <class T>
RL_INLINE void backward_columns(int64_t n, int64_t inner, int64_t width, bool log, const T* g, const T* y,
                                T* gx) {
  T sum[column_block];
  for (int64_t j = 0; j < width; ++j) sum[j] = 0;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < width; ++j) {
      const int64_t at = i * inner + j;
      sum[j] += log ? g[at] : g[at] * y[at];
    }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < width; ++j) {
      const int64_t at = i * inner + j;
      gx[at] = log ? g[at] - exp_or_zero(y[at]) * sum[j] : (g[at] - sum[j]) * y[at];
    }
}

// Calls row(offset) or columns(offset, width) for every piece, in parallel.
template <class Row, class Columns>
void over_pieces(const SoftmaxShape& s, Row&& row, Columns&& columns) {
  if (s.inner == 1) {
    parallel_for(s.outer, std::max<int64_t>(1, 8192 / s.dim), [&](int64_t begin, int64_t end) {
      with_isa([&] {
        for (int64_t r = begin; r < end; ++r) row(r * s.dim);
      });
    });
    return;
  }
  const int64_t blocks = (s.inner + column_block - 1) / column_block;
  parallel_for(s.outer * blocks, std::max<int64_t>(1, 8192 / (s.dim * std::min(s.inner, column_block))),
               [&](int64_t begin, int64_t end) {
                 with_isa([&] {
                   for (int64_t r = begin; r < end; ++r) {
                     const int64_t j = r % blocks * column_block;
                     columns(r / blocks * s.dim * s.inner + j, std::min(column_block, s.inner - j));
                   }
                 });
               });
}

}  // namespace

template <class T>
void softmax(const SoftmaxShape& s, bool log, const T* x, T* y) {
  if (s.dim == 0) return;
  over_pieces(
      s, [&](int64_t at) { softmax_row(s.dim, log, x + at, y + at); },
      [&](int64_t at, int64_t width) { softmax_columns(s.dim, s.inner, width, log, x + at, y + at); });
}

template <class T>
void softmax_backward(const SoftmaxShape& s, bool log, const T* gy, const T* y, T* gx) {
  if (s.dim == 0) return;
  over_pieces(
      s, [&](int64_t at) { backward_row(s.dim, log, gy + at, y + at, gx + at); },
      [&](int64_t at, int64_t width) {
        backward_columns(s.dim, s.inner, width, log, gy + at, y + at, gx + at);
      });
}

namespace {
template <class T>
RL_INLINE T logsumexp_row(int64_t n, const T* x) {
  T top = row_maximum(n, x);
  if (fn::abs(top) < -minus_infinity<T>) return fn::log(row_exp_sum(n, top, x)) + top;
  for (int64_t j = 0; j < n; ++j) top = fn::maximum(top, x[j]);  // one infinity, unless there is a nan
  return top;
}
}  // namespace

template <class T>
void logsumexp(int64_t rows, int64_t length, const T* x, T* y) {
  parallel_for(rows, std::max<int64_t>(1, 8192 / length), [&](int64_t begin, int64_t end) {
    with_isa([=] {
      for (int64_t r = begin; r < end; ++r) y[r] = logsumexp_row(length, x + r * length);
    });
  });
}

#define INSTANTIATE(T) \
  template void softmax(const SoftmaxShape&, bool, const T*, T*); \
  template void softmax_backward(const SoftmaxShape&, bool, const T*, const T*, T*); \
  template void logsumexp(int64_t, int64_t, const T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace rushlight::cpu

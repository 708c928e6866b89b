// Softmax by rows where dim is the last dimension, by blocks of columns otherwise.
#include "kernels/cpu/softmax.h"

#include <algorithm>
#include <memory>

#include "kernels/cpu/softmax_math.h"
#include "kernels/parallel.h"
#include "kernels/stream.h"
#include "kernels/with_isa.h"

namespace rushlight::cpu {
namespace {

constexpr int64_t column_block = 32;
constexpr int64_t most_packed = 1 << 20;  // bytes of a block of columns

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

// n rows of `width` elements that lie x_apart from one another, softmax down the columns. `room` is for n rows room_apart from one
// another; it and y may be the same.
template <class T>
RL_INLINE void softmax_columns(int64_t n, int64_t width, bool log, const T* x, int64_t x_apart, T* room,
                               int64_t room_apart, T* y, int64_t y_apart) {
  constexpr int64_t ahead = 16;  // the processor does not foresee rows that lie far apart
  T top[column_block], sum[column_block];
  for (int64_t j = 0; j < width; ++j) top[j] = minus_infinity<T>, sum[j] = 0;
  for (int64_t i = 0; i < n; ++i) {
    prefetch(x + (i + ahead) * x_apart, width);
    RL_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) {
      const T value = x[i * x_apart + j];
      room[i * room_apart + j] = value;
      top[j] = larger(value, top[j]);
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) {
      const T e = exp_or_zero(room[i * room_apart + j] - top[j]);
      if (!log) room[i * room_apart + j] = e;
      sum[j] += e;
    }
  }
  if (log) {
    for (int64_t j = 0; j < width; ++j) sum[j] = fn::log(sum[j]);
    for (int64_t i = 0; i < n; ++i) {
      RL_INDEPENDENT
      for (int64_t j = 0; j < width; ++j) y[i * y_apart + j] = (room[i * room_apart + j] - top[j]) - sum[j];
    }
    return;
  }
  for (int64_t j = 0; j < width; ++j) sum[j] = T(1) / sum[j];
  for (int64_t i = 0; i < n; ++i) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) y[i * y_apart + j] = room[i * room_apart + j] * sum[j];
  }
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

// n rows of `width` elements that lie `apart` from one another, copied to dense ones.
template <class T>
RL_INLINE void pack(const T* from, int64_t apart, int64_t n, int64_t width, T* to) {
  constexpr int64_t ahead = 16;  // the processor does not foresee rows that lie far apart
  for (int64_t i = 0; i < n; ++i, from += apart, to += width) {
    prefetch(from + ahead * apart, width);
    RL_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) to[j] = from[j];
  }
}
template <class T>
void unpack(const T* from, int64_t n, int64_t width, T* to, int64_t apart, bool past) {
  if (past)
    return stream_rows(reinterpret_cast<char*>(to), apart * sizeof(T), reinterpret_cast<const char*>(from),
                       width * sizeof(T), width * sizeof(T), n);
  for (int64_t i = 0; i < n; ++i) std::copy_n(from + i * width, width, to + i * apart);
}

bool past_caches(const SoftmaxShape& s, int64_t tensors, size_t item) {
  return streams(tensors * s.outer * s.dim * s.inner * int64_t(item)) &&
         (s.inner > 1 || s.dim <= RowOutput<char>::most);
}

// Calls row(offset, output) or columns(offset, width) for every piece, in parallel.
template <class T, class Row, class Columns>
void over_pieces(const SoftmaxShape& s, bool past, Row&& row, Columns&& columns) {
  if (s.inner == 1) {
    parallel_for(s.outer, std::max<int64_t>(1, 8192 / s.dim), [&](int64_t begin, int64_t end) {
      const RowOutput<T> output(past, s.dim);
      with_isa([&] {
        for (int64_t r = begin; r < end; ++r) row(r * s.dim, output);
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
                 if (past) stream_end();
               });
}

}  // namespace

template <class T>
void softmax(const SoftmaxShape& s, bool log, const T* x, T* y) {
  if (s.dim == 0) return;
  const bool past = past_caches(s, 2, sizeof(T));
  over_pieces<T>(
      s, past,
      [=, n = s.dim](int64_t at, const RowOutput<T>& output) {
        softmax_row(n, log, x + at, output.begin(y + at));
        output.finish(y + at, n, x + at + n);
      },
      [=, n = s.dim, inner = s.inner](int64_t at, int64_t width) {
        // Rows that lie a power of two apart drive each other out of the cache: the columns are brought together.
        const bool fits = n * width * int64_t(sizeof(T)) <= most_packed, by_buffer = fits && past;
        std::unique_ptr<T[]> packed(fits ? new T[n * width] : nullptr);
        T *const room = fits ? packed.get() : y + at, *const to = by_buffer ? room : y + at;
        const int64_t room_apart = fits ? width : inner, to_apart = by_buffer ? width : inner;
        if (width == column_block)  // a number that the compiler knows
          softmax_columns(n, column_block, log, x + at, inner, room, room_apart, to, to_apart);
        else softmax_columns(n, width, log, x + at, inner, room, room_apart, to, to_apart);
        if (by_buffer) unpack(room, n, width, y + at, inner, past);
      });
}

template <class T>
void softmax_backward(const SoftmaxShape& s, bool log, const T* gy, const T* y, T* gx) {
  if (s.dim == 0) return;
  const bool past = past_caches(s, 3, sizeof(T));
  over_pieces<T>(
      s, past,
      [=, n = s.dim](int64_t at, const RowOutput<T>& output) {
        backward_row(n, log, gy + at, y + at, output.begin(gx + at));
        output.finish(gx + at, n, y + at + n, gy + at + n);
      },
      [=, n = s.dim, inner = s.inner](int64_t at, int64_t width) {
        const int64_t size = n * width;
        if (2 * size * int64_t(sizeof(T)) > most_packed)
          return backward_columns(n, inner, width, log, gy + at, y + at, gx + at);
        std::unique_ptr<T[]> packed(new T[2 * size]);
        T *g = packed.get(), *out = g + size;
        pack(gy + at, inner, n, width, g);
        pack(y + at, inner, n, width, out);
        backward_columns(n, width, width, log, g, out, out);
        unpack(out, n, width, gx + at, inner, past);
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

// Attention by blocks: scores by a matrix product, softmax in place, output by another product. The backward pass computes the
// probabilities again from the scores and the logarithms of their sums.
#include "kernels/cpu/attention.h"

#include <algorithm>
#include <memory>
#include <type_traits>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/softmax_math.h"
#include "kernels/parallel.h"
#include "kernels/with_isa.h"

namespace rushlight::cpu {
namespace {

constexpr int64_t block = 64;  // queries

template <class T>
constexpr Kind kind = std::is_same_v<T, float> ? Kind::f32 : Kind::f64;
// Hides in a row of scores what the mask (with element stride `step`) says.
template <class T>
RL_INLINE void mask_row(int64_t n, const T* added, const uint8_t* seen, int64_t step, T* row) {
  if (seen)
    for (int64_t j = 0; j < n; ++j) row[j] = seen[j * step] ? row[j] : minus_infinity<T>;
  if (added && step == 1)
    for (int64_t j = 0; j < n; ++j) row[j] += added[j];
  else if (added)
    for (int64_t j = 0; j < n; ++j) row[j] += added[j * step];
}

// One head: where its operands begin.
template <class T>
struct Head {
  const AttentionShape& s;
  const T *q, *k, *v;
  const char* mask;

  Head(const AttentionShape& shape, int64_t number, const T* q0, const T* k0, const T* v0) : s(shape) {
    const int64_t b = number / s.heads, h = number % s.heads;
    auto at = [&](const int64_t* stride) { return b * stride[0] + h * stride[1]; };
    q = q0 + at(s.q);
    k = k0 + at(s.k);
    v = v0 + at(s.v);
    mask = s.mask
               ? static_cast<const char*>(s.mask) + at(s.mask_stride) * int64_t(s.bool_mask ? 1 : sizeof(T))
               : nullptr;
  }
  // Keys that a block ending before query `end` can see.
  int64_t seen(int64_t end) const { return s.causal ? std::min(s.keys, end) : s.keys; }

  // Scores of queries [begin, end): scaled, masked, `keys` to a row. `scaled` has room for the queries.
  void scores(int64_t begin, int64_t end, int64_t keys, T* scaled, T* to) const {
    const T scale = T(s.scale);
    with_isa([&] {  // fewer multiplications than on the scores
      for (int64_t i = begin; i < end; ++i) {
        const T* from = q + i * s.q[2];
        T* row = scaled + (i - begin) * s.size;
        const int64_t n = s.size, step = s.q[3];
        if (step == 1) {
          RL_INDEPENDENT
          for (int64_t j = 0; j < n; ++j) row[j] = from[j] * scale;
        } else {
          for (int64_t j = 0; j < n; ++j) row[j] = from[j * step] * scale;
        }
      }
    });
    gemm(kind<T>, end - begin, keys, s.size, scaled, s.size, 1, k, s.k[3], s.k[2], to, keys);
    if (!mask && !s.causal) return;
    with_isa([&] {
      for (int64_t i = begin; i < end; ++i) {
        T* row = to + (i - begin) * keys;
        const int64_t at = i * s.mask_stride[2];
        mask_row(keys, mask && !s.bool_mask ? reinterpret_cast<const T*>(mask) + at : nullptr,
                 mask && s.bool_mask ? reinterpret_cast<const uint8_t*>(mask) + at : nullptr,
                 s.mask_stride[3], row);
        if (s.causal && i + 1 < keys) std::fill_n(row + i + 1, keys - i - 1, minus_infinity<T>);
      }
    });
  }
};

// Softmax in place; returns the logarithm of the sum, or -inf where nothing was seen (the row is then zero).
template <class T>
RL_INLINE T softmax_in_place(int64_t n, T* row) {
  const T top = row_maximum(n, row);
  if (top == minus_infinity<T>) {
    // nothing but hidden keys, unless a NaN hides among them
    const T sum = lane_sum<T>(n, [row](int64_t j) { return row[j] == row[j] ? T(0) : row[j]; });
    std::fill_n(row, n, sum);
    return sum == T(0) ? minus_infinity<T> : sum;
  }
  const T sum = row_exp(n, top, row, row);
  row_divide(n, sum, row);
  return top + fn::log(sum);
}

// One row of scores becomes probabilities; slope, their gradient, becomes the gradient of the unscaled scores. `sum` is the
// logarithm of the sum of exp(scores), `dot` the product of the output and its gradient.
template <class T>
RL_INLINE void backward_row(int64_t n, T sum, T dot, T scale, T* row, T* slope) {
  if (sum == minus_infinity<T>) std::fill_n(row, n, T(0));
  else row_exp(n, sum, row, row);
  RL_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) slope[j] = row[j] * (slope[j] - dot) * scale;
}
template <class T>
RL_INLINE T row_dot(int64_t n, const T* a, const T* b) {
  return lane_sum<T>(n, [a, b](int64_t j) { return a[j] * b[j]; });
}

}  // namespace

template <class T>
void attention(const AttentionShape& s, const T* q, const T* k, const T* v, T* out, T* logsumexp) {
  const int64_t blocks = (s.queries + block - 1) / block;
  const double work = double(block) * double(s.keys) * double(s.size + s.value_size);
  const int64_t grain = std::max<int64_t>(1, int64_t(65536 / std::max(work, 1.0)));
  parallel_for(s.batch * s.heads * blocks, grain, [&](int64_t first, int64_t last) {
    const int64_t most = std::min(block, s.queries);
    std::unique_ptr<T[]> p(new T[most * s.keys]), scaled(new T[most * s.size]);
    for (int64_t piece = first; piece < last; ++piece) {
      const int64_t number = piece / blocks, begin = piece % blocks * block,
                    end = std::min(s.queries, begin + block);
      const Head<T> head(s, number, q, k, v);
      const int64_t keys = head.seen(end), rows = end - begin, at = number * s.queries + begin;
      head.scores(begin, end, keys, scaled.get(), p.get());
      with_isa([&] {
        for (int64_t i = 0; i < rows; ++i) logsumexp[at + i] = softmax_in_place(keys, p.get() + i * keys);
      });
      gemm(kind<T>, rows, s.value_size, keys, p.get(), keys, 1, head.v, s.v[2], s.v[3],
           out + at * s.value_size, s.value_size);
    }
  });
}

template <class T>
void attention_backward(const AttentionShape& s, const T* g, const T* q, const T* k, const T* v, const T* out,
                        const T* logsumexp, T* gq, T* gk, T* gv) {
  parallel_for(s.batch * s.heads, 1, [&](int64_t first, int64_t last) {
    const int64_t most = std::min(block, s.queries), room = most * s.keys;
    std::unique_ptr<T[]> p(new T[room]), d(new T[room]), scaled(new T[most * s.size]);
    for (int64_t number = first; number < last; ++number) {
      const Head<T> head(s, number, q, k, v);
      T *to_k = gk + number * s.keys * s.size, *to_v = gv + number * s.keys * s.value_size;
      std::fill_n(to_k, s.keys * s.size, T(0));
      std::fill_n(to_v, s.keys * s.value_size, T(0));
      for (int64_t begin = 0; begin < s.queries; begin += block) {
        const int64_t end = std::min(s.queries, begin + block), keys = head.seen(end), rows = end - begin;
        const int64_t at = number * s.queries + begin;
        const T *gs = g + at * s.value_size, *os = out + at * s.value_size;
        head.scores(begin, end, keys, scaled.get(), p.get());
        gemm(kind<T>, rows, keys, s.value_size, gs, s.value_size, 1, head.v, s.v[3], s.v[2], d.get(), keys);
        with_isa([&] {
          for (int64_t i = 0; i < rows; ++i) {
            const T dot = row_dot(s.value_size, gs + i * s.value_size, os + i * s.value_size);
            backward_row(keys, logsumexp[at + i], dot, T(s.scale), p.get() + i * keys, d.get() + i * keys);
          }
        });
        gemm(kind<T>, rows, s.size, keys, d.get(), keys, 1, head.k, s.k[2], s.k[3], gq + at * s.size, s.size);
        gemm(kind<T>, keys, s.size, rows, d.get(), 1, keys, head.q + begin * s.q[2], s.q[2], s.q[3], to_k,
             s.size, true);
        gemm(kind<T>, keys, s.value_size, rows, p.get(), 1, keys, gs, s.value_size, 1, to_v, s.value_size,
             true);
      }
    }
  });
}

#define INSTANTIATE(T) \
  template void attention(const AttentionShape&, const T*, const T*, const T*, T*, T*); \
  template void attention_backward(const AttentionShape&, const T*, const T*, const T*, const T*, const T*, \
                                   const T*, T*, T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace rushlight::cpu

// What attention's forward and backward pass share, per instruction set: the exponential, panels, masks. Include only from
// attention*.isa.cpp and attention_tiles.h.
//
// Queries are the lanes of the vectors: scores lie as (keys, queries), so that maxima and sums over the keys need no sums across
// lanes, and everything is a product of packed panels. Whatever the width of the vectors, a query's numbers are computed in the
// same order: over the keys within blocks of fixed size, block after block.
#pragma once

#include "attention_head.h"
#include "gemm_core.h"
#include "gemm_scratch.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// ---- vectors ----

// b where one is NaN
template <class T>
static RL_INLINE Vec<T> larger(Vec<T> a, Vec<T> b) {
#if defined(__AVX512F__)  // which the compiler does not find by itself
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
  else return (Vec<T>)_mm512_maskz_max_pd(0xff, (__m512d)a, (__m512d)b);
#else
  return a > b ? a : b;
#endif
}
template <class T>
constexpr T infinite = static_cast<T>(__builtin_inf());
template <class T>
constexpr T log2_e = static_cast<T>(1.44269504088896340736);

// 2^y for y <= 1 or so, zero below 2^-127 (float): hidden keys count for nothing. NaN stays. The polynomials are minimax for the
// relative error on |r| <= 1/2, 3e-9 and 2e-17.
// Several vectors take each step together, so that the processor need not look far ahead for work.
template <int n>
static RL_INLINE void exp2_or_zero(Vec<float> (&y)[n]) {
  typedef int32_t Int __attribute__((vector_size(vector_bytes)));
  const Vec<float> round = splat(12582912.0f + 127.0f);  // the sum's low bits: the exponent of 2^n
  constexpr float terms[] = {0.0013406643902351759f, 0.0096176929729930623f, 0.055503105510137972f,
                             0.24022652782887737f,   0.6931472149680279f,    1.0f};
  Vec<float> t[n], p[n];
#pragma GCC unroll 8
  for (int i = 0; i < n; i++) {
    y[i] = larger<float>(splat(-127.0f), y[i]);
    t[i] = y[i] + round;
    p[i] = splat(0.00015594678161326619f);
  }
#pragma GCC unroll 8
  for (int i = 0; i < n; i++) y[i] = y[i] - (t[i] - round);
#pragma GCC unroll 6
  for (const float term : terms)
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) p[i] = fma(p[i], y[i], splat(term));
#pragma GCC unroll 8
  for (int i = 0; i < n; i++) y[i] = p[i] * (Vec<float>)((Int)t[i] << 23);
}
static RL_INLINE Vec<float> exp2_or_zero(Vec<float> y) {
  Vec<float> one[] = {y};
  exp2_or_zero(one);
  return one[0];
}
static RL_INLINE Vec<double> exp2_or_zero(Vec<double> y) {
  typedef int64_t Int __attribute__((vector_size(vector_bytes)));
  const Vec<double> round = splat(6755399441055744.0 + 1023.0);
  y = larger<double>(splat(-1023.0), y);
  const Vec<double> t = y + round, r = y - (t - round);
  Vec<double> p = splat(4.0780719295883367e-10);
  p = fma(p, r, splat(7.0725704128144235e-9));
  p = fma(p, r, splat(1.0180647659234139e-7));
  p = fma(p, r, splat(1.3215442675329822e-6));
  p = fma(p, r, splat(1.5252727385193868e-5));
  p = fma(p, r, splat(0.0001540353044157213));
  p = fma(p, r, splat(0.0013333558153439965));
  p = fma(p, r, splat(0.0096181291076070024));
  p = fma(p, r, splat(0.055504108664790395));
  p = fma(p, r, splat(0.24022650695910098));
  p = fma(p, r, splat(0.6931471805599457));
  return fma(p, r, splat(1.0)) * (Vec<double>)((Int)t << 52);
}

// ---- panels ----

template <class T>
constexpr int64_t lanes = tile_columns<T>;  // queries of one panel

template <class T>
static RL_INLINE int64_t whole_vectors(int64_t columns) {
  return ceil_div(columns, width<T>) * width<T>;
}

// `count` rows as one panel [size][lanes], zeros to the right.
template <class T>
void pack_rows(const T* rows, int64_t row, int64_t count, int64_t size, T factor, T* to) {
  pack_b(rows, 1, row, size, count, to);
  if (factor != T(1))
    for (int64_t j = 0; j < size * lanes<T>; j += width<T>) store(to + j, load(to + j) * splat(factor));
}

// C[m, columns] (+)= A[m, k] * B[k, columns]: A packed in panels of `rows` rows that are `depth` >= k terms long, columns whole
// vectors of one panel.
template <class T>
void panel_product(int64_t m, int64_t k, const T* a, int64_t depth, int rows, const T* b, int64_t ldb, T* c,
                   int64_t ldc, int64_t columns, bool add) {
  TileArgs<T> t{k, a, 0, 0, b, ldb, nullptr, c, ldc, static_cast<int>(columns), add};
  for (int64_t i = 0; i < m; i += rows) {
    tile_packed(static_cast<int>(least(rows, m - i)), t);
    t.a += rows * depth;
    t.c += rows * ldc;
  }
}

// ---- masks ----

template <class T>
static RL_INLINE T said(uint8_t seen) {
  return seen ? T(0) : -infinite<T>;
}
template <class T>
static RL_INLINE T said(T added) {
  return added;
}

// What the mask says of `keys` keys from key0 on and `count` queries from q0 on, applied to scores (keys, queries).
template <class T, class M>
void apply_mask(const AttentionPiece<T>& h, int64_t q0, int64_t count, int64_t key0, int64_t keys, T* scores,
                int64_t row) {
  constexpr int w = width<T>;
  const int64_t step_q = h.s.mask_stride[2], step_k = h.s.mask_stride[3];
  const auto* mask = reinterpret_cast<const M*>(h.mask) + q0 * step_q + key0 * step_k;
  const auto apply = [&](Vec<T> says, T* at) {
    const Vec<T> now = load(at);
    store(at, sizeof(M) == 1 ? (says < T(0) ? says : now) : now + says);
  };
  for (int64_t j = 0; j < count; j += w)
    for (int64_t i = 0; i < keys; i += w) {
      const int64_t n = least(w, keys - i);
      T* at = scores + i * row + j;
      Vec<T> block[w] = {};
      for (int64_t q = 0; q < (step_q ? least(w, count - j) : 1); q++) {
        const M* from = mask + (j + q) * step_q + i * step_k;
        T line[w] = {};
        for (int64_t k = 0; k < n; k++) line[k] = said<T>(from[k * step_k]);
        block[q] = load(line);
      }
      if (step_q) transpose<T>(block);
      for (int64_t k = 0; k < n; k++) apply(step_q ? block[k] : splat(block[0][k]), at + k * row);
    }
}
// Hides the keys after each query's own position.
template <class T>
void hide_later(int64_t q0, int64_t columns, int64_t key0, int64_t keys, T* scores, int64_t row) {
  constexpr int w = width<T>;
  Vec<T> place = {};
  for (int q = 0; q < w; q++) place[q] = static_cast<T>(q);
  for (int64_t i = most(0, q0 - key0); i < keys; i++)
    for (int64_t j = 0; j < columns; j += w) {
      T* at = scores + i * row + j;
      store(at, place < splat(static_cast<T>(key0 + i - q0 - j)) ? splat(-infinite<T>) : load(at));
    }
}
template <class T>
void mask_scores(const AttentionPiece<T>& h, int64_t q0, int64_t count, int64_t key0, int64_t keys, T* scores,
                 int64_t row) {
  if (h.mask && h.s.bool_mask) apply_mask<T, uint8_t>(h, q0, count, key0, keys, scores, row);
  else if (h.mask) apply_mask<T, T>(h, q0, count, key0, keys, scores, row);
  if (h.s.causal) hide_later(q0, whole_vectors<T>(count), key0, keys, scores, row);
}
// How many of the keys [key0, key0 + count) a query before `end` can see.
template <class T>
int64_t seen(const AttentionPiece<T>& h, int64_t end, int64_t key0, int64_t count) {
  return h.s.causal ? most(0, least(count, end - key0)) : count;
}

// ---- results ----

// A logarithm of a sum in base 2; a query that sees nothing gets probabilities of zero.
template <class T>
T exponent(T logsumexp) {
  return logsumexp == -infinite<T> ? infinite<T> : logsumexp * log2_e<T>;
}

// What a forward pass has found, panels of (value_size, lanes) sums `panel_items` apart, divided by the totals.
template <class T>
void give(const AttentionPiece<T>& h, const AttentionResult<T>& to, T* outs, int64_t panel_items,
          const T* tops, const T* totals) {
  constexpr int64_t nr = lanes<T>;
  for (int64_t q0 = h.begin; q0 < h.end; q0 += nr, outs += panel_items, tops += nr, totals += nr) {
    const int64_t n = least(nr, h.end - q0);
    for (int64_t j = 0; j < n; j += width<T>) {
      const Vec<T> sum = load(totals + j), factor = splat(T(1)) / (sum == T(0) ? splat(T(1)) : sum);
      for (int64_t d = 0; d < h.s.value_size; d++) store(outs + d * nr + j, load(outs + d * nr + j) * factor);
    }
    transpose_into(outs, nr, h.s.value_size, n, to.out + q0 * h.s.out.row, h.s.out.row);
    for (int64_t j = 0; j < n; j++) {
      to.top[q0 - h.begin + j] = tops[j];
      to.total[q0 - h.begin + j] = totals[j];
    }
  }
}

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

// Products with a single row: a vector times a matrix stored by rows or by columns, and two vectors. They
// read the matrix once, in place. Include only from gemm.isa.cpp.
#pragma once

#include "../parallel.h"
#include "gemm_core.h"
#include "gemm_product.h"
#include "gemm_scratch.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// Items per chunk so that a chunk is worth handing to another thread. A product of a row costs what reading the matrix costs:
// two threads read it from two second-level caches.
int64_t gemv_grain(int64_t items, double flops) {
  return flops < 8e4 ? items : most(1, static_cast<int64_t>(4e4 / (flops / static_cast<double>(items))));
}

// y[vectors * width] (+)= x[k] * B[k, vectors * width]; with `tail` only its last vector's first lanes exist.
template <class T, int vectors, bool tail = false>
void strip(int64_t k, const T* x, int64_t x_step, const T* b, int64_t ldb, T* y, bool add,
           int lanes = width<T>) {
  constexpr int w = width<T>;
  Vec<T> sum[vectors];
#pragma GCC unroll 16
  for (int v = 0; v < vectors; v++) sum[v] = Vec<T>{};
  for (int64_t p = 0; p < k; p++, b += ldb, x += x_step) {
    const Vec<T> xv = splat(*x);
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++)
      sum[v] = fma(xv, tail ? load_tail(b + v * w, lanes) : load(b + v * w), sum[v]);
  }
#pragma GCC unroll 16
  for (int v = 0; v < vectors; v++) {
    if (tail) store_tail(y + v * w, add ? load_tail(y + v * w, lanes) + sum[v] : sum[v], lanes);
    else store(y + v * w, add ? load(y + v * w) + sum[v] : sum[v]);
  }
}

// sums[n] += x[k] * B[k, n], n a multiple of the width: `rows` rows of B at a time, in long pieces that memory delivers well.
template <class T, int rows>
void sweep(int64_t k, const T* x, int64_t x_step, const T* b, int64_t ldb, T* sums, int64_t n) {
  int64_t p = 0;
  for (; p + rows <= k; p += rows, b += rows * ldb) {
    Vec<T> xv[rows];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) xv[r] = splat(x[(p + r) * x_step]);
    for (int64_t j = 0; j < n; j += width<T>) {
      Vec<T> sum = load(sums + j);
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) sum = fma(xv[r], load(b + r * ldb + j), sum);
      store(sums + j, sum);
    }
  }
  if constexpr (rows > 1) sweep<T, 1>(k - p, x + p * x_step, x_step, b, ldb, sums, n);
}

template <class T>
constexpr int64_t long_piece = 4096 / static_cast<int64_t>(sizeof(T));

// Columns [j, j + n) of the product of a row and contiguous rows, n < 2 * long_piece.
template <class T>
void row_times_piece(const Product& g, int64_t j, int64_t n) {
  const T *x = static_cast<const T*>(g.a), *b = static_cast<const T*>(g.b) + j;
  T *y = static_cast<T*>(g.c) + j, sums[2 * long_piece<T>];
  for (int64_t p = 0; p < g.k; p += k_block) {
    for (int64_t i = 0; i < n; i++) sums[i] = 0;
    sweep<T, 8>(least(k_block, g.k - p), x + p * g.a_col, g.a_col, b + p * g.b_row, g.b_row, sums, n);
    const bool add = g.add || p > 0;
    for (int64_t i = 0; i < n; i++) y[i] = add ? y[i] + sums[i] : sums[i];
  }
}

// m == 1, rows of B contiguous.
template <class T>
void row_times_rows(const Product& g) {
  constexpr int w = width<T>, wide = vector_bytes == 64 ? 16 : 8;
  const auto* x = static_cast<const T*>(g.a);
  const auto* b = static_cast<const T*>(g.b);
  auto* y = static_cast<T*>(g.c);
  if (g.n >= long_piece<T>) {
    const int64_t length = g.n < 2 * long_piece<T> ? long_piece<T> / 2 : long_piece<T>;
    const int64_t pieces = g.n / length;  // the last one takes what is left, up to whole vectors
    parallel_for(pieces, gemv_grain(pieces, 2.0 * g.n * g.k), [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; piece++) {
        const int64_t j = piece * length;
        row_times_piece<T>(g, j, piece + 1 < pieces ? length : g.n / w * w - j);
      }
    });
    if (const int64_t rest = g.n % w)
      for (int64_t p = 0, j = g.n - rest; p < g.k; p += k_block)
        strip<T, 1, true>(least(k_block, g.k - p), x + p * g.a_col, g.a_col, b + p * g.b_row + j, g.b_row,
                          y + j, g.add || p > 0, static_cast<int>(rest));
    return;
  }
  const int64_t strips = ceil_div(g.n, wide * w);
  parallel_for(strips, gemv_grain(strips, 2.0 * g.n * g.k), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; s++)
      for (int64_t p = 0; p < g.k; p += k_block) {
        const int64_t depth = least(k_block, g.k - p), last = least(g.n, (s + 1) * wide * w);
        const T *xp = x + p * g.a_col, *bp = b + p * g.b_row;
        const bool add = g.add || p > 0;
        int64_t j = s * wide * w;
        for (; j + wide * w <= last; j += wide * w)
          strip<T, wide>(depth, xp, g.a_col, bp + j, g.b_row, y + j, add);
        for (; j + 4 * w <= last; j += 4 * w) strip<T, 4>(depth, xp, g.a_col, bp + j, g.b_row, y + j, add);
        for (; j + w <= last; j += w) strip<T, 1>(depth, xp, g.a_col, bp + j, g.b_row, y + j, add);
        if (j < last)
          strip<T, 1, true>(depth, xp, g.a_col, bp + j, g.b_row, y + j, add, static_cast<int>(last - j));
      }
  });
}

// Sums over `columns` columns of x[i] * column[i] for first <= i < last, in lanes of 64 bytes whatever the registers' width, folded
// in halves.
template <class T, int columns>
RL_INLINE void dot_columns(const T* x, const T* const* column, int64_t first, int64_t last, int64_t ahead,
                           T* sums) {
  constexpr int w = width<T>, lanes = 64 / static_cast<int>(sizeof(T)), vectors = lanes / w;
  Vec<T> sum[columns][vectors];
#pragma GCC unroll 16
  for (int q = 0; q < columns; q++)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) sum[q][v] = Vec<T>{};
  int64_t i = first;
  for (; i + lanes <= last; i += lanes) {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) {
      const Vec<T> xv = load(x + i + v * w);
#pragma GCC unroll 16
      for (int q = 0; q < columns; q++) sum[q][v] = fma(xv, load(column[q] + i + v * w), sum[q][v]);
    }
// The next columns are fetched meanwhile: their runs may be too short for the hardware to see them coming.
#pragma GCC unroll 16
    for (int q = 0; q < columns; q++) __builtin_prefetch(column[q] + ahead + i);
  }
  for (int v = 0; i < last; v++, i += w) {
    const int count = static_cast<int>(least(w, last - i));
    const Vec<T> xv = load_tail(x + i, count);
#pragma GCC unroll 16
    for (int q = 0; q < columns; q++) sum[q][v] = fma(xv, load_tail(column[q] + i, count), sum[q][v]);
  }
#pragma GCC unroll 16
  for (int q = 0; q < columns; q++) {
    T fold[lanes];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) store(fold + v * w, sum[q][v]);
    for (int half = lanes / 2; half > 0; half /= 2)
      for (int l = 0; l < half; l++) fold[l] += fold[l + half];
    sums[q] = fold[0];
  }
}

// m == 1, columns of B contiguous (x times the transpose of a row-major matrix): a dot product for each column, several columns
// side by side.
template <class T>
void row_times_columns(const Product& g) {
  constexpr int columns = vector_bytes == 64 ? 8 : 4;
  Scratch dense(Use::panel_a, g.a_col == 1 ? 0 : sizeof(T) * g.k);
  const auto* x = static_cast<const T*>(g.a);
  if (g.a_col != 1) {
    for (int64_t i = 0; i < g.k; i++) dense.as<T>()[i] = x[i * g.a_col];
    x = dense.as<T>();
  }
  const auto* b = static_cast<const T*>(g.b);
  auto* y = static_cast<T*>(g.c);
  const int64_t groups = ceil_div(g.n, columns);
  parallel_for(groups, gemv_grain(groups, 2.0 * g.n * g.k), [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; group++) {
      const int64_t j = group * columns, count = least(columns, g.n - j);
      const T* column[columns];
      for (int q = 0; q < columns; q++) column[q] = b + (j + least(q, count - 1)) * g.b_col;
      for (int64_t p = 0; p < g.k; p += k_block) {
        T sums[columns];
        dot_columns<T, columns>(x, column, p, least(g.k, p + k_block), columns * g.b_col, sums);
        const bool add = g.add || p > 0;
        for (int64_t q = 0; q < count; q++) y[j + q] = add ? y[j + q] + sums[q] : sums[q];
      }
    }
  });
}

// One chunk of a dot product in 256 / sizeof(T) virtual lanes, folded in halves.
template <class T>
T dot_chunk(int64_t n, const T* a, int64_t a_step, const T* b, int64_t b_step) {
  constexpr int w = width<T>, lanes = 256 / static_cast<int>(sizeof(T)), vectors = lanes / w;
  Vec<T> sum[vectors];
#pragma GCC unroll 16
  for (int v = 0; v < vectors; v++) sum[v] = Vec<T>{};
  const bool contiguous = a_step == 1 && b_step == 1;
  T a_lanes[lanes] = {}, b_lanes[lanes] = {};
  for (int64_t i = 0; i < n; i += lanes) {
    const T *pa = a + i, *pb = b + i;
    if (!contiguous || n - i < lanes) {
      for (int q = 0; q < lanes; q++) {
        a_lanes[q] = i + q < n ? a[(i + q) * a_step] : T(0);
        b_lanes[q] = i + q < n ? b[(i + q) * b_step] : T(0);
      }
      pa = a_lanes;
      pb = b_lanes;
    }
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) sum[v] = fma(load(pa + v * w), load(pb + v * w), sum[v]);
  }
  T fold[lanes];
  for (int v = 0; v < vectors; v++) store(fold + v * w, sum[v]);
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int q = 0; q < half; q++) fold[q] += fold[q + half];
  return fold[0];
}

// m == n == 1. A sum over lanes, unlike the other products: one chain of dependent additions would be too
// slow.
template <class T>
T dot(int64_t n, const T* a, int64_t a_step, const T* b, int64_t b_step) {
  constexpr int64_t chunk = 32768, group = 64;
  T total = 0;
  for (int64_t base = 0; base < n; base += group * chunk) {
    const int64_t count = least(group * chunk, n - base);
    T part[group];
    parallel_for(count, chunk, [&](int64_t begin, int64_t end) {
      const int64_t i = base + begin;
      part[begin / chunk] = dot_chunk(end - begin, a + i * a_step, a_step, b + i * b_step, b_step);
    });
    for (int64_t q = 0; q * chunk < count; q++) total += part[q];
  }
  return total;
}

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

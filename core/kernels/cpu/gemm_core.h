// The register tile and the packing that the matrix product and the convolutions share, per instruction set.
//
// Note [Order of summation]
// Every element of a product is computed as: for each block of `k_block` terms, in order, a sum that starts
// at zero and takes one fused multiply-add per term, in order; the block sums are added to the element one
// after another. Packed, unpacked, vector-times-matrix and convolution paths, AVX2 and AVX-512, any number of
// threads: all keep to this, so all give the same bits.
//
// Note [Order of bfloat16 products]
// Products of bfloat16 keep to what Intel's matrix unit (TDPBF16PS) does. The terms, with zeros added up to a multiple of
// 32, are taken 32 at a time: the even ones and the odd ones make two sums, each of which starts at zero and takes one fused
// multiply-add per term, in order; even and odd sum are added, and that is added to the element. All in float; numbers too
// small to be normal count and come out as zero. The element starts at zero, or at what C holds, and is rounded to bfloat16
// once, at the end; every NaN becomes 0x7fc0.
#pragma once

#include "gemm_vec.h"

namespace rushlight::cpu::RL_ISA {

constexpr int64_t k_block = 256;

// Rows and vectors per row of the accumulators that live in registers; few_rows for tiles that read A in
// place.
#if defined(__AVX512F__)
constexpr int tile_rows = 14, tile_vectors = 2, few_rows = 14;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int tile_rows = 6, tile_vectors = 2, few_rows = 6;
#elif defined(__aarch64__)
constexpr int tile_rows = 6, tile_vectors = 4, few_rows = 6;
#else
constexpr int tile_rows = 4, tile_vectors = 2, few_rows = 4;
#endif
template <class T>
constexpr int tile_columns = tile_vectors * width<T>;

// C[rows, columns] (+)= A[rows, k] * B[k, columns], columns <= tile_columns.
template <class T>
struct TileArgs {
  int64_t k;
  const T* a;  // packed: [k][rows]; else element (r, p) at a[r * a_row + p * a_col]
  int64_t a_row, a_col;
  const T* b;  // row p at b + p * ldb, or at b + offset[p]
  int64_t ldb;
  const int64_t* offset;
  T* c;
  int64_t ldc;
  int columns;
  bool add;
  // What to fetch into the cache meanwhile: pieces of ahead_bytes, ahead_step bytes apart.
  static constexpr int64_t ahead_bytes = 128;
  const char* ahead = nullptr;
  int64_t ahead_step = 0, ahead_count = 0;
  bool fetch_c = false;  // tile_strided: C lies far away, and there are few terms in which to hide that
};

// A packed; rows of B must be readable up to whole vectors. rows <= tile_rows.
template <class T>
void tile_packed(int rows, const TileArgs<T>& args);
// B through offsets, whole vectors; A packed where a_row is 0, else in place. rows <= tile_rows.
template <class T>
void tile_offsets(int rows, const TileArgs<T>& args);
// A in place with any strides, no read of B beyond `columns`. rows <= few_rows.
template <class T>
void tile_strided(int rows, const TileArgs<T>& args);

// A packed, float copies of bfloat16 numbers, in the order of Note [Order of bfloat16 products]; to be called with a
// FlushTiny alive. rows <= pair_rows.
constexpr int pair_rows = tile_rows / 2;
void tile_pairs(int rows, const TileArgs<float>& args);

// While it lives, the thread takes and gives zeros for numbers too small to be normal.
class FlushTiny {
#if defined(__x86_64__)
 public:
  FlushTiny() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushTiny() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
 public:
  FlushTiny() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" ::"r"(saved_ | uint64_t{1} << 24));
  }
  ~FlushTiny() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }

 private:
  uint64_t saved_;
#endif
};

// m rows in as few tiles as possible, evenly: 15 rows are 8 + 7 rather than 14 + 1.
static RL_INLINE int rows_per_tile(int64_t m, int limit) {
  return static_cast<int>(ceil_div(m, ceil_div(m, limit)));
}

// Packs A[m, k] into panels of `rows` rows (the last shorter), each [k][rows].
template <class S, class T>
static void pack_a(const S* a, int64_t row_stride, int64_t col_stride, int64_t m, int64_t k, int rows,
                   T* out) {
  constexpr int w = width<T>;
  for (int64_t i = 0; i < m; i += rows) {
    const int r = static_cast<int>(least(rows, m - i));
    const S* base = a + i * row_stride;
    int64_t p = 0;
    if (col_stride == 1) {
      for (; p + w <= k; p += w)
        for (int g = 0; g < r; g += w) {
          const int count = static_cast<int>(least(w, r - g));
          Vec<T> block[w];
#pragma GCC unroll 16
          for (int q = 0; q < w; q++)
            block[q] = q < count ? load_wide(base + (g + q) * row_stride + p) : Vec<T>{};
          transpose<T>(block);
#pragma GCC unroll 16
          for (int q = 0; q < w; q++) {
            if (count == w) store(out + (p + q) * r + g, block[q]);
            else store_tail(out + (p + q) * r + g, block[q], count);
          }
        }
    } else if (row_stride == 1) {
      for (; p < k; p++) {
        const S* s = base + p * col_stride;
        __builtin_prefetch(s + 16 * col_stride);  // rows of k lie far apart
        int q = 0;
        for (; q + w <= r; q += w) store(out + p * r + q, load_wide(s + q));
        if constexpr (sizeof(S) == sizeof(T)) {
          // lanes beyond r are the next term's, written after this one
          const Vec<T> rest = load_tail(reinterpret_cast<const T*>(s) + q, r - q);
          if (p + w < k) store(out + p * r + q, rest);
          else store_tail(out + p * r + q, rest, r - q);
        } else {
          for (; q < r; q++) out[p * r + q] = widen(s[q]);
        }
      }
    }
    for (; p < k; p++)
      for (int q = 0; q < r; q++) out[p * r + q] = widen(base[q * row_stride + p * col_stride]);
    out += r * k;
  }
}

// One panel of B from columns that each run along k: out[p][q] = column(q)[p], q < n, zero up to
// tile_columns.
template <class T, class S, class Column>
static RL_INLINE void pack_columns(Column column, int64_t k, int64_t n, T* out) {
  constexpr int w = width<T>, nr = tile_columns<T>;
  int64_t p = 0;
  for (; p + w <= k; p += w)
    for (int g = 0; g < nr; g += w) {
      Vec<T> block[w];
#pragma GCC unroll 16
      for (int q = 0; q < w; q++)
        block[q] = g + q < n ? load_wide(static_cast<const S*>(column(g + q)) + p) : Vec<T>{};
      transpose<T>(block);
#pragma GCC unroll 16
      for (int q = 0; q < w; q++) store(out + (p + q) * nr + g, block[q]);
    }
  for (int q = 0; q < nr; q++)
    for (int64_t rest = p; rest < k; rest++) out[rest * nr + q] = q < n ? widen(column(q)[rest]) : T(0);
}

// One panel of B[k, n], n <= tile_columns, as [k][tile_columns] with zeros to the right.
template <class S, class T>
static void pack_b(const S* b, int64_t row_stride, int64_t col_stride, int64_t k, int64_t n, T* out) {
  constexpr int w = width<T>, nr = tile_columns<T>;
  if (col_stride == 1 && n == nr) {
    for (int64_t p = 0; p < k; p++)
      for (int v = 0; v < nr; v += w) store(out + p * nr + v, load_wide(b + p * row_stride + v));
  } else if (col_stride == 1 && sizeof(S) == sizeof(T)) {
    for (int64_t p = 0; p < k; p++)
      for (int v = 0; v < nr; v += w) {
        const int count = static_cast<int>(most(0, least(w, n - v)));
        store(out + p * nr + v, load_tail(reinterpret_cast<const T*>(b) + p * row_stride + v, count));
      }
  } else if (row_stride == 1) {
    pack_columns<T, S>([=](int64_t q) { return b + q * col_stride; }, k, n, out);
  } else {
    for (int64_t p = 0; p < k; p++) {
      for (int64_t q = 0; q < n; q++) out[p * nr + q] = widen(b[p * row_stride + q * col_stride]);
      for (int64_t q = n; q < nr; q++) out[p * nr + q] = T(0);
    }
  }
}

// out[x * step + c] = source[c * plane + x] for x < w, c < channels.
template <class T>
static void transpose_into(const T* source, int64_t plane, int64_t channels, int64_t w, T* out,
                           int64_t step) {
  constexpr int v = width<T>;
  for (int64_t x = 0; x < w; x += v) {
    const int columns = static_cast<int>(least(v, w - x));
    for (int64_t c = 0; c < channels; c += v) {
      const int count = static_cast<int>(least(v, channels - c));
      Vec<T> block[v];
#pragma GCC unroll 16
      for (int q = 0; q < v; q++)
        block[q] = q < count ? load_tail(source + (c + q) * plane + x, columns) : Vec<T>{};
      transpose<T>(block);
#pragma GCC unroll 16
      for (int q = 0; q < v; q++)
        if (q < columns) {
          if (count == v) store(out + (x + q) * step + c, block[q]);
          else store_tail(out + (x + q) * step + c, block[q], count);
        }
    }
  }
}

}  // namespace rushlight::cpu::RL_ISA

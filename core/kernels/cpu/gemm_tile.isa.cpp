// The register tile: a small block of C held in registers while k runs. One function per number of rows and
// vectors, chosen from a table. The order of summation is that of Note [Order of summation] in gemm_core.h, and for
// bfloat16 that of the note after it.
#include "gemm_core.h"

namespace rushlight::cpu::RL_ISA {
namespace {

enum class Mode { packed, offsets, strided_offsets, strided, strided_tail };

template <class T, int rows, int vectors, Mode mode>
void tile(const TileArgs<T>& args) {
  constexpr int w = width<T>;
  constexpr bool packed_a = mode == Mode::packed || mode == Mode::offsets;
  constexpr bool with_offsets = mode == Mode::offsets || mode == Mode::strided_offsets;
  const int64_t k = args.k, a_row = args.a_row, a_step = packed_a ? rows : args.a_col;
  const int tail = args.columns - (vectors - 1) * w;  // lanes of the last vector
  const T* a = args.a;
  const T* b = args.b;
  Vec<T> sum[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sum[r][v] = Vec<T>{};
  const T* next_c = args.c;
  const char* ahead = args.ahead;
  // Every so often a row of C and a piece of the next panel: many at once would stall.
  const int64_t pause = k >= 8 * rows ? 8 : k >= 4 * rows ? 4 : 2, ahead_stop = args.ahead_count * pause;
  const bool fetch_c = mode == Mode::packed || (!with_offsets && args.fetch_c);
  for (int64_t p = 0; p < k; p++) {
    if (mode == Mode::packed) {
      __builtin_prefetch(a + 16 * rows);
      if constexpr (rows * sizeof(T) > 64) __builtin_prefetch(a + 16 * rows + 64 / sizeof(T));
    }
    if (fetch_c && (p & (pause - 1)) == 0) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) __builtin_prefetch(next_c + v * w, 1);
      __builtin_prefetch(next_c + vectors * w - 1, 1);
      next_c += args.ldc;
      if (mode == Mode::packed && p < ahead_stop) {
        __builtin_prefetch(ahead, 0, 2);
        __builtin_prefetch(ahead + args.ahead_bytes / 2, 0, 2);
        ahead += args.ahead_step;
      }
    }
    const T* row = with_offsets ? b + args.offset[p] : b;
    Vec<T> bv[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
      bv[v] = mode == Mode::strided_tail && v == vectors - 1 ? load_tail(row + v * w, tail)
                                                             : load(row + v * w);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
      const Vec<T> av = splat(a[packed_a ? r : r * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sum[r][v] = fma(av, bv[v], sum[r][v]);
    }
    a += a_step;
    if (!with_offsets) b += args.ldb;
  }
  T* c = args.c;
  if (tail == w) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++, c += args.ldc)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) store(c + v * w, args.add ? load(c + v * w) + sum[r][v] : sum[r][v]);
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++, c += args.ldc)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) {
        if (v < vectors - 1) store(c + v * w, args.add ? load(c + v * w) + sum[r][v] : sum[r][v]);
        else store_tail(c + v * w, args.add ? load_tail(c + v * w, tail) + sum[r][v] : sum[r][v], tail);
      }
  }
}

template <class T, Mode mode, int vectors, int... r>
void with_rows(int rows, const TileArgs<T>& args, std::integer_sequence<int, r...>) {
  using Fn = void (*)(const TileArgs<T>&);
  static constexpr Fn table[] = {&tile<T, r + 1, vectors, mode>...};
  table[rows - 1](args);
}

template <class T, Mode mode, int max_rows, int vectors = 1>
void dispatch(int rows, const TileArgs<T>& args) {
  if constexpr (vectors < tile_vectors)
    if (args.columns > vectors * width<T>) return dispatch<T, mode, max_rows, vectors + 1>(rows, args);
  with_rows<T, mode, vectors>(rows, args, std::make_integer_sequence<int, max_rows>{});
}

template <int rows, int vectors>
void pairs(const TileArgs<float>& args) {
  constexpr int w = width<float>, span = 32;
  const int tail = args.columns - (vectors - 1) * w;
  const float *a = args.a, *b = args.b;
  for (int64_t p = 0; p < args.k; p += span) {
    const int64_t terms = least(span, args.k - p);
    Vec<float> sum[2][rows][vectors];  // of the even and of the odd terms
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; odd++)
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) sum[odd][r][v] = Vec<float>{};
    const auto term = [&](int odd) __attribute__((always_inline)) {
      Vec<float> bv[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) bv[v] = load(b + v * w);
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
        const Vec<float> av = splat(a[r]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) sum[odd][r][v] = fma(av, bv[v], sum[odd][r][v]);
      }
      a += rows;
      b += args.ldb;
    };
    for (int64_t q = 0; q + 2 <= terms; q += 2) {
      __builtin_prefetch(a + 16 * rows);
      term(0);
      term(1);
    }
    if (terms % 2) term(0);
    const Vec<float> zero = {};
    float* c = args.c;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++, c += args.ldc)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) {
        // where zeros fill up the terms, or begin the sum, a negative zero becomes a positive one
        Vec<float> both = terms < span ? (sum[0][r][v] + zero) + (sum[1][r][v] + zero)
                                       : sum[0][r][v] + sum[1][r][v];
        const bool whole = v < vectors - 1 || tail == w;
        both = (!args.add && p == 0 ? zero : whole ? load(c + v * w) : load_tail(c + v * w, tail)) + both;
        if (whole) store(c + v * w, both);
        else store_tail(c + v * w, both, tail);
      }
  }
}

template <int vectors, int... r>
void pairs_with_rows(int rows, const TileArgs<float>& args, std::integer_sequence<int, r...>) {
  using Fn = void (*)(const TileArgs<float>&);
  static constexpr Fn table[] = {&pairs<r + 1, vectors>...};
  table[rows - 1](args);
}

template <int vectors = 1>
void dispatch_pairs(int rows, const TileArgs<float>& args) {
  if constexpr (vectors < tile_vectors)
    if (args.columns > vectors * width<float>) return dispatch_pairs<vectors + 1>(rows, args);
  pairs_with_rows<vectors>(rows, args, std::make_integer_sequence<int, pair_rows>{});
}

}  // namespace

void tile_pairs(int rows, const TileArgs<float>& args) { dispatch_pairs(rows, args); }
template <class T>
void tile_packed(int rows, const TileArgs<T>& args) {
  dispatch<T, Mode::packed, tile_rows>(rows, args);
}
template <class T>
void tile_offsets(int rows, const TileArgs<T>& args) {
  if (args.a_row == 0) dispatch<T, Mode::offsets, tile_rows>(rows, args);
  else dispatch<T, Mode::strided_offsets, tile_rows>(rows, args);
}
template <class T>
void tile_strided(int rows, const TileArgs<T>& args) {
  if (args.columns % width<T> == 0) dispatch<T, Mode::strided, few_rows>(rows, args);
  else dispatch<T, Mode::strided_tail, few_rows>(rows, args);
}

template void tile_packed(int, const TileArgs<float>&);
template void tile_packed(int, const TileArgs<double>&);
template void tile_offsets(int, const TileArgs<float>&);
template void tile_offsets(int, const TileArgs<double>&);
template void tile_strided(int, const TileArgs<float>&);
template void tile_strided(int, const TileArgs<double>&);

}  // namespace rushlight::cpu::RL_ISA

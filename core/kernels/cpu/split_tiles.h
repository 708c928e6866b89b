// Operands packed as split tiles, and products of 32 x 32 sums of them, by Note [Split products] in split_products.h. Include
// only from *.amx.cpp files.
#pragma once

#include "split_products.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// For each step of 32 terms two tiles of each part: of lines 0 to 15 and of lines 16 to 31.
constexpr int64_t group = 2 * tile_edge;  // lines that are packed together
constexpr int64_t part_bytes = 2 * tile_bytes;
constexpr int64_t step_bytes(int count) { return count * part_bytes; }

// A tile for each part of 16 lines of 32 terms; term p makes a pair with term p + 16, and a tile has a row for each line (left
// operand) or for each pair (right operand). Vectors lie `step` numbers apart and hold 16 terms of a line, the line's other
// half being `half` further on, or a term of 16 lines, where the term it makes a pair with is `half` further on. `turned` says
// that it is the other way round than the tile wants it. load(i, half, at) reads a vector. What lies `ahead` moves closer.
template <int count, bool turned, class Load>
RL_INLINE void pack_tile(const float* at, int64_t step, int64_t half, int64_t ahead, char* to, Seen& all,
                         Load load) {
  Seen seen = all;  // in registers
  const auto take = [&](int i, int second, const float* from) __attribute__((always_inline)) {
    const Vec<float> x = load(i, second, from);
    __builtin_prefetch(from + ahead);
    seen.see(x);
    return x;
  };
  const auto put = [&](Vec<float> x, Vec<float> y) __attribute__((always_inline)) {
    Words words[count];
    split<count>(x, y, words);
#pragma GCC unroll 3
    for (int part = 0; part < count; part++) *reinterpret_cast<Words*>(to + part * part_bytes) = words[part];
    to += 64;
  };
  if constexpr (turned) {
    Vec<float> rows[2][tile_edge];
#pragma GCC unroll 2
    for (int second = 0; second < 2; second++) {
      const float* from = at + second * half;
#pragma GCC unroll 16
      for (int i = 0; i < tile_edge; i++, from += step) rows[second][i] = take(i, second, from);
      transpose<float>(rows[second]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < tile_edge; i++) put(rows[0][i], rows[1][i]);
  } else {
#pragma GCC unroll 2
    for (int i = 0; i < tile_edge; i++, at += step) {
      const Vec<float> x = take(i, 0, at), y = take(i, 1, at + half);
      put(x, y);
    }
  }
  all = seen;
}

// The same for at most 16 lines and 32 terms, which are neighbours in memory one way or the other; zeros beyond.
template <int count, bool right>
void pack_tile(const float* from, int64_t line, int64_t term, int64_t lines, int64_t depth, int64_t ahead,
               char* to, Seen& seen) {
  const bool along_lines = line == 1 && (right || term != 1);  // where vectors lie; else along terms
  const int64_t step = along_lines ? term : line, half = along_lines ? tile_edge * term : tile_edge;
  const auto pack = [&](auto load) __attribute__((always_inline)) {
    if (along_lines == right) pack_tile<count, false>(from, step, half, ahead, to, seen, load);
    else pack_tile<count, true>(from, step, half, ahead, to, seen, load);
  };
  if (lines == tile_edge && depth == tile_terms) {
    pack([](int, int, const float* at) __attribute__((always_inline)) { return load(at); });
    return;
  }
  // Lanes that exist in the vectors of each half, and vectors.
  const auto lanes = [&](int64_t second) {
    return static_cast<__mmask16>(first(along_lines ? lines : depth - second));
  };
  const __mmask16 these[] = {lanes(0), lanes(tile_edge)};
  const int64_t vectors[] = {along_lines ? depth : lines, along_lines ? depth - tile_edge : lines};
  pack([&](int i, int second, const float* at) __attribute__((always_inline)) {
    return (Vec<float>)_mm512_maskz_loadu_ps(i < vectors[second] ? these[second] : 0, at);
  });
}

// One step of at most 32 terms of at most 32 lines. What lies `ahead` numbers further on is fetched for the next step.
template <int count, bool right>
Range pack_step(const float* from, int64_t line, int64_t term, int64_t lines, int64_t depth, int64_t ahead,
                char* to) {
  Seen seen;
  depth = least(tile_terms, depth);
  for (int64_t i = 0; i < lines; i += tile_edge, from += tile_edge * line, to += tile_bytes) {
    const int64_t here = least(tile_edge, lines - i);
    if (line == 1 || term == 1) {
      pack_tile<count, right>(from, line, term, here, depth, ahead, to, seen);
    } else {
      float gathered[tile_edge * tile_terms];
      for (int64_t q = 0; q < here; q++)
        for (int64_t p = 0; p < depth; p++) gathered[q * tile_terms + p] = from[q * line + p * term];
      pack_tile<count, right>(gathered, tile_terms, 1, here, depth, 0, to, seen);
    }
  }
  return seen.range();
}

// Packed steps of both operands, one behind the other, multiplied: 32 x 32 sums, rows `row` bytes apart. Without two_left or
// two_right the second half of the rows or columns does not exist.
template <int count, bool two_left, bool two_right, class Meanwhile = Nothing>
void run_steps(const char* left, const char* right, int64_t steps, float* sums, int64_t row,
               const Meanwhile& meanwhile = {}) {
  asm volatile("" ::: "memory");
  _tile_zero(0);
  if (two_right) _tile_zero(1);
  if (two_left) _tile_zero(2);
  if (two_left && two_right) _tile_zero(3);
  constexpr Spacing spacing{64, part_bytes, tile_bytes};
  for (int64_t s = 0; s < steps; s++, left += step_bytes(count), right += step_bytes(count))
    split_step<two_left, two_right, count>(left, spacing, right, spacing, meanwhile);
  auto* to = reinterpret_cast<char*>(sums);
  _tile_stored(0, to, row);
  if (two_right) _tile_stored(1, to + 64, row);
  if (two_left) _tile_stored(2, to + tile_edge * row, row);
  if (two_left && two_right) _tile_stored(3, to + tile_edge * row + 64, row);
}

// The same for any number of lines and columns up to 32. Of `sums` rows up to `lines` are written, columns up to a multiple of
// 16.
template <int count>
void run_steps(Tiles& tiles, int64_t lines, int64_t columns, const char* left, const char* right,
               int64_t steps, float* sums, int64_t row) {
  tiles.set(static_cast<int>(lines));
  const bool two_left = lines > tile_edge, two_right = columns > tile_edge;
  if (two_left && two_right) run_steps<count, true, true>(left, right, steps, sums, row);
  else if (two_left) run_steps<count, true, false>(left, right, steps, sums, row);
  else if (two_right) run_steps<count, false, true>(left, right, steps, sums, row);
  else run_steps<count, false, false>(left, right, steps, sums, row);
}

// The same for a block of a matrix whose rows lie `row` numbers apart: nothing beyond it is written, and sums may be added to
// what it holds.
template <int count>
void run_steps_into(Tiles& tiles, int64_t lines, int64_t columns, const char* left, const char* right,
                    int64_t steps, float* to, int64_t row, bool add) {
  if (!add && columns % tile_edge == 0) {
    run_steps<count>(tiles, lines, columns, left, right, steps, to, row * 4);
    return;
  }
  alignas(64) float sums[group * group];
  run_steps<count>(tiles, lines, columns, left, right, steps, sums, group * 4);
  for (int64_t r = 0; r < lines; r++)
    for (int64_t q = 0; q < columns; q += tile_edge) {
      const int here = static_cast<int>(least(tile_edge, columns - q));
      const Vec<float> sum = load(sums + r * group + q);
      float* at = to + r * row + q;
      store_tail(at, add ? load_tail(at, here) + sum : sum, here);
    }
}

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

// Operands packed as split tiles, and products of 32 x 32 sums of them, by Note [Split products] in split_products.h. Include
// only from *.amx.cpp files.
#pragma once

#include "split_products.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// For each step of 32 terms two tiles of each part: of lines 0 to 15 and of lines 16 to 31.
constexpr int64_t part_bytes = 2 * tile_bytes;
constexpr int64_t step_bytes(int count) { return count * part_bytes; }

// `lines` <= 16 lines of `depth` <= 32 terms as tiles of the unit, one for each part, zeros beyond. Term p makes a pair with term
// p + 16; a tile has a row for each line (left operand) or for each pair (right operand).
template <int count, bool right>
RL_INLINE void pack_tile(const float* from, int64_t line, int64_t term, int lines, int depth, int64_t ahead,
                         char* to, Seen& seen) {
  alignas(64) float gathered[tile_edge * tile_terms];
  bool along_lines = line == 1 && (right || term != 1);  // where vectors lie; else along terms
  if (!along_lines && term != 1) {
    for (int i = 0; i < lines; i++)
      for (int p = 0; p < depth; p++) gathered[i * tile_terms + p] = from[i * line + p * term];
    from = gathered;
    line = tile_terms;
    term = 1;
  }
  // Vector i of a half: line i in the half's terms, or term i of the half in all lines.
  const auto these = [&](int half) {
    return static_cast<__mmask16>(first(along_lines ? lines : depth - half * tile_edge));
  };
  const __mmask16 masks[] = {these(0), these(1)};
  const auto vector = [&](int i, int half) __attribute__((always_inline)) {
    const int64_t p = i + half * tile_edge;
    const bool exists = along_lines ? p < depth : i < lines;
    const float* at = along_lines ? from + p * term : from + i * line + half * tile_edge;
    const auto x = (Vec<float>)_mm512_maskz_loadu_ps(exists ? masks[half] : 0, at);
    __builtin_prefetch(at + ahead);
    seen.see(x);
    return x;
  };
  const auto put = [&](Vec<float> x, Vec<float> y, int i) __attribute__((always_inline)) {
    Words words[count];
    split<count>(x, y, words);
#pragma GCC unroll 3
    for (int part = 0; part < count; part++)
      *reinterpret_cast<Words*>(to + part * part_bytes + i * 64) = words[part];
  };
  if (along_lines == right) {
#pragma GCC unroll 2
    for (int i = 0; i < tile_edge; i++) {
      const Vec<float> x = vector(i, 0), y = vector(i, 1);
      put(x, y, i);
    }
    return;
  }
  Vec<float> halves[2][tile_edge];
#pragma GCC unroll 2
  for (int half = 0; half < 2; half++) {
#pragma GCC unroll 16
    for (int i = 0; i < tile_edge; i++) halves[half][i] = vector(i, half);
    transpose<float>(halves[half]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < tile_edge; i++) put(halves[0][i], halves[1][i], i);
}

// One step of at most 32 terms of at most 32 lines. What lies `ahead` numbers further on is fetched for the next step.
template <int count, bool right>
Range pack_step(const float* from, int64_t line, int64_t term, int64_t lines, int64_t depth, int64_t ahead,
                char* to) {
  Seen seen;
  for (int64_t i = 0; i < lines; i += tile_edge)
    pack_tile<count, right>(from + i * line, line, term, static_cast<int>(least(tile_edge, lines - i)),
                            static_cast<int>(least(tile_terms, depth)), ahead,
                            to + i / tile_edge * tile_bytes, seen);
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

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

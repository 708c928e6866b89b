// Products of few rows and a matrix packed before, on the matrix unit: see Note [Split products] in split_products.h.
#include "packed_weight.h"

#include "gemm_product.h"
#include "gemm_scratch.h"
#include "split_tiles.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// Bytes of 32 terms of a group of lines, and steps of so many terms between roundings to C.
constexpr int64_t step = step_bytes(parts), most_steps = 16;

int64_t steps_of(int64_t k) { return ceil_div(k, tile_terms); }

// Up to 32 rows: all columns.
void multiply_rows(const PackedWeight& w, int64_t rows, const char* left, float* to, bool add) {
  Tiles tiles;
  for (int64_t j = 0; j < w.n; j += group)
    for (int64_t s = 0; s < steps_of(w.k); s += most_steps) {
      const char* right = w.tiles + j / group * steps_of(w.k) * step;
      run_steps_into<parts>(tiles, rows, least(group, w.n - j), left + s * step, right + s * step,
                            least(most_steps, steps_of(w.k) - s), to + j, w.n, add || s > 0);
    }
}

}  // namespace

int64_t packed_bytes(int64_t k, int64_t n) { return ceil_div(n, group) * steps_of(k) * step; }

void pack(PackedWeight& w) {
  Range range;
  char* to = w.tiles;
  for (int64_t j = 0; j < w.n; j += group)
    for (int64_t p = 0; p < w.k; p += tile_terms, to += step)
      range.widen(pack_step<parts, true>(w.w + j * w.column + p * w.row, w.column, w.row,
                                         least(group, w.n - j), w.k - p, tile_terms * w.row, to));
  w.low = range.low;
  w.high = range.high;
}

void multiply(const PackedWeight& w, int64_t rows, const float* from, float* to, bool add) {
  Scratch scratch(Use::tiles, steps_of(w.k) * step);
  for (int64_t i = 0; i < rows; i += group) {
    bool fits[2] = {true, true};
    for (int64_t half = 0; half < 2 && i + half * tile_edge < rows; half++) {
      Seen seen;
      const int64_t first = i + half * tile_edge;
      for (int64_t p = 0; p < w.k; p += tile_terms)
        pack_tile<parts, false>(from + first * w.k + p, w.k, 1,
                                static_cast<int>(least(tile_edge, rows - first)),
                                static_cast<int>(least(tile_terms, w.k - p)), 0,
                                scratch.as<char>() + p / tile_terms * step + half * tile_bytes, seen);
      fits[half] = Range::fits(seen.range(), {w.low, w.high}, w.k);
    }
    if (fits[0] && fits[1]) {
      multiply_rows(w, least(group, rows - i), scratch.as<char>(), to + i * w.n, add);
      continue;
    }
    for (int64_t half = 0; half < 2 && i + half * tile_edge < rows; half++) {
      const int64_t first = i + half * tile_edge, count = least(tile_edge, rows - first);
      float* here = to + first * w.n;
      if (fits[half]) multiply_rows(w, count, scratch.as<char>() + half * tile_bytes, here, add);
      else v4::gemm_f32({count, w.n, w.k, from + first * w.k, w.k, 1, w.w, w.row, w.column, here, w.n, add});
    }
  }
}

}  // namespace rushlight::cpu::RL_ISA

// The tiles of Winograd's algorithm, as the convolution and the gradient of its weight go through them. Include only
// from conv_winograd*.isa.cpp.
#pragma once

#include "conv_winograd.h"
#include "gemm_core.h"

namespace rushlight::cpu::RL_ISA {
namespace {

using V = Vec<float>;
constexpr int w = width<float>, nr = tile_columns<float>;
constexpr int64_t term_block = 64;  // terms of a product that are summed before they are added to it
constexpr int64_t spare = 16;  // floats that keep 16 arrays from meeting in one set of the first-level cache

// The tiles of a convolution, and those of one block: tile `first` and `count` more.
struct Tiles {
  int64_t rows, columns;  // per image
  int64_t first, count;
};

// f(image, row of tiles, column, place in the block, number) for each run of tiles in one row.
template <class F>
RL_INLINE void each_run(const Tiles& t, F&& f) {
  int64_t column = t.first % t.columns, row = t.first / t.columns % t.rows,
          image = t.first / t.columns / t.rows;
  for (int64_t at = 0; at < t.count;) {
    const int64_t number = least(t.columns - column, t.count - at);
    f(image, row, column, at, number);
    at += number;
    column = 0;
    if (++row == t.rows) {
      row = 0;
      image++;
    }
  }
}

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

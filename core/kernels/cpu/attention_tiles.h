// What attention's forward and backward pass share on the matrix unit: packing of rows, parts of probabilities, blocks of sums.
// Include only from attention*.amx.cpp. Queries are the lanes here too, 32 of them to a panel; see attention_panels.h.
//
// Note [Attention on the matrix unit]
// All products are those of Note [Split products] in split_products.h, whose Range test decides for each piece whether
// queries, keys, values and gradients may go there; the others go by the kernels of fused multiply-adds.
// Probabilities P = exp(score - largest) and what is made of them are split as they come. They may be as small as they like: the
// unit drops parts of products below 2^-126, at most 2^-126 of each of six, while the largest P of a query is 1 (backward: the sum
// of all is), and what P is multiplied with is 2^-66 and more, so that this is far below the rounding of the query's sums.
// P is split by cutting bits off rather than by rounding. That is exact as well, |m| < 2^-7 |x| and |l| < 2^-15 |x|; it needs
// fewer operations, and no NaN becomes a number.
#pragma once

#include "attention_panels.h"
#include "split_tiles.h"

namespace rushlight::cpu::RL_ISA {
namespace {

constexpr int64_t panel = 2 * tile_edge;  // queries, keys or columns that are packed or multiplied together
constexpr int64_t step = step_bytes(parts);
static_assert(panel == lanes<float> && panel == tile_terms);

static RL_INLINE int64_t panels_of(int64_t count) { return ceil_div(count, panel); }
static RL_INLINE int64_t padded(int64_t count) { return panels_of(count) * panel; }

// What stands for P in the test of ranges.
constexpr Range probabilities{97, 127};

// Lines in panels, each of them the steps of `depth` terms; zeros fill up the last ones.
template <bool right>
static Range pack(const Lines<float>& x, int64_t depth, char* to) {
  Range range;
  for (int64_t i = 0; i < x.count; i += panel)
    for (int64_t p = 0; p < depth; p += tile_terms, to += step) {
      const int64_t lines = least(panel, x.count - i);
      range.widen(pack_step<parts, right>(x.from(i, p), x.line, x.term, lines, least(tile_terms, depth - p),
                                          tile_terms * x.term, to));
      if (lines <= tile_edge)
        for (int part = 0; part < parts; part++)
          __builtin_memset(to + part * part_bytes + tile_bytes, 0, tile_bytes);
    }
  return range;
}

// Rows times a factor, side by side.
static void scale_rows(const float* rows, int64_t row, int64_t count, int64_t size, float factor, float* to) {
  for (int64_t i = 0; i < count; i++)
    for (int64_t j = 0; j < size; j += tile_edge) {
      const int n = static_cast<int>(least(tile_edge, size - j));
      store_tail(to + i * size + j, load_tail(rows + i * row + j, n) * splat(factor), n);
    }
}

// A block of sums: 32 lines of the left operand, or 16 and less where `lines` says so, by 32 of the right one.
template <class Meanwhile = Nothing>
static RL_INLINE void multiply(int64_t lines, const char* left, const char* right, int64_t steps, float* sums,
                               int64_t row, const Meanwhile& meanwhile = {}) {
  if (lines > tile_edge) run_steps<parts, true, true>(left, right, steps, sums, row * 4, meanwhile);
  else run_steps<parts, false, true>(left, right, steps, sums, row * 4, meanwhile);
}
constexpr int64_t products_per_step = 6;  // so often is `meanwhile` called

// Spreads `rows` pieces of work evenly over so many calls.
class Spread {
 public:
  void start(int64_t rows, int64_t calls) {
    left_ = rows_ = rows;
    calls_ = calls;
    due_ = 0;
  }
  template <class Row>
  RL_INLINE void some(const Row& row) {
    for (due_ += rows_; due_ >= calls_ && left_; due_ -= calls_, left_--) row();
  }
  template <class Row>
  RL_INLINE void rest(const Row& row) {
    for (; left_; left_--) row();
  }

 private:
  int64_t rows_ = 0, left_ = 0, calls_ = 1, due_ = 0;
};

// The parts of a vector, one after another: what is left of x loses each.
static RL_INLINE Words cut(Vec<float>& x, int part) {
  if (part == parts - 1) return (Words)x;
  const Words top = (Words)x & 0xffff0000;
  x -= (Vec<float>)top;
  return top;
}

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

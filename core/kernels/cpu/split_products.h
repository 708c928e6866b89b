// Products of float32 on the matrix unit, by splitting each number into three of bfloat16. Include only from *.amx.cpp.
//
// Note [Split products]
// A float32 number is the exact sum of three of bfloat16: high (the number rounded to 8 bits), middle (what is left,
// rounded likewise) and low. Of the nine products of two such sums the six largest are taken; the others are at most 2^-23
// and typically 2^-26 of the product. The unit multiplies bfloat16 exactly and adds 32 terms, even and odd ones apart, before
// it rounds to the sum, six times in 32 terms rather than 32 times, so the result is at least as exact as one fused
// multiply-add per term. With two parts (high, middle) the three largest products are taken, with one part one.
//
// The unit takes and gives zeros for numbers too small to be normal, and high may round up to infinity. It may be used where
// `Range::fits` says:
// * numbers are zero or at least 2^-103, so that no part is too small, the last bit of low being at least 2^-126;
// * the least of one operand times the least of the other is at least 2^-96: an addition loses less than 2^-126, which is
//   2^-30 of the smallest product;
// * numbers are below 2^127, and no sum of products reaches 2^126: nothing overflows.
// Everything else (NaN, infinity, very small and very large numbers) is for the kernels of fused multiply-adds.
#pragma once

#include "amx.h"

namespace rushlight::cpu::RL_ISA {
namespace {

constexpr int64_t parts = 3;

// The least exponent (but of zero) and the greatest of numbers seen, as stored: with 127 added; 255 and 0 where all are zero.
struct Range {
  int low = 255, high = 0;

  void widen(const Range& other) {
    low = static_cast<int>(least(low, other.low));
    high = static_cast<int>(most(high, other.high));
  }
  // Whether sums of at most `count` products may be left to the unit.
  static bool fits(const Range& a, const Range& b, int64_t count) {
    const int bits = 64 - __builtin_clzll(static_cast<uint64_t>(count));
    return a.low >= 24 && b.low >= 24 && a.low + b.low >= 158 && a.high < 254 && b.high < 254 &&
           a.high + b.high + bits <= 377;
  }
};

// The same while vectors pass by.
class Seen {
 public:
  RL_INLINE void see(Vec<float> x) {
    const Words size = (Words)x & 0x7fffffff, less = size - 1;  // zero less one is beyond all
    high_ = size > high_ ? size : high_;
    low_ = less < low_ ? less : low_;
  }
  Range range() const {
    Words low = low_, high = high_;
    fold<8>(low, high), fold<4>(low, high), fold<2>(low, high), fold<1>(low, high);
    return {low[0] == ~0u ? 255 : static_cast<int>((low[0] + 1) >> 23), static_cast<int>(high[0] >> 23)};
  }

 private:
  template <int by>
  static RL_INLINE void fold(Words& low, Words& high) {
    const Words other_low = rotated<by>(low, std::make_integer_sequence<int, 16>{}),
                other_high = rotated<by>(high, std::make_integer_sequence<int, 16>{});
    low = other_low < low ? other_low : low;
    high = other_high > high ? other_high : high;
  }
  template <int by, int... lane>
  static RL_INLINE Words rotated(Words x, std::integer_sequence<int, lane...>) {
    return __builtin_shufflevector(x, x, ((lane + by) % 16)...);
  }

  Words low_ = Words{} - 1, high_ = {};
};

// The parts of 32 numbers as 16 words each, of which the first number is the lower half.
template <int count = parts>
RL_INLINE void split(Vec<float> first, Vec<float> second, Words* words) {
#pragma GCC unroll 3
  for (int part = 0; part < count; part++) {
    const uint32_t half = part < 2 ? 0x8000 : 0, kept = part < 2 ? 0xffff0000 : ~0u;
    const Words a = ((Words)first + half) & kept, b = ((Words)second + half) & kept;
    words[part] = a >> 16 | b;
    first -= (Vec<float>)a;
    second -= (Vec<float>)b;
  }
}

// While it lives, the unit is set up for left tiles of 16 lines and right tiles of 16 columns, of `pairs` <= 16 pairs of
// terms.
class TileShape {
 public:
  explicit TileShape(int pairs) {
    struct alignas(64) {
      uint8_t palette = 1, start = 0, zero[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shape;
    for (int t = 0; t < 8; t++) {
      const bool left = t == 4 || t == 5, right = t > 5;
      shape.row_bytes[t] = static_cast<uint16_t>(left ? 4 * pairs : 64);
      shape.rows[t] = static_cast<uint8_t>(right ? pairs : 16);
    }
    asm volatile("" ::: "memory");  // the intrinsics do not say that they read memory
    _tile_loadconfig(&shape);
  }
  ~TileShape() { _tile_release(); }
  TileShape(const TileShape&) = delete;
  TileShape& operator=(const TileShape&) = delete;
};

// Distances in bytes between the tiles of an operand: from row to row of a tile, from part to part, from the first tile
// to the second.
struct Spacing {
  int64_t row, part, second;
};

// One step: the products of `count` parts of each operand, each of one or two tiles of lines by one or two of columns. Tiles
// 0 to 3 hold the sums, 4 and 5 the left operand, 6 and 7 the right one. Each product differs from the one before in one
// operand. The unit works by itself: what vectors have to do at the same time goes into `meanwhile`, called after each product
// of parts, which is 64 cycles of work for the unit.
struct Nothing {
  RL_INLINE void operator()() const {}
};
template <bool two_left, bool two_right, int count = parts, class Meanwhile = Nothing>
RL_INLINE void split_step(const char* left, const Spacing& l, const char* right, const Spacing& r,
                          const Meanwhile& meanwhile = {}) {
  const auto load_left = [&](int64_t part) __attribute__((always_inline)) {
    _tile_loadd(4, left + part * l.part, l.row);
    if (two_left) _tile_loadd(5, left + part * l.part + l.second, l.row);
  };
  const auto load_right = [&](int64_t part) __attribute__((always_inline)) {
    _tile_loadd(6, right + part * r.part, r.row);
    if (two_right) _tile_loadd(7, right + part * r.part + r.second, r.row);
  };
  const auto multiply = [&]() __attribute__((always_inline)) {
    _tile_dpbf16ps(0, 4, 6);
    if (two_right) _tile_dpbf16ps(1, 4, 7);
    if (two_left) _tile_dpbf16ps(2, 5, 6);
    if (two_left && two_right) _tile_dpbf16ps(3, 5, 7);
    meanwhile();
  };
  // The product of the high parts comes last: where one step makes up most of the sum, it is rounded once at that size.
  if (count > 2) {
    load_right(2);
    load_left(0);
    multiply();
  }
  if (count > 1) {
    load_right(1);
    if (count == 2) load_left(0);
    multiply();
    load_left(1);
    if (count > 2) multiply();
    load_right(0);
    multiply();
    if (count > 2) {
      load_left(2);
      multiply();
    }
  } else {
    load_right(0);
  }
  load_left(0);
  multiply();
}

// sums (32 x 32) = the products of steps [first, last) added up.
template <bool two_left, bool two_right, class At>
RL_INLINE void run_piece(int64_t first, int64_t last, const Spacing& l, const Spacing& r, float* sums,
                         At at) {
  asm volatile("" ::: "memory");
  _tile_zero(0);
  if (two_right) _tile_zero(1);
  if (two_left) _tile_zero(2);
  if (two_left && two_right) _tile_zero(3);
  for (int64_t s = first; s < last; s++) {
    const char *left, *right;
    at(s, left, right);
    split_step<two_left, two_right>(left, l, right, r);
  }
  constexpr int64_t line = 2 * tile_edge;
  _tile_stored(0, sums, line * 4);
  if (two_right) _tile_stored(1, sums + tile_edge, line * 4);
  if (two_left) _tile_stored(2, sums + tile_edge * line, line * 4);
  if (two_left && two_right) _tile_stored(3, sums + tile_edge * line + tile_edge, line * 4);
  asm volatile("" ::: "memory");
}

// sums (+)= the products of all steps, where at(s, left, right) tells the first tiles of step s. As every step rounds the sums
// six times, which adds up where all products have one sign, they are made of two pieces or more.
template <bool two_left, bool two_right, class At>
RL_INLINE void run_split(int64_t steps, const Spacing& l, const Spacing& r, float* sums, bool add, At at) {
  constexpr int64_t line = 2 * tile_edge;
  const int64_t limit = least(24, most(8, ceil_div(steps, 2)));
  const int64_t piece = ceil_div(steps, ceil_div(steps, limit));
  alignas(64) float more[line * line];
  for (int64_t first = 0; first < steps; first += piece, add = true) {
    run_piece<two_left, two_right>(first, least(steps, first + piece), l, r, add ? more : sums, at);
    for (int64_t i = 0; i < (add ? (1 + two_left) * tile_edge * line : 0); i += two_right ? tile_edge : line)
      store(sums + i, load(sums + i) + load(more + i));
  }
}
template <class At>
RL_INLINE void run_split(bool two_left, bool two_right, int64_t steps, const Spacing& l, const Spacing& r,
                         float* sums, bool add, At at) {
  if (two_left && two_right) run_split<true, true>(steps, l, r, sums, add, at);
  else if (two_left) run_split<true, false>(steps, l, r, sums, add, at);
  else if (two_right) run_split<false, true>(steps, l, r, sums, add, at);
  else run_split<false, false>(steps, l, r, sums, add, at);
}

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

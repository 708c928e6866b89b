// What kernels on the matrix unit of Intel's servers (AMX) share: the sizes of its tiles, operands as lines of terms, and
// the unit's settings. Include only from *.amx.cpp files.
#pragma once

#include <immintrin.h>

#include "gemm_vec.h"

namespace rushlight::cpu::RL_ISA {

constexpr int64_t tile_edge = 16, tile_terms = 32;  // of a tile: its lines, and the terms of each
constexpr int64_t tile_bytes = 1024;

// An operand as lines, rows of the left one or columns of the right one: `line` elements apart, their terms `term` apart.
template <class T>
struct Lines {
  const T* at;
  int64_t count, line, term;

  const T* from(int64_t i, int64_t p) const { return at + i * line + p * term; }
};

typedef uint32_t Words __attribute__((vector_size(64)));

static RL_INLINE __mmask32 first(int64_t count) { return count >= 32 ? ~0u : (1u << most(0, count)) - 1; }

// Says to the unit how many rows the two tiles of the left operand have, and gives the tiles back in the end. Tiles 0 to 3
// hold the sums, 4 and 5 the left operand, 6 and 7 the right one.
class Tiles {
 public:
  Tiles() = default;
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
  void set(int lines) {
    if (lines == lines_) return;
    lines_ = lines;
    struct alignas(64) {
      uint8_t palette = 1, start = 0, zero[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shape;
    const auto upper = static_cast<uint8_t>(least(tile_edge, lines));
    const auto lower = static_cast<uint8_t>(lines > tile_edge ? lines - tile_edge : tile_edge);
    const uint8_t rows[] = {upper, upper, lower, lower, upper, lower, tile_edge, tile_edge};
    for (int t = 0; t < 8; t++) {
      shape.row_bytes[t] = 64;
      shape.rows[t] = rows[t];
    }
    asm volatile("" ::: "memory");  // the intrinsics do not say that they read memory
    _tile_loadconfig(&shape);
  }
  ~Tiles() {
    if (lines_) _tile_release();
  }

 private:
  int lines_ = 0;
};

}  // namespace rushlight::cpu::RL_ISA

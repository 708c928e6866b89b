// A float32 matrix packed once for the matrix unit and multiplied by few rows many times, as the layers over sequences do.
#pragma once

#include <cstdint>

namespace rushlight::cpu {

// (k, n) numbers, `row` and `column` apart. tiles: packed_bytes(k, n) bytes, aligned to 64. The exponents are what pack finds.
struct PackedWeight {
  const float* w;
  int64_t k, n, row, column;
  char* tiles;
  int low, high;
};

#if defined(__x86_64__)
namespace amx {
int64_t packed_bytes(int64_t k, int64_t n);
void pack(PackedWeight&);
// to (rows, n) (+)= from (rows, k) * w, both dense. Sixteen rows at a time that hold numbers beyond the unit's range go by
// multiply-adds: calls that share out the rows have to do so by multiples of 16.
void multiply(const PackedWeight&, int64_t rows, const float* from, float* to, bool add);
}  // namespace amx
#endif

}  // namespace rushlight::cpu

// Matrix products of integers: plain loops over contiguous rows of B, which the compiler turns into vectors.
// Arithmetic is unsigned, so overflow wraps around.
#include "../parallel.h"
#include "gemm_product.h"
#include "gemm_scratch.h"
#include "gemm_vec.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// T: unsigned storage type; U: unsigned type of at least 32 bits, clear of promotion to signed int.
template <class T, class U>
void integer_product(const Product& g) {
  constexpr int64_t k_step = 64, n_step = 1024;
  const auto* a = static_cast<const T*>(g.a);
  const auto* b = static_cast<const T*>(g.b);
  auto* c = static_cast<T*>(g.c);
  const double row_work = 2.0 * static_cast<double>(g.n) * g.k;
  const int64_t grain = row_work * g.m < 1e6 ? g.m : most(16, static_cast<int64_t>(5e5 / row_work));
  parallel_for(g.m, grain, [&](int64_t begin, int64_t end) {
    Scratch scratch(Use::panel_b, g.b_col == 1 ? 0 : sizeof(T) * k_step * n_step);
    for (int64_t j = 0; j < g.n; j += n_step) {
      const int64_t n = least(n_step, g.n - j);
      for (int64_t p = 0; p < g.k; p += k_step) {
        const int64_t k = least(k_step, g.k - p);
        const T* rows = b + p * g.b_row + j * g.b_col;
        int64_t ldb = g.b_row;
        if (g.b_col != 1) {
          T* packed = scratch.as<T>();
          for (int64_t x = 0; x < n; x++)
            for (int64_t q = 0; q < k; q++) packed[q * n + x] = rows[q * g.b_row + x * g.b_col];
          rows = packed;
          ldb = n;
        }
        for (int64_t i = begin; i < end; i++) {
          T* out = c + i * g.c_row + j;
          if (p == 0 && !g.add)
            for (int64_t x = 0; x < n; x++) out[x] = 0;
          for (int64_t q = 0; q < k; q++) {
            const U factor = a[i * g.a_row + (p + q) * g.a_col];
            const T* row = rows + q * ldb;
            for (int64_t x = 0; x < n; x++) out[x] = static_cast<T>(out[x] + factor * row[x]);
          }
        }
      }
    }
  });
}

}  // namespace

void gemm_i8(const Product& g) { integer_product<uint8_t, uint32_t>(g); }
void gemm_i16(const Product& g) { integer_product<uint16_t, uint32_t>(g); }
void gemm_i32(const Product& g) { integer_product<uint32_t, uint32_t>(g); }
void gemm_i64(const Product& g) { integer_product<uint64_t, uint64_t>(g); }

}  // namespace rushlight::cpu::RL_ISA

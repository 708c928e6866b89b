// Matrix products of integers, over contiguous rows of B: a register tile for 32 and 64 bits, plain loops, which the
// compiler turns into vectors, for shorter ones. Arithmetic is unsigned, so overflow wraps around.
#include "../parallel.h"
#include "gemm_product.h"
#include "gemm_scratch.h"
#include "gemm_vec.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// c[rows, vectors * width] += a[rows, k] * b[k, vectors * width]
template <class T, int rows, int vectors>
void tile(int64_t k, const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t ldb, T* c, int64_t ldc) {
  constexpr int w = width<T>;
  Vec<T> sum[rows][vectors];
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sum[r][v] = load(c + r * ldc + v * w);
  for (int64_t q = 0; q < k; q++)
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sum[r][v] += a[r * a_row + q * a_col] * load(b + q * ldb + v * w);
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) store(c + r * ldc + v * w, sum[r][v]);
}

// c[m, n] += a[m, k] * b[k, n]; gives the number of columns done: whole vectors.
template <class T>
int64_t tiles(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_col, const T* b,
              int64_t ldb, T* c, int64_t ldc) {
  constexpr int rows = 4, vectors = vector_bytes == 64 ? 4 : 2, w = width<T>;
  int64_t x = 0;
  const auto columns = [&](auto count) {
    constexpr int v = decltype(count)::value;
    for (; x + v * w <= n; x += v * w) {
      int64_t i = 0;
      for (; i + rows <= m; i += rows)
        tile<T, rows, v>(k, a + i * a_row, a_row, a_col, b + x, ldb, c + i * ldc + x, ldc);
      for (; i < m; i++) tile<T, 1, v>(k, a + i * a_row, a_row, a_col, b + x, ldb, c + i * ldc + x, ldc);
    }
  };
  columns(std::integral_constant<int, vectors>{});
  columns(std::integral_constant<int, 1>{});
  return x;
}

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
        if (p == 0 && !g.add)
          for (int64_t i = begin; i < end; i++)
            for (int64_t x = 0; x < n; x++) c[i * g.c_row + j + x] = 0;
        int64_t done = 0;
        if constexpr (sizeof(T) >= 4)
          done = tiles(end - begin, n, k, a + begin * g.a_row + p * g.a_col, g.a_row, g.a_col, rows, ldb,
                       c + begin * g.c_row + j, g.c_row);
        for (int64_t i = begin; i < end && done < n; i++) {
          T* out = c + i * g.c_row + j;
          for (int64_t q = 0; q < k; q++) {
            const U factor = a[i * g.a_row + (p + q) * g.a_col];
            const T* row = rows + q * ldb;
            for (int64_t x = done; x < n; x++) out[x] = static_cast<T>(out[x] + factor * row[x]);
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

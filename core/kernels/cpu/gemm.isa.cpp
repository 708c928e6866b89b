// The matrix products of real types: packed and blocked for large sizes, column panel by column panel for
// small and flat ones. Vectors times matrices are in gemm_gemv.h, integers in gemm_int.isa.cpp.
#include "../parallel.h"
#include "gemm_core.h"
#include "gemm_gemv.h"
#include "gemm_product.h"
#include "gemm_scratch.h"

namespace rushlight::cpu::RL_ISA {
namespace {

template <class S, class T>
constexpr bool same = false;
template <class T>
constexpr bool same<T, T> = true;

double flops(const Product& g) { return 2.0 * static_cast<double>(g.m) * g.n * g.k; }

// Column panel by column panel, A read in place: for few rows, and for sizes where packing A does not pay.
template <class S, class T>
void by_panels(const Product& g, const T* a) {
  constexpr int nr = tile_columns<T>;
  const auto* b = static_cast<const S*>(g.b);
  auto* c = static_cast<T*>(g.c);
  const int rows = rows_per_tile(g.m, few_rows);
  // Rows of B far apart share cache sets and pages; they are worth packing unless read only once.
  const bool in_place =
      same<S, T> && g.b_col == 1 &&
      (g.m <= few_rows || (g.b_row > 0 && g.b_row * static_cast<int64_t>(sizeof(T)) <= 2048));
  const int64_t panels = ceil_div(g.n, nr);
  const double total = flops(g);
  const int64_t grain = total < 1e6 ? panels : most(1, static_cast<int64_t>(2.5e5 / (total / panels)));
  parallel_for(panels, grain, [&](int64_t begin, int64_t end) {
    Scratch scratch(Use::panel_b, in_place ? 0 : sizeof(T) * nr * least(g.k, k_block));
    T* packed = scratch.as<T>();
    for (int64_t j = begin * nr; j < end * nr; j += nr) {
      const int64_t columns = least(nr, g.n - j);
      for (int64_t p = 0; p < g.k; p += k_block) {
        const int64_t depth = least(k_block, g.k - p);
        TileArgs<T> t{depth,         nullptr,
                      g.a_row,       g.a_col,
                      packed,        nr,
                      nullptr,       nullptr,
                      g.c_row,       static_cast<int>(columns),
                      g.add || p > 0};
        const S* panel = b + p * g.b_row + j * g.b_col;
        if (in_place) {
          t.b = reinterpret_cast<const T*>(panel);
          t.ldb = g.b_row;
        } else {
          pack_b(panel, g.b_row, g.b_col, depth, columns, packed);
        }
        for (int64_t i = 0; i < g.m; i += rows) {
          t.a = a + i * g.a_row + p * g.a_col;
          t.c = c + i * g.c_row + j;
          tile_strided(static_cast<int>(least(rows, g.m - i)), t);
        }
      }
    }
  });
}

// Both operands packed. B's panels of one k-block are packed once and shared; each job packs its rows of A.
template <class S, class T>
void blocked(const Product& g) {
  constexpr int nr = tile_columns<T>;
  constexpr int64_t n_block = 8192 / static_cast<int64_t>(sizeof(T)),
                    m_block = 16 * 14 / tile_rows * tile_rows;
  const auto* a = static_cast<const S*>(g.a);
  const auto* b = static_cast<const S*>(g.b);
  auto* c = static_cast<T*>(g.c);
  const int64_t threads = in_parallel() ? 1 : num_threads();

  int64_t row_jobs = ceil_div(g.m, m_block);
  if (row_jobs < 2 * threads) row_jobs = most(row_jobs, least(2 * threads, ceil_div(g.m, 2 * tile_rows)));
  const int64_t job_rows = ceil_div(ceil_div(g.m, row_jobs), tile_rows) * tile_rows;
  row_jobs = ceil_div(g.m, job_rows);

  for (int64_t j = 0; j < g.n; j += n_block) {
    const int64_t columns = least(n_block, g.n - j), panels = ceil_div(columns, nr);
    const int64_t column_jobs = row_jobs >= 2 * threads ? 1 : least(panels, ceil_div(2 * threads, row_jobs));
    for (int64_t p = 0; p < g.k; p += k_block) {
      const int64_t depth = least(k_block, g.k - p);
      Scratch b_scratch(Use::panel_b, sizeof(T) * panels * nr * depth);
      T* b_packed = b_scratch.as<T>();
      parallel_for(panels, 4, [&](int64_t begin, int64_t end) {
        for (int64_t q = begin; q < end; q++)
          pack_b(b + p * g.b_row + (j + q * nr) * g.b_col, g.b_row, g.b_col, depth,
                 least(nr, columns - q * nr), b_packed + q * nr * depth);
      });
      parallel_for(row_jobs * column_jobs, 1, [&](int64_t begin, int64_t end) {
        for (int64_t job = begin; job < end; job++) {
          const int64_t i0 = job / column_jobs * job_rows, m = least(job_rows, g.m - i0);
          const int64_t first = panels * (job % column_jobs) / column_jobs;
          const int64_t last = panels * (job % column_jobs + 1) / column_jobs;
          const int rows = rows_per_tile(m, tile_rows);
          Scratch a_scratch(Use::panel_a, sizeof(T) * m * depth);
          T* a_packed = a_scratch.as<T>();
          pack_a(a + i0 * g.a_row + p * g.a_col, g.a_row, g.a_col, m, depth, rows, a_packed);
          TileArgs<T> t{depth, nullptr, 0, 0, nullptr, nr, nullptr, nullptr, g.c_row, 0, g.add || p > 0};
          for (int64_t q = first; q < last; q++) {
            t.b = b_packed + q * nr * depth;
            t.columns = static_cast<int>(least(nr, columns - q * nr));
            for (int64_t i = 0; i < m; i += rows) {
              t.a = a_packed + i * depth;
              t.c = c + (i0 + i) * g.c_row + j + q * nr;
              tile_packed(static_cast<int>(least(rows, m - i)), t);
            }
          }
        }
      });
    }
  }
}

// A column result as the row of the transposed product: C' = B' * A'.
Product transposed(const Product& g, void* c) {
  return {1, g.m, g.k, g.b, 0, g.b_row, g.a, g.a_col, g.a_row, c, g.m, g.add};
}

bool few(const Product& g) { return g.m <= 2 * few_rows || flops(g) < 1.5e6; }

template <class T>
void real_product(const Product& g) {
  auto* c = static_cast<T*>(g.c);
  if (g.m == 1 && g.n == 1) {
    const T sum = dot(g.k, static_cast<const T*>(g.a), g.a_col, static_cast<const T*>(g.b), g.b_row);
    c[0] = g.add ? c[0] + sum : sum;
  } else if (g.m == 1 && g.b_col == 1) {
    row_times_rows<T>(g);
  } else if (g.m == 1 && g.b_row == 1) {
    row_times_columns<T>(g);
  } else if (g.n == 1 && g.c_row == 1) {
    real_product<T>(transposed(g, g.c));
  } else if (g.n == 1) {
    Scratch line(Use::result, sizeof(T) * g.m);
    T* y = line.as<T>();
    if (g.add)
      for (int64_t i = 0; i < g.m; i++) y[i] = c[i * g.c_row];
    real_product<T>(transposed(g, y));
    for (int64_t i = 0; i < g.m; i++) c[i * g.c_row] = y[i];
  } else if (few(g)) {
    by_panels<T, T>(g, static_cast<const T*>(g.a));
  } else {
    blocked<T, T>(g);
  }
}

// 16-bit floats: converted while packing, accumulated in a float copy of C, rounded once.
template <class S>
void half_product(const Product& g) {
  if (g.n == 1 && g.m > 1 && g.c_row == 1) return half_product<S>(transposed(g, g.c));
  auto* c = static_cast<S*>(g.c);
  Scratch wide(Use::result, sizeof(float) * g.m * g.n);
  float* y = wide.as<float>();
  if (g.add)
    for (int64_t i = 0; i < g.m; i++)
      for (int64_t j = 0; j < g.n; j++) y[i * g.n + j] = widen(c[i * g.c_row + j]);
  Product f = g;
  f.c = y;
  f.c_row = g.n;
  if (few(g)) {
    const auto* a = static_cast<const S*>(g.a);
    Scratch rows(Use::panel_a, sizeof(float) * g.m * g.k);
    float* wide_a = rows.as<float>();
    for (int64_t i = 0; i < g.m; i++)
      for (int64_t p = 0; p < g.k; p++) wide_a[i * g.k + p] = widen(a[i * g.a_row + p * g.a_col]);
    f.a_row = g.k;
    f.a_col = 1;
    by_panels<S, float>(f, wide_a);
  } else {
    blocked<S, float>(f);
  }
  for (int64_t i = 0; i < g.m; i++)
    for (int64_t j = 0; j < g.n; j++) narrow(y[i * g.n + j], c[i * g.c_row + j]);
}

}  // namespace

void gemm_f32(const Product& g) { real_product<float>(g); }
void gemm_f64(const Product& g) { real_product<double>(g); }
void gemm_bf16(const Product& g) { half_product<BF16>(g); }
void gemm_f16(const Product& g) { half_product<F16>(g); }

float dot32(int64_t n, const float* a, int64_t as, const float* b, int64_t bs) {
  return dot(n, a, as, b, bs);
}
double dot64(int64_t n, const double* a, int64_t as, const double* b, int64_t bs) {
  return dot(n, a, as, b, bs);
}

}  // namespace rushlight::cpu::RL_ISA

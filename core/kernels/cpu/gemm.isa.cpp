// The matrix products of real types: packed and blocked for large sizes, column panel by column panel for
// small and flat ones. Vectors times matrices are in gemm_gemv.h, integers in gemm_int.isa.cpp.
#include <type_traits>

#include "../parallel.h"
#include "gemm_core.h"
#include "gemm_gemv.h"
#include "gemm_product.h"
#include "gemm_scratch.h"

namespace rushlight::cpu::RL_ISA {
namespace {

struct Nothing {};
template <class S, class T>
constexpr bool same = false;
template <class T>
constexpr bool same<T, T> = true;

double flops(const Product& g) { return 2.0 * static_cast<double>(g.m) * g.n * g.k; }

// Items per chunk, so that a chunk is worth handing to another thread.
int64_t grain(int64_t items, double work) {
  return work < 1e6 ? items : most(1, static_cast<int64_t>(2.5e5 / (work / static_cast<double>(items))));
}

// A read in place, in blocks of rows by panels of columns: for few rows, few columns, and sizes where packing
// A does not pay.
template <class S, class T>
void unpacked(const Product& g, const T* a) {
  constexpr int nr = tile_columns<T>;
  const auto* b = static_cast<const S*>(g.b);
  auto* c = static_cast<T*>(g.c);
  // Rows of A whole pages apart meet in one set of the first-level cache, which holds eight of them.
  const bool aligned_rows = g.a_row * static_cast<int64_t>(sizeof(T)) % 4096 == 0;
  const int most_rows = aligned_rows ? least(8, few_rows) : few_rows;
  // Rows of B far apart share cache sets and pages; they are worth packing unless read only once.
  const bool in_place =
      same<S, T> && g.b_col == 1 &&
      (g.m <= few_rows || (g.b_row > 0 && g.b_row * static_cast<int64_t>(sizeof(T)) <= 512));
  const int64_t panels = ceil_div(g.n, nr), threads = in_parallel() ? 1 : num_threads();
  // Blocks of rows: for the cache, and where there are few panels for the threads.
  const int64_t least_blocks = in_place && flops(g) > 2e6 ? ceil_div(2 * threads, panels) : 1;
  const int64_t m_block = most(least(g.m, most_rows), ceil_div(g.m, most(least_blocks, ceil_div(g.m, 512))));
  const int rows = rows_per_tile(least(g.m, m_block), most_rows);
  const int64_t blocks = ceil_div(g.m, m_block), jobs = panels * blocks;
  const auto pack = [&](int64_t panel, int64_t p, int64_t depth, T* to) {
    const S* from = b + p * g.b_row + panel * nr * g.b_col;
    pack_b(from, g.b_row, g.b_col, depth, least(nr, g.n - panel * nr), to);
  };
  const auto multiply = [&](int64_t job, int64_t p, int64_t depth, const T* panel_b, int64_t ldb) {
    const int64_t j = job % panels * nr, first = job / panels * m_block, last = least(g.m, first + m_block);
    TileArgs<T> t{depth,   nullptr, g.a_row, g.a_col, panel_b,       ldb,
                  nullptr, nullptr, g.c_row, 0,       g.add || p > 0};
    t.columns = static_cast<int>(least(nr, g.n - j));
    t.fetch_c = g.k <= 128 && g.m * g.n * static_cast<int64_t>(sizeof(T)) > 65536;
    for (int64_t i = first; i < last; i += rows) {
      t.a = a + i * g.a_row + p * g.a_col;
      t.c = c + i * g.c_row + j;
      tile_strided(static_cast<int>(least(rows, last - i)), t);
    }
  };
  if (in_place || blocks == 1) {
    parallel_for(jobs, grain(jobs, flops(g)), [&](int64_t begin, int64_t end) {
      Scratch one(Use::panel_b, in_place ? 0 : sizeof(T) * nr * least(k_block, g.k));
      for (int64_t job = begin; job < end; job++)
        for (int64_t p = 0; p < g.k; p += k_block) {
          const int64_t depth = least(k_block, g.k - p), panel = job % panels;
          if (!in_place) pack(panel, p, depth, one.as<T>());
          const T* from = in_place ? reinterpret_cast<const T*>(b + p * g.b_row + panel * nr) : one.as<T>();
          multiply(job, p, depth, from, in_place ? g.b_row : nr);
        }
    });
    return;
  }
  for (int64_t p = 0; p < g.k; p += k_block) {  // every block of rows reads the same panels
    const int64_t depth = least(k_block, g.k - p);
    Scratch all(Use::panels, sizeof(T) * panels * nr * depth);
    parallel_for(panels, 4, [&](int64_t begin, int64_t end) {
      for (int64_t q = begin; q < end; q++) pack(q, p, depth, all.as<T>() + q * nr * depth);
    });
    parallel_for(jobs, grain(jobs, 2.0 * static_cast<double>(g.m) * g.n * depth),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t job = begin; job < end; job++)
                     multiply(job, p, depth, all.as<T>() + job % panels * nr * depth, nr);
                 });
  }
}

// The panel of B after the one at hand: fetched from memory while the tiles run, a share by each.
struct Ahead {
  const char* from;
  int64_t items, bytes, step;  // rows or columns of B; the length of each; the distance between them

  template <class S>
  Ahead(const S* b, int64_t n, const Product& g, int64_t depth, bool exists)
      : from(reinterpret_cast<const char*>(b)) {
    constexpr int64_t size = sizeof(S);
    const bool rows = g.b_col == 1;
    items = !exists || (!rows && g.b_row != 1) ? 0 : rows ? depth : n;
    bytes = (rows ? n : depth) * size;
    step = (rows ? g.b_row : g.b_col) * size;
  }
  template <class T>
  void share(int64_t tile, int64_t tiles, TileArgs<T>& t) const {
    const int64_t begin = items * tile / tiles, end = items * (tile + 1) / tiles;
    const int64_t pieces = ceil_div(bytes, t.ahead_bytes);
    t.ahead = from + begin * step;
    t.ahead_step = pieces == 1 ? step : t.ahead_bytes;  // several short rows, or the pieces of one column
    t.ahead_count = pieces == 1 ? end - begin : end > begin ? pieces : 0;
  }
};

// Both operands packed: blocks of A that fit the second-level cache, shared by all threads, and one panel of B at a time,
// packed just before use so that the tiles find it in the first-level cache.
template <class S, class T>
void blocked(const Product& g) {
  constexpr bool in_pairs = same<S, BF16>;
  constexpr int nr = tile_columns<T>, most_rows = in_pairs ? pair_rows : tile_rows;
  constexpr int64_t m_block = (sizeof(T) == 4 ? 448 : 224) / tile_rows * tile_rows;
  constexpr int64_t packed_blocks = 16;  // of A at a time: threads meet once for so many
  const auto* a = static_cast<const S*>(g.a);
  const auto* b = static_cast<const S*>(g.b);
  auto* c = static_cast<T*>(g.c);
  const int64_t threads = in_parallel() ? 1 : num_threads();
  const int64_t panels = ceil_div(g.n, nr);

  for (int64_t i0 = 0; i0 < g.m; i0 += packed_blocks * m_block) {
    const int64_t m = least(packed_blocks * m_block, g.m - i0);
    const int rows = rows_per_tile(m, most_rows);
    // Blocks of equal height, each of whole tiles.
    const int64_t tiles = ceil_div(m, rows), block_tiles = ceil_div(tiles, ceil_div(m, m_block));
    const int64_t blocks = ceil_div(tiles, block_tiles);
    // Few panels: several jobs share one, each with its part of the tiles.
    const int64_t parts = least(block_tiles, ceil_div(2 * threads, panels * blocks)),
                  jobs = blocks * panels * parts;
    for (int64_t p = 0; p < g.k; p += k_block) {
      const int64_t depth = least(k_block, g.k - p);
      Scratch a_scratch(Use::panel_a, sizeof(T) * m * depth);
      T* a_packed = a_scratch.as<T>();
      parallel_for(tiles, most(1, 16384 / (rows * depth)), [&](int64_t begin, int64_t end) {
        const int64_t i = begin * rows;
        pack_a(a + (i0 + i) * g.a_row + p * g.a_col, g.a_row, g.a_col, least(end * rows, m) - i, depth, rows,
               a_packed + i * depth);
      });
      const auto run = [&](int64_t begin, int64_t end) {
        Scratch b_scratch(Use::panel_b, sizeof(T) * nr * depth);
        T* b_packed = b_scratch.as<T>();
        [[maybe_unused]] const std::conditional_t<in_pairs, FlushTiny, Nothing> flush;
        TileArgs<T> t{depth, nullptr, 0, 0, b_packed, nr, nullptr, nullptr, g.c_row, 0, g.add || p > 0};
        for (int64_t job = begin; job < end; job++) {
          const int64_t j = job / parts % panels * nr, part = job % parts;
          const int64_t block = job / parts / panels * block_tiles, here = least(block_tiles, tiles - block);
          const int64_t first = block + here * part / parts, last = block + here * (part + 1) / parts;
          const S* panel = b + p * g.b_row + j * g.b_col;
          t.columns = static_cast<int>(least(nr, g.n - j));
          if (part == 0 || job == begin) pack_b(panel, g.b_row, g.b_col, depth, t.columns, b_packed);
          const Ahead next(panel + nr * g.b_col, nr, g, depth, part == parts - 1 && j + 2 * nr <= g.n);
          for (int64_t tile = first; tile < last; tile++) {
            next.share(tile - first, last - first, t);
            t.a = a_packed + tile * rows * depth;
            t.c = c + (i0 + tile * rows) * g.c_row + j;
            const int count = static_cast<int>(least(rows, m - tile * rows));
            if constexpr (in_pairs) tile_pairs(count, t);
            else tile_packed(count, t);
          }
        }
      };
      parallel_for(jobs, grain(jobs, 2.0 * static_cast<double>(m) * g.n * depth), run);
    }
  }
}

// A column result as the row of the transposed product: C' = B' * A'.
Product transposed(const Product& g, void* c) {
  return {1, g.m, g.k, g.b, 0, g.b_row, g.a, g.a_col, g.a_row, c, g.m, g.add};
}

bool few(const Product& g) { return g.m <= 2 * few_rows || g.n <= 4 * tile_columns<float> || flops(g) < 4e7; }

// B stored by columns and few rows of A, as in a linear layer with a small batch: packing B would cost as much as the
// product. C' = B' * A' reads it in place.
template <class T>
bool better_turned(const Product& g) {
  return g.b_row == 1 && g.b_col != 1 && g.m >= width<T> && g.m <= 128 &&
         g.n * g.k > g.m * g.k + 2 * g.n * g.m;
}

// A stored by columns and B by rows, as for the gradient of a weight, and the result high and narrow: the operand with more
// columns is better the one whose panels are packed by plain copies.
bool better_as_rows(const Product& g) {
  return g.a_row == 1 && g.a_col != 1 && g.b_col == 1 && g.m >= 2 * g.n && g.m > 4 * tile_columns<float> &&
         g.n > 2 * few_rows && g.n <= 4 * tile_columns<float> && g.k >= k_block && flops(g) >= 4e7;
}

template <class T>
void turned(const Product& g) {
  Scratch scratch(Use::result, sizeof(T) * g.m * g.n);
  T *y = scratch.as<T>(), *c = static_cast<T*>(g.c);
  const auto rows = [&](auto&& f) {  // f(first row of y, their number)
    parallel_for(g.n, most(64, 16384 / g.m), [&](int64_t begin, int64_t end) { f(begin, end - begin); });
  };
  if (g.add) rows([&](int64_t j, int64_t n) { transpose_into(c + j, g.c_row, g.m, n, y + j * g.m, g.m); });
  const Product flipped{g.n, g.m, g.k, g.b, g.b_col, g.b_row, g.a, g.a_col, g.a_row, y, g.m, g.add};
  if (few(flipped)) unpacked<T, T>(flipped, static_cast<const T*>(g.b));
  else blocked<T, T>(flipped);
  rows([&](int64_t j, int64_t n) { transpose_into(y + j * g.m, g.m, n, g.m, c + j, g.c_row); });
}

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
  } else if (better_turned<T>(g) || better_as_rows(g)) {
    turned<T>(g);
  } else if (few(g)) {
    unpacked<T, T>(g, static_cast<const T*>(g.a));
  } else {
    blocked<T, T>(g);
  }
}

// 16-bit floats: converted while packing, accumulated in a float copy of C, rounded once. bfloat16 has an order of its own,
// which only the packed path knows.
template <class S>
void half_product(const Product& g) {
  if (g.n == 1 && g.m > 1 && g.c_row == 1) return half_product<S>(transposed(g, g.c));
  auto* c = static_cast<S*>(g.c);
  Scratch wide(Use::result, sizeof(float) * g.m * g.n);
  float* y = wide.as<float>();
  const auto each_row = [&](auto&& f) {
    parallel_for(g.m, most(1, 16384 / g.n), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) f(c + i * g.c_row, y + i * g.n);
    });
  };
  if (g.add)
    each_row([&](const S* from, float* to) {
      for (int64_t j = 0; j < g.n; j++) to[j] = widen(from[j]);
    });
  Product f = g;
  f.c = y;
  f.c_row = g.n;
  if (!same<S, BF16> && few(g)) {
    const auto* a = static_cast<const S*>(g.a);
    Scratch rows(Use::panel_a, sizeof(float) * g.m * g.k);
    float* wide_a = rows.as<float>();
    for (int64_t i = 0; i < g.m; i++)
      for (int64_t p = 0; p < g.k; p++) wide_a[i * g.k + p] = widen(a[i * g.a_row + p * g.a_col]);
    f.a_row = g.k;
    f.a_col = 1;
    unpacked<S, float>(f, wide_a);
  } else {
    blocked<S, float>(f);
  }
  each_row([&](S* to, const float* from) {
    for (int64_t j = 0; j < g.n; j++) narrow(from[j], to[j]);
  });
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

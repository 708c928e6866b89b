// Products of float32 matrices on the matrix unit: see Note [Split products] in split_products.h. Both operands
// are packed, a pass of at most 512 terms at a time, one by all threads together and the other by each thread for itself.
#include "../parallel.h"
#include "gemm_product.h"
#include "gemm_scratch.h"
#include "split_tiles.h"

namespace rushlight::cpu {
namespace v4 {
void gemm_f32(const Product&);
}
}  // namespace rushlight::cpu

namespace rushlight::cpu::RL_ISA {
namespace {

using Floats = Lines<float>;

constexpr int64_t group = 2 * tile_edge;  // lines that are packed together
// Terms per pass, and groups of rows that one panel of columns is multiplied by before the next: the panel takes 96 KB, the
// rows 768 KB of the second-level cache.
constexpr int64_t depth_limit = 512, few_groups = 8;
constexpr int64_t columns_limit = 4096;  // that are packed at a time: 12 MB

// Jobs per chunk, so that a chunk is worth handing to another thread.
int64_t grain(int64_t jobs, double flops) {
  return most(1, static_cast<int64_t>(static_cast<double>(jobs) * 2e6 / flops));
}

// One pass over terms [p, p + depth) of rows `a` and columns [j0, j0 + n) of `b`.
template <int count>
struct Pass {
  const Floats &a, &b;
  float* c;
  int64_t c_row, j0, n, p, depth;
  bool add;

  int64_t steps() const { return ceil_div(depth, tile_terms); }
  int64_t group_bytes() const { return steps() * step_bytes(count); }
  double flops() const { return 2.0 * static_cast<double>(a.count) * n * depth; }

  // Step `step` of lines [begin, end), at most 32 of them; the next one will be 32 terms or 32 lines further on.
  template <bool right>
  Range pack_step(int64_t begin, int64_t end, int64_t step, bool next_is_line, char* to) const {
    const Floats& x = right ? b : a;
    return RL_ISA::pack_step<count, right>(x.from(begin, p + step * tile_terms), x.line, x.term,
                                           least(group, end - begin), depth - step * tile_terms,
                                           next_is_line ? group * x.line : tile_terms * x.term, to);
  }

  template <bool right>
  Range pack_group(int64_t begin, int64_t end, char* to) const {
    Range range;
    for (int64_t s = 0; s < steps(); s++)
      range.widen(pack_step<right>(begin, end, s, false, to + s * step_bytes(count)));
    return range;
  }

  // Lines [begin, end) on all threads, in the order in which they lie in memory.
  template <bool right>
  void pack_all(int64_t begin, int64_t end, char* to, Range* ranges) const {
    const int64_t groups = ceil_div(end - begin, group);
    constexpr int64_t worth = 16;  // groups and steps that are worth handing to another thread
    if ((right ? b : a).line != 1) {
      parallel_for(groups, most(1, worth / steps()), [&](int64_t first, int64_t last) {
        for (int64_t g = first; g < last; g++)
          ranges[g] = pack_group<right>(begin + g * group, end, to + g * group_bytes());
      });
      return;
    }
    Scratch scratch(Use::tile_ranges, sizeof(Range) * groups * steps());
    auto* of_steps = scratch.as<Range>();
    parallel_for(steps(), most(1, worth / groups), [&](int64_t first, int64_t last) {
      for (int64_t s = first; s < last; s++)
        for (int64_t g = 0; g < groups; g++)
          of_steps[s * groups + g] = pack_step<right>(begin + g * group, end, s, true,
                                                      to + g * group_bytes() + s * step_bytes(count));
    });
    for (int64_t g = 0; g < groups; g++) {
      ranges[g] = {};
      for (int64_t s = 0; s < steps(); s++) ranges[g].widen(of_steps[s * groups + g]);
    }
  }

  // Rows from i, columns from j of the result.
  void multiply(int64_t i, const char* left, const Range& left_range, int64_t j, const char* right,
                const Range& right_range, Tiles& tiles) const {
    const int64_t lines = least(group, a.count - i), columns = least(group, j0 + n - j);
    float* to = c + i * c_row + j;
    if (!Range::fits(left_range, right_range, depth)) {
      v4::gemm_f32({lines, columns, depth, a.from(i, p), a.line, a.term, b.from(j, p), b.term, b.line, to,
                    c_row, add});
      return;
    }
    if (!add && columns % tile_edge == 0) {
      run_steps<count>(tiles, lines, columns, left, right, steps(), to, c_row * 4);
      return;
    }
    alignas(64) float sums[group * group];
    run_steps<count>(tiles, lines, columns, left, right, steps(), sums, group * 4);
    for (int64_t r = 0; r < lines; r++)
      for (int64_t q = 0; q < columns; q += tile_edge) {
        const int here = static_cast<int>(least(tile_edge, columns - q));
        const Vec<float> sum = load(sums + r * group + q);
        float* at = to + r * c_row + q;
        store_tail(at, add ? load_tail(at, here) + sum : sum, here);
      }
  }

  // Few rows: packed together, while each thread packs the columns it is about to multiply.
  void by_columns() const {
    const int64_t groups = ceil_div(a.count, group), panels = ceil_div(n, group);
    Scratch shared(Use::tiles, groups * group_bytes());
    Range ranges[few_groups];
    pack_all<false>(0, a.count, shared.as<char>(), ranges);
    parallel_for(panels, grain(panels, flops()), [&](int64_t begin, int64_t end) {
      Scratch own(Use::own_tiles, group_bytes());
      Tiles tiles;
      for (int64_t j = j0 + begin * group; j < j0 + least(n, end * group); j += group) {
        const Range range = pack_group<true>(j, j0 + n, own.as<char>());
        for (int64_t g = 0; g < groups; g++)
          multiply(g * group, shared.as<char>() + g * group_bytes(), ranges[g], j, own.as<char>(), range,
                   tiles);
      }
    });
  }

  // Many rows: the columns packed together, while each thread packs the rows it is about to multiply.
  void by_rows() const {
    const int64_t groups = ceil_div(a.count, group), panels = ceil_div(n, group);
    const int64_t threads = in_parallel() ? 1 : num_threads();
    const int64_t rounds = most(2, ceil_div(groups, few_groups * threads));
    const int64_t block = ceil_div(groups, rounds * threads), blocks = ceil_div(groups, block);
    Scratch shared(Use::tiles, panels * group_bytes());
    Range ranges[columns_limit / group];
    pack_all<true>(j0, j0 + n, shared.as<char>(), ranges);
    parallel_for(blocks, grain(blocks, flops()), [&](int64_t begin, int64_t end) {
      Scratch own(Use::own_tiles, block * group_bytes());
      Tiles tiles;
      for (int64_t first = begin * block; first < least(groups, end * block); first += block) {
        const int64_t here = least(block, groups - first);
        Range own_ranges[few_groups];
        for (int64_t g = 0; g < here; g++)
          own_ranges[g] = pack_group<false>((first + g) * group, a.count, own.as<char>() + g * group_bytes());
        for (int64_t q = 0; q < panels; q++)
          for (int64_t g = 0; g < here; g++)
            multiply((first + g) * group, own.as<char>() + g * group_bytes(), own_ranges[g], j0 + q * group,
                     shared.as<char>() + q * group_bytes(), ranges[q], tiles);
      }
    });
  }
};

template <int count>
void product(const Product& g) {
  const Floats a{static_cast<const float*>(g.a), g.m, g.a_row, g.a_col};
  const Floats b{static_cast<const float*>(g.b), g.n, g.b_col, g.b_row};
  const int64_t passes = ceil_div(g.k, depth_limit),
                depth = ceil_div(ceil_div(g.k, passes), tile_terms) * tile_terms;
  const bool few = g.m <= few_groups * group;
  for (int64_t p = 0; p < g.k; p += depth) {
    Pass<count> pass{a,   b, static_cast<float*>(g.c), g.c_row,       0,
                     g.n, p, least(depth, g.k - p),    g.add || p > 0};
    if (few) {
      pass.by_columns();
    } else {
      for (; pass.j0 < g.n; pass.j0 += columns_limit) {
        pass.n = least(columns_limit, g.n - pass.j0);
        pass.by_rows();
      }
    }
  }
}

}  // namespace

void gemm_f32(const Product& g, int parts) {
  if (parts == 1) product<1>(g);
  else if (parts == 2) product<2>(g);
  else product<3>(g);
}

}  // namespace rushlight::cpu::RL_ISA

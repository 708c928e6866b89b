// Products of float32 matrices on the matrix unit: see Note [Split products] in split_products.h. Each thread computes a
// rectangle of the result and packs the parts of both operands that it needs: fetching what another core has just written takes
// longer than splitting again.
#include "../parallel.h"
#include "gemm_product.h"
#include "gemm_scratch.h"
#include "split_tiles.h"

namespace rushlight::cpu::RL_ISA {
namespace {

using Floats = Lines<float>;

// Terms per pass, and groups of rows that one panel of columns is multiplied by before the next; these take 384 KB of the
// second-level cache.
constexpr int64_t depth_limit = 512, block_groups = 4;
constexpr int64_t panels_limit = 128;  // of columns that are packed at a time: 12 MB

// A product, and how its terms are divided: in the same way whatever the rectangles.
struct Task {
  Floats a, b;
  float* c;
  int64_t c_row, k, depth;
  bool add;

  explicit Task(const Product& g)
      : a{static_cast<const float*>(g.a), g.m, g.a_row, g.a_col},
        b{static_cast<const float*>(g.b), g.n, g.b_col, g.b_row},
        c(static_cast<float*>(g.c)),
        c_row(g.c_row),
        k(g.k),
        add(g.add) {
    const int64_t passes = ceil_div(k, depth_limit);
    depth = ceil_div(ceil_div(k, passes), tile_terms) * tile_terms;
  }
};

// One pass over terms [p, p + depth), on one thread. Lines, rows of A or columns of B, are counted in groups.
template <int count>
struct Pass {
  const Task& g;
  int64_t p, depth;
  Tiles& tiles;

  int64_t steps() const { return ceil_div(depth, tile_terms); }
  int64_t group_bytes() const { return steps() * step_bytes(count); }

  // Step `step` of a group; the next one will be 32 terms or 32 lines further on.
  template <bool right>
  Range pack_step(int64_t which, int64_t step, bool next_is_line, char* to) const {
    const Floats& x = right ? g.b : g.a;
    return RL_ISA::pack_step<count, right>(x.from(which * group, p + step * tile_terms), x.line, x.term,
                                           least(group, x.count - which * group), depth - step * tile_terms,
                                           next_is_line ? group * x.line : tile_terms * x.term,
                                           to + step * step_bytes(count));
  }

  // Groups [begin, end), in the order in which they lie in memory.
  template <bool right>
  void pack(int64_t begin, int64_t end, char* to, Range* ranges) const {
    for (int64_t i = begin; i < end; i++) ranges[i - begin] = {};
    const auto one = [&](int64_t i, int64_t s, bool next_is_line) {
      ranges[i - begin].widen(pack_step<right>(i, s, next_is_line, to + (i - begin) * group_bytes()));
    };
    if ((right ? g.b : g.a).line == 1) {
      for (int64_t s = 0; s < steps(); s++)
        for (int64_t i = begin; i < end; i++) one(i, s, true);
    } else {
      for (int64_t i = begin; i < end; i++)
        for (int64_t s = 0; s < steps(); s++) one(i, s, false);
    }
  }

  // The sums of group i of rows and group j of columns.
  void multiply(int64_t i, const char* left, const Range& left_range, int64_t j, const char* right,
                const Range& right_range) const {
    const int64_t row = i * group, column = j * group;
    const int64_t lines = least(group, g.a.count - row), columns = least(group, g.b.count - column);
    float* to = g.c + row * g.c_row + column;
    const bool add = g.add || p > 0;
    if (!Range::fits(left_range, right_range, depth)) {
      v4::gemm_f32({lines, columns, depth, g.a.from(row, p), g.a.line, g.a.term, g.b.from(column, p),
                    g.b.term, g.b.line, to, g.c_row, add});
      return;
    }
    run_steps_into<count>(tiles, lines, columns, left, right, steps(), to, g.c_row, add);
  }

  // Groups [i0, i1) of rows and [j0, j1) of columns, of which at most panels_limit.
  void run(int64_t i0, int64_t i1, int64_t j0, int64_t j1) const {
    const bool few = i1 - i0 <= block_groups;  // rows: then packed columns are used once only
    const int64_t together = few ? 1 : j1 - j0, bytes = group_bytes();
    Scratch room_left(Use::tiles, least(i1 - i0, block_groups) * bytes),
        room_right(Use::more_tiles, together * bytes);
    char *left = room_left.as<char>(), *right = room_right.as<char>();
    Range lefts[block_groups], rights[panels_limit];
    if (!few) pack<true>(j0, j1, right, rights);
    for (int64_t i = i0; i < i1; i += block_groups) {
      const int64_t stop = least(i1, i + block_groups);
      pack<false>(i, stop, left, lefts);
      for (int64_t j = j0; j < j1; j++) {
        const int64_t at = few ? 0 : j - j0;
        if (few) pack<true>(j, j + 1, right, rights);
        for (int64_t q = i; q < stop; q++)
          multiply(q, left + (q - i) * bytes, lefts[q - i], j, right + at * bytes, rights[at]);
      }
    }
  }
};

// How `rows` x `columns` groups are divided among threads.
struct Grid {
  int64_t height, width;  // of a rectangle

  Grid(int64_t rows, int64_t columns, double flops) : height(rows), width(columns) {
    const int64_t threads = in_parallel() ? 1 : num_threads();
    const bool large = flops >
                       1e9 * static_cast<double>(threads);  // so that a thread that is late may do less
    const int64_t parts = least(threads * (large ? 2 : 1), static_cast<int64_t>(flops / 8e5));
    if (threads == 1) return;
    double best = 1e300;
    for (int64_t vertical = 1; vertical <= parts; vertical++) {
      const int64_t h = ceil_div(rows, vertical), w = ceil_div(columns, most(1, parts / vertical));
      // What packing a group takes is a little less than what multiplying two takes.
      const double cost = static_cast<double>(h * w) + 0.9 * static_cast<double>(h + w);
      if (cost >= best) continue;
      best = cost;
      height = h;
      width = w;
    }
  }
};

template <int count>
void product(const Product& g) {
  const Task task(g);
  const int64_t rows = ceil_div(g.m, group), columns = ceil_div(g.n, group);
  const Grid grid(rows, columns, 2.0 * static_cast<double>(g.m) * g.n * g.k);
  const int64_t across = ceil_div(columns, grid.width);
  parallel_for(ceil_div(rows, grid.height) * across, 1, [&](int64_t begin, int64_t end) {
    Tiles tiles;
    for (int64_t part = begin; part < end; part++) {
      const int64_t i = part / across * grid.height, i_end = least(rows, i + grid.height);
      const int64_t j = part % across * grid.width, j_end = least(columns, j + grid.width);
      for (int64_t first = j; first < j_end; first += panels_limit)
        for (int64_t p = 0; p < g.k; p += task.depth)
          Pass<count>{task, p, least(task.depth, g.k - p), tiles}.run(i, i_end, first,
                                                                      least(j_end, first + panels_limit));
    }
  });
}

}  // namespace

void gemm_f32(const Product& g, int parts) {
  if (parts == 1) product<1>(g);
  else if (parts == 2) product<2>(g);
  else product<3>(g);
}

}  // namespace rushlight::cpu::RL_ISA

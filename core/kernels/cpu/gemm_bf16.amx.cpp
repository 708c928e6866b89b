// Products of bfloat16 matrices on the matrix unit of Intel's servers (AMX), in the order of Note [Order of bfloat16
// products] in gemm_core.h, which is the unit's own. One step multiplies 32 x 32 terms of each operand: four tiles of sums,
// 16 x 16 each, stay in the unit while k runs.
#include "../parallel.h"
#include "amx.h"
#include "gemm_product.h"
#include "gemm_scratch.h"

namespace rushlight::cpu::RL_ISA {
namespace {

constexpr int64_t edge = tile_edge, terms = tile_terms, tile_items = 512, sums_items = 256;

using Halves = Lines<BF16>;

typedef uint16_t HalfWords __attribute__((vector_size(32)));

static RL_INLINE Words words(__m256i x) { return __builtin_convertvector((HalfWords)x, Words); }

// `lines` <= 16 lines of `depth` <= 32 terms as the unit reads them, zeros beyond: a row for each line (left operand) or
// for each pair of terms (right operand).
template <bool right>
void pack_tile(const BF16* from, int64_t line, int64_t term, int lines, int depth, BF16* to) {
  Vec<float> rows[edge];  // of pairs
  if (line == 1 && term != 1) {
    const __mmask16 these = static_cast<__mmask16>(first(lines));
#pragma GCC unroll 16
    for (int p = 0; p < edge; p++) {
      const BF16* pair = from + 2 * p * term;
      const __m256i even = _mm256_maskz_loadu_epi16(2 * p < depth ? these : 0, pair);
      const __m256i odd = _mm256_maskz_loadu_epi16(2 * p + 1 < depth ? these : 0, pair + term);
      rows[p] = (Vec<float>)(words(even) | words(odd) << 16);
    }
    if (!right) transpose<float>(rows);
  } else {
    BF16 gathered[edge][terms] = {};
    if (term != 1) {
      for (int i = 0; i < lines; i++)
        for (int p = 0; p < depth; p++) gathered[i][p] = from[i * line + p * term];
      from = gathered[0];
      line = terms;
    }
    const __mmask32 these = first(depth);
#pragma GCC unroll 16
    for (int i = 0; i < edge; i++)
      rows[i] = (Vec<float>)_mm512_maskz_loadu_epi16(i < lines ? these : 0, from + i * line);
    if (right) transpose<float>(rows);
  }
#pragma GCC unroll 16
  for (int i = 0; i < edge; i++) store(reinterpret_cast<float*>(to + i * terms), rows[i]);
}

// Terms [p, p + depth) of lines [begin, end), in groups of 32 lines: of each group, for each step, one or two tiles. `all`
// steps lie between the groups.
template <bool right>
void pack(const Halves& x, int64_t begin, int64_t end, int64_t p, int64_t depth, int64_t all, BF16* to) {
  for (int64_t g = begin; g < end; g += 2 * edge, to += all * 2 * tile_items) {
    const int64_t lines = least(2 * edge, end - g);
    BF16* out = to;
    for (int64_t q = 0; q < depth; q += terms)
      for (int64_t i = 0; i < lines; i += edge, out += tile_items)
        pack_tile<right>(x.from(g + i, p + q), x.line, x.term, static_cast<int>(least(edge, lines - i)),
                         static_cast<int>(least(terms, depth - q)), out);
  }
}

// The same on all threads, in the order in which the operand lies in memory.
template <bool right>
void pack_all(const Halves& x, int64_t begin, int64_t end, int64_t p, int64_t depth, BF16* to) {
  const int64_t steps = ceil_div(depth, terms), groups = ceil_div(end - begin, 2 * edge);
  constexpr int64_t worth = 64;  // tiles that are worth handing to another thread
  if (x.line == 1)
    parallel_for(steps, most(1, worth / (2 * groups)), [&](int64_t first, int64_t last) {
      for (int64_t s = first; s < last; s++)
        for (int64_t i = begin; i < end; i += 2 * edge) {
          const int64_t stop = least(end, i + 2 * edge), tiles = ceil_div(stop - i, edge);
          pack<right>(x, i, stop, p + s * terms, least(terms, depth - s * terms), steps,
                      to + ((i - begin) / edge * steps + s * tiles) * tile_items);
        }
    });
  else
    parallel_for(groups, most(1, worth / (2 * steps)), [&](int64_t first, int64_t last) {
      pack<right>(x, begin + first * 2 * edge, least(end, begin + last * 2 * edge), p, depth, steps,
                  to + first * 2 * steps * tile_items);
    });
}

// Where the left operand's tiles lie, in bytes: the first, and on to the next row, step and lower tile.
struct Left {
  const void* at;
  int64_t row, step, lower;
};

// One step. The left operand streams past the first-level cache, the right one stays there.
template <bool two_left, bool two_right>
RL_INLINE void one_step(const char* left, int64_t row, int64_t lower, const char* right, const char* ahead,
                        int64_t ahead_lines) {
  _tile_loadd(6, right, 64);
  _tile_stream_loadd(4, left, row);
  if (two_right) _tile_loadd(7, right + tile_bytes, 64);
  if (two_left) _tile_stream_loadd(5, left + lower, row);
  for (int64_t i = 0; i < ahead_lines; i++) _mm_prefetch(ahead + i * 64, _MM_HINT_T1);
  _tile_dpbf16ps(0, 4, 6);
  if (two_right) _tile_dpbf16ps(1, 4, 7);
  if (two_left) _tile_dpbf16ps(2, 5, 6);
  if (two_left && two_right) _tile_dpbf16ps(3, 5, 7);
}

// sums[2 * lower + right] (+)= the product of `steps` steps and, where there is one, of a last step whose left tiles are in
// `rest`. Each step fetches some cache lines ahead.
template <bool two_left, bool two_right>
void run_tiles(const Left& left, int64_t steps, const BF16* rest, const BF16* right, float* sums, bool add,
               const char* ahead, int64_t ahead_lines) {
  asm volatile("" ::: "memory");
  if (add) {
    _tile_loadd(0, sums, 64);
    if (two_right) _tile_loadd(1, sums + sums_items, 64);
    if (two_left) _tile_loadd(2, sums + 2 * sums_items, 64);
    if (two_left && two_right) _tile_loadd(3, sums + 3 * sums_items, 64);
  } else {
    _tile_zero(0);
    if (two_right) _tile_zero(1);
    if (two_left) _tile_zero(2);
    if (two_left && two_right) _tile_zero(3);
  }
  const auto* l = static_cast<const char*>(left.at);
  const auto* r = reinterpret_cast<const char*>(right);
  for (int64_t s = 0; s < steps; s++, l += left.step, r += (1 + two_right) * tile_bytes)
    one_step<two_left, two_right>(l, left.row, left.lower, r, ahead + s * ahead_lines * 64, ahead_lines);
  if (rest) one_step<two_left, two_right>(reinterpret_cast<const char*>(rest), 64, tile_bytes, r, nullptr, 0);
  _tile_stored(0, sums, 64);
  if (two_right) _tile_stored(1, sums + sums_items, 64);
  if (two_left) _tile_stored(2, sums + 2 * sums_items, 64);
  if (two_left && two_right) _tile_stored(3, sums + 3 * sums_items, 64);
}

// The result: element (i, j) at c[i * line + j] or, turned, at c[i + j * line].
struct Result {
  BF16* at;
  int64_t line;
  bool turned;

  BF16* from(int64_t i, int64_t j) const { return at + (turned ? i + j * line : i * line + j); }
};

// A tile of sums to and from the result.
void put(const float* sums, int64_t lines, int64_t columns, const Result& c, BF16* to) {
  Vec<float> rows[edge];
#pragma GCC unroll 16
  for (int i = 0; i < edge; i++) rows[i] = load(sums + i * edge);
  if (c.turned) {
    transpose<float>(rows);
    const int64_t swap = lines;
    lines = columns;
    columns = swap;
  }
  const auto these = static_cast<__mmask16>(first(columns));
  const __m256i nan = _mm256_set1_epi16(0x7fc0);
#pragma GCC unroll 16
  for (int i = 0; i < edge; i++) {
    if (i == lines) break;
    const auto x = (__m512)rows[i];
    const auto half = (__m256i)_mm512_cvtneps_pbh(x);
    _mm256_mask_storeu_epi16(to + i * c.line, these,
                             _mm256_mask_mov_epi16(half, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), nan));
  }
}
void get(float* sums, int64_t lines, int64_t columns, const Result& c, const BF16* from) {
  Vec<float> rows[edge];
  const auto these = static_cast<__mmask16>(first(c.turned ? lines : columns));
  for (int i = 0; i < edge; i++) {
    const __mmask16 mask = i < (c.turned ? columns : lines) ? these : 0;
    rows[i] = (Vec<float>)(words(_mm256_maskz_loadu_epi16(mask, from + (mask ? i * c.line : 0))) << 16);
  }
  if (c.turned) transpose<float>(rows);
  for (int i = 0; i < edge; i++) store(sums + i * edge, rows[i]);
}

// Jobs per chunk, so that a chunk is worth handing to another thread.
int64_t grain(int64_t jobs, double flops) {
  return flops < 2e7 ? jobs : most(1, static_cast<int64_t>(4e6 / (flops / static_cast<double>(jobs))));
}

// Passes over the operands, so that what is packed of each stays below 8 MB. Sums over more than `depth_limit` terms wait
// in memory as floats between passes.
constexpr int64_t depth_limit = 4096, packed_items = int64_t{4} << 20;
// 32 columns of so many terms stay in the first-level cache while a block of rows passes by, which itself stays in the
// second-level cache while all columns pass by.
constexpr int64_t piece = 512, block_items = int64_t{1} << 19, block_limit = 8;

// One pass over rows [i0, i0 + m), columns [j0, j0 + n) and terms [p0, p0 + depth).
struct Pass {
  const Halves &a, &b;
  const Result& c;
  int64_t i0, m, j0, n, p0, depth;
  bool add, last;  // add to what `c` or `waiting` holds; the sums are complete
  float* waiting;  // the sums between passes, null where there is one pass only

  int64_t steps() const { return ceil_div(depth, terms); }

  // Rows of A that begin within cache lines are read twice; worth it where few columns make packing as dear as the product.
  bool reads_in_place() const {
    const bool aligned = a.line % terms == 0 && reinterpret_cast<uintptr_t>(a.from(i0, p0)) % 64 == 0;
    return a.term == 1 && (aligned || n <= 4 * edge);
  }

  // Rows [first, stop) in pairs of tiles against one panel of columns, which another one may follow in memory.
  void panel(int64_t j, int64_t first, int64_t stop, const BF16* left, const BF16* right, bool following,
             Tiles& tiles, float* room) const {
    const int64_t columns = least(2 * edge, n - j), right_tiles = ceil_div(columns, edge);
    const bool two_right = columns > edge;
    // Meanwhile the piece of B that comes next moves closer, a share of its cache lines at each step.
    const int64_t share = following ? ceil_div(right_tiles * edge * 2 * edge, stop - first) : 0;
    for (int64_t q = 0; q < depth; q += piece)
      for (int64_t i = first; i < stop; i += 2 * edge) {
        const int64_t lines = least(2 * edge, m - i), left_tiles = ceil_div(lines, edge),
                      here = least(piece, depth - q);
        float* sums = waiting         ? waiting + (i * ceil_div(n, 2 * edge) + j) * 2 * edge
                      : depth > piece ? room + (i - first) * 2 * edge
                                      : room;
        const auto each_tile = [&](auto&& f) {
          for (int64_t x = 0; x < lines; x += edge)
            for (int64_t y = 0; y < columns; y += edge)
              f(sums + (2 * x + y) / edge * sums_items, least(edge, lines - x), least(edge, columns - y), c,
                c.from(i0 + i + x, j0 + j + y));
        };
        if (q == 0 && p0 == 0 && add) each_tile(get);
        alignas(64) BF16 rest[2 * tile_items];
        int64_t whole = ceil_div(here, terms);
        Left from;
        if (left) {
          from = {left + (i * steps() + q / terms * left_tiles * edge) * terms, 64, left_tiles * tile_bytes,
                  tile_bytes};
        } else {
          from = {a.from(i0 + i, p0 + q), a.line * 2, 2 * terms, a.line * 2 * edge};
          whole = here / terms;
          if (whole * terms < here)
            pack<false>(a, i0 + i, i0 + i + lines, p0 + q + whole * terms, here - whole * terms, 1, rest);
        }
        tiles.set(static_cast<int>(lines));
        const auto run = lines > edge ? two_right ? run_tiles<true, true> : run_tiles<true, false>
                         : two_right  ? run_tiles<false, true>
                                      : run_tiles<false, false>;
        const char* ahead = reinterpret_cast<const char*>(right + (q + piece) * right_tiles * edge) +
                            (i - first) / (2 * edge) * ceil_div(here, terms) * share * 64;
        run(from, whole, whole * terms < here ? rest : nullptr, right + q * right_tiles * edge, sums,
            add || q > 0, ahead, share);
        if (last && q + here == depth) each_tile(put);
      }
  }

  void run() const {
    const int64_t threads = in_parallel() ? 1 : num_threads(), panels = ceil_div(n, 2 * edge),
                  pairs = ceil_div(m, 2 * edge);
    const int64_t padded = steps() * terms;
    int64_t block = most(1, least(least(pairs, block_limit), block_items / (2 * edge * padded)));
    while (block > 1 && panels * ceil_div(pairs, block) < 3 * threads) block = ceil_div(block, 2);
    const int64_t blocks = ceil_div(pairs, block), jobs = blocks * panels;
    const bool in_place = reads_in_place();
    const bool shared = blocks > 1;  // panels are packed once for all blocks of rows
    Scratch left(Use::panel_a, in_place ? 0 : sizeof(BF16) * pairs * 2 * edge * padded);
    Scratch right(Use::panels, shared ? sizeof(BF16) * panels * 2 * edge * padded : 0);
    if (!in_place) pack_all<false>(a, i0, i0 + m, p0, depth, left.as<BF16>());
    if (shared) pack_all<true>(b, j0, j0 + n, p0, depth, right.as<BF16>());
    parallel_for(jobs, grain(jobs, 2.0 * static_cast<double>(m) * n * padded),
                 [&](int64_t begin, int64_t end) {
                   Scratch own(Use::panel_b, shared ? 0 : sizeof(BF16) * 2 * edge * padded);
                   alignas(64) float room[block_limit * 4 * sums_items];
                   Tiles tiles;
                   for (int64_t job = begin; job < end; job++) {
                     const int64_t j = job % panels * 2 * edge, i = job / panels * block * 2 * edge;
                     if (!shared)
                       pack<true>(b, j0 + j, j0 + least(n, j + 2 * edge), p0, depth, steps(), own.as<BF16>());
                     panel(j, i, least(m, i + block * 2 * edge), left.as<BF16>(),
                           shared ? right.as<BF16>() + j * padded : own.as<BF16>(), shared, tiles, room);
                   }
                 });
  }
};

void product(const Halves& a, const Halves& b, int64_t k, const Result& c, bool add) {
  const int64_t depth = least(k, depth_limit), padded = ceil_div(depth, terms) * terms;
  const int64_t lines = packed_items / padded / (2 * edge) * (2 * edge);
  for (int64_t j = 0; j < b.count; j += lines)
    for (int64_t i = 0; i < a.count; i += lines) {
      const int64_t m = least(lines, a.count - i), n = least(lines, b.count - j);
      const int64_t blocks = ceil_div(m, 2 * edge) * ceil_div(n, 2 * edge);
      Scratch waiting(Use::panel_c, k > depth ? sizeof(float) * blocks * 4 * sums_items : 0);
      for (int64_t p = 0; p < k; p += depth) {
        const int64_t here = least(depth, k - p);
        Pass{a, b, c, i, m, j, n, p, here, add || p > 0, p + here == k, waiting.as<float>()}.run();
      }
    }
}

}  // namespace

void gemm_bf16(const Product& g) {
  const Halves rows{static_cast<const BF16*>(g.a), g.m, g.a_row, g.a_col};
  const Halves columns{static_cast<const BF16*>(g.b), g.n, g.b_col, g.b_row};
  const Result c{static_cast<BF16*>(g.c), g.c_row, false};
  // What packing costs per term: the left operand can be read in place where its terms are neighbours. C' = B' * A' exchanges
  // the sides.
  const auto cost = [](const Halves& left, const Halves& right) {
    return (left.term == 1 ? 0.0 : 2.5 * static_cast<double>(left.count)) +
           (right.term == 1 ? 1.5 : 1.0) * static_cast<double>(right.count);
  };
  const double plain = cost(rows, columns),
               turned = cost(columns, rows) + 0.5 * static_cast<double>(g.m) * g.n / g.k;
  if (turned < plain) product(columns, rows, g.k, {c.at, c.line, true}, g.add);
  else product(rows, columns, g.k, c, g.add);
}

}  // namespace rushlight::cpu::RL_ISA

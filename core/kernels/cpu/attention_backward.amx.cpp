// The backward pass of attention on the matrix unit: see attention_backward.isa.cpp, which this follows, and Note [Attention on
// the matrix unit] in attention_tiles.h.
#include "attention_tiles.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// All belong to the order of summation. As many keys as keys_together are packed at a time: they and their gradients stay in the
// second-level cache while the queries pass by.
constexpr int64_t query_block = 128, key_block = 128, keys_together = 512;
constexpr int64_t block_steps = query_block / tile_terms;
static_assert(query_block == key_block);

// Takes room for several arrays from one buffer.
struct Room {
  char* at;
  char* take(int64_t bytes) { return (at += bytes) - bytes; }
  float* floats(int64_t count) { return reinterpret_cast<float*>(take(count * int64_t(sizeof(float)))); }
};

// to += a block of sums.
void add_product(int64_t lines, const char* left, const char* right, int64_t steps, float* to, int64_t row) {
  alignas(64) float sums[panel * panel];
  multiply(lines, left, right, steps, sums, panel);
  for (int64_t i = 0; i < least(panel, lines); i++)
#pragma GCC unroll 2
    for (int64_t j = 0; j < panel; j += tile_edge)
      store(to + i * row + j, load(to + i * row + j) + load(sums + i * panel + j));
}

// Some queries as right operands: by themselves as columns (turned), and their columns with the queries as terms.
struct Queries {
  float *scaled, *dot, *sums;  // dot: product of output and gradient; sums: logarithms of the sums, in base 2
  char *turned_q, *turned_g, *q, *g;
  Range q_range, g_range;

  static int64_t room(const AttentionShape& s) {
    return query_block * int64_t(sizeof(float)) * (s.size + 2 + tile_edge) +
           2 * block_steps * step * (panels_of(s.size) + panels_of(s.value_size));
  }
  Queries(Room r, const AttentionShape& s) {
    turned_q = r.take(block_steps * panels_of(s.size) * step);
    turned_g = r.take(block_steps * panels_of(s.value_size) * step);
    q = r.take(block_steps * panels_of(s.size) * step);
    g = r.take(block_steps * panels_of(s.value_size) * step);
    dot = r.floats(query_block);
    sums = r.floats(query_block);
    scaled = r.floats(query_block * s.size);
  }
  void pack(const AttentionPiece<float>& h, const AttentionGradient<float>& to, int64_t q0, int64_t count) {
    const AttentionShape& s = h.s;
    const float *rows = to.g + q0 * to.by.g.row, *out = to.out + q0 * s.out.row;
    scale_rows(h.q + q0 * s.q.row, s.q.row, count, s.size, static_cast<float>(s.scale), scaled);
    q_range = RL_ISA::pack<true>({scaled, count, s.size, 1}, s.size, turned_q);
    g_range = RL_ISA::pack<true>({rows, count, to.by.g.row, 1}, s.value_size, turned_g);
    pack_columns_of({scaled, s.size, 1, s.size}, count, q);
    pack_columns_of({rows, s.value_size, 1, to.by.g.row}, count, g);
    for (int64_t i = 0; i < padded(count); i++) {
      Vec<float> sum = {};
      for (int64_t j = 0; i < count && j < s.value_size; j += tile_edge) {
        const int n = static_cast<int>(least(tile_edge, s.value_size - j));
        sum = fma(load_tail(rows + i * to.by.g.row + j, n), load_tail(out + i * s.out.row + j, n), sum);
      }
      dot[i] = 0;
      for (int lane = 0; lane < tile_edge; lane++) dot[i] += sum[lane];
      sums[i] = i < count ? exponent(to.logsumexp[q0 + i]) : infinite<float>;
    }
  }

 private:
  // Panels of columns lie block_steps steps apart, however many queries there are.
  static void pack_columns_of(const Lines<float>& x, int64_t count, char* to) {
    for (int64_t j = 0; j < x.count; j += panel, to += block_steps * step)
      RL_ISA::pack<true>({x.from(j, 0), least(panel, x.count - j), x.line, x.term}, count, to);
  }
};

// Scores and slopes of probabilities, (32 keys, 32 queries) each, become probabilities and slopes of scores: as lines of left
// operands with the queries as terms, and the slopes as a step of a right operand with the keys as terms, too.
class Probabilities {
 public:
  Probabilities() = default;
  Probabilities(const float* scores, const float* slopes, const float* sums, const float* dots, char* left_p,
                char* left_d, char* right_d, int64_t calls)
      : scores_(scores), slopes_(slopes), left_p_(left_p), left_d_(left_d), right_d_(right_d) {
    for (int half = 0; half < 2; half++) {
      sum_[half] = load(sums + half * tile_edge);
      dot_[half] = load(dots + half * tile_edge);
    }
    spread_.start(tile_edge, calls);
  }
  RL_INLINE void some() {
    spread_.some([&] __attribute__((always_inline)) { row(); });
  }
  void finish() {
    spread_.rest([&] __attribute__((always_inline)) { row(); });
  }

 private:
  // A pair of keys, for 32 queries: elements 0 and 1 are of the first key, 2 and 3 of the second.
  RL_INLINE void row() {
    Vec<float> p[4], d[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      p[i] = fma(load(scores_ + i / 2 * tile_edge * panel + i % 2 * tile_edge), splat(log2_e<float>),
                 -sum_[i % 2]);
    exp2_or_zero(p);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      d[i] = p[i] * (load(slopes_ + i / 2 * tile_edge * panel + i % 2 * tile_edge) - dot_[i % 2]);
#pragma GCC unroll 3
    for (int part = 0; part < parts; part++) {
      const auto put = [&](char* to, Words a, Words b) __attribute__((always_inline)) {
        *reinterpret_cast<Words*>(to + part * part_bytes) = a >> 16 | (b & 0xffff0000);
      };
      Words of_p[4], of_d[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        of_p[i] = cut(p[i], part);
        of_d[i] = cut(d[i], part);
      }
      put(left_p_, of_p[0], of_p[1]);
      put(left_p_ + tile_bytes, of_p[2], of_p[3]);
      put(left_d_, of_d[0], of_d[1]);
      put(left_d_ + tile_bytes, of_d[2], of_d[3]);
      put(right_d_, of_d[0], of_d[2]);
      put(right_d_ + tile_bytes, of_d[1], of_d[3]);
    }
    scores_ += panel;
    slopes_ += panel;
    left_p_ += 64;
    left_d_ += 64;
    right_d_ += 64;
  }

  Vec<float> sum_[2], dot_[2];
  const float *scores_, *slopes_;
  char *left_p_, *left_d_, *right_d_;
  Spread spread_;
};

// Whether all products may be left to the unit. Slopes of scores, P * (g * v - dot), are split as they come: what the unit drops
// of them is small against the least g * v, with ten bits for P.
bool fits(const Queries& b, const Range& k, const Range& v, const AttentionShape& s) {
  const int low = b.g_range.low + v.low - 127 - 10, high = b.g_range.high + v.high - 127 + 2;
  int bits = 0;
  while (int64_t{1} << bits < s.value_size) bits++;
  const Range slopes{least(255, low) > 0 ? int(least(255, low)) : 0, int(most(0, high + bits))};
  return Range::fits(b.q_range, k, s.size) && Range::fits(b.g_range, v, s.value_size) &&
         Range::fits(probabilities, b.g_range, s.queries) && Range::fits(slopes, b.q_range, s.queries) &&
         Range::fits(slopes, k, s.keys);
}

bool backward(const AttentionPiece<float>& h, const AttentionGradient<float>& to) {
  const AttentionShape& s = h.s;
  const int64_t together = least(keys_together, padded(s.keys)), size = padded(s.size),
                value_size = padded(s.value_size);
  const int64_t key_bytes = size / tile_terms * step, value_bytes = value_size / tile_terms * step;
  const int64_t block_bytes = block_steps * step;  // of one panel of lines, and one block of queries or keys
  Scratch keys(Use::panel_a, together / panel * (key_bytes + value_bytes) +
                                 ceil_div(together, key_block) * size / panel * block_bytes);
  Scratch queries(Use::panel_b, Queries::room(s));
  Scratch work(Use::panels,
               block_steps * (2 * block_bytes + step) + 4 * panel * panel * int64_t(sizeof(float)));
  Scratch sums(Use::result, sizeof(float) * (together * (size + value_size) + padded(s.queries) * size));
  Room room{keys.as<char>()};
  char *packed_k = room.take(together / panel * key_bytes),
       *packed_v = room.take(together / panel * value_bytes), *turned_k = room.at;
  room = {work.as<char>()};
  char *left_p = room.take(block_steps * block_bytes), *left_d = room.take(block_steps * block_bytes),
       *right_d = room.take(block_bytes);
  float *scores = room.floats(2 * panel * panel), *slopes = room.floats(2 * panel * panel);
  room = {sums.as<char>()};
  float *gk = room.floats(together * size), *gv = room.floats(together * value_size),
        *gq = room.floats(padded(s.queries) * size);
  Queries b({queries.as<char>()}, s);
  Tiles tiles;
  tiles.set(panel);

  for (int64_t i = 0; i < padded(s.queries) * size; i += tile_edge) store(gq + i, Vec<float>{});
  for (int64_t begin = 0; begin < s.keys; begin += keys_together) {
    const int64_t all = least(keys_together, s.keys - begin);
    const float *k = h.k + begin * s.k.row, *v = h.v + begin * s.v.row;
    const Range k_range = pack<false>({k, all, s.k.row, 1}, s.size, packed_k);
    const Range v_range = pack<false>({v, all, s.v.row, 1}, s.value_size, packed_v);
    for (int64_t key = 0; key < all; key += key_block)
      for (int64_t j = 0; j < size; j += panel)
        pack<false>({k + key * s.k.row + j, least(panel, s.size - j), 1, s.k.row},
                    least(key_block, all - key),
                    turned_k + (key / key_block * size + j) / panel * block_bytes);
    for (int64_t i = 0; i < together * (size + value_size); i += tile_edge) store(gk + i, Vec<float>{});
    for (int64_t q0 = h.s.causal ? begin : 0; q0 < s.queries; q0 += query_block) {
      const int64_t n = least(query_block, s.queries - q0);
      b.pack(h, to, q0, n);
      if (!fits(b, k_range, v_range, s)) return false;
      for (int64_t key = 0; key < all && seen(h, q0 + n, begin + key, 1); key += key_block) {
        const int64_t key0 = begin + key, count = least(key_block, all - key);
        const char* turned = turned_k + key / key_block * size / panel * block_bytes;
        // A block's probabilities are computed while the unit multiplies the next one.
        Probabilities before;
        int64_t turn = 0, panel_before = 0, visible_before = 0;
        const auto finish = [&] {
          before.finish();
          float* slope = gq + (q0 + panel_before * panel) * size;
          for (int64_t d = 0; d < (visible_before ? size : 0); d += panel)
            add_product(panel, turned + d / panel * block_bytes, right_d, panels_of(visible_before),
                        slope + d * panel, panel);
        };
        for (int64_t j = 0; j < panels_of(n); j++) {
          const int64_t m = least(panel, n - j * panel), visible = seen(h, q0 + j * panel + m, key0, count);
          for (int64_t i = 0; i < visible; i += panel, turn = 1 - turn) {
            float *score = scores + turn * panel * panel, *slope = slopes + turn * panel * panel;
            const auto meanwhile = [&] __attribute__((always_inline)) { before.some(); };
            multiply(count - i, packed_k + (key + i) / panel * key_bytes, b.turned_q + j * key_bytes,
                     size / tile_terms, score, panel, meanwhile);
            multiply(count - i, packed_v + (key + i) / panel * value_bytes, b.turned_g + j * value_bytes,
                     value_size / tile_terms, slope, panel, meanwhile);
            if (i) before.finish();
            else finish();  // what belongs to the panel before
            const int64_t here = least(panel, visible - i);
            mask_scores(h, q0 + j * panel, m, key0 + i, here, score, panel);
            for (int64_t q = here * panel; q < panel * panel; q += tile_edge) {
              store(score + q, splat(-infinite<float>));
              store(slope + q, Vec<float>{});
            }
            before = {score,
                      slope,
                      b.sums + j * panel,
                      b.dot + j * panel,
                      left_p + i / panel * block_bytes + j * step,
                      left_d + i / panel * block_bytes + j * step,
                      right_d + i / panel * step,
                      (size + value_size) / tile_terms * products_per_step};
            panel_before = j;
            visible_before = visible;
          }
        }
        finish();
        for (int64_t i = 0; i < count && seen(h, q0 + n, key0, count) > i; i += panel) {
          const int64_t skip = s.causal ? most(0, (key0 + i - q0) / panel) : 0, steps = panels_of(n) - skip;
          const int64_t at = i / panel * block_bytes + skip * step;
          for (int64_t d = 0; d < value_size; d += panel)
            add_product(count - i, left_p + at, b.g + d / panel * block_bytes + skip * step, steps,
                        gv + (key + i) * value_size + d, value_size);
          for (int64_t d = 0; d < size; d += panel)
            add_product(count - i, left_d + at, b.q + d / panel * block_bytes + skip * step, steps,
                        gk + (key + i) * size + d, size);
        }
      }
    }
    for (int64_t key = 0; key < all; key++) {
      scale_rows(gk + key * size, 0, 1, s.size, 1, to.gk + (begin + key) * to.by.k.row);
      scale_rows(gv + key * value_size, 0, 1, s.value_size, 1, to.gv + (begin + key) * to.by.v.row);
    }
  }
  for (int64_t q0 = 0; q0 < s.queries; q0 += panel, gq += panel * size) {
    for (int64_t i = 0; i < panel * size; i += tile_edge)
      store(gq + i, load(gq + i) * splat(static_cast<float>(s.scale)));
    transpose_into(gq, panel, s.size, least(panel, s.queries - q0), to.gq + q0 * to.by.q.row, to.by.q.row);
  }
  return true;
}

}  // namespace

bool attention_backward(const AttentionPiece<float>& h, const AttentionGradient<float>& to) {
  return backward(h, to);
}

}  // namespace rushlight::cpu::RL_ISA

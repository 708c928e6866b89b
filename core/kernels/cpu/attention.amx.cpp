// The forward pass of attention on the matrix unit: see attention.isa.cpp, which this follows, and Note [Attention on the matrix
// unit] in attention_tiles.h.
#include "attention_tiles.h"

namespace rushlight::cpu::RL_ISA {
namespace {

constexpr int64_t key_block = 128;

// Scores (keys, 32 queries) become exp(score - top) in parts, as columns of the right operand, and are taken into the running
// maximum and sum.
class Exponentials {
 public:
  // The maximum, at once; `keys` is a multiple of 32.
  void start(int64_t keys, const float* scores, float* top, float* total, char* to, int64_t calls) {
    for (int half = 0; half < 2; half++) {
      const Vec<float> before = load(top + half * tile_edge);
      Vec<float> best[4] = {before, before, before, before};
      for (int64_t i = 0; i < keys; i += 4)
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++)
          best[u] = larger<float>(load(scores + (i + u) * panel + half * tile_edge), best[u]);
      const Vec<float> now = larger<float>(larger<float>(best[0], best[1]), larger<float>(best[2], best[3]));
      // Nothing seen as yet: any finite number makes zeros of hidden keys.
      shift_[half] = (now == -infinite<float> ? Vec<float>{} : now) * -log2_e<float>;
      kept[half] = exp2_or_zero(fma(before, splat(log2_e<float>), shift_[half]));
      store(top + half * tile_edge, now);
    }
    scores_ = scores;
    total_ = total;
    to_ = to;
    at_ = 0;
    sum_[0] = sum_[1] = Vec<float>{};
    spread_.start(keys / 2, calls);
  }
  RL_INLINE void some() {
    spread_.some([&] __attribute__((always_inline)) { row(); });
  }
  void finish() {
    spread_.rest([&] __attribute__((always_inline)) { row(); });
    for (int half = 0; half < 2; half++)
      store(total_ + half * tile_edge, fma(load(total_ + half * tile_edge), kept[half], sum_[half]));
  }

  Vec<float> kept[2];  // the factor that what was summed before has to be multiplied with

 private:
  // A pair of keys
  RL_INLINE void row() {
    const int64_t s = at_ / tile_edge, p = at_ % tile_edge;
    at_++;
    const float* from = scores_ + (s * tile_terms + p) * panel;
    char* to = to_ + s * step + p * 64;
    Vec<float> e[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      e[i] = fma(load(from + i / 2 * tile_edge + i % 2 * tile_edge * panel), splat(log2_e<float>),
                 shift_[i / 2]);
    exp2_or_zero(e);
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) sum_[half] = sum_[half] + (e[2 * half] + e[2 * half + 1]);
#pragma GCC unroll 3
    for (int part = 0; part < parts; part++) {
      Words cuts[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) cuts[i] = cut(e[i], part);
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++)
        *reinterpret_cast<Words*>(to + part * part_bytes + half * tile_bytes) = cuts[2 * half] >> 16 |
                                                                                cuts[2 * half + 1];
    }
  }

  Vec<float> shift_[2], sum_[2];
  const float* scores_;
  float* total_;
  char* to_;
  int64_t at_;
  Spread spread_;
};

bool forward(const AttentionPiece<float>& h, const AttentionResult<float>& to) {
  const AttentionShape& s = h.s;
  const int64_t queries = h.end - h.begin, panels = panels_of(queries), block = least(key_block, s.keys);
  const int64_t panel_bytes = panels_of(s.size) * step, value_bytes = panels_of(block) * step;
  const int64_t out_items = padded(s.value_size) * panel;
  Scratch packed_queries(Use::panel_b, panels * panel_bytes),
      packed_keys(Use::panel_a, panels_of(block) * panel_bytes),
      packed_values(Use::panel_c, panels_of(s.value_size) * value_bytes);
  Scratch outs(Use::result, sizeof(float) * panels * (out_items + 2 * panel));
  const int64_t score_items = padded(block) * panel;
  Scratch work(Use::panels, 2 * score_items * sizeof(float) + value_bytes);
  float *tops = outs.as<float>() + panels * out_items, *totals = tops + panels * panel;
  float* scores = work.as<float>();
  char* p = work.as<char>() + 2 * score_items * sizeof(float);
  Range query_range;
  for (int64_t j = 0; j < panels; j++) {
    const int64_t q0 = h.begin + j * panel, n = least(panel, h.end - q0);
    Scratch scaled(Use::image, sizeof(float) * panel * s.size);
    scale_rows(h.q + q0 * s.q.row, s.q.row, n, s.size, static_cast<float>(s.scale), scaled.as<float>());
    query_range.widen(
        pack<true>({scaled.as<float>(), n, s.size, 1}, s.size, packed_queries.as<char>() + j * panel_bytes));
  }
  for (int64_t j = 0; j < panels * panel; j += tile_edge) {
    store(tops + j, splat(-infinite<float>));
    store(totals + j, Vec<float>{});
  }

  Tiles tiles;
  tiles.set(panel);
  for (int64_t key0 = 0; key0 < s.keys && (key0 == 0 || seen(h, h.end, key0, 1)); key0 += key_block) {
    const int64_t count = least(key_block, s.keys - key0);
    const Range key_range =
        pack<false>({h.k + key0 * s.k.row, count, s.k.row, 1}, s.size, packed_keys.as<char>());
    const Range value_range =
        pack<false>({h.v + key0 * s.v.row, s.value_size, 1, s.v.row}, count, packed_values.as<char>());
    if (!Range::fits(query_range, key_range, s.size) || !Range::fits(probabilities, value_range, count))
      return false;
    const int64_t value_step = panels_of(count) * step;
    const auto visible_to = [&](int64_t j) {
      return j < panels ? seen(h, least(h.end, h.begin + (j + 1) * panel), key0, count) : 0;
    };
    // The exponentials of a panel are computed while the unit multiplies the next one.
    Exponentials now, next;
    const auto begin = [&](int64_t j, const auto& meanwhile) __attribute__((always_inline)) {
      const int64_t visible = visible_to(j), q0 = h.begin + j * panel;
      if (!visible) return;
      float* to = scores + j % 2 * score_items;
      for (int64_t i = 0; i < visible; i += panel)
        multiply(count - i, packed_keys.as<char>() + i / panel * panel_bytes,
                 packed_queries.as<char>() + j * panel_bytes, panels_of(s.size), to + i * panel, panel,
                 meanwhile);
      mask_scores(h, q0, least(panel, h.end - q0), key0, visible, to, panel);
      for (int64_t i = visible * panel; i < padded(visible) * panel; i += tile_edge)
        store(to + i, splat(-infinite<float>));
      next.start(padded(visible), to, tops + j * panel, totals + j * panel, p,
                 panels_of(visible_to(j + 1)) * panels_of(s.size) * products_per_step);
    };
    begin(0, [] {});
    for (int64_t j = 0; j < panels; j++) {
      const int64_t visible = visible_to(j);
      now = next;
      begin(j + 1, [&] __attribute__((always_inline)) { now.some(); });
      if (!visible) continue;
      now.finish();
      for (int64_t d = 0; d < s.value_size; d += panel) {
        float* out = outs.as<float>() + j * out_items + d * panel;
        const char* value = packed_values.as<char>() + d / panel * value_step;
        if (key0 == 0) {
          multiply(s.value_size - d, value, p, panels_of(visible), out, panel);
          continue;
        }
        alignas(64) float sums[panel * panel];
        multiply(s.value_size - d, value, p, panels_of(visible), sums, panel);
        for (int64_t i = 0; i < least(panel, s.value_size - d) * panel; i += tile_edge)
          store(out + i, fma(load(out + i), now.kept[i / tile_edge % 2], load(sums + i)));
      }
    }
  }
  give(h, to, outs.as<float>(), out_items, tops, totals);
  return true;
}

}  // namespace

bool attention(const AttentionPiece<float>& h, const AttentionResult<float>& to) { return forward(h, to); }

}  // namespace rushlight::cpu::RL_ISA

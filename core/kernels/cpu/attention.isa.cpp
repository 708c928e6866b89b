// The forward pass of attention for some queries of one head: a running softmax over blocks of keys.
#include "attention_panels.h"

namespace rushlight::cpu::RL_ISA {
namespace {

constexpr int64_t key_block = 256;

// Turns one vector's column of scores into exp(score - top) and takes it into the running maximum and sum. Gives the factor that
// what was summed before has to be multiplied with.
template <class T>
Vec<T> softmax_column(int64_t keys, T* scores, T* top, T* total) {
  constexpr int64_t step = lanes<T>;
  const Vec<T> before = load(top);
  Vec<T> best[4] = {before, before, before, before};
  int64_t i = 0;
  for (; i + 4 <= keys; i += 4)
#pragma GCC unroll 4
    for (int u = 0; u < 4; u++) best[u] = larger<T>(load(scores + (i + u) * step), best[u]);
  for (; i < keys; i++) best[0] = larger<T>(load(scores + i * step), best[0]);
  const Vec<T> now = larger<T>(larger<T>(best[0], best[1]), larger<T>(best[2], best[3]));
  // Nothing seen as yet: any finite number makes zeros of hidden keys.
  const Vec<T> shift = (now == -infinite<T> ? Vec<T>{} : now) * -log2_e<T>;
  const Vec<T> factor = splat(log2_e<T>);
  Vec<T> sum[4] = {};
  for (i = 0; i + 4 <= keys; i += 4)
#pragma GCC unroll 4
    for (int u = 0; u < 4; u++) {
      T* at = scores + (i + u) * step;
      const Vec<T> e = exp2_or_zero(fma(load(at), factor, shift));
      store(at, e);
      sum[u] = sum[u] + e;
    }
  for (; i < keys; i++) {
    T* at = scores + i * step;
    const Vec<T> e = exp2_or_zero(fma(load(at), factor, shift));
    store(at, e);
    sum[0] = sum[0] + e;
  }
  const Vec<T> kept = exp2_or_zero(fma(before, factor, shift));
  store(top, now);
  store(total, load(total) * kept + ((sum[0] + sum[1]) + (sum[2] + sum[3])));
  return kept;
}

template <class T>
void forward(const AttentionPiece<T>& h, const AttentionResult<T>& to) {
  constexpr int64_t nr = lanes<T>;
  constexpr int w = width<T>;
  const AttentionShape& s = h.s;
  const int64_t panels = ceil_div(h.end - h.begin, nr), block = least(key_block, s.keys);
  const int value_rows = rows_per_tile(most(1, s.value_size), tile_rows);
  Scratch queries(Use::panel_b, sizeof(T) * panels * nr * s.size),
      outs(Use::result, sizeof(T) * panels * nr * (s.value_size + 2));
  Scratch keys(Use::panel_a, sizeof(T) * block * s.size),
      values(Use::panel_c, sizeof(T) * block * s.value_size);
  Scratch work(Use::panels, sizeof(T) * block * nr);
  T *scores = work.as<T>(), *tops = outs.as<T>() + panels * nr * s.value_size, *totals = tops + panels * nr;
  for (int64_t panel = 0; panel < panels; panel++) {
    const int64_t q0 = h.begin + panel * nr;
    pack_rows(h.q + q0 * s.q.row, s.q.row, least(nr, h.end - q0), s.size, T(s.scale),
              queries.as<T>() + panel * nr * s.size);
  }
  for (int64_t j = 0; j < panels * nr; j += w) {
    store(tops + j, splat(-infinite<T>));
    store(totals + j, Vec<T>{});
  }
  for (int64_t j = 0; s.keys == 0 && j < panels * nr * s.value_size; j += w)
    store(outs.as<T>() + j, Vec<T>{});

  for (int64_t key0 = 0; key0 < s.keys && (key0 == 0 || seen(h, h.end, key0, 1)); key0 += key_block) {
    const int64_t count = least(key_block, s.keys - key0);
    const int rows = rows_per_tile(count, tile_rows);
    pack_a(h.k + key0 * s.k.row, s.k.row, 1, count, s.size, rows, keys.as<T>());
    pack_a(h.v + key0 * s.v.row, 1, s.v.row, s.value_size, count, value_rows, values.as<T>());
    for (int64_t panel = 0; panel < panels; panel++) {
      const int64_t q0 = h.begin + panel * nr, n = least(nr, h.end - q0), columns = whole_vectors<T>(n);
      const int64_t visible = seen(h, q0 + n, key0, count);
      if (!visible) continue;
      T *top = tops + panel * nr, *total = totals + panel * nr,
        *out = outs.as<T>() + panel * nr * s.value_size;
      panel_product(least(count, ceil_div(visible, rows) * rows), s.size, keys.as<T>(), s.size, rows,
                    queries.as<T>() + panel * nr * s.size, nr, scores, nr, columns, false);
      mask_scores(h, q0, n, key0, visible, scores, nr);
      for (int64_t j = 0; j < columns; j += w) {
        const Vec<T> kept = softmax_column(visible, scores + j, top + j, total + j);
        if (key0)
          for (int64_t d = 0; d < s.value_size; d++) store(out + d * nr + j, load(out + d * nr + j) * kept);
      }
      panel_product(s.value_size, visible, values.as<T>(), count, value_rows, scores, nr, out, nr, columns,
                    key0 > 0);
    }
  }

  give(h, to, outs.as<T>(), nr * s.value_size, tops, totals);
}

}  // namespace

void attention32(const AttentionPiece<float>& h, const AttentionResult<float>& to) { forward(h, to); }
void attention64(const AttentionPiece<double>& h, const AttentionResult<double>& to) { forward(h, to); }

}  // namespace rushlight::cpu::RL_ISA

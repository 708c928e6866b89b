// The backward pass of attention for one head: the probabilities are computed again from the scores and the logarithms of their
// sums, a block of queries and a block of keys at a time.
#include "attention_panels.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// Both belong to the order of summation: one multiply-add chain each, and then the next block.
constexpr int64_t query_block = 64, key_block = 128;

// What one block of queries needs, as panels of lanes<T> columns.
template <class T>
struct QueryBlock {
  T *turned_q, *turned_g;  // per panel of queries: (size, lanes), (value_size, lanes)
  T *q, *g;                // per panel of columns: (query_block, lanes)
  T* slope;                // gradient of q, as turned_q
  T* turned_out;           // (value_size, lanes)
  T *dot, *sums;  // per query: the product of output and gradient, the logarithm of the sum in base 2

  static int64_t columns(int64_t size) { return ceil_div(size, lanes<T>) * lanes<T>; }
  static int64_t room(const AttentionShape& s) {
    return query_block * (2 * s.size + s.value_size + columns(s.size) + columns(s.value_size) + 2) +
           s.value_size * lanes<T>;
  }
  QueryBlock(T* at, const AttentionShape& s) {
    const auto take = [&](int64_t n) { return (at += n) - n; };
    turned_q = take(query_block * s.size);
    slope = take(query_block * s.size);
    turned_g = take(query_block * s.value_size);
    q = take(query_block * columns(s.size));
    g = take(query_block * columns(s.value_size));
    turned_out = take(s.value_size * lanes<T>);
    dot = take(query_block);
    sums = take(query_block);
  }
};

// Rows as panels of lanes<T> columns, each (query_block, lanes), for the right-hand side of a product over the rows.
template <class T>
void pack_columns_of(const T* rows, int64_t row, int64_t count, int64_t size, T factor, T* to) {
  for (int64_t j = 0; j < size; j += lanes<T>, to += query_block * lanes<T>) {
    pack_b(rows + j, row, 1, count, least(lanes<T>, size - j), to);
    if (factor != T(1))
      for (int64_t i = 0; i < count * lanes<T>; i += width<T>) store(to + i, load(to + i) * splat(factor));
  }
}

template <class T>
void pack_queries(const AttentionPiece<T>& h, const AttentionGradient<T>& to, int64_t q0, int64_t count,
                  const QueryBlock<T>& b) {
  constexpr int64_t nr = lanes<T>;
  constexpr int w = width<T>;
  const AttentionShape& s = h.s;
  const T *q = h.q + q0 * s.q.row, *g = to.g + q0 * to.by.g.row, *out = to.out + q0 * s.out.row;
  for (int64_t j = 0; j < count; j += nr) {
    const int64_t n = least(nr, count - j);
    T* turned_g = b.turned_g + j * s.value_size;
    pack_rows(q + j * s.q.row, s.q.row, n, s.size, T(s.scale), b.turned_q + j * s.size);
    pack_rows(g + j * to.by.g.row, to.by.g.row, n, s.value_size, T(1), turned_g);
    pack_rows(out + j * s.out.row, s.out.row, n, s.value_size, T(1), b.turned_out);
    for (int64_t i = 0; i < nr; i += w) {
      Vec<T> sum = {};
      for (int64_t d = 0; d < s.value_size; d++)
        sum = fma(load(turned_g + d * nr + i), load(b.turned_out + d * nr + i), sum);
      store(b.dot + j + i, sum);
    }
    for (int64_t i = 0; i < nr; i++) b.sums[j + i] = i < n ? exponent(to.logsumexp[q0 + j + i]) : infinite<T>;
  }
  pack_columns_of(q, s.q.row, count, s.size, T(s.scale), b.q);
  pack_columns_of(g, to.by.g.row, count, s.value_size, T(1), b.g);
}

// to (keys, size) += P(keys, queries) * B(queries, size), both in panels of columns; a query before `first` + its key adds nothing.
template <class T>
void add_to_keys(int64_t keys, int rows, int64_t queries, int64_t size, int64_t first, bool causal,
                 const T* p, const T* b, T* to, int64_t panel) {
  constexpr int64_t nr = lanes<T>;
  for (int64_t i = 0; i < keys; i += rows) {
    const int64_t skip = causal ? least(queries, most(0, i - first)) : 0;
    TileArgs<T> t{queries - skip,
                  p + i * query_block + skip,
                  query_block,
                  1,
                  b + skip * nr,
                  nr,
                  nullptr,
                  to + i * nr,
                  nr,
                  0,
                  true};
    for (int64_t j = 0; j < size; j += nr) {
      t.columns = static_cast<int>(whole_vectors<T>(least(nr, size - j)));
      tile_strided(static_cast<int>(least(rows, keys - i)), t);
      t.b += query_block * nr;
      t.c += panel;
    }
  }
}

template <class T>
void backward(const AttentionPiece<T>& h, const AttentionGradient<T>& to) {
  constexpr int64_t nr = lanes<T>;
  constexpr int w = width<T>;
  const AttentionShape& s = h.s;
  const int rows_of_size = rows_per_tile(most(1, s.size), tile_rows);
  const int64_t columns_k = QueryBlock<T>::columns(s.size), columns_v = QueryBlock<T>::columns(s.value_size);
  Scratch head(Use::panel_a, sizeof(T) * s.keys * (2 * s.size + s.value_size)),
      queries(Use::panel_b, sizeof(T) * QueryBlock<T>::room(s));
  Scratch sums(Use::result, sizeof(T) * s.keys * (columns_k + columns_v)),
      work(Use::panels, sizeof(T) * 2 * key_block * query_block);
  T *keys = head.as<T>(), *turned_keys = keys + s.keys * s.size, *values = turned_keys + s.keys * s.size;
  T *gk = sums.as<T>(), *gv = gk + s.keys * columns_k, *p = work.as<T>(), *d = p + key_block * query_block;
  for (int64_t j = 0; j < s.keys * (columns_k + columns_v); j += w) store(gk + j, Vec<T>{});
  for (int64_t key0 = 0; key0 < s.keys; key0 += key_block) {
    const int64_t count = least(key_block, s.keys - key0);
    const int rows = rows_per_tile(count, tile_rows);
    pack_a(h.k + key0 * s.k.row, s.k.row, 1, count, s.size, rows, keys + key0 * s.size);
    pack_a(h.k + key0 * s.k.row, 1, s.k.row, s.size, count, rows_of_size, turned_keys + key0 * s.size);
    pack_a(h.v + key0 * s.v.row, s.v.row, 1, count, s.value_size, rows, values + key0 * s.value_size);
  }

  const QueryBlock<T> b(queries.as<T>(), s);
  for (int64_t q0 = 0; q0 < s.queries; q0 += query_block) {
    const int64_t n = least(query_block, s.queries - q0);
    pack_queries(h, to, q0, n, b);
    for (int64_t j = 0; s.keys == 0 && j < query_block * s.size; j += w) store(b.slope + j, Vec<T>{});
    for (int64_t key0 = 0; key0 < s.keys; key0 += key_block) {
      const int64_t count = least(key_block, s.keys - key0);
      const int rows = rows_per_tile(count, tile_rows);
      for (int64_t j = 0; j < n; j += nr) {
        const int64_t m = least(nr, n - j), columns = whole_vectors<T>(m),
                      visible = seen(h, q0 + j + m, key0, count);
        if (!visible) continue;
        const int64_t computed = least(count, ceil_div(visible, rows) * rows);
        panel_product(computed, s.size, keys + key0 * s.size, s.size, rows, b.turned_q + j * s.size, nr,
                      p + j, query_block, columns, false);
        panel_product(computed, s.value_size, values + key0 * s.value_size, s.value_size, rows,
                      b.turned_g + j * s.value_size, nr, d + j, query_block, columns, false);
        mask_scores(h, q0 + j, m, key0, computed, p + j, query_block);
        for (int64_t i = j; i < j + columns; i += w) {
          const Vec<T> sum = load(b.sums + i), dot = load(b.dot + i), factor = splat(log2_e<T>);
          for (int64_t key = 0; key < computed; key++) {
            T *at = p + key * query_block + i, *slope = d + key * query_block + i;
            const Vec<T> e = exp2_or_zero(fma(load(at), factor, -sum));
            store(at, e);
            store(slope, e * (load(slope) - dot));
          }
        }
        panel_product(s.size, visible, turned_keys + key0 * s.size, count, rows_of_size, d + j, query_block,
                      b.slope + j * s.size, nr, columns, key0 > 0);
      }
      const int64_t visible = seen(h, q0 + n, key0, count);
      if (!visible) break;
      add_to_keys(visible, rows, n, s.value_size, q0 - key0, s.causal, p, b.g, gv + key0 * nr, s.keys * nr);
      add_to_keys(visible, rows, n, s.size, q0 - key0, s.causal, d, b.q, gk + key0 * nr, s.keys * nr);
    }
    for (int64_t j = 0; j < n; j += nr) {
      T* slope = b.slope + j * s.size;
      for (int64_t i = 0; i < s.size * nr; i += w) store(slope + i, load(slope + i) * splat(T(s.scale)));
      transpose_into(slope, nr, s.size, least(nr, n - j), to.gq + (q0 + j) * to.by.q.row, to.by.q.row);
    }
  }
  const auto give = [&](const T* from, int64_t size, T* out, int64_t row) {
    for (int64_t j = 0; j < size; j += nr, from += s.keys * nr)
      for (int64_t key = 0; key < s.keys; key++)
        for (int64_t i = 0; i < least(nr, size - j); i++) out[key * row + j + i] = from[key * nr + i];
  };
  give(gk, s.size, to.gk, to.by.k.row);
  give(gv, s.value_size, to.gv, to.by.v.row);
}

}  // namespace

void attention_backward32(const AttentionPiece<float>& h, const AttentionGradient<float>& to) {
  backward(h, to);
}
void attention_backward64(const AttentionPiece<double>& h, const AttentionGradient<double>& to) {
  backward(h, to);
}

}  // namespace rushlight::cpu::RL_ISA

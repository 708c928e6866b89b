// Recurrent layers: per step one matrix product and one pass over the gates. Sequences that end early keep their final
// state in their row, and those that begin late (in reverse) find their initial state there. Threads take some of the
// sequences each, through all steps: they meet only once a layer.
#include "kernels/cpu/recurrent.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <type_traits>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/mathfn.h"
#include "kernels/parallel.h"
#include "kernels/with_isa.h"

namespace rushlight::cpu {

namespace {

template <class T> constexpr Kind kind_of = std::is_same_v<T, float> ? Kind::f32 : Kind::f64;

// Where the rows of step t lie, and the step that ran before it.
struct Step {
  int64_t t, first, rows;
  int64_t shared, earlier;  // sequences that were running before, and where their previous rows lie
};

template <class F> void each_step(const Recurrent& r, bool backwards, F&& f) {
  const int64_t steps = r.batch_sizes.size();
  std::vector<int64_t> first(steps);
  for (int64_t t = 1; t < steps; ++t) first[t] = first[t - 1] + r.batch_sizes[t - 1];
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t t = r.reverse != backwards ? steps - 1 - s : s, before = r.reverse ? t + 1 : t - 1;
    Step step{t, first[t], r.batch_sizes[t], 0, 0};
    if (before >= 0 && before < steps) {
      step.shared = std::min(step.rows, r.batch_sizes[before]);
      step.earlier = first[before];
    }
    f(step);
  }
}

int64_t sequences_of(const Recurrent& r) {
  return r.batch_sizes.empty() ? 0 : *std::max_element(r.batch_sizes.begin(), r.batch_sizes.end());
}

// Whether the weights are packed for the matrix unit: by the sizes alone, so that the bits depend on nothing else.
template <class T> bool on_tiles(const Recurrent& r) {
  const int64_t rows = std::accumulate(r.batch_sizes.begin(), r.batch_sizes.end(), int64_t{0});
  return std::is_same_v<T, float> && sequences_of(r) >= 8 && rows >= 256 && r.state >= 96 &&
         float32_parts() && has_amx();
}

// f(first sequence, their number): as many pieces as there are threads, unless they become too small for a product. A product's
// rows do not depend on one another (on the matrix unit: sixteen of them), so the pieces do not show in the results.
template <class F> void each_piece(const Recurrent& r, bool tiles, F&& f) {
  const int64_t sequences = sequences_of(r), share = (sequences + num_threads() - 1) / num_threads();
  parallel_for(sequences, std::clamp<int64_t>(tiles ? (share + 15) / 16 * 16 : share, 8, 64),
               [&](int64_t begin, int64_t end) { f(begin, end - begin); });
}

// A matrix (k, n), packed once for every step's product: as panels of a few columns, read row after row, or for the matrix unit.
template <class T> class Panels {
 public:
  Panels(const T* w, int64_t k, int64_t n, int64_t row, int64_t column, [[maybe_unused]] bool tiles)
      : k_(k), n_(n) {
#if defined(__x86_64__)
    if constexpr (std::is_same_v<T, float>)
      if (tiles && n > 0) {
        tiles_.reset(new (std::align_val_t{64}) char[amx::packed_bytes(k, n)]);
        packed_ = {w, k, n, row, column, tiles_.get(), 0, 0};
        amx::pack(packed_);
        return;
      }
#endif
    panels_.resize(k * n);
    T* to = panels_.data();
    for (int64_t j = 0; j < n; j += width)
      for (int64_t p = 0; p < k; ++p)
        for (int64_t i = j; i < std::min(n, j + width); ++i) *to++ = w[p * row + i * column];
  }
  // to (rows, n) (+)= from (rows, k) * the matrix
  void product(int64_t rows, const T* from, T* to, bool add = false) const {
#if defined(__x86_64__)
    if constexpr (std::is_same_v<T, float>)
      if (tiles_) return amx::multiply(packed_, rows, from, to, add);
#endif
    for (int64_t j = 0; j < n_; j += width) {
      const int64_t columns = std::min(width, n_ - j);
      gemm(kind_of<T>, rows, columns, k_, from, k_, 1, panels_.data() + j * k_, columns, 1, to + j, n_, add);
    }
  }

 private:
  struct Free {
    void operator()(char* p) const { operator delete[](p, std::align_val_t{64}); }
  };

  static constexpr int64_t width = 64;
  int64_t k_, n_;
  std::vector<T> panels_;
  std::unique_ptr<char[], Free> tiles_;
  PackedWeight packed_;
};

template <class T> RL_INLINE void sigmoids(int64_t n, T* to, const T* x, const T* h, const T* b) {
  RL_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) to[j] = fn::sigmoid(x[j] + (h[j] + b[j]));
}
template <class T> RL_INLINE void tanhs(int64_t n, T* to, const T* x, const T* h, const T* b) {
  RL_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) to[j] = fn::tanh(x[j] + (h[j] + b[j]));
}

// One row of each cell: x and h are the two parts of the gates, b the bias of the second.
template <class T>
RL_INLINE void lstm_row(int64_t n, const T* x, const T* h, const T* b, T* kept, T* c, T* cells, T* out) {
  sigmoids(2 * n, kept, x, h, b);
  tanhs(n, kept + 2 * n, x + 2 * n, h + 2 * n, b + 2 * n);
  sigmoids(n, kept + 3 * n, x + 3 * n, h + 3 * n, b + 3 * n);
  RL_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) {
    const T now = kept[n + j] * c[j] + kept[j] * kept[2 * n + j];
    c[j] = cells[j] = now;
    out[j] = kept[3 * n + j] * fn::tanh(now);
  }
}
template <class T> RL_INLINE void gru_row(int64_t n, const T* x, const T* h, const T* b, T* kept, T* state) {
  sigmoids(2 * n, kept, x, h, b);
  RL_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) {
    const T hidden = h[2 * n + j] + b[2 * n + j], fresh = fn::tanh(x[2 * n + j] + kept[j] * hidden);
    kept[2 * n + j] = fresh;
    kept[3 * n + j] = hidden;
    state[j] = (state[j] - fresh) * kept[n + j] + fresh;
  }
}
template <class T> RL_INLINE void relu_row(int64_t n, const T* x, const T* h, const T* b, T* state) {
  RL_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) {
    const T v = x[j] + (h[j] + b[j]);
    state[j] = v < T(0) ? T(0) : v;
  }
}

// Their derivatives: gh is the gradient of h after the step.
template <class T>
RL_INLINE void lstm_row_backward(int64_t n, const T* gh, T* gc, const T* kept, const T* c, const T* earlier,
                                 T* gx) {
  RL_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) {
    const T i = kept[j], f = kept[n + j], g = kept[2 * n + j], o = kept[3 * n + j], bent = fn::tanh(c[j]);
    const T all = gc[j] + gh[j] * o * (T(1) - bent * bent);
    gx[j] = all * g * i * (T(1) - i);
    gx[n + j] = all * earlier[j] * f * (T(1) - f);
    gx[2 * n + j] = all * i * (T(1) - g * g);
    gx[3 * n + j] = gh[j] * bent * o * (T(1) - o);
    gc[j] = all * f;
  }
}
template <class T>
RL_INLINE void gru_row_backward(int64_t n, T* gh, const T* kept, const T* earlier, T* gx, T* hidden_part) {
  RL_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) {
    const T r = kept[j], z = kept[n + j], fresh = kept[2 * n + j], hidden = kept[3 * n + j], g = gh[j];
    const T slope = g * (T(1) - z) * (T(1) - fresh * fresh);
    const T of_r = slope * hidden * r * (T(1) - r), of_z = g * (earlier[j] - fresh) * z * (T(1) - z);
    gx[j] = hidden_part[j] = of_r;
    gx[n + j] = hidden_part[n + j] = of_z;
    gx[2 * n + j] = slope;
    hidden_part[2 * n + j] = slope * r;
    gh[j] = g * z;  // what goes past the gates; the product with w_hh is added to it
  }
}

}  // namespace

template <class T>
void recurrent(const Recurrent& r, const T* x, const T* w_hh, const T* b_hh, const T* w_hr, T* all_h,
               T* all_c, T* out, T* kept, T* cells) {
  const int64_t n = r.hidden, gates = r.gates(), width = r.kept();
  const std::vector<T> zeros(b_hh ? 0 : gates);
  const T* bias = b_hh ? b_hh : zeros.data();
  const bool tiles = on_tiles<T>(r);
  const Panels<T> weight(w_hh, r.state, gates, 1, r.state, tiles),
      projection(w_hr, n, w_hr ? r.state : 0, 1, n, tiles);
  each_piece(r, tiles, [&](int64_t begin, int64_t count) {
    std::vector<T> part(count * gates), plain(w_hr ? count * n : 0);
    T *h = all_h + begin * r.state, *c = all_c + begin * n;
    each_step(r, false, [&](const Step& s) {
      const int64_t rows = std::min(count, s.rows - begin), first = s.first + begin;
      if (rows <= 0) return;
      weight.product(rows, h, part.data());
      T* unprojected = w_hr ? plain.data() : h;
      with_isa([&] {
        for (int64_t row = 0; row < rows; ++row) {
          const T *from = x + (first + row) * gates, *hidden = part.data() + row * gates;
          T *keep = kept + (first + row) * width, *to = unprojected + row * n;
          if (r.cell == Cell::lstm)
            lstm_row(n, from, hidden, bias, keep, c + row * n, cells + (first + row) * n, to);
          else if (r.cell == Cell::gru) gru_row(n, from, hidden, bias, keep, to);
          else if (r.cell == Cell::tanh) tanhs(n, to, from, hidden, bias);
          else relu_row(n, from, hidden, bias, to);
        }
      });
      if (w_hr) projection.product(rows, plain.data(), h);
      std::memcpy(out + first * r.state, h, rows * r.state * sizeof(T));
    });
  });
}

template <class T>
void recurrent_backward(const Recurrent& r, const T* grad_out, const T* w_hh, const T* w_hr, const T* h0,
                        const T* c0, const T* out, const T* kept, const T* cells,
                        const RecurrentGradients<T>& g) {
  const int64_t n = r.hidden, state = r.state, gates = r.gates(), width = r.kept();
  const bool is_gru = r.cell == Cell::gru;
  const bool tiles = on_tiles<T>(r);
  const Panels<T> weight(w_hh, gates, state, state, 1, tiles),
      projection(w_hr, w_hr ? state : 0, w_hr ? n : 0, n, 1, tiles);
  each_piece(r, tiles, [&](int64_t begin, int64_t count) {
    std::vector<T> unprojected(w_hr ? count * n : 0);
    T* h = g.h + begin * state;
    each_step(r, true, [&](const Step& s) {
      const int64_t rows = std::min(count, s.rows - begin), first = s.first + begin;
      if (rows <= 0) return;
      if (grad_out) {
        const T* from = grad_out + first * state;
        for (int64_t j = 0; j < rows * state; ++j) h[j] += from[j];
      }
      T* of_plain = h;
      if (w_hr) {
        std::memcpy(g.output + first * state, h, rows * state * sizeof(T));
        of_plain = unprojected.data();
        projection.product(rows, h, of_plain);
      }
      with_isa([&] {
        for (int64_t row = 0; row < rows; ++row) {
          const int64_t at = first + row, sequence = begin + row;
          const bool ran = sequence < s.shared;
          const T* earlier = ran ? out + (s.earlier + sequence) * state : h0 + sequence * state;
          std::copy_n(earlier, state, g.before + at * state);
          const T *keep = kept + at * width, *now = out + at * state;
          T *gh = of_plain + row * n, *gx = g.x + at * gates;
          if (r.cell == Cell::lstm) {
            const T *c = cells + at * n,
                    *c_before = ran ? cells + (s.earlier + sequence) * n : c0 + sequence * n;
            lstm_row_backward(n, gh, g.c + sequence * n, keep, c, c_before, gx);
            if (w_hr)
              for (int64_t j = 0; j < n; ++j) g.plain[at * n + j] = keep[3 * n + j] * fn::tanh(c[j]);
          } else if (is_gru) {
            gru_row_backward(n, gh, keep, earlier, gx, g.hidden_part + at * gates);
          } else if (r.cell == Cell::tanh) {
            for (int64_t j = 0; j < n; ++j) gx[j] = gh[j] * (T(1) - now[j] * now[j]);
          } else {
            for (int64_t j = 0; j < n; ++j) gx[j] = now[j] > T(0) ? gh[j] : T(0);
          }
        }
      });
      weight.product(rows, (is_gru ? g.hidden_part : g.x) + first * gates, h, is_gru);
    });
  });
}

#define RL_DEFINE(T) \
  template void recurrent(const Recurrent&, const T*, const T*, const T*, const T*, T*, T*, T*, T*, T*); \
  template void recurrent_backward(const Recurrent&, const T*, const T*, const T*, const T*, const T*, \
                                   const T*, const T*, const T*, const RecurrentGradients<T>&);
RL_DEFINE(float)
RL_DEFINE(double)
#undef RL_DEFINE

}  // namespace rushlight::cpu

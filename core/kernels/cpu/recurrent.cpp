// Recurrent layers: per step one matrix product and one pass over the gates. Sequences that end early keep their final
// state in their row, and those that begin late (in reverse) find their initial state there.
#include "kernels/cpu/recurrent.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels/cpu/gemm.h"
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

// f(row) for the rows of one step, compiled for this machine's instruction set.
template <class F> void each_row(int64_t rows, int64_t width, F&& f) {
  parallel_for(rows, std::max<int64_t>(1, 4096 / std::max<int64_t>(width, 1)),
               [&](int64_t begin, int64_t end) {
                 with_isa([&] {
                   for (int64_t row = begin; row < end; ++row) f(row);
                 });
               });
}

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
void recurrent(const Recurrent& r, const T* x, const T* w_hh, const T* b_hh, const T* w_hr, T* h, T* c,
               T* out, T* kept, T* cells) {
  const int64_t n = r.hidden, gates = r.gates(), width = r.kept();
  const int64_t most = r.batch_sizes.empty() ? 0
                                             : *std::max_element(r.batch_sizes.begin(), r.batch_sizes.end());
  std::vector<T> part(most * gates), zeros(b_hh ? 0 : gates), plain(w_hr ? most * n : 0);
  const T* bias = b_hh ? b_hh : zeros.data();
  std::vector<T> turned(r.state * gates);  // w_hh once the way each step's product reads it
  for (int64_t g = 0; g < gates; ++g)
    for (int64_t k = 0; k < r.state; ++k) turned[k * gates + g] = w_hh[g * r.state + k];
  each_step(r, false, [&](const Step& s) {
    gemm(kind_of<T>, s.rows, gates, r.state, h, r.state, 1, turned.data(), gates, 1, part.data(), gates);
    T* unprojected = w_hr ? plain.data() : h;
    each_row(s.rows, gates, [&](int64_t row) {
      const T *from = x + (s.first + row) * gates, *hidden = part.data() + row * gates;
      T *keep = kept + (s.first + row) * width, *to = unprojected + row * n;
      if (r.cell == Cell::lstm)
        lstm_row(n, from, hidden, bias, keep, c + row * n, cells + (s.first + row) * n, to);
      else if (r.cell == Cell::gru) gru_row(n, from, hidden, bias, keep, to);
      else if (r.cell == Cell::tanh) tanhs(n, to, from, hidden, bias);
      else relu_row(n, from, hidden, bias, to);
    });
    if (w_hr) gemm(kind_of<T>, s.rows, r.state, n, plain.data(), n, 1, w_hr, 1, n, h, r.state);
    std::memcpy(out + s.first * r.state, h, s.rows * r.state * sizeof(T));
  });
}

template <class T>
void recurrent_backward(const Recurrent& r, const T* grad_out, const T* w_hh, const T* w_hr, const T* h0,
                        const T* c0, const T* out, const T* kept, const T* cells,
                        const RecurrentGradients<T>& g) {
  const int64_t n = r.hidden, state = r.state, gates = r.gates(), width = r.kept();
  const int64_t most = r.batch_sizes.empty() ? 0
                                             : *std::max_element(r.batch_sizes.begin(), r.batch_sizes.end());
  std::vector<T> unprojected(w_hr ? most * n : 0);
  each_step(r, true, [&](const Step& s) {
    if (grad_out) {
      const T* from = grad_out + s.first * state;
      for (int64_t j = 0; j < s.rows * state; ++j) g.h[j] += from[j];
    }
    T* of_plain = g.h;
    if (w_hr) {
      std::memcpy(g.output + s.first * state, g.h, s.rows * state * sizeof(T));
      of_plain = unprojected.data();
      gemm(kind_of<T>, s.rows, n, state, g.h, state, 1, w_hr, n, 1, of_plain, n);
    }
    each_row(s.rows, gates, [&](int64_t row) {
      const int64_t at = s.first + row;
      const bool ran = row < s.shared;
      const T* earlier = ran ? out + (s.earlier + row) * state : h0 + row * state;
      std::copy_n(earlier, state, g.before + at * state);
      const T *keep = kept + at * width, *now = out + at * state;
      T *gh = of_plain + row * n, *gx = g.x + at * gates;
      if (r.cell == Cell::lstm) {
        const T *c = cells + at * n, *c_before = ran ? cells + (s.earlier + row) * n : c0 + row * n;
        lstm_row_backward(n, gh, g.c + row * n, keep, c, c_before, gx);
        if (w_hr)
          for (int64_t j = 0; j < n; ++j) g.plain[at * n + j] = keep[3 * n + j] * fn::tanh(c[j]);
      } else if (r.cell == Cell::gru) {
        gru_row_backward(n, gh, keep, earlier, gx, g.hidden_part + at * gates);
      } else if (r.cell == Cell::tanh) {
        for (int64_t j = 0; j < n; ++j) gx[j] = gh[j] * (T(1) - now[j] * now[j]);
      } else {
        for (int64_t j = 0; j < n; ++j) gx[j] = now[j] > T(0) ? gh[j] : T(0);
      }
    });
    const bool is_gru = r.cell == Cell::gru;
    gemm(kind_of<T>, s.rows, state, gates, (is_gru ? g.hidden_part : g.x) + s.first * gates, gates, 1, w_hh,
         state, 1, g.h, state, is_gru);
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

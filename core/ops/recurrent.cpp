// Recurrent layers (LSTM, GRU, plain RNN): one layer in one direction over packed sequences. Layers, directions and dropout are
// the Python modules' matter. The input's part of the gates (w_ih x + b_ih) comes in ready, one matrix product for all steps.
#include <string_view>

#include "autograd/node.h"
#include "kernels/cpu/recurrent.h"
#include "ops/dense.h"
#include "ops/matmul.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

constexpr uint32_t Out3 = Out0 << 3, Out4 = Out0 << 4;
enum { projected, h0, c0, w_hh, b_hh, w_hr, batch_sizes, mode, reverse };  // arguments of the forward op

cpu::Cell cell_named(std::string_view name) {
  if (name == "LSTM") return cpu::Cell::lstm;
  if (name == "GRU") return cpu::Cell::gru;
  if (name == "RNN_TANH") return cpu::Cell::tanh;
  if (name == "RNN_RELU") return cpu::Cell::relu;
  throw value_error("Unrecognized RNN mode: ", name);
}

// Checks all that the kernel relies on. The arguments start at `at`.
cpu::Recurrent layer_of(const Call& c, int at = 0) {
  const Tensor &x = c.in(at + projected), &h = c.in(at + h0), &w = c.in(at + w_hh);
  expect(x.ndim() == 2 && h.ndim() == 2 && w.ndim() == 2, c);
  cpu::Recurrent r{cell_named(c.s(at + mode)), 0, h.size(1), c.ints(at + batch_sizes), c.b(at + reverse)};
  const bool projects = c.has(at + w_hr);
  r.hidden = projects && c.in(at + w_hr).ndim() == 2 ? c.in(at + w_hr).size(1) : r.state;
  auto shaped = [&](int k, std::initializer_list<int64_t> sizes) {
    return c.in(at + k).dtype() == x.dtype() && same(c.in(at + k).sizes(), {sizes.begin(), sizes.size()});
  };
  int64_t rows = 0, last = h.size(0);
  for (int64_t n : r.batch_sizes) {
    expect(n > 0 && n <= last, c);
    rows += n;
    last = n;
  }
  expect(!r.batch_sizes.empty() && r.batch_sizes[0] == h.size(0), c);
  expect(shaped(projected, {rows, r.gates()}) && shaped(h0, {h.size(0), r.state}) &&
             shaped(w_hh, {r.gates(), r.state}) &&
             (!projects || (r.cell == cpu::Cell::lstm && shaped(w_hr, {r.state, r.hidden}))) &&
             (!c.has(at + b_hh) || shaped(b_hh, {r.gates()})) &&
             (r.cell == cpu::Cell::lstm) == c.has(at + c0) &&
             (!c.has(at + c0) || shaped(c0, {h.size(0), r.hidden})),
         c);
  return r;
}

template <class T> const T* data_of(const Tensor& t) { return t ? t.data<T>() : nullptr; }
Tensor dense_or_none(const Call& c, int k) { return c.has(k) ? dense(c.in(k)) : Tensor(); }
Tensor or_zeros(const Tensor& g, const Tensor& like) { return g ? g : fresh_zeros(like); }

// The same layer written with operators, for dtypes that the kernel does not take and for derivatives of derivatives.
// Gives (output, final h, final c).
TensorList by_steps(const Call& c) {
  const Tensor &x = c.in(projected), &w = c.in(w_hh);
  cpu::Cell cell = cell_named(c.s(mode));
  IntSpan sizes = c.ints(batch_sizes);
  Tensor h = c.in(h0), cell_state = c.has(c0) ? c.in(c0) : Tensor();
  auto rows = [](const Tensor& t, int64_t begin, int64_t end) { return slice.call({t, 0, begin, end}); };
  // rows of sequences that do not take part in this step stay as they are
  auto replace = [&](const Tensor& old, const Tensor& fresh) {
    if (fresh.size(0) == old.size(0)) return fresh;
    return RL_OP("cat").call({TensorList{fresh, rows(old, fresh.size(0), old.size(0))}, 0});
  };
  TensorList outputs(sizes.size());
  const int64_t steps = sizes.size();
  int64_t at = c.b(reverse) ? x.size(0) : 0;
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t t = c.b(reverse) ? steps - 1 - s : s, n = sizes[t];
    if (c.b(reverse)) at -= n;
    Tensor in = rows(x, at, at + n), before = rows(h, 0, n), now;
    if (!c.b(reverse)) at += n;
    Tensor hidden = RL_OP("linear").call({before, w, c.arg(b_hh)});
    auto gates = [&](const Tensor& t, int64_t count) { return RL_OP("chunk").call_list({t, count, 1}); };
    if (cell == cpu::Cell::lstm) {
      TensorList g = gates(add(in, hidden), 4);
      Tensor fresh = add(mul(sigmoid(g[1]), rows(cell_state, 0, n)), mul(sigmoid(g[0]), tanh(g[2])));
      now = mul(sigmoid(g[3]), tanh(fresh));
      if (c.has(w_hr)) now = RL_OP("linear").call({now, c.in(w_hr)});
      cell_state = replace(cell_state, fresh);
    } else if (cell == cpu::Cell::gru) {
      TensorList g = gates(in, 3), k = gates(hidden, 3);
      Tensor z = sigmoid(add(g[1], k[1])), fresh = tanh(add(g[2], mul(sigmoid(add(g[0], k[0])), k[2])));
      now = add(mul(sub(before, fresh), z), fresh);
    } else {
      Tensor sum = add(in, hidden);
      now = cell == cpu::Cell::tanh ? tanh(sum) : relu(sum);
    }
    h = replace(h, now);
    outputs[t] = now;
  }
  return {RL_OP("cat").call({outputs, 0}), h, cell_state};
}

// Gradients through by_steps, which differentiate again.
Grads differentiable_gradients(const Call& c) {
  TensorList results = by_steps(c), roots, gradients, wanted;
  for (int k = 0; k < 3; ++k)
    if (results[k] && c.g(k)) {
      roots.push_back(results[k]);
      gradients.push_back(c.g(k));
    }
  Grads grads(6);
  for (int k = 0; k < 6; ++k)
    if (c.wants(k) && c.has(k)) wanted.push_back(c.in(k));
  if (roots.empty() || wanted.empty()) return grads;
  TensorList found = run_backward({roots.data(), roots.size()}, {gradients.data(), gradients.size()}, true,
                                  true, {wanted.data(), wanted.size()}, false, true);
  for (int k = 0, next = 0; k < 6; ++k)
    if (c.wants(k) && c.has(k)) grads[k] = found[next++];
  return grads;
}

extern const Op& layer_backward;

const Op& fused_layer = def({
    .sig = "_recurrent_layer(Tensor projected, Tensor h0, Tensor? c0, Tensor w_hh, Tensor? b_hh, Tensor? "
           "w_hr, int[] "
           "batch_sizes, str mode, bool reverse) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    .doc = "The kernel of recurrent_layer: output, final h, final c, and what backward reads again (gates, "
           "cells).",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          cpu::Recurrent r = layer_of(c);
          Dtype d = c.in(projected).dtype();
          int64_t rows = c.in(projected).size(0), sequences = c.in(h0).size(0);
          bool has_cells = r.cell == cpu::Cell::lstm;
          c.out_meta(0, d, Dims{rows, r.state});
          c.out_meta(1, d, Dims{sequences, r.state});
          c.out_meta(2, d, Dims{has_cells ? sequences : 0, r.hidden});
          c.out_meta(3, d, Dims{rows, r.kept()});
          c.out_meta(4, d, Dims{has_cells ? rows : 0, r.hidden});
        },
    .cpu =
        [](Call& c) {
          cpu::Recurrent r = layer_of(c);
          Tensor x = dense(c.in(projected)), w = dense(c.in(w_hh)), b = dense_or_none(c, b_hh),
                 p = dense_or_none(c, w_hr);
          rushlight::copy(c.out(1), c.in(h0));
          if (c.has(c0)) rushlight::copy(c.out(2), c.in(c0));
          visit_float(x.dtype(), [&]<class T>() {
            cpu::recurrent(r, x.data<T>(), w.data<T>(), data_of<T>(b), data_of<T>(p), c.out(1).data<T>(),
                           c.out(2).data<T>(), c.out(0).data<T>(), c.out(3).data<T>(), c.out(4).data<T>());
          });
        },
    .saves = save(In0 | In1 | In2 | In3 | In4 | In5 | Out0 | Out3 | Out4),
    .grad =
        [](const Call& c, const Tensor&) {
          if (grad_enabled()) return differentiable_gradients(c);
          const bool lstm = c.has(c0);
          TensorList all = layer_backward.call_list(
              {c.in(projected), c.in(h0), c.arg(c0), c.in(w_hh), c.arg(b_hh), c.arg(w_hr), c.arg(batch_sizes),
               c.arg(mode), c.arg(reverse), c.g(0), or_zeros(c.g(1), c.in(h0)),
               lstm ? or_zeros(c.g(2), c.in(c0)) : Tensor(), c.out(0), c.out(3), c.out(4)});
          const Tensor& of_gates = all[3].numel() ? all[3] : all[2];
          auto weight = [](const Tensor& g, const Tensor& factor) {
            return matmul(transpose.call({g, 0, 1}), factor);
          };
          Grads grads(6);
          grads[0] = all[2];
          grads[1] = all[0];
          if (lstm) grads[2] = all[1];
          if (c.wants(3)) grads[3] = weight(of_gates, all[4]);
          if (c.has(b_hh) && c.wants(4)) {
            static const Op& sum = find_op("sum", "dim");
            grads[4] = sum(of_gates, Dims{0});
          }
          if (c.has(w_hr) && c.wants(5)) grads[5] = weight(all[5], all[6]);
          return grads;
        },
    .grad_name = "RecurrentBackward0",
});

const Op& layer_backward = def({
    .sig = "_recurrent_layer_backward(Tensor projected, Tensor h0, Tensor? c0, Tensor w_hh, Tensor? b_hh, "
           "Tensor? w_hr, "
           "int[] batch_sizes, str mode, bool reverse, Tensor? grad_output, Tensor grad_h, Tensor? grad_c, "
           "Tensor output, "
           "Tensor gates, Tensor cells) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    .doc = "Gradients of a recurrent layer: of h0, of c0, of projected, of the hidden part of the gates (GRU "
           "only), then the "
           "factors of the weights' gradients: h before each step; with a projection the gradients of its "
           "output, its input.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          cpu::Recurrent r = layer_of(c);
          Dtype d = c.in(projected).dtype();
          const bool lstm = r.cell == cpu::Cell::lstm, gru = r.cell == cpu::Cell::gru, projects = c.has(w_hr);
          int64_t rows = c.in(projected).size(0), sequences = c.in(h0).size(0);
          auto fits = [&](int k, int64_t n, int64_t width) {
            return c.in(k).dtype() == d && same(c.in(k).sizes(), Dims{n, width});
          };
          expect((!c.has(9) || fits(9, rows, r.state)) && fits(10, sequences, r.state) && c.has(11) == lstm &&
                     (!lstm || fits(11, sequences, r.hidden)) && fits(12, rows, r.state) &&
                     fits(13, rows, r.kept()) && fits(14, lstm ? rows : 0, r.hidden),
                 c);
          c.out_meta(0, d, Dims{sequences, r.state});
          c.out_meta(1, d, Dims{lstm ? sequences : 0, r.hidden});
          c.out_meta(2, d, Dims{rows, r.gates()});
          c.out_meta(3, d, Dims{gru ? rows : 0, r.gates()});
          c.out_meta(4, d, Dims{rows, r.state});
          c.out_meta(5, d, Dims{projects ? rows : 0, r.state});
          c.out_meta(6, d, Dims{projects ? rows : 0, r.hidden});
        },
    .cpu =
        [](Call& c) {
          cpu::Recurrent r = layer_of(c);
          Tensor first_h = dense(c.in(h0)), first_c = dense_or_none(c, c0), w = dense(c.in(w_hh)),
                 p = dense_or_none(c, w_hr);
          Tensor g = dense_or_none(c, 9), out = dense(c.in(12)), gates = dense(c.in(13)),
                 cells = dense(c.in(14));
          rushlight::copy(c.out(0), c.in(10));
          if (c.has(11)) rushlight::copy(c.out(1), c.in(11));
          visit_float(w.dtype(), [&]<class T>() {
            cpu::RecurrentGradients<T> to{c.out(0).data<T>(), c.out(1).data<T>(), c.out(2).data<T>(),
                                          c.out(3).data<T>(), c.out(4).data<T>(), c.out(5).data<T>(),
                                          c.out(6).data<T>()};
            cpu::recurrent_backward(r, data_of<T>(g), w.data<T>(), data_of<T>(p), first_h.data<T>(),
                                    data_of<T>(first_c), out.data<T>(), gates.data<T>(), cells.data<T>(), to);
          });
        },
});

}  // namespace

const Op& recurrent_layer = def({
    .sig = "recurrent_layer(Tensor projected, Tensor h0, Tensor? c0, Tensor w_hh, Tensor? b_hh, Tensor? "
           "w_hr, int[] "
           "batch_sizes, str mode, bool reverse=False) -> (Tensor, Tensor, Tensor)",
    .doc =
        R"(One recurrent layer in one direction over packed sequences: output, final h, and final c (LSTM only).

        projected holds w_ih x + b_ih for the time steps one after another, batch_sizes[t] rows (not increasing) for step t. mode is
        "LSTM", "GRU", "RNN_TANH" or "RNN_RELU"; c0 belongs to the LSTM, w_hr projects its h; reverse reads the steps backwards.)",
    .forms = Forms::function,
    .autocast = Autocast::lower,
    .cpu =
        [](Call& c) {
          layer_of(c);  // checks the shapes
          Dtype d = c.in(projected).dtype();
          if (d != Dtype::f32 && d != Dtype::f64) {
            c.outs = by_steps(c);
            return;
          }
          TensorList all =
              fused_layer.call_list({c.in(projected), c.in(h0), c.arg(c0), c.in(w_hh), c.arg(b_hh),
                                     c.arg(w_hr), c.arg(batch_sizes), c.arg(mode), c.arg(reverse)});
          c.outs = TensorList{all[0], all[1], c.has(c0) ? all[2] : Tensor()};
        },
    .composite = true,
    .samples =
        {"x(5,8), x(2,2), x(2,2), x(8,2), x(8), None, batch_sizes=(2,2,1), mode='LSTM'",
         "x(5,12), x(2,2), x(2,3), x(12,2), x(12), x(2,3), batch_sizes=(2,2,1), mode='LSTM', reverse=True",
         "x(5,6), x(2,2), None, x(6,2), None, None, batch_sizes=(2,2,1), mode='GRU'",
         "x(4,2), x(2,2), None, x(2,2), x(2), None, batch_sizes=(2,2), mode='RNN_TANH', reverse=True",
         "x(4,2), x(2,2), None, x(2,2), x(2), None, batch_sizes=(2,1,1), mode='RNN_RELU'"},
    .modules = "nn",
});

}  // namespace rushlight::ops

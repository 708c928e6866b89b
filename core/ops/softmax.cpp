// softmax, log_softmax and their gradients, which are ops of their own and differentiate again.
#include "kernels/cpu/softmax.h"

#include "ops/dense.h"
#include "ops/ops.h"
#include "ops/softmax.h"

namespace rushlight::ops {

namespace {

extern const Op &softmax_backward, &log_softmax_backward;

void check_dtype(const Call& c, Dtype d, const char* name) {
  if (is_float(d)) return;
  bool last = c.in(0).ndim() == 0 || wrap_dim(c.i(1), c.in(0).ndim()) == c.in(0).ndim() - 1;
  throw_unsupported(cat_text(name, last ? "_lastdim_kernel_impl" : "_kernel_impl").c_str(), d);
}

cpu::SoftmaxShape shape_of(const Tensor& t, int64_t dim) {
  if (t.ndim() == 0) return {1, 1, 1};
  int64_t d = wrap_dim(dim, t.ndim());
  return {count(t.sizes().first(d)), t.size(d), count(t.sizes().subspan(d + 1))};
}

void forward(Call& c, bool log) {
  Dtype d = compute_type(c.out().dtype());
  Tensor x = dense(c.in(0), d);
  Result y(c.out(), d);
  visit_float(d, [&]<class T>() { cpu::softmax(shape_of(x, c.i(1)), log, x.data<T>(), y.data<T>()); });
  y.store();
}

void backward(Call& c, bool log) {
  Dtype d = compute_type(c.out().dtype());
  Tensor g = dense(c.in(0), d), y = dense(c.in(1), d);
  Result gx(c.out(), d);
  visit_float(d, [&]<class T>() {
    cpu::softmax_backward(shape_of(y, c.i(2)), log, g.data<T>(), y.data<T>(), gx.data<T>());
  });
  gx.store();
}

void backward_rule(Call& c) {
  const Tensor &g = c.in(0), &y = c.in(1);
  wrap_dim(c.i(2), y.ndim());
  expect(same(g.sizes(), y.sizes()) && is_float(g.dtype()) && is_float(y.dtype()), c);
  c.out_meta(0, g.dtype(), Dims(y.sizes()));
}

template <bool log> void forward_rule(Call& c) {
  wrap_dim(c.i(1), c.in(0).ndim());
  check_dtype(c, c.in(0).dtype(), log ? "log_softmax" : "softmax");
  c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
}

Tensor sum_over(const Tensor& t, int64_t dim) {
  static const Op& sum = find_op("sum", "dim");
  return sum.call({t, Dims{dim}, true});
}

const Op& softmax_of = def({
    .sig = "_softmax(Tensor input, int dim) -> Tensor",
    .doc = "softmax of a floating tensor.",
    .forms = no_forms,
    .rule = forward_rule<false>,
    .cpu = [](Call& c) { forward(c, false); },
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{softmax_backward(g, c.out(), c.i(1))}; },
    .grad_name = "SoftmaxBackward0",
});

const Op& log_softmax_of = def({
    .sig = "_log_softmax(Tensor input, int dim) -> Tensor",
    .doc = "log_softmax of a floating tensor.",
    .forms = no_forms,
    .rule = forward_rule<true>,
    .cpu = [](Call& c) { forward(c, true); },
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{log_softmax_backward(g, c.out(), c.i(1))}; },
    .grad_name = "LogSoftmaxBackward0",
});

const Op& softmax_backward = def({
    .sig = "_softmax_backward_data(Tensor grad_output, Tensor output, int dim) -> Tensor",
    .doc = "Gradient of softmax: (grad - sum(grad * output)) * output.",
    .forms = no_forms,
    .rule = backward_rule,
    .cpu = [](Call& c) { backward(c, false); },
    .saves = {.for0 = In1, .for1 = In0 | In1},
    .grad =
        [](const Call& c, const Tensor& gg) {
          Grads grads(2);
          if (c.wants(0)) grads[0] = softmax_backward(gg, c.in(1), c.i(2));
          if (c.wants(1)) {
            const Tensor &g = c.in(0), &y = c.in(1);
            grads[1] =
                sub(mul(gg, sub(g, sum_over(mul(g, y), c.i(2)))), mul(g, sum_over(mul(gg, y), c.i(2))));
          }
          return grads;
        },
    .grad_name = "SoftmaxBackwardDataBackward0",
});

const Op& log_softmax_backward = def({
    .sig = "_log_softmax_backward_data(Tensor grad_output, Tensor output, int dim) -> Tensor",
    .doc = "Gradient of log_softmax: grad - exp(output) * sum(grad).",
    .forms = no_forms,
    .rule = backward_rule,
    .cpu = [](Call& c) { backward(c, true); },
    .saves = {.for0 = In1, .for1 = In0 | In1},
    .grad =
        [](const Call& c, const Tensor& gg) {
          const Tensor& y = c.in(1);
          Tensor p = exp(y);
          Grads grads(2);
          if (c.wants(0)) grads[0] = sub(gg, sum_over(mul(gg, p), c.i(2)));
          if (c.wants(1)) grads[1] = neg(mul(mul(gg, p), sum_over(c.in(0), c.i(2))));
          return grads;
        },
    .grad_name = "LogSoftmaxBackwardDataBackward0",
});

// With a dtype the input is converted first.
void converted(Call& c, const Op& op) {
  Dtype d = c.dtype(2, c.in(0).dtype());
  c.outs.push_back(op(d == c.in(0).dtype() ? c.in(0) : to_dtype(c.in(0), d), c.i(1)));
}

}  // namespace

const Op& softmax = def({
    .sig = "softmax(Tensor input, int dim, dtype? dtype=None) -> Tensor",
    .doc = R"(exp(input), divided by its sum over dim.

        >>> rl.softmax(rl.zeros(4), 0)
        tensor([0.2500, 0.2500, 0.2500, 0.2500]))",
    .cpu = [](Call& c) { converted(c, softmax_of); },
    .composite = true,
    .ref = "np.exp(input - input.max(dim, keepdims=True)) / np.exp(input - input.max(dim, "
           "keepdims=True)).sum(dim, keepdims=True)",
    .samples = {"x(2,3), 1", "x(2,3), 0", "x(2,3,4), 1", "x(3), -1"},
    .modules = "special",
});

const Op& log_softmax = def({
    .sig = "log_softmax(Tensor input, int dim, dtype? dtype=None) -> Tensor",
    .doc = "Logarithm of softmax, without overflow.",
    .cpu = [](Call& c) { converted(c, log_softmax_of); },
    .composite = true,
    .ref = "input - input.max(dim, keepdims=True) - "
           "np.log(np.exp(input - input.max(dim, keepdims=True)).sum(dim, keepdims=True))",
    .samples = {"x(2,3), 1", "x(2,3), 0", "x(2,3,4), 1", "x(3), -1"},
    .modules = "special",
});

}  // namespace rushlight::ops

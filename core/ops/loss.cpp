// Losses between tensors of one shape: differences of numbers, cross entropies of probabilities. Their kernels are made of other
// ops, unrecorded, so that each loss is one node of the graph. reduction is 0 for none, 1 for the mean, 2 for the sum.
#include "autograd/node.h"
#include "kernels/lanes.h"
#include "kernels/loop.h"
#include "kernels/with_isa.h"
#include "ops/dense.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

template <int argument> void loss_rule(Call& c) {
  rule::broadcast(c);
  if (c.i(argument) != 0) c.out_meta(0, c.compute, Dims());
}
// A weight may be smaller than the loss, not larger.
void check_weight_fits(const Call& c, int k, const Dims& sizes) {
  if (!c.has(k)) return;
  Dims both = k == 3 ? rushlight::broadcast(c.in(k).sizes(), sizes)
                     : rushlight::broadcast(sizes, c.in(k).sizes());
  if (!same(both, sizes))
    throw runtime_error("output with shape ", show(sizes), " doesn't match the broadcast shape ", show(both));
}
void check_float(const Call& c, const char* kernel) {
  if (!differentiable(c.compute)) throw_unsupported(kernel, c.compute);
}

Tensor reduced(const Tensor& t, int64_t reduction) {
  return reduction == 1 ? RL_OP("mean")(t) : reduction == 2 ? RL_OP("sum")(t) : t;
}
void finish(Call& c, const Tensor& loss, int64_t reduction) { set_out(c, 0, reduced(loss, reduction)); }

// The gradient of one element's loss.
Tensor per_element(const Call& c, const Tensor& g, int64_t reduction) {
  if (reduction != 1) return g;
  Dims sizes = rushlight::broadcast(c.in_sizes(0), c.in_sizes(1));
  return mul(g, 1.0 / double(count(sizes)));
}
// Gradients of a function of input - target.
Grads of_difference(const Call& c, const Tensor& g) { return Grads{g, c.wants(1) ? neg(g) : Tensor()}; }

// The sum or the mean of squared differences in one pass, for contiguous tensors of one float dtype.
bool mean_of_squares(Call& c) {
  const Tensor &a = c.in(0), &b = c.in(1);
  Dtype d = c.out().dtype();
  if ((d != Dtype::f32 && d != Dtype::f64) || a.dtype() != d || b.dtype() != d || !a.contiguous() ||
      !b.contiguous() || !same(a.sizes(), b.sizes()))
    return false;
  visit_float(d, [&]<class T>() {
    constexpr int64_t chunk = 8192;
    const int64_t n = a.numel(), chunks = (n + chunk - 1) / chunk;
    const T *x = a.data<T>(), *y = b.data<T>();
    std::vector<double> parts(chunks);
    double* to = parts.data();
    parallel_for(chunks, 4, [=](int64_t begin, int64_t end) {
      with_isa([=] {
        for (int64_t k = begin; k < end; ++k) {
          const T *p = x + k * chunk, *q = y + k * chunk;
          to[k] = lane_sum<T>(std::min(chunk, n - k * chunk),
                              [p, q](int64_t i) { return (p[i] - q[i]) * (p[i] - q[i]); });
        }
      });
    });
    double sum = 0;
    for (double part : parts) sum += part;
    *c.out().data<T>() = T(c.i(2) == 1 ? sum / double(n) : sum);
  });
  return true;
}

Tensor log_sigmoid(const Tensor& t) { return RL_OP("log_sigmoid")(t); }

}  // namespace

const Op& mse_loss = def({
    .sig = "mse_loss(Tensor input, Tensor target, int reduction=1) -> Tensor",
    .doc = "Mean of the squared differences.",
    .forms = Forms::function,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          loss_rule<2>(c);
          check_float(c, "mse_cpu");
        },
    .cpu =
        [](Call& c) {
          GradMode off(false);
          if (c.i(2) != 0 && mean_of_squares(c)) return;
          Tensor d = sub(c.in(0), c.in(1));
          finish(c, mul(d, d), c.i(2));
        },
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          return of_difference(c, mul(sub(c.in(0), c.in(1)), mul(per_element(c, g, c.i(2)), 2)));
        },
    .ref = "np.mean((input - target) ** 2) if reduction == 1 else (input - target) ** 2",
    .samples = {"x(2,3), y(2,3)", "x(2,3), y(2,3), 0"},
    .modules = "nn",
});

const Op& smooth_l1_loss = def({
    .sig = "smooth_l1_loss(Tensor input, Tensor target, int reduction=1, float beta=1.0) -> Tensor",
    .doc = "Squared difference / (2 beta) below beta, absolute difference - beta / 2 above.",
    .forms = Forms::function,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          if (c.d(3) < 0) throw runtime_error("smooth_l1_loss does not support negative values for beta.");
          loss_rule<2>(c);
          check_float(c, "smooth_l1_cpu");
        },
    .cpu =
        [](Call& c) {
          GradMode off(false);
          double beta = c.d(3);
          Tensor z = abs(sub(c.in(0), c.in(1)));
          finish(c, beta == 0 ? z : where(lt(z, beta), mul(mul(z, z), 0.5 / beta), sub(z, 0.5 * beta)),
                 c.i(2));
        },
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor d = sub(c.in(0), c.in(1)), slope = c.d(3) == 0 ? sgn(d) : clamp(div(d, c.d(3)), -1, 1);
          return of_difference(c, mul(slope, per_element(c, g, c.i(2))));
        },
    .grad_name = "SmoothL1LossBackward0",
    .samples = {"x(2,3), y(2,3)", "x(2,3), y(2,3), 0, 0.5"},
    .modules = "nn",
});

const Op& huber_loss = def({
    .sig = "huber_loss(Tensor input, Tensor target, int reduction=1, float delta=1.0) -> Tensor",
    .doc = "Half the squared difference below delta, delta * (absolute difference - delta / 2) above.",
    .forms = Forms::function,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          if (c.d(3) <= 0) throw runtime_error("huber_loss does not support non-positive values for delta.");
          loss_rule<2>(c);
          check_float(c, "huber_cpu");
        },
    .cpu =
        [](Call& c) {
          GradMode off(false);
          double delta = c.d(3);
          Tensor z = abs(sub(c.in(0), c.in(1)));
          finish(c, where(le(z, delta), mul(mul(z, z), 0.5), mul(sub(z, 0.5 * delta), delta)), c.i(2));
        },
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor slope = clamp(sub(c.in(0), c.in(1)), -c.d(3), c.d(3));
          return of_difference(c, mul(slope, per_element(c, g, c.i(2))));
        },
    .samples = {"x(2,3), y(2,3)", "x(2,3), y(2,3), 0, 0.5"},
    .modules = "nn",
});

const Op& binary_cross_entropy = def({
    .sig =
        "binary_cross_entropy(Tensor input, Tensor target, Tensor? weight=None, int reduction=1) -> Tensor",
    .doc = "-(target * log(input) + (1 - target) * log(1 - input)), with logarithms of at least -100.",
    .forms = Forms::function,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          Dtype a = c.in(0).dtype(), b = c.in(1).dtype();
          if (!is_float(a)) throw_unsupported("binary_cross_entropy", a);
          if (a != b)
            throw runtime_error("Found dtype ", info(b).scalar_name, " but expected ", info(a).scalar_name);
          loss_rule<3>(c);
        },
    .cpu =
        [](Call& c) {
          GradMode off(false);
          const Tensor &x = c.in(0), &t = c.in(1);
          visit(x.dtype(), [&]<class T>() {
            bool inside = true;
            each_element<T>(x, [&](T v) { inside &= convert<double>(v) >= 0 && convert<double>(v) <= 1; });
            if (!inside) throw runtime_error("all elements of input should be between 0 and 1");
          });
          Tensor yes = clamp_min(log(x), -100), no = clamp_min(log1p(neg(x)), -100);
          Tensor loss = sub(mul(sub(t, 1), no), mul(t, yes));
          finish(c, c.has(2) ? mul(loss, c.in(2)) : loss, c.i(3));
        },
    .saves = {.always = In0 | In2, .for0 = In1},
    .grad =
        [](const Call& c, const Tensor& incoming) {
          Tensor g = per_element(c, incoming, c.i(3));
          if (c.has(2)) g = mul(g, c.in(2));
          const Tensor& x = c.in(0);
          Grads grads(3);
          if (c.wants(0)) grads[0] = div(mul(g, sub(x, c.in(1))), clamp_min(mul(sub(1, x), x), 1e-12));
          if (c.wants(1)) grads[1] = mul(g, sub(clamp_min(log1p(neg(x)), -100), clamp_min(log(x), -100)));
          return grads;
        },
    .samples = {},
    .modules = "nn",
});

const Op& binary_cross_entropy_with_logits = def({
    .sig = "binary_cross_entropy_with_logits(Tensor input, Tensor target, Tensor? weight=None, Tensor? "
           "pos_weight=None, "
           "int reduction=1) -> Tensor",
    .doc = "Binary cross entropy of sigmoid(input), without overflow; pos_weight weighs the positive class.",
    .forms = Forms::function,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          Dtype a = c.in(0).dtype(), b = c.in(1).dtype();
          Dims sizes = rushlight::broadcast(c.in(1).sizes(), c.in(0).sizes());
          if (!is_float(b) && !is_float(a)) throw_unsupported("log_sigmoid_cpu", a);
          for (int k : {3, 2}) check_weight_fits(c, k, sizes);
          if (!is_float(b))
            throw runtime_error("result type ", info(is_float(a) ? a : default_dtype()).scalar_name,
                                " can't be cast to the desired output type ", info(b).scalar_name);
          loss_rule<4>(c);
        },
    .cpu =
        [](Call& c) {
          GradMode off(false);
          const Tensor &x = c.in(0), &t = c.in(1);
          Tensor positive = neg(log_sigmoid(x));
          if (c.has(3)) positive = mul(add(mul(sub(c.in(3), 1), t), 1), positive);
          Tensor loss = add(mul(sub(1, t), x), positive);
          finish(c, c.has(2) ? mul(loss, c.in(2)) : loss, c.i(4));
        },
    .saves = save(In0 | In1 | In2 | In3),
    .grad =
        [](const Call& c, const Tensor& incoming) {
          Tensor g = per_element(c, incoming, c.i(4));
          if (c.has(2)) g = mul(g, c.in(2));
          const Tensor &x = c.in(0), &t = c.in(1);
          Grads grads(4);
          if (c.wants(0)) {
            Tensor p = sigmoid(x);
            if (!c.has(3)) grads[0] = mul(sub(p, t), g);
            else {
              Tensor weighted = mul(c.in(3), t);
              grads[0] = mul(sub(mul(sub(add(weighted, 1), t), p), weighted), g);
            }
          }
          if (c.wants(1)) {
            if (!c.has(3)) grads[1] = neg(mul(x, g));
            else grads[1] = mul(sub(log_sigmoid(neg(x)), mul(c.in(3), log_sigmoid(x))), g);
          }
          return grads;
        },
    .samples = {},
});

}  // namespace rushlight::ops

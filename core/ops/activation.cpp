// Piecewise activations: relu and its relatives. The smooth ones are in smooth.cpp.
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

constexpr Forms nn_forms = function | inplace;

Tensor pass_where(const Tensor& mask, const Tensor& g) { return where(mask, g, 0); }

// The gradient of relu in one pass; linear in grad_output.
const Op& relu_backward = def({
    .sig = "relu_backward(Tensor grad_output, Tensor output) -> Tensor",
    .doc = "grad_output where output is positive, 0 elsewhere.",
    .family = pointwise,
    .forms = no_forms,
    .rule = rule::broadcast,
    .cpu = map<Floats>([]<class T>(T g, T y) { return y > 0    ? g
                                                      : y != y ? g
                                                               : T(0); }),
    .saves = save(In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? c.op(g, c.in(1)) : Tensor(), c.wants(1) ? fresh_zeros(g) : Tensor()};
        },
    .grad_name = "ThresholdBackwardBackward0",
    .ref = "np.where(output > 0, grad_output, 0)",
    .samples = {"x(2,3), y(2,3)"},
});

}  // namespace

const Op& relu = def({
    .sig = "relu(Tensor input) -> Tensor",
    .doc = R"(max(0, input). nan stays nan.

        >>> rl.relu(rl.tensor([-1., 2.]))
        tensor([0., 2.]))",
    .family = pointwise,
    .forms = function | method | inplace,
    .rule =
        [](Call& c) {
          if (c.in(0).dtype() == Dtype::boolean) throw runtime_error("Boolean inputs not supported for relu");
          rule::same(c);
        },
    .kernel_name = "clamp_min_scalar_cpu",
    .cpu = map<Real>([]<class T>(T x) { return fn::maximum(x, T(0)); }),
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{relu_backward(g, c.out())}; },
    .ref = "np.maximum(input, 0)",
});

const Op& leaky_relu = def({
    .sig = "leaky_relu(Tensor input, Scalar negative_slope=0.01) -> Tensor",
    .doc = "input where positive, negative_slope * input elsewhere.",
    .family = pointwise,
    .forms = nn_forms,
    .rule = rule::same,
    .cpu = map<Floats>([]<class T>(T x, T slope) { return x > 0 ? x : x * slope; }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{where(gt(c.in(0), 0), g, mul(g, c.arg(1)))}; },
    .ref = "np.where(input > 0, input, negative_slope * input)",
    .samples = {"x(2,3)", "x(2,3), 0.2"},
    .modules = "nn",
});

const Op& prelu = def({
    .sig = "prelu(Tensor input, Tensor weight) -> Tensor",
    .doc = "leaky_relu with a learnt slope: one number, or one per channel (dimension 1).",
    .forms = function | method,
    .autocast = Autocast::lower,
    .cpu =
        [](Call& c) {
          static const Op& kernel = find_op("_prelu_kernel");
          const Tensor &x = c.in(0), &w = c.in(1);
          if (x.dtype() != w.dtype())
            throw runtime_error("prelu: Type promoting not supported. Got ", info(x.dtype()).scalar_name,
                                " and ", info(w.dtype()).scalar_name);
          if (w.ndim() > 1)
            throw runtime_error("prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = ",
                                w.ndim());
          if (w.numel() == 1) {
            c.outs = TensorList{kernel(x, x.ndim() ? w : find_op("view")(w, Dims()))};
            return;
          }
          int64_t channels = x.ndim() > 1 ? x.size(1) : 1;
          if (x.ndim() == 0) throw runtime_error("Not allow zero-dim input tensor.");
          if (channels != w.numel())
            throw runtime_error(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = ", w.numel(),
                " and channel size = ", channels, ".");
          Dims sizes(x.ndim(), 1);
          sizes[1] = channels;
          c.outs = TensorList{kernel(x, find_op("view")(w, sizes))};
        },
    .composite = true,
    .ref = "np.where(input > 0, input, weight * input)",
    .samples = {"x(2,3), pos(1)"},
});

const Op& prelu_kernel = def({
    .sig = "_prelu_kernel(Tensor input, Tensor weight) -> Tensor",
    .doc = "input where positive, weight * input elsewhere; weight broadcasts.",
    .family = pointwise,
    .forms = function,
    .rule = rule::broadcast,
    .cpu = map<Floats>([](auto x, auto w) { return x > 0 ? x : x * w; }),
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor positive = gt(c.in(0), 0);
          return Grads{c.wants(0) ? where(positive, g, mul(g, c.in(1))) : Tensor(),
                       c.wants(1) ? where(positive, 0, mul(g, c.in(0))) : Tensor()};
        },
    .grad_name = "PreluKernelBackward0",
    .ref = "np.where(input > 0, input, weight * input)",
    .samples = {"x(2,3), pos(2,3)", "x(2,3), pos(3)"},
    .modules = "nn",
});

const Op& hardtanh = def({
    .sig = "hardtanh(Tensor input, Scalar min_val=-1, Scalar max_val=1) -> Tensor",
    .doc = "input limited to [min_val, max_val]; unlike clamp, no gradient passes at the bounds.",
    .family = pointwise,
    .forms = nn_forms,
    .rule =
        [](Call& c) {
          if (c.in(0).dtype() == Dtype::boolean)
            throw runtime_error("Bool inputs not supported for hardtanh");
          if (c.in(0).dtype() == Dtype::u8 && (c.d(1) < 0 || c.d(2) < 0))
            throw runtime_error("cannot do hardtanh on an unsigned type with negative limits");
          rule::same(c);
        },
    .kernel_name = "clamp_scalar_cpu",
    .cpu = map<Real>([](auto x, auto lo, auto hi) { return fn::clamp(x, lo, hi); }),
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{pass_where(logical_and(gt(c.in(0), c.arg(1)), lt(c.in(0), c.arg(2))), g)};
        },
    .ref = "np.clip(input, min_val, max_val)",
    .samples = {"x(2,3)", "x(2,3), 0.0, 6.0"},
    .modules = "nn",
});

const Op& hardsigmoid = def({
    .sig = "hardsigmoid(Tensor input) -> Tensor",
    .doc = "relu6(input + 3) / 6.",
    .family = pointwise,
    .forms = nn_forms,
    .rule = rule::same,
    .cpu = map<Floats>([]<class T>(T x) { return fn::clamp(x + T(3), T(0), T(6)) / T(6); }),
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{pass_where(logical_and(gt(c.in(0), -3), lt(c.in(0), 3)), mul(g, 1.0 / 6))};
        },
    .ref = "np.clip(input + 3, 0, 6) / 6",
    .samples = {"x(2,3)"},
    .modules = "nn",
});

const Op& hardswish = def({
    .sig = "hardswish(Tensor input) -> Tensor",
    .doc = "input * relu6(input + 3) / 6.",
    .family = pointwise,
    .forms = nn_forms,
    .rule = rule::same,
    .cpu = map<Floats>([]<class T>(T x) { return x * fn::clamp(x + T(3), T(0), T(6)) / T(6); }),
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          const Tensor& x = c.in(0);
          Tensor middle = mul(g, add(mul(x, 1.0 / 3), 0.5));
          return Grads{where(lt(x, -3), 0, where(le(x, 3), middle, g))};
        },
    .ref = "input * np.clip(input + 3, 0, 6) / 6",
    .samples = {"x(2,3)"},
    .modules = "nn",
});

const Op& threshold = def({
    .sig = "threshold(Tensor input, Scalar threshold, Scalar value) -> Tensor",
    .doc = "input where it exceeds threshold, value elsewhere.",
    .family = pointwise,
    .forms = nn_forms,
    .rule = rule::same,
    .cpu = map<Real>([](auto x, auto t, auto value) { return x <= t ? value : x; }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{pass_where(gt(c.in(0), c.arg(1)), g)}; },
    .ref = "np.where(input <= threshold, value, input)",
    .samples = {"x(2,3), 0.1, -2.0"},
});

const Op& softshrink = def({
    .sig = "softshrink(Tensor input, Scalar lambd=0.5) -> Tensor",
    .doc = "input moved towards 0 by lambd, and 0 within [-lambd, lambd].",
    .family = pointwise,
    .forms = nn_forms,
    .rule =
        [](Call& c) {
          if (c.d(1) < 0)
            throw runtime_error("lambda must be greater or equal to 0, but found to be ", c.d(1), ".");
          rule::same(c);
        },
    .cpu = map<Floats>([]<class T>(T x, T l) { return x > l    ? x - l
                                                      : x < -l ? x + l
                                                               : x * T(0); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{pass_where(gt(abs(c.in(0)), c.arg(1)), g)}; },
    .ref = "np.where(input > lambd, input - lambd, np.where(input < -lambd, input + lambd, 0))",
    .samples = {"x(2,3)", "x(2,3), 0.2"},
    .modules = "nn",
});

const Op& hardshrink = def({
    .sig = "hardshrink(Tensor input, Scalar lambd=0.5) -> Tensor",
    .doc = "input outside [-lambd, lambd], 0 within.",
    .family = pointwise,
    .forms = function | method,
    .rule = rule::same,
    .cpu = map<Floats>([]<class T>(T x, T l) { return (x >= -l) & (x <= l) ? T(0) : x; }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{pass_where(gt(abs(c.in(0)), c.arg(1)), g)}; },
    .ref = "np.where(np.abs(input) <= lambd, 0, input)",
    .samples = {"x(2,3)", "x(2,3), 0.2"},
});

}  // namespace rushlight::ops

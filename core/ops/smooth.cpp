// Smooth activations: sigmoid, gelu, silu, softplus, elu and their relatives.
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

constexpr Forms nn_forms = function | inplace;
constexpr double inv_sqrt2pi = 0.39894228040143267794;
constexpr double gelu_scale = 0.79788456080286535588,
                 gelu_cubic = 0.044715;  // sqrt(2/pi), and the fit's x^3 term

// g * y * (1 - y) in one pass
const Op& sigmoid_backward = def({
    .sig = "sigmoid_backward(Tensor grad_output, Tensor output) -> Tensor",
    .doc = "Gradient of sigmoid from its output.",
    .family = pointwise,
    .forms = no_forms,
    .rule = rule::broadcast,
    .cpu = map<FloatsAndComplex>([]<class T>(T g, T y) {
      if constexpr (is_complex_type<T>) return g * std::conj((T(1) - y) * y);
      else return g * ((T(1) - y) * y);
    }),
    .saves = {.for0 = In1, .for1 = In0 | In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          const Tensor& y = c.in(1);
          // complex: linear in grad_output, but a function of conj(output)
          return Grads{c.wants(0) ? mul(g, mul(y, rsub(y, 1))) : Tensor(),
                       c.wants(1) ? mul(conj(g), chain(c.in(0), rsub(mul(y, 2), 1))) : Tensor()};
        },
    .ref = "grad_output * np.conj(output * (1 - output))",
    .samples = {"x(2,3), y(2,3)"},
});

}  // namespace

const Op& sigmoid = def({
    .sig = "sigmoid(Tensor input) -> Tensor",
    .doc = "1 / (1 + exp(-input)).",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<FloatsAndComplex>(fn::Sigmoid{}),
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{sigmoid_backward(g, c.out())}; },
    .ref = "1 / (1 + np.exp(-input))",
    .aliases = {"special_expit"},
});

const Op& logit = def({
    .sig = "logit(Tensor input, float? eps=None) -> Tensor",
    .doc = "log(input / (1 - input)), the inverse of sigmoid. With eps, input is first limited to [eps, 1 - "
           "eps].",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu =
        [](Call& c) {
          if (!c.has(1))
            return run_map(c, static_table<Floats>([]<class T>(T x) { return fn::log(x / (T(1) - x)); }),
                           {c.arg(0)});
          run_map(c, static_table<Floats>([]<class T>(T x, T eps) {
                    T y = fn::minimum(fn::maximum(x, eps), T(1) - eps);
                    return fn::log(y / (T(1) - y));
                  }));
        },
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          const Tensor& x = c.in(0);
          double eps = c.has(1) ? c.d(1) : 0;
          Tensor inside = logical_and(ge(x, eps), le(x, 1 - eps));
          return Grads{where(inside, div(g, mul(x, rsub(x, 1))), c.has(1) ? 0.0 : std::nan(""))};
        },
    .ref = "np.log(input / (1 - input))",
    .samples = {"prob(2,3)"},
    .modules = "special",
});

const Op& log_sigmoid = def({
    .sig = "log_sigmoid(Tensor input) -> Tensor",
    .doc = "log(sigmoid(input)) without overflow.",
    .family = pointwise,
    .forms = function,
    .rule = rule::same,
    .cpu = map<Floats>([]<class T>(T x) { return fn::minimum(x, T(0)) - fn::log1p(fn::exp(-fn::abs(x))); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{mul(g, sigmoid(neg(c.in(0))))}; },
    .ref = "-np.logaddexp(0, -input)",
    .samples = {"x(2,3)"},
    .modules = "nn",
});

const Op& softplus = def({
    .sig = "softplus(Tensor input, Scalar beta=1, Scalar threshold=20) -> Tensor",
    .doc = "Smooth maximum of 0 and input: log(1 + exp(beta * input)) / beta; input itself where beta * "
           "input > threshold.",
    .family = pointwise,
    .forms = function,
    .rule = rule::same,
    .cpu = map<Floats>([](auto x, auto beta, auto threshold) {
      auto z = x * beta;
      return z > threshold ? x : fn::log1p(fn::exp(z)) / beta;
    }),
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor z = mul(c.in(0), c.arg(1));
          return Grads{where(gt(z, c.arg(2)), g, mul(g, sigmoid(z)))};
        },
    .ref = "np.logaddexp(0, beta * input) / beta",
    .samples = {"x(2,3)", "x(2,3), 2.0"},
    .modules = "nn",
});

// ---- gelu ----
namespace {

bool uses_tanh(const Call& c, int k) {
  if (c.s(k) != "none" && c.s(k) != "tanh")
    throw runtime_error("approximate argument must be either none or tanh.");
  return c.s(k) == "tanh";
}

// Second derivative of gelu.
Tensor gelu_curvature(const Tensor& x, bool approximate) {
  if (!approximate) {
    Tensor density = mul(exp(mul(square(x), -0.5)), inv_sqrt2pi);
    return mul(density, rsub(square(x), 2));
  }
  Tensor x2 = square(x);
  Tensor t = tanh(mul(mul(x, add(mul(x2, gelu_cubic), 1)), gelu_scale));
  Tensor du = mul(add(mul(x2, 3 * gelu_cubic), 1), gelu_scale);
  Tensor ddu = mul(x, 6 * gelu_cubic * gelu_scale);
  Tensor dt = rsub(square(t), 1);
  // 0.5 x (1 + tanh u): derivative twice
  return mul(dt, add(du, mul(mul(x, 0.5), sub(ddu, mul(mul(t, square(du)), 2)))));
}

const Op& gelu_backward = def({
    .sig = "gelu_backward(Tensor grad_output, Tensor input, *, str approximate='none') -> Tensor",
    .doc = "Gradient of gelu in one pass.",
    .family = pointwise,
    .forms = no_forms,
    .rule = rule::broadcast,
    .cpu =
        [](Call& c) {
          if (!uses_tanh(c, 2))
            // always_inline: GCC would leave this one a function of the baseline
            return run_map(c, static_table<Floats>([]<class T>(T g, T x) __attribute__((always_inline)) {
                             T density = fn::exp(x * x * T(-0.5)) * T(inv_sqrt2pi);
                             return g * (fn::normal_cdf(x) + x * density);
                           }));
          run_map(c, static_table<Floats>([]<class T>(T g, T x) {
                    T x2 = x * x, t = fn::tanh(T(gelu_scale) * x * (T(1) + T(gelu_cubic) * x2));
                    T du = T(gelu_scale) * (T(1) + T(3 * gelu_cubic) * x2);
                    return g * (T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * du);
                  }));
        },
    .saves = {.for0 = In1, .for1 = In0 | In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{
              c.wants(0) ? c.op(g, c.in(1), c.arg(2)) : Tensor(),
              c.wants(1) ? mul(mul(g, c.in(0)), gelu_curvature(c.in(1), uses_tanh(c, 2))) : Tensor()};
        },
    .ref =
        "grad_output * (lambda t, x: 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * 0.7978845608028654 * (1 + "
        "0.134145 * x**2))("
        "np.tanh(0.7978845608028654 * (input + 0.044715 * input**3)), input) if approximate == 'tanh' else "
        "grad_output * (0.5 * (1 + np.vectorize(__import__('math').erf)(input / 2**0.5)) + "
        "input * np.exp(-input**2 / 2) / (2 * np.pi)**0.5)",
    .samples = {"x(2,3), y(2,3)", "x(2,3), y(2,3), approximate='tanh'"},
});

}  // namespace

const Op& gelu = def({
    .sig = "gelu(Tensor input, *, str approximate='none') -> Tensor",
    .doc = "input times the normal distribution function; approximate='tanh' uses a tanh fit of it.",
    .family = pointwise,
    .forms = nn_forms,
    .rule =
        [](Call& c) {
          uses_tanh(c, 1);
          if (!is_float(c.in(0).dtype())) throw_unsupported("GeluKernelImpl", c.in(0).dtype());
          rule::same(c);
        },
    .cpu =
        [](Call& c) {
          if (!uses_tanh(c, 1))
            return run_map(c, static_table<Floats>([](auto x) { return x * fn::normal_cdf(x); }));
          run_map(c, static_table<Floats>([]<class T>(T x) {
                    return T(0.5) * x * (T(1) + fn::tanh(T(gelu_scale) * x * (T(1) + T(gelu_cubic) * x * x)));
                  }));
        },
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{gelu_backward(g, c.in(0), c.arg(1))}; },
    .ref = "0.5 * input * (1 + np.tanh(0.7978845608028654 * (input + 0.044715 * input**3))) if approximate "
           "== 'tanh' else "
           "0.5 * input * (1 + np.vectorize(__import__('math').erf)(input / 2**0.5))",
    .samples = {"x(2,3)", "x(2,3), approximate='tanh'"},
    .modules = "nn",
});

// ---- silu and mish ----
namespace {
const Op& silu_backward = def({
    .sig = "silu_backward(Tensor grad_output, Tensor input) -> Tensor",
    .doc = "Gradient of silu in one pass.",
    .family = pointwise,
    .forms = no_forms,
    .rule = rule::broadcast,
    .cpu = map<FloatsAndComplex>([]<class T>(T g, T x) {
      T s = fn::sigmoid(x), slope = s * (T(1) + x * (T(1) - s));
      if constexpr (is_complex_type<T>) return g * std::conj(slope);
      else return g * slope;
    }),
    .saves = {.for0 = In1, .for1 = In0 | In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          const Tensor& x = c.in(1);
          Tensor s = sigmoid(x), slope, curvature;
          if (c.wants(0)) slope = mul(s, add(mul(x, rsub(s, 1)), 1));
          if (c.wants(1)) curvature = mul(mul(s, rsub(s, 1)), add(mul(x, rsub(mul(s, 2), 1)), 2));
          return Grads{c.wants(0) ? mul(g, slope) : Tensor(),
                       c.wants(1) ? mul(conj(g), chain(c.in(0), curvature)) : Tensor()};
        },
    .ref = "grad_output * (1 + input - input / (1 + np.exp(-input))) / (1 + np.exp(-input))",
    .samples = {"x(2,3), y(2,3)"},
});
}  // namespace

const Op& silu = def({
    .sig = "silu(Tensor input) -> Tensor",
    .doc = "input * sigmoid(input), also called swish.",
    .family = pointwise,
    .forms = nn_forms,
    .rule = rule::same,
    .cpu = map<FloatsAndComplex>(fn::Silu{}),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{silu_backward(g, c.in(0))}; },
    .ref = "input / (1 + np.exp(-input))",
    .modules = "nn",
});

const Op& mish = def({
    .sig = "mish(Tensor input) -> Tensor",
    .doc = "input * tanh(softplus(input)).",
    .family = pointwise,
    .forms = nn_forms,
    .rule = rule::same,
    .cpu = map<Floats>([]<class T>(T x) {
      // tanh(log(1 + e)) = ((1 + e)^2 - 1) / ((1 + e)^2 + 1)
      T e = fn::exp(fn::minimum(x, T(20))), n = e * (e + T(2));
      return x > T(20) ? x : x * (n / (n + T(2)));
    }),
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          const Tensor& x = c.in(0);
          Tensor t = tanh(softplus(x));
          return Grads{mul(g, add(t, mul(mul(x, sigmoid(x)), rsub(square(t), 1))))};
        },
    .ref = "input * np.tanh(np.logaddexp(0, input))",
    .samples = {"x(2,3)"},
    .modules = "nn",
});

// ---- elu ----
namespace {

constexpr double selu_alpha = 1.6732632423543772848170429916717,
                 selu_scale = 1.0507009873554804934193349852946;

constexpr auto elu_fn = []<class T>(T x, T alpha, T scale, T input_scale) {
  return x > 0 ? x * scale : fn::expm1(x * input_scale) * (alpha * scale);
};
Tensor elu_grad(const Tensor& g, const Tensor& x, double alpha, double scale, double input_scale) {
  Tensor lower = mul(exp(mul(x, input_scale)), alpha * scale * input_scale);
  return mul(g, where(gt(x, 0), scale, lower));
}

}  // namespace

const Op& elu = def({
    .sig = "elu(Tensor input, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor",
    .doc = "scale * input where positive, scale * alpha * (exp(input_scale * input) - 1) elsewhere.",
    .family = pointwise,
    .forms = nn_forms,
    .rule = rule::same,
    .cpu = map<Floats>(elu_fn),
    .saves = save(In0),
    .grad = [](const Call& c,
               const Tensor& g) { return Grads{elu_grad(g, c.in(0), c.d(1), c.d(2), c.d(3))}; },
    .ref = "scale * np.where(input > 0, input, alpha * np.expm1(input_scale * input))",
    .samples = {"x(2,3)", "x(2,3), 2.0"},
    .modules = "nn",
});

const Op& selu = def({
    .sig = "selu(Tensor input) -> Tensor",
    .doc = "elu with the constants that keep activations at mean 0 and variance 1.",
    .family = pointwise,
    .forms = function | inplace,
    .rule = rule::same,
    .kernel_name = "elu_cpu",
    .cpu = [](Call& c) { run_map(c, static_table<Floats>(elu_fn), {c.arg(0), selu_alpha, selu_scale, 1}); },
    .saves = save(In0),
    .grad = [](const Call& c,
               const Tensor& g) { return Grads{elu_grad(g, c.in(0), selu_alpha, selu_scale, 1)}; },
    .grad_name = "EluBackward0",
    .ref = "1.0507009873554805 * np.where(input > 0, input, 1.6732632423543772 * np.expm1(input))",
});

const Op& celu = def({
    .sig = "celu(Tensor input, Scalar alpha=1.0) -> Tensor",
    .doc = "input where positive, alpha * (exp(input / alpha) - 1) elsewhere: smooth at 0 for every alpha.",
    .family = pointwise,
    .forms = function | inplace,
    .rule =
        [](Call& c) {
          if (c.d(1) == 0) throw runtime_error("ZeroDivisionError: alpha cannot be 0 for CELU");
          rule::same(c);
        },
    .kernel_name = "elu_cpu",
    .cpu = [](Call& c) { run_map(c, static_table<Floats>(elu_fn), {c.arg(0), c.arg(1), 1, 1 / c.d(1)}); },
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{elu_grad(g, c.in(0), c.d(1), 1, 1 / c.d(1))}; },
    .ref = "np.where(input > 0, input, alpha * np.expm1(input / alpha))",
    .samples = {"x(2,3)", "x(2,3), 2.0"},
});

}  // namespace rushlight::ops

// Error functions, the gamma family, and other special functions.
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

constexpr double pi = 3.14159265358979323846, two_over_sqrt_pi = 1.12837916709551257390;

// Hurwitz zeta: sum over k of (q + k)^-s for s > 1, by Euler and Maclaurin after a few direct terms.
double zeta(double s, double q) {
  static constexpr double coefficients[] = {1. / 12,           -1. / 720,
                                            1. / 30240,        -1. / 1209600,
                                            1. / 47900160,     -691. / 1307674368000.,
                                            1. / 74724249600., -3617. / 10670622842880000.};
  if (q <= 0) return q == std::floor(q) ? std::numeric_limits<double>::infinity() : std::nan("");
  double sum = 0;
  for (; q < 12; q += 1) sum += std::pow(q, -s);
  double power = std::pow(q, -s);
  sum += power * q / (s - 1) + 0.5 * power;
  double factor = s * power / q;
  for (int k = 0; k < 8; ++k) {
    sum += coefficients[k] * factor;
    factor *= (s + 2 * k + 1) * (s + 2 * k + 2) / (q * q);
  }
  return sum;
}

// i1(x) by its power series where that is exact enough, by the asymptotic one beyond.
double bessel_i1(double x) {
  double a = std::abs(x);
  if (a < 30) {
    double term = a / 2, sum = term, q = a * a / 4;
    for (int k = 1; k < 200 && term > sum * 1e-18; ++k) sum += term *= q / (k * (k + 1.0));
    return std::copysign(sum, x);
  }
  double term = 1, sum = 1;
  for (int k = 1; k < 30; ++k) {
    double next = term * -(4.0 - (2.0 * k - 1) * (2.0 * k - 1)) / (k * 8 * a);
    if (std::abs(next) > std::abs(term)) break;
    sum += term = next;
  }
  return std::copysign(std::exp(a) / std::sqrt(2 * pi * a) * sum, x);
}

}  // namespace

const Op& erf = def({
    .sig = "erf(Tensor input) -> Tensor",
    .doc = "Error function.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "erf_vml_cpu",
    .cpu = map<Floats>([](auto x) { return fn::erf(x); }),
    .saves = save(In0),
    .grad = [](const Call& c,
               const Tensor& g) { return Grads{mul(g, mul(exp(neg(square(c.in(0)))), two_over_sqrt_pi))}; },
    .ref = "np.vectorize(__import__('math').erf)(input)",
    .modules = "special",
});

const Op& erfc = def({
    .sig = "erfc(Tensor input) -> Tensor",
    .doc = "1 - erf(input), exact also where that is tiny.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "erfc_vml_cpu",
    .cpu = map<Floats>(fn::Erfc()),
    .saves = save(In0),
    .grad = [](const Call& c,
               const Tensor& g) { return Grads{mul(g, mul(exp(neg(square(c.in(0)))), -two_over_sqrt_pi))}; },
    .ref = "np.vectorize(__import__('math').erfc)(input)",
    .modules = "special",
});

const Op& erfinv = def({
    .sig = "erfinv(Tensor input) -> Tensor",
    .doc = "Inverse of erf on (-1, 1).",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "erfinv_vml_cpu",
    .cpu = map<Floats>([](auto x) { return fn::erfinv(x); }),
    .saves = save(Out),
    .grad = [](const Call& c,
               const Tensor& g) { return Grads{mul(g, mul(exp(square(c.out())), 1 / two_over_sqrt_pi))}; },
    .ref =
        "np.vectorize(lambda p: __import__('statistics').NormalDist().inv_cdf((p + 1) / 2) / 2**0.5)(input)",
    .samples = {"unit(2,3)"},
    .modules = "special",
});

const Op& lgamma = def({
    .sig = "lgamma(Tensor input) -> Tensor",
    .doc = "Logarithm of the absolute value of the gamma function.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "lgamma_vml_cpu",
    .cpu = map<Floats>([](auto x) { return fn::lgamma(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{mul(g, digamma(c.in(0)))}; },
    .ref = "np.vectorize(__import__('math').lgamma)(input)",
    .samples = {"pos(2,3)"},
    .aliases = {"special_gammaln"},
});

const Op& digamma = def({
    .sig = "digamma(Tensor input) -> Tensor",
    .doc = "Derivative of lgamma.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "digamma",
    .cpu = map<Floats>([](auto x) { return fn::digamma(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{mul(g, polygamma(1, c.in(0)))}; },
    .ref = "np.log(input + 50) - 0.5 / (input + 50) - 1 / (12 * (input + 50)**2) + 1 / (120 * (input + "
           "50)**4) - "
           "sum(1 / (input + k) for k in range(50))",
    .samples = {"pos(2,3)"},
    .aliases = {"special_psi"},
    .modules = "special",
});

const Op& polygamma = def({
    .sig = "polygamma(int n, Tensor input) -> Tensor",
    .doc = "n-th derivative of digamma.",
    .family = pointwise,
    .forms = function | out_form,
    .rule =
        [](Call& c) {
          if (c.i(0) < 0) throw runtime_error("polygamma(n, x) does not support negative n.");
          rule::to_float(c);
        },
    .cpu =
        [](Call& c) {
          int64_t n = c.i(0);
          if (n == 0)
            return run_map(c, static_table<Floats>([](auto x) { return fn::digamma(x); }), {c.arg(1)});
          if (n == 1)
            return run_map(c, static_table<Floats>([](auto x) { return fn::trigamma(x); }), {c.arg(1)});
          double sign = n % 2 ? 1 : -1;
          run_map(c, static_table<Floats>([]<class T>(T x, T order, T scale) {
                    return T(double(scale) * zeta(double(order), double(x)));
                  }),
                  {c.arg(1), double(n + 1), sign * std::tgamma(double(n + 1))});
        },
    .saves = save(In1),
    .grad = [](const Call& c, const Tensor& g) { return Grads{mul(g, polygamma(c.i(0) + 1, c.in(1)))}; },
    .ref = "(-1.0)**(n + 1) * __import__('math').factorial(n) * (sum((input + k)**-(n + 1.0) for k in "
           "range(50)) + "
           "(input + 50)**-float(n) / n + 0.5 * (input + 50)**-(n + 1.0) + (n + 1) / 12 * (input + 50)**-(n "
           "+ 2.0) - "
           "(n + 1) * (n + 2) * (n + 3) / 720 * (input + 50)**-(n + 4.0))",
    .samples = {"1, pos(2,3)", "2, pos(2,3)"},
    .modules = "special",
});

const Op& mvlgamma = def({
    .sig = "mvlgamma(Tensor input, int p) -> Tensor",
    .doc = "Logarithm of the multivariate gamma function of dimension p.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          int64_t p = c.i(1);
          if (p < 1) throw runtime_error("p has to be greater than or equal to 1");
          if (p > 1 << 20) throw not_implemented("mvlgamma with p above 1048576, got p = ", p);
          static const Op& log_gamma = find_op("lgamma");
          Tensor sum = log_gamma(c.in(0));
          for (int64_t k = 1; k < p; ++k) sum = add(sum, log_gamma(sub(c.in(0), 0.5 * k)));
          c.outs = TensorList{add(sum, 0.25 * p * (p - 1) * std::log(pi))};
        },
    .composite = true,
    .ref = "sum(np.vectorize(__import__('math').lgamma)(input - 0.5 * k) for k in range(p)) + p * (p - 1) / "
           "4 * np.log(np.pi)",
    .samples = {"above1(2,3), p=2"},
    .aliases = {"special_multigammaln"},
});

const Op& i0 = def({
    .sig = "i0(Tensor input) -> Tensor",
    .doc = "Modified Bessel function of the first kind, order 0.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "i0_vml_cpu",
    .cpu = map<Floats>([](auto x) { return fn::i0(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{mul(g, find_op("special_i1")(c.in(0)))}; },
    .ref = "np.i0(input)",
    .modules = "special",
});

const Op& i1 = def({
    .sig = "special_i1(Tensor input) -> Tensor",
    .doc = "Modified Bessel function of the first kind, order 1.",
    .family = pointwise,
    .forms = function | out_form,
    .rule = rule::to_float,
    .cpu = map<Floats>([]<class T>(T x) { return T(bessel_i1(double(x))); }),
    .saves = save(In0 | Out),
    .grad =
        [](const Call& c, const Tensor& g) {
          static const Op& order0 = find_op("i0");
          Tensor ratio = where(eq(c.in(0), 0), 0.5, div(c.out(), c.in(0)));
          return Grads{mul(g, sub(order0(c.in(0)), ratio))};
        },
    .ref = "np.mean([np.exp(input * np.cos(t)) * np.cos(t) for t in (np.arange(64) + 0.5) * np.pi / 64], "
           "axis=0)",
    .modules = "special",
});

const Op& entr = def({
    .sig = "special_entr(Tensor input) -> Tensor",
    .doc = "-input * log(input), 0 at 0, -inf below.",
    .family = pointwise,
    .forms = function | out_form,
    .rule = rule::to_float,
    .cpu = map<Floats>([]<class T>(T x) {
      return x > 0 ? -x * fn::log(x) : x == 0 ? T(0) : x < 0 ? -std::numeric_limits<T>::infinity() : x;
    }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{mul(g, rsub(log(c.in(0)), -1))}; },
    .ref = "-input * np.log(input)",
    .samples = {"pos(2,3)"},
    .modules = "special",
});

const Op& ndtr = def({
    .sig = "special_ndtr(Tensor input) -> Tensor",
    .doc = "Distribution function of the standard normal.",
    .family = pointwise,
    .forms = function | out_form,
    .rule = rule::to_float,
    .cpu = map<Floats>([]<class T>(T x) { return T(0.5) * fn::erfc(x * T(-0.70710678118654752440)); }),
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{mul(g, mul(exp(mul(square(c.in(0)), -0.5)), 0.39894228040143267794))};
        },
    .ref = "0.5 * np.vectorize(__import__('math').erfc)(-input / 2**0.5)",
    .modules = "special",
});

const Op& ndtri = def({
    .sig = "special_ndtri(Tensor input) -> Tensor",
    .doc = "Quantile of the standard normal: the inverse of ndtr.",
    .family = pointwise,
    .forms = function | out_form,
    .rule = rule::to_float,
    .cpu = map<Floats>([]<class T>(T x) { return T(1.41421356237309504880) * fn::erfinv(T(2) * x - T(1)); }),
    .saves = save(Out),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{mul(g, mul(exp(mul(square(c.out()), 0.5)), 1 / 0.39894228040143267794))};
        },
    .ref = "np.vectorize(__import__('statistics').NormalDist().inv_cdf)(input)",
    .samples = {"prob(2,3)"},
    .modules = "special",
});

}  // namespace rushlight::ops

// Exponentials, logarithms and rounding.
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {
constexpr double ln2 = 0.69314718055994530942, ln10 = 2.30258509299404568402;
}

const Op& exp = def({
    .sig = "exp(Tensor input) -> Tensor",
    .doc = R"(e to the power of each element.

        >>> rl.exp(rl.tensor([0., 1.]))
        tensor([1.0000, 2.7183]))",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "exp_vml_cpu",
    .cpu = map<FloatsAndComplex>(fn::Exp()),
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, c.out())}; },
    .ref = "np.exp(input)",
});

const Op& exp2 = def({
    .sig = "exp2(Tensor input) -> Tensor",
    .doc = "2 to the power of each element.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "exp2",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::exp2(x); }),
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, mul(c.out(), ln2))}; },
    .ref = "np.exp2(input)",
    .modules = "special",
});

const Op& expm1 = def({
    .sig = "expm1(Tensor input) -> Tensor",
    .doc = "exp(input) - 1, exact also for tiny elements.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "expm1_vml_cpu",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::expm1(x); }),
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, add(c.out(), 1))}; },
    .ref = "np.expm1(input)",
    .modules = "special",
});

const Op& log = def({
    .sig = "log(Tensor input) -> Tensor",
    .doc = "Natural logarithm; -inf at 0, nan below.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "log_vml_cpu",
    .cpu = map<FloatsAndComplex>(fn::Log()),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain_over(g, c.in(0))}; },
    .ref = "np.log(input)",
    .samples = {"pos(2,3)"},
});

const Op& log2 = def({
    .sig = "log2(Tensor input) -> Tensor",
    .doc = "Logarithm to base 2.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "log2_vml_cpu",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::log2(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain_over(g, mul(c.in(0), ln2))}; },
    .ref = "np.log2(input)",
    .samples = {"pos(2,3)"},
});

const Op& log10 = def({
    .sig = "log10(Tensor input) -> Tensor",
    .doc = "Logarithm to base 10.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "log10_vml_cpu",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::log10(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain_over(g, mul(c.in(0), ln10))}; },
    .ref = "np.log10(input)",
    .samples = {"pos(2,3)"},
});

const Op& log1p = def({
    .sig = "log1p(Tensor input) -> Tensor",
    .doc = "log(1 + input), exact also for tiny elements.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "log1p_vml_cpu",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::log1p(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain_over(g, add(c.in(0), 1))}; },
    .grad_name = "Log1PBackward0",
    .ref = "np.log1p(input)",
    .samples = {"pos(2,3)"},
    .modules = "special",
});

// ---- two arguments ----
const Op& logaddexp = def({
    .sig = "logaddexp(Tensor input, Tensor other) -> Tensor",
    .doc = "log(exp(input) + exp(other)) without overflow.",
    .family = pointwise,
    .forms = function | method | out_form,
    .rule = rule::broadcast,
    .cpu = map<FloatsAndComplex>([]<class T>(T a, T b) {
      if constexpr (is_complex_type<T>) {
        T top = a.real() < b.real() ? b : a, low = a.real() < b.real() ? a : b;
        return top + fn::log1p(fn::exp(low - top));
      } else {
        T top = fn::maximum(a, b), gap = fn::abs(a - b);
        return a == b ? a + T(ln2) : top + fn::log1p(fn::exp(-gap));  // equal infinities have no gap
      }
    }),
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? chain(g, sigmoid(sub(c.in(0), c.in(1)))) : Tensor(),
                       c.wants(1) ? chain(g, sigmoid(sub(c.in(1), c.in(0)))) : Tensor()};
        },
    .ref = "np.logaddexp(input, other)",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
});

const Op& logaddexp2 = def({
    .sig = "logaddexp2(Tensor input, Tensor other) -> Tensor",
    .doc = "log2(2**input + 2**other) without overflow.",
    .family = pointwise,
    .forms = function | method | out_form,
    .rule = rule::broadcast,
    .cpu = map<Floats>([]<class T>(T a, T b) {
      T top = fn::maximum(a, b), gap = fn::abs(a - b);
      return a == b ? a + T(1) : top + fn::log1p(fn::exp2(-gap)) * T(1.44269504088896340736);
    }),
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? mul(g, sigmoid(mul(sub(c.in(0), c.in(1)), ln2))) : Tensor(),
                       c.wants(1) ? mul(g, sigmoid(mul(sub(c.in(1), c.in(0)), ln2))) : Tensor()};
        },
    .ref = "np.logaddexp2(input, other)",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
});

const Op& xlogy = def({
    .sig = "xlogy(Operand input, Operand other) -> Tensor",
    .doc = "input * log(other), and 0 where input is 0 (unless other is nan).",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<Floats>([]<class T>(T x, T y) { return y != y   ? y
                                                      : x == 0 ? T(0)
                                                               : x * fn::log(y); }),
    .saves = {.for0 = In0 | In1, .for1 = In0 | In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor to_x, to_y;
          if (c.wants(0)) {
            // 0 * log(y) stays 0 for y <= 0, so its slope is 0 there too
            bool number = c.arg(1).is_number();
            Tensor slope = number ? add(fresh_zeros(g), std::log(c.arg(1).as_double())) : log(c.in(1));
            Tensor nothing = eq(c.in(0), 0);
            if (!number) nothing = logical_and(nothing, le(c.in(1), 0));
            to_x = mul(g, masked_fill(slope, nothing, 0));
          }
          if (c.wants(1)) to_y = div(g * c.arg(0), c.in(1));
          return Grads{to_x, to_y};
        },
    .ref = "np.where(np.asarray(input) == 0, 0.0, input * np.log(other))",
    .samples = {"x(2,3), pos(2,3)", "x(3,1), pos(1,4)", "x(2,3), 1.5", "2.0, pos(2,3)"},
    .modules = "special",
});

const Op& xlog1py = def({
    .sig = "xlog1py(Operand input, Operand other) -> Tensor",
    .doc = "input * log1p(other), and 0 where input is 0 (unless other is nan).",
    .family = pointwise,
    .forms = function | out_form,
    .rule = rule::to_float,
    .cpu = map<Floats>([]<class T>(T x, T y) { return y != y   ? y
                                                      : x == 0 ? T(0)
                                                               : x * fn::log1p(y); }),
    .saves = {.for0 = In0 | In1, .for1 = In0 | In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor to_x, to_y;
          if (c.wants(0))
            to_x = c.arg(1).is_number() ? mul(g, std::log1p(c.arg(1).as_double())) : mul(g, log1p(c.in(1)));
          if (c.wants(1)) to_y = div(g * c.arg(0), add(c.in(1), 1));
          return Grads{to_x, to_y};
        },
    .grad_name = "SpecialXlog1PyBackward0",
    .ref = "np.where(np.asarray(input) == 0, 0.0, input * np.log1p(other))",
    .samples = {"x(2,3), pos(2,3)", "x(2,3), 1.5", "2.0, pos(2,3)"},
    .modules = "special",
});

// ---- rounding: integers stay as they are ----
const Op& floor = def({
    .sig = "floor(Tensor input) -> Tensor",
    .doc = "The largest integer not above each element.",
    .family = pointwise,
    .rule = rule::same,
    .kernel_name = "floor_vml_cpu",
    .cpu = map<Real>([]<class T>(T x) {
      if constexpr (std::floating_point<T>) return fn::floor(x);
      else return x;
    }),
    .grad = [](const Call&, const Tensor& g) { return Grads{fresh_zeros(g)}; },
    .ref = "np.floor(input)",
});

const Op& ceil = def({
    .sig = "ceil(Tensor input) -> Tensor",
    .doc = "The smallest integer not below each element.",
    .family = pointwise,
    .rule = rule::same,
    .kernel_name = "ceil_vml_cpu",
    .cpu = map<Real>([]<class T>(T x) {
      if constexpr (std::floating_point<T>) return fn::ceil(x);
      else return x;
    }),
    .grad = [](const Call&, const Tensor& g) { return Grads{fresh_zeros(g)}; },
    .ref = "np.ceil(input)",
});

const Op& trunc = def({
    .sig = "trunc(Tensor input) -> Tensor",
    .doc = "Each element without its fractional part.",
    .family = pointwise,
    .rule = rule::same,
    .kernel_name = "trunc_vml_cpu",
    .cpu = map<Real>([]<class T>(T x) {
      if constexpr (std::floating_point<T>) return fn::trunc(x);
      else return x;
    }),
    .grad = [](const Call&, const Tensor& g) { return Grads{fresh_zeros(g)}; },
    .ref = "np.trunc(input)",
    .aliases = {"fix"},
});

const Op& frac = def({
    .sig = "frac(Tensor input) -> Tensor",
    .doc = "The fractional part: input - trunc(input).",
    .family = pointwise,
    .rule = rule::same,
    .cpu = map<Floats>([](auto x) { return x - fn::trunc(x); }),
    .grad = [](const Call&, const Tensor& g) { return Grads{g}; },
    .ref = "input - np.trunc(input)",
});

const Op& round = def({
    .sig = "round(Tensor input, *, int decimals=0) -> Tensor",
    .doc = "Each element rounded to `decimals` places; halves go to the even neighbour.",
    .family = pointwise,
    .rule = rule::same,
    .kernel_name = "round_vml_cpu",
    .cpu =
        [](Call& c) {
          int64_t decimals = c.i(1);
          if (decimals == 0)
            return run_map(c, static_table<Real>([]<class T>(T x) {
                             if constexpr (std::floating_point<T>) return fn::round(x);
                             else return x;
                           }));
          double scale = std::pow(10.0, double(std::abs(decimals)));
          if (decimals > 0)
            run_map(c, static_table<Floats>([](auto x, auto s) { return fn::round(x * s) / s; }),
                    {c.arg(0), scale});
          else
            run_map(c, static_table<Floats>([](auto x, auto s) { return fn::round(x / s) * s; }),
                    {c.arg(0), scale});
        },
    .grad = [](const Call&, const Tensor& g) { return Grads{fresh_zeros(g)}; },
    .ref = "np.round(input, decimals)",
    .samples = {"x(2,3)", "x(2,3), decimals=2"},
    .modules = "special",
});

}  // namespace rushlight::ops

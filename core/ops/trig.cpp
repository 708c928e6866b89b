// Trigonometric and hyperbolic functions, and conversions between degrees and radians.
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {
constexpr double pi = 3.14159265358979323846;
Tensor one_minus(const Tensor& x) { return rsub(x, 1); }
Tensor one_plus(const Tensor& x) { return add(x, 1); }
}  // namespace

const Op& sin = def({
    .sig = "sin(Tensor input) -> Tensor",
    .doc = "Sine of each element, in radians.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "sin_vml_cpu",
    .cpu = map<FloatsAndComplex>(fn::Sin()),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, cos(c.in(0)))}; },
    .ref = "np.sin(input)",
});

const Op& cos = def({
    .sig = "cos(Tensor input) -> Tensor",
    .doc = "Cosine of each element, in radians.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "cos_vml_cpu",
    .cpu = map<FloatsAndComplex>(fn::Cos()),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{neg(chain(g, sin(c.in(0))))}; },
    .ref = "np.cos(input)",
});

const Op& tan = def({
    .sig = "tan(Tensor input) -> Tensor",
    .doc = "Tangent of each element, in radians.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "tan_vml_cpu",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::tan(x); }),
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, one_plus(square(c.out())))}; },
    .ref = "np.tan(input)",
    .samples = {"unit(2,3)"},
});

const Op& asin = def({
    .sig = "asin(Tensor input) -> Tensor",
    .doc = "Inverse sine; nan outside [-1, 1].",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "asin_vml_cpu",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::asin(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, rsqrt(one_minus(square(c.in(0)))))}; },
    .ref = "np.arcsin(input)",
    .samples = {"unit(2,3)"},
    .aliases = {"arcsin"},
});

const Op& acos = def({
    .sig = "acos(Tensor input) -> Tensor",
    .doc = "Inverse cosine; nan outside [-1, 1].",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "acos_vml_cpu",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::acos(x); }),
    .saves = save(In0),
    .grad = [](const Call& c,
               const Tensor& g) { return Grads{neg(chain(g, rsqrt(one_minus(square(c.in(0))))))}; },
    .ref = "np.arccos(input)",
    .samples = {"unit(2,3)"},
    .aliases = {"arccos"},
});

const Op& atan = def({
    .sig = "atan(Tensor input) -> Tensor",
    .doc = "Inverse tangent.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "atan_vml_cpu",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::atan(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain_over(g, one_plus(square(c.in(0))))}; },
    .ref = "np.arctan(input)",
    .aliases = {"arctan"},
});

const Op& atan2 = def({
    .sig = "atan2(Tensor input, Tensor other) -> Tensor",
    .doc = "Angle of the point (other, input): atan(input / other) in the right quadrant.",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<Floats>([](auto y, auto x) { return fn::atan2(y, x); }),
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor r2 = add(square(c.in(0)), square(c.in(1)));
          Tensor scaled = masked_fill(div(g, r2), eq(r2, 0), 0);
          return Grads{c.wants(0) ? mul(scaled, c.in(1)) : Tensor(),
                       c.wants(1) ? neg(mul(scaled, c.in(0))) : Tensor()};
        },
    .ref = "np.arctan2(input, other)",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
    .aliases = {"arctan2"},
});

const Op& sinh = def({
    .sig = "sinh(Tensor input) -> Tensor",
    .doc = "Hyperbolic sine.",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::sinh(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, cosh(c.in(0)))}; },
    .ref = "np.sinh(input)",
});

const Op& cosh = def({
    .sig = "cosh(Tensor input) -> Tensor",
    .doc = "Hyperbolic cosine.",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::cosh(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, sinh(c.in(0)))}; },
    .ref = "np.cosh(input)",
});

namespace {
// g * (1 - out^2) in one pass, because tanh is the activation of recurrent nets.
const Op& tanh_backward = def({
    .sig = "tanh_backward(Tensor grad_output, Tensor output) -> Tensor",
    .doc = "Gradient of tanh from its output.",
    .family = pointwise,
    .forms = no_forms,
    .rule = rule::broadcast,
    .cpu = map<FloatsAndComplex>([]<class T>(T g, T y) {
      if constexpr (is_complex_type<T>) return g * std::conj(T(1) - y * y);
      else return g * (T(1) - y * y);
    }),
    .saves = {.for0 = In1, .for1 = In0 | In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          const Tensor& y = c.in(1);
          return Grads{c.wants(0) ? mul(g, one_minus(square(y))) : Tensor(),
                       c.wants(1) ? mul(mul(conj(g), chain(c.in(0), y)), -2) : Tensor()};
        },
    .ref = "grad_output * np.conj(1 - output * output)",
    .samples = {"x(2,3), y(2,3)"},
});
}  // namespace

const Op& tanh = def({
    .sig = "tanh(Tensor input) -> Tensor",
    .doc = R"(Hyperbolic tangent of each element.

        >>> rl.tanh(rl.tensor([0.0, 1.0]))
        tensor([0.0000, 0.7616]))",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "tanh_vml_cpu",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::tanh(x); }),
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{tanh_backward(g, c.out())}; },
    .ref = "np.tanh(input)",
});

const Op& asinh = def({
    .sig = "asinh(Tensor input) -> Tensor",
    .doc = "Inverse hyperbolic sine.",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::asinh(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, rsqrt(one_plus(square(c.in(0)))))}; },
    .ref = "np.arcsinh(input)",
    .aliases = {"arcsinh"},
});

const Op& acosh = def({
    .sig = "acosh(Tensor input) -> Tensor",
    .doc = "Inverse hyperbolic cosine; nan below 1.",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::acosh(x); }),
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          // two roots instead of one: right for complex numbers as well
          return Grads{chain(g, mul(rsqrt(sub(c.in(0), 1)), rsqrt(add(c.in(0), 1))))};
        },
    .ref = "np.arccosh(input)",
    .samples = {"above1(2,3)"},
    .aliases = {"arccosh"},
});

const Op& atanh = def({
    .sig = "atanh(Tensor input) -> Tensor",
    .doc = "Inverse hyperbolic tangent; nan outside [-1, 1].",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::atanh(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain_over(g, one_minus(square(c.in(0))))}; },
    .ref = "np.arctanh(input)",
    .samples = {"unit(2,3)"},
    .aliases = {"arctanh"},
});

const Op& hypot = def({
    .sig = "hypot(Tensor input, Tensor other) -> Tensor",
    .doc = "Length of the hypotenuse: sqrt(input**2 + other**2).",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = map<Floats>([](auto a, auto b) { return std::hypot(a, b); }),
    .saves = {.for0 = In0 | Out, .for1 = In1 | Out},
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? mul(g, div(c.in(0), c.out())) : Tensor(),
                       c.wants(1) ? mul(g, div(c.in(1), c.out())) : Tensor()};
        },
    .ref = "np.hypot(input, other)",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
});

const Op& deg2rad = def({
    .sig = "deg2rad(Tensor input) -> Tensor",
    .doc = "Degrees to radians.",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<Floats>([]<class T>(T x) { return x * T(pi / 180); }),
    .grad = [](const Call&, const Tensor& g) { return Grads{mul(g, pi / 180)}; },
    .grad_name = "Deg2RadBackward0",
    .ref = "np.deg2rad(input)",
});

const Op& rad2deg = def({
    .sig = "rad2deg(Tensor input) -> Tensor",
    .doc = "Radians to degrees.",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<Floats>([]<class T>(T x) { return x * T(180 / pi); }),
    .grad = [](const Call&, const Tensor& g) { return Grads{mul(g, 180 / pi)}; },
    .grad_name = "Rad2DegBackward0",
    .ref = "np.rad2deg(input)",
});

const Op& sinc = def({
    .sig = "sinc(Tensor input) -> Tensor",
    .doc = "sin(pi x) / (pi x), and 1 at 0.",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<FloatsAndComplex>([]<class T>(T x) {
      T a = x * T(pi);
      return x == T(0) ? T(1) : T(fn::sin(a) / a);
    }),
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor a = mul(c.in(0), pi);
          Tensor slope = mul(div(sub(mul(a, cos(a)), sin(a)), square(a)), pi);
          return Grads{chain(g, masked_fill(slope, eq(c.in(0), 0), 0))};
        },
    .ref = "np.sinc(input)",
    .modules = "special",
});

}  // namespace rushlight::ops

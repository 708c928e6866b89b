// Functions of two or three tensors that mix or transfer: lerp, copysign, heaviside.
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

void lerp_rule(Call& c) {
  Dtype d = c.in(0).dtype();
  auto expect = [&](int k, const char* name) {
    if (c.arg(k).tag == Value::tensor && c.in(k).dtype() != d)
      throw runtime_error("expected dtype ", info(d).ctype_name, " for `", name, "` but got dtype ",
                          info(c.in(k).dtype()).ctype_name);
  };
  expect(1, "end");
  expect(2, "weight");
  rule::broadcast(c);
  c.compute = c.meta0.dtype = d;
}
// Two forms of the same line, each exact at its own end.
constexpr auto lerp_fn = []<class T>(T a, T b, T w) -> T {
  if constexpr (is_complex_type<T>) return a + w * (b - a);
  else return fn::abs(w) < T(0.5) ? fn::fma(w, b - a, a) : fn::fma(a - b, T(1) - w, b);
};

}  // namespace

const Op& lerp_tensor = def({
    .sig = "lerp.Tensor(Tensor input, Tensor end, Tensor weight) -> Tensor",
    .doc = "Linear interpolation: input + weight * (end - input).",
    .family = pointwise,
    .rule = lerp_rule,
    .kernel_name = "lerp_kernel_tensor",
    .cpu = map<FloatsAndComplex>(lerp_fn),
    .saves = {.for0 = In2, .for1 = In2, .for2 = In0 | In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? chain(g, rsub(c.in(2), 1)) : Tensor(),
                       c.wants(1) ? chain(g, c.in(2)) : Tensor(),
                       c.wants(2) ? chain(g, sub(c.in(1), c.in(0))) : Tensor()};
        },
    .grad_name = "LerpBackward1",
    .ref = "input + weight * (end - input)",
    .samples = {"x(2,3), y(2,3), w(2,3)", "x(3,1), y(1,4), w(4)"},
});

const Op& lerp = def({
    .sig = "lerp.Scalar(Tensor input, Tensor end, Scalar weight) -> Tensor",
    .doc = "Linear interpolation with one weight: input + weight * (end - input).",
    .family = pointwise,
    .rule = lerp_rule,
    .kernel_name = "lerp_kernel_scalar",
    .cpu = map<FloatsAndComplex>(lerp_fn),
    .grad =
        [](const Call& c, const Tensor& g) {
          if (c.arg(2).tag == Value::complex) {
            c128 w = c.arg(2).as_complex();
            return Grads{chain(g, 1.0 - w), chain(g, w)};
          }
          return Grads{c.wants(0) ? mul(g, 1 - c.d(2)) : Tensor(), c.wants(1) ? mul(g, c.d(2)) : Tensor()};
        },
    .ref = "input + weight * (end - input)",
    .samples = {"x(2,3), y(2,3), 0.3", "x(3,1), y(1,4), 0.8"},
});

const Op& copysign = def({
    .sig = "copysign(Tensor input, Operand other) -> Tensor",
    .doc = "The magnitude of input with the sign of other.",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<Floats>([](auto x, auto sign) { return fn::copysign(x, sign); }),
    .saves = save(In0 | Out),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor to_x;
          if (c.wants(0)) to_x = mul(g, masked_fill(div(c.out(), c.in(0)), eq(c.in(0), 0), 0));
          return Grads{to_x, c.wants(1) ? fresh_zeros(g) : Tensor()};
        },
    .ref = "np.copysign(input, other)",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)", "x(2,3), -1.0"},
});

const Op& heaviside = def({
    .sig = "heaviside(Tensor input, Tensor values) -> Tensor",
    .doc = "0 for negative elements, 1 for positive ones, and the element of `values` at zero.",
    .family = pointwise,
    .rule =
        [](Call& c) {
          if (is_complex(c.in(0).dtype()) || is_complex(c.in(1).dtype()))
            throw runtime_error("heaviside is not yet implemented for complex tensors.");
          if (c.in(0).dtype() != c.in(1).dtype())
            throw runtime_error("heaviside is not yet implemented for tensors with different dtypes.");
          rule::broadcast(c);
        },
    .cpu = map<RealAndBool>([]<class T>(T x, T v) { return x == T(0) ? v : T(x > T(0)); }),
    .ref = "np.heaviside(input, values)",
    .samples = {"ties(2,3), y(2,3)", "ties(3,1), y(1,4)"},
});

}  // namespace rushlight::ops

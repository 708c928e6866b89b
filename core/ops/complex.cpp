// Complex numbers: parts, conjugation, angle, and making them from real tensors.
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

const Op& real = def({
    .sig = "real(Tensor input) -> Tensor",
    .doc = "Real part of each element: a view of a complex tensor; a real tensor is returned as it is.",
    .forms = function,
    .cpu =
        [](Call& c) {
          static const Op &as_real = find_op("view_as_real"), &select = find_op("select");
          c.outs = TensorList{is_complex(c.in(0).dtype()) ? select(as_real(c.in(0)), -1, 0) : c.in(0)};
        },
    .composite = true,
    .ref = "np.real(input)",
    .samples = {"x(2,3)"},
});

const Op& imag = def({
    .sig = "imag(Tensor input) -> Tensor",
    .doc = "Imaginary part of each element of a complex tensor, as a view.",
    .forms = function,
    .cpu =
        [](Call& c) {
          if (!is_complex(c.in(0).dtype()))
            throw runtime_error("imag is not implemented for tensors with non-complex dtypes.");
          static const Op &as_real = find_op("view_as_real"), &select = find_op("select");
          c.outs = TensorList{select(as_real(c.in(0)), -1, 1)};
        },
    .composite = true,
    .ref = "np.imag(input)",
    .samples = {"z(2,3)"},
});

namespace {
const Op& conj_copy = def({
    .sig = "_conj(Tensor input) -> Tensor",
    .doc = "Complex conjugate as a new tensor; the kernel behind conj.",
    .family = pointwise,
    .forms = no_forms,
    .rule = rule::same,
    .cpu = map<Complexes>([](auto x) { return std::conj(x); }),
    .grad = [](const Call&, const Tensor& g) { return Grads{conj(g)}; },
    .grad_name = "ConjBackward0",
    .ref = "np.conj(input)",
    .samples = {"z(2,3)"},
});
void conj_or_self(Call& c) {
  c.outs = TensorList{is_complex(c.in(0).dtype()) ? conj_copy(c.in(0)) : c.in(0)};
}
}  // namespace

const Op& conj = def({
    .sig = "conj(Tensor input) -> Tensor",
    .doc = "Complex conjugate of each element; a real tensor is returned as it is.",
    .forms = function | method,
    .cpu = conj_or_self,
    .composite = true,
    .ref = "np.conj(input)",
    .samples = {"x(2,3)"},
    .aliases = {"conj_physical"},
});

const Op& resolve_conj = def({
    .sig = "resolve_conj(Tensor input) -> Tensor",
    .doc = "The input itself: conjugation is never pending here.",
    .forms = function | method,
    .cpu = [](Call& c) { c.outs = TensorList{c.in(0)}; },
    .composite = true,
    .ref = "input",
    .samples = {"x(2,3)"},
    .aliases = {"resolve_neg"},
});

namespace {
void two_parts_rule(Call& c) {
  Dtype a = c.in(0).dtype(), b = c.in(1).dtype();
  if (!is_float(a) || !is_float(b) || a == Dtype::bf16 || b == Dtype::bf16)
    throw runtime_error("Expected both inputs to be Half, Float or Double tensors but got ",
                        info(a).scalar_name, " and ", info(b).scalar_name);
  if (a != b)
    throw runtime_error("Expected object of scalar type ", info(a).scalar_name, " but got scalar type ",
                        info(b).scalar_name, " for second argument");
  rule::broadcast(c);
  c.meta0.dtype = complex_of(a);
}
}  // namespace

const Op& complex = def({
    .sig = "complex(Tensor real, Tensor imag) -> Tensor",
    .doc = "Complex numbers from their real and imaginary parts, which have the same dtype.",
    .family = pointwise,
    .forms = function | out_form,
    .rule = two_parts_rule,
    .cpu = map<Floats>([]<class T>(T re, T im) { return std::complex<T>(re, im); }),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? real(g) : Tensor(), c.wants(1) ? imag(g) : Tensor()};
        },
    .ref = "real + 1j * imag",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
});

const Op& polar = def({
    .sig = "polar(Tensor abs, Tensor angle) -> Tensor",
    .doc = "Complex numbers from modulus and angle.",
    .family = pointwise,
    .forms = function | out_form,
    .autocast = Autocast::full,
    .rule = two_parts_rule,
    .cpu = map<Floats>(
        []<class T>(T r, T angle) { return std::complex<T>(r * fn::cos(angle), r * fn::sin(angle)); }),
    .saves = {.for0 = In1, .for1 = Out},
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor to_abs, to_angle;
          if (c.wants(0)) to_abs = real(chain(g, complex(cos(c.in(1)), sin(c.in(1)))));
          if (c.wants(1)) to_angle = real(chain(g, mul(c.out(), c128(0, 1))));
          return Grads{to_abs, to_angle};
        },
    .ref = "abs * np.exp(1j * angle)",
    .samples = {"pos(2,3), y(2,3)"},
});

const Op& angle = def({
    .sig = "angle(Tensor input) -> Tensor",
    .doc = "Angle of each complex number in radians; for real numbers 0 or pi.",
    .family = pointwise,
    .forms = function | method | out_form,
    .rule =
        [](Call& c) {
          rule::to_float(c);
          c.meta0.dtype = real_of(c.compute);
        },
    .cpu = map<FloatsAndComplex>([]<class T>(T x) {
      if constexpr (is_complex_type<T>) return std::arg(x);
      else return x != x ? x : x < 0 ? T(3.14159265358979323846) : T(0);
    }),
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          const Tensor& z = c.in(0);
          if (!is_complex(z.dtype())) return Grads{fresh_zeros(g)};
          Tensor r = abs(z);
          return Grads{mul(mul(z, c128(0, 1)), masked_fill(div(g, square(r)), eq(r, 0), 0))};
        },
    .ref = "np.angle(input)",
});

}  // namespace rushlight::ops

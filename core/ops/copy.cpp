// Copies of values: clone, conversion between dtypes, writes into an existing tensor, conjugation.
#include "kernels/copy.h"

#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

const Op& clone = def({
    .sig = "clone(Tensor input, *, any memory_format=None) -> Tensor",
    .doc = "A copy with its own memory. Dense inputs keep their strides; memory_format=contiguous_format gives row order.",
    .rule = [](Call& c) {
      rule::same(c);
      if (c.has(1)) {  // the name of the format is all that is looked at: preserve or contiguous
        PyObject* text = PyObject_Str(c.arg(1).o);
        if (!text) throw PythonError();
        const char* name = PyUnicode_AsUTF8(text);
        bool row_order = name && std::string_view(name).find("contiguous_format") != std::string_view::npos;
        Py_DECREF(text);
        if (row_order) c.meta0.strided = false;
      }
    },
    .cpu = [](Call& c) { rushlight::copy(c.out(), c.in(0)); },
    .grad = [](const Call&, const Tensor& g) { return Grads{g}; },
    .ref = "input.copy()",
    .samples = {"x(2,3)"},
});

const Op& to_dtype = def({
    .sig = "to_dtype(Tensor input, dtype dtype) -> Tensor",
    .doc = "A copy with another dtype, with the strides of a dense input.",
    .rule = [](Call& c) {
      rule::same(c);
      c.meta0.dtype = c.arg(1).dt;
    },
    .cpu = [](Call& c) { rushlight::copy(c.out(), c.in(0)); },
    .grad = [](const Call& c, const Tensor& g) {
      return Grads{g.dtype() == c.in_dtype(0) ? g : to_dtype(g, c.in_dtype(0))};
    },
    .grad_name = "ToCopyBackward0",
    .ref = "input.astype(dtype)",
    .samples = {"x(2,3), dtype=float64", "x(2,3), dtype=int64"},
});

const Op& copy_ = def({
    .sig = "copy_(Tensor! input, Tensor src, bool non_blocking=False) -> Tensor",
    .doc = "Writes src into input, broadcast and converted to its dtype.",
    .rule = [](Call& c) {
      Dims sizes = rushlight::broadcast(c.in(0).sizes(), c.in(1).sizes());
      c.out_meta(0, c.in(0).dtype(), std::move(sizes));
    },
    .cpu = [](Call& c) { rushlight::copy(c.out(), c.in(1)); },
    .grad = [](const Call& c, const Tensor& g) {
      return Grads{c.wants(0) ? fresh_zeros(g) : Tensor(), c.wants(1) ? g : Tensor()};
    },
    .grad_name = "CopyBackwards",
});

const Op& fill_tensor = def({
    .sig = "fill_.Tensor(Tensor! input, Tensor value) -> Tensor",
    .doc = "Sets every element to the value of a 0-d tensor.",
    .rule = [](Call& c) {
      if (c.in(1).ndim())
        throw runtime_error("fill_ only supports 0-dimension value tensor but got tensor with ", c.in(1).ndim(), " dimensions.");
      c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
    },
    .cpu = [](Call& c) { rushlight::copy(c.out(), c.in(1)); },
    .grad = [](const Call& c, const Tensor& g) {
      return Grads{c.wants(0) ? fresh_zeros(g) : Tensor(), c.wants(1) ? g : Tensor()};
    },
    .grad_name = "FillBackward3",
});

const Op& fill_ = def({
    .sig = "fill_.Scalar(Tensor! input, Scalar value) -> Tensor",
    .doc = "Sets every element to value.",
    .rule = [](Call& c) {
      if (c.arg(1).tag == Value::complex && c.arg(1).z[1] != 0 && !is_complex(c.in(0).dtype()))
        throw runtime_error("value cannot be converted to type ", info(c.in(0).dtype()).ctype_name, " without overflow");
      c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
    },
    .cpu = [](Call& c) { rushlight::fill(c.out(), c.arg(1)); },
    .grad = [](const Call&, const Tensor& g) { return Grads{fresh_zeros(g)}; },
    .grad_name = "FillBackward2",
});

const Op& zero_ = def({
    .sig = "zero_(Tensor! input) -> Tensor",
    .doc = "Sets every element to zero.",
    .rule = [](Call& c) { c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes())); },
    .cpu = [](Call& c) { rushlight::fill(c.out(), Value(0)); },
    .grad = [](const Call&, const Tensor& g) { return Grads{fresh_zeros(g)}; },
    .grad_name = "ZeroBackward0",
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
});
void conj_or_self(Call& c) { c.outs = TensorList{is_complex(c.in(0).dtype()) ? conj_copy(c.in(0)) : c.in(0)}; }
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
    throw runtime_error("Expected both inputs to be Half, Float or Double tensors but got ", info(a).scalar_name, " and ",
                        info(b).scalar_name);
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
    .grad = [](const Call& c, const Tensor& g) {
      return Grads{c.wants(0) ? find_op("real")(g) : Tensor(), c.wants(1) ? find_op("imag")(g) : Tensor()};
    },
    .ref = "real + 1j * imag",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
});

const Op& polar = def({
    .sig = "polar(Tensor abs, Tensor angle) -> Tensor",
    .doc = "Complex numbers from modulus and angle.",
    .family = pointwise,
    .forms = function | out_form,
    .rule = two_parts_rule,
    .cpu = map<Floats>([]<class T>(T r, T angle) { return std::complex<T>(r * fn::cos(angle), r * fn::sin(angle)); }),
    .saves = {.for0 = In1, .for1 = Out},
    .grad = [](const Call& c, const Tensor& g) {
      Tensor to_abs, to_angle;
      if (c.wants(0)) to_abs = find_op("real")(chain(g, complex(cos(c.in(1)), sin(c.in(1)))));
      if (c.wants(1)) to_angle = find_op("real")(chain(g, mul(c.out(), c128(0, 1))));
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
    .rule = [](Call& c) {
      rule::to_float(c);
      c.meta0.dtype = real_of(c.compute);
    },
    .cpu = map<FloatsAndComplex>([]<class T>(T x) {
      if constexpr (is_complex_type<T>) return std::arg(x);
      else return x != x ? x : x < 0 ? T(3.14159265358979323846) : T(0);
    }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) {
      const Tensor& z = c.in(0);
      if (!is_complex(z.dtype())) return Grads{fresh_zeros(g)};
      Tensor r = abs(z);
      return Grads{mul(mul(z, c128(0, 1)), masked_fill(div(g, square(r)), eq(r, 0), 0))};
    },
    .ref = "np.angle(input)",
});

}  // namespace rushlight::ops

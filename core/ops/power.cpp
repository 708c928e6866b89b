// Powers and roots.
#include "kernels/copy.h"
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

constexpr auto power = []<class T>(T base, T exponent) -> T {
  if constexpr (std::integral<T>) {
    if constexpr (std::is_signed_v<T>) {
      if (exponent < 0) return base == 1 ? 1 : base == T(-1) ? (exponent & 1 ? T(-1) : T(1)) : T(0);
    }
    std::make_unsigned_t<T> result = 1, square = base;  // wraps around like multiplication
    for (auto e = std::make_unsigned_t<T>(exponent); e; e >>= 1, square *= square)
      if (e & 1) result *= square;
    return T(result);
  } else {
    return fn::pow(base, exponent);
  }
};

// x ** constant without pow() where a few multiplications or a root give the same
const MapTable* special_power(double e) {
  if (e == 2) return &static_table<Numeric>([](auto x) { return x * x; });
  if (e == 3) return &static_table<Numeric>([](auto x) { return x * x * x; });
  if (e == 0.5) return &static_table<FloatsAndComplex>([](auto x) { return fn::sqrt(x); });
  if (e == 1) return &static_table<All>([](auto x) { return x; });
  if (e == -0.5) return &static_table<FloatsAndComplex>([](auto x) { return fn::rsqrt(x); });
  if (e == -1) return &static_table<FloatsAndComplex>([]<class T>(T x) { return T(1) / x; });
  if (e == -2) return &static_table<FloatsAndComplex>([]<class T>(T x) { return T(1) / (x * x); });
  return nullptr;
}

void pow_kernel(Call& c) { run_map(c, static_table<Numeric>(power), {c.arg(0), c.arg(1)}); }

// d(input ** exponent)/d input, for both kinds of exponent
Tensor base_grad(const Call& c, const Tensor& g) {
  const Value& e = c.arg(1);
  if (e.is_number()) {
    if (e.tag != Value::complex) {
      double n = e.as_double();
      if (n == 0) return fresh_zeros(g);
      if (n == 1) return g;
      if (n == 2) return chain(g, mul(c.in(0), 2));
      return chain(g, mul(pow_scalar(c.in(0), n - 1), e));
    }
    return chain(g, mul(pow_scalar(c.in(0), e.as_complex() - 1.0), e));
  }
  Tensor slope = mul(pow(c.in(0), sub(c.in(1), 1)), c.in(1));
  return masked_fill(chain(g, slope), eq(c.in(1), 0), 0);
}

}  // namespace

const Op& pow = def({
    .sig = "pow.Tensor_Tensor(Tensor input, Tensor exponent) -> Tensor",
    .doc = R"(input ** exponent, element by element.

        >>> rl.pow(rl.tensor([1., 2., 3.]), 2)
        tensor([1., 4., 9.]))",
    .family = pointwise,
    .rule = rule::broadcast,
    .kernel_name = "pow",
    .cpu = pow_kernel,
    .saves = {.for0 = In0 | In1, .for1 = In0 | In1 | Out},
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor to_base, to_exponent;
          if (c.wants(0)) to_base = base_grad(c, g);
          if (c.wants(1)) {
            Tensor slope = mul(c.out(), log(c.in(0)));
            Tensor flat = eq(c.in(0), 0);  // 0 ** e does not change with e > 0
            if (!is_complex(c.in(1).dtype())) flat = logical_and(flat, ge(c.in(1), 0));
            to_exponent = chain(g, masked_fill(slope, flat, 0));
          }
          return Grads{to_base, to_exponent};
        },
    .grad_name = "PowBackward1",
    .ref = "np.power(input, exponent)",
    .samples = {"pos(2,3), y(2,3)", "pos(3,1), y(1,4)"},
});

const Op& pow_scalar = def({
    .sig = "pow.Tensor_Scalar(Tensor input, Operand exponent) -> Tensor",
    .doc = "input ** exponent for a number as exponent. Integers take non-negative integer exponents only.",
    .family = pointwise,
    .rule =
        [](Call& c) {
          rule::broadcast(c);
          if (!differentiable(c.compute) && c.arg(1).is_number() && c.arg(1).as_double() < 0)
            throw runtime_error("Integers to negative integer powers are not allowed.");
        },
    .kernel_name = "pow",
    .cpu =
        [](Call& c) {
          const Value& e = c.arg(1);
          if (e.is_number() && e.tag != Value::complex)
            if (const MapTable* t = special_power(e.as_double()); t && t->rows[int(Dtype::f32)][0])
              if (differentiable(c.compute) || t->rows[int(Dtype::i64)][0])
                if (c.compute != Dtype::boolean) return run_map(c, *t, {c.arg(0)});
          if (c.compute == Dtype::boolean)
            return run_map(c, static_table<Bools>([](bool x, bool y) { return x | !y; }), {c.arg(0), e});
          pow_kernel(c);
        },
    .saves = {.for0 = In0},
    .grad = [](const Call& c, const Tensor& g) { return Grads{base_grad(c, g), Tensor()}; },
    .ref = "np.power(input, exponent)",
    .samples = {"x(2,3), 2", "x(2,3), 3", "pos(2,3), 0.5", "pos(2,3), -1.5", "pos(2,3), 1.7"},
});

const Op& pow_base = def({
    .sig = "pow.Scalar(Operand input, Tensor exponent) -> Tensor",
    .doc = "input ** exponent for a number as base.",
    .family = pointwise,
    .forms = function | out_form,
    .rule = rule::broadcast,
    .kernel_name = "pow",
    .cpu = pow_kernel,
    .saves = save(Out | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          if (c.arg(0).is_number() && c.arg(0).as_complex() == 0.0) {
            Tensor slope = mul(c.out(), -std::numeric_limits<double>::infinity());
            return Grads{Tensor(), mul(g, masked_fill(slope, ge(c.in(1), 0), 0))};
          }
          c128 base = c.arg(0).as_complex();
          Value log_base = c.arg(0).tag == Value::complex || base.real() < 0 ? Value(std::log(base))
                                                                             : Value(std::log(base.real()));
          if (!is_complex(c.out().dtype()) && base.real() < 0) log_base = Value(std::nan(""));
          return Grads{Tensor(), chain(g, mul(c.out(), log_base))};
        },
    .grad_name = "PowBackward2",
    .ref = "np.power(input, exponent)",
    .samples = {"2.5, x(2,3)"},
});

const Op& float_power = def({
    .sig = "float_power(Operand input, Operand exponent) -> Tensor",
    .doc = "input ** exponent in float64 (complex128 for complex arguments).",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          bool is_z = false;
          for (int k = 0; k < 2; ++k) {
            const Value& v = c.arg(k);
            is_z |= v.tag == Value::complex || (v.tag == Value::tensor && is_complex(v.as_tensor().dtype()));
          }
          Dtype wide = is_z ? Dtype::c128 : Dtype::f64;
          auto cast = [&](const Value& v) { return to_dtype(v, wide); };
          if (c.arg(0).is_number()) c.outs = TensorList{pow_base(c.arg(0), cast(c.arg(1)))};
          else if (c.arg(1).is_number()) c.outs = TensorList{pow_scalar(cast(c.arg(0)), c.arg(1))};
          else c.outs = TensorList{pow(cast(c.arg(0)), cast(c.arg(1)))};
        },
    .composite = true,
    .ref = "np.float_power(input, exponent)",
    .samples = {"pos(2,3), y(2,3)", "pos(2,3), 2"},
});

const Op& ldexp = def({
    .sig = "ldexp(Tensor input, Tensor other) -> Tensor",
    .doc = "input * 2 ** other.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          const Tensor &x = c.in(0), &e = c.in(1);
          Dtype d = differentiable(x.dtype()) ? x.dtype() : default_dtype();
          c.outs = TensorList{
              mul(x, differentiable(e.dtype()) ? pow_base(2.0, e) : pow_base(2.0, to_dtype(e, real_of(d))))};
        },
    .composite = true,
    .ref = "input * 2.0 ** other",
    .samples = {"x(2,3), count(2,3)"},
});

const Op& frexp = def({
    .sig = "frexp(Tensor input) -> (Tensor mantissa, Tensor exponent)",
    .doc = "Mantissa in [0.5, 1) with the sign of input, and exponent (int32), so that input = mantissa * 2 "
           "** exponent.",
    .forms = function | method,
    .rule =
        [](Call& c) {
          if (!is_float(c.in(0).dtype()))
            throw runtime_error("torch.frexp() only supports floating-point dtypes");
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
          c.out_meta(1, Dtype::i32, Dims(c.in(0).sizes()));
        },
    .cpu =
        [](Call& c) {
          Tensor wide = empty(c.in(0).sizes(), Dtype::f64);
          rushlight::copy(wide, c.in(0));
          double* x = wide.data<double>();
          for (int64_t i = 0; i < wide.numel(); ++i) x[i] = std::frexp(x[i], c.out(1).data<int>() + i);
          rushlight::copy(c.out(0), wide);
        },
    .saves = save(Out1),
    .grad = [](const Call& c, const Tensor& g) { return Grads{div(g, pow_base(2.0, c.out(1)))}; },
    .ref = "np.frexp(input)[0]",
    .samples = {"x(2,3)"},
});

const Op& sqrt = def({
    .sig = "sqrt(Tensor input) -> Tensor",
    .doc = "Square root; nan for negative numbers.",
    .family = pointwise,
    .rule = rule::to_float,
    .kernel_name = "sqrt_vml_cpu",
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::sqrt(x); }),
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain_over(g, mul(c.out(), 2))}; },
    .ref = "np.sqrt(input)",
    .samples = {"pos(2,3)"},
});

const Op& rsqrt = def({
    .sig = "rsqrt(Tensor input) -> Tensor",
    .doc = "1 / sqrt(input).",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<FloatsAndComplex>([](auto x) { return fn::rsqrt(x); }),
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, mul(pow_scalar(c.out(), 3), -0.5))}; },
    .ref = "1 / np.sqrt(input)",
    .samples = {"pos(2,3)"},
});

}  // namespace rushlight::ops

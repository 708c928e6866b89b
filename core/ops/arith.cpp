// Addition, multiplication, division and their relatives, and the C++ operators built on them.
#include "ops/ops.h"

#include "kernels/copy.h"
#include "kernels/loop.h"
#include "kernels/map.h"

namespace rushlight::ops {

namespace {

bool is_one(const Value& v) { return v.tag != Value::complex && v.as_double() == 1.0; }
bool is_bool(const Value& v) {
  return v.tag == Value::boolean || (v.tag == Value::tensor && v.as_tensor().dtype() == Dtype::boolean);
}

void check_alpha(const Call& c, const Value& alpha) {
  if (alpha.tag == Value::boolean && c.compute != Dtype::boolean)
    throw runtime_error("Boolean alpha only supported for Boolean results.");
  if (alpha.tag == Value::complex && !is_complex(c.compute))
    throw runtime_error("For non-complex input tensors, argument alpha must not be a complex number.");
  if (alpha.tag >= Value::real && !differentiable(c.compute))
    throw runtime_error("For integral input tensors, argument alpha must not be a floating point number.");
}
void add_rule(Call& c) {
  rule::broadcast(c);
  check_alpha(c, c.arg(2));
}
void sub_rule(Call& c) {
  if (is_bool(c.arg(0)) || is_bool(c.arg(1))) {
    if (is_bool(c.arg(0)) && is_bool(c.arg(1)) && c.arg(1).tag == Value::tensor)
      throw runtime_error(
          "Subtraction, the `-` operator, with two bool tensors is not supported. "
          "Use the `^` or `logical_xor()` operator instead.");
    throw runtime_error(
        "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert "
        "a mask, use the `~` or `logical_not()` operator instead.");
  }
  add_rule(c);
}

// Integer division must not meet a zero: looked for beforehand, because the row loops cannot raise. The divisor is
// looked at in the compute dtype, where 256 may have become a zero.
bool has_zero(const Value& divisor, Dtype as) {
  constexpr int64_t block = 512;
  alignas(16) char raw[block * 16], converted[block * 16];
  if (divisor.is_number()) {
    write_number(converted, as, divisor);
    return std::all_of(converted, converted + itemsize(as), [](char ch) { return ch == 0; });
  }
  const Tensor& t = divisor.as_tensor();
  ConvertRow convert = convert_row(t.dtype(), as);
  Loop loop(t.sizes());
  loop.add(t);
  loop.finish();
  bool zero = false;
  loop.for_each_row([&](char* const* p, int64_t n) {
    for (int64_t at = 0; at < n && !zero; at += block) {
      int64_t m = std::min(block, n - at);
      gather_row(raw, p[0] + at * loop.stride(0), loop.stride(0), t.itemsize(), m);
      convert(converted, raw, m);
      visit_size(itemsize(as), [&]<class T>() {
        if constexpr (std::integral<T>) {
          auto* values = reinterpret_cast<const T*>(converted);
          for (int64_t i = 0; i < m; ++i) zero |= values[i] == 0;
        }
      });
    }
  });
  return zero;
}
void check_divisor(const Call& c, const Value& divisor) {
  if (!differentiable(c.compute) && c.compute != Dtype::boolean && c.out().numel() &&
      has_zero(divisor, c.compute))
    throw runtime_error("ZeroDivisionError");
}

// Complex products by the plain formula: the library's repairs infinities at several times the price.
constexpr auto product = []<class T>(T a, T b) {
  if constexpr (is_complex_type<T>)
    return T(a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real());
  else return a * b;
};

// x * y + z rounded once: what PyTorch's vector kernels give, so that optimizers follow its numbers bit for bit.
constexpr auto mul_add = []<class T>(T x, T y, T z) -> T {
  if constexpr (std::floating_point<T>) return fn::fma(x, y, z);
  else return T(x * y + z);
};

constexpr auto trunc_divide = []<class T>(T a, T b) {
  if constexpr (std::floating_point<T>) return fn::trunc(a / b);
  else return fn::trunc_divide(a, b);
};
constexpr auto floor_divide_fn = [](auto a, auto b) { return fn::floor_divide(a, b); };

bool rounds(const Call& c) { return c.has(2); }

Tensor conj_of(const Tensor& t) { return is_complex(t.dtype()) ? conj(t) : t; }
Value conj_number(const Value& v) { return v.tag == Value::complex ? Value(std::conj(v.as_complex())) : v; }

Grads no_derivative(const Call& c, const Tensor&) {
  throw runtime_error("derivative for ", c.op.name, " is not implemented");
}

}  // namespace

Tensor chain(const Tensor& g, const Value& b) {
  if (b.tag == Value::tensor) return mul(g, conj_of(b.as_tensor()));
  return mul(g, conj_number(b));
}
Tensor chain_over(const Tensor& g, const Value& b) {
  if (b.tag == Value::tensor) return div(g, conj_of(b.as_tensor()));
  return div(g, conj_number(b));
}
Tensor fresh_zeros(const Tensor& t) {
  Tensor z = rushlight::empty_like(t);
  if (!t.is_meta()) rushlight::fill(z, Value(0));
  return z;
}

const Op& add = def({
    .sig = "add(Tensor input, Operand other, *, Scalar alpha=1) -> Tensor",
    .doc = R"(Sum of input and alpha * other, broadcast against each other.

        >>> rl.add(rl.tensor([1., 2.]), 10)
        tensor([11., 12.]))",
    .family = pointwise,
    .rule = add_rule,
    .kernel_name = "add_stub",
    .cpu =
        [](Call& c) {
          if (is_one(c.arg(2))) run_map(c, static_table<All>([](auto a, auto b) { return a + b; }));
          else run_map(c, static_table<All>([](auto a, auto b, auto alpha) { return mul_add(alpha, b, a); }));
        },
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{g, c.wants(1) ? is_one(c.arg(2)) ? g : chain(g, c.arg(2)) : Tensor()};
        },
    .ref = "input + alpha * other",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)", "x(2,3), y(3), alpha=2", "x(2,3), 1.5"},
});

const Op& sub = def({
    .sig = "sub(Tensor input, Operand other, *, Scalar alpha=1) -> Tensor",
    .doc = "Difference input - alpha * other, broadcast against each other. Bool tensors are refused.",
    .family = pointwise,
    .rule = sub_rule,
    .kernel_name = "add_stub",
    .cpu =
        [](Call& c) {
          if (is_one(c.arg(2))) run_map(c, static_table<Numeric>([](auto a, auto b) { return a - b; }));
          else
            run_map(c, static_table<Numeric>(
                           []<class T>(T a, T b, T alpha) { return mul_add(T(-alpha), b, a); }));
        },
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{g, c.wants(1) ? is_one(c.arg(2)) ? neg(g) : neg(chain(g, c.arg(2))) : Tensor()};
        },
    .ref = "input - alpha * other",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)", "x(2,3), y(3), alpha=2", "x(2,3), 1.5"},
    .aliases = {"subtract"},
});

namespace {
void rsub_kernel(Call& c) {
  if (is_one(c.arg(2))) run_map(c, static_table<Numeric>([](auto a, auto b) { return b - a; }));
  else run_map(c, static_table<Numeric>([]<class T>(T a, T b, T alpha) { return mul_add(T(-alpha), a, b); }));
}
Grads rsub_grad(const Call& c, const Tensor& g) {
  return {c.wants(0) ? is_one(c.arg(2)) ? neg(g) : neg(chain(g, c.arg(2))) : Tensor(), g};
}
}  // namespace

const Op& rsub_tensor = def({
    .sig = "rsub.Tensor(Tensor input, Tensor other, *, Scalar alpha=1) -> Tensor",
    .doc = "Difference the other way round: other - alpha * input.",
    .family = pointwise,
    .forms = function | method,
    .rule = sub_rule,
    .kernel_name = "add_stub",
    .cpu = rsub_kernel,
    .grad = rsub_grad,
    .ref = "other - alpha * input",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
});
const Op& rsub = def({
    .sig = "rsub(Tensor input, Operand other, Scalar alpha=1) -> Tensor",
    .doc = "Difference the other way round for a number: other - alpha * input.",
    .family = pointwise,
    .forms = function | method,
    .rule = sub_rule,
    .kernel_name = "add_stub",
    .cpu = rsub_kernel,
    .grad = rsub_grad,
    .grad_name = "RsubBackward1",
    .ref = "other - alpha * input",
    .samples = {"x(2,3), 1.5"},
});

const Op& mul = def({
    .sig = "mul(Tensor input, Operand other) -> Tensor",
    .doc = "Product of input and other, broadcast against each other.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = map<AllAndFloat8>(product),
    .saves = {.for0 = In1, .for1 = In0},
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? chain(g, c.arg(1)) : Tensor(),
                       c.wants(1) ? chain(g, c.arg(0)) : Tensor()};
        },
    .ref = "input * other",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)", "x(2,3), 1.5"},
    .aliases = {"multiply"},
});

const Op& div = def({
    .sig = "div(Tensor input, Operand other, *, str? rounding_mode=None) -> Tensor",
    .doc =
        R"(Quotient input / other. Integers give the default float, unless rounding_mode is 'trunc' (towards zero) or
        'floor', which keep the dtype.)",
    .family = pointwise,
    .rule =
        [](Call& c) {
          if (!c.has(2)) return rule::to_float(c);
          if (c.s(2) != "trunc" && c.s(2) != "floor")
            throw runtime_error(
                "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '", c.s(2), "'");
          rule::broadcast(c);
        },
    .cpu =
        [](Call& c) {
          if (!rounds(c))
            return run_map(c, static_table<FloatsAndComplex>([](auto a, auto b) { return a / b; }));
          if (c.s(2) == "trunc") {
            check_divisor(c, c.arg(1));
            run_map(c, static_table<Real>(trunc_divide), {c.arg(0), c.arg(1)}, "div_trunc_cpu");
          } else {
            check_divisor(c, c.arg(1));
            run_map(c, static_table<Real>(floor_divide_fn), {c.arg(0), c.arg(1)}, "div_floor_cpu");
          }
        },
    .saves = {.for0 = In1, .for1 = In0 | In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          if (rounds(c)) return Grads{fresh_zeros(g), fresh_zeros(g)};
          return Grads{c.wants(0) ? chain_over(g, c.arg(1)) : Tensor(),
                       c.wants(1) ? neg(chain(g, div(div(c.in(0), c.arg(1)), c.arg(1)))) : Tensor()};
        },
    .ref = "input / other if rounding_mode is None else np.trunc(input / other) if rounding_mode == 'trunc' "
           "else "
           "np.floor(input / other)",
    .samples = {"x(2,3), pos(2,3)", "x(3,1), pos(1,4)", "x(2,3), 1.5",
                "x(2,3), pos(3), rounding_mode='floor'", "x(2,3), pos(3), rounding_mode='trunc'"},
    .aliases = {"divide", "true_divide"},
});

// What PyTorch's C++ composites call for x / number; it shows in grad_fn names only.
const Op& div_scalar = def({
    .sig = "_div_scalar(Tensor input, Operand other) -> Tensor",
    .doc = "Quotient of a tensor and a number.",
    .family = pointwise,
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          if (!c.arg(1).is_number()) throw type_error("_div_scalar(): argument 'other' must be a number");
          rule::to_float(c);
        },
    .cpu = [](Call& c) { run_map(c, static_table<FloatsAndComplex>([](auto a, auto b) { return a / b; })); },
    .saves = {.for0 = In1},
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain_over(g, c.arg(1)), Tensor()}; },
    .grad_name = "DivBackward1",
    .ref = "input / other",
    .samples = {"x(2,3), 1.5"},
    .modules = "nn",
});

const Op& floor_divide = def({
    .sig = "floor_divide(Tensor input, Operand other) -> Tensor",
    .doc = "Quotient rounded towards minus infinity. It has no derivative.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu =
        [](Call& c) {
          check_divisor(c, c.arg(1));
          run_map(c, static_table<Real>(floor_divide_fn), {c.arg(0), c.arg(1)}, "div_floor_cpu");
        },
    .grad = no_derivative,
    .grad_name = "NotImplemented",
    .ref = "np.floor_divide(input, other)",
    .samples = {"x(2,3), pos(2,3)", "x(3,1), pos(1,4)", "x(2,3), 1.5"},
});

namespace {
void remainder_kernel(Call& c) {
  check_divisor(c, c.arg(1));
  run_map(c, static_table<Real>([](auto a, auto b) { return fn::remainder(a, b); }), {c.arg(0), c.arg(1)},
          "remainder_cpu");
}
void fmod_kernel(Call& c) {
  check_divisor(c, c.arg(1));
  run_map(c, static_table<Real>([](auto a, auto b) { return fn::fmod(a, b); }), {c.arg(0), c.arg(1)},
          "fmod_cpu");
}
Grads remainder_grad(const Call& c, const Tensor& g) {
  return {g, c.wants(1) ? neg(mul(g, div(c.arg(0), c.arg(1), Value("floor")))) : Tensor()};
}
Grads fmod_grad(const Call& c, const Tensor& g) {
  return {g, c.wants(1) ? neg(mul(g, div(c.arg(0), c.arg(1), Value("trunc")))) : Tensor()};
}
}  // namespace

const Op& remainder = def({
    .sig = "remainder.Tensor(Tensor input, Tensor other) -> Tensor",
    .doc = "Remainder of the floored quotient: it has the sign of other, as % in Python.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = remainder_kernel,
    .saves = {.for1 = In0 | In1},
    .grad = remainder_grad,
    .grad_name = "RemainderBackward1",
    .ref = "np.mod(input, other)",
    .samples = {"x(2,3), pos(2,3)", "x(3,1), pos(1,4)"},
});
const Op& remainder_scalar = def({
    .sig = "remainder.Scalar(Operand input, Operand other) -> Tensor",
    .doc = "Remainder of the floored quotient: it has the sign of other, as % in Python.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = remainder_kernel,
    .saves = {.for1 = In0 | In1},
    .grad = remainder_grad,
    .ref = "np.mod(input, other)",
    .samples = {"x(2,3), 1.5"},
});

const Op& fmod = def({
    .sig = "fmod.Tensor(Tensor input, Tensor other) -> Tensor",
    .doc = "Remainder of the truncated quotient: it has the sign of input, as fmod in C.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = fmod_kernel,
    .saves = {.for1 = In0 | In1},
    .grad = fmod_grad,
    .grad_name = "FmodBackward1",
    .ref = "np.fmod(input, other)",
    .samples = {"x(2,3), pos(2,3)", "x(3,1), pos(1,4)"},
});
const Op& fmod_scalar = def({
    .sig = "fmod.Scalar(Tensor input, Operand other) -> Tensor",
    .doc = "Remainder of the truncated quotient: it has the sign of input, as fmod in C.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = fmod_kernel,
    .grad = fmod_grad,
    .ref = "np.fmod(input, other)",
    .samples = {"x(2,3), 1.5"},
});

const Op& neg = def({
    .sig = "neg(Tensor input) -> Tensor",
    .doc = "Each element with its sign changed.",
    .family = pointwise,
    .rule =
        [](Call& c) {
          if (is_bool(c.arg(0)))
            throw runtime_error(
                "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert "
                "a "
                "mask, use the `~` or `logical_not()` operator instead.");
          rule::same(c);
        },
    .cpu = map<Numeric>([](auto x) { return -x; }),
    .grad = [](const Call&, const Tensor& g) { return Grads{neg(g)}; },
    .ref = "-input",
    .aliases = {"negative"},
});

const Op& positive = def({
    .sig = "positive(Tensor input) -> Tensor",
    .doc = "The input itself: the unary + operator.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          if (is_bool(c.arg(0))) throw runtime_error("The `+` operator, on a bool tensor is not supported.");
          c.outs = TensorList{c.in(0)};
        },
    .composite = true,
    .ref = "+input",
    .samples = {"x(2,3)"},
});

const Op& abs = def({
    .sig = "abs(Tensor input) -> Tensor",
    .doc = "Absolute value of each element; of a complex number, its modulus.",
    .family = pointwise,
    .rule = rule::to_real,
    .cpu = map<Join<Numeric, Types<AnyFloat8>>>([](auto x) { return fn::abs(x); }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{mul(g, sgn(c.in(0)))}; },
    .ref = "np.abs(input)",
    .aliases = {"absolute"},
});

const Op& sign = def({
    .sig = "sign(Tensor input) -> Tensor",
    .doc = "-1, 0 or 1, as each element is negative, zero or positive. NaN gives 0.",
    .family = pointwise,
    .rule =
        [](Call& c) {
          if (is_complex(c.in(0).dtype()))
            throw not_implemented(
                "Unlike NumPy, rushlight.sign is not intended to support complex numbers. "
                "Please use rushlight.sgn instead.");
          rule::same(c);
        },
    .cpu = map<RealAndBool>([]<class T>(T x) { return T((x > T(0)) - (x < T(0))); }),
    .grad = [](const Call&, const Tensor& g) { return Grads{fresh_zeros(g)}; },
    .ref = "np.sign(input)",
});

const Op& sgn = def({
    .sig = "sgn(Tensor input) -> Tensor",
    .doc = "sign for real numbers; for complex ones the number of modulus 1 in the same direction, or 0.",
    .family = pointwise,
    .rule = rule::same,
    .kernel_name = "sign_cpu",
    .cpu = map<All>([]<class T>(T x) {
      if constexpr (is_complex_type<T>) {
        auto r = fn::abs(x);
        return r == 0 ? T(0) : x / r;
      } else {
        return T((x > T(0)) - (x < T(0)));
      }
    }),
    .saves = save(In0 | Out),
    .grad =
        [](const Call& c, const Tensor& g) {
          if (!is_complex(c.out().dtype())) return Grads{fresh_zeros(g)};
          // turning part only: (g - sgn * Re(g * conj(sgn))) / |x|, and 0 at 0
          Tensor r = abs(c.in(0)), radial = mul(c.out(), real(chain(g, c.out())));
          return Grads{masked_fill(div(sub(g, radial), r), eq(r, 0), 0)};
        },
    .ref = "np.sign(input)",
});

const Op& reciprocal = def({
    .sig = "reciprocal(Tensor input) -> Tensor",
    .doc = "1 / input. Integers become the default float.",
    .family = pointwise,
    .rule = rule::to_float,
    .cpu = map<FloatsAndComplex>([]<class T>(T x) { return T(1) / x; }),
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) { return Grads{neg(chain(g, square(c.out())))}; },
    .ref = "1 / input",
    .samples = {"pos(2,3)"},
});

const Op& square = def({
    .sig = "square(Tensor input) -> Tensor",
    .doc = "input * input.",
    .family = pointwise,
    .rule =
        [](Call& c) {
          rule::same(c);
          if (c.compute == Dtype::boolean) c.compute = c.meta0.dtype = Dtype::i64;
        },
    .kernel_name = "pow",
    .cpu = map<Numeric>([](auto x) { return x * x; }),
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{chain(g, mul(c.in(0), 2))}; },
    .grad_name = "PowBackward0",
    .ref = "np.square(input)",
});

const Op& addcmul = def({
    .sig = "addcmul(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
    .doc = "input + value * tensor1 * tensor2.",
    .family = pointwise,
    .rule = rule::broadcast,
    .kernel_name = "addcmul_cpu_out",
    .cpu = map<Numeric>([]<class T>(T a, T b, T d, T value) { return mul_add(T(value * b), d, a); }),
    .saves = {.for1 = In2, .for2 = In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{g, c.wants(1) ? chain(g, mul(c.in(2), c.arg(3))) : Tensor(),
                       c.wants(2) ? chain(g, mul(c.in(1), c.arg(3))) : Tensor()};
        },
    .ref = "input + value * tensor1 * tensor2",
    .samples = {"x(2,3), y(2,3), w(2,3)", "x(3), y(2,1), w(1,3), value=0.5"},
});

const Op& addcdiv = def({
    .sig = "addcdiv(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
    .doc = "input + value * tensor1 / tensor2, for floating-point and complex tensors.",
    .family = pointwise,
    .rule =
        [](Call& c) {
          if (!differentiable(c.in(1).dtype()) && !differentiable(c.in(2).dtype()))
            throw runtime_error(
                "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will "
                "perform a true division of tensor1 and tensor2. Divide with true_divide or floor_divide, "
                "multiply by value and add input instead.");
          rule::broadcast(c);
        },
    .kernel_name = "addcdiv_cpu_out",
    .cpu = map<FloatsAndComplex>([](auto a, auto b, auto d, auto value) { return a + value * b / d; }),
    .saves = {.for1 = In2, .for2 = In1 | In2},
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{g, c.wants(1) ? chain(g, mul(reciprocal(c.in(2)), c.arg(3))) : Tensor(),
                       c.wants(2) ? neg(chain(g, div(mul(c.in(1), c.arg(3)), square(c.in(2))))) : Tensor()};
        },
    .ref = "input + value * tensor1 / tensor2",
    .samples = {"x(2,3), y(2,3), pos(2,3)", "x(3), y(2,1), pos(1,3), value=0.5"},
});

}  // namespace rushlight::ops

namespace rushlight {

// A number on the left: addition and multiplication commute, the others have their own op.
Tensor operator+(const Value& a, const Value& b) { return a.is_number() ? ops::add(b, a) : ops::add(a, b); }
Tensor operator-(const Value& a, const Value& b) { return a.is_number() ? ops::rsub(b, a) : ops::sub(a, b); }
Tensor operator*(const Value& a, const Value& b) { return a.is_number() ? ops::mul(b, a) : ops::mul(a, b); }
Tensor operator/(const Value& a, const Value& b) {
  return a.is_number() ? ops::mul(ops::reciprocal(b), a) : ops::div(a, b);
}
Tensor operator-(const Tensor& a) { return ops::neg(a); }

}  // namespace rushlight

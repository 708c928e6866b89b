// Comparisons, extremes of two tensors, clamping, and tests for nan and infinity.
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

const Op& eq = def({
    .sig = "eq(Tensor input, Operand other) -> Tensor",
    .doc = "True where input is equal to other, broadcast against each other.",
    .family = pointwise,
    .rule = rule::compare,
    .cpu = map<AllAndFloat8>([](auto a, auto b) { return a == b; }),
    .ref = "input == other",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)", "ties(2,3), 1"},
});

const Op& ne = def({
    .sig = "ne(Tensor input, Operand other) -> Tensor",
    .doc = "True where input is different from other, broadcast against each other.",
    .family = pointwise,
    .rule = rule::compare,
    .cpu = map<AllAndFloat8>([](auto a, auto b) { return a != b; }),
    .ref = "input != other",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)", "ties(2,3), 1"},
    .aliases = {"not_equal"},
});

const Op& lt = def({
    .sig = "lt(Tensor input, Operand other) -> Tensor",
    .doc = "True where input is less than other, broadcast against each other.",
    .family = pointwise,
    .rule = rule::compare,
    .cpu = map<RealAndBool>([](auto a, auto b) { return a < b; }),
    .ref = "input < other",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)", "ties(2,3), 1"},
    .aliases = {"less"},
});

const Op& le = def({
    .sig = "le(Tensor input, Operand other) -> Tensor",
    .doc = "True where input is at most other, broadcast against each other.",
    .family = pointwise,
    .rule = rule::compare,
    .cpu = map<RealAndBool>([](auto a, auto b) { return a <= b; }),
    .ref = "input <= other",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)", "ties(2,3), 1"},
    .aliases = {"less_equal"},
});

const Op& gt = def({
    .sig = "gt(Tensor input, Operand other) -> Tensor",
    .doc = "True where input is greater than other, broadcast against each other.",
    .family = pointwise,
    .rule = rule::compare,
    .cpu = map<RealAndBool>([](auto a, auto b) { return a > b; }),
    .ref = "input > other",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)", "ties(2,3), 1"},
    .aliases = {"greater"},
});

const Op& ge = def({
    .sig = "ge(Tensor input, Operand other) -> Tensor",
    .doc = "True where input is at least other, broadcast against each other.",
    .family = pointwise,
    .rule = rule::compare,
    .cpu = map<RealAndBool>([](auto a, auto b) { return a >= b; }),
    .ref = "input >= other",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)", "ties(2,3), 1"},
    .aliases = {"greater_equal"},
});

namespace {

void refuse_complex(const Call& c) {
  for (auto& v : c.args)
    if (v.tag == Value::complex || (v.tag == Value::tensor && is_complex(v.as_tensor().dtype())))
      throw runtime_error(c.op.name, " not implemented for complex tensors.");
}
void extreme_rule(Call& c) {
  refuse_complex(c);
  rule::broadcast(c);
}
Tensor where_zero(const Tensor& keep, const Tensor& g) { return where(keep, g, 0); }

// Half of the gradient at ties, so that both sides together get all of it.
Tensor shared(const Tensor& g, const Tensor& wins, const Tensor& ties) {
  return where(ties, mul(g, 0.5), where_zero(wins, g));
}

}  // namespace

const Op& maximum = def({
    .sig = "maximum(Tensor input, Tensor other) -> Tensor",
    .doc = "The larger of two elements; nan if one of them is. Ties share the gradient evenly.",
    .family = pointwise,
    .forms = function | method | out_form,
    .rule = extreme_rule,
    .cpu = map<RealAndBool>([](auto a, auto b) { return fn::maximum(a, b); }),
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor ties = eq(c.in(0), c.in(1));
          return Grads{c.wants(0) ? shared(g, gt(c.in(0), c.in(1)), ties) : Tensor(),
                       c.wants(1) ? shared(g, lt(c.in(0), c.in(1)), ties) : Tensor()};
        },
    .ref = "np.maximum(input, other)",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
});

const Op& minimum = def({
    .sig = "minimum(Tensor input, Tensor other) -> Tensor",
    .doc = "The smaller of two elements; nan if one of them is. Ties share the gradient evenly.",
    .family = pointwise,
    .forms = function | method | out_form,
    .rule = extreme_rule,
    .cpu = map<RealAndBool>([](auto a, auto b) { return fn::minimum(a, b); }),
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor ties = eq(c.in(0), c.in(1));
          return Grads{c.wants(0) ? shared(g, lt(c.in(0), c.in(1)), ties) : Tensor(),
                       c.wants(1) ? shared(g, gt(c.in(0), c.in(1)), ties) : Tensor()};
        },
    .ref = "np.minimum(input, other)",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
});

const Op& fmax = def({
    .sig = "fmax(Tensor input, Tensor other) -> Tensor",
    .doc = "The larger of two elements; a nan loses against a number.",
    .family = pointwise,
    .forms = function | method | out_form,
    .rule = extreme_rule,
    .cpu = map<RealAndBool>([](auto a, auto b) { return (a >= b) | (b != b) ? a : b; }),
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor first = logical_or(ge(c.in(0), c.in(1)), isnan(c.in(1)));
          return Grads{where_zero(first, g), where_zero(logical_not(first), g)};
        },
    .ref = "np.fmax(input, other)",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
});

const Op& fmin = def({
    .sig = "fmin(Tensor input, Tensor other) -> Tensor",
    .doc = "The smaller of two elements; a nan loses against a number.",
    .family = pointwise,
    .forms = function | method | out_form,
    .rule = extreme_rule,
    .cpu = map<RealAndBool>([](auto a, auto b) { return (a <= b) | (b != b) ? a : b; }),
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Tensor first = logical_or(le(c.in(0), c.in(1)), isnan(c.in(1)));
          return Grads{where_zero(first, g), where_zero(logical_not(first), g)};
        },
    .ref = "np.fmin(input, other)",
    .samples = {"x(2,3), y(2,3)", "x(3,1), y(1,4)"},
});

// ---- clamp ----
namespace {

void clamp_rule(Call& c) {
  if (!c.has(1) && !c.has(2))
    throw runtime_error("torch.clamp: At least one of 'min' or 'max' must not be None");
  if (is_complex(c.in(0).dtype()) || c.arg(1).tag == Value::complex || c.arg(2).tag == Value::complex)
    throw not_implemented("clamp is not supported for complex types");
  rule::broadcast(c);
}
void clamp_kernel(Call& c) {
  if (c.has(1) && c.has(2))
    run_map(c, static_table<RealAndBool>([](auto x, auto lo, auto hi) {
              auto y = fn::clamp(x, lo, hi);
              y = lo != lo ? lo : y;  // a nan bound shows
              return hi != hi ? hi : y;
            }));
  else if (c.has(1))
    run_map(c, static_table<RealAndBool>([](auto x, auto lo) { return fn::maximum(x, lo); }),
            {c.arg(0), c.arg(1)}, "clamp_cpu");
  else
    run_map(c, static_table<RealAndBool>([](auto x, auto hi) { return fn::minimum(x, hi); }),
            {c.arg(0), c.arg(2)}, "clamp_cpu");
}
// Elements on a bound still pass their gradient.
Tensor inside(const Call& c) {
  if (c.has(1) && c.has(2)) return logical_and(ge(c.in(0), c.arg(1)), le(c.in(0), c.arg(2)));
  return c.has(1) ? ge(c.in(0), c.arg(1)) : le(c.in(0), c.arg(2));
}
// The bounds may be tensors or numbers.
Grads clamp_grad(const Call& c, const Tensor& g) {
  Tensor to_min, to_max;
  if (c.wants(1)) {
    Tensor low = lt(c.in(0), c.arg(1));
    to_min = where_zero(c.has(2) ? logical_and(low, lt(c.in(1), c.arg(2))) : low, g);
  }
  if (c.wants(2)) {
    Tensor high = gt(c.in(0), c.arg(2));
    to_max = where_zero(c.has(1) ? logical_or(high, lt(c.in(2), c.arg(1))) : high, g);
  }
  return {c.wants(0) ? where_zero(inside(c), g) : Tensor(), to_min, to_max};
}

}  // namespace

const Op& clamp_tensor = def({
    .sig = "clamp.Tensor(Tensor input, Tensor? min=None, Tensor? max=None) -> Tensor",
    .doc =
        "input limited to [min, max]; either bound may be left out. Where min exceeds max the result is max.",
    .family = pointwise,
    .rule = clamp_rule,
    .kernel_name = "clamp_cpu",
    .cpu = clamp_kernel,
    .saves = save(In0 | In1 | In2),
    .grad = clamp_grad,
    .grad_name = "ClampBackward0",
    .ref = "np.clip(input, min, max)",
    .samples = {"x(2,3), min=y(2,3)", "x(2,3), max=y(3)"},
    .aliases = {"clip"},
});

const Op& clamp = def({
    .sig = "clamp.Scalar(Tensor input, Operand? min=None, Operand? max=None) -> Tensor",
    .doc =
        "input limited to [min, max]; either bound may be left out. Where min exceeds max the result is max.",
    .family = pointwise,
    .rule = clamp_rule,
    .kernel_name = "clamp_scalar_cpu",
    .cpu = clamp_kernel,
    .saves = save(In0 | In1 | In2),
    .grad = clamp_grad,
    .grad_name = "ClampBackward1",
    .ref = "np.clip(input, min, max)",
    .samples = {"x(2,3), -0.5, 0.5", "x(2,3), min=0", "x(2,3), max=0.3"},
    .aliases = {"clip"},
});

const Op& clamp_min = def({
    .sig = "clamp_min(Tensor input, Operand min) -> Tensor",
    .doc = "The larger of input and min.",
    .family = pointwise,
    .rule = rule::broadcast,
    .kernel_name = "clamp_min_scalar_cpu",
    .cpu = map<RealAndBool>([](auto x, auto lo) { return fn::maximum(x, lo); }),
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? where_zero(ge(c.in(0), c.arg(1)), g) : Tensor(),
                       c.wants(1) ? where_zero(lt(c.in(0), c.arg(1)), g) : Tensor()};
        },
    .ref = "np.maximum(input, min)",
    .samples = {"x(2,3), 0.1", "x(2,3), y(3)"},
});

const Op& clamp_max = def({
    .sig = "clamp_max(Tensor input, Operand max) -> Tensor",
    .doc = "The smaller of input and max.",
    .family = pointwise,
    .rule = rule::broadcast,
    .kernel_name = "clamp_max_scalar_cpu",
    .cpu = map<RealAndBool>([](auto x, auto hi) { return fn::minimum(x, hi); }),
    .saves = save(In0 | In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? where_zero(le(c.in(0), c.arg(1)), g) : Tensor(),
                       c.wants(1) ? where_zero(gt(c.in(0), c.arg(1)), g) : Tensor()};
        },
    .ref = "np.minimum(input, max)",
    .samples = {"x(2,3), 0.1", "x(2,3), y(3)"},
});

// ---- nan and infinity ----
namespace {
// x is a real number, or one part of a complex one
template <class T> RL_INLINE T finite(T x, T nan, T high, T low) {
  constexpr T inf = std::numeric_limits<T>::infinity();
  return x != x ? nan : x == inf ? high : x == -inf ? low : x;
}
template <class T> bool is_infinite(T x) {
  if constexpr (std::floating_point<T>) return fn::abs(x) == std::numeric_limits<T>::infinity();
  else return false;
}
void refuse_complex_named(Call& c) {
  if (is_complex(c.in(0).dtype())) throw runtime_error(c.op.name, " does not support complex inputs.");
  rule::to_bool(c);
}
}  // namespace

const Op& isnan = def({
    .sig = "isnan(Tensor input) -> Tensor",
    .doc = "True where an element is nan.",
    .family = pointwise,
    .forms = function | method,
    .rule = rule::to_bool,
    .cpu = map<AllAndFloat8>([](auto x) { return x != x; }),
    .ref = "np.isnan(input)",
});

const Op& isinf = def({
    .sig = "isinf(Tensor input) -> Tensor",
    .doc = "True where an element is infinite, of either sign.",
    .family = pointwise,
    .forms = function | method,
    .rule = rule::to_bool,
    .kernel_name = "isinf",
    .cpu = map<All>([]<class T>(T x) -> bool {
      if constexpr (is_complex_type<T>) return is_infinite(x.real()) || is_infinite(x.imag());
      else return is_infinite(x);
    }),
    .ref = "np.isinf(input)",
});

const Op& isfinite = def({
    .sig = "isfinite(Tensor input) -> Tensor",
    .doc = "True where an element is neither infinite nor nan.",
    .family = pointwise,
    .forms = function | method,
    .rule = rule::to_bool,
    .kernel_name = "isfinite",
    .cpu = map<All>([]<class T>(T x) -> bool {
      if constexpr (is_complex_type<T>) return x.real() - x.real() == 0 && x.imag() - x.imag() == 0;
      else return x - x == 0;  // inf - inf is nan
    }),
    .ref = "np.isfinite(input)",
});

const Op& isposinf = def({
    .sig = "isposinf(Tensor input) -> Tensor",
    .doc = "True where an element is positive infinity.",
    .family = pointwise,
    .forms = function | method | out_form,
    .rule = refuse_complex_named,
    .cpu = map<RealAndBool>([](auto x) -> bool { return is_infinite(x) && x > 0; }),
    .ref = "np.isposinf(input)",
});

const Op& isneginf = def({
    .sig = "isneginf(Tensor input) -> Tensor",
    .doc = "True where an element is negative infinity.",
    .family = pointwise,
    .forms = function | method | out_form,
    .rule = refuse_complex_named,
    .cpu = map<RealAndBool>([]<class T>(T x) -> bool { return is_infinite(x) && x < T(0); }),
    .ref = "np.isneginf(input)",
});

const Op& signbit = def({
    .sig = "signbit(Tensor input) -> Tensor",
    .doc = "True where the sign bit is set: negative numbers, and -0.0.",
    .family = pointwise,
    .forms = function | method | out_form,
    .rule =
        [](Call& c) {
          if (is_complex(c.in(0).dtype()))
            throw not_implemented("signbit is not implemented for complex tensors.");
          rule::to_bool(c);
        },
    .cpu = map<RealAndBool>([]<class T>(T x) -> bool {
      if constexpr (std::floating_point<T>) return fn::copysign(T(1), x) < 0;
      else return x < T(0);
    }),
    .ref = "np.signbit(input)",
});

const Op& isreal = def({
    .sig = "isreal(Tensor input) -> Tensor",
    .doc = "True where the imaginary part is zero.",
    .family = pointwise,
    .forms = function | method,
    .rule = rule::to_bool,
    .cpu = map<AllAndFloat8>([]<class T>(T x) -> bool {
      if constexpr (is_complex_type<T>) return x.imag() == 0;
      else return true;
    }),
    .ref = "np.isreal(input)",
});

const Op& nan_to_num = def({
    .sig = "nan_to_num(Tensor input, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor",
    .doc = "nan replaced by `nan` (0), infinities by `posinf` and `neginf` (the largest and lowest finite "
           "numbers).",
    .family = pointwise,
    .rule = rule::same,
    .kernel_name = "nan_to_num",
    .cpu =
        [](Call& c) {
          if (!differentiable(c.compute))
            return run_map(c, static_table<IntegersAndBool>([](auto x) { return x; }));
          double largest = 0;
          visit(c, real_of(c.compute), [&]<class T>() {
            if constexpr (!is_complex_type<T>) largest = double(std::numeric_limits<T>::max());
          });
          run_map(c, static_table<FloatsAndComplex>([]<class T>(T x, T nan, T high, T low) {
                    if constexpr (is_complex_type<T>)
                      return T(finite(x.real(), nan.real(), high.real(), low.real()),
                               finite(x.imag(), nan.real(), high.real(), low.real()));
                    else return finite(x, nan, high, low);
                  }),
                  {c.arg(0), c.has(1) ? c.arg(1) : Value(0), c.has(2) ? c.arg(2) : Value(largest),
                   c.has(3) ? c.arg(3) : Value(-largest)});
        },
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) { return Grads{where_zero(isfinite(c.in(0)), g)}; },
    .ref = "np.nan_to_num(input, nan=nan or 0.0, posinf=posinf, neginf=neginf)",
    .samples = {"x(2,3)", "special(2,3)", "special(2,3), nan=1.0, posinf=2.0, neginf=-3.0"},
});

}  // namespace rushlight::ops

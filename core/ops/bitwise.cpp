// Bit operations on integers and bools, shifts, and the greatest common divisor.
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

// A shift by a negative amount or past the width moves every bit out.
template <class T> constexpr bool in_width(T n) { return n >= 0 && int64_t(n) < int64_t(8 * sizeof(T)); }

constexpr auto shift_left = []<class T>(T a, T n) -> T {
  return in_width(n) ? T(std::make_unsigned_t<T>(a) << (n & T(8 * sizeof(T) - 1))) : T(0);
};
constexpr auto shift_right = []<class T>(T a, T n) -> T {
  return a >> (in_width(n) ? n : T(8 * sizeof(T) - 1));  // all that is left then is the sign
};
void left_kernel(Call& c) {
  run_map(c, static_table<Integers>(shift_left), {c.arg(0), c.arg(1)}, "lshift_cpu");
}
void right_kernel(Call& c) {
  if (c.compute == Dtype::u8)  // no sign to keep
    return run_map(
        c, static_table<Types<uint8_t>>([](uint8_t a, uint8_t n) { return uint8_t(n < 8 ? a >> n : 0); }),
        {c.arg(0), c.arg(1)}, "rshift_cpu");
  run_map(c, static_table<Integers>(shift_right), {c.arg(0), c.arg(1)}, "rshift_cpu");
}

template <class T> T gcd_of(T a, T b) {
  auto x = std::make_unsigned_t<T>(fn::abs(a)), y = std::make_unsigned_t<T>(fn::abs(b));
  while (y) {
    auto r = std::make_unsigned_t<T>(x % y);
    x = y;
    y = r;
  }
  return T(x);
}

}  // namespace

const Op& bitwise_and = def({
    .sig = "bitwise_and(Operand input, Operand other) -> Tensor",
    .doc = "Bits set in both elements; for bools, logical and.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = map<IntegersAndBool>([](auto a, auto b) { return a & b; }),
    .ref = "np.bitwise_and(input, other)",
    .samples = {"int(2,3), int(2,3)", "mask(3,1), mask(1,4)", "int(2,3), 5"},
});

const Op& bitwise_or = def({
    .sig = "bitwise_or(Operand input, Operand other) -> Tensor",
    .doc = "Bits set in at least one of the elements; for bools, logical or.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = map<IntegersAndBool>([](auto a, auto b) { return a | b; }),
    .ref = "np.bitwise_or(input, other)",
    .samples = {"int(2,3), int(2,3)", "mask(3,1), mask(1,4)", "int(2,3), 5"},
});

const Op& bitwise_xor = def({
    .sig = "bitwise_xor(Operand input, Operand other) -> Tensor",
    .doc = "Bits set in exactly one of the elements; for bools, logical xor.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = map<IntegersAndBool>([](auto a, auto b) { return a ^ b; }),
    .ref = "np.bitwise_xor(input, other)",
    .samples = {"int(2,3), int(2,3)", "mask(3,1), mask(1,4)", "int(2,3), 5"},
});

const Op& bitwise_not = def({
    .sig = "bitwise_not(Tensor input) -> Tensor",
    .doc = "All bits flipped; for bools, logical not.",
    .family = pointwise,
    .rule = rule::same,
    .cpu = map<IntegersAndBool>([]<class T>(T x) {
      if constexpr (std::same_as<T, bool>) return !x;
      else return ~x;
    }),
    .ref = "np.bitwise_not(input)",
    .samples = {"int(2,3)", "mask(2,3)"},
});

const Op& bitwise_left_shift = def({
    .sig = "bitwise_left_shift(Operand input, Operand other) -> Tensor",
    .doc = "Bits of input moved up by other places.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = left_kernel,
    .ref = "np.left_shift(input, other)",
    .samples = {"int(2,3), count(2,3)", "int(2,3), 2"},
});

const Op& bitwise_right_shift = def({
    .sig = "bitwise_right_shift(Operand input, Operand other) -> Tensor",
    .doc = "Bits of input moved down by other places; the sign stays.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = right_kernel,
    .ref = "np.right_shift(input, other)",
    .samples = {"int(2,3), count(2,3)", "int(2,3), 2"},
});

const Op& gcd = def({
    .sig = "gcd(Tensor input, Tensor other) -> Tensor",
    .doc = "Greatest common divisor of integers, never negative; gcd(0, 0) is 0.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = map<Integers>([](auto a, auto b) { return gcd_of(a, b); }),
    .ref = "np.gcd(input, other)",
    .samples = {"int(2,3), int(2,3)", "int(3,1), int(1,4)"},
});

const Op& lcm = def({
    .sig = "lcm(Tensor input, Tensor other) -> Tensor",
    .doc = "Least common multiple of integers, never negative.",
    .family = pointwise,
    .rule = rule::broadcast,
    .cpu = map<Integers>([]<class T>(T a, T b) {
      T g = gcd_of(a, b);
      return g == 0 ? T(0) : fn::abs(T(a / g * b));
    }),
    .ref = "np.lcm(input, other)",
    .samples = {"int(2,3), int(2,3)", "int(3,1), int(1,4)"},
});

}  // namespace rushlight::ops

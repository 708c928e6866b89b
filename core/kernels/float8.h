// The 8-bit floating types as one-byte values: conversion from float with round to nearest even, and to float by table.
// They are stored and converted; arithmetic on them is done in float by the kernels that take them at all.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace rushlight {

// What happens above the largest finite number:
//   ieee   infinities and NaNs as in the wider types
//   fn     no infinity: what is out of range becomes the largest number; all ones is NaN
//   fnuz   no infinity: what is out of range becomes NaN, which has the code of negative zero; there is one zero
enum class Float8Kind { ieee, fn, fnuz };

template <int Mantissa, int Bias, Float8Kind Kind> struct float8 {
  uint8_t bits;

  float8() = default;
  template <class T>
    requires std::is_arithmetic_v<T>
  explicit constexpr float8(T value) : bits(encode(static_cast<float>(value))) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  explicit constexpr operator T() const {
    return static_cast<T>(values[bits]);
  }

 private:
  static constexpr uint32_t infinity_code = (0x7fu >> Mantissa) << Mantissa;
  static constexpr uint32_t largest_code = Kind == Float8Kind::ieee ? infinity_code - 1
                                           : Kind == Float8Kind::fn ? 0x7e
                                                                    : 0x7f;

  static constexpr uint8_t encode(float value) {
    constexpr int shift = 23 - Mantissa;
    const uint32_t word = std::bit_cast<uint32_t>(value), mag = word & 0x7fffffffu;
    const uint32_t sign = word >> 24 & 0x80u;
    constexpr uint32_t smallest_normal = uint32_t(128 - Bias) << 23;
    // floats just above this one are spaced like the subnormals: the addition rounds
    constexpr uint32_t anchor = uint32_t(151 - Bias - Mantissa) << 23;
    const float tiny = std::bit_cast<float>(mag < smallest_normal ? mag : 0u) + std::bit_cast<float>(anchor);
    const uint32_t subnormal = std::bit_cast<uint32_t>(tiny) - anchor;
    const uint32_t normal =
        (mag - (uint32_t(127 - Bias) << 23) + (1u << (shift - 1)) - 1 + (mag >> shift & 1u)) >> shift;
    const uint32_t code = mag < smallest_normal ? subnormal : normal;
    if constexpr (Kind == Float8Kind::fnuz) {
      if (code > largest_code) return 0x80;
      return static_cast<uint8_t>(code ? sign | code : 0u);
    } else {
      constexpr uint32_t beyond = Kind == Float8Kind::ieee ? infinity_code : largest_code;
      const uint32_t finite = code <= largest_code ? code : beyond;
      return static_cast<uint8_t>(sign | (mag > 0x7f800000u ? 0x7fu : finite));
    }
  }

  static constexpr float decode(uint32_t code) {
    const bool negative = code & 0x80u;
    const uint32_t mag = code & 0x7fu, exponent = mag >> Mantissa;
    float value = std::numeric_limits<float>::quiet_NaN();
    if (Kind == Float8Kind::fnuz ? code == 0x80 : mag > largest_code) {
      if (Kind == Float8Kind::ieee && mag == infinity_code) value = std::numeric_limits<float>::infinity();
    } else {
      // the mantissa times a power of two, both exact
      const uint32_t fraction = mag & ((1u << Mantissa) - 1u);
      const uint32_t scale = 127u + (exponent ? exponent : 1u) - Bias - Mantissa;
      value = static_cast<float>(exponent ? fraction | 1u << Mantissa : fraction) *
              std::bit_cast<float>(scale << 23);
    }
    return negative ? -value : value;
  }
  static constexpr std::array<float, 256> values = [] {
    std::array<float, 256> table{};
    for (uint32_t code = 0; code < 256; ++code) table[code] = decode(code);
    return table;
  }();
};

using float8_e4m3fn = float8<3, 7, Float8Kind::fn>;
using float8_e5m2 = float8<2, 15, Float8Kind::ieee>;
using float8_e4m3fnuz = float8<3, 8, Float8Kind::fnuz>;
using float8_e5m2fnuz = float8<2, 16, Float8Kind::fnuz>;

// Powers of two from 2^-127 to 2^127, and NaN: exponents of blocks of smaller floats. Signs are lost, infinities are NaN.
struct float8_e8m0fnu {
  uint8_t bits;

  float8_e8m0fnu() = default;
  template <class T>
    requires std::is_arithmetic_v<T>
  explicit constexpr float8_e8m0fnu(T value) : bits(encode(static_cast<float>(value))) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  explicit constexpr operator T() const {
    // 2^-127 is a subnormal float
    const uint32_t word = bits == 0xff ? 0x7fc00000u : bits ? uint32_t(bits) << 23 : 0x00400000u;
    return static_cast<T>(std::bit_cast<float>(word));
  }

 private:
  // To the nearest power, in the middle between two to the larger one; what is above 2^-127 becomes at least 2^-126.
  static constexpr uint8_t encode(float value) {
    const uint32_t mag = std::bit_cast<uint32_t>(value) & 0x7fffffffu;
    const uint32_t exponent = mag >> 23, fraction = mag & 0x7fffffu;
    if (exponent == 0xff) return 0xff;
    return static_cast<uint8_t>(exponent + (exponent ? fraction >= 0x400000u : fraction > 0x400000u));
  }
};

template <class T> constexpr bool is_float8_type = false;
template <> inline constexpr bool is_float8_type<float8_e8m0fnu> = true;
template <int M, int B, Float8Kind K> constexpr bool is_float8_type<float8<M, B, K>> = true;
template <class T>
concept Float8 = is_float8_type<T>;

static_assert(sizeof(float8_e4m3fn) == 1 && std::is_trivially_copyable_v<float8_e4m3fn>);

}  // namespace rushlight

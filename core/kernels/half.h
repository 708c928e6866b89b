// The two 16-bit floating types, half (IEEE binary16) and bfloat16, as plain two-byte values: conversions
// with round to nearest even, arithmetic through float, limits, and array converters that the compiler
// vectorises.
#pragma once

#include <bit>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace rushlight {

#ifndef RUSHLIGHT_INLINE
#define RUSHLIGHT_INLINE inline __attribute__((always_inline))
#endif

namespace detail {

// Branch-free apart from selects, so that loops over it vectorise. NaN keeps its payload and becomes quiet,
// as the hardware conversion does.
RUSHLIGHT_INLINE constexpr uint16_t half_bits(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t mag = bits & 0x7fffffffu;
  // 65536 and above (after rounding, 65520 and above reaches infinity through the carry of `normal`)
  const uint32_t special = mag > 0x7f800000u ? 0x7e00u | ((mag >> 13) & 0x3ffu) : 0x7c00u;
  const uint32_t normal = (mag - 0x38000000u + 0xfffu + ((mag >> 13) & 1u)) >> 13;
  // below 2^-14: the spacing of floats just above 0.5 is exactly the smallest half, so the addition rounds
  const float tiny = std::bit_cast<float>(mag < 0x38800000u ? mag : 0u) + 0.5f;
  const uint32_t subnormal = std::bit_cast<uint32_t>(tiny) - 0x3f000000u;
  const uint32_t finite = mag < 0x38800000u ? subnormal : normal;
  return static_cast<uint16_t>(sign | (mag >= 0x47800000u ? special : finite));
}

RUSHLIGHT_INLINE constexpr float half_value(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t mag = static_cast<uint32_t>(bits & 0x7fffu) << 13;
  const uint32_t normal = mag + 0x38000000u;
  const uint32_t special = mag + 0x70000000u;
  const float tiny = std::bit_cast<float>(mag + 0x38800000u) - std::bit_cast<float>(0x38800000u);
  const uint32_t finite = mag < 0x00800000u ? std::bit_cast<uint32_t>(tiny) : normal;
  const uint32_t quiet = mag > 0x0f800000u ? 0x00400000u : 0u;
  return std::bit_cast<float>(sign | (mag >= 0x0f800000u ? special | quiet : finite));
}

RUSHLIGHT_INLINE constexpr uint16_t bfloat16_bits(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

RUSHLIGHT_INLINE constexpr float bfloat16_value(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace detail

// Constructors and conversions are explicit, so that no 16-bit rounding happens unseen. double goes through
// float first (two roundings), integers too.
struct half {
  uint16_t bits;

  half() = default;
  template <class T>
    requires std::is_arithmetic_v<T>
  RUSHLIGHT_INLINE explicit constexpr half(T value) : bits(detail::half_bits(static_cast<float>(value))) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  RUSHLIGHT_INLINE explicit constexpr operator T() const {
    return static_cast<T>(detail::half_value(bits));
  }
  static constexpr half from_bits(uint16_t bits) { return std::bit_cast<half>(bits); }
};

struct bfloat16 {
  uint16_t bits;

  bfloat16() = default;
  template <class T>
    requires std::is_arithmetic_v<T>
  RUSHLIGHT_INLINE explicit constexpr bfloat16(T value)
      : bits(detail::bfloat16_bits(static_cast<float>(value))) {}
  RUSHLIGHT_INLINE explicit constexpr bfloat16(half value) : bfloat16(static_cast<float>(value)) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  RUSHLIGHT_INLINE explicit constexpr operator T() const {
    return static_cast<T>(detail::bfloat16_value(bits));
  }
  RUSHLIGHT_INLINE explicit constexpr operator half() const { return half(detail::bfloat16_value(bits)); }
  static constexpr bfloat16 from_bits(uint16_t bits) { return std::bit_cast<bfloat16>(bits); }
};

static_assert(sizeof(half) == 2 && std::is_trivially_copyable_v<half>);
static_assert(sizeof(bfloat16) == 2 && std::is_trivially_copyable_v<bfloat16>);

template <class T>
concept HalfPrecision = std::same_as<T, half> || std::same_as<T, bfloat16>;

// Each operation is done in float and rounded once to 16 bits.
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr T operator+(T a, T b) {
  return T(static_cast<float>(a) + static_cast<float>(b));
}
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr T operator-(T a, T b) {
  return T(static_cast<float>(a) - static_cast<float>(b));
}
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr T operator*(T a, T b) {
  return T(static_cast<float>(a) * static_cast<float>(b));
}
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr T operator/(T a, T b) {
  return T(static_cast<float>(a) / static_cast<float>(b));
}
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr T operator-(T a) {
  return T::from_bits(static_cast<uint16_t>(a.bits ^ 0x8000u));
}
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr T& operator+=(T& a, T b) {
  return a = a + b;
}
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr T& operator-=(T& a, T b) {
  return a = a - b;
}
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr T& operator*=(T& a, T b) {
  return a = a * b;
}
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr T& operator/=(T& a, T b) {
  return a = a / b;
}
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr bool operator==(T a, T b) {
  return static_cast<float>(a) == static_cast<float>(b);
}
template <HalfPrecision T>
RUSHLIGHT_INLINE constexpr auto operator<=>(T a, T b) {
  return static_cast<float>(a) <=> static_cast<float>(b);
}

// The type in which arithmetic on T is carried out.
template <class T>
struct ComputeType {
  using type = T;
};
template <HalfPrecision T>
struct ComputeType<T> {
  using type = float;
};
template <class T>
using compute_t = typename ComputeType<T>::type;

// Arrays. The ranges must not overlap.
RUSHLIGHT_INLINE void convert_array(const half* __restrict__ from, float* __restrict__ to, size_t count) {
  size_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  }
#endif
  for (; i < count; ++i) to[i] = static_cast<float>(from[i]);
}

RUSHLIGHT_INLINE void convert_array(const float* __restrict__ from, half* __restrict__ to, size_t count) {
  size_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= count; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
  }
#endif
  for (; i < count; ++i) to[i] = half(from[i]);
}

RUSHLIGHT_INLINE void convert_array(const bfloat16* __restrict__ from, float* __restrict__ to, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]);
}

RUSHLIGHT_INLINE void convert_array(const float* __restrict__ from, bfloat16* __restrict__ to, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] = bfloat16(from[i]);
}

}  // namespace rushlight

namespace std {

template <>
struct numeric_limits<rushlight::half> {
  static constexpr bool is_specialized = true;
  static constexpr bool is_signed = true, is_integer = false, is_exact = false, is_iec559 = true;
  static constexpr bool has_infinity = true, has_quiet_NaN = true;
  static constexpr int digits = 11, radix = 2, min_exponent = -13, max_exponent = 16;
  static constexpr rushlight::half min() { return rushlight::half::from_bits(0x0400); }
  static constexpr rushlight::half max() { return rushlight::half::from_bits(0x7bff); }
  static constexpr rushlight::half lowest() { return rushlight::half::from_bits(0xfbff); }
  static constexpr rushlight::half epsilon() { return rushlight::half::from_bits(0x1400); }
  static constexpr rushlight::half infinity() { return rushlight::half::from_bits(0x7c00); }
  static constexpr rushlight::half quiet_NaN() { return rushlight::half::from_bits(0x7e00); }
  static constexpr rushlight::half denorm_min() { return rushlight::half::from_bits(0x0001); }
};

template <>
struct numeric_limits<rushlight::bfloat16> {
  static constexpr bool is_specialized = true;
  static constexpr bool is_signed = true, is_integer = false, is_exact = false, is_iec559 = false;
  static constexpr bool has_infinity = true, has_quiet_NaN = true;
  static constexpr int digits = 8, radix = 2, min_exponent = -125, max_exponent = 128;
  static constexpr rushlight::bfloat16 min() { return rushlight::bfloat16::from_bits(0x0080); }
  static constexpr rushlight::bfloat16 max() { return rushlight::bfloat16::from_bits(0x7f7f); }
  static constexpr rushlight::bfloat16 lowest() { return rushlight::bfloat16::from_bits(0xff7f); }
  static constexpr rushlight::bfloat16 epsilon() { return rushlight::bfloat16::from_bits(0x3c00); }
  static constexpr rushlight::bfloat16 infinity() { return rushlight::bfloat16::from_bits(0x7f80); }
  static constexpr rushlight::bfloat16 quiet_NaN() { return rushlight::bfloat16::from_bits(0x7fc0); }
  static constexpr rushlight::bfloat16 denorm_min() { return rushlight::bfloat16::from_bits(0x0001); }
};

}  // namespace std

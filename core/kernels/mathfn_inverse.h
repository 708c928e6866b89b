// The inverse trigonometric functions. Included by mathfn.h.
#pragma once

namespace rushlight::fn {

namespace detail {

inline constexpr float kHalfPi = 0x1.921fb6p+0f, kHalfPiLow = -0x1.777a5cp-25f;  // their sum is pi/2

// (atan(t) - t) / t for 0 <= t <= 1, z = t^2. This polynomial and the one of asin are minimax fits of the relative
// error (weighted least squares by Lawson's iteration), coefficients rounded one after the other.
RUSHLIGHT_INLINE float atan_tail(float z) {
  return z * poly(z, -0x1.55553ep-2f, 0x1.9991e6p-3f, -0x1.2420b6p-3f, 0x1.c08f64p-4f, -0x1.58155ep-4f,
                  0x1.da5ed4p-5f, -0x1.fdfc1cp-6f, 0x1.64c1cep-7f, -0x1.d4984ap-10f);
}
// (asin(s) - s) / s for 0 <= s <= 1/2, z = s^2
RUSHLIGHT_INLINE float asin_tail(float z) {
  return z * poly(z, 0x1.5555c8p-3f, 0x1.330204p-4f, 0x1.747bb8p-5f, 0x1.8c3e50p-6f, 0x1.595c60p-5f);
}

// asin(s) = s + low, with s = |x| up to 1/2, and s = sqrt((1 - |x|) / 2) beyond, where asin |x| = pi/2 - 2 asin(s);
// nan for |x| > 1.
struct AsinParts {
  float s, low;
};
RUSHLIGHT_INLINE AsinParts asin_reduce(float a) {
  // The lesser of both is the one wanted. (A choice by a > 0.5 would put the root into a branch.)
  const float below = a * a, above = fn::fma(a, -0.5f, 0.5f), root = fn::sqrt(above);
  const float z = above > below ? below : above, s = root > a ? a : root;
  return {s, s * asin_tail(z)};
}

}  // namespace detail

RUSHLIGHT_INLINE float asin(float x) {
  const float a = fn::abs(x);
  const detail::AsinParts p = detail::asin_reduce(a);
  // Half of pi/2 comes in last, so that the rounding of the difference counts less.
  constexpr float half = 0.5f * detail::kHalfPi;
  const float far = (fn::fma(p.s, -2.0f, half) + fn::fma(p.low, -2.0f, detail::kHalfPiLow)) + half;
  return fn::copysign(a > 0.5f ? far : p.s + p.low, x);
}
RUSHLIGHT_INLINE float acos(float x) {
  const float a = fn::abs(x), sign = fn::copysign(1.0f, x);
  const detail::AsinParts p = detail::asin_reduce(a);
  // pi/2 - asin(x) near 0; 2 asin(s) for x > 1/2, pi - 2 asin(s) for x < -1/2
  const float turn = a > 0.5f ? 1.0f - sign : 1.0f, scale = a > 0.5f ? 2.0f * sign : -sign;
  return fn::fma(p.s, scale, turn * detail::kHalfPi) + fn::fma(p.low, scale, turn * detail::kHalfPiLow);
}
RUSHLIGHT_INLINE float atan(float x) {
  const float a = fn::abs(x);
  const bool far = a > 1.0f;  // atan(a) = pi/2 - atan(1 / a)
  const float t = far ? 1.0f / a : a;
  const float low = t * detail::atan_tail(t * t);
  const float result = far ? (detail::kHalfPi - t) + (detail::kHalfPiLow - low) : t + low;
  return fn::copysign(result, x);
}
// Zeros and infinities of both arguments as C99 has them.
RUSHLIGHT_INLINE float atan2(float y, float x) {
  const float a = fn::abs(y), b = fn::abs(x);
  const bool steep = a > b;
  const float ratio = (steep ? b : a) / (steep ? a : b);
  const float t = a == b ? (a == 0.0f ? 0.0f : 1.0f) : ratio;
  const float low = t * detail::atan_tail(t * t);
  // quarter turns, plus or minus atan(t)
  const bool left = static_cast<int32_t>(detail::bits(x)) < 0;
  const float turn = steep ? 1.0f : (left ? 2.0f : 0.0f);
  const float sign = steep != left ? -1.0f : 1.0f;
  const float result = fn::fma(t, sign, turn * detail::kHalfPi) +
                       fn::fma(low, sign, turn * detail::kHalfPiLow);
  return fn::copysign(result, y);
}
RUSHLIGHT_INLINE double asin(double x) { return std::asin(x); }                 // library
RUSHLIGHT_INLINE double acos(double x) { return std::acos(x); }                 // library
RUSHLIGHT_INLINE double atan(double x) { return std::atan(x); }                 // library
RUSHLIGHT_INLINE double atan2(double y, double x) { return std::atan2(y, x); }  // library

}  // namespace rushlight::fn

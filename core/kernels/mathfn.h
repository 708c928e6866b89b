// The element-wise functions that kernels are written in, as small inline functions for float, double and
// std::complex. Plain loops over the float versions (and over double exp, log, sigmoid, tanh, and sin and cos of ordinary arguments) vectorise: they use
// selects instead of branches, bit patterns instead of library calls, and explicit fma, so that every
// instruction set gives the same bits. Float results are within 2 ulp over the whole range (erfc and tan 4). Functions
// that say "library" call libm and stay scalar. Rarer functions (gamma family, erfinv, i0) are in
// mathfn_special.h, the inverse trigonometric functions in mathfn_inverse.h, those that have a shorter form for ordinary
// arguments in mathfn_short.h.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

#ifndef RUSHLIGHT_INLINE
#define RUSHLIGHT_INLINE inline __attribute__((always_inline))
#endif

namespace rushlight::fn {

// ---- single instructions

RUSHLIGHT_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
RUSHLIGHT_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
RUSHLIGHT_INLINE float sqrt(float x) { return __builtin_sqrtf(x); }
RUSHLIGHT_INLINE double sqrt(double x) { return __builtin_sqrt(x); }
RUSHLIGHT_INLINE float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
RUSHLIGHT_INLINE double rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }
RUSHLIGHT_INLINE float floor(float x) { return __builtin_floorf(x); }
RUSHLIGHT_INLINE double floor(double x) { return __builtin_floor(x); }
RUSHLIGHT_INLINE float ceil(float x) { return __builtin_ceilf(x); }
RUSHLIGHT_INLINE double ceil(double x) { return __builtin_ceil(x); }
RUSHLIGHT_INLINE float trunc(float x) { return __builtin_truncf(x); }
RUSHLIGHT_INLINE double trunc(double x) { return __builtin_trunc(x); }
// Halves go to the even neighbour.
RUSHLIGHT_INLINE float round(float x) { return __builtin_rintf(x); }
RUSHLIGHT_INLINE double round(double x) { return __builtin_rint(x); }
RUSHLIGHT_INLINE float copysign(float x, float sign) { return __builtin_copysignf(x, sign); }
RUSHLIGHT_INLINE double copysign(double x, double sign) { return __builtin_copysign(x, sign); }
RUSHLIGHT_INLINE float abs(float x) { return __builtin_fabsf(x); }
RUSHLIGHT_INLINE double abs(double x) { return __builtin_fabs(x); }
// The most negative integer is its own absolute value, as two's complement has it.
template <std::integral T>
RUSHLIGHT_INLINE T abs(T x) {
  return x < T{0} ? static_cast<T>(std::make_unsigned_t<T>{0} - static_cast<std::make_unsigned_t<T>>(x)) : x;
}
RUSHLIGHT_INLINE bool abs(bool x) { return x; }

// A NaN on either side wins.
template <class T>
RUSHLIGHT_INLINE T maximum(T a, T b) {
  return (a > b) | (a != a) ? a : b;
}
template <class T>
RUSHLIGHT_INLINE T minimum(T a, T b) {
  return (a < b) | (a != a) ? a : b;
}

// x limited to [lo, hi], hi where they cross; a NaN in x stays. (Comparisons in this order vectorise, minimum of
// maximum does not.)
template <class T>
RUSHLIGHT_INLINE T clamp(T x, T lo, T hi) {
  const T raised = x < lo ? lo : x;
  return raised > hi ? hi : raised;
}

// ---- helpers

namespace detail {

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr double kInfD = std::numeric_limits<double>::infinity();
inline constexpr double kNanD = std::numeric_limits<double>::quiet_NaN();

RUSHLIGHT_INLINE uint32_t bits(float x) { return std::bit_cast<uint32_t>(x); }
RUSHLIGHT_INLINE uint64_t bits(double x) { return std::bit_cast<uint64_t>(x); }
RUSHLIGHT_INLINE float from_bits(uint32_t x) { return std::bit_cast<float>(x); }
RUSHLIGHT_INLINE double from_bits(uint64_t x) { return std::bit_cast<double>(x); }

// Coefficients in ascending order.
template <class T, class... C>
RUSHLIGHT_INLINE T poly(T x, T first, C... rest) {
  if constexpr (sizeof...(rest) == 0) {
    return first;
  } else {
    return fn::fma(poly(x, static_cast<T>(rest)...), x, first);
  }
}

// Adding one of these rounds to an integer, which then sits in the low bits.
inline constexpr float kRound = 12582912.0f;           // 1.5 * 2^23
inline constexpr double kRoundD = 6755399441055744.0;  // 1.5 * 2^52

// (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2
RUSHLIGHT_INLINE float exp_tail(float r) {
  return poly(r, 4.9999997e-01f, 1.6666546e-01f, 4.1667435e-02f, 8.366265e-03f, 1.3870678e-03f);
}
RUSHLIGHT_INLINE double exp_tail(double r) {
  return poly(r, 0.5, 0.16666666666666685, 0.04166666666666608, 0.008333333333316697, 0.0013888888889120328,
              0.00019841269897237002, 2.4801586920820876e-05, 2.7557233992970197e-06, 2.755758455303101e-07,
              2.511234491185942e-08, 2.0826370788508224e-09);
}

// x - n ln 2 for the integer n = t - round
RUSHLIGHT_INLINE float exp_rest(float x, float n) {
  return fn::fma(n, 0x1.05c610p-29f, fn::fma(n, -0x1.62e430p-1f, x));
}

// 2^(u - 254) times value, for 2 <= u <= 508 in the low bits of an integer; two steps, so that the last one rounds
// into the subnormal range correctly and overflows to infinity.
RUSHLIGHT_INLINE float scale(float value, uint32_t u) {
  const uint32_t half = u >> 1;
  return value * from_bits(half << 23) * from_bits((u - half) << 23);
}
RUSHLIGHT_INLINE double scale(double value, uint64_t u) {  // 2^(u - 2046) times value
  const uint64_t half = u >> 1;
  return value * from_bits(half << 52) * from_bits((u - half) << 52);
}
// The lesser of two numbers that are not negative; a NaN counts as large.
RUSHLIGHT_INLINE float least(float a, float b) { return from_bits(std::min(bits(a), bits(b))); }
RUSHLIGHT_INLINE double least(double a, double b) {
  return std::bit_cast<double>(std::min(std::bit_cast<int64_t>(a), std::bit_cast<int64_t>(b)));
}

// e^x * 2^shift. NaN passes through the first clamp because every comparison with it is false; the second one, on
// integers, leaves the NaN that is in the rest. (Two clamps of one value in a row compile to many instructions.)
RUSHLIGHT_INLINE float exp_shifted(float x, int shift) {
  constexpr float round = kRound + 254.0f;  // low bits: n + 254
  x = x < -105.0f ? -105.0f : x;
  const float t = least(fn::fma(x, 0x1.715476p+0f, round), round + 131.0f);
  const float r = exp_rest(x, t - round);
  return scale(1.0f + fn::fma(r * r, exp_tail(r), r), bits(t) + static_cast<uint32_t>(shift));
}

// e^x where the result is a normal number, |x| < 87 (nan stays, too)
RUSHLIGHT_INLINE float exp_plain(float x) {
  constexpr float round = kRound + 127.0f;  // low bits: the exponent of 2^n
  const float t = fn::fma(x, 0x1.715476p+0f, round);
  const float r = exp_rest(x, t - round);
  return (1.0f + fn::fma(r * r, exp_tail(r), r)) * from_bits(bits(t) << 23);
}

}  // namespace detail

// ---- exponentials

RUSHLIGHT_INLINE float exp(float x) { return detail::exp_shifted(x, 0); }

RUSHLIGHT_INLINE double exp(double x) {
  constexpr double round = detail::kRoundD + 2046.0;
  x = x < -746.0 ? -746.0 : x;
  const double t = detail::least(fn::fma(x, 0x1.71547652b82fep+0, round), round + 1025.0), n = t - round;
  const double r = fn::fma(n, -0x1.abc9e3b39803fp-56, fn::fma(n, -0x1.62e42fefa39efp-1, x));
  return detail::scale(1.0 + fn::fma(r * r, detail::exp_tail(r), r), detail::bits(t));
}

RUSHLIGHT_INLINE float exp2(float x) {
  constexpr float round = detail::kRound + 254.0f;
  x = x < -151.0f ? -151.0f : x;
  const float t = detail::least(x + round, round + 131.0f);
  const float r = (x - (t - round)) * 0x1.62e430p-1f;
  return detail::scale(1.0f + fn::fma(r * r, detail::exp_tail(r), r), detail::bits(t));
}
RUSHLIGHT_INLINE double exp2(double x) { return std::exp2(x); }  // library

RUSHLIGHT_INLINE float expm1(float x) {
  constexpr float round = detail::kRound + 126.0f;  // low bits: the exponent of 2^(n-1), finite for n = 128
  const float y = x < -18.0f ? -18.0f : x;
  const float t = detail::least(fn::fma(y, 0x1.715476p+0f, round), round + 128.0f);
  const float r = detail::exp_rest(y, t - round);
  const float p = fn::fma(r * r, detail::exp_tail(r), r);  // e^r - 1
  const float s = detail::from_bits(detail::bits(t) << 23);
  const float result = 2.0f * fn::fma(s, p, s - 0.5f);
  return x == 0.0f ? x : result;
}
RUSHLIGHT_INLINE double expm1(double x) { return std::expm1(x); }  // library

namespace detail {
// From e^-|x|, which is at most 1: no overflow, and the far negative tail stays exact.
template <std::floating_point T>
RUSHLIGHT_INLINE T sigmoid_of(T x, T e) {
  const T below = e / (T(1) + e), top = x < T(0) ? e : T(1);
  return fn::fma(-top, below, top);  // e / (1 + e) = e - e below: the rounding of 1 + e counts little
}
}  // namespace detail

template <std::floating_point T>
RUSHLIGHT_INLINE T sigmoid(T x) {
  return detail::sigmoid_of(x, fn::exp(-fn::abs(x)));
}

// ---- logarithms

namespace detail {

struct LogParts {
  float e;      // exponent
  float m;      // mantissa in [sqrt(1/2), sqrt(2))
  uint32_t ei;  // exponent + 127
};

// for positive normal x
RUSHLIGHT_INLINE LogParts log_reduce(float x) {
  const uint32_t i = bits(x) + (0x3f800000u - 0x3f3504f3u);
  const uint32_t ei = i >> 23;
  return {static_cast<float>(static_cast<int32_t>(ei) - 127), from_bits((i & 0x007fffffu) + 0x3f3504f3u), ei};
}

// (log(1 + f) - f) / f^2 for sqrt(1/2) <= 1 + f < sqrt(2)
RUSHLIGHT_INLINE float log_tail(float f) {
  return poly(f, -4.9999988e-01f, 3.3333325e-01f, -2.50016e-01f, 2.0001961e-01f, -1.6608719e-01f,
              1.4182273e-01f, -1.3246344e-01f, 1.2901418e-01f, -7.609259e-02f);
}

RUSHLIGHT_INLINE float log_special(float x, float result) {
  result = x == kInf ? kInf : result;
  return x > 0.0f ? result : (x == 0.0f ? -kInf : kNan);
}

// log of a positive normal number times 2^shift
RUSHLIGHT_INLINE float log_shifted(float x, float shift) {
  const LogParts l = log_reduce(x);
  const float e = l.e + shift, f = l.m - 1.0f;
  return fn::fma(e, 0x1.62e430p-1f, f) + fn::fma(f * f, log_tail(f), e * -0x1.05c610p-29f);
}

// e + log2(1 + f), times a base change given in two floats each
RUSHLIGHT_INLINE float log_base(float x, float e_hi, float e_lo, float f_hi, float f_lo) {
  const bool tiny = x < 0x1p-126f;
  const LogParts l = log_reduce(tiny ? x * 0x1p+23f : x);
  const float e = l.e - (tiny ? 23.0f : 0.0f);
  const float f = l.m - 1.0f;
  const float low = fn::fma(e, e_lo, fn::fma(f, f_lo, f * f * log_tail(f) * f_hi));
  return log_special(x, fn::fma(e, e_hi, fn::fma(f, f_hi, low)));
}

}  // namespace detail

RUSHLIGHT_INLINE float log(float x) {
  const bool tiny = x < 0x1p-126f;
  return detail::log_special(x, detail::log_shifted(tiny ? x * 0x1p+23f : x, tiny ? -23.0f : 0.0f));
}
RUSHLIGHT_INLINE float log2(float x) {
  return detail::log_base(x, 1.0f, 0.0f, 0x1.715476p+0f, 0x1.4ae0c0p-26f);
}
RUSHLIGHT_INLINE float log10(float x) {
  return detail::log_base(x, 0x1.344136p-2f, -0x1.ec10c0p-27f, 0x1.bcb7b2p-2f, -0x1.5b235ep-27f);
}

RUSHLIGHT_INLINE double log(double x) {
  const bool tiny = x < 0x1p-1022;
  const double y = tiny ? x * 0x1p+52 : x;
  const uint64_t i = detail::bits(y) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
  // the biased exponent as a double: placed in the low bits of 1.5 * 2^52, so that no 64-bit conversion is
  // needed
  const double biased = detail::from_bits((i >> 52) + detail::bits(detail::kRoundD)) - detail::kRoundD;
  const double e = biased - (tiny ? 1075.0 : 1023.0);
  const double m = detail::from_bits((i & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
  const double f = m - 1.0;
  const double s = f / (2.0 + f);  // log(1 + f) = log((1 + s) / (1 - s))
  const double z = s * s;
  const double r = z * detail::poly(z, 0.6666666666666735, 0.39999999999410496, 0.2857142874340824,
                                    0.2222219845982601, 0.18183570639404018, 0.15313878782277898,
                                    0.14797766318932368);
  const double half_square = 0.5 * f * f;
  const double low = fn::fma(s, half_square + r, e * 0x1.abc9e3b39803fp-56);
  double result = fn::fma(e, 0x1.62e42fefa39efp-1, f - (half_square - low));
  result = x == detail::kInfD ? detail::kInfD : result;
  return x > 0.0 ? result : (x == 0.0 ? -detail::kInfD : detail::kNanD);
}
RUSHLIGHT_INLINE double log2(double x) { return std::log2(x); }    // library
RUSHLIGHT_INLINE double log10(double x) { return std::log10(x); }  // library

RUSHLIGHT_INLINE float log1p(float x) {
  const float u = 1.0f + x;
  const float back = u - 1.0f;
  const float lost = (x - back) + (1.0f - (u - back));  // what rounding 1 + x dropped, exactly
  const detail::LogParts l = detail::log_reduce(u);
  // u = 2^e m, hence 1 + x = 2^e (m + lost / 2^e)
  const uint32_t inverse = l.ei > 253u ? 1u : 254u - l.ei;
  const float f = fn::fma(lost, detail::from_bits(inverse << 23), l.m - 1.0f);
  const float low = fn::fma(f * f, detail::log_tail(f), l.e * -0x1.05c610p-29f);
  const float result = fn::fma(l.e, 0x1.62e430p-1f, f + low);
  return x == 0.0f ? x : detail::log_special(u, result);
}
RUSHLIGHT_INLINE double log1p(double x) { return std::log1p(x); }  // library

// ---- trigonometry

namespace detail {

struct TrigParts {
  float r;            // x - quadrant * pi/2, |r| <= pi/4
  uint32_t quadrant;  // modulo 4
};

// |x| < 2^16: pi/2 in three floats; with fma the first step is exact
RUSHLIGHT_INLINE TrigParts trig_reduce_near(float x) {
  const float t = fn::fma(x, 0x1.45f306p-1f, kRound);
  const float n = t - kRound;
  float r = fn::fma(n, -0x1.921fb6p+0f, x);
  r = fn::fma(n, 0x1.777a5cp-25f, r);
  r = fn::fma(n, 0x1.ee59dap-50f, r);
  return {r, bits(t)};
}

// 2/pi in pieces of 29 bits
inline constexpr double kTwoOverPi[7] = {0x1.45f306dp-1,   0x1.9391054p-30, 0x1.4fe13abp-59, 0x1.d1f534dp-88,
                                         0x1.b81b6c5p-117, 0x1.5993c4p-148, 0x1.c820ff2p-175};

// Any finite x: x/4 times 2/pi modulo 1. Each product is exact in double and loses its whole part before it
// is added. (The few arguments that lie within 2^-28 of a multiple of pi/2 keep a little less than full
// precision.)
RUSHLIGHT_INLINE TrigParts trig_reduce_far(float x) {
  const double quarter = 0.25 * static_cast<double>(x);
  auto piece = [quarter](int i) __attribute__((always_inline)) {
    const double product = quarter * kTwoOverPi[i];
    return product - fn::round(product);
  };
  double turns = piece(0) + piece(1) + piece(2) + piece(3) + piece(4) + piece(5) + piece(6);
  turns = 4.0 * (turns - fn::round(turns));
  const double quadrant = fn::round(turns);
  const float r = static_cast<float>((turns - quadrant) * 0x1.921fb54442d18p+0);
  return {r, static_cast<uint32_t>(static_cast<int32_t>(quadrant))};
}

RUSHLIGHT_INLINE TrigParts trig_reduce(float x) {
  const TrigParts near = trig_reduce_near(x), far = trig_reduce_far(x);
  const float mag = fn::abs(x);
  const float r = mag < 0x1p+16f ? near.r : far.r;
  return {mag < kInf ? r : kNan, mag < 0x1p+16f ? near.quadrant : far.quadrant};
}

RUSHLIGHT_INLINE float sin_core(float r) {
  const float z = r * r;
  return fn::fma(z * r, poly(z, -1.6666655e-01f, 8.332151e-03f, -1.9513522e-04f), r);
}
RUSHLIGHT_INLINE float cos_core(float r) {
  const float z = r * r;
  return fn::fma(z * z, poly(z, 4.1666646e-02f, -1.3887332e-03f, 2.4434214e-05f), fn::fma(z, -0.5f, 1.0f));
}

RUSHLIGHT_INLINE float sin_quadrant(float r, uint32_t quadrant) {
  const float s = sin_core(r), c = cos_core(r);
  return from_bits(bits(quadrant & 1u ? c : s) ^ ((quadrant & 2u) << 30));
}

}  // namespace detail

// sin, cos and tan of float take any argument; the *_near forms need |x| < 65536, take a sixth of the time
// and give the same bits there.
RUSHLIGHT_INLINE float sin_near(float x) {
  const detail::TrigParts p = detail::trig_reduce_near(x);
  const float result = detail::sin_quadrant(p.r, p.quadrant);
  return x == 0.0f ? x : result;
}
RUSHLIGHT_INLINE float cos_near(float x) {
  const detail::TrigParts p = detail::trig_reduce_near(x);
  return detail::sin_quadrant(p.r, p.quadrant + 1u);
}
RUSHLIGHT_INLINE float sin(float x) {
  const detail::TrigParts p = detail::trig_reduce(x);
  const float result = detail::sin_quadrant(p.r, p.quadrant);
  return x == 0.0f ? x : result;
}
RUSHLIGHT_INLINE float cos(float x) {
  const detail::TrigParts p = detail::trig_reduce(x);
  return detail::sin_quadrant(p.r, p.quadrant + 1u);
}
RUSHLIGHT_INLINE float tan(float x) {
  const detail::TrigParts p = detail::trig_reduce(x);
  const float s = detail::sin_core(p.r), c = detail::cos_core(p.r);
  const bool odd = p.quadrant & 1u;
  const float result = (odd ? -c : s) / (odd ? s : c);
  return x == 0.0f ? x : result;
}

namespace detail {

struct TrigPartsD {
  double r;
  uint64_t quadrant;
};
// |x| < 2^20
RUSHLIGHT_INLINE TrigPartsD trig_reduce_near(double x) {
  const double t = fn::fma(x, 0x1.45f306dc9c883p-1, kRoundD), n = t - kRoundD;
  const double r = fn::fma(n, -0x1.1a62633145c07p-54, fn::fma(n, -0x1.921fb54442d18p+0, x));
  return {fn::fma(n, 0x1.f1976b7ed8fbcp-110, r), bits(t)};
}
RUSHLIGHT_INLINE double sin_quadrant(double r, uint64_t quadrant) {
  const double z = r * r;
  const double s = fn::fma(z * r,
                           poly(z, -0.1666666666666663, 0.008333333333321872, -0.00019841269829409092,
                                2.755731356385627e-06, -2.5050739413188445e-08, 1.5895777796650305e-10),
                           r);
  const double c = fn::fma(z * z,
                           poly(z, 0.041666666666666595, -0.0013888888888873335, 2.480158728899545e-05,
                                -2.755731421459902e-07, 2.0875705010892176e-09, -1.1358727116668893e-11),
                           fn::fma(z, -0.5, 1.0));
  return from_bits(bits(quadrant & 1u ? c : s) ^ ((quadrant & 2u) << 62));
}

}  // namespace detail

// The *_near forms need |x| < 2^20; farther out the library is called.
inline constexpr double kTrigNearD = 0x1p+20;
RUSHLIGHT_INLINE double sin_near(double x) {
  const detail::TrigPartsD p = detail::trig_reduce_near(x);
  const double result = detail::sin_quadrant(p.r, p.quadrant);
  return x == 0.0 ? x : result;
}
RUSHLIGHT_INLINE double cos_near(double x) {
  const detail::TrigPartsD p = detail::trig_reduce_near(x);
  return detail::sin_quadrant(p.r, p.quadrant + 1u);
}
RUSHLIGHT_INLINE double sin(double x) { return fn::abs(x) < kTrigNearD ? sin_near(x) : std::sin(x); }
RUSHLIGHT_INLINE double cos(double x) { return fn::abs(x) < kTrigNearD ? cos_near(x) : std::cos(x); }
RUSHLIGHT_INLINE double tan(double x) { return std::tan(x); }  // library

// The inverse hyperbolic functions call the library for both types.
template <std::floating_point T>
RUSHLIGHT_INLINE T asinh(T x) {
  return std::asinh(x);
}
template <std::floating_point T>
RUSHLIGHT_INLINE T acosh(T x) {
  return std::acosh(x);
}
template <std::floating_point T>
RUSHLIGHT_INLINE T atanh(T x) {
  return std::atanh(x);
}

// ---- hyperbolic functions

// (e^2a - 1) / (e^2a + 1), both halved, with e^2a - 1 taken exactly enough for small a
RUSHLIGHT_INLINE float tanh(float x) {
  constexpr float round = detail::kRound + 127.0f;
  float a = fn::abs(x);
  a = a > 9.1f ? 9.1f : a;
  const float t = fn::fma(a, 0x1.715476p+1f, round), n = t - round;
  const float r = fn::fma(n, 0x1.05c610p-30f, fn::fma(n, -0x1.62e430p-2f, a));  // e^2a = 2^n e^2r
  const float p = fn::fma(
      r * r, detail::poly(r, 9.9999994e-01f, 6.6666186e-01f, 3.3333948e-01f, 1.3386024e-01f, 4.438617e-02f),
      r);
  const float s = detail::from_bits(detail::bits(t) << 23);
  const float h = fn::fma(s, p, fn::fma(s, 0.5f, -0.5f));
  const float q = h / (h + 1.0f);
  return fn::copysign(h < 0.5f ? fn::fma(-h, q, h) : q,
                      x);  // h - h q = q, with the rounding of h + 1 made small
}
RUSHLIGHT_INLINE double tanh(double x) {
  constexpr double round = detail::kRoundD + 1023.0;
  double a = fn::abs(x);
  a = a > 20.0 ? 20.0 : a;
  const double t = fn::fma(a, 0x1.71547652b82fep+1, round), n = t - round;
  const double r = fn::fma(n, -0x1.abc9e3b39803fp-57, fn::fma(n, -0x1.62e42fefa39efp-2, a));
  const double p = fn::fma(r * r, 2.0 * detail::exp_tail(2.0 * r), r);
  const double s = detail::from_bits(detail::bits(t) << 52);
  const double h = fn::fma(s, p, fn::fma(s, 0.5, -0.5));
  const double q = h / (h + 1.0);
  return fn::copysign(h < 0.5 ? fn::fma(-h, q, h) : q, x);
}
RUSHLIGHT_INLINE float sinh(float x) {
  const float a = fn::abs(x);
  const float z = a * a;
  const float near =
      fn::fma(a * z, detail::poly(z, 1.6666667e-01f, 8.333351e-03f, 1.9835854e-04f, 2.8186869e-06f), a);
  const float far = detail::exp_shifted(a, -1) - detail::exp_shifted(-a, -1);
  return fn::copysign(a < 1.0f ? near : far, x);
}
RUSHLIGHT_INLINE float cosh(float x) {
  const float a = fn::abs(x);
  return detail::exp_shifted(a, -1) + detail::exp_shifted(-a, -1);
}
RUSHLIGHT_INLINE double sinh(double x) { return std::sinh(x); }
RUSHLIGHT_INLINE double cosh(double x) { return std::cosh(x); }

// ---- error function

RUSHLIGHT_INLINE float erf(float x) {
  const float a = fn::abs(x);
  const float z = a * a;
  const float near = fn::fma(a,
                             detail::poly(z, 1.2837917e-01f, -3.7612635e-01f, 1.1283694e-01f, -2.685927e-02f,
                                          5.2006342e-03f, -8.1374386e-04f, 8.345228e-05f),
                             a);
  const float t = a > 4.0f ? 4.0f : a;
  const float q = detail::poly(t, -1.7468478e-04f, 1.1295149e+00f, 6.333469e-01f, 1.082801e-01f,
                               -2.5119433e-02f, 4.1710655e-03f, -4.3446323e-04f,
                               2.1095115e-05f);  // -log erfc(t)
  const float far = 1.0f - detail::exp_plain(-q);
  return fn::copysign(a < 0.925f ? near : far, x);
}
RUSHLIGHT_INLINE double erf(double x) { return std::erf(x); }

namespace detail {

struct ErfcParts {
  float value;     // erfc(a) / 2^n
  uint32_t power;  // n + offset in the low bits
};
// erfc(a) = e^-(a^2) E(a) for a >= 0. E is smooth in u = (a - 1.5) / (a + 2), and (a + 2) E(a) a polynomial in it
// (after Shepherd and Laframboise, Math. Comp. 36, 1981; fitted like atan). What the roundings of a^2 and 1 / (a + 2)
// dropped goes into the exponential, so that the tail keeps its relative precision.
RUSHLIGHT_INLINE ErfcParts erfc_parts(float a, float offset) {
  const float d = a + 2.0f, w = 1.0f / d, u = (a - 1.5f) * w;
  const float e = w * poly(u, 0x1.2023fap+0f, -0x1.c1f63cp-1f, 0x1.86ecf6p-2f, -0x1.197dbcp-5f,
                           -0x1.5f2552p-5f, 0x1.cadf96p-8f, 0x1.033f04p-7f, -0x1.7d8456p-12f,
                           -0x1.c19168p-10f, -0x1.744d7cp-13f, 0x1.1562e4p-12f);
  const float lost = fn::fma(w, (d - 2.0f) - a, fn::fma(-w, d, 1.0f));  // of w, in relation to it
  const float square = a * a, round = kRound + offset;
  const float t = fn::fma(square, -0x1.715476p+0f, round);
  const float r = exp_rest(-square, t - round) - fn::fma(a, a, -square) + lost;
  return {fn::fma(e, fn::fma(r * r, exp_tail(r), r), e), bits(t)};
}

// for |x| < 9
RUSHLIGHT_INLINE float erfc_plain(float x) {
  const ErfcParts p = erfc_parts(fn::abs(x), 127.0f);
  const float tail = p.value * from_bits(p.power << 23);
  return x < 0.0f ? 2.0f - tail : tail;
}

}  // namespace detail

// Down to the smallest subnormal number; erfc(10.1) is 0.
RUSHLIGHT_INLINE float erfc(float x) {
  const float a = fn::abs(x);
  const detail::ErfcParts p = detail::erfc_parts(a > 10.1f ? 10.1f : a, 254.0f);
  const float tail = detail::scale(p.value, p.power);
  return x < 0.0f ? 2.0f - tail : tail;
}
RUSHLIGHT_INLINE double erfc(double x) { return std::erfc(x); }  // library

// The normal distribution function. One polynomial for -log2 of the tail below -|x| serves the whole range, so that
// the tail keeps its relative precision; beyond 5.7 it counts as 0.
RUSHLIGHT_INLINE float normal_cdf(float x) {
  constexpr float end = 5.7f, round = detail::kRound + 127.0f;
  const float a = fn::abs(x);
  const float q = detail::poly(a > end ? end : a, 1.0f, 0x1.26aef6p+0f, 0x1.d63676p-2f, 0x1.ae5766p-5f,
                               -0x1.d01b70p-8f, 0x1.caaac4p-14f, 0x1.ddb1bap-13f, -0x1.02c352p-14f,
                               0x1.1ceaa2p-17f, -0x1.541958p-21f, 0x1.5c1112p-26f);
  const float t = round - q;  // low bits: the exponent of 2^n
  const float r = (round - t) - q;
  const float power = detail::poly(r, 1.0f, 0x1.62e430p-1f, 0x1.ebfbdcp-3f, 0x1.c6af7ap-5f, 0x1.3b2ddap-7f,
                                   0x1.5f0974p-10f, 0x1.417268p-13f);
  const float tail = a > end ? 0.0f : power * detail::from_bits(detail::bits(t) << 23);
  return x < 0.0f ? tail : 1.0f - tail;
}
RUSHLIGHT_INLINE double normal_cdf(double x) { return 0.5 * (1.0 + std::erf(x * 0.70710678118654752440)); }

// ---- powers

namespace detail {

// In double, but only as exactly as a power in float needs it (fitted like atan): log2 of a positive normal number
// to 2^-37 and 2^t to 2^-34, |t| < 1000.
RUSHLIGHT_INLINE double log2_rough(double x) {
  constexpr double offset = kRoundD + 1023.0;
  const uint64_t i = bits(x) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
  const double e = from_bits((i >> 52) + bits(kRoundD)) - offset;
  const double f = from_bits((i & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  return fn::fma(s,
                 poly(z, 0x1.71547652bee03p+1, 0x1.ec709d12bd437p-1, 0x1.27777ff704080p-1,
                      0x1.a58d818272833p-2, 0x1.5ce8e370106c1p-2),
                 e);
}
RUSHLIGHT_INLINE double exp2_rough(double t) {
  constexpr double offset = kRoundD + 1023.0;
  const double n = t + offset, r = t - (n - offset);
  const double power = poly(r, 1.0, 0.6931471807045367, 0.2402265106656755, 0.05550410365975404,
                            0.009618038131303516, 0.0013333935068046122, 0.00015466756521829376,
                            1.5196153728813221e-05);
  return power * from_bits(bits(n) << 52);
}

}  // namespace detail

// In double inside, so that the result is within one ulp; all of C99's special cases.
RUSHLIGHT_INLINE float pow(float x, float y) {
  const float a = fn::abs(x);
  // Every positive float is normal in double; 2^-160 and 2^160 become 0 and infinity.
  double exponent = static_cast<double>(y) * detail::log2_rough(static_cast<double>(a));
  exponent = exponent < -160.0 ? -160.0 : exponent;
  exponent = exponent > 160.0 ? 160.0 : exponent;
  float magnitude = static_cast<float>(detail::exp2_rough(exponent));
  const float limit = (a == 0.0f) == (y < 0.0f) ? detail::kInf : 0.0f;
  magnitude = (a == 0.0f) | (a == detail::kInf) ? limit : magnitude;
  magnitude = a == 1.0f ? 1.0f : magnitude;
  const bool whole = fn::trunc(y) == y;
  const bool odd = whole & (fn::trunc(0.5f * y) != 0.5f * y);
  const uint32_t sign = odd ? detail::bits(x) & 0x80000000u : 0u;
  float result = detail::from_bits(detail::bits(magnitude) ^ sign);
  result = (x < 0.0f) & !whole & (a != detail::kInf) ? detail::kNan : result;
  result = (x != x) | (y != y) ? x + y : result;
  return (y == 0.0f) | (x == 1.0f) ? 1.0f : result;
}
RUSHLIGHT_INLINE double pow(double x, double y) { return std::pow(x, y); }  // library

// ---- division with remainder

RUSHLIGHT_INLINE float fmod(float a, float b) { return std::fmod(a, b); }     // library
RUSHLIGHT_INLINE double fmod(double a, double b) { return std::fmod(a, b); }  // library

// The remainder takes the sign of the divisor, as in Python.
template <std::floating_point T>
RUSHLIGHT_INLINE T remainder(T a, T b) {
  const T m = fn::fmod(a, b);
  return (m != T(0)) & ((b < T(0)) != (m < T(0))) ? m + b : m;
}

// floor(a / b), corrected so that it fits the remainder; dividing by zero gives what a / b gives.
template <std::floating_point T>
RUSHLIGHT_INLINE T floor_divide(T a, T b) {
  const T m = fn::fmod(a, b);
  T quotient = (a - m) / b;
  quotient -= (m != T(0)) & ((b < T(0)) != (m < T(0))) ? T(1) : T(0);
  const T down = fn::floor(quotient);
  const T nearest = down + (quotient - down > T(0.5) ? T(1) : T(0));
  return b == T(0) ? a / b : (quotient != T(0) ? nearest : fn::copysign(T(0), a / b));
}

// Integers. A zero divisor is the caller's error; it is refused before any kernel runs. Dividing by -1 goes
// through negation, because the most negative number divided by -1 traps on x86.
template <std::integral T>
RUSHLIGHT_INLINE T fmod(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    return b == T(-1) ? T(0) : static_cast<T>(a % b);
  } else {
    return static_cast<T>(a % b);
  }
}
template <std::integral T>
RUSHLIGHT_INLINE T remainder(T a, T b) {
  const T m = fn::fmod(a, b);
  return (m != T(0)) && ((b < T(0)) != (m < T(0))) ? static_cast<T>(m + b) : m;
}
template <std::integral T>
RUSHLIGHT_INLINE T trunc_divide(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    using U = std::make_unsigned_t<T>;
    return b == T(-1) ? static_cast<T>(U{0} - static_cast<U>(a)) : static_cast<T>(a / b);
  } else {
    return static_cast<T>(a / b);
  }
}
template <std::integral T>
RUSHLIGHT_INLINE T floor_divide(T a, T b) {
  const T q = trunc_divide(a, b);
  const T m = fn::fmod(a, b);
  return (m != T(0)) && ((b < T(0)) != (m < T(0))) ? static_cast<T>(q - 1) : q;
}

}  // namespace rushlight::fn

#include "mathfn_inverse.h"
#include "mathfn_complex.h"
#include "mathfn_special.h"
#include "mathfn_short.h"

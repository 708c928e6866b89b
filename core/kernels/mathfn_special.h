// Special functions of one real argument: digamma, trigamma, lgamma, erfinv, i0. Scalar code in double for
// both float types; float results are rounded once at the end. Included by mathfn.h.
#pragma once

#include <cmath>
#include <concepts>
#include <limits>

namespace rushlight::fn {

namespace detail {

// The series in 1/x^2 is used from here on; smaller arguments climb up by the recurrence.
inline constexpr double kAsymptotic = 10.0;
inline constexpr double kPi = 3.14159265358979323846;

inline double digamma_double(double x) {
  if (x == 0.0) return std::copysign(kInfD, -x);
  double result = 0.0;
  if (x < 0.0) {
    if (x == std::trunc(x)) return kNanD;  // pole (or minus infinity)
    // reflection; tan is taken of the fractional part, which is exact
    result = -kPi / std::tan(kPi * (x - std::trunc(x)));
    x = 1.0 - x;
  }
  while (x < kAsymptotic) {
    result -= 1.0 / x;
    x += 1.0;
  }
  if (x == kAsymptotic) return result + 2.25175258906672110764;
  const double z = 1.0 / (x * x);
  // Bernoulli numbers B_2k / 2k
  const double series =
      z *
      (1.0 / 12 -
       z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
  return result + (std::log(x) - 0.5 / x - series);
}

inline double trigamma_double(double x) {
  double result = 0.0, sign = 1.0;
  if (x < 0.5) {
    const double s = std::sin(kPi * (x - std::trunc(x)));
    if (s == 0.0) return kInfD;  // zero and the negative integers
    result = -(kPi / s) * (kPi / s);
    sign = -1.0;
    x = 1.0 - x;
  }
  double sum = 0.0;
  while (x < kAsymptotic) {
    sum += 1.0 / (x * x);
    x += 1.0;
  }
  const double z = 1.0 / (x * x);
  const double series =
      1.0 + 0.5 / x +
      z * (1.0 / 6 -
           z * (1.0 / 30 -
                z * (1.0 / 42 - z * (1.0 / 30 - z * (5.0 / 66 - z * (691.0 / 2730 - z * (7.0 / 6)))))));
  return sign * (result + sum + series / x);
}

inline double erfinv_double(double x) {
  const double a = std::fabs(x);
  if (!(a < 1.0)) return a == 1.0 ? std::copysign(kInfD, x) : kNanD;
  if (a < 1e-8) return x * 0.886226925452758013649;
  // a closed form good to three digits, then Halley steps (each triples the digits)
  const double l = std::log((1.0 - a) * (1.0 + a));
  const double h = 2.0 / (kPi * 0.147) + 0.5 * l;
  double y = std::sqrt(std::sqrt(h * h - l / 0.147) - h);
  for (int step = 0; step < 3; ++step) {
    // beyond 1/2 the residual is taken on the other side, where it is not a difference of nearly equal
    // numbers
    const double residual = a < 0.5 ? std::erf(y) - a : (1.0 - a) - std::erfc(y);
    const double u = residual * 0.886226925452758013649 * std::exp(y * y);
    y -= u / (1.0 + y * u);
  }
  return std::copysign(y, x);
}

// Chebyshev sum in t on [-1, 1], first coefficient halved.
template <int N>
inline double chebyshev(double t, const double (&c)[N]) {
  double b0 = 0.0, b1 = 0.0, b2 = 0.0;
  for (int i = N - 1; i >= 0; --i) {
    b2 = b1;
    b1 = b0;
    b0 = 2.0 * t * b1 - b2 + c[i];
  }
  return 0.5 * (b0 - b2);
}

// e^-x I0(x) on [0, 8] in x/4 - 1, and e^-x sqrt(x) I0(x) beyond in 16/x - 1
inline constexpr double kI0Small[] = {
    0.6767952744094761,     -0.3046826723431984,     0.17162090152220877,    -0.09490109704804764,
    0.04930528423967071,    -0.02373741480589947,    0.010546460394594998,   -0.004324309995050576,
    0.0016394756169413357,  -0.0005763755745385824,  0.00018850288509584165, -5.754195010082104e-05,
    1.6448448070728896e-05, -4.4167383584587505e-06, 1.1173875391201037e-06, -2.670793853940612e-07,
    6.046995022541919e-08,  -1.300025009986248e-08,  2.6598237246823866e-09, -5.189795601635263e-10,
    9.675809035373237e-11,  -1.726826291441556e-11,  2.95505266312964e-12,   -4.856446783111929e-13,
    7.676185498604936e-14,  -1.1685332877993451e-14, 1.715391285555133e-15,  -2.431279846547955e-16,
    3.3307945188222384e-17, -4.4153416464793395e-18};
inline constexpr double kI0Large[] = {
    0.8044904110141088,      0.0033691164782556943,   6.889758346916825e-05,   2.8913705208347567e-06,
    2.0489185894690638e-07,  2.266668990498178e-08,   3.3962320257083865e-09,  4.94060238822497e-10,
    1.1889147107846439e-11,  -3.1499165279632416e-11, -1.3215811840447713e-11, -1.7941785315068062e-12,
    7.180124451383666e-13,   3.8527783827421426e-13,  1.54008621752141e-14,    -4.150569347287222e-14,
    -9.554846698828307e-15,  3.8116806693526224e-15,  1.7725601330565263e-15,  -3.425485619677219e-16,
    -2.8276239805165836e-16, 3.461222867697461e-17,   4.46562142029676e-17,    -4.830504485944182e-18,
    -7.233180487874754e-18,  9.921475412173699e-19};

inline double i0_double(double x) {
  x = std::fabs(x);
  if (x <= 8.0) return std::exp(x) * chebyshev(0.25 * x - 1.0, kI0Small);
  if (x == kInfD) return x;
  const double half = std::exp(0.5 * x);  // twice, so that it overflows only where the result does
  return half * (chebyshev(16.0 / x - 1.0, kI0Large) / std::sqrt(x)) * half;
}

}  // namespace detail

template <std::floating_point T>
inline T digamma(T x) {
  return static_cast<T>(detail::digamma_double(static_cast<double>(x)));
}
template <std::floating_point T>
inline T trigamma(T x) {
  return static_cast<T>(detail::trigamma_double(static_cast<double>(x)));
}
template <std::floating_point T>
inline T erfinv(T x) {
  return static_cast<T>(detail::erfinv_double(static_cast<double>(x)));
}
template <std::floating_point T>
inline T i0(T x) {
  return static_cast<T>(detail::i0_double(static_cast<double>(x)));
}

// The plain lgamma stores a sign in a global variable; the reentrant one is used where there is one.
template <std::floating_point T>
inline T lgamma(T x) {
#if defined(__GLIBC__) || defined(__APPLE__)
  int sign;
  if constexpr (std::same_as<T, float>) {
    return ::lgammaf_r(x, &sign);
  } else {
    return ::lgamma_r(x, &sign);
  }
#else
  return std::lgamma(x);
#endif
}

}  // namespace rushlight::fn

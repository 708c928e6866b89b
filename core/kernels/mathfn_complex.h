// The names of mathfn.h for std::complex, scalar and mostly the standard library's. Included by mathfn.h.
#pragma once

#include <cmath>
#include <complex>

namespace rushlight::fn {

#define RUSHLIGHT_COMPLEX(name) \
  template <class T> \
  RUSHLIGHT_INLINE std::complex<T> name(const std::complex<T>& x) { \
    return std::name(x); \
  }
RUSHLIGHT_COMPLEX(exp)
RUSHLIGHT_COMPLEX(log)
RUSHLIGHT_COMPLEX(log10)
RUSHLIGHT_COMPLEX(sqrt)
RUSHLIGHT_COMPLEX(sin)
RUSHLIGHT_COMPLEX(cos)
RUSHLIGHT_COMPLEX(tan)
RUSHLIGHT_COMPLEX(asin)
RUSHLIGHT_COMPLEX(acos)
RUSHLIGHT_COMPLEX(atan)
RUSHLIGHT_COMPLEX(sinh)
RUSHLIGHT_COMPLEX(cosh)
RUSHLIGHT_COMPLEX(tanh)
RUSHLIGHT_COMPLEX(asinh)
RUSHLIGHT_COMPLEX(acosh)
RUSHLIGHT_COMPLEX(atanh)
#undef RUSHLIGHT_COMPLEX

template <class T>
RUSHLIGHT_INLINE T abs(const std::complex<T>& x) {
  return std::abs(x);
}
template <class T>
RUSHLIGHT_INLINE std::complex<T> pow(const std::complex<T>& x, const std::complex<T>& y) {
  return std::pow(x, y);
}
template <class T>
RUSHLIGHT_INLINE std::complex<T> exp2(const std::complex<T>& x) {
  return std::exp(x * static_cast<T>(0.693147180559945309417));
}
template <class T>
RUSHLIGHT_INLINE std::complex<T> log2(const std::complex<T>& x) {
  return std::log(x) * static_cast<T>(1.44269504088896340736);
}
template <class T>
RUSHLIGHT_INLINE std::complex<T> rsqrt(const std::complex<T>& x) {
  return std::complex<T>(1) / std::sqrt(x);
}
template <class T>
RUSHLIGHT_INLINE std::complex<T> sigmoid(const std::complex<T>& x) {
  return std::complex<T>(1) / (std::complex<T>(1) + std::exp(-x));
}

// e^z - 1 and log(1 + z) without cancellation in the real part near zero.
template <class T>
RUSHLIGHT_INLINE std::complex<T> expm1(const std::complex<T>& x) {
  const T half_sine = std::sin(x.imag() * T(0.5));
  const T grown = std::expm1(x.real());
  return {grown * std::cos(x.imag()) - T(2) * half_sine * half_sine, (grown + T(1)) * std::sin(x.imag())};
}
template <class T>
RUSHLIGHT_INLINE std::complex<T> log1p(const std::complex<T>& x) {
  const T a = x.real(), b = x.imag();
  const T modulus = std::abs(a) < T(0.5) && std::abs(b) < T(0.5) ? T(0.5) * std::log1p(a * (T(2) + a) + b * b)
                                                                 : std::log(std::hypot(T(1) + a, b));
  return {modulus, std::atan2(b, T(1) + a)};
}

}  // namespace rushlight::fn

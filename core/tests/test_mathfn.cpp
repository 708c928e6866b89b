// Checks mathfn.h: error in ulp against long double over dense samples of the whole range, special values,
// and equal bits when the same loop is compiled for AVX2 and for AVX-512.
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "../kernels/mathfn.h"

namespace fn = rushlight::fn;

static int failures = 0;
#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      std::printf("line %d: %s\n", __LINE__, #condition); \
      ++failures; \
    } \
  } while (0)

#define LOOPS(type, name) \
  __attribute__((target("arch=x86-64-v3"), noinline)) void name##_##type##_v3( \
      const type* __restrict__ x, type* __restrict__ y, long n) { \
    for (long i = 0; i < n; ++i) y[i] = fn::name(x[i]); \
  } \
  __attribute__((target("arch=x86-64-v4"), noinline)) void name##_##type##_v4( \
      const type* __restrict__ x, type* __restrict__ y, long n) { \
    for (long i = 0; i < n; ++i) y[i] = fn::name(x[i]); \
  }
#define FLOAT_FUNCTIONS(F) \
  F(exp) \
  F(exp2) \
  F(expm1) F(log) F(log2) F(log10) F(log1p) F(sin) F(cos) F(tan) F(tanh) F(sinh) F(cosh) F(sigmoid) F(erf)
#define DOUBLE_FUNCTIONS(F) F(exp) F(log) F(sigmoid)
#define FLOAT_LOOP(name) LOOPS(float, name)
#define DOUBLE_LOOP(name) LOOPS(double, name)
FLOAT_FUNCTIONS(FLOAT_LOOP)
DOUBLE_FUNCTIONS(DOUBLE_LOOP)

using Wide = long double;
static Wide sigmoid_wide(Wide x) { return 1.0L / (1.0L + std::exp(-x)); }
#define WIDE_exp std::exp
#define WIDE_exp2 std::exp2
#define WIDE_expm1 std::expm1
#define WIDE_log std::log
#define WIDE_log2 std::log2
#define WIDE_log10 std::log10
#define WIDE_log1p std::log1p
#define WIDE_sin std::sin
#define WIDE_cos std::cos
#define WIDE_tan std::tan
#define WIDE_tanh std::tanh
#define WIDE_sinh std::sinh
#define WIDE_cosh std::cosh
#define WIDE_sigmoid sigmoid_wide
#define WIDE_erf std::erf

// Distance in units in the last place of the correctly rounded result.
template <class T>
static double ulp_error(T got, Wide want) {
  const T rounded = static_cast<T>(want);
  if (std::isnan(rounded) || std::isinf(rounded) || std::isinf(got) || std::isnan(got)) {
    if (std::memcmp(&got, &rounded, sizeof(T)) == 0 || (std::isnan(got) && std::isnan(rounded))) return 0;
    // the rounded value may sit one step beyond the largest finite number
    if (std::isinf(rounded) && std::fabs(got) == std::numeric_limits<T>::max()) return 1;
    if (std::isinf(got) && std::fabs(rounded) == std::numeric_limits<T>::max()) return 1;
    return 1e30;
  }
  const T magnitude = std::fabs(rounded);
  const T unit = magnitude == std::numeric_limits<T>::max() ? magnitude - std::nextafter(magnitude, T(0))
                                                            : std::nextafter(magnitude, INFINITY) - magnitude;
  if (got == 0 && rounded == 0 && std::signbit(got) != std::signbit(rounded)) return 1e20;
  return static_cast<double>(std::fabs(static_cast<Wide>(got) - want) / unit);
}

using FloatLoop = void (*)(const float*, float*, long);
using DoubleLoop = void (*)(const double*, double*, long);

template <class T, class Loop, class Reference>
static void compare(const char* name, const std::vector<T>& x, Loop v3, Loop v4, Reference reference,
                    double limit) {
  std::vector<T> y(x.size()), w(x.size());
  v3(x.data(), y.data(), static_cast<long>(x.size()));
  if (__builtin_cpu_supports("x86-64-v4")) {
    v4(x.data(), w.data(), static_cast<long>(x.size()));
    size_t different = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      different += std::memcmp(&y[i], &w[i], sizeof(T)) != 0 && !(std::isnan(y[i]) && std::isnan(w[i]));
    }
    if (different)
      std::printf("%s: %zu values differ between AVX2 and AVX-512\n", name, different), ++failures;
  }
  double worst = 0;
  T where = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double error = ulp_error(y[i], reference(static_cast<Wide>(x[i])));
    if (error > worst) worst = error, where = x[i];
  }
  std::printf("%-8s %-6s max error %.3f ulp at %a\n", name, sizeof(T) == 4 ? "float" : "double", worst,
              static_cast<double>(where));
  if (!(worst <= limit)) ++failures;
}

template <class T, class U>
static std::vector<T> samples(size_t count) {
  std::mt19937_64 random(7);
  std::vector<T> x;
  for (size_t i = 0; i < count; ++i) {  // every exponent equally likely
    x.push_back(std::bit_cast<T>(static_cast<U>(random())));
  }
  for (T bound : {T(1), T(4), T(20), T(100), T(1000), T(100000)}) {
    for (size_t i = 0; i < count / 4; ++i) x.push_back(bound * (T(2) * (random() >> 11) * T(0x1p-53) - T(1)));
  }
  for (size_t i = 0; i < count / 4; ++i)
    x.push_back(T(1) + (T(i) - T(count / 8)) * std::numeric_limits<T>::epsilon());
  const T inf = std::numeric_limits<T>::infinity();
  for (T v : {T(0), inf, T(1), std::numeric_limits<T>::max(), std::numeric_limits<T>::min(),
              std::numeric_limits<T>::denorm_min(), T(0.5), T(2), std::numeric_limits<T>::quiet_NaN()}) {
    x.push_back(v);
    x.push_back(-v);
  }
  return x;
}

int main(int argc, char** argv) {
  if (!__builtin_cpu_supports("x86-64-v3")) return std::printf("skipped: no AVX2\n"), 0;
  const size_t count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 100000;
  const auto floats = samples<float, uint32_t>(count);
  const auto doubles = samples<double, uint64_t>(count);
#define FLOAT_TEST(name) \
  compare<float, FloatLoop>( \
      #name, floats, name##_float_v3, name##_float_v4, [](Wide x) { return WIDE_##name(x); }, \
      std::strcmp(#name, "tan") && std::strcmp(#name, "sinh") && std::strcmp(#name, "cosh") ? 2.0 : 4.0);
#define DOUBLE_TEST(name) \
  compare<double, DoubleLoop>( \
      #name, doubles, name##_double_v3, name##_double_v4, [](Wide x) { return WIDE_##name(x); }, 2.0);
  FLOAT_FUNCTIONS(FLOAT_TEST)
  DOUBLE_FUNCTIONS(DOUBLE_TEST)

  double worst = 0;
  std::mt19937_64 random(3);
  const float special[] = {0.f,    -0.f,   1.f,        -1.f,        2.f,       -2.f, 3.f,
                           -3.f,   .5f,    -.5f,       INFINITY,    -INFINITY, NAN,  1e30f,
                           -1e30f, 1e-30f, 16777216.f, -16777217.f, 1e-40f};
  for (float x : special) {
    for (float y : special) {
      const float got = fn::pow(x, y),
                  want = static_cast<float>(std::pow(static_cast<double>(x), static_cast<double>(y)));
      if (std::memcmp(&got, &want, 4) && !(std::isnan(got) && std::isnan(want))) {
        std::printf("pow(%g, %g) = %g, not %g\n", x, y, got, want);
        ++failures;
      }
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const float x = std::exp(20 * ((random() >> 11) * 0x1p-53f - .5f)),
                y = 20 * ((random() >> 11) * 0x1p-53f - .5f);
    worst = std::max(worst, ulp_error(fn::pow(x, y), std::pow(static_cast<Wide>(x), static_cast<Wide>(y))));
  }
  std::printf("pow      float  max error %.3f ulp\n", worst);
  CHECK(worst <= 1.0);

  CHECK(std::isnan(fn::maximum(1.f, NAN)) && std::isnan(fn::maximum(NAN, 1.f)) && fn::maximum(1, 2) == 2);
  CHECK(std::isnan(fn::minimum(1., double(NAN))) && std::isnan(fn::minimum(double(NAN), 1.)) &&
        fn::minimum(1, 2) == 1);
  CHECK(fn::round(2.5f) == 2.f && fn::round(-3.5) == -4.);
  CHECK(fn::remainder(-7.f, 3.f) == 2.f && fn::remainder(7., -3.) == -2. && fn::remainder(-7, 3) == 2);
  CHECK(fn::remainder(7, -3) == -2 && fn::floor_divide(-7, 3) == -3 && fn::trunc_divide(-7, 3) == -2);
  CHECK(fn::floor_divide(INT32_MIN, -1) == INT32_MIN && fn::remainder(INT32_MIN, -1) == 0);
  CHECK(fn::floor_divide(-7.f, 3.f) == -3.f && fn::floor_divide(1.f, 0.f) == INFINITY);
  CHECK(std::isnan(fn::floor_divide(0.f, 0.f)) && std::signbit(fn::floor_divide(0.f, -3.f)));
  CHECK(fn::floor_divide(uint8_t(200), uint8_t(7)) == 28 && fn::abs(int8_t(-128)) == -128 &&
        fn::abs(-3) == 3);
  CHECK(std::fabs(fn::digamma(1.0) + 0.57721566490153286) < 1e-15 && std::isnan(fn::digamma(-1.0)));
  CHECK(fn::digamma(0.0) == -INFINITY && std::fabs(fn::digamma(-0.5) - 0.03648997397857652) < 1e-15);
  CHECK(std::fabs(fn::trigamma(1.0) - 1.6449340668482264) < 4e-15 &&
        std::fabs(fn::trigamma(-0.5) - 8.934802200544679) < 2e-14);
  CHECK(std::fabs(fn::i0(1.0) / 1.2660658777520084 - 1) < 1e-15 &&
        std::fabs(fn::i0(20.0) / 43558282.559553534 - 1) < 1e-15);
  for (double x = -0.9995; x < 1; x += 0.001) CHECK(std::fabs(std::erf(fn::erfinv(x)) - x) < 3e-16);
  CHECK(fn::erfinv(1.f) == INFINITY && std::isnan(fn::erfinv(1.5f)) && std::signbit(fn::erfinv(-0.f)));
  CHECK(std::fabs(fn::erfinv(1 - 0x1p-53) - 5.863584748755167) < 1e-14);
  const std::complex<double> tiny(1e-12, 1e-13);
  CHECK(std::abs(fn::log1p(tiny) - tiny) < 1e-23 && std::abs(fn::expm1(tiny) - tiny) < 1e-23);
  std::printf(failures ? "%d FAILED\n" : "ok\n", failures);
  return failures != 0;
}

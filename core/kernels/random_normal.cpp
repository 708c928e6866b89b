// Box-Muller transform and fused multiply-add over arrays. The float polynomials (Cephes) decide the bits of
// float32 normals and so differ, on purpose, from the more accurate ones in mathfn.h. Double uses the
// system's libm.
#include "random_normal.h"

#include <bit>
#include <cmath>
#include <cstdint>

namespace rushlight::random_detail {
namespace {

#define INLINE static inline __attribute__((always_inline))

INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

INLINE float block_log(float x) {  // x > 0
  x = x < 0x1p-126f ? 0x1p-126f : x;
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  float e = static_cast<float>(static_cast<int32_t>(bits >> 23) - 127) + 1.0f;
  const float m = std::bit_cast<float>((bits & 0x807fffffu) | 0x3f000000u);  // in [0.5, 1)
  const bool small = m < 0.707106781186547524f;
  e = e - (small ? 1.0f : 0.0f);
  const float f = (m - 1.0f) + (small ? m : 0.0f);
  const float z = f * f;
  float y = 7.0376836292e-2f;
  y = fma(y, f, -1.1514610310e-1f);
  y = fma(y, f, 1.1676998740e-1f);
  y = fma(y, f, -1.2420140846e-1f);
  y = fma(y, f, 1.4249322787e-1f);
  y = fma(y, f, -1.6668057665e-1f);
  y = fma(y, f, 2.0000714765e-1f);
  y = fma(y, f, -2.4999993993e-1f);
  y = fma(y, f, 3.3333331174e-1f);
  y = y * f;
  y = fma(y, z, e * -2.12194440e-4f);
  y = y - z * 0.5f;
  return (f + y) + e * 0.693359375f;
}

struct SinCos {
  float sin, cos;
};

INLINE SinCos block_sincos(float x) {  // x >= 0
  const uint32_t j = (static_cast<uint32_t>(static_cast<int32_t>(x * 1.27323954473516f)) + 1u) & ~1u;
  const float y = static_cast<float>(static_cast<int32_t>(j));
  x = fma(y, -0.78515625f, x);
  x = fma(y, -2.4187564849853515625e-4f, x);
  x = fma(y, -3.77489497744594108e-8f, x);
  const float z = x * x;
  float c = 2.443315711809948e-5f;
  c = fma(c, z, -1.388731625493765e-3f);
  c = fma(c, z, 4.166664568298827e-2f);
  c = c * z;
  c = fma(c, z, -(z * 0.5f));
  c = c + 1.0f;
  float s = -1.9515295891e-4f;
  s = fma(s, z, 8.3321608736e-3f);
  s = fma(s, z, -1.6666654611e-1f);
  s = s * z;
  s = fma(s, x, x);
  const bool straight = (j & 2u) == 0;
  const uint32_t sin_bits = std::bit_cast<uint32_t>(straight ? s : c) ^ ((j & 4u) << 29);
  const uint32_t cos_bits = std::bit_cast<uint32_t>(straight ? c : s) ^ ((~(j - 2u) & 4u) << 29);
  return {std::bit_cast<float>(sin_bits), std::bit_cast<float>(cos_bits)};
}

INLINE void normal_blocks_float(float* values, size_t blocks, float mean, float std) {
  for (size_t b = 0; b < blocks; ++b) {
    float* x = values + 16 * b;
    float radius[8], angle[8];
    for (int j = 0; j < 8; ++j) radius[j] = __builtin_sqrtf(-2.0f * block_log(1.0f - x[j]));
    for (int j = 0; j < 8; ++j) angle[j] = 6.283185307179586f * x[j + 8];
    for (int j = 0; j < 8; ++j) {
      const SinCos t = block_sincos(angle[j]);
      x[j] = fma(radius[j] * t.cos, std, mean);
      x[j + 8] = fma(radius[j] * t.sin, std, mean);
    }
  }
}

template <class T>
INLINE void scale_add_any(T* values, size_t count, T factor, T summand) {
  for (size_t i = 0; i < count; ++i) {
    if constexpr (sizeof(T) == 4) {
      values[i] = __builtin_fmaf(values[i], factor, summand);
    } else {
      values[i] = __builtin_fma(values[i], factor, summand);
    }
  }
}

#if defined(__x86_64__)
// fma is an instruction from x86-64-v3 on; without it the library's correctly rounded function gives the same
// bits.
#define WITH_FMA __attribute__((target("arch=x86-64-v3")))
WITH_FMA void normal_blocks_fma(float* v, size_t blocks, float mean, float std) {
  normal_blocks_float(v, blocks, mean, std);
}
WITH_FMA void scale_add_fma(float* v, size_t count, float factor, float summand) {
  scale_add_any(v, count, factor, summand);
}
WITH_FMA void scale_add_fma(double* v, size_t count, double factor, double summand) {
  scale_add_any(v, count, factor, summand);
}
bool has_fma() {
  static const bool answer = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return answer;
}
#else
constexpr bool has_fma() { return false; }
void normal_blocks_fma(float*, size_t, float, float) {}
template <class T>
void scale_add_fma(T*, size_t, T, T) {}
#endif

}  // namespace

void scale_add(float* values, size_t count, float factor, float summand) {
  has_fma() ? scale_add_fma(values, count, factor, summand) : scale_add_any(values, count, factor, summand);
}
void scale_add(double* values, size_t count, double factor, double summand) {
  has_fma() ? scale_add_fma(values, count, factor, summand) : scale_add_any(values, count, factor, summand);
}

void normal_blocks(float* values, size_t blocks, float mean, float std) {
  has_fma() ? normal_blocks_fma(values, blocks, mean, std) : normal_blocks_float(values, blocks, mean, std);
}

void normal_blocks(double* values, size_t blocks, double mean, double std) {
  for (size_t b = 0; b < blocks; ++b) {
    double* x = values + 16 * b;
    for (int j = 0; j < 8; ++j) {
      const double radius = std::sqrt(-2.0 * std::log(1.0 - x[j]));
      const double angle = 2.0 * 3.14159265358979323846 * x[j + 8];
      x[j] = radius * std::cos(angle);
      x[j + 8] = radius * std::sin(angle);
    }
  }
  scale_add(values, 16 * blocks, std, mean);
}

}  // namespace rushlight::random_detail

// Vectors of the instruction set being compiled, for the matrix and convolution kernels: loads, stores,
// tails, fused multiply-add, transposition. Include only from *.isa.cpp files.
#pragma once

#include <cstdint>
#include <utility>  // integer_sequence: types only, no code shared between instruction sets

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define RL_INLINE inline __attribute__((always_inline))

namespace rushlight::cpu::RL_ISA {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

template <class T>
struct VecOf {
  static constexpr int width = vector_bytes / static_cast<int>(sizeof(T));
  typedef T type __attribute__((vector_size(vector_bytes)));
  typedef T unaligned __attribute__((vector_size(vector_bytes), aligned(alignof(T)), may_alias));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
constexpr int width = VecOf<T>::width;

template <class T>
static RL_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename VecOf<T>::unaligned*>(p);
}
template <class T>
static RL_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename VecOf<T>::unaligned*>(p) = v;
}

// The first `count` lanes, the others zero (load) or untouched (store); nothing beyond them is accessed.
#if defined(__AVX512F__)
static RL_INLINE Vec<float> load_tail(const float* p, int count) {
  return (Vec<float>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
}
static RL_INLINE Vec<double> load_tail(const double* p, int count) {
  return (Vec<double>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), p);
}
static RL_INLINE void store_tail(float* p, Vec<float> v, int count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
}
static RL_INLINE void store_tail(double* p, Vec<double> v, int count) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << count) - 1), (__m512d)v);
}
static RL_INLINE Vec<float> splat(float x) { return (Vec<float>)_mm512_set1_ps(x); }
static RL_INLINE Vec<double> splat(double x) { return (Vec<double>)_mm512_set1_pd(x); }
static RL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
static RL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif defined(__AVX2__) && defined(__FMA__)
static RL_INLINE __m256i first_lanes32(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static RL_INLINE __m256i first_lanes64(int count) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}
static RL_INLINE Vec<float> load_tail(const float* p, int count) {
  return (Vec<float>)_mm256_maskload_ps(p, first_lanes32(count));
}
static RL_INLINE Vec<double> load_tail(const double* p, int count) {
  return (Vec<double>)_mm256_maskload_pd(p, first_lanes64(count));
}
static RL_INLINE void store_tail(float* p, Vec<float> v, int count) {
  _mm256_maskstore_ps(p, first_lanes32(count), (__m256)v);
}
static RL_INLINE void store_tail(double* p, Vec<double> v, int count) {
  _mm256_maskstore_pd(p, first_lanes64(count), (__m256d)v);
}
static RL_INLINE Vec<float> splat(float x) { return (Vec<float>)_mm256_set1_ps(x); }
static RL_INLINE Vec<double> splat(double x) { return (Vec<double>)_mm256_set1_pd(x); }
static RL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
static RL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#else
template <class T>
static RL_INLINE Vec<T> load_tail(const T* p, int count) {
  Vec<T> v = {};
  for (int i = 0; i < count; i++) v[i] = p[i];
  return v;
}
template <class T>
static RL_INLINE void store_tail(T* p, Vec<T> v, int count) {
  for (int i = 0; i < count; i++) p[i] = v[i];
}
static RL_INLINE Vec<float> splat(float x) { return Vec<float>{x, x, x, x}; }
static RL_INLINE Vec<double> splat(double x) { return Vec<double>{x, x}; }
#if defined(__aarch64__)
static RL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
static RL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#else  // no fused instruction: this level's results may differ in the last bits
template <class T>
static RL_INLINE T fma(T a, T b, T c) {
  return a * b + c;
}
#endif
#endif

// One fused multiply-add of scalars with the vectors' rounding.
template <class T>
static RL_INLINE T fma1(T a, T b, T c) {
#if defined(__FMA__) || defined(__aarch64__)
  if constexpr (sizeof(T) == 4) return __builtin_fmaf(a, b, c);
  else return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

// Transposes a width x width block held in registers: log2(width) rounds, each exchanging the off-diagonal
// quarters of blocks of size 2d.
template <int d, class V, int... lane>
static RL_INLINE void exchange(V& lo, V& hi, std::integer_sequence<int, lane...>) {
  constexpr int w = sizeof...(lane);
  const V a = lo, b = hi;
  lo = __builtin_shufflevector(a, b, ((lane & d) ? w + lane - d : lane)...);
  hi = __builtin_shufflevector(a, b, ((lane & d) ? w + lane : lane + d)...);
}
template <int d, class T>
static RL_INLINE void transpose_round(Vec<T>* rows) {
  if constexpr (d < width<T>) {
#pragma GCC unroll 16
    for (int i = 0; i < width<T>; i++)
      if (!(i & d)) exchange<d>(rows[i], rows[i + d], std::make_integer_sequence<int, width<T>>{});
    transpose_round<2 * d, T>(rows);
  }
}
template <class T>
static RL_INLINE void transpose(Vec<T>* rows) {
  transpose_round<1, T>(rows);
}

// The lanes first, first + 2, ... of a and b, one behind the other.
template <int first, class V, int... lane>
static RL_INLINE V every_second(V a, V b, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(a, b, (2 * lane + first)...);
}
template <int first, class T>
static RL_INLINE Vec<T> every_second(Vec<T> a, Vec<T> b) {
  return every_second<first>(a, b, std::make_integer_sequence<int, width<T>>{});
}
// One half of a[0], b[0], a[1], b[1], ...
template <int half, class V, int... lane>
static RL_INLINE V interleaved(V a, V b, std::integer_sequence<int, lane...>) {
  constexpr int w = sizeof...(lane);
  return __builtin_shufflevector(a, b, (lane % 2 * w + (half * w + lane) / 2)...);
}
template <int half, class T>
static RL_INLINE Vec<T> interleaved(Vec<T> a, Vec<T> b) {
  return interleaved<half>(a, b, std::make_integer_sequence<int, width<T>>{});
}

// ---- 16-bit floats: storage types, computed with as float ----

struct BF16 {
  uint16_t bits;
};
struct F16 {
  _Float16 value;
};

template <class T>
static RL_INLINE T widen(T x) {
  return x;
}
static RL_INLINE float widen(BF16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float f;
  __builtin_memcpy(&f, &bits, 4);
  return f;
}
static RL_INLINE float widen(F16 x) { return static_cast<float>(x.value); }

template <class T>
static RL_INLINE Vec<T> load_wide(const T* p) {
  return load(p);
}
static RL_INLINE Vec<float> load_wide(const BF16* p) {
  constexpr int w = width<float>;
  typedef uint16_t Half __attribute__((vector_size(2 * w)));
  typedef uint32_t Word __attribute__((vector_size(4 * w)));
  Half h;
  __builtin_memcpy(&h, p, sizeof h);
  return (Vec<float>)(__builtin_convertvector(h, Word) << 16);
}
static RL_INLINE Vec<float> load_wide(const F16* p) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__)
  return (Vec<float>)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  Vec<float> v = {};
  for (int i = 0; i < width<float>; i++) v[i] = widen(p[i]);
  return v;
#endif
}

static RL_INLINE void narrow(float x, BF16& out) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  out.bits = x != x ? uint16_t{0x7fc0} : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static RL_INLINE void narrow(float x, F16& out) { out.value = static_cast<_Float16>(x); }

static RL_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static RL_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static RL_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace rushlight::cpu::RL_ISA

// Element types: their names, sizes, categories, promotion, and `visit`, the one place where a dtype becomes a C++ type.
#pragma once
#include <complex>
#include <cstddef>
#include <cstdint>

#include "kernels/float8.h"
#include "kernels/half.h"

namespace rushlight {

using c64 = std::complex<float>;
using c128 = std::complex<double>;
// Two 16-bit floats: stored and converted; element-wise kernels compute it as c64.
struct c32 {
  half real, imag;
};

// Those after complex128 are stored, moved, converted and printed; few kernels take them (see float8 in kernels/map.h).
// The quantised ones at the end are names only: such a tensor has a delegate, and an ordinary tensor of integers in it.
enum class Dtype : uint8_t {
  boolean,
  u8,
  i8,
  i16,
  i32,
  i64,
  f16,
  bf16,
  f32,
  f64,
  c64,
  c128,
  u16,
  u32,
  u64,
  f8_e4m3fn,
  f8_e5m2,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  f8_e8m0fnu,
  c32,
  q8,
  qu8,
  q32,
  qu4x2,
  qu2x4,
  none
};
constexpr int kernel_dtypes = 12;   // boolean .. c128 have kernels
constexpr int storage_dtypes = 21;  // boolean .. c32 can lie in a storage
constexpr int dtype_count = 26;

struct DtypeInfo {
  const char* name;         // "float32", as in rl.float32
  const char* scalar_name;  // "Float", as in kernel error texts
  const char* type_name;    // "FloatTensor"
  const char* ctype_name;   // "float", as in matrix product error texts
  const char* numpy;        // NumPy type string, null where NumPy has none
  uint8_t itemsize;
  uint8_t category;  // 0 bool, 1 integer, 2 floating, 3 complex
};
const DtypeInfo& info(Dtype d);
constexpr size_t itemsize_table[] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8, 8, 16, 2, 4,
                                     8, 1, 1, 1, 1, 1, 4, 1, 1, 4, 1, 1,  0};
inline size_t itemsize(Dtype d) { return itemsize_table[int(d)]; }

enum Category { bool_category, integer_category, float_category, complex_category };
inline Category category(Dtype d) { return Category(info(d).category); }
// Floats that kernels compute with; the 8-bit ones are apart, so that a kernel's own check refuses them.
inline bool is_float(Dtype d) { return d >= Dtype::f16 && d <= Dtype::f64; }
inline bool is_float8(Dtype d) { return d >= Dtype::f8_e4m3fn && d <= Dtype::f8_e8m0fnu; }
inline bool is_any_float(Dtype d) { return is_float(d) || is_float8(d); }
inline bool is_complex(Dtype d) { return d == Dtype::c64 || d == Dtype::c128 || d == Dtype::c32; }
inline bool is_wide_unsigned(Dtype d) { return d >= Dtype::u16 && d <= Dtype::u64; }
inline bool is_unsigned(Dtype d) { return d == Dtype::u8 || is_wide_unsigned(d); }
inline bool is_integral(Dtype d) { return (d >= Dtype::u8 && d <= Dtype::i64) || is_wide_unsigned(d); }
inline bool is_signed(Dtype d) { return d != Dtype::boolean && !is_unsigned(d) && d != Dtype::f8_e8m0fnu; }
inline bool is_quantized(Dtype d) { return d >= Dtype::q8 && d <= Dtype::qu2x4; }
void check_storable(Dtype d);  // throws for the quantised ones
inline bool has_kernels(Dtype d) { return int(d) < kernel_dtypes; }
inline bool differentiable(Dtype d) { return is_any_float(d) || is_complex(d); }
Dtype promote(Dtype a, Dtype b);      // torch.promote_types; throws for the types that do not promote
bool can_cast(Dtype from, Dtype to);  // torch.can_cast
Dtype real_of(Dtype d);               // complex64 -> float32, real ones unchanged
Dtype complex_of(
    Dtype d);           // float32 -> complex64; the types that have no partner of their own go with complex64
Dtype default_dtype();  // float32 unless set_default_dtype changed it
void set_default_dtype(Dtype d);
inline Dtype default_complex() { return complex_of(default_dtype()); }

template <class T> struct dtype_of_t;
#define RL_DTYPE(T, D) \
  template <> struct dtype_of_t<T> { \
    static constexpr Dtype value = Dtype::D; \
  }
RL_DTYPE(bool, boolean);
RL_DTYPE(uint8_t, u8);
RL_DTYPE(int8_t, i8);
RL_DTYPE(int16_t, i16);
RL_DTYPE(int32_t, i32);
RL_DTYPE(int64_t, i64);
RL_DTYPE(half, f16);
RL_DTYPE(bfloat16, bf16);
RL_DTYPE(float, f32);
RL_DTYPE(double, f64);
RL_DTYPE(c64, c64);
RL_DTYPE(c128, c128);
RL_DTYPE(uint16_t, u16);
RL_DTYPE(uint32_t, u32);
RL_DTYPE(uint64_t, u64);
RL_DTYPE(float8_e4m3fn, f8_e4m3fn);
RL_DTYPE(float8_e5m2, f8_e5m2);
RL_DTYPE(float8_e4m3fnuz, f8_e4m3fnuz);
RL_DTYPE(float8_e5m2fnuz, f8_e5m2fnuz);
RL_DTYPE(float8_e8m0fnu, f8_e8m0fnu);
RL_DTYPE(c32, c32);
#undef RL_DTYPE
template <class T> constexpr Dtype dtype_of = dtype_of_t<T>::value;

[[noreturn]] void throw_unsupported(const char* kernel, Dtype d);  // "kernel" not implemented for 'Half'

// visit(d, [&]<class T>() {...}) over all dtypes that have kernels.
template <class F> decltype(auto) visit(Dtype d, F&& f, const char* what = "operator") {
  switch (d) {
    case Dtype::boolean: return f.template operator()<bool>();
    case Dtype::u8: return f.template operator()<uint8_t>();
    case Dtype::i8: return f.template operator()<int8_t>();
    case Dtype::i16: return f.template operator()<int16_t>();
    case Dtype::i32: return f.template operator()<int32_t>();
    case Dtype::i64: return f.template operator()<int64_t>();
    case Dtype::f16: return f.template operator()<half>();
    case Dtype::bf16: return f.template operator()<bfloat16>();
    case Dtype::f32: return f.template operator()<float>();
    case Dtype::f64: return f.template operator()<double>();
    case Dtype::c64: return f.template operator()<c64>();
    case Dtype::c128: return f.template operator()<c128>();
    default: throw_unsupported(what, d);
  }
}
// All dtypes that lie in storages, for code that stores and converts.
template <class F> decltype(auto) visit_storage(Dtype d, F&& f) {
  switch (d) {
    case Dtype::u16: return f.template operator()<uint16_t>();
    case Dtype::u32: return f.template operator()<uint32_t>();
    case Dtype::u64: return f.template operator()<uint64_t>();
    case Dtype::f8_e4m3fn: return f.template operator()<float8_e4m3fn>();
    case Dtype::f8_e5m2: return f.template operator()<float8_e5m2>();
    case Dtype::f8_e4m3fnuz: return f.template operator()<float8_e4m3fnuz>();
    case Dtype::f8_e5m2fnuz: return f.template operator()<float8_e5m2fnuz>();
    case Dtype::f8_e8m0fnu: return f.template operator()<float8_e8m0fnu>();
    case Dtype::c32: return f.template operator()<c32>();
    default: return visit(d, f, "copy_");
  }
}
// float and double only; others raise.
template <class F> decltype(auto) visit_float(Dtype d, F&& f, const char* what = "operator") {
  if (d == Dtype::f32) return f.template operator()<float>();
  if (d == Dtype::f64) return f.template operator()<double>();
  throw_unsupported(what, d);
}
// Moves bytes without looking at them: T is an unsigned integer (or c128) as wide as an element.
template <class F> decltype(auto) visit_size(size_t itemsize, F&& f) {
  switch (itemsize) {
    case 1: return f.template operator()<uint8_t>();
    case 2: return f.template operator()<uint16_t>();
    case 4: return f.template operator()<uint32_t>();
    case 8: return f.template operator()<uint64_t>();
    default: return f.template operator()<c128>();
  }
}

// An element out of memory. A bool may come from a view of other bytes: every byte but 0 is true.
template <class T> inline T load(const T* p) {
  if constexpr (std::is_same_v<T, bool>) return *reinterpret_cast<const unsigned char*>(p) != 0;
  else return *p;
}

// Floats narrower than float: converted by way of it.
template <class T>
concept NarrowFloat = HalfPrecision<T> || Float8<T>;

// Value conversion with PyTorch's rules: truncation, modular integers, complex -> real part, nan -> true.
template <class To, class From> inline To convert(From x) {
  if constexpr (std::is_same_v<To, From>) return x;
  else if constexpr (std::is_same_v<From, c32>) return convert<To>(c64(float(x.real), float(x.imag)));
  else if constexpr (std::is_same_v<To, c32>) {
    const c64 z = convert<c64>(x);
    return {half(z.real()), half(z.imag())};
  } else if constexpr (NarrowFloat<From>) return convert<To>(float(x));
  else if constexpr (std::is_same_v<From, c64> || std::is_same_v<From, c128>) {
    if constexpr (std::is_same_v<To, bool>) return x.real() != 0 || x.imag() != 0;
    else if constexpr (std::is_same_v<To, c64> || std::is_same_v<To, c128>) return To(x.real(), x.imag());
    else return convert<To>(x.real());
  } else if constexpr (NarrowFloat<To>) return To(float(x));
  else if constexpr (std::is_same_v<To, c64>) return c64(float(x), 0);
  else if constexpr (std::is_same_v<To, c128>) return c128(double(x), 0);
  else if constexpr (std::is_same_v<To, bool>) return x != From(0);
  else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // Out of range is undefined in C++; go through int64 with the x86 answer (INT64_MIN) for what does not fit.
    double v = double(x);
    int64_t wide = v >= -9223372036854775808.0 && v < 9223372036854775808.0 ? int64_t(v) : INT64_MIN;
    return To(wide);
  } else return To(x);
}

}  // namespace rushlight

// Copies, conversions and fills: memcpy where memory allows, blocked transposes, strided gathers, and the table of dtype
// conversions.
#include "kernels/copy.h"

#include <array>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/cpu/isa.h"
#include "kernels/loop.h"
#include "kernels/stream.h"
#include "kernels/target.h"
#include "kernels/with_isa.h"

namespace rushlight {

namespace {

constexpr int64_t block = 512;  // elements converted at a time, through buffers that stay in L1

// ---- conversions: all pairs of dtypes that lie in storages ----
template <class To, class From> RL_INLINE void convert_loop(char* to, const char* from, int64_t n) {
  auto* t = reinterpret_cast<To*>(to);
  auto* f = reinterpret_cast<const From*>(from);
  if constexpr (std::is_same_v<From, bool> && sizeof(To) > 1) {
    // 0 for the byte 0, else 1, without a comparison: that would be carried to the width of To before it becomes a number
    auto* bytes = reinterpret_cast<const uint8_t*>(from);
    RL_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) t[i] = convert<To>(uint8_t((bytes[i] + 255u) >> 8));
  } else {
    RL_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) t[i] = convert<To>(load(f + i));
  }
}
#if defined(__x86_64__)
// The processor's own half conversions, which every v3 machine has.
__attribute__((target("avx2,f16c"))) void half_to_float(char* to, const char* from, int64_t n) {
  auto* t = reinterpret_cast<float*>(to);
  auto* f = reinterpret_cast<const half*>(from);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(t + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(f + i))));
  for (; i < n; ++i) t[i] = float(f[i]);
}
__attribute__((target("avx2,f16c"))) void float_to_half(char* to, const char* from, int64_t n) {
  auto* t = reinterpret_cast<half*>(to);
  auto* f = reinterpret_cast<const float*>(from);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(t + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(f + i), _MM_FROUND_TO_NEAREST_INT));
  for (; i < n; ++i) t[i] = half(f[i]);
}
#endif
// Types whose conversions are compiled for AVX-512, too.
template <class T>
constexpr bool is_frequent = std::is_same_v<T, float> || std::is_same_v<T, double> ||
                             std::is_same_v<T, bfloat16> || std::is_same_v<T, int64_t> ||
                             std::is_same_v<T, int32_t> || std::is_same_v<T, bool>;
template <class To, class From> struct Conversion {
  static void same(char* to, const char* from, int64_t n) { std::memcpy(to, from, n * sizeof(To)); }
  RL_TARGET_V2 static void v2(char* to, const char* from, int64_t n) { convert_loop<To, From>(to, from, n); }
  RL_TARGET_V3 static void v3(char* to, const char* from, int64_t n) { convert_loop<To, From>(to, from, n); }
  RL_TARGET_V4 static void v4(char* to, const char* from, int64_t n) { convert_loop<To, From>(to, from, n); }
  static constexpr ConvertRow pick(int level) {  // 0, 1, 2: v2, v3, v4
    if constexpr (std::is_same_v<To, From>) return same;
#if defined(__x86_64__)
    else if constexpr (std::is_same_v<To, float> && std::is_same_v<From, half>)
      return level ? half_to_float : v2;
    else if constexpr (std::is_same_v<To, half> && std::is_same_v<From, float>)
      return level ? float_to_half : v2;
#endif
    else if constexpr (is_frequent<To> && is_frequent<From>) return level == 2 ? v4 : level ? v3 : v2;
    else return level ? v3 : v2;
  }
};

using ConversionTable = std::array<std::array<ConvertRow, storage_dtypes>, storage_dtypes>;
template <class... T> struct TypeList {};
using StorageTypes = TypeList<bool, uint8_t, int8_t, int16_t, int32_t, int64_t, half, bfloat16, float, double,
                              c64, c128, uint16_t, uint32_t, uint64_t, float8_e4m3fn, float8_e5m2,
                              float8_e4m3fnuz, float8_e5m2fnuz, float8_e8m0fnu, c32>;
template <class From, class... To> constexpr std::array<ConvertRow, storage_dtypes> table_row(
    int level, TypeList<To...>) {
  return {Conversion<To, From>::pick(level)...};
}
template <class... From> constexpr ConversionTable make_table(int level, TypeList<From...> all) {
  return {table_row<From>(level, all)...};
}
constexpr ConversionTable conversions[3] = {make_table(0, StorageTypes()), make_table(1, StorageTypes()),
                                            make_table(2, StorageTypes())};

// ---- transposes: dst runs along one dimension, src along another ----
template <class T>
void transpose_tile(char* dst, const char* src, int64_t rows, int64_t columns, int64_t dst_column,
                    int64_t src_row) {
  // dst rows are contiguous in r, src rows in c
  for (int64_t c = 0; c < columns; ++c) {
    T* to = reinterpret_cast<T*>(dst + c * dst_column);
    const char* from = src + c * int64_t(sizeof(T));
    for (int64_t r = 0; r < rows; ++r) to[r] = *reinterpret_cast<const T*>(from + r * src_row);
  }
}

#if defined(__x86_64__)
// 8 x 8 elements of four bytes, in registers
__attribute__((target("avx2"))) void transpose_8(char* dst, const char* src, int64_t dst_column,
                                                 int64_t src_row) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(src + i * src_row));
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int k = 0; k < 2; ++k) {
      a[i + 2 * k] = _mm256_shuffle_ps(b[i + k], b[i + k + 2], 0x44);
      a[i + 2 * k + 1] = _mm256_shuffle_ps(b[i + k], b[i + k + 2], 0xee);
    }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(reinterpret_cast<float*>(dst + i * dst_column),
                     _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_storeu_ps(reinterpret_cast<float*>(dst + (i + 4) * dst_column),
                     _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}
// The multiples of 8 of a tile; what is left over at its edges is for the caller.
__attribute__((target("avx2"))) void transpose_eights(char* dst, const char* src, int64_t rows,
                                                      int64_t columns, int64_t dst_column, int64_t src_row) {
  for (int64_t r = 0; r + 8 <= rows; r += 8)
    for (int64_t c = 0; c + 8 <= columns; c += 8)
      transpose_8(dst + c * dst_column + r * 4, src + r * src_row + c * 4, dst_column, src_row);
}
#endif

// Any tile; four-byte elements go eight by eight where the processor can.
template <class T>
void transpose(char* dst, const char* src, int64_t rows, int64_t columns, int64_t dst_column,
               int64_t src_row) {
#if defined(__x86_64__)
  static const bool wide = cpu::isa() == cpu::Isa::v3 || cpu::isa() == cpu::Isa::v4;
  if (sizeof(T) == 4 && wide) {
    const int64_t r8 = rows / 8 * 8, c8 = columns / 8 * 8;
    transpose_eights(dst, src, rows, columns, dst_column, src_row);
    if (c8 < columns)
      transpose_tile<T>(dst + c8 * dst_column, src + c8 * 4, r8, columns - c8, dst_column, src_row);
    if (r8 < rows)
      transpose_tile<T>(dst + r8 * 4, src + r8 * src_row, rows - r8, columns, dst_column, src_row);
    return;
  }
#endif
  transpose_tile<T>(dst, src, rows, columns, dst_column, src_row);
}

// A tile goes through a buffer in L1, for rows of dst that lie a power of two apart drive each other out of it, and is then
// written row by row; meanwhile the tile below is on its way, which the processor does not foresee.
template <class T>
void transpose_strip(char* dst, const char* src, int64_t rows, int64_t columns, int64_t dst_column,
                     int64_t src_row, bool past) {
  constexpr int64_t tile = 32, item = sizeof(T);
  alignas(64) char turned[tile * tile * item];
  for (int64_t r0 = 0; r0 < rows; r0 += tile) {
    const int64_t height = std::min(tile, rows - r0);
    const char* from = src + r0 * src_row;
    for (int64_t r = tile; r < std::min(2 * tile, rows - r0); ++r)
      for (int64_t b = 0; b < columns * item; b += 64) __builtin_prefetch(from + r * src_row + b);
    transpose<T>(turned, from, height, columns, tile * item, src_row);
    char* to = dst + r0 * item;
    if (past) {
      stream_rows(to, dst_column, turned, tile * item, height * item, columns);
    } else if (height == tile) {  // a length that the compiler knows
      for (int64_t c = 0; c < columns; ++c)
        std::memcpy(to + c * dst_column, turned + c * tile * item, tile * item);
    } else {
      for (int64_t c = 0; c < columns; ++c)
        std::memcpy(to + c * dst_column, turned + c * tile * item, height * item);
    }
  }
}

// True if it was done. Dimension 0 of the loop is contiguous in dst; one other must be contiguous in src.
bool transpose_copy(const Loop& loop, size_t itemsize) {
  int64_t item = itemsize;
  if (loop.stride(0) != item || loop.stride(1) == item || loop.ndim < 2) return false;
  int other = -1;
  for (int d = 1; d < loop.ndim; ++d)
    if (loop.strides[1][d] == item) other = d;
  if (other < 0 || loop.sizes[0] < 4 || loop.sizes[other] < 4) return false;
  constexpr int64_t strip = 32;
  int64_t rows = loop.sizes[0], columns = loop.sizes[other];
  int64_t dst_column = loop.strides[0][other], src_row = loop.strides[1][0];
  const bool past = streams(2 * loop.numel * item);
  // the remaining dimensions, and strips of columns, are the parallel work
  int64_t strips = (columns + strip - 1) / strip, batches = 1;
  for (int d = 1; d < loop.ndim; ++d)
    if (d != other) batches *= loop.sizes[d];
  int64_t grain = std::max<int64_t>(1, pointwise_grain / std::max<int64_t>(1, rows * strip));
  parallel_for(batches * strips, grain, [&](int64_t begin, int64_t end) {
    for (int64_t w = begin; w < end; ++w) {
      int64_t rest = w / strips, c0 = w % strips * strip, width = std::min(strip, columns - c0);
      char* dst = loop.base[0] + c0 * dst_column;
      const char* src = loop.base[1] + c0 * item;
      for (int d = 1; d < loop.ndim; ++d) {
        if (d == other) continue;
        int64_t i = rest % loop.sizes[d];
        rest /= loop.sizes[d];
        dst += i * loop.strides[0][d];
        src += i * loop.strides[1][d];
      }
      visit_size(itemsize,
                 [&]<class T>() { transpose_strip<T>(dst, src, rows, width, dst_column, src_row, past); });
    }
    if (past) stream_end();
  });
  return true;
}

template <class T> void copy_strided(char* to, int64_t to_stride, const char* from, int64_t from_stride,
                                     int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    *reinterpret_cast<T*>(to + i * to_stride) = *reinterpret_cast<const T*>(from + i * from_stride);
}

// A contiguous row, converted and written past the caches.
void stream_converted(ConvertRow convert, char* to, size_t to_item, const char* from, size_t from_item,
                      int64_t n) {
  alignas(64) char converted[block * 16];
  const int64_t most = int64_t(sizeof converted / to_item);
  for (int64_t at = 0; at < n; at += most) {
    const int64_t m = std::min(most, n - at);
    convert(converted, from + at * from_item, m);
    stream_copy(to + at * to_item, converted, m * to_item);
  }
}

template <class T> RL_INLINE void fill_elements(T* to, int64_t n, T x) { std::fill_n(to, n, x); }
template <class T> RL_INLINE void reverse_row(T* to, const T* last, int64_t n) {
  RL_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) to[i] = last[-i];
}

}  // namespace

ConvertRow convert_row(Dtype from, Dtype to) {
  static const int level = cpu::isa() == cpu::Isa::v4 ? 2 : cpu::isa() == cpu::Isa::v3 ? 1 : 0;
  return conversions[level][int(from)][int(to)];
}

void write_number(char* to, Dtype d, const Value& number) {
  visit_storage(d, [&]<class T>() {
    T x = number.tag == Value::complex ? convert<T>(number.as_complex())
          : number.tag == Value::real  ? convert<T>(number.d)
                                       : convert<T>(number.i);
    std::memcpy(to, &x, sizeof(T));
  });
}

void fill_row(char* to, const char* element, size_t itemsize, int64_t n) {
  visit_size(itemsize, [&]<class T>() {
    T x;
    std::memcpy(&x, element, sizeof(T));
    with_isa([to, n, x] { fill_elements(reinterpret_cast<T*>(to), n, x); });
  });
}

void gather_row(char* to, const char* from, int64_t stride, size_t itemsize, int64_t n) {
  visit_size(itemsize, [&]<class T>() {
    if (stride == -int64_t(sizeof(T)))
      with_isa([=] { reverse_row(reinterpret_cast<T*>(to), reinterpret_cast<const T*>(from), n); });
    else copy_strided<T>(to, sizeof(T), from, stride, n);
  });
}

void scatter_row(char* to, int64_t stride, const char* from, size_t itemsize, int64_t n) {
  visit_size(itemsize, [&]<class T>() { copy_strided<T>(to, stride, from, sizeof(T), n); });
}

// gather_row past the caches
static void stream_gathered(char* to, const char* from, int64_t stride, size_t itemsize, int64_t n) {
  constexpr int64_t most = 256;
  alignas(64) char gathered[most * 16];
  const int64_t reach = std::abs(stride) <= 64 ? most * stride : 0;  // of a block, where it is in one piece
  for (int64_t at = 0; at < n; at += most) {
    const int64_t m = std::min(most, n - at);
    const char* source = from + at * stride;
    prefetch(source + 2 * reach + std::min<int64_t>(reach, 0), std::abs(reach));
    gather_row(gathered, source, stride, itemsize, m);
    stream_copy(to + at * itemsize, gathered, m * itemsize);
  }
}

void copy(const Tensor& dst, const Tensor& src) {
  int64_t n = dst.numel();
  if (n == 0) return;
  size_t to_item = dst.itemsize(), from_item = src.itemsize();
  bool same_dtype = dst.dtype() == src.dtype();
  ConvertRow convert = convert_row(src.dtype(), dst.dtype());
  char *to = dst.raw(), *from = src.raw();
  if (src.numel() == n && same(dst.sizes(), src.sizes()) &&
      ((dst.contiguous() && src.contiguous()) ||
       (same(dst.strides(), src.strides()) && is_dense(dst.sizes(), dst.strides())))) {
    if (to == from) return;
    const bool past = streams(n * int64_t(to_item + from_item));
    parallel_for(n, pointwise_grain * 4, [&](int64_t begin, int64_t end) {
      if (!past) return convert(to + begin * to_item, from + begin * from_item, end - begin);
      if (same_dtype) stream_copy(to + begin * to_item, from + begin * from_item, (end - begin) * to_item);
      else
        stream_converted(convert, to + begin * to_item, to_item, from + begin * from_item, from_item,
                         end - begin);
      stream_end();
    });
    return;
  }
  Loop loop(dst.sizes());
  loop.add(dst);
  loop.add(src);
  loop.finish();
  if (same_dtype && loop.ndim > 1 && transpose_copy(loop, to_item)) return;
  int64_t to_stride = loop.stride(0), from_stride = loop.stride(1);
  bool to_run = to_stride == int64_t(to_item), from_run = from_stride == int64_t(from_item);
  const bool past = same_dtype && to_run && from_stride != 0 && loop.row() * to_item >= 256 &&
                    streams(2 * n * int64_t(to_item));
  if (same_dtype && to_run && from_run) {
    parallel_for(n, pointwise_grain, [&](int64_t begin, int64_t end) {
      loop.each_row(begin, end, [&](char* const* p, int64_t count) {
        if (past) stream_copy(p[0], p[1], count * to_item);
        else std::memcpy(p[0], p[1], count * to_item);
      });
      if (past) stream_end();
    });
    return;
  }
  if (past) {
    parallel_for(n, pointwise_grain, [&](int64_t begin, int64_t end) {
      loop.each_row(begin, end, [&](char* const* p, int64_t count) {
        stream_gathered(p[0], p[1], from_stride, to_item, count);
      });
      stream_end();
    });
    return;
  }
  loop.parallel_rows(pointwise_grain, [&](char* const* p, int64_t count) {
    if (same_dtype) {
      if (from_stride == 0 && to_run) fill_row(p[0], p[1], to_item, count);
      else if (to_run) gather_row(p[0], p[1], from_stride, to_item, count);
      else
        visit_size(to_item, [&]<class T>() { copy_strided<T>(p[0], to_stride, p[1], from_stride, count); });
      return;
    }
    alignas(64) char gathered[block * 16], converted[block * 16];
    for (int64_t at = 0; at < count; at += block) {
      int64_t m = std::min(block, count - at);
      const char* source = p[1] + at * from_stride;
      if (!from_run) {
        gather_row(gathered, source, from_stride, from_item, m);
        source = gathered;
      }
      char* target = p[0] + at * to_stride;
      convert(to_run ? target : converted, source, m);
      if (!to_run) scatter_row(target, to_stride, converted, to_item, m);
    }
  });
}

void fill(const Tensor& dst, const Value& number) {
  if (dst.numel() == 0) return;
  if (number.tag == Value::real && number.d == 0 && !std::signbit(number.d) && dst.contiguous() &&
      dst.nbytes() <= 4096) {
    std::memset(dst.raw(), 0, dst.nbytes());
    return;
  }
  alignas(16) char element[16];
  write_number(element, dst.dtype(), number);
  size_t item = dst.itemsize();
  bool zero = std::all_of(element, element + item, [](char ch) { return ch == 0; });
  if (dst.contiguous() || is_dense(dst.sizes(), dst.strides())) {
    char* to = dst.raw();
    parallel_for(dst.numel(), pointwise_grain * 4, [&](int64_t begin, int64_t end) {
      if (zero) std::memset(to + begin * item, 0, (end - begin) * item);
      else fill_row(to + begin * item, element, item, end - begin);
    });
    return;
  }
  Loop loop(dst.sizes());
  loop.add(dst);
  loop.finish();
  int64_t stride = loop.stride(0);
  loop.parallel_rows(pointwise_grain, [&](char* const* p, int64_t n) {
    if (stride == int64_t(item)) fill_row(p[0], element, item, n);
    else visit_size(item, [&]<class T>() { copy_strided<T>(p[0], stride, element, 0, n); });
  });
}

}  // namespace rushlight

// Non-temporal stores, with the widest registers there are.
#include "kernels/stream.h"

#include <cstring>

#include "kernels/cpu/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rushlight {

#if defined(__x86_64__)

namespace {

constexpr size_t line = 64;

// Whole lines; `to` is aligned to them.
using CopyLines = void (*)(char* to, const char* from, size_t lines);

void lines_v2(char* to, const char* from, size_t lines) {
  for (size_t i = 0; i < lines * line; i += 16)
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
}
__attribute__((target("avx2"))) void lines_v3(char* to, const char* from, size_t lines) {
  for (size_t i = 0; i < lines * line; i += 32)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i)));
}
__attribute__((target("avx512f"))) void lines_v4(char* to, const char* from, size_t lines) {
  for (size_t i = 0; i < lines * line; i += 64)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_loadu_si512(from + i));
}

CopyLines copy_lines() {
  static const CopyLines chosen = cpu::isa() == cpu::Isa::v4   ? lines_v4
                                  : cpu::isa() == cpu::Isa::v3 ? lines_v3
                                                               : lines_v2;
  return chosen;
}

}  // namespace

void stream_copy(void* to, const void* from, size_t bytes) {
  auto* target = static_cast<char*>(to);
  auto* source = static_cast<const char*>(from);
  const size_t before = (line - reinterpret_cast<uintptr_t>(target) % line) % line;
  if (bytes < before + line) {
    std::memcpy(target, source, bytes);
    return;
  }
  std::memcpy(target, source, before);
  const size_t lines = (bytes - before) / line, done = before + lines * line;
  copy_lines()(target + before, source + before, lines);
  std::memcpy(target + done, source + done, bytes - done);
}

void stream_rows(char* to, int64_t to_apart, const char* from, int64_t from_apart, int64_t bytes,
                 int64_t rows) {
  const bool whole = (reinterpret_cast<uintptr_t>(to) | uint64_t(to_apart) | uint64_t(bytes)) % line == 0;
  const CopyLines copy = copy_lines();
  for (int64_t r = 0; r < rows; ++r, to += to_apart, from += from_apart)
    if (whole) copy(to, from, bytes / line);
    else std::memcpy(to, from, bytes);
}

void stream_end() { _mm_sfence(); }

#else

void stream_copy(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
void stream_rows(char* to, int64_t to_apart, const char* from, int64_t from_apart, int64_t bytes,
                 int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * to_apart, from + r * from_apart, bytes);
}
void stream_end() {}

#endif

}  // namespace rushlight

// Detects the instruction set once, by cpuid, and lets an environment variable lower it (so that tests can
// run every level on one machine).
#include "isa.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace rushlight::cpu {
namespace {

#if defined(__x86_64__)
Isa detect() {
  __builtin_cpu_init();  // __builtin_cpu_supports also asks the operating system about the wide registers
  unsigned a = 0, b = 0, c1 = 0, c81 = 0, d = 0;
  __get_cpuid(1, &a, &b, &c1, &d);
  __get_cpuid(0x80000001u, &a, &b, &c81, &d);
  const bool f16c = c1 >> 29 & 1, movbe = c1 >> 22 & 1, lzcnt = c81 >> 5 & 1;
  if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2") && f16c && movbe && lzcnt))
    return Isa::v2;
  if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")))
    return Isa::v3;
  return Isa::v4;
}

Isa lowered(Isa best) {
  const char* wish = std::getenv("RUSHLIGHT_CPU");
  if (!wish) return best;
  Isa wanted = best;
  if (!std::strcmp(wish, "v2")) wanted = Isa::v2;
  if (!std::strcmp(wish, "v3") || !std::strcmp(wish, "avx2")) wanted = Isa::v3;
  return wanted < best ? wanted : best;
}

bool find_amx() {
#if defined(__linux__)
  const char* wish = std::getenv("RUSHLIGHT_CPU");
  if (isa() != Isa::v4 || (wish && (!std::strcmp(wish, "v4") || !std::strcmp(wish, "avx512")))) return false;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1))
    return false;                                                               // bf16, tiles
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return false;  // AVX512_BF16
  // The tiles are 8 KB of state per thread; Linux wants to be asked before it sets the room aside.
  constexpr long request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}
#endif

}  // namespace

Isa isa() {
#if defined(__x86_64__)
  static const Isa chosen = lowered(detect());
  return chosen;
#else
  return Isa::neon;
#endif
}

bool has_amx() {
#if defined(__x86_64__)
  static const bool found = find_amx();
  return found;
#else
  return false;
#endif
}

const char* isa_name() {
  switch (isa()) {
    case Isa::v2: return "v2";
    case Isa::v3: return "v3";
    case Isa::v4: return "v4";
    case Isa::neon: return "neon";
  }
  return "";
}

}  // namespace rushlight::cpu

// Which instruction set the CPU kernels run with. Files named *.isa.cpp are compiled once per set, into the
// namespaces rushlight::cpu::v2, v3 and v4 (x86-64 levels) or neon; callers pick one through RL_PICK. Files named
// *.amx.cpp are compiled once, for v4 with the matrix unit of Intel's servers.
#pragma once

namespace rushlight::cpu {

enum class Isa { v2, v3, v4, neon };

// The best set this machine has, lowered by RUSHLIGHT_CPU=v2|v3|v4|avx2|avx512. Decided once.
Isa isa();
// Whether bfloat16 products may use the matrix unit (AMX): v4 and the unit are there, the system lets this process use
// it, and RUSHLIGHT_CPU is unset or "amx". Decided, and the system asked, at the first call.
bool has_amx();
const char* isa_name();

}  // namespace rushlight::cpu

// Declares something once in every instruction set's namespace, to be used inside namespace rushlight::cpu:
// RL_FOR_EACH_ISA(void f(int);)
#if defined(__x86_64__)
#define RL_FOR_EACH_ISA(...) \
  namespace v2 { \
  __VA_ARGS__ \
  } \
  namespace v3 { \
  __VA_ARGS__ \
  } \
  namespace v4 { \
  __VA_ARGS__ \
  }
// The address of the function `name` compiled for the machine's instruction set.
#define RL_PICK(name) \
  (::rushlight::cpu::isa() == ::rushlight::cpu::Isa::v4   ? &::rushlight::cpu::v4::name \
   : ::rushlight::cpu::isa() == ::rushlight::cpu::Isa::v3 ? &::rushlight::cpu::v3::name \
                                                          : &::rushlight::cpu::v2::name)
#else
#define RL_FOR_EACH_ISA(...) \
  namespace neon { \
  __VA_ARGS__ \
  }
#define RL_PICK(name) (&::rushlight::cpu::neon::name)
#endif

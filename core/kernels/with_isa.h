// with_isa(f): runs f compiled for the best instruction set of this machine. f is a lambda that holds the whole loop.
#pragma once
#include "kernels/cpu/isa.h"
#include "kernels/target.h"

namespace rushlight {

namespace detail {
template <class F> RL_TARGET_V2 inline void in_v2(F& f) { f(); }
template <class F> RL_TARGET_V3 inline void in_v3(F& f) { f(); }
template <class F> RL_TARGET_V4 inline void in_v4(F& f) { f(); }
}  // namespace detail

template <class F> void with_isa(F&& f) {
  switch (cpu::isa()) {
    case cpu::Isa::v4: return detail::in_v4(f);
    case cpu::Isa::v3: return detail::in_v3(f);
    default: return detail::in_v2(f);
  }
}

}  // namespace rushlight

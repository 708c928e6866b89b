// vmap's say in calls without a batched argument: python/delegate.cpp.
#pragma once
#include "op/op.h"

namespace rushlight {

// inside vmap; read by every call
#if defined(__linux__)
extern constinit thread_local bool batching __attribute__((tls_model("initial-exec")));
#else
extern constinit thread_local bool batching;
#endif
// True where the call draws random numbers and vmap has seen to it.
bool drawn_by_vmap(Call& c);

}  // namespace rushlight

// vmap's say in calls without a batched argument: python/delegate.cpp.
#pragma once
#include "op/op.h"

namespace rushlight {

// True where the call draws random numbers and vmap has seen to it. Asked while modes().batching.
bool drawn_by_vmap(Call& c);

}  // namespace rushlight

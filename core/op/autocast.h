// Autocast on the CPU: which operators compute in a lower precision, which in float32, and the road that casts their
// arguments. Off, it costs dispatch one flag test.
#pragma once
#include "op/op.h"

namespace rushlight {

// What an operator of this name does while autocast is on.
Autocast autocast_policy(std::string_view name);

// Of this thread. Whether casting is on right now is modes().autocast: inside an operator it is not.
struct AutocastState {
  Dtype dtype = Dtype::bf16;
  int nesting = 0;  // contexts entered; the casts are forgotten with the last one
  bool caching = true;
};
AutocastState& autocast_state();
void clear_autocast_cache();

// Calls rest(c) with the arguments cast as the operator asks for.
void run_autocast(Call& c, void (*rest)(Call&));

}  // namespace rushlight

// Autocast on the CPU: the road that casts the arguments of the operators whose blocks ask for it (Spec::autocast). Off, it costs dispatch one flag test.
#pragma once
#include "op/op.h"

namespace rushlight {

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

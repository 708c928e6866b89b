// Operators outside the pointwise family that exist in two forms: name makes a changed copy, name_ changes its input.
#pragma once
#include "op/op.h"

namespace rushlight::ops {

struct Both {
  const Op &made, &written;
};
// Defines both forms from one block. spec.sig is that of the first; body writes to c.out(), which holds the input's values
// already; with Starts::empty body fills it from c.in(0) itself unless c.in_place, so that memory is passed over once, and may
// fail half-way. Without a rule the output is shaped like argument 0.
enum class Starts { copied, empty };
Both def_both(Spec spec, void (*body)(Call&), Starts starts = Starts::copied);

}  // namespace rushlight::ops

// softmax, for other formulas.
#pragma once
#include "op/op.h"

namespace rushlight::ops {

extern const Op &softmax, &log_softmax;

}  // namespace rushlight::ops

// What the random operators share with the binding: the generator behind a generator= argument.
#pragma once
#include "kernels/random.h"
#include "op/value.h"

namespace rushlight {

// The default generator where no argument was given. Raises TypeError for anything that is no generator.
Generator& generator_of(const Value& v);

}  // namespace rushlight

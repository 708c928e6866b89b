// What the random operators share with each other and with the binding.
#pragma once
#include "kernels/random.h"
#include "op/op.h"

namespace rushlight {

// The generator behind a generator= argument, the default one where none was given. TypeError for anything else.
Generator& generator_of(const Value& v);

namespace ops {

// NotImplementedError naming the kernel for dtypes without samplers.
RandomDtype random_dtype(Dtype d, const char* kernel);
void fill_normal(const Tensor& out, double mean, double std, const Value& generator);
// Samplers have zero gradient with respect to their parameters.
Grads zeros_for_inputs(const Call& c, const Tensor& g);

// Runs a sampler; a dtype that it lacks is a NotImplementedError.
template <class F> void draw(F&& f) {
  try {
    f();
  } catch (const RandomNotImplemented& e) { throw not_implemented(e.what()); }
}

}  // namespace ops

}  // namespace rushlight

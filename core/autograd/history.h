// Changes to what a tensor's grad_fn is, asked for from Python: a composite's name for it, views made in place. Writes into many
// tensors at once.
#pragma once
#include "autograd/node.h"

namespace rushlight {

// The node of t, if it is a recorded op, goes by this name from now on: composites show one name for all they call.
void show_history_as(const Tensor& t, const std::string& name);

// t takes over the geometry and the history of `view`, a view of t: t.transpose_(0, 1).
void become_view(const Tensor& t, const Tensor& view);

// wrote() for all of them: the user's line is looked for once.
void wrote_all(std::span<const Tensor> targets);

}  // namespace rushlight

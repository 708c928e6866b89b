// Forward mode: tensors that carry tangents, one per level. Note [Tangents] in forward.cpp says how they move along.
#pragma once
#include "autograd/node.h"

namespace rushlight {

struct Tangent {
  int64_t level;
  Tensor value;
};

int64_t enter_forward_level();
void exit_forward_level(int64_t level);  // of the innermost one; its tangents are forgotten
std::vector<int64_t> forward_levels();   // active ones up to the ceiling, outermost first
int64_t innermost_forward_level();       // -1 where none is active

// The tangent of t at an active level: its own, or for a view the same part of its base's. Empty: zero.
Tensor tangent_of(const Tensor& t, int64_t level);
void set_tangent(const Tensor& t, int64_t level, Tensor tangent);
// to gets what from carries (another handle on the same value).
void copy_tangents(const Tensor& from, const Tensor& to);

// What dispatch calls while a level is active, between the kernel and record(): the outputs of the call get tangents.
bool carries_tangents(const Call& c);
void push_tangents(Call& c);

}  // namespace rushlight

// Softmax and log-softmax of contiguous arrays seen as (outer, dim, inner), normalised over dim, and their gradients; the
// logarithm of the sum that they divide by.
// T is float or double. Results depend neither on threads nor on the instruction set.
#pragma once

#include <cstdint>

namespace rushlight::cpu {

struct SoftmaxShape {
  int64_t outer, dim, inner;
};

template <class T>
void softmax(const SoftmaxShape& shape, bool log, const T* x, T* y);
// y is the result of the forward pass.
template <class T>
void softmax_backward(const SoftmaxShape& shape, bool log, const T* gy, const T* y, T* gx);
// log(sum(exp(row))) of each of the rows, which have at least one element.
template <class T>
void logsumexp(int64_t rows, int64_t length, const T* x, T* y);

}  // namespace rushlight::cpu

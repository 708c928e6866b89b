// What the operators that write along one dimension share.
#pragma once
#include "kernels/half.h"
#include "op/value.h"

namespace rushlight::ops {

inline int64_t size_of(const Tensor& t, int64_t d) { return t.ndim() ? t.size(d) : 1; }

// a * b in the dtype's own arithmetic: integers wrap, bool is "and".
template <class T> T scaled(T a, T b) {
  if constexpr (std::is_same_v<T, bool>) return a && b;
  else if constexpr (std::is_integral_v<T>)
    return T(std::make_unsigned_t<T>(a) * uint64_t(std::make_unsigned_t<T>(b)));
  else if constexpr (HalfPrecision<T>) return T(float(a) * float(b));
  else return a * b;
}

// The source of a write; raises where it is the target itself.
const Tensor& apart(const Tensor& source, const Tensor& t);
// The number as a 0-d tensor of dtype d.
Tensor number_element(const Value& v, Dtype d);

}  // namespace rushlight::ops

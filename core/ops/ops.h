// Operators that C++ formulas use. Each line names an op defined by a block in core/ops/*.cpp; an op needs no line here
// to exist.
#pragma once
#include "op/op.h"

namespace rushlight::ops {

// arith.cpp
extern const Op &add, &sub, &rsub, &mul, &div, &floor_divide, &neg, &reciprocal, &abs, &sgn, &square,
    &addcmul, &addcdiv;
// power.cpp
extern const Op &pow, &pow_scalar, &pow_base, &sqrt, &rsqrt;
// math.cpp, trig.cpp
extern const Op &exp, &exp2, &expm1, &log, &log1p, &log2, &log10, &sigmoid, &sin, &cos, &sinh, &cosh, &tanh;
// compare.cpp
extern const Op &eq, &ne, &lt, &le, &gt, &ge, &maximum, &minimum, &clamp, &clamp_min, &clamp_max, &isnan,
    &isfinite;
// logic.cpp
extern const Op &logical_and, &logical_or, &logical_not, &where, &masked_fill;
// copy.cpp
extern const Op &clone, &to_dtype, &copy_, &fill_, &zero_;
// complex.cpp
extern const Op &real, &imag, &conj;
// activation.cpp, smooth.cpp
extern const Op &relu, &softplus;
// special.cpp
extern const Op &erf, &digamma, &polygamma;
// view.cpp
extern const Op &expand, &permute, &transpose, &select, &slice, &squeeze, &unsqueeze, &unsafe_view,
    &as_strided;

// ---- helpers for formulas (arith.cpp) ----
// The chain rule for a holomorphic function: g times (over) the conjugate of b; b may be a number.
Tensor chain(const Tensor& g, const Value& b);
Tensor chain_over(const Tensor& g, const Value& b);
// A fresh tensor of zeros with the layout of t: the gradient of step functions.
Tensor fresh_zeros(const Tensor& t);

}  // namespace rushlight::ops

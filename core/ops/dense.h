// Helpers for kernels that want contiguous memory in a type they compute in. Nothing here is recorded by autograd.
#pragma once
#include "kernels/copy.h"
#include "op/op.h"

namespace rushlight::ops {

// What a kernel computes in: the 16-bit floats go through float32.
inline Dtype compute_type(Dtype d) { return d == Dtype::f16 || d == Dtype::bf16 ? Dtype::f32 : d; }

// t itself where it is contiguous and of that dtype, a copy that is otherwise.
inline Tensor dense(const Tensor& t, Dtype d) {
  if (t.contiguous() && t.dtype() == d) return t;
  Tensor copied = empty(t.sizes(), d, t.device());
  rushlight::copy(copied, t);
  return copied;
}
inline Tensor dense(const Tensor& t) { return dense(t, t.dtype()); }

// For ops that only gradient formulas call: their arguments fit together unless somebody calls them by hand.
inline void expect(bool ok, const Call& c) {
  if (!ok) [[unlikely]]
    throw runtime_error(c.op.name, ": the arguments do not fit together");
}

// The weight or bias of a normalisation has its input's dtype, or float32 beside a 16-bit one.
inline void check_parameter(const Call& c, int k) {
  if (!c.has(k)) return;
  Dtype x = c.in(0).dtype(), p = c.in(k).dtype();
  if (p == x || (p == Dtype::f32 && compute_type(x) == Dtype::f32)) return;
  if (!is_float(x)) throw runtime_error("mixed dtype (CPU): all inputs must share same datatype.");
  throw runtime_error("mixed dtype (CPU): expect parameter to have scalar type of Float");
}

// Where a kernel writes: the output itself, or a contiguous stand-in that `store` copies to it.
class Result {
 public:
  Result(const Tensor& out, Dtype d)
      : out_(out), work_(out.contiguous() && out.dtype() == d ? out : empty(out.sizes(), d)) {}
  const Tensor& work() const { return work_; }
  template <class T> T* data() const { return work_.data<T>(); }
  void store() const {
    if (!work_.is(out_)) rushlight::copy(out_, work_);
  }

 private:
  Tensor out_, work_;
};

// A kernel made of other ops hands over its result in place of the allocated output.
inline void set_out(Call& c, int k, Tensor t) {
  if (c.in_place || t.dtype() != c.outs[k].dtype()) rushlight::copy(c.outs[k], t);
  else c.outs[k] = std::move(t);
}

// The same op by name, looked up once: OP(sum).call({x, dims})
#define RL_OP(name) \
  ([]() -> const ::rushlight::Op& { \
    static const ::rushlight::Op& op = ::rushlight::find_op(name); \
    return op; \
  }())

}  // namespace rushlight::ops

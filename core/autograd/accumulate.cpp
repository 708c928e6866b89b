// Leaves: the AccumulateGrad node at the end of each path through the graph, and how a gradient gets into
// .grad.
#include "autograd/hooks.h"
#include "autograd/node.h"

namespace rushlight {

namespace {

struct AccumulateGrad final : Node {
  Tensor variable;

  explicit AccumulateGrad(const Tensor& t) : variable(t) {
    seq = UINT64_MAX;  // gradients reach .grad as early as possible, so that their memory is free again
    t->accumulator = this;
  }
  ~AccumulateGrad() override { variable->accumulator = nullptr; }
  const char* name() const override { return "torch::autograd::AccumulateGrad"; }
  const char* class_name() const override { return "AccumulateGrad"; }
  GradMeta output_meta(uint32_t) const override {
    return {variable.sizes(), variable.dtype(), variable.device()};
  }
  TensorList apply(TensorList grads, uint64_t) override {
    Tensor g = std::move(grads[0]);
    if (!g || !variable.needs_grad()) return {};
    accumulate_grad(variable, std::move(g));
    if (variable->extra && variable->extra->accumulate_hooks) run_accumulate_hooks(variable);
    return {};
  }
  int traverse(visitproc visit, void* arg) override {
    Py_VISIT(variable.get());
    return 0;
  }
};

bool same_layout(const Tensor& a, const Tensor& b) {
  return (a.contiguous() && b.contiguous()) || same(a.strides(), b.strides());
}

// A copy laid out as the variable is, so that optimizers and later sums run over both in the same order.
Tensor copy_like(const Tensor& variable, const Tensor& g) {
  static const Op& clone = find_op("clone");
  bool dense = is_dense(variable.sizes(), variable.strides());
  if (!dense || (!grad_enabled() && same_layout(variable, g))) return clone(g);
  static const Op& copy = find_op("copy_");
  Tensor out = empty_strided(variable.sizes(), variable.strides(), g.dtype(), g.device());
  copy(out, g);
  return out;
}

}  // namespace

Tensor variable_of(Node* n) {
  auto* a = dynamic_cast<AccumulateGrad*>(n);
  return a ? a->variable : Tensor();
}

Edge gradient_edge(const Tensor& t) {
  if (Node* fn = grad_fn(t)) return {NodeRef::share(fn), t->output_nr};
  if (!t.needs_grad()) return {};
  if (t->accumulator) return {NodeRef::share(t->accumulator), 0};
  return {NodeRef::steal(new AccumulateGrad(t)), 0};
}

bool unshared(const Tensor& t) {
  Storage* s = t->storage;
  return Py_REFCNT(t.get()) == 1 && s && s->refs == 1 && !s->parent && !s->free_fn && !t->base;
}

void accumulate_grad(const Tensor& t, Tensor g) {
  if (TensorObject* old = t->grad) {
    static const Op& add = find_op("add");
    if (old->delegate && !g->delegate) {  // sparse + dense is dense
      Tensor sum = add(g, Tensor::share(old));
      old = std::exchange(t->grad, sum.release());
      Py_DECREF(old);
      return;
    }
    if (!grad_enabled()) {
      Tensor held = Tensor::share(old);
      if (!held->inference) {
        add.call_inplace({held, g});
        return;
      }
    }
    Tensor sum = add(Tensor::share(old), g);
    old = std::exchange(t->grad, sum.release());
    Py_DECREF(old);
    return;
  }
  if (g->delegate) {
    static const Op& clone = find_op("clone");
    t->grad = (grad_enabled() ? clone(g) : alias(g)).release();
    return;
  }
  bool dense = g.contiguous() || is_dense(g.sizes(), g.strides());
  if (grad_enabled() || !unshared(g) || !dense || !same_layout(t, g)) g = copy_like(t, g);
  else if (g.needs_grad()) g = alias(g);  // the graph behind it is not asked for
  t->grad = g.release();
}

}  // namespace rushlight

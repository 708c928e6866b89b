// Forward mode on the one road: after the kernel of a call whose arguments carry tangents, those of its outputs are
// computed from the derivative formula that backward uses.
#include "autograd/forward.h"

#include <algorithm>

#include "autograd/hooks.h"
#include "python/autograd.h"

namespace rushlight {

// Note [Tangents]
// A formula maps the gradient u of the outputs to those of the inputs, and it is linear: rows = L(u). For tangents t of
// the inputs, the tangent of the outputs is the adjoint of L applied to t, which is what backward through the recorded
// formula gives from rows to u. So no operator has a second formula. Views apply themselves to the tangent instead, so
// that tangent and value keep sharing memory in the same way.
//
// Levels nest (jvp of jvp). The tangent at an inner (larger) level may itself carry tangents of outer levels, never the
// other way round: while the tangents of level k are computed, only levels below k count (modes().forward_ceiling).

namespace {

struct Levels {
  std::vector<int64_t> active;  // ascending
  int64_t last = -1;
};
Levels& levels() {
  static thread_local auto* all = new Levels;
  return *all;
}
bool is_active(int64_t level) {
  auto& a = levels().active;
  return level <= modes().forward_ceiling && std::find(a.begin(), a.end(), level) != a.end();
}

struct Ceiling {
  int64_t before;
  explicit Ceiling(int64_t level) : before(modes().forward_ceiling) {
    modes().forward_ceiling = std::min(before, level - 1);
  }
  ~Ceiling() { modes().forward_ceiling = before; }
};

const Tensor* own_tangent(TensorObject* t, int64_t level) {
  if (!t->extra) return nullptr;
  for (auto& x : t->extra->tangents)
    if (x.level == level) return &x.value;
  return nullptr;
}

void copy_into(const Tensor& target, const Tensor& value) {
  static const Op& copy = find_op("copy_");
  copy(target, value);
}

Tensor zeros_like_layout(const Tensor& t) {
  Dims strides = overlaps_itself(t.sizes(), t.strides()) ? contiguous_strides(t.sizes()) : Dims(t.strides());
  Tensor z = empty_strided(t.sizes(), strides, t.dtype(), t.device());
  static const Op& zero = find_op("zero_");
  GradMode off(false);
  zero(z);
  return z;
}

// The tangent of a base, laid out like the base, so that a view finds its part in it.
Tensor base_tangent(const Tensor& base, int64_t level) {
  Tensor t = *own_tangent(base.get(), level);
  if (same(t.strides(), base.strides())) return t;
  Tensor fresh = zeros_like_layout(base);
  copy_into(fresh, t);
  set_tangent(base, level, fresh);
  return fresh;
}

// Calls f(slot, tensor) on every gradient slot; an operand that is a number has an empty handle.
template <class F> void each_slot(const Call& c, F&& f) {
  int slot = 0;
  for (size_t i = 0; i < c.args.size(); ++i) {
    const Value& v = c.args[i];
    Type type = c.op.params[i].type;
    if (v.tag == Value::tensors) {
      for (auto& t : v.as_tensors()) f(slot++, t);
    } else if (type == Type::tensor || type == Type::operand) {
      f(slot++, v.tag == Value::tensor ? v.as_tensor() : Tensor());
    }
  }
}

bool is_argument(const Call& c, const Tensor& t) {
  bool found = false;
  each_slot(c, [&](int, const Tensor& x) { found |= x && x.is(t); });
  return found;
}

void push_view(Call& c, int64_t level) {
  Tensor t = tangent_of(c.in(0), level);
  if (!t) return;
  std::vector<Value> args(c.args.begin(), c.args.end());
  args[0] = Value(t);
  Call same_view(c.op, args);
  {
    Ceiling below(level);
    run(same_view);
  }
  for (size_t k = 0; k < c.outs.size() && k < same_view.outs.size(); ++k)
    if (c.outs[k] && same_view.outs[k] && !c.outs[k].is(c.in(0)))
      set_tangent(c.outs[k], level, same_view.outs[k]);
}

bool anything(const Tensor& t) {
  static const Op& any = find_op("any");
  return t.numel() && !t.is_meta() && *any(t).data<bool>();
}

// A formula whose result does not depend on u by way of the graph: either the derivative is zero, or it is computed by
// something that cannot be differentiated once more.
void check_zero(Call& c, Node* node, const TensorList& u, uint64_t wanted, size_t slot) {
  TensorList ones;
  for (auto& x : u) ones.push_back(x ? full(x.sizes(), x.dtype(), 1) : Tensor());
  TensorList rows = node->apply(std::move(ones), wanted);
  if (slot < rows.size() && rows[slot] && anything(rows[slot]))
    throw not_implemented("Trying to use forward AD with ", c.op.name,
                          " that does not support it because its derivative cannot be differentiated again");
}

// A tangent has memory of its own, for in-place writes change it. Where a formula only passes a gradient on, so does its
// adjoint, and the result is the tangent of an input.
Tensor unshared_with(const TensorList& others, const Tensor& t) {
  bool shared = overlaps_itself(t.sizes(), t.strides());
  for (auto& other : others) shared |= t->storage && t->storage == other->storage;
  if (!shared) return t;
  static const Op& clone = find_op("clone");
  return clone(t);
}

// Tangents of the outputs from those of the inputs (empty handles: zero).
TensorList through_formula(Call& c, const TensorList& tangents, int64_t level) {
  Ceiling below(level);
  bool create_graph = grad_enabled();
  bool hooks = std::exchange(modes().saved_hooks, false);
  NodeRef node;
  uint64_t wanted = 0;
  for (size_t k = 0; k < tangents.size() && k < 64; ++k) wanted |= uint64_t(bool(tangents[k])) << k;
  try {
    node = make_formula_node(c);
  } catch (...) {
    modes().saved_hooks = hooks;
    throw;
  }
  modes().saved_hooks = hooks;

  GradMode record(true);
  uint64_t since = next_sequence_number();
  TensorList u(c.outs.size()), inputs, roots, vectors;
  for (size_t k = 0; k < c.outs.size(); ++k) {
    if (!c.outs[k] || !differentiable(c.outs[k].dtype())) continue;
    u[k] = full(c.outs[k].sizes(), c.outs[k].dtype(), 0);
    u[k]->requires_grad = true;
    inputs.push_back(u[k]);
  }
  TensorList rows = node->apply(u, wanted);
  each_slot(c, [&](int slot, const Tensor& x) {
    if (size_t(slot) >= rows.size() || !tangents[slot] || !rows[slot]) return;
    Tensor row = fit_gradient(rows[slot], x.sizes(), x.dtype());
    if (!row.needs_grad()) return check_zero(c, node.get(), u, wanted, slot);
    roots.push_back(row);
    vectors.push_back(tangents[slot]);
  });
  TensorList result(c.outs.size());
  if (roots.empty()) return result;
  TensorList found = run_backward({roots.data(), roots.size()}, {vectors.data(), vectors.size()}, false,
                                  create_graph, {inputs.data(), inputs.size()}, false, true, since);
  for (size_t k = 0, i = 0; k < u.size(); ++k) {
    if (!u[k] || !found[i++]) continue;
    result[k] = unshared_with(vectors, found[i - 1]);
    vectors.push_back(result[k]);
  }
  return result;
}

// An in-place write changes the tangent of its target in place, too: views of both stay in step.
void write_tangent(const Tensor& target, int64_t level, const Tensor& fresh) {
  Tensor old = tangent_of(target, level);
  if (!old && !fresh) return;
  if (!old && target->base) {
    Tensor base = Tensor::share(target->base);
    set_tangent(base, level, zeros_like_layout(base));
    old = tangent_of(target, level);
  }
  Ceiling below(level);
  if (!old) return set_tangent(target, level, fresh);
  if (old->requires_grad && !old->grad_fn) {
    static const Op& clone = find_op("clone");
    set_tangent(target, level, old = clone(old));
  }
  if (fresh) return copy_into(old, fresh);
  static const Op& zero = find_op("zero_");
  zero(old);
}

}  // namespace

int64_t enter_forward_level() {
  Levels& l = levels();
  l.active.push_back(++l.last);
  modes().forward = true;
  return l.last;
}
void exit_forward_level(int64_t level) {
  Levels& l = levels();
  while (!l.active.empty() && l.active.back() >= level) l.active.pop_back();
  modes().forward = !l.active.empty();
}
std::vector<int64_t> forward_levels() {
  std::vector<int64_t> all = levels().active;
  std::erase_if(all, [](int64_t level) { return level > modes().forward_ceiling; });
  return all;
}
int64_t innermost_forward_level() { return levels().active.empty() ? -1 : levels().active.back(); }

Tensor tangent_of(const Tensor& t, int64_t level) {
  if (!is_active(level)) return Tensor();
  if (auto* own = own_tangent(t.get(), level)) return *own;
  if (!t->base || !own_tangent(t->base, level)) return Tensor();
  Ceiling below(level);
  Tensor base = Tensor::share(t->base);
  Tensor part = part_like(base_tangent(base, level), t, base);
  set_tangent(t, level, part);
  return part;
}

void set_tangent(const Tensor& t, int64_t level, Tensor tangent) {
  auto& all = extra_of(t.get()).tangents;
  track(t);
  std::erase_if(all, [&](const Tangent& x) { return x.level == level; });
  if (tangent) all.push_back({level, std::move(tangent)});
}

void copy_tangents(const Tensor& from, const Tensor& to) {
  for (int64_t level : forward_levels())
    if (Tensor t = tangent_of(from, level)) set_tangent(to, level, t);
}

bool carries_tangents(const Call& c) {
  auto has = [](TensorObject* t) { return t->extra && !t->extra->tangents.empty(); };
  bool any = false;
  each_slot(c, [&](int, const Tensor& t) { any |= t && (has(t.get()) || (t->base && has(t->base))); });
  return any;
}

void push_tangents(Call& c) {
  bool differentiable_call = c.op.spec.grad;
  for (int64_t level : forward_levels()) {
    if (c.op.spec.family == view && !c.in_place) {
      if (differentiable_call) push_view(c, level);
      continue;
    }
    TensorList tangents;
    bool any = false;
    each_slot(c, [&](int, const Tensor& t) {
      tangents.push_back(t ? tangent_of(t, level) : Tensor());
      any |= bool(tangents[tangents.size() - 1]);
    });
    if (!any) continue;
    TensorList fresh(c.outs.size());
    if (differentiable_call) fresh = through_formula(c, tangents, level);
    if (c.in_place) {
      write_tangent(c.outs[0], level, fresh[0]);
      continue;
    }
    for (size_t k = 0; k < c.outs.size(); ++k)
      if (fresh[k] && !is_argument(c, c.outs[k])) set_tangent(c.outs[k], level, fresh[k]);
  }
}

}  // namespace rushlight

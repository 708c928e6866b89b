// In-place writes and views: what is forbidden, how a write into a view becomes part of its base's history
// (CopySlices), and how a view finds its history again after its base changed.
#include "autograd/history.h"
#include "autograd/hooks.h"
#include "autograd/node.h"
#include "autograd/saved.h"

namespace rushlight {

namespace {

// Position of a view inside its base.
struct Geometry {
  Dims sizes, strides;
  int64_t offset = 0;  // in elements of the view's dtype, from the base's first element
  Dtype dtype = Dtype::none;
};
Geometry geometry_of(const Tensor& view, const Tensor& base) {
  int64_t ratio_offset = base.offset() * int64_t(base.itemsize()) / int64_t(view.itemsize());
  return {view.sizes(), view.strides(), view.offset() - ratio_offset, view.dtype()};
}

// The same part of another tensor that is laid out like the base. Through the op, so that it is
// differentiable; views of another dtype (x.real) only as plain memory.
Tensor part_of(const Tensor& whole, const Geometry& g) {
  int64_t offset = whole.offset() * int64_t(whole.itemsize()) / int64_t(itemsize(g.dtype)) + g.offset;
  if (g.dtype == whole.dtype()) {
    static const Op& as_strided = find_op("as_strided");
    return as_strided(whole, g.sizes, g.strides, offset);
  }
  if (grad_enabled())
    throw not_implemented(
        "create_graph=True through an in-place write on a view of another dtype (such as x.real)");
  return on_storage(StorageRef::share(whole->storage), g.dtype, g.sizes, g.strides, offset);
}

struct Layout {
  Dims sizes, strides;
  Dtype dtype;
  Device device;
  explicit Layout(const Tensor& t)
      : sizes(t.sizes()), strides(t.strides()), dtype(t.dtype()), device(t.device()) {
    if (!is_dense(sizes, strides)) strides = contiguous_or_same(t);
  }
  Tensor make() const { return empty_strided(sizes, strides, dtype, device); }

 private:
  // Gaps are kept (a view's geometry is counted in them); an overlapping base gets room of its own.
  static Dims contiguous_or_same(const Tensor& t) {
    return overlaps_itself(t.sizes(), t.strides()) ? contiguous_strides(t.sizes()) : Dims(t.strides());
  }
};

void write(const Tensor& target, const Tensor& value) {
  static const Op& copy = find_op("copy_");
  copy(target, value);
}
void clear(const Tensor& target) {
  static const Op& zero = find_op("zero_");
  zero(target);
}

// The history of a base after a write into one of its views: outside the view the gradient passes unchanged,
// inside it goes through the function of the write.
struct CopySlices final : Node {
  std::vector<Edge> edge_store;
  Layout base;
  Geometry view;
  NodeRef fn;
  uint32_t slot;  // which of fn's gradients belongs to the overwritten value

  CopySlices(const Tensor& base_tensor, const Tensor& view_tensor, NodeRef f, uint32_t k)
      : base(base_tensor), view(geometry_of(view_tensor, base_tensor)), fn(std::move(f)), slot(k) {
    for (uint32_t i = 0; i < fn->nedges; ++i) edge_store.push_back(std::move(fn->edges[i]));
    edge_store[slot] = gradient_edge(base_tensor);
    edges = edge_store.data();
    nedges = edge_store.size();
    seq = next_sequence_number();
    site = current_site();
  }
  const char* name() const override { return "CopySlices"; }
  GradMeta output_meta(uint32_t) const override { return {base.sizes, base.dtype, base.device}; }
  TensorList apply(TensorList grads, uint64_t wanted) override {
    if (!grads[0]) return TensorList(nedges);
    Tensor result = grads[0]->delegate ? laid_out_alike(grads[0]) : base.make();
    if (!grads[0]->delegate) write(result, grads[0]);
    Tensor part = part_of(result, view);
    static const Op& clone = find_op("clone");
    TensorList results = fn->apply({clone(part)}, wanted);
    results.resize(nedges);
    if (wanted >> slot & 1) {
      if (results[slot]) write(part, results[slot]);
      else clear(part);
      results[slot] = result;
    }
    return results;
  }
  // A copy whose elements lie as in the base, for a tensor that carries out its operators itself.
  Tensor laid_out_alike(const Tensor& g) const {
    static const Op& clone = find_op("clone");
    Tensor copy = clone(g);
    if (!same(copy.strides(), base.strides))
      throw not_implemented(
          "vmap: backward through an in-place write on a view of a tensor that is not contiguous");
    return copy;
  }
  void release_saved() override {
    fn->released = true;
    fn->release_saved();
  }
  int traverse(visitproc visit, void* arg) override { return fn->refs == 1 ? fn->traverse(visit, arg) : 0; }
};

// History of a view of another dtype after its base changed (x.real after x.mul_(...)).
struct ReinterpretNode final : Node {
  Edge edge;
  Layout base;
  Geometry view;
  Device device;
  ReinterpretNode(const Tensor& base_tensor, const Tensor& view_tensor)
      : edge(gradient_edge(base_tensor)),
        base(base_tensor),
        view(geometry_of(view_tensor, base_tensor)),
        device(view_tensor.device()) {
    edges = &edge;
    nedges = 1;
    seq = next_sequence_number();
  }
  const char* name() const override { return "AsStridedBackward0"; }
  GradMeta output_meta(uint32_t) const override { return {view.sizes, view.dtype, device}; }
  TensorList apply(TensorList grads, uint64_t) override {
    if (!grads[0]) return TensorList(1);
    Tensor result = base.make();
    clear(result);
    write(part_of(result, view), grads[0]);
    return {result};
  }
};

bool needs_grad(TensorObject* t) { return t->requires_grad || t->grad_fn; }

constexpr uint8_t made_in_function = 2;  // value of TensorObject::is_view

// Raises where the history of a view cannot be rewritten. indirect: the write went to the base or to another
// view.
void check_view(const Tensor& t, bool indirect) {
  const char* happening = indirect ? " and its base or another view of its base has been modified inplace"
                                   : " and is being modified inplace";
  std::string name = t->grad_fn ? t->grad_fn->name() : "None";
  if (size_t at = name.rfind("Backward"); at != std::string::npos) name.resize(at);
  if (t->is_view == made_in_function)
    throw runtime_error(
        "Output ", t->output_nr, " of ", name, " is a view", happening,
        ". This view was created inside a custom Function (or because an input was returned as-is) and the "
        "autograd logic to handle view+inplace would override the custom backward associated with the custom "
        "Function, leading to incorrect gradients. This behavior is forbidden. You can fix this by cloning "
        "the output of the custom Function.");
  if (t->multi_view && t->grad_fn)
    throw runtime_error(
        "Output ", t->output_nr, " of ", name, " is a view", happening,
        ". This view is the output of a function that returns multiple views. Such functions do not allow "
        "the output views to be modified inplace. You should replace the inplace operation by an "
        "out-of-place one.");
  if (t->non_leaf_view_no_grad)
    throw runtime_error(
        "A view was created in no_grad mode", happening,
        " with grad mode enabled. Given that this use case is "
        "ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and "
        "the inplace either both inside the no_grad block (if you don't want the inplace to be tracked) or "
        "both outside (if you want the inplace to be tracked).");
}

void regenerate(const Tensor& view) {
  Tensor base = Tensor::share(view->base);
  check_view(view, true);
  GradMode on(true);
  NodeRef fn;
  if (view.dtype() == base.dtype()) {
    Geometry g = geometry_of(view, base);
    static const Op& as_strided = find_op("as_strided");
    Tensor again = as_strided(base, g.sizes, g.strides, view.offset());
    fn = NodeRef::share(again->grad_fn);
  } else {
    fn = NodeRef::steal(new ReinterpretNode(base, view));
  }
  if (view->retains_grad) move_retain(view.get(), view->grad_fn, fn.get(), 0);
  set_history(view, std::move(fn), 0);
}

}  // namespace

Tensor part_like(const Tensor& whole, const Tensor& view, const Tensor& base) {
  return part_of(whole, geometry_of(view, base));
}

Node* grad_fn(const Tensor& t) {
  TensorObject* o = t.get();
  if (!o->base || o->view_version == t.version()) [[likely]]
    return o->grad_fn;
  if (needs_grad(o->base) && differentiable(o->dtype)) regenerate(t);
  return o->grad_fn;
}

void set_history(const Tensor& t, NodeRef node, uint32_t nr) {
  TensorObject* o = t.get();
  Node* old = std::exchange(o->grad_fn, node.release());
  o->output_nr = nr;
  o->view_version = t.version();
  unref(old);
}

void rebase_history(const Tensor& t, NodeRef node, uint32_t nr, uint32_t slot) {
  TensorObject* o = t.get();
  if (o->extra) Py_CLEAR(o->extra->backward_hooks);  // these stay with the old node
  if (!o->base) {
    if (o->retains_grad) move_retain(o, o->grad_fn, node.get(), nr);
    set_history(t, std::move(node), nr);
    return;
  }
  if (node->nouts > 1) throw not_implemented("in-place write on a view by a function with several outputs");
  Tensor base = Tensor::share(o->base);
  auto slices = NodeRef::steal(new CopySlices(base, t, std::move(node), slot));
  if (base->retains_grad) move_retain(base.get(), base->grad_fn, slices.get(), 0);
  set_history(base, std::move(slices), 0);
  regenerate(t);
}

void become_view(const Tensor& t, const Tensor& view) {
  check_inplace(t, grad_enabled() && view.needs_grad());
  NodeRef node = grad_enabled() ? NodeRef::share(view->grad_fn) : NodeRef();
  set_layout(t, view.sizes(), view.strides(), view.offset());
  wrote(t);
  if (!node) return;
  TensorObject* o = t.get();
  if (o->extra) Py_CLEAR(o->extra->backward_hooks);  // these stay with the old node
  if (o->retains_grad) move_retain(o, o->grad_fn, node.get(), view->output_nr);
  set_history(t, std::move(node), view->output_nr);
}

void check_inplace(const Tensor& t, bool recording) {
  TensorObject* o = t.get();
  if (o->inference && !modes().inference) [[unlikely]]
    throw runtime_error(
        "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get "
        "a "
        "normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more "
        "details.");
  if (!grad_enabled() || !(recording || t.needs_grad())) return;
  if (o->base) {
    grad_fn(t);  // brings the history up to date, or says why it cannot
    check_view(t, false);
    if (o->base->requires_grad && !o->base->grad_fn && differentiable(o->dtype))
      throw runtime_error(
          "a view of a leaf Variable that requires grad is being used in an in-place operation.");
  }
  if (o->requires_grad && !o->grad_fn)
    throw runtime_error("a leaf Variable that requires grad is being used in an in-place operation.");
}

void make_view(const Tensor& out, const Tensor& in, const Op& op) {
  if (out.is(in) || out->storage != in->storage || out->inference) return;
  out->is_view = 1;
  out->view_version = out.version();
  out->multi_view = op.list_out || op.nouts > 1 || in->multi_view;
  out->non_leaf_view_no_grad = !grad_enabled() || in->non_leaf_view_no_grad;
  if (in->is_view == made_in_function) out->is_view = made_in_function;
  Tensor base = in->base ? Tensor::share(in->base) : in;
  out->base = base.release();
}

void wrote(const Tensor& t) { wrote_all({&t, 1}); }

void wrote_all(std::span<const Tensor> targets) {
  const Site site = targets.empty() ? Site() : current_site();
  for (auto& t : targets) {
    if (!t->storage) continue;
    t.bump_version();
    remember_write(t->storage, site);
  }
}

}  // namespace rushlight

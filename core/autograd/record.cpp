// Recording: the node that every op of the table gets. It is one block of memory: the struct, then its edges,
// the arguments, the sizes of inputs and outputs, and the saved tensors.
#include <cstring>
#include <new>
#include <type_traits>
#include <unordered_set>

#include "autograd/history.h"
#include "autograd/hooks.h"
#include "autograd/node.h"
#include "autograd/saved.h"
#include "device/allocator.h"
#include "python/python.h"

namespace rushlight {

namespace {

// Sizes of an output, sizes and strides of an input; they lie in the node's block.
struct Shape {
  const int64_t* dims = nullptr;
  uint8_t ndim = 0;
  Dtype dtype = Dtype::none;
  Device device;
  int16_t saved = -1;  // of an output: its index among the saved tensors
};

struct OpNode final : Node {
  static constexpr size_t front = 16;
  const Op* op = nullptr;
  uint16_t nargs = 0, nsaved = 0;
  const char* shown = nullptr;  // instead of the op's name: see show_history_as
  bool owns_objects = false;    // some argument is a Python object
  bool saves = false;           // a second pass needs what the first one frees
  Value* args = nullptr;    // a tensor argument holds the index of its Saved (or -1) in place of the tensor
  Shape* inputs = nullptr;  // per gradient slot
  Shape* outputs = nullptr;
  Saved* saved = nullptr;

  // From the free lists of small blocks; the size, which they ask for again, lies in front of the node.
  static void* operator new(size_t size, size_t extra) {
    const size_t bytes = front + size + extra;
    char* block = static_cast<char*>(allocate(bytes));
    *reinterpret_cast<size_t*>(block) = bytes;
    return block + front;
  }
  static void operator delete(void* p) {
    char* block = static_cast<char*>(p) - front;
    release(block, *reinterpret_cast<size_t*>(block));
  }
  static void operator delete(void* p, size_t) { operator delete(p); }
  ~OpNode() override;
  const char* name() const override { return shown ? shown : op->grad_name.c_str(); }
  GradMeta output_meta(uint32_t nr) const override {
    const Shape& s = outputs[nr];
    return {{s.dims, s.ndim}, s.dtype, s.device};
  }
  TensorList apply(TensorList grads, uint64_t wanted) override;
  void release_saved() override {
    for (int k = 0; k < nsaved; ++k) saved[k].drop();
  }
  int traverse(visitproc visit, void* arg) override {
    for (int k = 0; k < nsaved; ++k)
      if (int stop = saved[k].traverse(visit, arg)) return stop;
    return 0;
  }
};

OpNode::~OpNode() {
  for (uint32_t k = 0; k < nedges; ++k) edges[k].~Edge();
  release_saved();
  if (owns_objects)
    for (int k = 0; k < nargs; ++k)
      if (args[k].tag == Value::object) Py_XDECREF(args[k].o);
}

// The gradient of an in-place op that has no derivative (y.random_(), y.eq_(0)): zero for the old value.
struct StopNode final : Node {
  const Op* op;
  Edge edge;
  Dims sizes;
  Dtype dtype;
  Device device;
  StopNode(const Op& o, const Tensor& target)
      : op(&o),
        edge(gradient_edge(target)),
        sizes(target.sizes()),
        dtype(target.dtype()),
        device(target.device()) {
    edges = &edge;
    nedges = 1;
  }
  const char* name() const override { return op->grad_name.c_str(); }
  GradMeta output_meta(uint32_t) const override { return {sizes, dtype, device}; }
  TensorList apply(TensorList, uint64_t) override {
    if (!edge.node) return {Tensor()};
    GradMeta m = edge.node->output_meta(edge.nr);
    static const Op& zeros = find_op("zeros");
    return {zeros(m.sizes, m.dtype, m.device)};
  }
};

template <class F> void each_tensor(const Call& c, F&& f) {
  for (auto& v : c.args) {
    if (v.tag == Value::tensor) f(v.as_tensor());
    else if (v.tag == Value::tensors)
      for (auto& t : v.as_tensors())
        if (t) f(t);
  }
}

bool is_slot(Type t) { return t == Type::tensor || t == Type::operand; }

// Hands out pieces of the block behind the node.
struct Arena {
  char* at;
  template <class T> T* take(size_t n) {
    T* p = reinterpret_cast<T*>(at);
    at += n * sizeof(T);
    return p;
  }
};
size_t round_up(size_t n) { return (n + 7) & ~size_t(7); }

// The shape of the call decides how large the block is; the same walk then fills it.
struct Measure {
  size_t slots = 0, dims = 0, bytes = 0;
  int saved = 0;
};

uint32_t save_mask(const Saves& s, const Edge* edges, size_t slots) {
  uint32_t mask = s.always;
  const uint32_t per_slot[] = {s.for0, s.for1, s.for2};
  for (size_t k = 0; k < 3 && k < slots; ++k)
    if (edges[k].node) mask |= per_slot[k];
  return mask;
}

uint32_t all_saves(const Saves& s) { return s.always | s.for0 | s.for1 | s.for2; }

void fill_shape(Shape& s, const Tensor& t, Arena& arena, bool with_strides) {
  int n = t.ndim() * (with_strides ? 2 : 1);
  int64_t* dims = arena.take<int64_t>(n);
  std::memcpy(dims, t->dims, n * sizeof(int64_t));
  s = {dims, t->ndim, t.dtype(), t.device(), -1};
}

void keep_argument(Value& to, const Value& from, Arena& arena) {
  to = from;
  if (from.tag == Value::ints) {
    int64_t* p = arena.take<int64_t>(from.count);
    if (from.count) std::memcpy(p, from.int_list, from.count * sizeof(int64_t));
    to.int_list = p;
  } else if (from.tag == Value::reals) {
    double* p = arena.take<double>(from.count);
    if (from.count) std::memcpy(p, from.real_list, from.count * sizeof(double));
    to.real_list = p;
  } else if (from.tag == Value::text) {
    size_t n = std::strlen(from.s) + 1;
    char* p = arena.take<char>(round_up(n));
    std::memcpy(p, from.s, n);
    to.s = p;
  }
}

NodeRef make_node(Call& c, bool all_slots = false) {
  const Op& op = c.op;
  Measure m;
  for (size_t i = 0; i < c.args.size(); ++i) {
    const Value& v = c.args[i];
    if (v.tag == Value::tensors) {
      m.slots += v.count;
      for (auto& t : v.as_tensors()) m.dims += t ? 2 * t.ndim() : 0;
    } else if (is_slot(op.params[i].type)) {
      ++m.slots;
      if (v.tag == Value::tensor) m.dims += 2 * v.as_tensor().ndim();
    } else if (v.tag == Value::ints || v.tag == Value::reals) {
      m.dims += v.count;
    } else if (v.tag == Value::text) {
      m.bytes += round_up(std::strlen(v.s) + 1);
    }
  }
  size_t nouts = c.outs.size();
  for (auto& out : c.outs) m.dims += out ? out.ndim() : 0;
  size_t max_saved = m.slots + nouts;
  size_t extra = m.slots * (sizeof(Edge) + sizeof(Shape)) + c.args.size() * sizeof(Value) +
                 nouts * sizeof(Shape) + max_saved * sizeof(Saved) + m.dims * sizeof(int64_t) + m.bytes;

  auto* n = new (extra) OpNode;
  NodeRef ref = NodeRef::steal(n);
  Arena arena{reinterpret_cast<char*>(n + 1)};
  n->op = &op;
  n->seq = next_sequence_number();
  n->nouts = nouts;
  n->edges = arena.take<Edge>(m.slots);
  n->saved = arena.take<Saved>(max_saved);
  n->args = arena.take<Value>(c.args.size());
  n->inputs = arena.take<Shape>(m.slots);
  n->outputs = arena.take<Shape>(nouts);
  for (size_t k = 0; k < m.slots; ++k) new (n->edges + k) Edge;
  n->nedges = m.slots;
  for (size_t k = 0; k < m.slots; ++k) new (n->inputs + k) Shape;
  for (size_t k = 0; k < nouts; ++k) new (n->outputs + k) Shape;

  // first the edges: which of them exist decides what is saved
  size_t slot = 0;
  for (size_t i = 0; i < c.args.size(); ++i) {
    const Value& v = c.args[i];
    auto one = [&](const Tensor& t) {
      fill_shape(n->inputs[slot], t, arena, true);
      n->edges[slot] = gradient_edge(t);
    };
    if (v.tag == Value::tensors) {
      for (auto& t : v.as_tensors()) {
        if (t) one(t);
        ++slot;
      }
    } else if (is_slot(op.params[i].type)) {
      if (v.tag == Value::tensor) one(v.as_tensor());
      ++slot;
    }
  }
  uint32_t mask = all_slots ? all_saves(op.spec.saves) : save_mask(op.spec.saves, n->edges, m.slots);

  auto keep = [&](const Tensor& t) {
    Saved* s = new (n->saved + n->nsaved) Saved;
    ++n->nsaved;
    // dispatch has counted the in-place write by now, but what is kept must be the value from before it
    bool written = c.in_place && t->storage && t->storage == c.outs[0]->storage;
    s->keep_input(t, written ? c.version_before : t.version());
  };
  for (size_t i = 0; i < c.args.size(); ++i) {
    const Value& v = c.args[i];
    Value& kept = *new (n->args + i) Value;
    ++n->nargs;
    bool wanted = i < 16 && (mask >> i & 1);
    if (v.tag == Value::tensor) {
      kept.tag = Value::tensor;
      kept.i = wanted ? n->nsaved : -1;
      if (wanted && i == 0 && c.original) {
        Saved* s = new (n->saved + n->nsaved) Saved;
        ++n->nsaved;
        s->keep_input(c.original, c.original.version());
      } else if (wanted) {
        keep(v.as_tensor());
      }
    } else if (v.tag == Value::tensors) {
      kept.tag = Value::tensors;
      kept.count = v.count;
      kept.i = wanted ? n->nsaved : -1;
      if (wanted)
        for (auto& t : v.as_tensors()) {
          if (t) keep(t);
          else new (n->saved + n->nsaved++) Saved;
        }
    } else if (v.tag == Value::object) {
      kept = v;
      Py_XINCREF(v.o);
      n->owns_objects = true;
    } else {
      keep_argument(kept, v, arena);
      n->saves |= wanted && v.is_number() && op.params[i].type == Type::operand;
    }
  }
  for (size_t k = 0; k < nouts; ++k) {
    if (!c.outs[k]) continue;
    fill_shape(n->outputs[k], c.outs[k], arena, false);
    if (k < 16 && (mask >> (16 + k) & 1)) {
      n->outputs[k].saved = n->nsaved;
      Saved* s = new (n->saved + n->nsaved) Saved;
      ++n->nsaved;
      s->keep_output(c.outs[k], k);
    }
  }
  n->saves |= n->nsaved > 0;
  return ref;
}

}  // namespace

TensorList OpNode::apply(TensorList grads, uint64_t wanted) {
  bool any = false;
  for (auto& g : grads) any |= bool(g);
  if (!any) return TensorList(nedges);
  if (released && saves) throw_already_released();

  Value few[12];
  std::vector<Value> many;
  Value* values = few;
  if (nargs > 12) {
    many.resize(nargs);
    values = many.data();
  }
  TensorList held;  // the call borrows these; another thread or a hook may release the node meanwhile
  held.reserve(nedges);
  auto hold = [&](const Saved& s) {
    if (s) held.push_back(s.unpack(this));
    else held.push_back(Tensor());
  };
  for (int i = 0; i < nargs; ++i) {
    const Value& kept = args[i];
    Value& v = values[i];
    if (kept.tag == Value::tensor) {
      v.tag = Value::tensor;
      v.t = nullptr;
      if (kept.i < 0) continue;
      hold(saved[kept.i]);
      v.t = held[held.size() - 1].get();
    } else if (kept.tag == Value::tensors) {
      size_t first = held.size();
      for (uint32_t k = 0; k < kept.count; ++k) {
        if (kept.i >= 0) hold(saved[kept.i + k]);
        else held.push_back(Tensor());
      }
      v.tag = Value::tensors;
      v.count = kept.count;
      v.tensor_list = reinterpret_cast<TensorObject* const*>(held.data() + first);
    } else {
      v = kept;
    }
  }
  Call c(*op, {values, nargs});
  c.node = this;
  c.grads = &grads;
  c.wanted = wanted;
  c.outs.resize(nouts);
  for (uint32_t k = 0; k < nouts; ++k)
    if (outputs[k].saved >= 0) c.outs[k] = saved[outputs[k].saved].unpack(this);
  if (!grads[0] && nouts > 1 && !op->list_out) {
    static const Op& zeros = find_op("zeros");
    GradMeta m = output_meta(0);
    if (differentiable(m.dtype)) grads[0] = zeros(m.sizes, m.dtype, m.device);
  }
  TensorList results = op->spec.grad(c, grads[0]);
  if (results.size() < nedges) results.resize(nedges);
  return results;
}

thread_local Node* evaluated_node = nullptr;
PyObject* node_object(Node* n);  // python/node_type.cpp

void remember_traceback(Node* n) {
  Py traceback(checked(PyImport_ImportModule("traceback")));
  Py lines(checked(PyObject_CallMethod(traceback.get(), "format_stack", nullptr)));
  if (PyDict_SetItemString(metadata_of(n), "traceback_", lines.get()) < 0) throw PythonError();
  if (!evaluated_node) return;
  Py parent(checked(node_object(evaluated_node)));
  if (PyDict_SetItemString(metadata_of(n), "parent_", parent.get()) < 0) throw PythonError();
}

bool needs_record(const Call& c) {
  if (!grad_enabled()) return false;
  if (!c.op.spec.grad) return c.in_place && c.in(0).needs_grad();
  bool any = false;
  each_tensor(c, [&](const Tensor& t) { any |= t.needs_grad(); });
  return any;
}

void record(Call& c) {
  bool any = false;
  for (auto& out : c.outs) any |= out && differentiable(out.dtype());
  if (!any) return;
  NodeRef node = c.op.spec.grad ? make_node(c) : NodeRef::steal(new StopNode(c.op, c.in(0)));
  if (!c.op.spec.grad) node->seq = next_sequence_number();
  node->site = current_site();
  if (modes().anomaly) [[unlikely]]
    remember_traceback(node.get());
  if (c.in_place) {
    rebase_history(c.outs[0], std::move(node), 0, 0);
    return;
  }
  size_t last = c.outs.size() - 1;
  for (size_t k = 0; k <= last; ++k)
    if (c.outs[k] && differentiable(c.outs[k].dtype()))
      set_history(c.outs[k], k == last ? std::move(node) : node, k);
}

NodeRef make_formula_node(Call& c) { return make_node(c, true); }

void keep_original(Call& c, bool all_slots) {
  // Which slots are wanted: the target's own gradient is slot 0, the others follow in order.
  const Saves& s = c.op.spec.saves;
  uint32_t mask = all_slots ? all_saves(s) : s.always;
  const uint32_t per_slot[] = {s.for0, s.for1, s.for2};
  size_t slot = 0;
  for (size_t i = 0; i < c.args.size() && slot < 3; ++i) {
    const Value& v = c.args[i];
    if (v.tag == Value::tensors) slot += v.count;
    else if (is_slot(c.op.params[i].type)) {
      if (v.tag == Value::tensor && v.as_tensor().needs_grad()) mask |= per_slot[slot];
      ++slot;
    }
  }
  if (!(mask & In0)) return;
  static const Op& clone = find_op("clone");
  c.original = clone(c.in(0));
}

// ---- what formulas ask about the forward call ----
namespace {
const Shape& input_shape(const Call& c, int slot) { return static_cast<const OpNode*>(c.node)->inputs[slot]; }
}  // namespace
IntSpan Call::in_sizes(int slot) const {
  const Shape& s = input_shape(*this, slot);
  return {s.dims, s.ndim};
}
IntSpan Call::in_strides(int slot) const {
  const Shape& s = input_shape(*this, slot);
  return {s.dims + s.ndim, s.ndim};
}
Dtype Call::in_dtype(int slot) const { return input_shape(*this, slot).dtype; }
int Call::slots() const { return node->nedges; }

void show_history_as(const Tensor& t, const std::string& name) {
  static auto* names = new std::unordered_set<std::string>;  // nodes point at them
  if (auto* node = dynamic_cast<OpNode*>(grad_fn(t))) node->shown = names->insert(name).first->c_str();
}

}  // namespace rushlight

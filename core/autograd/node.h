// Node: one recorded call in the graph; the engine's view of it; and what dispatch needs from autograd.
// Implementation: node.cpp (lifetime), record.cpp (making nodes of ops), saved.cpp (saved values), engine.cpp
// (backward), accumulate.cpp (leaves), forward.cpp (tangents), hooks.cpp (Python hooks), inplace.cpp (in-place
// writes and views), site.cpp (source lines).
#pragma once
#include <memory>
#include <vector>

#include "op/op.h"

namespace rushlight {

// ---- modes (per thread) ----
struct Modes {
  // The first eight bytes are what every call asks about, all at once: special().
  bool inference = false;
  bool forward = false;    // a forward-mode level is active
  bool profile = false;    // calls are timed: op/profile.h
  bool autocast = false;   // calls cast their arguments: op/autocast.h
  bool selecting = false;  // a selective checkpoint watches: run_selected()
  bool batching = false;   // inside vmap: drawn_by_vmap()
  bool unused[2] = {};
  bool grad = true;
  bool anomaly = false;
  bool anomaly_check_nan = true;
  bool saved_hooks = false;             // saved_tensors_hooks are active
  int64_t forward_ceiling = INT64_MAX;  // levels above it do not count now

  bool special() const {
    uint64_t word;
    std::memcpy(&word, this, sizeof word);
    return word;
  }
};
static_assert(offsetof(Modes, grad) == sizeof(uint64_t));
#if defined(__linux__)
extern constinit thread_local Modes thread_modes __attribute__((tls_model("initial-exec")));
#else
extern constinit thread_local Modes thread_modes;
#endif
inline Modes& modes() { return thread_modes; }
inline bool grad_enabled() { return modes().grad; }
struct GradMode {  // RAII
  bool before;
  explicit GradMode(bool on) : before(modes().grad) { modes().grad = on; }
  ~GradMode() { modes().grad = before; }
};

// ---- where in the user's program something happened ----
// The code object (owned) and the instruction offset: two words, from which the line is found when an error
// needs it.
struct Site {
  PyObject* code = nullptr;
  int instruction = 0;
  Site() = default;
  Site(Site&& o) noexcept : code(std::exchange(o.code, nullptr)), instruction(o.instruction) {}
  Site& operator=(Site&& o) noexcept {
    std::swap(code, o.code);
    instruction = o.instruction;
    return *this;
  }
  ~Site() { Py_XDECREF(code); }
  explicit operator bool() const { return code; }
};
Site current_site();  // innermost Python frame outside the package itself
// "  File "a.py", line 3, in f\n    y = x.exp()"; empty without a site
std::string describe(const Site& site);
void set_package_prefix(std::string path);  // frames of files that start so are skipped

// ---- graph ----
struct Node;
class NodeRef {
 public:
  NodeRef() = default;
  static NodeRef steal(Node* n) {
    NodeRef r;
    r.p_ = n;
    return r;
  }
  static inline NodeRef share(Node* n);
  inline NodeRef(const NodeRef& o);
  NodeRef(NodeRef&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  NodeRef& operator=(NodeRef o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  inline ~NodeRef();
  Node* get() const { return p_; }
  Node* operator->() const { return p_; }
  Node* release() { return std::exchange(p_, nullptr); }
  explicit operator bool() const { return p_; }

 private:
  Node* p_ = nullptr;
};

struct Edge {
  NodeRef node;     // null: no gradient is wanted
  uint32_t nr = 0;  // which output of that node's forward call
};

// What the gradient of an output has to look like.
struct GradMeta {
  IntSpan sizes;
  Dtype dtype;
  Device device;
};

// The engine's notes about a node during one backward pass.
struct NodeState {
  uint64_t task = 0;     // number of the pass the rest belongs to
  uint32_t pending = 0;  // nodes that still have to run before this one
  int32_t capture = -1;  // first entry of the pass's captures at this node
  bool needed = false;   // autograd.grad: a wanted input lies behind this node
  bool runs = false;     // ... and not only this node's own incoming gradient is wanted
  TensorList incoming;   // sums of the gradients that have arrived, one per output
};

struct NodeHooks;  // Python hooks on a node and on its outputs: hooks.h

struct Node {
  int64_t refs = 1;
  uint64_t seq = 0;    // creation number; AccumulateGrad nodes have UINT64_MAX
  uint32_t nouts = 1;  // outputs of the forward call = gradients that arrive
  uint32_t nedges = 0;
  Edge* edges = nullptr;  // one per gradient slot; the memory belongs to the derived struct
  bool released = false;  // saved values were freed by a backward without retain_graph
  NodeHooks* hooks = nullptr;
  PyObject* python = nullptr;  // borrowed: the Python object of this node while one is alive
  Site site;                   // the user's line that made this node
  NodeState state;

  virtual ~Node();
  virtual const char* name() const = 0;
  virtual const char* class_name() const { return name(); }  // of the Python type
  virtual GradMeta output_meta(uint32_t nr) const = 0;
  // Gradients of the inputs, one per edge; those whose bit in `wanted` is 0 (edges beyond 63 are always
  // wanted) may stay empty.
  virtual TensorList apply(TensorList grads, uint64_t wanted) = 0;
  virtual void release_saved() {}  // free what backward would read
  // Visits the Python objects that this node owns itself (for the cycle collector).
  virtual int traverse(visitproc visit, void* arg) { return 0; }
};

// Frees a node and, by worklist instead of recursion, everything that only it kept alive.
void destroy(Node* n);
inline void unref(Node* n) {
  if (n && --n->refs == 0) destroy(n);
}
inline NodeRef NodeRef::share(Node* n) {
  if (n) ++n->refs;
  return steal(n);
}
inline NodeRef::NodeRef(const NodeRef& o) : p_(o.p_) {
  if (p_) ++p_->refs;
}
inline NodeRef::~NodeRef() { unref(p_); }
uint64_t next_sequence_number();

// Where a gradient with respect to t goes: grad_fn, or the AccumulateGrad node of a leaf that requires grad,
// or nothing.
Edge gradient_edge(const Tensor& t);
// grad_fn of t, regenerated from its base when t is a view whose base was written in place (may be null).
Node* grad_fn(const Tensor& t);
void set_history(const Tensor& t, NodeRef node, uint32_t nr);
// Anomaly mode: keeps the Python stack in the node's metadata.
void remember_traceback(Node* n);
// After an in-place write that `node` describes (its edge `slot` leads to the target's old gradient): t now
// is the node's output; where t is a view, its base is (through CopySlices).
void rebase_history(const Tensor& t, NodeRef node, uint32_t nr, uint32_t slot);

// ---- what dispatch.cpp calls ----
// True when the call must be recorded: grad mode on, op differentiable, some input needs a gradient. (In
// place also for ops without derivative, when the target has a history: the gradient stops there.)
bool needs_record(const Call& c);
// Makes the node for a finished call and hangs it on the outputs. For in-place calls also rebases the history
// of the target.
void record(Call& c);
// Before the kernel of an in-place call: raises for leaves that require grad, for views of leaves,
// multi-views, ...
void check_inplace(const Tensor& target, bool recording);
// Before the kernel of an in-place call that will be recorded: keeps the target's value where backward reads
// it (all_slots: whichever gradient is asked for).
void keep_original(Call& c, bool all_slots = false);
// A node for a finished call from which every gradient can be had, whether or not anything requires one.
NodeRef make_formula_node(Call& c);
// The part of `whole`, which is laid out like base, that corresponds to a view of base.
Tensor part_like(const Tensor& whole, const Tensor& view, const Tensor& base);
// A gradient summed and cast to the sizes and dtype of its input; raises where that is impossible.
Tensor fit_gradient(const Tensor& g, IntSpan sizes, Dtype dtype);
// After a view op: base, view flags, version bookkeeping for out (a view of in).
void make_view(const Tensor& out, const Tensor& in, const Op& op);
// After any in-place write: counts it and remembers the line.
void wrote(const Tensor& target);

// ---- what Python calls ----
// backward() / autograd.grad(): roots with their gradients (empty handle: ones for a scalar). With `inputs`
// non-empty and accumulate false, returns their gradients (empty handle where unused); otherwise accumulates
// into .grad of leaves (only of `inputs` if given) and returns an empty list. With `since`, nodes made before
// that sequence number are known to lead to no input and are not followed.
TensorList run_backward(std::span<const Tensor> roots, std::span<const Tensor> gradients, bool retain_graph,
                        bool create_graph, std::span<const Tensor> inputs, bool accumulate, bool allow_unused,
                        uint64_t since = 0);
// Runs when the backward pass of this thread ends. False where none is running.
bool queue_callback(PyObject* callable);

// Adds a gradient to t.grad: the first one is taken as it is when nobody else holds it.
void accumulate_grad(const Tensor& t, Tensor gradient);
// Nobody but the holder of this one reference can see the tensor's memory.
bool unshared(const Tensor& t);
[[noreturn]] void throw_already_released();

// Releases the autograd fields of a dying tensor object (called by the object's dealloc) and visits them for
// the collector.
void release_autograd(TensorObject* t);
int traverse_autograd(TensorObject* t, visitproc visit, void* arg);
void clear_autograd(TensorObject* t);

}  // namespace rushlight

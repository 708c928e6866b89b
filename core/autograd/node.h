// Node: one recorded call in the graph; the engine's view of it; and what dispatch needs from autograd.
// Implementation: record.cpp (making nodes, saved values), engine.cpp (backward), accumulate.cpp (leaves, hooks),
// inplace.cpp (in-place writes and views), modes.cpp (grad modes).
#pragma once
#include <memory>
#include <vector>

#include "op/op.h"

namespace rushlight {

// ---- modes (per thread) ----
struct Modes {
  bool grad = true;
  bool inference = false;
  bool anomaly = false;
  bool anomaly_check_nan = true;
};
Modes& modes();
inline bool grad_enabled() { return modes().grad; }
struct GradMode {  // RAII
  bool before;
  explicit GradMode(bool on) : before(modes().grad) { modes().grad = on; }
  ~GradMode() { modes().grad = before; }
};

// ---- graph ----
struct Node;
class NodeRef {
 public:
  NodeRef() = default;
  static NodeRef steal(Node* n) { NodeRef r; r.p_ = n; return r; }
  static NodeRef share(Node* n);
  NodeRef(const NodeRef& o);
  NodeRef(NodeRef&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  NodeRef& operator=(NodeRef o) noexcept { std::swap(p_, o.p_); return *this; }
  ~NodeRef();
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

struct NodeHooks;  // Python hooks on a node and on its outputs: accumulate.cpp

struct Node {
  int64_t refs = 1;
  uint64_t seq = 0;        // creation number; AccumulateGrad nodes have UINT64_MAX
  uint32_t nouts = 1;      // outputs of the forward call = gradients that arrive
  bool released = false;   // saved values were freed by a backward without retain_graph
  std::vector<Edge> edges; // one per gradient slot
  NodeHooks* hooks = nullptr;
  PyObject* python = nullptr;  // borrowed: the Python object of this node while one is alive
  // Creation site for error texts: code object (owned) and instruction offset; null where no Python frame was there.
  PyObject* code = nullptr;
  int instruction = 0;
  // engine scratch, valid while `task` equals the running task's number
  uint64_t task = 0;
  uint32_t pending = 0;
  TensorList incoming;

  virtual ~Node();
  virtual const char* name() const = 0;
  // Gradients of the inputs, one per edge; entries whose edge is null may be left empty.
  virtual TensorList apply(TensorList grads, bool create_graph) = 0;
  virtual void release_saved() {}        // free what backward would read
  virtual bool saves_something() const { return false; }
};

// Frees a node and, by worklist instead of recursion, everything that only it kept alive.
void unref(Node* n);

// Where a gradient with respect to t goes: grad_fn, or the AccumulateGrad node of a leaf that requires grad, or nothing.
Edge gradient_edge(const Tensor& t);
// grad_fn of t, regenerated from its base when t is a view whose base was written in place (may be null).
Node* grad_fn(const Tensor& t);
void set_history(const Tensor& t, NodeRef node, uint32_t nr);

// ---- what dispatch.cpp calls ----
// True when the call must be recorded: grad mode on, op differentiable, some input needs a gradient.
bool needs_record(const Call& c);
// Makes the node for a finished call and hangs it on the outputs. For in-place calls also rebases the history of the target.
void record(Call& c);
// Before the kernel of an in-place call: raises for leaves that require grad, for views of leaves, multi-views, ...
void check_inplace(const Tensor& target, bool recording);
// After a view op: base, view flags, version bookkeeping for out (a view of in).
void make_view(const Tensor& out, const Tensor& in, const Op& op);
// In-place write on a tensor by anything that is not a recorded op: version bump only (inference rules checked).
void wrote(const Tensor& target);

// ---- what Python calls ----
// backward() / autograd.grad(): roots with their gradients (empty handle: ones for a scalar). With `inputs` non-empty and
// accumulate false, returns their gradients (empty handle where unused); otherwise accumulates into .grad of leaves (only of
// `inputs` if given) and returns an empty list.
TensorList run_backward(std::span<const Tensor> roots, std::span<const Tensor> gradients, bool retain_graph,
                        bool create_graph, std::span<const Tensor> inputs, bool accumulate, bool allow_unused);

// Releases the autograd fields of a dying tensor object (called by the object's dealloc) and visits them for the collector.
void release_autograd(TensorObject* t);
int traverse_autograd(TensorObject* t, visitproc visit, void* arg);
void clear_autograd(TensorObject* t);

}  // namespace rushlight

// The backward pass: nodes run in decreasing order of creation on the calling thread, off a heap. Shapes and
// dtypes of gradients are put right here, once for all formulas.
#include <algorithm>
#include <string>
#include <unordered_map>

#include "autograd/hooks.h"
#include "autograd/node.h"
#include "autograd/saved.h"
#include "op/profile.h"
#include "python/python.h"

namespace rushlight {

namespace {

const char* class_text(Dtype d) { return info(d).name; }

// ---- putting gradients right ----

bool sums_to(IntSpan from, IntSpan to) {
  if (from.size() < to.size()) return false;
  size_t lead = from.size() - to.size();
  for (size_t d = 0; d < to.size(); ++d)
    if (to[d] != from[lead + d] && to[d] != 1) return false;
  return true;
}

// Sums over the dimensions that broadcasting added or stretched.
Tensor sum_to(const Tensor& g, IntSpan sizes) {
  static const Op& sum = find_op("sum", "dim");
  size_t lead = g.ndim() - sizes.size();
  Dims dims;
  for (size_t d = 0; d < lead; ++d) dims.push_back(d);
  for (size_t d = 0; d < sizes.size(); ++d)
    if (sizes[d] == 1 && g.size(lead + d) != 1) dims.push_back(lead + d);
  if (dims.size() == lead) return sum(g, dims, false);
  Tensor kept = sum(g, dims, true);
  if (!lead) return kept;
  static const Op& view = find_op("view");
  return view(kept, sizes);
}

Tensor cast(const Tensor& g, Dtype dtype) {
  Tensor value = g;
  if (is_complex(g.dtype()) && !is_complex(dtype)) {
    static const Op& real = find_op("real");
    value = real(value);
  }
  static const Op& to = find_op("to_dtype");
  return value.dtype() == dtype ? value : to(value, dtype);
}

}  // namespace

Tensor fit_gradient(const Tensor& g, IntSpan sizes, Dtype dtype) {
  Tensor fit = g;
  if (!same(g.sizes(), sizes)) {
    if (!sums_to(g.sizes(), sizes))
      throw runtime_error("got a gradient of shape ", show(g.sizes()), " but expected shape compatible with ",
                          show(sizes));
    fit = sum_to(g, sizes);
  }
  return fit.dtype() == dtype ? fit : cast(fit, dtype);
}

namespace {

void put_right(Node* from, size_t index, Tensor& g, const Edge& edge) {
  GradMeta m = edge.node->output_meta(edge.nr);
  if (!same(g.sizes(), m.sizes)) [[unlikely]] {
    if (!sums_to(g.sizes(), m.sizes))
      throw runtime_error("Function ", from->name(), " returned an invalid gradient at index ", index,
                          " - got ", show(g.sizes()), " but expected shape compatible with ", show(m.sizes));
    g = sum_to(g, m.sizes);
  }
  if (g.dtype() != m.dtype) [[unlikely]]
    g = cast(g, m.dtype);
}

// Adds g to a sum of gradients; writes into whichever of the two nobody else can see.
void add_into(Tensor& sum, Tensor g) {
  if (!sum) {
    sum = std::move(g);
    return;
  }
  static const Op& add = find_op("add");
  if (sum->delegate || g->delegate) {  // the operator takes a dense tensor only on the left
    if (sum->delegate && !g->delegate) std::swap(sum, g);
    sum = add(sum, g);
    return;
  }
  auto writable = [](const Tensor& t) {
    return unshared(t) && !t.needs_grad() && (t.contiguous() || is_dense(t.sizes(), t.strides()));
  };
  if (grad_enabled()) sum = add(sum, g);
  else if (writable(sum)) add.call_inplace({sum, g});
  else if (writable(g)) add.call_inplace({g, sum}), sum = std::move(g);
  else sum = add(sum, g);
}

bool has_nan(const Tensor& t) {
  if (t.is_meta() || t->delegate) return false;
  static const Op& isnan = find_op("isnan");
  static const Op& any = find_op("any");
  return *any(isnan(t)).data<bool>();
}

// ---- one pass ----

struct Capture {
  uint32_t nr;
  int32_t next;  // further captures at the same node
  size_t input;
};

struct LaterInOrder {
  bool operator()(const Node* a, const Node* b) const { return a->seq < b->seq; }
};

// Vectors that keep their memory between passes; a pass inside a pass finds them taken and uses fresh ones.
struct Scratch {
  std::vector<Node*> seen, heap;
};
Scratch spare;
uint64_t tasks = 0;
bool states_in_use = false;  // some pass keeps its state in the nodes themselves

class Pass;
thread_local Pass* current_pass = nullptr;

class Pass {
 public:
  std::vector<Py> callbacks;

  Pass(bool retain, uint64_t since) : retain_graph_(retain), since_(since), outer_(current_pass) {
    task_ = ++tasks;
    in_nodes_ = !states_in_use;
    if (in_nodes_) states_in_use = true;
    std::swap(scratch_.seen, spare.seen);
    std::swap(scratch_.heap, spare.heap);
    current_pass = this;
  }
  ~Pass() {
    current_pass = outer_;
    if (in_nodes_) {
      if (failed_)
        for (Node* n : scratch_.seen) n->state.incoming.clear();
      states_in_use = false;
    }
    scratch_.seen.clear();
    scratch_.heap.clear();
    if (scratch_.seen.capacity() < 4096) {
      std::swap(scratch_.seen, spare.seen);
      std::swap(scratch_.heap, spare.heap);
    }
  }

  bool selective() const { return selective_; }

  TensorList run(std::span<const Tensor> roots, std::span<const Tensor> gradients,
                 std::span<const Tensor> inputs, bool accumulate, bool allow_unused) {
    try {
      return run_checked(roots, gradients, inputs, accumulate, allow_unused);
    } catch (...) {
      failed_ = true;
      throw;
    }
  }

 private:
  // Note [Node state]
  // The notes about a node lie in the node while only one pass runs. A pass that starts during another one
  // (backward() in a hook, a second thread) keeps its notes in a map.
  NodeState& state(Node* n) { return in_nodes_ ? n->state : side_[n]; }

  void see(Node* n) {
    NodeState& s = state(n);
    if (s.task == task_) return;
    s.task = task_;
    s.pending = 0;
    s.capture = -1;
    s.needed = s.runs = false;
    s.incoming.clear();
    scratch_.seen.push_back(n);
  }

  void push(Node* n) {
    scratch_.heap.push_back(n);
    std::push_heap(scratch_.heap.begin(), scratch_.heap.end(), LaterInOrder());
  }
  Node* pop() {
    std::pop_heap(scratch_.heap.begin(), scratch_.heap.end(), LaterInOrder());
    Node* n = scratch_.heap.back();
    scratch_.heap.pop_back();
    return n;
  }

  void arrive(const Edge& edge, Tensor g) {
    NodeState& s = state(edge.node.get());
    if (s.incoming.empty()) s.incoming.resize(edge.node->nouts);
    add_into(s.incoming[edge.nr], std::move(g));
  }

  // Finds every node behind the roots and counts what each has to wait for.
  void discover(std::span<const Edge> roots) {
    for (auto& r : roots) see(r.node.get());
    auto& seen = scratch_.seen;
    for (size_t i = 0; i < seen.size(); ++i) {
      Node* n = seen[i];
      if (n->seq < since_) continue;
      for (uint32_t k = 0; k < n->nedges; ++k) {
        Node* next = n->edges[k].node.get();
        if (!next) continue;
        see(next);
        if (!selective_) ++state(next).pending;
      }
    }
  }

  // With inputs given: only nodes on a way to them run. An edge always leads to an older node (or to a leaf),
  // so going through the nodes from the oldest settles each before those that lead to it.
  void select() {
    std::vector<Node*> order = scratch_.seen;
    std::sort(order.begin(), order.end(), LaterInOrder());
    for (Node* n : order) {
      NodeState& s = state(n);
      for (uint32_t k = 0; k < n->nedges; ++k)
        if (Node* next = n->edges[k].node.get(); next && state(next).needed) {
          s.needed = s.runs = true;
          break;
        }
    }
    for (Node* n : order) {
      if (!state(n).runs) continue;
      for (uint32_t k = 0; k < n->nedges; ++k)
        if (Node* next = n->edges[k].node.get(); next && state(next).needed) ++state(next).pending;
    }
  }

  TensorList run_checked(std::span<const Tensor> roots, std::span<const Tensor> gradients,
                         std::span<const Tensor> inputs, bool accumulate, bool allow_unused) {
    std::span<Edge> starts(few_starts_, roots.size());
    if (roots.size() > 4) {
      starts_.resize(roots.size());
      starts = starts_;
    }
    for (size_t i = 0; i < roots.size(); ++i) starts[i] = gradient_edge(roots[i]);
    selective_ = !inputs.empty();
    TensorList captured;
    for (auto& t : inputs) ends_.push_back(gradient_edge(t));
    discover(starts);
    if (selective_) {
      if (!accumulate) captured.resize(inputs.size());
      for (size_t i = 0; i < inputs.size(); ++i) {
        Node* n = ends_[i].node.get();
        NodeState& s = state(n);
        if (s.task != task_) continue;
        s.needed = true;
        if (accumulate) {
          s.runs |= n->nedges == 0;  // a leaf; others are captured by retain_grad
          continue;
        }
        captures_.push_back({ends_[i].nr, s.capture, i});
        s.capture = captures_.size() - 1;
      }
      select();
    }
    for (size_t i = 0; i < roots.size(); ++i) {
      NodeState& s = state(starts[i].node.get());
      if (selective_ && !s.needed) continue;
      Tensor g = gradients[i] ? gradients[i] : full(roots[i].sizes(), roots[i].dtype(), 1);
      if (!gradients[i] && roots[i].is_meta())
        g = empty(roots[i].sizes(), roots[i].dtype(), roots[i].device());
      if (gradients[i]) put_right(starts[i].node.get(), 0, g, starts[i]);
      bool first = s.incoming.empty();
      arrive(starts[i], std::move(g));
      if (first && s.pending == 0) push(starts[i].node.get());
    }
    while (!scratch_.heap.empty()) {
      Node* n = pop();
      if (modes().profile) [[unlikely]] {
        ProfileScope timed(*n);
        execute(n, captured);
      } else {
        execute(n, captured);
      }
    }
    for (size_t i = 0; i < callbacks.size(); ++i) {  // a callback may queue another
      Py f = callbacks[i];
      Py(checked(PyObject_CallNoArgs(f.get())));
    }
    if (!accumulate && !allow_unused)
      for (size_t i = 0; i < captured.size(); ++i)
        if (!captured[i])
          throw runtime_error("The differentiated Tensor at index ", i,
                              " appears to not have been used in the graph. Set "
                              "allow_unused=True if this is the desired behavior.");
    return captured;
  }

  void execute(Node* n, TensorList& captured) {
    NodeState& s = state(n);
    TensorList gradients = std::move(s.incoming);
    if (gradients.empty()) gradients.resize(n->nouts);
    if (n->hooks) [[unlikely]]
      run_output_hooks(n, gradients);
    if (n->seq == UINT64_MAX) run_leaf_hooks(n, gradients[0]);
    if (selective_) {
      for (int32_t k = s.capture; k >= 0; k = captures_[k].next)
        captured[captures_[k].input] = gradients[captures_[k].nr];
      if (!s.runs) return;
    }
    uint64_t wanted = ~uint64_t(0);
    if (n->nedges < 64) wanted = (uint64_t(1) << n->nedges) - 1;
    for (uint32_t k = 0; k < n->nedges && k < 64; ++k) {
      Node* next = n->edges[k].node.get();
      if (!next || (selective_ && !state(next).needed)) wanted &= ~(uint64_t(1) << k);
    }
    if (n->hooks && n->hooks->before) [[unlikely]]
      run_before_hooks(n, gradients);
    TensorList results;
    if (modes().anomaly) [[unlikely]]
      results = apply_watched(n, std::move(gradients), wanted);
    else if (n->hooks && n->hooks->after) [[unlikely]] {
      TensorList kept = gradients;
      results = n->apply(std::move(gradients), wanted);
      results.resize(n->nedges);
      run_after_hooks(n, results, kept);
    } else {
      results = n->apply(std::move(gradients), wanted);
    }
    if (!retain_graph_ && n->nedges) {
      n->released = true;
      n->release_saved();
    }
    for (uint32_t k = 0; k < n->nedges; ++k) {
      const Edge& edge = n->edges[k];
      if (!edge.node || (k < 64 && !(wanted >> k & 1))) continue;
      NodeState& next = state(edge.node.get());
      if (selective_ && !next.needed) continue;
      if (k < results.size() && results[k]) {
        Tensor g = std::move(results[k]);
        put_right(n, k, g, edge);
        arrive(edge, std::move(g));
      }
      if (--next.pending == 0) push(edge.node.get());
    }
  }

  void run_leaf_hooks(Node* n, Tensor& g);
  TensorList apply_watched(Node* n, TensorList gradients, uint64_t wanted);

  bool retain_graph_;
  uint64_t since_;  // older nodes are not followed
  bool in_nodes_;
  bool selective_ = false;
  bool failed_ = false;
  uint64_t task_;
  Pass* outer_;
  Scratch scratch_;
  // The pass owns the nodes it starts from, and through their edges all others: a hook may drop the last
  // tensor.
  Edge few_starts_[4];
  std::vector<Edge> starts_, ends_;
  std::vector<Capture> captures_;
  std::unordered_map<Node*, NodeState> side_;
};

}  // namespace

Tensor variable_of(Node* n);
Node* node_of(PyObject* o);

namespace {

void Pass::run_leaf_hooks(Node* n, Tensor& g) {
  TensorObject* leaf = variable_of(n).get();  // the node holds it
  if (!leaf->extra || !leaf->extra->backward_hooks) return;
  Py dict = Py::share(leaf->extra->backward_hooks);
  run_tensor_hooks(dict.get(), g);
}

// Where a node came from, as anomaly mode has kept it; empty if it has not.
std::string forward_traceback(Node* n) {
  PyObject* lines = n->hooks && n->hooks->metadata ? PyDict_GetItemString(n->hooks->metadata, "traceback_")
                                                   : nullptr;
  if (!lines) return "";
  Py empty(checked(PyUnicode_FromString("")));
  Py joined(checked(PyUnicode_Join(empty.get(), lines)));
  const char* s = PyUnicode_AsUTF8(joined.get());
  return s ? s : "";
}

// Anomaly mode: tells where the failing node came from, and whose derivative it was itself a part of.
void warn_about(Node* n) {
  constexpr auto unknown =
      "No forward pass information available. Enable detect anomaly during forward pass for more "
      "information.";
  std::string trace = forward_traceback(n);
  std::string text = cat_text("Error detected in ", n->name(), ". ");
  if (trace.empty()) text += unknown;
  else text += "Traceback of forward call that caused the error:\n" + trace;
  auto warn = [](const std::string& text) {
    if (PyErr_WarnEx(PyExc_UserWarning, text.c_str(), 1) < 0) throw PythonError();
  };
  warn(text);
  while (n->hooks && n->hooks->metadata) {
    PyObject* parent = PyDict_GetItemString(n->hooks->metadata, "parent_");
    if (!parent) break;
    n = node_of(parent);
    trace = forward_traceback(n);
    text = cat_text("\n\nPrevious calculation was induced by ", n->name(), ". ");
    if (trace.empty()) text += unknown;
    else text += "Traceback of forward call that induced the previous calculation:\n" + trace;
    warn(text);
  }
}

TensorList Pass::apply_watched(Node* n, TensorList gradients, uint64_t wanted) {
  struct Evaluated {
    Node* before;
    ~Evaluated() { evaluated_node = before; }
  } evaluated{std::exchange(evaluated_node, n)};
  try {
    TensorList kept = gradients;
    TensorList results = n->apply(std::move(gradients), wanted);
    results.resize(n->nedges);
    if (n->hooks && n->hooks->after) run_after_hooks(n, results, kept);
    if (modes().anomaly_check_nan)
      for (uint32_t k = 0; k < n->nedges; ++k)
        if (results[k] && has_nan(results[k])) {
          Error e = runtime_error("Function '", n->name(), "' returned nan values in its ", k, "th output.");
          if (!n->site) throw e;
          throw_with_note(e, "It was recorded here:\n" + describe(n->site));
        }
    return results;
  } catch (const PythonError&) {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    warn_about(n);
    PyErr_Restore(type, value, trace);
    throw;
  } catch (const Error&) {
    warn_about(n);
    throw;
  }
}

std::string size_text(IntSpan sizes) { return "torch.Size(" + show(sizes) + ")"; }

void check_roots(std::span<const Tensor> roots, std::span<const Tensor> gradients) {
  for (size_t i = 0; i < roots.size(); ++i) {
    const Tensor &root = roots[i], &g = gradients[i];
    if (g) {
      if (!same(root.sizes(), g.sizes()))
        throw runtime_error("Mismatch in shape: grad_output[", i, "] has a shape of ", size_text(g.sizes()),
                            " and output[", i, "] has a shape of ", size_text(root.sizes()), ".");
      if (is_complex(root.dtype()) != is_complex(g.dtype()))
        throw runtime_error(
            "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch "
            "in "
            "dtype: grad_output[",
            i, "] has a dtype of torch.", class_text(g.dtype()), " and output[", i, "] has a dtype of torch.",
            class_text(root.dtype()), ".");
    } else if (root.needs_grad()) {
      if (root.numel() != 1) throw runtime_error("grad can be implicitly created only for scalar outputs");
      if (!is_float(root.dtype()))
        throw runtime_error("grad can be implicitly created only for real scalar outputs but got torch.",
                            class_text(root.dtype()));
    }
  }
  for (size_t i = 0; i < roots.size(); ++i)
    if (!roots[i].needs_grad())
      throw runtime_error("element ", i, " of tensors does not require grad and does not have a grad_fn");
}

}  // namespace

TensorList run_backward(std::span<const Tensor> roots, std::span<const Tensor> gradients, bool retain_graph,
                        bool create_graph, std::span<const Tensor> inputs, bool accumulate, bool allow_unused,
                        uint64_t since) {
  check_roots(roots, gradients);
  for (auto& t : inputs) {
    if (!t.needs_grad())
      throw runtime_error(accumulate ? "can't retain_grad on Tensor that has requires_grad=False"
                                     : "One of the differentiated Tensors does not require grad");
    if (accumulate && grad_fn(t)) retain_grad(t);
  }
  GradMode mode(create_graph);
  bool inference = std::exchange(modes().inference, false);
  struct Restore {
    bool before;
    ~Restore() { modes().inference = before; }
  } restore{inference};
  return Pass(retain_graph, since).run(roots, gradients, inputs, accumulate, allow_unused);
}

bool in_plain_backward() { return current_pass && !current_pass->selective(); }

bool queue_callback(PyObject* callable) {
  if (!current_pass) return false;
  current_pass->callbacks.push_back(Py::share(callable));
  return true;
}

}  // namespace rushlight

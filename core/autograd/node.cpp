// Lifetime of the graph: nodes and the tensors that own them are freed by a worklist, never by recursion, and
// the cycle collector sees what a tensor's node owns.
#include "autograd/node.h"

#include "autograd/forward.h"
#include "autograd/hooks.h"

namespace rushlight {

uint64_t next_sequence_number() {
  static uint64_t last = 0;  // changed under the GIL
  return ++last;
}

Node::~Node() { delete hooks; }

// Note [Release by worklist]
// A node owns edges to older nodes and saved tensors, and a saved tensor owns its own node: chains of a
// million links. destroy() called while another destroy() runs on this thread only queues the node. Tensor
// deallocation releases its node through unref(), so both kinds of link end here and the stack stays flat.
void destroy(Node* n) {
  struct Queue {
    bool busy = false;
    std::vector<Node*> nodes;
  };
  static constinit thread_local Queue* queue = nullptr;  // lives as long as the thread's last node may
  if (!queue) queue = new Queue;
  Queue& q = *queue;
  if (q.busy) {
    q.nodes.push_back(n);
    return;
  }
  q.busy = true;
  delete n;
  while (!q.nodes.empty()) {
    n = q.nodes.back();
    q.nodes.pop_back();
    delete n;
  }
  q.busy = false;
}

void release_autograd(TensorObject* t) {
  if (Node* fn = t->grad_fn) {
    if (t->retains_grad) move_retain(t, fn, nullptr, 0);
    t->grad_fn = nullptr;
    unref(fn);
  }
  if (TensorObject* grad = std::exchange(t->grad, nullptr)) Py_DECREF(grad);
  if (TensorObject* base = std::exchange(t->base, nullptr)) Py_DECREF(base);
  if (t->extra) [[unlikely]]
    delete std::exchange(t->extra, nullptr);
}

int traverse_autograd(TensorObject* t, visitproc visit, void* arg) {
  Py_VISIT(t->grad);
  Py_VISIT(t->base);
  if (t->extra) {
    Py_VISIT(t->extra->backward_hooks);
    Py_VISIT(t->extra->accumulate_hooks);
    for (auto& x : t->extra->tangents) Py_VISIT(x.value.get());
  }
  // What a node owns belongs to this tensor only while nothing else refers to the node. Behind it the same
  // holds for the nodes that it alone keeps.
  if (!t->grad_fn || t->grad_fn->refs != 1) return 0;
  std::vector<Node*> nodes = {t->grad_fn};
  for (size_t i = 0; i < nodes.size(); ++i) {
    Node* n = nodes[i];
    if (int stop = n->traverse(visit, arg)) return stop;
    if (n->hooks) {
      Py_VISIT(n->hooks->before);
      Py_VISIT(n->hooks->after);
      Py_VISIT(n->hooks->metadata);
      for (auto& h : n->hooks->outputs) Py_VISIT(h.dict);
    }
    for (uint32_t k = 0; k < n->nedges; ++k)
      if (Node* next = n->edges[k].node.get(); next && next->refs == 1) nodes.push_back(next);
  }
  return 0;
}

void clear_autograd(TensorObject* t) { release_autograd(t); }

}  // namespace rushlight

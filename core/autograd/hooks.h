// Python hooks: on nodes (before and after they run), on their outputs (tensor hooks, retain_grad), and on
// leaves. Dictionaries are OrderedDicts from a handle's id to the callable, shared with the RemovableHandles.
#pragma once
#include "autograd/node.h"

namespace rushlight {

struct Tangent;  // forward.h

struct NodeHooks {
  PyObject* before = nullptr;    // register_prehook
  PyObject* after = nullptr;     // register_hook
  PyObject* metadata = nullptr;  // dict
  struct OnOutput {
    uint32_t nr;
    PyObject* dict;
  };
  std::vector<OnOutput> outputs;  // Tensor.register_hook on a non-leaf
  struct Retain {
    uint32_t nr;
    TensorObject* tensor;
  };
  std::vector<Retain> retains;  // Tensor.retain_grad; borrowed, removed when the tensor dies or moves on
  ~NodeHooks();
};
NodeHooks& hooks_of(Node* n);
PyObject* metadata_of(Node* n);            // borrowed
extern thread_local Node* evaluated_node;  // in anomaly mode: the node whose derivative is being computed

// Rare autograd state of a tensor.
struct TensorExtra {
  PyObject* backward_hooks = nullptr;    // a leaf's tensor hooks, or the dictionary that its node also holds
  PyObject* accumulate_hooks = nullptr;  // register_post_accumulate_grad_hook
  std::vector<Tangent> tangents;         // forward mode, one per level
  TensorExtra();
  ~TensorExtra();
};
TensorExtra& extra_of(TensorObject* t);

// Adds a callable under a new handle to `*dict` (created when null); returns the RemovableHandle.
PyObject* add_hook(PyObject** dict, PyObject* hook);

void run_tensor_hooks(PyObject* dict, Tensor& gradient);
void run_output_hooks(Node* n, TensorList& gradients);  // tensor hooks of all outputs, then retain_grad
void run_before_hooks(Node* n, TensorList& gradients);
void run_after_hooks(Node* n, TensorList& results, const TensorList& gradients);
void run_accumulate_hooks(const Tensor& leaf);

void retain_grad(const Tensor& t);  // on a non-leaf
void move_retain(TensorObject* t, Node* from, Node* to, uint32_t nr);

}  // namespace rushlight

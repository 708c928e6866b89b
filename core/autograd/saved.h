// Saved: one tensor that backward will read, with the version it had. A saved output is an alias without its
// producer, so that node and output do not keep each other alive; unpacking gives it back its history where
// that is needed.
#pragma once
#include "autograd/node.h"

namespace rushlight {

// What saved_tensors_hooks made of a tensor.
struct Packed {
  PyObject* object = nullptr;
  PyObject* unpack = nullptr;
  Edge edge;  // of the original
  ~Packed();
};

struct Saved {
  TensorObject* tensor = nullptr;  // owned
  Packed* packed = nullptr;        // owned; then tensor is null
  uint32_t version = 0;
  int32_t output = -1;  // which output of the node; -1 for an input

  void keep_input(const Tensor& t, uint32_t version);
  void keep_output(const Tensor& t, uint32_t nr);
  explicit operator bool() const { return tensor || packed; }
  Tensor unpack(Node* node) const;  // throws where the tensor was changed since
  void drop();
  int traverse(visitproc visit, void* arg) const;
};

void push_saved_hooks(PyObject* pack, PyObject* unpack);
void pop_saved_hooks();
void disable_saved_hooks(const char* message);  // null: allowed again

// Raises the error with a note of ours below it: str(error) stays PyTorch's text, and Python (3.11 and newer) shows the
// note in the traceback.
[[noreturn]] void throw_with_note(const Error& e, const std::string& note);

// The lines of recent in-place writes, for the error about a changed saved tensor.
void remember_write(Storage* storage, const Site& site);

}  // namespace rushlight

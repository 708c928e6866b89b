// Questions to the delegate of a tensor (Note [Delegates] in tensor/tensor.h).
#pragma once
#include "python/python.h"

namespace rushlight {

// What the delegate's call(name, args) returns; without args the tensor is the only one.
Py ask_delegate(const Tensor& t, const char* name, PyObject* args);
Py ask_delegate(const Tensor& t, const char* name);
// An attribute of the delegate: "layout", "is_sparse", "backend", ... (new reference)
PyObject* delegate_attribute(const Tensor& t, const char* name);

}  // namespace rushlight

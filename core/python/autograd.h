// What the files of the autograd binding share: Python objects of nodes, and the attributes that the Tensor
// type hooks in.
#pragma once
#include "autograd/hooks.h"
#include "autograd/node.h"
#include "python/python.h"

namespace rushlight {

// grad_fn as Python sees it. A Node object owns its node. The context of a custom Function is the other way
// round: the node owns the context, and `node` is borrowed (null when the graph is gone).
struct NodeObject {
  PyObject_HEAD Node* node;
  PyObject* weakrefs;
};
extern PyTypeObject* node_type;      // base of all grad_fn types
extern PyTypeObject* function_type;  // base of the contexts of custom Functions

PyObject* node_object(Node* n);  // new reference; None for null
Node* node_of(PyObject* o);      // throws where the graph is gone
// A backward pass is running, and it goes to all leaves: backward() without inputs (engine.cpp).
bool in_plain_backward();
Tensor variable_of(Node* n);          // of an AccumulateGrad node, else empty
PyObject* function_context(Node* n);  // borrowed; null unless n belongs to a custom Function
void track(const Tensor& t);          // lets the cycle collector see this tensor

void add_node_types(PyObject* module);     // node_type.cpp
void add_function_type(PyObject* module);  // function.cpp
void add_grad_modes(PyObject* module);     // grad_mode.cpp
void add_forward(PyObject* module);        // forward.cpp
void add_autocast(PyObject* module);       // autocast.cpp

// Attributes and methods of Tensor: tensor_type.cpp puts these into the type.
extern PyMethodDef autograd_methods[];
extern PyGetSetDef autograd_getset[];

}  // namespace rushlight

// grad_fn as a Python object: one type per node name, made when first asked for; y.grad_fn is y.grad_fn as
// long as somebody holds it.
#include <string>
#include <unordered_map>

#include "python/autograd.h"

#include <structmember.h>  // after Python.h

namespace rushlight {

PyTypeObject* node_type = nullptr;

Node* node_of(PyObject* o) {
  Node* n = reinterpret_cast<NodeObject*>(o)->node;
  if (!n)
    throw runtime_error("This attribute is invalid for this instance of ", Py_TYPE(o)->tp_name,
                        ": the tensors that it computed are gone, and with them the graph.");
  return n;
}

namespace {

PyObject* name_method(PyObject* o, PyObject*) {
  return guarded([&] { return checked(PyUnicode_FromString(node_of(o)->name())); });
}
PyObject* sequence_nr(PyObject* o, PyObject*) {
  return guarded([&] { return checked(PyLong_FromUnsignedLongLong(node_of(o)->seq)); });
}

PyObject* next_functions(PyObject* o, void*) {
  return guarded([&]() -> PyObject* {
    Node* n = node_of(o);
    Py list(checked(PyTuple_New(n->nedges)));
    for (uint32_t k = 0; k < n->nedges; ++k) {
      const Edge& e = n->edges[k];
      PyTuple_SET_ITEM(list.get(), k,
                       checked(Py_BuildValue("(NI)", node_object(e.node.get()), e.node ? e.nr : 0)));
    }
    return list.release();
  });
}

PyObject* register_node_hook(PyObject* o, PyObject* hook) {
  return guarded([&] { return add_hook(&hooks_of(node_of(o)).after, hook); });
}
PyObject* register_prehook(PyObject* o, PyObject* hook) {
  return guarded([&] { return add_hook(&hooks_of(node_of(o)).before, hook); });
}
PyObject* metadata(PyObject* o, void*) {
  return guarded([&] { return Py_NewRef(metadata_of(node_of(o))); });
}
PyObject* requires_grad(PyObject*, void*) { return Py_NewRef(Py_True); }

PyObject* variable(PyObject* o, void*) {
  return guarded([&]() -> PyObject* { return to_python(variable_of(node_of(o))); });
}

PyObject* repr(PyObject* o) {
  Py name(PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(o)), "__name__"));
  if (!name) return nullptr;
  return PyUnicode_FromFormat("<%U object at %p>", name.get(), o);
}

int traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  Node* n = reinterpret_cast<NodeObject*>(o)->node;
  if (!n || n->refs != 1) return 0;
  if (n->hooks) {
    Py_VISIT(n->hooks->before);
    Py_VISIT(n->hooks->after);
    Py_VISIT(n->hooks->metadata);
    for (auto& h : n->hooks->outputs) Py_VISIT(h.dict);
  }
  return n->traverse(visit, arg);
}
int clear(PyObject* o) {
  auto* self = reinterpret_cast<NodeObject*>(o);
  if (Node* n = std::exchange(self->node, nullptr)) {
    n->python = nullptr;
    unref(n);
  }
  return 0;
}
void dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  if (reinterpret_cast<NodeObject*>(o)->weakrefs) PyObject_ClearWeakRefs(o);
  clear(o);
  type->tp_free(o);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"name", name_method, METH_NOARGS, "name()\n--\n\nName of the operation's derivative."},
    {"_sequence_nr", sequence_nr, METH_NOARGS, nullptr},
    {"register_hook", register_node_hook, METH_O,
     "register_hook(hook)\n--\n\nCalls hook(grad_inputs, grad_outputs) after the node has run; it may return "
     "new grad_inputs."},
    {"register_prehook", register_prehook, METH_O,
     "register_prehook(hook)\n--\n\nCalls hook(grad_outputs) before the node runs; it may return new "
     "grad_outputs."},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef getset[] = {
    {"next_functions", next_functions, nullptr,
     "The nodes that the gradients go to, each with an output number.", nullptr},
    {"metadata", metadata, nullptr, "A dictionary for notes about the node.", nullptr},
    {"requires_grad", requires_grad, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyGetSetDef leaf_getset[] = {
    {"variable", variable, nullptr, "The leaf that gradients are added to.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(NodeObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyTypeObject* type_named(const char* name) {
  static auto* types = new std::unordered_map<std::string, PyTypeObject*>;
  PyTypeObject*& type = (*types)[name];
  if (type) return type;
  std::string qualified = cat_text("rushlight.autograd.graph.", name);
  bool leaf = qualified.ends_with(".AccumulateGrad");
  PyType_Slot slots[] = {{Py_tp_traverse, (void*)traverse},
                         {Py_tp_clear, (void*)clear},
                         {Py_tp_dealloc, (void*)dealloc},
                         {leaf ? Py_tp_getset : 0, leaf ? leaf_getset : nullptr},
                         {0, nullptr}};
  PyType_Spec spec = {strdup(qualified.c_str()), sizeof(NodeObject), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};
  Py bases(checked(PyTuple_Pack(1, node_type)));
  type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpecWithBases(&spec, bases.get())));
  return type;
}

}  // namespace

PyObject* node_object(Node* n) {
  if (!n) return Py_NewRef(Py_None);
  if (PyObject* context = function_context(n)) return Py_NewRef(context);
  if (n->python) return Py_NewRef(n->python);
  PyTypeObject* type = type_named(n->class_name());
  PyObject* o = checked(type->tp_alloc(type, 0));
  ++n->refs;
  reinterpret_cast<NodeObject*>(o)->node = n;
  n->python = o;
  return o;
}

void add_node_types(PyObject* module) {
  PyType_Slot slots[] = {{Py_tp_methods, methods},
                         {Py_tp_getset, getset},
                         {Py_tp_members, members},
                         {Py_tp_repr, (void*)repr},
                         {Py_tp_traverse, (void*)traverse},
                         {Py_tp_clear, (void*)clear},
                         {Py_tp_dealloc, (void*)dealloc},
                         {Py_tp_doc, (void*)"A recorded operation: what a tensor's grad_fn is."},
                         {0, nullptr}};
  static PyType_Spec spec = {
      "rushlight.autograd.graph.Node", sizeof(NodeObject), 0,
      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
      slots};
  node_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  if (PyModule_AddObjectRef(module, "_Node", reinterpret_cast<PyObject*>(node_type)) < 0) throw PythonError();
}

}  // namespace rushlight

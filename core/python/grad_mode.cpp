// no_grad, enable_grad, set_grad_enabled and inference_mode as context managers: entering and leaving costs a
// few dozen nanoseconds. Their use as decorators is in rushlight/autograd/grad_mode.py, which derives from
// the types here.
#include "python/autograd.h"

namespace rushlight {

namespace {

enum Kind { no_grad, enable_grad, set_grad, inference };

struct ModeObject {
  PyObject_HEAD bool on;  // what set_grad_enabled and inference_mode were given
  bool grad_before, inference_before;
};

void enter_mode(Kind kind, bool on) {
  Modes& m = modes();
  switch (kind) {
    case no_grad: m.grad = false; break;
    case enable_grad: m.grad = true; break;
    case set_grad: m.grad = on; break;
    case inference:
      m.inference = on;
      m.grad = !on;
      break;
  }
}

template <Kind kind> PyObject* make(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  bool takes_flag = kind == set_grad || kind == inference;
  PyObject* flag = nullptr;
  Py_ssize_t n = PyTuple_GET_SIZE(args), keywords = kwargs ? PyDict_GET_SIZE(kwargs) : 0;
  if (n) flag = PyTuple_GET_ITEM(args, 0);
  if (keywords)
    flag = takes_flag ? PyDict_GetItemString(kwargs, "mode") : PyDict_GetItemString(kwargs, "orig_func");
  if (n + keywords > 1 || (keywords && !flag) || (kind == set_grad && !flag)) {
    PyErr_Format(PyExc_TypeError, "%s() got unexpected arguments", type->tp_name);
    return nullptr;
  }
  // @no_grad without parentheses
  if (flag && !PyBool_Check(flag) && kind != set_grad && PyCallable_Check(flag)) {
    Py self(PyObject_CallNoArgs(reinterpret_cast<PyObject*>(type)));
    return self ? PyObject_CallOneArg(self.get(), flag) : nullptr;
  }
  int on = 1;
  if (flag && (on = PyObject_IsTrue(flag)) < 0) return nullptr;
  auto* self = reinterpret_cast<ModeObject*>(type->tp_alloc(type, 0));
  if (!self) return nullptr;
  self->on = on;
  self->grad_before = modes().grad;
  self->inference_before = modes().inference;
  if (kind == set_grad) modes().grad = on;  // works without `with`, too
  return reinterpret_cast<PyObject*>(self);
}

int accept(PyObject*, PyObject*, PyObject*) { return 0; }

template <Kind kind> PyObject* enter(PyObject* o, PyObject*) {
  auto* self = reinterpret_cast<ModeObject*>(o);
  if (kind != set_grad) {
    self->grad_before = modes().grad;
    self->inference_before = modes().inference;
  }
  enter_mode(kind, self->on);
  return Py_NewRef(Py_None);
}
PyObject* leave(PyObject* o, PyObject* const*, Py_ssize_t) {
  auto* self = reinterpret_cast<ModeObject*>(o);
  modes().grad = self->grad_before;
  modes().inference = self->inference_before;
  return Py_NewRef(Py_None);
}
PyObject* get_mode(PyObject* o, void*) { return PyBool_FromLong(reinterpret_cast<ModeObject*>(o)->on); }
PyObject* get_before(PyObject* o, void*) {
  return PyBool_FromLong(reinterpret_cast<ModeObject*>(o)->grad_before);
}

PyGetSetDef getset[] = {
    {"mode", get_mode, nullptr, nullptr, nullptr},
    {"prev", get_before, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

void dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  type->tp_free(o);
  Py_DECREF(type);
}

template <Kind kind> void add_mode(PyObject* module, const char* name) {
  static PyMethodDef methods[] = {
      {"__enter__", enter<kind>, METH_NOARGS, nullptr},
      {"__exit__", (PyCFunction)(void (*)(void))leave, METH_FASTCALL, nullptr},
      {nullptr, nullptr, 0, nullptr},
  };
  PyType_Slot slots[] = {{Py_tp_methods, methods},        {Py_tp_getset, getset},
                         {Py_tp_new, (void*)make<kind>},  {Py_tp_init, (void*)accept},
                         {Py_tp_dealloc, (void*)dealloc}, {0, nullptr}};
  static PyType_Spec spec = {name, sizeof(ModeObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  Py type(checked(PyType_FromSpec(&spec)));
  const char* short_name = std::strrchr(name, '.') + 1;
  if (PyModule_AddObjectRef(module, short_name, type.get()) < 0) throw PythonError();
}

PyObject* is_grad_enabled(PyObject*, PyObject*) { return PyBool_FromLong(modes().grad); }
PyObject* is_inference_mode_enabled(PyObject*, PyObject*) { return PyBool_FromLong(modes().inference); }
PyObject* set_grad_function(PyObject*, PyObject* on) {
  int yes = PyObject_IsTrue(on);
  if (yes < 0) return nullptr;
  modes().grad = yes;
  return Py_NewRef(Py_None);
}

PyMethodDef functions[] = {
    {"is_grad_enabled", is_grad_enabled, METH_NOARGS,
     "is_grad_enabled()\n--\n\nWhether operations are recorded now."},
    {"is_inference_mode_enabled", is_inference_mode_enabled, METH_NOARGS,
     "is_inference_mode_enabled()\n--\n\nWhether inference mode is on."},
    {"_is_grad_enabled", is_grad_enabled, METH_NOARGS, nullptr},
    {"_set_grad_enabled", set_grad_function, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void add_grad_modes(PyObject* module) {
  add_mode<no_grad>(module, "rushlight._C._no_grad");
  add_mode<enable_grad>(module, "rushlight._C._enable_grad");
  add_mode<set_grad>(module, "rushlight._C._set_grad");
  add_mode<inference>(module, "rushlight._C._inference_mode");
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

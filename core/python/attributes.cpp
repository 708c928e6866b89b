// Attribute lookup of nn.Module: the ordinary one first, then parameters, buffers and children. Module says the same in Python
// (__getattr__), but Python reaches that only through an exception, several times as dear as the lookup itself.
#include "python/python.h"

namespace rushlight {

namespace {

PyObject* registry_names[3];  // interned
PyObject* getattr_name;
PyObject* getattribute_name;

// The value under name; null without an error where there is none. A registry may be any mapping.
PyObject* entry(PyObject* registry, PyObject* name) {
  if (PyDict_CheckExact(registry)) return Py_XNewRef(PyDict_GetItemWithError(registry, name));
  int has = PySequence_Contains(registry, name);
  return has > 0 ? PyObject_GetItem(registry, name) : nullptr;
}

PyObject* lookup(PyObject* self, PyObject* name) {
  PyObject* found = _PyObject_GenericGetAttrWithDict(self, name, nullptr, 1);  // 1: no AttributeError
  if (found || PyErr_Occurred()) return found;
  for (auto* registry_name : registry_names) {
    Py registry(_PyObject_GenericGetAttrWithDict(self, registry_name, nullptr, 1));
    if (registry) found = entry(registry.get(), name);
    if (found || PyErr_Occurred()) return found;
  }
  Py method(Py_XNewRef(_PyType_Lookup(Py_TYPE(self), getattr_name)));
  return PyObject_CallFunctionObjArgs(method.get(), self, name, nullptr);  // raises
}

// _quick_attributes(getattr, cls): cls looks attributes up as above, unless it has a lookup of its own. Giving it one later
// (cls.__getattr__ = ...) makes Python choose the slot anew.
PyObject* quick_attributes(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 2 || !PyType_Check(args[1])) {
    PyErr_SetString(PyExc_TypeError, "expected a function and a class");
    return nullptr;
  }
  auto* type = reinterpret_cast<PyTypeObject*>(args[1]);
  if (_PyType_Lookup(type, getattr_name) == args[0] &&
      _PyType_Lookup(type, getattribute_name) == _PyType_Lookup(&PyBaseObject_Type, getattribute_name)) {
    type->tp_getattro = lookup;
    PyType_Modified(type);
  }
  Py_RETURN_NONE;
}

PyMethodDef functions[] = {{"_quick_attributes", (PyCFunction)(void*)quick_attributes, METH_FASTCALL,
                            "Gives a class the attribute lookup of nn.Module in its quick form."},
                           {}};

}  // namespace

void add_attributes(PyObject* module) {
  const char* names[] = {"_parameters", "_buffers", "_modules"};
  for (int k = 0; k < 3; ++k) registry_names[k] = checked(PyUnicode_InternFromString(names[k]));
  getattr_name = checked(PyUnicode_InternFromString("__getattr__"));
  getattribute_name = checked(PyUnicode_InternFromString("__getattribute__"));
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

// The extension module rushlight._C: error translation and start-up.
#include "op/warn.h"
#include "python/python.h"

#include <new>

namespace rushlight {

namespace {
PyObject* linalg_error = nullptr;

PyObject* python_type(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::type: return PyExc_TypeError;
    case ErrorKind::value: return PyExc_ValueError;
    case ErrorKind::index: return PyExc_IndexError;
    case ErrorKind::not_implemented: return PyExc_NotImplementedError;
    case ErrorKind::memory: return PyExc_MemoryError;
    case ErrorKind::assertion: return PyExc_AssertionError;
    case ErrorKind::attribute: return PyExc_AttributeError;
    case ErrorKind::linalg: return linalg_error;
    default: return PyExc_RuntimeError;
  }
}

PyObject* py_warn_once(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    const char* text;
    int stack_level = 1;
    if (!PyArg_ParseTuple(args, "s|i", &text, &stack_level)) throw PythonError();
    warn_once(text, stack_level);
    return Py_NewRef(Py_None);
  });
}
PyObject* py_set_warn_always(PyObject*, PyObject* on) {
  return guarded([&]() -> PyObject* {
    int truth = PyObject_IsTrue(on);
    if (truth < 0) throw PythonError();
    set_warn_always(truth);
    return Py_NewRef(Py_None);
  });
}
PyMethodDef functions[] = {
    {"_warn_once", py_warn_once, METH_VARARGS,
     "_warn_once(text, stacklevel=1): a UserWarning, once per program."},
    {"_set_warn_always", py_set_warn_always, METH_O, "_set_warn_always(on): whether 'once' means always."},
    {}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "rushlight._C",
                          "The compiled core of rushlight.",
                          -1,
                          functions,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};
}  // namespace

void set_python_error() {
  try {
    throw;
  } catch (const PythonError&) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_SystemError, "an error was reported without an exception");
  } catch (const Error& e) {
    PyErr_SetString(python_type(e.kind), e.text.c_str());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(PyExc_MemoryError, "out of memory");
  } catch (const std::exception& e) { PyErr_SetString(PyExc_RuntimeError, e.what()); } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "unknown C++ exception");
  }
}

}  // namespace rushlight

PyMODINIT_FUNC PyInit__C() {
  using namespace rushlight;
  PyObject* module = PyModule_Create(&definition);
  if (!module) return nullptr;
  PyObject* done = guarded([&]() -> PyObject* {
    linalg_error = checked(PyErr_NewExceptionWithDoc("rushlight._C._LinAlgError",
                                                     "A linear algebra routine could not produce a result.",
                                                     PyExc_RuntimeError, nullptr));
    PyModule_AddObjectRef(module, "_LinAlgError", linalg_error);
    add_types(module);
    add_tensor_type(module);
    add_storage_type(module);
    add_ops(module);
    add_autograd(module);
    add_random(module);
    add_data(module);
    add_attributes(module);
    add_delegates(module);
    return Py_NewRef(Py_None);
  });
  if (!done) {
    Py_DECREF(module);
    return nullptr;
  }
  Py_DECREF(done);
  return module;
}

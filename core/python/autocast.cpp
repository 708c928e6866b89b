// Autocast's state for Python: the functions behind rushlight.amp.
#include "op/autocast.h"

#include "python/autograd.h"

namespace rushlight {

namespace {

PyObject* autocasting(PyObject*, PyObject*) { return PyBool_FromLong(modes().autocast); }
// _set_autocasting(on) -> whether it was
PyObject* set_autocasting(PyObject*, PyObject* on) {
  int yes = PyObject_IsTrue(on);
  if (yes < 0) return nullptr;
  return PyBool_FromLong(std::exchange(modes().autocast, yes != 0));
}
PyObject* cast_dtype(PyObject*, PyObject*) { return to_python(autocast_state().dtype); }
PyObject* set_cast_dtype(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    if (!is_dtype(o))
      throw type_error("set_autocast_dtype(): argument 'dtype' (position 2) must be torch.dtype, not ",
                       Py_TYPE(o)->tp_name);
    autocast_state().dtype = to_dtype(o);
    return Py_NewRef(Py_None);
  });
}
PyObject* caching(PyObject*, PyObject*) { return PyBool_FromLong(autocast_state().caching); }
PyObject* set_caching(PyObject*, PyObject* on) {
  int yes = PyObject_IsTrue(on);
  if (yes < 0) return nullptr;
  autocast_state().caching = yes;
  return Py_NewRef(Py_None);
}
PyObject* increment(PyObject*, PyObject*) { return PyLong_FromLong(++autocast_state().nesting); }
PyObject* decrement(PyObject*, PyObject*) { return PyLong_FromLong(--autocast_state().nesting); }
PyObject* clear(PyObject*, PyObject*) {
  clear_autocast_cache();
  return Py_NewRef(Py_None);
}

PyMethodDef functions[] = {
    {"_autocasting", autocasting, METH_NOARGS, nullptr},
    {"_set_autocasting", set_autocasting, METH_O, nullptr},
    {"_autocast_dtype", cast_dtype, METH_NOARGS, nullptr},
    {"_set_autocast_dtype", set_cast_dtype, METH_O, nullptr},
    {"is_autocast_cache_enabled", caching, METH_NOARGS,
     "is_autocast_cache_enabled()\n--\n\nWhether autocast keeps the casts of weights until its context "
     "ends."},
    {"set_autocast_cache_enabled", set_caching, METH_O,
     "set_autocast_cache_enabled(enabled)\n--\n\nWhether autocast shall keep the casts of weights."},
    {"autocast_increment_nesting", increment, METH_NOARGS,
     "autocast_increment_nesting()\n--\n\nOne context more is entered; returns their number."},
    {"autocast_decrement_nesting", decrement, METH_NOARGS,
     "autocast_decrement_nesting()\n--\n\nOne context is left; returns the number that remains."},
    {"clear_autocast_cache", clear, METH_NOARGS,
     "clear_autocast_cache()\n--\n\nForget the casts of weights."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void add_autocast(PyObject* module) {
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

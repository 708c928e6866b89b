// Forward mode and the profiler's collector for Python: the functions behind rushlight.autograd.forward_ad, func.jvp and
// rushlight.autograd.profiler.
#include "autograd/forward.h"

#include "op/profile.h"
#include "python/autograd.h"

namespace rushlight {

namespace {

PyObject* enter_level(PyObject*, PyObject*) { return PyLong_FromLongLong(enter_forward_level()); }
PyObject* exit_level(PyObject*, PyObject* level) {
  return guarded([&]() -> PyObject* {
    exit_forward_level(to_int(level));
    return Py_NewRef(Py_None);
  });
}
// _forward_levels() -> the active levels that count now, outermost first
PyObject* active_levels(PyObject*, PyObject*) {
  return guarded([&] { return tuple_of(forward_levels()); });
}
PyObject* innermost_level(PyObject*, PyObject*) { return PyLong_FromLongLong(innermost_forward_level()); }

const char* needs_tensor = "expected a tensor";

// _tangent(tensor, level) -> tensor or None
PyObject* tangent_function(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2 || !is_tensor(a[0])) throw type_error(needs_tensor);
    Tensor t = tangent_of(as_tensor(a[0]), to_int(a[1]));
    return t ? to_python(std::move(t)) : Py_NewRef(Py_None);
  });
}
// _set_tangent(tensor, level, tangent or None)
PyObject* set_tangent_function(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 3 || !is_tensor(a[0]) || !(is_tensor(a[2]) || a[2] == Py_None)) throw type_error(needs_tensor);
    Tensor value = a[2] == Py_None ? Tensor() : as_tensor(a[2]);
    if (value && (!same(value.sizes(), as_tensor(a[0]).sizes()) || value.dtype() != as_tensor(a[0]).dtype()))
      throw type_error("a tangent has the sizes and the dtype of its tensor");
    set_tangent(as_tensor(a[0]), to_int(a[1]), std::move(value));
    return Py_NewRef(Py_None);
  });
}
// _copy_tangents(from, to)
PyObject* copy_tangents_function(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2 || !is_tensor(a[0]) || !is_tensor(a[1])) throw type_error(needs_tensor);
    copy_tangents(as_tensor(a[0]), as_tensor(a[1]));
    return Py_NewRef(Py_None);
  });
}
// _set_forward_ceiling(level or None) -> the ceiling before: tangents of higher levels do not count meanwhile
PyObject* set_ceiling(PyObject*, PyObject* level) {
  return guarded([&]() -> PyObject* {
    int64_t next = level == Py_None ? INT64_MAX : to_int(level);
    return PyLong_FromLongLong(std::exchange(modes().forward_ceiling, next));
  });
}

// ---- profiler ----

// _profiler_start(shapes, memory, stack)
PyObject* profiler_start(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 3) throw type_error("_profiler_start expects three flags");
    profile_start(a[0] == Py_True, a[1] == Py_True, a[2] == Py_True);
    return Py_NewRef(Py_None);
  });
}
// _profiler_stop() -> [(name, kind, start, end, memory, sequence, shapes, result, stack)]
PyObject* profiler_stop(PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
    auto events = profile_stop();
    Py list(checked(PyList_New(events.size())));
    for (size_t i = 0; i < events.size(); ++i) {
      ProfileEvent& e = events[i];
      Py shapes(checked(PyTuple_New(e.shapes.size())));
      for (size_t k = 0; k < e.shapes.size(); ++k)
        PyTuple_SET_ITEM(shapes.get(), k, checked(tuple_of(e.shapes[k])));
      Py stack(checked(PyTuple_New(e.stack.size())));
      for (size_t k = 0; k < e.stack.size(); ++k)
        PyTuple_SET_ITEM(stack.get(), k, checked(PyUnicode_FromString(e.stack[k].c_str())));
      PyList_SET_ITEM(
          list.get(), i,
          checked(Py_BuildValue("(siLLLKONO)", e.name.c_str(), int(e.kind), (long long)e.start,
                                (long long)e.end, (long long)e.memory, (unsigned long long)e.sequence,
                                shapes.get(), tuple_of(e.result), stack.get())));
    }
    return list.release();
  });
}
PyObject* profiler_enter(PyObject*, PyObject* name) {
  const char* s = PyUnicode_AsUTF8(name);
  return s ? PyLong_FromLongLong(profile_begin(s, ProfileEvent::user)) : nullptr;
}
PyObject* profiler_exit(PyObject*, PyObject* event) {
  return guarded([&]() -> PyObject* {
    profile_end(to_int(event));
    return Py_NewRef(Py_None);
  });
}
PyObject* profiler_enabled(PyObject*, PyObject*) { return PyBool_FromLong(modes().profile); }

template <class F> PyCFunction fast(F f) { return (PyCFunction)(void (*)(void))f; }
PyMethodDef functions[] = {
    {"_enter_forward_level", enter_level, METH_NOARGS, nullptr},
    {"_exit_forward_level", exit_level, METH_O, nullptr},
    {"_forward_levels", active_levels, METH_NOARGS, nullptr},
    {"_forward_level", innermost_level, METH_NOARGS, nullptr},
    {"_tangent", fast(tangent_function), METH_FASTCALL, nullptr},
    {"_set_tangent", fast(set_tangent_function), METH_FASTCALL, nullptr},
    {"_copy_tangents", fast(copy_tangents_function), METH_FASTCALL, nullptr},
    {"_set_forward_ceiling", set_ceiling, METH_O, nullptr},
    {"_profiler_start", fast(profiler_start), METH_FASTCALL, nullptr},
    {"_profiler_stop", profiler_stop, METH_NOARGS, nullptr},
    {"_profiler_enter", profiler_enter, METH_O, nullptr},
    {"_profiler_exit", profiler_exit, METH_O, nullptr},
    {"_profiler_enabled", profiler_enabled, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void add_forward(PyObject* module) {
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

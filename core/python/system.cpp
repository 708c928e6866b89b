// Functions about the process: threads, the allocator's figures, the instruction set, promoted dtypes.
#include "python/system.h"

#include "device/allocator.h"
#include "kernels/cpu/conv_winograd.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "kernels/parallel.h"
#include "python/python.h"

namespace rushlight {

namespace {

PyObject* s_num_threads(PyObject*, PyObject*) { return PyLong_FromLong(num_threads()); }
PyObject* s_set_num_threads(PyObject*, PyObject* n) {
  return guarded([&] {
    int64_t count = to_int(n);
    if (count <= 0) throw runtime_error("set_num_threads expects a positive integer");
    set_num_threads(int(std::min<int64_t>(count, 1024)));
    return Py_NewRef(Py_None);
  });
}

PyObject* s_memory_stats(PyObject*, PyObject*) {
  MemoryStats m = memory_stats();
  return Py_BuildValue("{s:n,s:n,s:n,s:n,s:K,s:K}", "allocated", Py_ssize_t(m.allocated), "peak_allocated",
                       Py_ssize_t(m.peak_allocated), "cached", Py_ssize_t(m.cached), "cache_limit",
                       Py_ssize_t(m.cache_limit), "allocations",
                       static_cast<unsigned long long>(m.allocations), "system_allocations",
                       static_cast<unsigned long long>(m.system_allocations));
}
PyObject* s_empty_cache(PyObject*, PyObject*) {
  drop_recycled_tensors();
  empty_cache();
  Py_RETURN_NONE;
}
PyObject* s_reset_peak(PyObject*, PyObject*) {
  reset_peak();
  Py_RETURN_NONE;
}

PyObject* s_isa_name(PyObject*, PyObject*) { return PyUnicode_FromString(cpu::isa_name()); }

PyObject* s_has_amx(PyObject*, PyObject*) { return PyBool_FromLong(cpu::has_amx()); }

PyObject* s_set_float32_parts(PyObject*, PyObject* n) {
  return guarded([&] {
    const int64_t count = to_int(n);
    if (count < 0 || count > 3) throw runtime_error("_set_float32_parts: expected 0 to 3, not ", count);
    cpu::set_float32_parts(int(count));
    return Py_NewRef(Py_None);
  });
}

PyObject* s_conv_winograd(PyObject*, PyObject*) { return PyBool_FromLong(cpu::winograd_enabled()); }
PyObject* s_set_conv_winograd(PyObject*, PyObject* on) {
  return guarded([&] {
    int enabled = PyObject_IsTrue(on);
    if (enabled < 0) throw PythonError();
    cpu::set_winograd_enabled(enabled);
    return Py_NewRef(Py_None);
  });
}

PyObject* s_result_type(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2) throw type_error("result_type() takes 2 positional arguments but ", n, " were given");
    Value values[2];
    for (int i = 0; i < 2; ++i) {
      if (is_tensor(args[i])) values[i] = Value(reinterpret_cast<const Tensor&>(args[i]));
      else if (!number_value(args[i], values[i]))
        throw type_error("result_type(): argument 'tensor", i + 1, "' (position ", i + 1,
                         ") must be Tensor, not ", Py_TYPE(args[i])->tp_name);
    }
    return to_python(result_type(values));
  });
}

PyMethodDef functions[] = {
    {"_num_threads", s_num_threads, METH_NOARGS, "Threads that one operation may use."},
    {"_set_num_threads", s_set_num_threads, METH_O, "Chooses how many threads one operation may use."},
    {"_memory_stats", s_memory_stats, METH_NOARGS, "Figures of the caching allocator, in bytes."},
    {"_empty_cache", s_empty_cache, METH_NOARGS, "Gives cached blocks back to the system."},
    {"_reset_peak_memory", s_reset_peak, METH_NOARGS, "Starts the peak figure again."},
    {"_isa_name", s_isa_name, METH_NOARGS, "Name of the instruction set that kernels use."},
    {"_conv_winograd", s_conv_winograd, METH_NOARGS, "Whether convolutions may use Winograd's algorithm."},
    {"_set_conv_winograd", s_set_conv_winograd, METH_O,
     "Chooses whether convolutions may use Winograd's algorithm."},
    {"_has_amx", s_has_amx, METH_NOARGS, "Whether matrix products run on the processor's matrix unit."},
    {"_set_float32_parts", s_set_float32_parts, METH_O,
     "How many bfloat16 parts of each number float32 products take to the matrix unit; 0: they do without "
     "it."},
    {"_result_type", (PyCFunction)(void*)s_result_type, METH_FASTCALL,
     "The dtype that an operation on both gives."},
    {}};

}  // namespace

void add_system(PyObject* module) {
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

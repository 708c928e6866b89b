// DLPack: tensors that share memory with other libraries' arrays. The structures follow the DLPack header, version 1.0.
#include <cstring>
#include <memory>

#include "python/python.h"
#include "python/system.h"
#include "tensor/tensor.h"

namespace rushlight {

namespace {

struct DLDevice {
  int32_t type, id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};
constexpr int32_t dl_cpu = 1, dl_cpu_pinned = 3;
constexpr uint64_t flag_read_only = 1, flag_copied = 2;
enum Code : uint8_t {
  dl_int = 0,
  dl_uint = 1,
  dl_float = 2,
  dl_bfloat = 4,
  dl_complex = 5,
  dl_bool = 6,
  dl_float8_e4m3fn = 10,
  dl_float8_e4m3fnuz = 11,
  dl_float8_e5m2 = 12,
  dl_float8_e5m2fnuz = 13,
  dl_float8_e8m0fnu = 14
};

Code code_of(Dtype d) {
  switch (d) {
    case Dtype::boolean: return dl_bool;
    case Dtype::bf16: return dl_bfloat;
    case Dtype::f8_e4m3fn: return dl_float8_e4m3fn;
    case Dtype::f8_e4m3fnuz: return dl_float8_e4m3fnuz;
    case Dtype::f8_e5m2: return dl_float8_e5m2;
    case Dtype::f8_e5m2fnuz: return dl_float8_e5m2fnuz;
    case Dtype::f8_e8m0fnu: return dl_float8_e8m0fnu;
    default: break;
  }
  if (is_complex(d)) return dl_complex;
  if (is_float(d)) return dl_float;
  return is_unsigned(d) ? dl_uint : dl_int;
}
Dtype dtype_of(DLDataType t) {
  if (t.lanes == 1)
    for (int d = 0; d < storage_dtypes; ++d)
      if (code_of(Dtype(d)) == t.code && itemsize(Dtype(d)) * 8 == t.bits) return Dtype(d);
  throw runtime_error("Unsupported DLPack element type: code ", int(t.code), ", ", int(t.bits), " bits, ",
                      t.lanes, " lanes");
}

// What an exported capsule owns: the storage and the numbers that describe the view.
template <class Managed> struct Export {
  Managed managed;
  Storage* storage;
  int64_t dims[2 * max_ndim];
};

// The consumer may call this on any thread, without the GIL.
template <class Managed> void release_export(Managed* m) {
  PyGILState_STATE state = PyGILState_Ensure();
  auto* e = static_cast<Export<Managed>*>(m->context);
  { StorageRef gone(e->storage); }
  delete e;
  PyGILState_Release(state);
}
template <class Managed> constexpr const char* fresh_name = "dltensor";
template <> constexpr const char* fresh_name<DLManagedTensorVersioned> = "dltensor_versioned";
template <class Managed> constexpr const char* used_name = "used_dltensor";
template <> constexpr const char* used_name<DLManagedTensorVersioned> = "used_dltensor_versioned";

// A capsule that nobody consumed still owns its tensor.
template <class Managed> void destroy_capsule(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, fresh_name<Managed>)) return;
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, fresh_name<Managed>));
  if (m && m->deleter) m->deleter(m);
}

template <class Managed> PyObject* export_tensor(const Tensor& t, bool copied) {
  auto e = std::make_unique<Export<Managed>>();
  Managed& m = e->managed;
  m = {};
  m.context = e.get();
  m.deleter = release_export<Managed>;
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    m.major = 1;
    m.flags = copied ? flag_copied : 0;
  }
  std::memcpy(e->dims, t->dims, 2 * t.ndim() * sizeof(int64_t));
  m.tensor = {t.raw(),
              {dl_cpu, 0},
              int32_t(t.ndim()),
              {code_of(t.dtype()), uint8_t(t.itemsize() * 8), 1},
              e->dims,
              e->dims + t.ndim(),
              0};
  t->storage->root()->resizable = false;  // somebody outside now points at these bytes
  PyObject* capsule = checked(PyCapsule_New(&m, fresh_name<Managed>, destroy_capsule<Managed>));
  ++t->storage->refs;
  e->storage = t->storage;
  e.release();
  return capsule;
}

[[noreturn]] void buffer_error(const char* text) {
  PyErr_SetString(PyExc_BufferError, text);
  throw PythonError();
}

// __dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None)
PyObject* t_dlpack(PyObject* o, PyObject* args, PyObject* kw) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"stream", "max_version", "dl_device", "copy", nullptr};
    PyObject *stream = Py_None, *version = Py_None, *device = Py_None, *copy = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|OOOO", const_cast<char**>(names), &stream, &version, &device,
                                     &copy))
      throw PythonError();
    Tensor t = as_tensor(o);
    if (t.needs_grad()) buffer_error("Can't export tensors that require gradient, use tensor.detach()");
    if (t->delegate) buffer_error("Can't export tensors with layout other than torch.strided");
    if (t.is_meta()) buffer_error("Can't export a tensor without memory (device meta)");
    if (stream != Py_None && !(PyLong_Check(stream) && PyLong_AsLong(stream) == -1))
      buffer_error("stream must be None on CPU.");
    PyErr_Clear();
    if (device != Py_None) {
      Dims d = to_dims(device);
      if (d.size() != 2 || (d[0] != dl_cpu && d[0] != dl_cpu_pinned))
        buffer_error("cannot export to that device: the tensor is on the CPU");
    }
    bool copied = copy == Py_True;
    if (copied) {
      static const Op& clone = find_op("clone");
      t = clone(t);
    }
    bool versioned = PyTuple_Check(version) && PyTuple_GET_SIZE(version) == 2 &&
                     to_int(PyTuple_GET_ITEM(version, 0)) >= 1;
    return versioned ? export_tensor<DLManagedTensorVersioned>(t, copied)
                     : export_tensor<DLManagedTensor>(t, copied);
  });
}
PyObject* t_dlpack_device(PyObject*, PyObject*) {
  return guarded([&] {
    Py module(checked(PyImport_ImportModule("rushlight.utils.dlpack")));
    Py cpu(checked(PyObject_CallMethod(module.get(), "DLDeviceType", "i", int(dl_cpu))));
    return checked(Py_BuildValue("(Oi)", cpu.get(), 0));
  });
}

template <class Managed> PyObject* import_tensor(PyObject* capsule) {
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, fresh_name<Managed>));
  if (!m) throw PythonError();
  const DLTensor& d = m->tensor;
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    if (m->major > 1) throw runtime_error("from_dlpack(): DLPack version ", m->major, " is not supported");
    if (m->flags & flag_read_only) throw runtime_error("from_dlpack(): the memory is read-only");
  }
  if (d.device.type != dl_cpu && d.device.type != dl_cpu_pinned)
    throw runtime_error("from_dlpack(): device type ", d.device.type, " is not supported, only the CPU");
  if (d.ndim < 0 || d.ndim > max_ndim)
    throw runtime_error("from_dlpack(): ", d.ndim, " dimensions are not supported");
  Dtype dtype = dtype_of(d.dtype);
  Dims sizes(IntSpan(d.shape, d.ndim));
  int64_t n = count(sizes);
  Dims strides = d.strides ? Dims(IntSpan(d.strides, d.ndim)) : contiguous_strides(sizes);
  int64_t last = 0, step, bytes = 0;
  for (int k = 0; k < d.ndim && n; ++k) {
    if (sizes[k] > 1 && strides[k] < 0)
      throw runtime_error("from_dlpack(): negative strides are not supported");
    if (__builtin_mul_overflow(sizes[k] - 1, strides[k], &step) || __builtin_add_overflow(last, step, &last))
      throw runtime_error("from_dlpack(): the strides reach too far");
  }
  if (n && __builtin_mul_overflow(last + 1, int64_t(itemsize(dtype)), &bytes))
    throw runtime_error("from_dlpack(): the strides reach too far");
  char* data = static_cast<char*>(d.data);
  if (data) data += d.byte_offset;
  if (n && (!data || reinterpret_cast<uintptr_t>(data) % std::min<size_t>(itemsize(dtype), 8)))
    throw runtime_error("from_dlpack(): the memory is not aligned for ", info(dtype).name);
  StorageRef storage(Storage::wrap(data, bytes, m, [](void* owner) {
    auto* managed = static_cast<Managed*>(owner);
    if (managed->deleter) managed->deleter(managed);
  }));
  PyCapsule_SetName(capsule, used_name<Managed>);  // from here on the storage owns it
  return to_python(on_storage(storage, dtype, sizes, strides, 0));
}

PyObject* from_dlpack(PyObject*, PyObject* capsule) {
  return guarded([&]() -> PyObject* {
    if (PyCapsule_IsValid(capsule, fresh_name<DLManagedTensorVersioned>))
      return import_tensor<DLManagedTensorVersioned>(capsule);
    if (PyCapsule_IsValid(capsule, fresh_name<DLManagedTensor>))
      return import_tensor<DLManagedTensor>(capsule);
    throw runtime_error(
        "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once, so "
        "you "
        "might have already constructed a tensor from it once.");
  });
}

PyMethodDef functions[] = {
    {"_from_dlpack", from_dlpack, METH_O, "_from_dlpack(capsule) -> Tensor on the capsule's memory"}, {}};
PyMethodDef tensor_methods[] = {
    {"__dlpack__", (PyCFunction)(void*)t_dlpack, METH_VARARGS | METH_KEYWORDS,
     "A DLPack capsule that shares this tensor's memory."},
    {"__dlpack_device__", t_dlpack_device, METH_NOARGS, "DLPack's (device type, index): the CPU, 0."},
    {}};

}  // namespace

void add_dlpack(PyObject* module) {
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
  for (auto* m = tensor_methods; m->ml_name; ++m) {
    Py d(checked(PyDescr_NewMethod(tensor_type, m)));
    if (PyObject_SetAttrString(reinterpret_cast<PyObject*>(tensor_type), m->ml_name, d.get()) < 0)
      throw PythonError();
  }
}

}  // namespace rushlight

// UntypedStorage: a tensor's bytes as a Python object with the buffer protocol, and memory shared with NumPy.
#include <cstring>
#include <memory>

#include "autograd/node.h"
#include "kernels/copy.h"
#include "op/warn.h"
#include "python/args.h"
#include "python/delegate.h"
#include "python/tensor_type.h"

namespace rushlight {

namespace {

struct StorageObject {
  PyObject_HEAD Storage* storage;  // owned
};
PyTypeObject* storage_type;
Storage* of(PyObject* o) { return reinterpret_cast<StorageObject*>(o)->storage; }

PyObject* wrap(StorageRef s) {
  auto* o = PyObject_New(StorageObject, storage_type);
  if (!o) throw PythonError();
  o->storage = s.release();
  return reinterpret_cast<PyObject*>(o);
}
void dealloc(PyObject* o) {
  StorageRef s(of(o));
  PyTypeObject* type = Py_TYPE(o);
  type->tp_free(o);
  Py_DECREF(type);
}

int get_buffer(PyObject* o, Py_buffer* view, int flags) {
  Storage* s = of(o);
  s->root()->resizable = false;  // somebody outside now points at these bytes
  static char nothing;
  return PyBuffer_FillInfo(view, o, s->data ? s->data : &nothing, s->nbytes, 0, flags);
}
PyObject* s_nbytes(PyObject* o, PyObject*) { return PyLong_FromSize_t(of(o)->nbytes); }
PyObject* s_data_ptr(PyObject* o, PyObject*) {
  return PyLong_FromVoidPtr(of(o)->nbytes ? of(o)->data : nullptr);
}
PyObject* s_resizable(PyObject* o, PyObject*) { return PyBool_FromLong(of(o)->resizable); }
Py_ssize_t s_length(PyObject* o) { return of(o)->nbytes; }
PyObject* s_device(PyObject* o, void*) { return to_python(of(o)->device); }
PyObject* s_cdata(PyObject* o, void*) { return PyLong_FromVoidPtr(of(o)->root()); }
PyObject* s_clone(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    StorageRef copy(Storage::create(of(o)->nbytes));
    if (of(o)->nbytes) std::memcpy(copy->data, of(o)->data, of(o)->nbytes);
    return wrap(copy);
  });
}
PyObject* s_new(PyTypeObject*, PyObject* args, PyObject* kw) {
  return guarded([&]() -> PyObject* {
    Py_ssize_t n = 0;
    static const char* names[] = {"size", nullptr};
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|n", const_cast<char**>(names), &n)) throw PythonError();
    if (n < 0) throw runtime_error("a storage cannot have ", n, " bytes");
    StorageRef s(Storage::create(n));
    if (n) std::memset(s->data, 0, n);
    return wrap(s);
  });
}

void free_buffer(void* owner) {
  auto* view = static_cast<Py_buffer*>(owner);
  PyBuffer_Release(view);
  delete view;
}

// _from_buffer(obj, byte_offset=0, nbytes=-1): shares obj's memory
PyObject* s_from_buffer(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject* o;
    Py_ssize_t offset = 0, nbytes = -1;
    if (!PyArg_ParseTuple(args, "O|nn", &o, &offset, &nbytes)) throw PythonError();
    auto view = std::make_unique<Py_buffer>();
    if (PyObject_GetBuffer(o, view.get(), PyBUF_WRITABLE) < 0) {
      PyErr_Clear();
      if (PyObject_GetBuffer(o, view.get(), PyBUF_SIMPLE) < 0) throw PythonError();
    }
    if (nbytes < 0) nbytes = view->len - offset;
    if (offset < 0 || nbytes < 0 || offset > view->len || nbytes > view->len - offset) {
      PyBuffer_Release(view.get());
      throw value_error("bytes ", offset, " to ", offset + nbytes, " are outside a buffer of ", view->len,
                        " bytes");
    }
    char* data = static_cast<char*>(view->buf) + offset;
    return wrap(StorageRef(Storage::wrap(data, nbytes, view.release(), free_buffer)));
  });
}

PyMethodDef methods[] = {{"nbytes", s_nbytes, METH_NOARGS, "Size in bytes."},
                         {"size", s_nbytes, METH_NOARGS, "Size in bytes."},
                         {"data_ptr", s_data_ptr, METH_NOARGS, "Address of the first byte."},
                         {"resizable", s_resizable, METH_NOARGS, "Whether the memory may move and grow."},
                         {"clone", s_clone, METH_NOARGS, "A copy of the bytes."},
                         {"_from_buffer", s_from_buffer, METH_VARARGS | METH_STATIC,
                          "_from_buffer(obj, byte_offset=0, nbytes=-1): a storage over obj's memory."},
                         {}};
PyGetSetDef getset[] = {
    {"device", s_device, nullptr, nullptr, nullptr}, {"_cdata", s_cdata, nullptr, nullptr, nullptr}, {}};
PyType_Slot slots[] = {{Py_tp_new, (void*)s_new},
                       {Py_tp_dealloc, (void*)dealloc},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, getset},
                       {Py_sq_length, (void*)s_length},
                       {Py_bf_getbuffer, (void*)get_buffer},
                       {Py_tp_doc, (void*)"The bytes under one or more tensors."},
                       {0, nullptr}};
PyType_Spec spec = {"rushlight.UntypedStorage", sizeof(StorageObject), 0, Py_TPFLAGS_DEFAULT, slots};

PyObject* array_type() {
  static PyObject* type = nullptr;
  if (!type) {
    Py np(checked(PyImport_ImportModule("numpy")));
    type = checked(PyObject_GetAttrString(np.get(), "ndarray"));
  }
  return type;
}

PyObject* untyped_storage(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    Tensor t = as_tensor(o);
    if (t->delegate) return ask_delegate(t, "untyped_storage").release();
    if (!t->storage) throw not_implemented("a tensor on the meta device has no storage");
    return wrap(StorageRef::share(t->storage->root()));
  });
}

// The two functions of NumPy's C interface that make an array on given memory, by their numbers in its table, which are part
// of its stable binary interface: no NumPy is needed to compile.
struct ArrayMaker {
  using NewFromDescr = PyObject* (*)(PyTypeObject*, PyObject* descr, int ndim, const Py_ssize_t* dims,
                                     const Py_ssize_t* strides, void* data, int flags, PyObject*);
  using SetBase = int (*)(PyObject* array, PyObject* base);
  NewFromDescr make;  // takes over the reference to descr
  SetBase set_base;   // and that to base
  PyObject* dtypes[dtype_count] = {};

  ArrayMaker() {
    Py inner(PyImport_ImportModule("numpy._core._multiarray_umath"));  // NumPy 2
    if (!inner) {
      PyErr_Clear();
      inner = Py(checked(PyImport_ImportModule("numpy.core._multiarray_umath")));
    }
    Py capsule(checked(PyObject_GetAttrString(inner.get(), "_ARRAY_API")));
    auto** table = static_cast<void**>(PyCapsule_GetPointer(capsule.get(), nullptr));
    if (!table) throw PythonError();
    make = reinterpret_cast<NewFromDescr>(table[94]);
    set_base = reinterpret_cast<SetBase>(table[282]);
    Py np(checked(PyImport_ImportModule("numpy")));
    for (int d = 0; d < dtype_count; ++d)
      if (const char* code = info(Dtype(d)).numpy)
        dtypes[d] = checked(PyObject_CallMethod(np.get(), "dtype", "s", code));
  }
};

// numpy(force=False): the array shares the tensor's memory
PyObject* to_numpy(PyObject* o, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    int force = 0;
    for (Py_ssize_t k = 0; kwnames && k < PyTuple_GET_SIZE(kwnames); ++k) {
      if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, k), "force"))
        throw type_error("numpy() got an unexpected keyword argument '",
                         PyUnicode_AsUTF8(PyTuple_GET_ITEM(kwnames, k)), "'");
      force = PyObject_IsTrue(args[nargs + k]);
      if (force < 0) throw PythonError();
    }
    if (nargs) throw type_error("numpy() takes 0 positional arguments but ", nargs, " were given");
    Tensor t = as_tensor(o);
    if (t.is_meta())
      throw type_error(
          "can't convert meta device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
          "memory first.");
    if (t.needs_grad() && !force)
      throw runtime_error(
          "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.");
    if (t->delegate) return ask_delegate(t, "numpy").release();
    static const ArrayMaker* maker = new ArrayMaker;
    PyObject* dtype = maker->dtypes[int(t.dtype())];
    if (!dtype) throw type_error("Got unsupported ScalarType ", info(t.dtype()).scalar_name);
    static_assert(sizeof(Py_ssize_t) == sizeof(int64_t));
    int64_t strides[max_ndim];
    for (int64_t d = 0; d < t.ndim(); ++d) strides[d] = t.stride(d) * int64_t(t.itemsize());
    constexpr int aligned_and_writeable = 0x0100 | 0x0400;
    Py array(checked(maker->make(reinterpret_cast<PyTypeObject*>(array_type()), Py_NewRef(dtype),
                                 int(t.ndim()), reinterpret_cast<const Py_ssize_t*>(t->dims),
                                 reinterpret_cast<const Py_ssize_t*>(strides), t.raw(), aligned_and_writeable,
                                 nullptr)));
    t->storage->root()->resizable = false;  // the array points at these bytes
    if (maker->set_base(array.get(), wrap(StorageRef::share(t->storage))) < 0) throw PythonError();
    return array.release();
  });
}

PyObject* from_numpy(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    if (!is_array(o)) throw type_error("expected np.ndarray (got ", Py_TYPE(o)->tp_name, ")");
    return to_python(from_array(o, true));
  });
}

// _rebuild(storage, dtype, offset, size, stride, requires_grad=False): a tensor on a storage, bounds checked
PyObject* rebuild(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *storage, *dtype, *size, *stride;
    long long offset;
    int requires_grad = 0;
    if (!PyArg_ParseTuple(args, "OOLOO|p", &storage, &dtype, &offset, &size, &stride, &requires_grad))
      throw PythonError();
    StorageRef s = storage_of(storage);
    if (!s) throw type_error("_rebuild(): expected an UntypedStorage, got ", Py_TYPE(storage)->tp_name);
    Dims sizes = to_dims(size), strides = to_dims(stride);
    if (sizes.size() != strides.size()) throw runtime_error("mismatch in length of strides and shape");
    Tensor t = on_storage(s, to_dtype(dtype), sizes, strides, offset);
    if (requires_grad) {
      if (!differentiable(t.dtype()))
        throw runtime_error("Only Tensors of floating point and complex dtype can require gradients");
      t->requires_grad = true;
    }
    return to_python(t);
  });
}

PyMethodDef functions[] = {{"from_numpy", from_numpy, METH_O,
                            "from_numpy(ndarray) -> Tensor\n\nA tensor that shares the array's memory."},
                           {"_rebuild", rebuild, METH_VARARGS,
                            "_rebuild(storage, dtype, offset, size, stride, requires_grad=False) -> Tensor"},
                           {}};
PyMethodDef tensor_methods[] = {
    {"untyped_storage", untyped_storage, METH_NOARGS, "The bytes under this tensor."},
    {"numpy", (PyCFunction)(void*)to_numpy, METH_FASTCALL | METH_KEYWORDS,
     "numpy(*, force=False): an array that shares this tensor's memory."},
    {}};

Dtype dtype_of_format(const char* f, Py_ssize_t itemsize, PyObject* array) {
  bool swapped = f[0] == '>' || f[0] == '!';
  if (strchr("<>=!@|", f[0]) && f[0]) ++f;
  if (swapped && itemsize > 1)
    throw value_error(
        "given numpy array has byte order different from the native byte order. Conversion between byte "
        "orders is "
        "currently not supported.");
  std::string_view code = f;
  if (code == "?") return Dtype::boolean;
  if (code == "e") return Dtype::f16;
  if (code == "f") return Dtype::f32;
  if (code == "d") return Dtype::f64;
  if (code == "Zf") return Dtype::c64;
  if (code == "Zd") return Dtype::c128;
  if (code.size() == 1 && strchr("bhilq", code[0]))
    return itemsize == 1 ? Dtype::i8 : itemsize == 2 ? Dtype::i16 : itemsize == 4 ? Dtype::i32 : Dtype::i64;
  if (code.size() == 1 && strchr("BHILQ", code[0]))
    return itemsize == 1 ? Dtype::u8 : itemsize == 2 ? Dtype::u16 : itemsize == 4 ? Dtype::u32 : Dtype::u64;
  return Dtype::none;
}

[[noreturn]] void unsupported_array(PyObject* array) {
  Py dtype(PyObject_GetAttrString(array, "dtype"));
  Py type(dtype ? PyObject_GetAttrString(dtype.get(), "type") : nullptr);
  Py name(type ? PyObject_GetAttrString(type.get(), "__name__") : nullptr);
  PyErr_Clear();
  throw type_error("can't convert np.ndarray of type numpy.", name ? PyUnicode_AsUTF8(name.get()) : "?",
                   ". The only supported types are: float64, float32, float16, complex64, complex128, int64, "
                   "int32, int16, "
                   "int8, uint64, uint32, uint16, uint8, and bool.");
}

}  // namespace

bool is_array(PyObject* o) {
  if (is_tensor(o) || PyList_Check(o) || PyTuple_Check(o) || PyLong_Check(o) || PySlice_Check(o))
    return false;
  return PyObject_TypeCheck(o, reinterpret_cast<PyTypeObject*>(array_type()));
}

PyObject* storage_to_python(StorageRef s) { return wrap(std::move(s)); }

StorageRef storage_of(PyObject* o) {
  if (!PyObject_TypeCheck(o, storage_type)) return {};
  return StorageRef::share(of(o));
}

Tensor from_array(PyObject* array, bool share) {
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(array, view.get(), PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE) < 0) {
    PyErr_Clear();
    if (PyObject_GetBuffer(array, view.get(), PyBUF_STRIDES | PyBUF_FORMAT) < 0) {
      PyErr_Clear();
      unsupported_array(array);
    }
    if (share) {
      try {
        warn_once(
            "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. This "
            "means writing to this tensor will result in undefined behavior. You may want to copy the array "
            "to protect its data or make it writable before converting it to a tensor. This type of warning "
            "will be suppressed for the rest of this program.");
      } catch (...) {
        PyBuffer_Release(view.get());
        throw;
      }
    }
  }
  Tensor t;
  try {
    Dtype dtype = dtype_of_format(view->format ? view->format : "B", view->itemsize, array);
    if (dtype == Dtype::none) unsupported_array(array);
    Dims sizes, strides;
    int64_t span = view->itemsize;
    for (int d = 0; d < view->ndim; ++d) {
      Py_ssize_t step = view->strides[d];
      if (step < 0)
        throw value_error(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are "
            "not "
            "currently supported. (You can probably work around this by making a copy of your array  with "
            "array.copy().) ");
      if (step % view->itemsize)
        throw value_error(
            "given numpy array strides not a multiple of the element byte size. Copy array to reallocate the "
            "memory.");
      sizes.push_back(view->shape[d]);
      strides.push_back(step / view->itemsize);
      if (view->shape[d] > 0) span += (view->shape[d] - 1) * step;
    }
    if (!count(sizes)) span = 0;
    Py_buffer* owner = view.get();
    StorageRef s(Storage::wrap(static_cast<char*>(owner->buf), span, owner, free_buffer));
    view.release();
    t = on_storage(s, dtype, sizes, strides, 0);
  } catch (...) {
    if (view) PyBuffer_Release(view.get());
    throw;
  }
  if (share) return t;
  Tensor own = empty(t.sizes(), t.dtype());
  copy(own, t);
  return own;
}

void add_storage_type(PyObject* module) {
  storage_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  PyModule_AddObjectRef(module, "UntypedStorage", reinterpret_cast<PyObject*>(storage_type));
  for (auto* m = tensor_methods; m->ml_name; ++m) {
    Py d(checked(PyDescr_NewMethod(tensor_type, m)));
    if (PyObject_SetAttrString(reinterpret_cast<PyObject*>(tensor_type), m->ml_name, d.get()) < 0)
      throw PythonError();
  }
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

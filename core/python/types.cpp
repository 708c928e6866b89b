// Small Python types: dtype, device, layout, memory_format and Size.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "python/python.h"

namespace rushlight {

PyObject* size_type = nullptr;

namespace {

PyObject* module_object = nullptr;  // the _C module, borrowed (it lives as long as the process)

// ---- dtype ----
struct DtypeObject {
  PyObject_HEAD Dtype value;
};
PyTypeObject* dtype_type;
PyObject* dtype_objects[dtype_count];
Dtype of(PyObject* o) { return reinterpret_cast<DtypeObject*>(o)->value; }

PyObject* dtype_repr(PyObject* o) { return PyUnicode_FromFormat("torch.%s", info(of(o)).name); }
PyObject* dtype_reduce(PyObject* o, PyObject*) { return PyUnicode_FromString(info(of(o)).name); }
PyObject* dtype_module(PyObject*, void*) { return PyUnicode_FromString("rushlight"); }
PyObject* dtype_is_float(PyObject* o, void*) { return PyBool_FromLong(is_any_float(of(o))); }
PyObject* dtype_is_complex(PyObject* o, void*) { return PyBool_FromLong(is_complex(of(o))); }
PyObject* dtype_is_signed(PyObject* o, void*) {
  return guarded([&] {
    if (is_quantized(of(o))) throw runtime_error("isSignedType not supported for quantized types");
    return PyBool_FromLong(is_signed(of(o)));
  });
}
PyObject* dtype_type_name(PyObject* o, void*) { return PyUnicode_FromString(info(of(o)).type_name); }
PyObject* dtype_scalar_name(PyObject* o, void*) { return PyUnicode_FromString(info(of(o)).scalar_name); }
PyObject* dtype_itemsize(PyObject* o, void*) { return PyLong_FromLong(itemsize(of(o))); }
PyObject* dtype_to_real(PyObject* o, PyObject*) { return to_python(real_of(of(o))); }
PyObject* dtype_to_complex(PyObject* o, PyObject*) {
  return guarded([&] { return to_python(complex_of(of(o))); });
}
PyMethodDef dtype_methods[] = {
    {"__reduce__", dtype_reduce, METH_NOARGS, nullptr},
    {"to_real", dtype_to_real, METH_NOARGS, "The real dtype of the same precision."},
    {"to_complex", dtype_to_complex, METH_NOARGS, "The complex dtype of the same precision."},
    {}};
PyGetSetDef dtype_getset[] = {{"is_floating_point", dtype_is_float, nullptr, nullptr, nullptr},
                              {"is_complex", dtype_is_complex, nullptr, nullptr, nullptr},
                              {"is_signed", dtype_is_signed, nullptr, nullptr, nullptr},
                              {"itemsize", dtype_itemsize, nullptr, "bytes per element", nullptr},
                              {"_scalar_name", dtype_scalar_name, nullptr, "as in error texts", nullptr},
                              {"_type_name", dtype_type_name, nullptr, "as in Tensor.type()", nullptr},
                              {"__module__", dtype_module, nullptr, nullptr, nullptr},
                              {}};
PyType_Slot dtype_slots[] = {{Py_tp_repr, (void*)dtype_repr},
                             {Py_tp_methods, dtype_methods},
                             {Py_tp_getset, dtype_getset},
                             {Py_tp_doc, (void*)"Element type of a tensor."},
                             {0, nullptr}};
PyType_Spec dtype_spec = {"rushlight.dtype", sizeof(DtypeObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, dtype_slots};

// ---- device ----
struct DeviceObject {
  PyObject_HEAD Device value;
};
PyTypeObject* device_type;
const char* device_names[] = {"cpu", "cuda", "meta"};
Device& device_of(PyObject* o) { return reinterpret_cast<DeviceObject*>(o)->value; }

Device parse_device(const char* text) {
  static const char* known =
      "cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, vulkan, mps, "
      "meta, hpu, mtia, "
      "privateuseone";
  std::string s = text, name = s.substr(0, s.find(':'));
  if (s.empty()) throw runtime_error("Device string must not be empty");
  Device d;
  if (name == "cpu") d.type = Device::cpu;
  else if (name == "cuda") d.type = Device::cuda;
  else if (name == "meta") d.type = Device::meta;
  else if (!name.empty() && (std::string(known) + ",").find(name + ",") != std::string::npos)
    throw not_implemented("device type '", name, "' is not implemented");
  else throw runtime_error("Expected one of ", known, " device type at start of device string: ", name);
  if (name.size() < s.size()) {
    std::string index = s.substr(name.size() + 1);
    bool ok = !index.empty() && index.size() < 4 &&
              index.find_first_not_of("0123456789") == std::string::npos &&
              (index.size() == 1 || index[0] != '0');
    if (!ok || std::atoi(index.c_str()) > 127) throw runtime_error("Invalid device string: '", s, "'");
    d.index = std::atoi(index.c_str());
  }
  return d;
}

PyObject* device_repr(PyObject* o) {
  Device d = device_of(o);
  if (d.index < 0) return PyUnicode_FromFormat("device(type='%s')", device_names[d.type]);
  return PyUnicode_FromFormat("device(type='%s', index=%d)", device_names[d.type], int(d.index));
}
PyObject* device_str(PyObject* o) {
  Device d = device_of(o);
  if (d.index < 0) return PyUnicode_FromString(device_names[d.type]);
  return PyUnicode_FromFormat("%s:%d", device_names[d.type], int(d.index));
}
PyObject* device_compare(PyObject* a, PyObject* b, int op) {
  if (Py_TYPE(a) != device_type || Py_TYPE(b) != device_type || (op != Py_EQ && op != Py_NE))
    Py_RETURN_NOTIMPLEMENTED;
  return PyBool_FromLong((device_of(a) == device_of(b)) == (op == Py_EQ));
}
Py_hash_t device_hash(PyObject* o) { return device_of(o).type * 256 + device_of(o).index + 2; }
PyObject* device_new(PyTypeObject*, PyObject* args, PyObject* kw) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"type", "index", nullptr};
    PyObject *type, *index = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "O|O", const_cast<char**>(names), &type, &index))
      throw PythonError();
    Device d = to_device(type);
    if (index && index != Py_None) {
      if (d.index >= 0)
        throw runtime_error("type (string) must not include an index because index was passed explicitly");
      int64_t i = to_int(index);
      if (i < 0 || i > 127) throw runtime_error("Device index must be between 0 and 127, got ", i);
      d.index = i;
    }
    return to_python(d);
  });
}
PyObject* device_get_type(PyObject* o, void*) {
  return PyUnicode_FromString(device_names[device_of(o).type]);
}
PyObject* device_get_index(PyObject* o, void*) {
  if (device_of(o).index < 0) Py_RETURN_NONE;
  return PyLong_FromLong(device_of(o).index);
}
PyObject* device_reduce(PyObject* o, PyObject*) {
  if (device_of(o).index < 0) return Py_BuildValue("O(s)", device_type, device_names[device_of(o).type]);
  return Py_BuildValue("O(si)", device_type, device_names[device_of(o).type], int(device_of(o).index));
}
// The default device of this thread, innermost `with device` last; the first entry is set_default_device's.
thread_local std::vector<Device> default_devices{Device{}};
// The last of them, which every factory asks for.
#if defined(__linux__)
constinit thread_local Device innermost_device __attribute__((tls_model("initial-exec")));
#else
constinit thread_local Device innermost_device;
#endif

PyObject* device_enter(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (device_of(o).type == Device::cuda)
      throw Error(ErrorKind::assertion, "Torch not compiled with CUDA enabled");
    default_devices.push_back(device_of(o));
    innermost_device = device_of(o);
    return Py_NewRef(o);
  });
}
PyObject* device_exit(PyObject*, PyObject*) {
  if (default_devices.size() > 1) default_devices.pop_back();
  innermost_device = default_devices.back();
  Py_RETURN_NONE;
}
PyMethodDef device_methods[] = {{"__reduce__", device_reduce, METH_NOARGS, nullptr},
                                {"__enter__", device_enter, METH_NOARGS, nullptr},
                                {"__exit__", device_exit, METH_VARARGS, nullptr},
                                {}};
PyGetSetDef device_getset[] = {{"type", device_get_type, nullptr, nullptr, nullptr},
                               {"index", device_get_index, nullptr, nullptr, nullptr},
                               {}};
PyType_Slot device_slots[] = {{Py_tp_repr, (void*)device_repr},
                              {Py_tp_str, (void*)device_str},
                              {Py_tp_richcompare, (void*)device_compare},
                              {Py_tp_hash, (void*)device_hash},
                              {Py_tp_new, (void*)device_new},
                              {Py_tp_methods, device_methods},
                              {Py_tp_getset, device_getset},
                              {Py_tp_doc, (void*)"device(type, index=None): where a tensor's memory is."},
                              {0, nullptr}};
PyType_Spec device_spec = {"rushlight.device", sizeof(DeviceObject), 0, Py_TPFLAGS_DEFAULT, device_slots};

// ---- names without behaviour: layout and memory_format ----
struct NamedObject {
  PyObject_HEAD const char* name;
};
PyObject* named_repr(PyObject* o) {
  return PyUnicode_FromFormat("torch.%s", reinterpret_cast<NamedObject*>(o)->name);
}
PyObject* named_reduce(PyObject* o, PyObject*) {
  return PyUnicode_FromString(reinterpret_cast<NamedObject*>(o)->name);
}
PyObject* named_module(PyObject*, void*) { return PyUnicode_FromString("rushlight"); }
PyMethodDef named_methods[] = {{"__reduce__", named_reduce, METH_NOARGS, nullptr}, {}};
PyGetSetDef named_getset[] = {{"__module__", named_module, nullptr, nullptr, nullptr}, {}};
PyType_Slot named_slots[] = {{Py_tp_repr, (void*)named_repr},
                             {Py_tp_methods, named_methods},
                             {Py_tp_getset, named_getset},
                             {0, nullptr}};
PyType_Spec layout_spec = {"rushlight.layout", sizeof(NamedObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, named_slots};
PyType_Spec format_spec = {"rushlight.memory_format", sizeof(NamedObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, named_slots};
PyType_Spec qscheme_spec = {"rushlight.qscheme", sizeof(NamedObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, named_slots};

void add_names(PyObject* module, PyType_Spec* spec, std::initializer_list<const char*> names) {
  auto* type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(spec)));
  PyModule_AddObjectRef(module, strrchr(spec->name, '.') + 1, reinterpret_cast<PyObject*>(type));
  for (auto* name : names) {
    auto* o = PyObject_New(NamedObject, type);
    o->name = name;
    PyModule_AddObject(module, name, reinterpret_cast<PyObject*>(o));
  }
}

// ---- Size: a tuple with numel() and its own repr ----
PyObject* size_repr(PyObject* o) {
  Py list(PySequence_List(o));
  if (!list) return nullptr;
  return PyUnicode_FromFormat("torch.Size(%R)", list.get());
}
PyObject* as_size(PyObject* tuple) {
  if (!tuple) return nullptr;
  Py owned(tuple);
  return PyObject_CallOneArg(size_type, tuple);
}
PyObject* size_new(PyTypeObject* type, PyObject* args, PyObject* kw) {
  PyObject* t = PyTuple_Type.tp_new(type, args, kw);
  if (!t) return nullptr;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(t); ++i) {
    PyObject* item = PyTuple_GET_ITEM(t, i);
    if (PyLong_Check(item)) continue;
    PyObject* number = PyNumber_Index(item);
    if (!number) {
      PyErr_Format(PyExc_TypeError, "torch.Size() takes an iterable of 'int' (item %zd is '%s')", i,
                   Py_TYPE(item)->tp_name);
      Py_DECREF(t);
      return nullptr;
    }
    Py_DECREF(item);
    PyTuple_SET_ITEM(t, i, number);
  }
  return t;
}
PyObject* size_numel(PyObject* o, PyObject*) {
  return guarded([&] { return PyLong_FromLongLong(count(to_dims(o))); });
}
PyObject* size_concat(PyObject* a, PyObject* b) {
  return as_size(PyTuple_Type.tp_as_sequence->sq_concat(a, b));
}
PyObject* size_repeat(PyObject* a, Py_ssize_t n) {
  return as_size(PyTuple_Type.tp_as_sequence->sq_repeat(a, n));
}
PyObject* size_subscript(PyObject* o, PyObject* key) {
  PyObject* r = PyTuple_Type.tp_as_mapping->mp_subscript(o, key);
  return r && PyTuple_Check(r) ? as_size(r) : r;
}
PyObject* size_reduce(PyObject* o, PyObject*) {
  Py tuple(PySequence_Tuple(o));
  Py plain(PyTuple_GetSlice(o, 0, PyTuple_GET_SIZE(o)));
  return Py_BuildValue("O(O)", size_type, plain.get());
}
PyMethodDef size_methods[] = {
    {"numel", size_numel, METH_NOARGS, "Number of elements of a tensor of this size."},
    {"__reduce__", size_reduce, METH_NOARGS, nullptr},
    {}};
PyType_Slot size_slots[] = {{Py_tp_repr, (void*)size_repr},
                            {Py_tp_new, (void*)size_new},
                            {Py_tp_methods, size_methods},
                            {Py_sq_concat, (void*)size_concat},
                            {Py_sq_repeat, (void*)size_repeat},
                            {Py_mp_subscript, (void*)size_subscript},
                            {Py_tp_doc, (void*)"Sizes of a tensor: a tuple of ints."},
                            {0, nullptr}};
PyType_Spec size_spec = {"rushlight.Size", 0, 0, Py_TPFLAGS_DEFAULT, size_slots};

PyObject* get_default_device_py(PyObject*, PyObject*) { return to_python(default_device()); }
PyObject* set_default_device_py(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    Device d = o == Py_None ? Device{} : to_device(o);
    if (d.type == Device::cuda) throw Error(ErrorKind::assertion, "Torch not compiled with CUDA enabled");
    default_devices.front() = d;
    innermost_device = default_devices.back();
    Py_RETURN_NONE;
  });
}
PyObject* set_default_dtype_py(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    if (!is_dtype(o))
      throw type_error("invalid dtype object: only floating-point types are supported as the default type");
    set_default_dtype(of(o));
    Py_RETURN_NONE;
  });
}
PyObject* get_default_dtype_py(PyObject*, PyObject*) { return to_python(default_dtype()); }
PyObject* promote_types_py(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2) throw type_error("promote_types() takes 2 dtypes");
    return to_python(promote(to_dtype(a[0]), to_dtype(a[1])));
  });
}
PyObject* can_cast_py(PyObject*, PyObject* const* a, Py_ssize_t n, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (n != 2) throw type_error("can_cast() takes 2 dtypes");
    for (int i = 0; i < 2; ++i)
      if (!is_dtype(a[i]))
        throw type_error("can_cast(): argument '", i ? "to" : "from_", "' (position ", i + 1,
                         ") must be torch.dtype, not ", Py_TYPE(a[i])->tp_name);
    return PyBool_FromLong(can_cast(to_dtype(a[0]), to_dtype(a[1])));
  });
}
// ---- the metatype of rushlight's own types ----
PyObject* torch_type_repr(PyObject* type) {
  Py module(PyObject_GetAttrString(type, "__module__")), name(PyObject_GetAttrString(type, "__qualname__"));
  // dtypes say their module through a descriptor, for the sake of pickle
  const char* where = module && PyUnicode_Check(module.get()) ? PyUnicode_AsUTF8(module.get()) : "rushlight";
  if (!where || !name || strncmp(where, "rushlight", 9) || (where[9] && where[9] != '.')) {
    PyErr_Clear();
    return PyType_Type.tp_repr(type);
  }
  return PyUnicode_FromFormat("<class 'torch%s.%U'>", where + 9, name.get());
}
PyType_Slot meta_slots[] = {{Py_tp_repr, (void*)torch_type_repr}, {0, nullptr}};
PyType_Spec meta_spec = {"rushlight._C.TypeMeta", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, meta_slots};

PyMethodDef functions[] = {
    {"_get_default_device", get_default_device_py, METH_NOARGS, "The device of new tensors."},
    {"_set_default_device", set_default_device_py, METH_O, "Sets the device of new tensors of this thread."},
    {"set_default_dtype", set_default_dtype_py, METH_O, "Sets the dtype of new floating point tensors."},
    {"get_default_dtype", get_default_dtype_py, METH_NOARGS, "The dtype of new floating point tensors."},
    {"promote_types", (PyCFunction)(void*)promote_types_py, METH_FASTCALL,
     "The dtype that holds values of both."},
    {"can_cast", (PyCFunction)(void*)can_cast_py, METH_FASTCALL | METH_KEYWORDS,
     "Whether promotion rules allow a cast from one dtype to another."},
    {}};

}  // namespace

void print_as_torch(PyTypeObject* type) {
  static PyObject* meta = nullptr;
  if (!meta) {
    Py bases(PyTuple_Pack(1, &PyType_Type));
    meta = checked(PyType_FromSpecWithBases(&meta_spec, bases.get()));
  }
  // A metatype that adds nothing but a repr has the layout of `type`, so the object can change over.
  Py_SET_TYPE(reinterpret_cast<PyObject*>(type), reinterpret_cast<PyTypeObject*>(Py_NewRef(meta)));
}

PyObject* to_python(Dtype d) { return Py_NewRef(dtype_objects[int(d)]); }
bool is_dtype(PyObject* o) { return Py_IS_TYPE(o, dtype_type); }
Dtype to_dtype(PyObject* o) {
  if (is_dtype(o)) return of(o);
  if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) return Dtype::f64;
  if (o == reinterpret_cast<PyObject*>(&PyBool_Type)) return Dtype::boolean;
  if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) return Dtype::i64;
  if (o == reinterpret_cast<PyObject*>(&PyComplex_Type)) return Dtype::c128;
  throw type_error("expected a torch.dtype, got ", Py_TYPE(o)->tp_name);
}

PyObject* to_python(Device d) {
  auto* o = PyObject_New(DeviceObject, device_type);
  if (o) o->value = d;
  return reinterpret_cast<PyObject*>(o);
}
Device default_device() { return innermost_device; }

Device to_device(PyObject* o) {
  if (Py_IS_TYPE(o, device_type)) return device_of(o);
  if (PyUnicode_Check(o)) {
    const char* s = PyUnicode_AsUTF8(o);
    if (!s) throw PythonError();
    return parse_device(s);
  }
  if (PyLong_Check(o)) {
    int64_t i = to_int(o);
    if (i < 0 || i > 127) throw runtime_error("Device index must be between 0 and 127, got ", i);
    return {Device::cuda, int8_t(i)};
  }
  throw type_error("expected a torch.device, a string or an int, got ", Py_TYPE(o)->tp_name);
}

PyObject* size_object(IntSpan sizes) {
  auto* type = reinterpret_cast<PyTypeObject*>(size_type);
  PyObject* t = checked(type->tp_alloc(type, sizes.size()));
  for (size_t i = 0; i < sizes.size(); ++i) PyTuple_SET_ITEM(t, i, PyLong_FromLongLong(sizes[i]));
  return t;
}
PyObject* tuple_of(IntSpan v) {
  PyObject* t = checked(PyTuple_New(v.size()));
  for (size_t i = 0; i < v.size(); ++i) PyTuple_SET_ITEM(t, i, PyLong_FromLongLong(v[i]));
  return t;
}

void add_types(PyObject* module) {
  module_object = module;
  dtype_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&dtype_spec)));
  PyModule_AddObjectRef(module, "dtype", reinterpret_cast<PyObject*>(dtype_type));
  for (int d = 0; d < dtype_count; ++d) {
    auto* o = PyObject_New(DtypeObject, dtype_type);
    o->value = Dtype(d);
    dtype_objects[d] = reinterpret_cast<PyObject*>(o);
    PyModule_AddObjectRef(module, info(Dtype(d)).name, dtype_objects[d]);
  }
  struct {
    const char* name;
    Dtype d;
  } short_names[] = {{"half", Dtype::f16},  {"float", Dtype::f32},  {"double", Dtype::f64},
                     {"short", Dtype::i16}, {"int", Dtype::i32},    {"long", Dtype::i64},
                     {"chalf", Dtype::c32}, {"cfloat", Dtype::c64}, {"cdouble", Dtype::c128}};
  for (auto& s : short_names) PyModule_AddObjectRef(module, s.name, dtype_objects[int(s.d)]);
  device_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&device_spec)));
  PyModule_AddObjectRef(module, "device", reinterpret_cast<PyObject*>(device_type));
  add_names(module, &layout_spec,
            {"strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "jagged"});
  add_names(module, &format_spec,
            {"contiguous_format", "preserve_format", "channels_last", "channels_last_3d"});
  add_names(module, &qscheme_spec,
            {"per_tensor_affine", "per_channel_affine", "per_tensor_symmetric", "per_channel_symmetric",
             "per_channel_affine_float_qparams"});
  print_as_torch(dtype_type);
  print_as_torch(device_type);
  Py bases(PyTuple_Pack(1, &PyTuple_Type));
  size_type = checked(PyType_FromSpecWithBases(&size_spec, bases.get()));
  print_as_torch(reinterpret_cast<PyTypeObject*>(size_type));
  PyModule_AddObjectRef(module, "Size", size_type);
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

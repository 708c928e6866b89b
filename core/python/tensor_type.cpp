// rushlight.Tensor as Python sees it: conversions, attributes and the methods that are not operators.
#include <Python.h>
#include <structmember.h>

#include <cstring>
#include <vector>

#include "autograd/node.h"
#include "op/warn.h"
#include "python/args.h"
#include "python/delegate.h"
#include "python/tensor_type.h"

namespace rushlight {

void tensor_dealloc(PyObject* self);

// python/autograd.cpp
extern PyMethodDef autograd_methods[];
extern PyGetSetDef autograd_getset[];

namespace {

Tensor self_of(PyObject* o) { return as_tensor(o); }
const Tensor& ref(PyObject*& o) {
  return reinterpret_cast<const Tensor&>(o);
}  // borrowed view of the pointer

// ---- conversions ----
PyObject* only_element(PyObject* o) {
  Tensor t = self_of(o);
  if (t.numel() != 1) throw value_error("only one element tensors can be converted to Python scalars");
  return scalar_to_python(t);
}
void warn_if_history_is_lost(PyObject* o) {
  if (self_of(o).needs_grad())
    warn_once(
        "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n"
        "Consider using tensor.detach() first.");
}
PyObject* nb_float(PyObject* o) {
  return guarded([&] {
    warn_if_history_is_lost(o);
    Py x(only_element(o));
    return PyNumber_Float(x.get());
  });
}
PyObject* nb_int(PyObject* o) {
  return guarded([&] {
    Py x(only_element(o));
    return PyNumber_Long(x.get());
  });
}
PyObject* nb_index(PyObject* o) {
  return guarded([&]() -> PyObject* {
    Tensor t = self_of(o);
    if (t.numel() != 1 || (!is_integral(t.dtype()) && t.dtype() != Dtype::boolean))
      throw type_error("only integer tensors of a single element can be converted to an index");
    Py x(scalar_to_python(t));
    return PyNumber_Index(x.get());
  });
}
int nb_bool(PyObject* o) {
  return guarded_int([&] {
    Tensor t = self_of(o);
    if (t.numel() == 0) throw runtime_error("Boolean value of Tensor with no values is ambiguous");
    if (t.numel() > 1) throw runtime_error("Boolean value of Tensor with more than one value is ambiguous");
    Py x(t->delegate ? ask_delegate(t, "bool").release() : scalar_to_python(t));
    return PyObject_IsTrue(x.get());
  });
}
PyObject* complex_method(PyObject* o, PyObject*) {
  return guarded([&] {
    warn_if_history_is_lost(o);
    Py x(only_element(o));
    return PyObject_CallOneArg(reinterpret_cast<PyObject*>(&PyComplex_Type), x.get());
  });
}

Py_hash_t hash(PyObject* o) { return Py_hash_t(reinterpret_cast<uintptr_t>(o) >> 4); }
Py_ssize_t length(PyObject* o) {
  PyObject* self = o;
  if (ref(self).ndim() == 0) {
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
    return -1;
  }
  return ref(self).size(0);
}

// ---- attributes ----
PyObject* get_shape(PyObject* o, void*) {
  return guarded([&] { return size_object(ref(o).sizes()); });
}
PyObject* get_dtype(PyObject* o, void*) { return to_python(ref(o).dtype()); }
PyObject* get_device(PyObject* o, void*) { return to_python(ref(o).device()); }
PyObject* get_ndim(PyObject* o, void*) { return PyLong_FromLongLong(ref(o).ndim()); }
PyObject* get_itemsize(PyObject* o, void*) { return PyLong_FromLong(ref(o).itemsize()); }
PyObject* get_nbytes(PyObject* o, void*) {
  return guarded([&] {
    if (ref(o)->delegate) return delegate_attribute(ref(o), "nbytes");
    return PyLong_FromLongLong(ref(o).nbytes());
  });
}
PyObject* get_layout(PyObject* o, void*) {
  if (ref(o)->delegate) return guarded([&] { return delegate_attribute(ref(o), "layout"); });
  Py module(PyImport_ImportModule("rushlight._C"));
  return module ? PyObject_GetAttrString(module.get(), "strided") : nullptr;
}
PyObject* get_false(PyObject*, void*) { Py_RETURN_FALSE; }
// is_sparse, is_quantized, ...: false, unless a delegate says otherwise
PyObject* get_kind(PyObject* o, void* name) {
  if (!ref(o)->delegate) Py_RETURN_FALSE;
  return guarded([&] { return delegate_attribute(ref(o), static_cast<const char*>(name)); });
}
PyObject* get_is_cpu(PyObject* o, void*) { return PyBool_FromLong(ref(o).device().type == Device::cpu); }
PyObject* get_is_meta(PyObject* o, void*) { return PyBool_FromLong(ref(o).is_meta()); }

// x.T, x.mT, x.H, x.mH
PyObject* get_transposed(PyObject* o, void* which) {
  return guarded([&]() -> PyObject* {
    Tensor t = self_of(o);
    const char* name = static_cast<const char*>(which);
    bool matrix = name[0] == 'm', adjoint = name[matrix] == 'H';
    if (matrix && t.ndim() < 2)
      throw runtime_error("tensor.", name, " is only supported on matrices or batches of matrices. Got ",
                          t.ndim(), "-D tensor.");
    if (adjoint && !matrix && t.ndim() != 2 && t.ndim() != 0)
      throw runtime_error("tensor.H is only supported on matrices (2-D tensors). Got ", t.ndim(),
                          "-D tensor.",
                          t.ndim() > 2 ? " For batches of matrices, consider using tensor.mH" : "");
    Tensor r;
    if (matrix) r = find_op("transpose").call({t, -2, -1});
    else {
      if (t.ndim() == 0)
        warn_once(adjoint ? "Tensor.H is deprecated on 0-D tensors. Consider using x.conj()."
                          : "Tensor.T is deprecated on 0-D tensors. This function is the identity in these "
                            "cases.");
      if (t.ndim() != 2 && t.ndim() != 0)
        warn_once(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated and "
            "it "
            "will throw an error in a future release. Consider `x.mT` to transpose batches of matrices or "
            "`x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a tensor.");
      Dims order;
      for (int64_t d = t.ndim(); d-- > 0;) order.push_back(d);
      r = find_op("permute").call({t, order});
    }
    if (adjoint && is_complex(t.dtype())) r = find_op("conj").call({r});
    return to_python(r);
  });
}
PyObject* get_part(PyObject* o, void* which) {
  return guarded([&]() -> PyObject* { return call_named(static_cast<const char*>(which), o, nullptr); });
}
int set_part(PyObject* o, PyObject* value, void* which) {
  return guarded_int([&] {
    Py part(call_named(static_cast<const char*>(which), o, nullptr));
    Py done(call_named("copy_", part.get(), value));
    return 0;
  });
}

// ---- methods ----
PyObject* per_dim(PyObject* o, PyObject* args, PyObject* kw, bool strides) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"dim", nullptr};
    PyObject* dim = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|O", const_cast<char**>(names), &dim)) throw PythonError();
    const Tensor& t = ref(o);
    if (dim == Py_None) return strides ? tuple_of(t.strides()) : size_object(t.sizes());
    if (t.ndim() == 0)
      throw index_error("Dimension specified as ", to_int(dim), " but tensor has no dimensions");
    int64_t d = wrap_dim(to_int(dim), t.ndim());
    return PyLong_FromLongLong(strides ? t.stride(d) : t.size(d));
  });
}
PyObject* m_size(PyObject* o, PyObject* args, PyObject* kw) { return per_dim(o, args, kw, false); }
PyObject* m_stride(PyObject* o, PyObject* args, PyObject* kw) { return per_dim(o, args, kw, true); }
PyObject* m_dim(PyObject* o, PyObject*) { return PyLong_FromLongLong(ref(o).ndim()); }
PyObject* m_numel(PyObject* o, PyObject*) { return PyLong_FromLongLong(ref(o).numel()); }
PyObject* m_storage_offset(PyObject* o, PyObject*) { return PyLong_FromLongLong(ref(o).offset()); }
PyObject* m_data_ptr(PyObject* o, PyObject*) {
  return guarded([&] {
    if (ref(o)->delegate)
      throw runtime_error("Cannot access data pointer of Tensor that doesn't have storage");
    return PyLong_FromVoidPtr(ref(o).numel() ? ref(o).raw() : nullptr);
  });
}
PyObject* m_element_size(PyObject* o, PyObject*) { return PyLong_FromLong(ref(o).itemsize()); }
PyObject* m_is_floating_point(PyObject* o, PyObject*) {
  return PyBool_FromLong(is_any_float(ref(o).dtype()));
}
PyObject* m_is_complex(PyObject* o, PyObject*) { return PyBool_FromLong(is_complex(ref(o).dtype())); }
PyObject* m_is_signed(PyObject* o, PyObject*) {
  return guarded([&] {
    if (is_quantized(ref(o).dtype())) throw runtime_error("isSignedType not supported for quantized types");
    return PyBool_FromLong(is_signed(ref(o).dtype()));
  });
}
PyObject* m_get_device(PyObject* o, PyObject*) {
  return PyLong_FromLong(ref(o).device().type == Device::cuda ? ref(o).device().index : -1);
}
PyObject* m_false(PyObject*, PyObject*) { Py_RETURN_FALSE; }
PyObject* m_is_set_to(PyObject* o, PyObject* other) {
  return guarded([&]() -> PyObject* {
    if (!is_tensor(other))
      throw type_error("is_set_to(): argument 'tensor' (position 1) must be Tensor, not ",
                       Py_TYPE(other)->tp_name);
    Tensor a = self_of(o), b = self_of(other);
    return PyBool_FromLong(a->storage == b->storage && a->delegate == b->delegate &&
                           a.offset() == b.offset() && same(a.sizes(), b.sizes()) &&
                           same(a.strides(), b.strides()));
  });
}

bool format_contiguous(const Tensor& t, PyObject* format) {
  if (!format || format == Py_None) return t.contiguous();
  Py text(checked(PyObject_Repr(format)));
  std::string name = PyUnicode_AsUTF8(text.get());
  if (name == "torch.contiguous_format" || name == "torch.preserve_format") return t.contiguous();
  int64_t spatial = name == "torch.channels_last" ? 2 : 3;
  if (t.ndim() != spatial + 2) return false;
  Dims sizes{t.size(0)}, strides{t.stride(0)};  // N, spatial..., C
  for (int64_t d = 2; d < t.ndim(); ++d) sizes.push_back(t.size(d)), strides.push_back(t.stride(d));
  sizes.push_back(t.size(1)), strides.push_back(t.stride(1));
  return is_contiguous(sizes, strides);
}
PyObject* m_is_contiguous(PyObject* o, PyObject* args, PyObject* kw) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"memory_format", nullptr};
    PyObject* format = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|O", const_cast<char**>(names), &format)) throw PythonError();
    return PyBool_FromLong(format_contiguous(ref(o), format));
  });
}

// Operators on memory itself.
void check_storage(const Tensor& t, const char* name) {
  if (t->delegate)
    throw not_implemented("Could not run 'aten::", name, "' with arguments from the '",
                          PyUnicode_AsUTF8(Py(delegate_attribute(t, "backend")).get()), "' backend.");
}
void check_plain_write(const Tensor& t, const char* name) {
  if (t->requires_grad && grad_enabled())
    throw runtime_error("a leaf Variable that requires grad is being used in an in-place operation.");
  if (t.needs_grad() && grad_enabled())
    throw not_implemented(name, " on a tensor with history is not implemented");
  check_storage(t, name);
}
PyObject* m_resize_(PyObject* o, PyObject* args, PyObject* kw) {
  return guarded([&]() -> PyObject* {
    Tensor t = self_of(o);
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (kw && PyDict_Next(kw, &at, &key, &value))
      if (PyUnicode_CompareWithASCIIString(key, "memory_format"))
        throw type_error("resize_() got an unexpected keyword argument '", PyUnicode_AsUTF8(key), "'");
    if (t.needs_grad()) throw runtime_error("cannot resize variables that require grad");
    check_storage(t, "resize_");
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    Dims sizes = to_dims(n == 1 ? PyTuple_GET_ITEM(args, 0) : args);
    resize(t, sizes);
    wrote(t);
    return Py_NewRef(o);
  });
}
// set_(), set_(tensor), set_(storage, offset, size, stride) without history
PyObject* m_set_(PyObject* o, PyObject* args, PyObject* kw) {
  return guarded([&]() -> PyObject* {
    Tensor t = self_of(o);
    check_plain_write(t, "set_");
    static const char* names[] = {"source", "storage_offset", "size", "stride", nullptr};
    PyObject *source = nullptr, *offset = nullptr, *size = nullptr, *stride = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|OOOO", const_cast<char**>(names), &source, &offset, &size,
                                     &stride))
      throw PythonError();
    Tensor next;
    if (!source) next = empty(IntSpan{}, t.dtype()), set_layout(next, Dims{0}, Dims{1}, 0);
    else if (is_tensor(source) && !offset) next = self_of(source);
    else {
      if (is_tensor(source)) check_storage(ref(source), "set_");
      StorageRef storage = is_tensor(source) ? StorageRef::share(self_of(source)->storage)
                                             : storage_of(source);
      if (!storage.get()) throw type_error("set_(): expected a Tensor or a storage");
      int64_t start = offset ? to_int(offset) : 0;
      Dims sizes = size ? to_dims(size) : Dims{int64_t(storage->nbytes / t.itemsize()) - start};
      Dims strides = stride ? to_dims(stride) : contiguous_strides(sizes);
      next = on_storage(storage, t.dtype(), sizes, strides, start);
    }
    if (next.dtype() != t.dtype())
      throw runtime_error("set_(): expected a source of dtype ", info(t.dtype()).name);
    check_storage(next, "set_");
    if (next->storage) set_storage(t, StorageRef::share(next->storage));
    set_layout(t, next.sizes(), next.strides(), next.offset());
    wrote(t);
    return Py_NewRef(o);
  });
}

// Moves everything below the object header from a fresh tensor into an object of another type.
PyObject* with_type(Tensor t, PyTypeObject* type) {
  Tensor out = Tensor::steal(new_tensor_object(type));
  TensorObject *to = out.get(), *from = t.get();
  bool heap_dims = from->dims != from->inline_dims;
  std::memcpy(reinterpret_cast<char*>(to) + offsetof(TensorObject, storage),
              reinterpret_cast<char*>(from) + offsetof(TensorObject, storage),
              sizeof(TensorObject) - offsetof(TensorObject, storage));
  if (!heap_dims) to->dims = to->inline_dims;
  std::memset(reinterpret_cast<char*>(from) + offsetof(TensorObject, storage), 0,
              sizeof(TensorObject) - offsetof(TensorObject, storage));
  from->dims = from->inline_dims;
  return to_python(out);
}

PyTypeObject* subclass_argument(PyObject* cls) {
  if (!PyType_Check(cls) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), tensor_type))
    throw type_error("expected a subclass of Tensor");
  return reinterpret_cast<PyTypeObject*>(cls);
}
PyObject* m_make_subclass(PyObject*, PyObject* args, PyObject* kw) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"cls", "data", "require_grad", nullptr};
    PyObject *cls, *data;
    int require_grad = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "OO|p", const_cast<char**>(names), &cls, &data, &require_grad))
      throw PythonError();
    PyTypeObject* type = subclass_argument(cls);
    if (!is_tensor(data))
      throw type_error("_make_subclass(): argument 'data' (position 2) must be Tensor, not ",
                       Py_TYPE(data)->tp_name);
    Tensor t = alias(self_of(data));
    t->inference = false;
    if (require_grad && !differentiable(t.dtype()))
      throw runtime_error("Only Tensors of floating point and complex dtype can require gradients");
    t->requires_grad = require_grad;
    return with_type(t, type);
  });
}
PyObject* m_as_subclass(PyObject* o, PyObject* cls) {
  return guarded([&]() -> PyObject* {
    PyTypeObject* type = subclass_argument(cls);
    Tensor t = find_op("alias").call({self_of(o)});
    return with_type(t, type);
  });
}

PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* kw) {
  return guarded([&]() -> PyObject* {
    Tensor t = legacy_tensor(default_dtype(), args, kw, "Tensor");
    if (type == tensor_type) return to_python(t);
    Tensor plain = alias(t);
    return with_type(plain, type);
  });
}
int tensor_init(PyObject*, PyObject*, PyObject*) { return 0; }  // all is done in __new__

// ---- object protocol ----
int traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(reinterpret_cast<TensorObject*>(o)->dict);
  Py_VISIT(reinterpret_cast<TensorObject*>(o)->delegate);  // never cleared: without it there is no value
  return traverse_autograd(reinterpret_cast<TensorObject*>(o), visit, arg);
}
int clear(PyObject* o) {
  Py_CLEAR(reinterpret_cast<TensorObject*>(o)->dict);
  clear_autograd(reinterpret_cast<TensorObject*>(o));
  return 0;
}
// Plain tensors are not tracked by the cycle collector until they own something that could close a cycle.
int setattro(PyObject* o, PyObject* name, PyObject* value) {
  int r = PyObject_GenericSetAttr(o, name, value);
  if (reinterpret_cast<TensorObject*>(o)->dict && !PyObject_GC_IsTracked(o)) PyObject_GC_Track(o);
  return r;
}
PyObject* get_dict(PyObject* o, void* context) {
  PyObject* d = PyObject_GenericGetDict(o, context);
  if (d && !PyObject_GC_IsTracked(o)) PyObject_GC_Track(o);
  return d;
}

PyMethodDef methods[] = {
    {"size", (PyCFunction)(void*)m_size, METH_VARARGS | METH_KEYWORDS,
     "size(dim=None): the sizes, or one of them."},
    {"stride", (PyCFunction)(void*)m_stride, METH_VARARGS | METH_KEYWORDS,
     "stride(dim=None): the strides in elements."},
    {"dim", m_dim, METH_NOARGS, "Number of dimensions."},
    {"ndimension", m_dim, METH_NOARGS, "Number of dimensions."},
    {"numel", m_numel, METH_NOARGS, "Number of elements."},
    {"nelement", m_numel, METH_NOARGS, "Number of elements."},
    {"storage_offset", m_storage_offset, METH_NOARGS,
     "Offset of the first element in the storage, in elements."},
    {"data_ptr", m_data_ptr, METH_NOARGS, "Address of the first element."},
    {"element_size", m_element_size, METH_NOARGS, "Bytes per element."},
    {"is_floating_point", m_is_floating_point, METH_NOARGS, "Whether the dtype is a floating point type."},
    {"is_complex", m_is_complex, METH_NOARGS, "Whether the dtype is complex."},
    {"is_signed", m_is_signed, METH_NOARGS, "Whether the dtype is signed."},
    {"get_device", m_get_device, METH_NOARGS, "Index of the CUDA device, -1 on the CPU."},
    {"is_conj", m_false, METH_NOARGS, "Always False: conjugation is carried out, not delayed."},
    {"is_neg", m_false, METH_NOARGS, "Always False: negation is carried out, not delayed."},
    {"is_pinned", (PyCFunction)(void*)m_false, METH_NOARGS, "Whether the memory is page-locked."},
    {"is_set_to", m_is_set_to, METH_O, "Whether both tensors are the same view of the same memory."},
    {"is_contiguous", (PyCFunction)(void*)m_is_contiguous, METH_VARARGS | METH_KEYWORDS,
     "is_contiguous(memory_format=contiguous_format): whether elements lie in that order without gaps."},
    {"resize_", (PyCFunction)(void*)m_resize_, METH_VARARGS | METH_KEYWORDS,
     "resize_(*sizes): changes the sizes in place."},
    {"set_", (PyCFunction)(void*)m_set_, METH_VARARGS | METH_KEYWORDS,
     "set_(source, storage_offset, size, stride): makes this tensor a view of other memory."},
    {"_make_subclass", (PyCFunction)(void*)m_make_subclass, METH_VARARGS | METH_KEYWORDS | METH_STATIC,
     "_make_subclass(cls, data, require_grad=False)"},
    {"as_subclass", m_as_subclass, METH_O, "as_subclass(cls): the same tensor as an instance of cls."},
    {"__complex__", complex_method, METH_NOARGS, nullptr},
    {}};

PyGetSetDef getset[] = {{"shape", get_shape, nullptr, "Sizes, as a Size.", nullptr},
                        {"dtype", get_dtype, nullptr, nullptr, nullptr},
                        {"device", get_device, nullptr, nullptr, nullptr},
                        {"layout", get_layout, nullptr, nullptr, nullptr},
                        {"ndim", get_ndim, nullptr, nullptr, nullptr},
                        {"itemsize", get_itemsize, nullptr, nullptr, nullptr},
                        {"nbytes", get_nbytes, nullptr, nullptr, nullptr},
                        {"T", get_transposed, nullptr, nullptr, (void*)"T"},
                        {"mT", get_transposed, nullptr, nullptr, (void*)"mT"},
                        {"H", get_transposed, nullptr, nullptr, (void*)"H"},
                        {"mH", get_transposed, nullptr, nullptr, (void*)"mH"},
                        {"real", get_part, set_part, nullptr, (void*)"real"},
                        {"imag", get_part, set_part, nullptr, (void*)"imag"},
                        {"is_cpu", get_is_cpu, nullptr, nullptr, nullptr},
                        {"is_meta", get_is_meta, nullptr, nullptr, nullptr},
                        {"is_cuda", get_false, nullptr, nullptr, nullptr},
                        {"is_mps", get_false, nullptr, nullptr, nullptr},
                        {"is_xpu", get_false, nullptr, nullptr, nullptr},
                        {"is_xla", get_false, nullptr, nullptr, nullptr},
                        {"is_sparse", get_kind, nullptr, nullptr, (void*)"is_sparse"},
                        {"is_sparse_csr", get_kind, nullptr, nullptr, (void*)"is_sparse_csr"},
                        {"is_quantized", get_kind, nullptr, nullptr, (void*)"is_quantized"},
                        {"is_mkldnn", get_false, nullptr, nullptr, nullptr},
                        {"is_nested", get_false, nullptr, nullptr, nullptr},
                        {"__dict__", get_dict, PyObject_GenericSetDict, nullptr, nullptr},
                        {}};

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(TensorObject, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TensorObject, weakrefs), READONLY, nullptr},
    {}};

PyType_Slot slots[] = {
    {Py_tp_new, (void*)tensor_new},
    {Py_tp_init, (void*)tensor_init},
    {Py_tp_dealloc, (void*)tensor_dealloc},
    {Py_tp_traverse, (void*)traverse},
    {Py_tp_clear, (void*)clear},
    {Py_tp_setattro, (void*)setattro},
    {Py_tp_hash, (void*)hash},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {Py_mp_length, (void*)length},
    {Py_mp_subscript, (void*)tensor_getitem},
    {Py_mp_ass_subscript, (void*)tensor_setitem},
    {Py_nb_float, (void*)nb_float},
    {Py_nb_int, (void*)nb_int},
    {Py_nb_index, (void*)nb_index},
    {Py_nb_bool, (void*)nb_bool},
    {Py_tp_doc, (void*)"A multi-dimensional array of one dtype that can record how it was computed."},
};

}  // namespace

void add_tensor_type(PyObject* module) {
  std::vector<PyType_Slot> all(std::begin(slots), std::end(slots));
  all.insert(all.end(), number_slots().begin(), number_slots().end());
  all.push_back({0, nullptr});
  PyType_Spec spec = {"rushlight.Tensor", sizeof(TensorObject), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, all.data()};
  tensor_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  print_as_torch(tensor_type);
  tensor_type->tp_name = "Tensor";  // what Python's own TypeErrors print; __module__ stays rushlight
  auto* type = reinterpret_cast<PyObject*>(tensor_type);
  for (auto* m = autograd_methods; m->ml_name; ++m) {
    Py d(checked(PyDescr_NewMethod(tensor_type, m)));
    if (PyObject_SetAttrString(type, m->ml_name, d.get()) < 0) throw PythonError();
  }
  for (auto* g = autograd_getset; g->name; ++g) {
    Py d(checked(PyDescr_NewGetSet(tensor_type, g)));
    if (PyObject_SetAttrString(type, g->name, d.get()) < 0) throw PythonError();
  }
  PyModule_AddObjectRef(module, "Tensor", type);
}

}  // namespace rushlight

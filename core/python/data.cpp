// Tensors from Python data and back: tensor([...]), the legacy constructors, item() and tolist().
#include <cstring>

#include "autograd/node.h"
#include "kernels/copy.h"
#include "op/warn.h"
#include "python/args.h"
#include "python/delegate.h"
#include "python/tensor_type.h"

namespace rushlight {

namespace {

bool is_sequence(PyObject* o) {
  if (PyList_Check(o) || PyTuple_Check(o)) return true;
  if (PyUnicode_Check(o) || PyBytes_Check(o) || is_tensor(o)) return false;
  return PySequence_Check(o) && !PyDict_Check(o);
}

// dtype that a leaf asks for; none when o is no number
Dtype leaf_dtype(PyObject* o) {
  if (PyBool_Check(o)) return Dtype::boolean;
  if (PyLong_Check(o)) return Dtype::i64;
  if (PyFloat_CheckExact(o)) return default_dtype();
  if (PyComplex_CheckExact(o)) return default_complex();
  if (is_tensor(o)) return as_tensor(o).dtype();
  // NumPy scalars keep their dtype
  Py dtype(PyObject_GetAttrString(o, "dtype"));
  if (dtype) {
    Py text(PyObject_GetAttrString(dtype.get(), "str"));
    const char* s = text && PyUnicode_Check(text.get()) ? PyUnicode_AsUTF8(text.get()) : nullptr;
    if (s)
      for (int d = 0; d < dtype_count; ++d)
        if (info(Dtype(d)).numpy &&
            (!strcmp(info(Dtype(d)).numpy, s) || !strcmp(info(Dtype(d)).numpy + 1, s + 1)))
          return Dtype(d);
  }
  PyErr_Clear();
  if (PyFloat_Check(o)) return default_dtype();
  if (PyIndex_Check(o)) return Dtype::i64;
  return Dtype::none;
}

[[noreturn]] void no_number(PyObject* o) {
  if (PyUnicode_Check(o) || PyBytes_Check(o))
    throw type_error("new(): invalid data type '", Py_TYPE(o)->tp_name, "'");
  throw runtime_error("Could not infer dtype of ", Py_TYPE(o)->tp_name);
}

Dims shape_of(PyObject* o) {
  Dims shape;
  Py item = Py::share(o);
  while (is_sequence(item.get())) {
    Py_ssize_t n = PySequence_Size(item.get());
    if (n < 0) throw PythonError();
    if (!shape.empty() && is_array(item.get()))
      warn_once(
          "Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider converting the "
          "list to a single numpy.ndarray with numpy.array() before converting to a tensor.");
    shape.push_back(n);
    if (shape.size() > max_ndim)
      throw value_error("too many dimensions: data is nested deeper than ", max_ndim);
    if (!n) break;
    item = Py(checked(PySequence_GetItem(item.get(), 0)));
  }
  if (!shape.empty() && PyUnicode_Check(item.get())) throw value_error("too many dimensions 'str'");
  return shape;
}

void infer(PyObject* o, Dtype& d, size_t depth) {
  if (!is_sequence(o)) {
    Dtype leaf = leaf_dtype(o);
    if (leaf == Dtype::none) no_number(o);
    d = d == Dtype::none ? leaf : promote(d, leaf);
    return;
  }
  if (depth > max_ndim) throw value_error("too many dimensions: data is nested deeper than ", max_ndim);
  Py fast(checked(PySequence_Fast(o, "not a sequence")));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.get()); ++i)
    infer(PySequence_Fast_GET_ITEM(fast.get(), i), d, depth + 1);
}

template <class T> T leaf_value(PyObject* o) {
  if (PyFloat_CheckExact(o)) return convert<T>(PyFloat_AS_DOUBLE(o));
  if (is_tensor(o)) {
    Tensor t = as_tensor(o);
    if (t.numel() != 1) throw value_error("only one element tensors can be converted to Python scalars");
    if (t->delegate) {
      Py item(scalar_to_python(t));
      return leaf_value<T>(item.get());
    }
    return visit_storage(t.dtype(), [&]<class S>() { return convert<T>(load(t.data<S>())); });
  }
  Value v;
  try {
    if (!number_value(o, v)) no_number(o);
  } catch (const Error& e) {
    if (PyLong_Check(o)) throw value_error(e.text);  // an int that does not fit
    throw;
  }
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
    if (v.tag == Value::integer && int64_t(T(v.i)) != v.i && (v.i > 0 || std::is_signed_v<T>))
      throw runtime_error("value cannot be converted to type ", info(dtype_of<T>).name, " without overflow");
  if (v.tag == Value::integer || v.tag == Value::boolean) return convert<T>(v.i);
  if (v.tag == Value::real) return convert<T>(v.d);
  if constexpr (!std::is_same_v<T, c32> && !std::is_same_v<T, c64> && !std::is_same_v<T, c128>)
    throw type_error("can't convert complex to ", info(dtype_of<T>).name);
  else return convert<T>(v.as_complex());
}

template <class T> void store(PyObject* o, const Dims& shape, size_t dim, T*& out) {
  if (dim == shape.size()) {
    if (is_sequence(o)) throw value_error("expected a number at dim ", dim, ", got a sequence");
    *out++ = leaf_value<T>(o);
    return;
  }
  if (!is_sequence(o)) throw type_error("not a sequence");
  Py fast(checked(PySequence_Fast(o, "not a sequence")));
  Py_ssize_t n = PySequence_Fast_GET_SIZE(fast.get());
  if (n != shape[dim])
    throw value_error("expected sequence of length ", shape[dim], " at dim ", dim, " (got ", n, ")");
  for (Py_ssize_t i = 0; i < n; ++i) {
    // a leaf may run Python code that shrinks the list
    if (i >= PySequence_Fast_GET_SIZE(fast.get())) throw value_error("the data changed while it was read");
    Py item = Py::share(PySequence_Fast_GET_ITEM(fast.get(), i));
    store<T>(item.get(), shape, dim + 1, out);
  }
}

template <class T> PyObject* element(T x) {
  if constexpr (std::is_same_v<T, bool>) return PyBool_FromLong(x);
  else if constexpr (NarrowFloat<T>) return PyFloat_FromDouble(float(x));
  else if constexpr (std::is_floating_point_v<T>) return PyFloat_FromDouble(x);
  else if constexpr (std::is_same_v<T, uint64_t>) return PyLong_FromUnsignedLongLong(x);
  else if constexpr (std::is_integral_v<T>) return PyLong_FromLongLong(x);
  else {
    const c128 z = convert<c128>(x);
    return PyComplex_FromDoubles(z.real(), z.imag());
  }
}

template <class T> PyObject* list_of(const T* p, IntSpan sizes, IntSpan strides) {
  if (sizes.empty()) return element(load(p));
  Py list(checked(PyList_New(sizes[0])));
  if (sizes.size() == 1) {
    for (int64_t i = 0, step = strides[0]; i < sizes[0]; ++i, p += step)
      PyList_SET_ITEM(list.get(), i, checked(element(load(p))));
    return list.release();
  }
  for (int64_t i = 0; i < sizes[0]; ++i) {
    PyObject* item = list_of(p + i * strides[0], sizes.subspan(1), strides.subspan(1));
    PyList_SET_ITEM(list.get(), i, checked(item));
  }
  return list.release();
}

void check_readable(const Tensor& t) {
  if (t.is_meta()) throw not_implemented("Cannot copy out of meta tensor; no data!");
}

PyObject* m_item(PyObject* o, PyObject*) {
  return guarded([&] {
    const Tensor& t = reinterpret_cast<const Tensor&>(o);
    if (t.numel() != 1)
      throw runtime_error("a Tensor with ", t.numel(), " elements cannot be converted to Scalar");
    return scalar_to_python(t);
  });
}
// to(dtype) of a plain tensor is by far the usual form; the others are told apart in Python (Tensor._to).
PyObject* m_to(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    if (n == 1 && !kwnames && is_dtype(args[0]) && !overrides(o)) {
      static const Op& to_dtype_op = find_op("to_dtype");
      const Tensor& t = reinterpret_cast<const Tensor&>(o);
      const Dtype d = to_dtype(args[0]);
      return d == t.dtype() ? Py_NewRef(o) : to_python(to_dtype_op.call({t, d}));
    }
    static PyObject* const name = PyUnicode_InternFromString("_to");
    Py method(checked(PyObject_GetAttr(o, name)));
    return PyObject_Vectorcall(method.get(), args, n, kwnames);
  });
}
PyObject* m_tolist(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    Tensor t = as_tensor(o);
    if (t->delegate) return ask_delegate(t, "tolist").release();
    check_readable(t);
    return visit_storage(t.dtype(), [&]<class T>() { return list_of(t.data<T>(), t.sizes(), t.strides()); });
  });
}
PyMethodDef tensor_methods[] = {
    {"item", m_item, METH_NOARGS, "The value of a tensor with one element, as a Python number."},
    {"to", (PyCFunction)(void*)m_to, METH_FASTCALL | METH_KEYWORDS,
     "to(dtype), to(device, dtype=None) or to(other), each with non_blocking, copy and memory_format\n\nThis "
     "tensor "
     "with another dtype or on another device; itself where nothing changes."},
    {"tolist", m_tolist, METH_NOARGS, "The values as nested lists of Python numbers."},
    {}};

// tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False)
PyObject* make_tensor(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"data", "dtype", "device", "requires_grad", "pin_memory"};
    PyObject* given[5] = {};
    if (nargs > 1) throw type_error("tensor() takes 1 positional argument but ", nargs, " were given");
    if (nargs) given[0] = args[0];
    for (Py_ssize_t k = 0; kwnames && k < PyTuple_GET_SIZE(kwnames); ++k) {
      const char* key = PyUnicode_AsUTF8(PyTuple_GET_ITEM(kwnames, k));
      int i = 0;
      while (i < 5 && strcmp(key, names[i])) ++i;
      if (i == 5) throw type_error("tensor() got an unexpected keyword argument '", key, "'");
      given[i] = args[nargs + k];
    }
    if (!given[0]) throw type_error("tensor() missing 1 required positional arguments: \"data\"");
    auto present = [&](int i) { return given[i] && given[i] != Py_None; };
    if (present(1) && !is_dtype(given[1]) && !PyType_Check(given[1]))
      throw type_error("tensor(): argument 'dtype' must be torch.dtype, not ", Py_TYPE(given[1])->tp_name);
    Dtype dtype = present(1) ? to_dtype(given[1]) : Dtype::none;
    Device device = present(2) ? to_device(given[2]) : default_device();
    if (device.type == Device::cuda)
      throw Error(ErrorKind::assertion, "Torch not compiled with CUDA enabled");
    if (is_tensor(given[0]) &&
        PyErr_WarnEx(
            PyExc_UserWarning,
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() "
            "or sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            1) < 0)
      throw PythonError();
    Tensor t = tensor_from_data(given[0], dtype, device);
    if (modes().inference) t->inference = true;
    if (present(3) && PyObject_IsTrue(given[3])) {
      if (!differentiable(t.dtype()))
        throw runtime_error("Only Tensors of floating point and complex dtype can require gradients");
      t->requires_grad = true;
    }
    return to_python(t);
  });
}

// The constructors Tensor(...), FloatTensor(...) and new(...) were given keywords that none of their forms has.
// PyTorch explains only the forms of as many parts as there are arguments, counting the star as a part.
[[noreturn]] void refuse_legacy(PyObject* args, PyObject* kw) {
  struct Form {
    const char* text;
    Py_ssize_t parts;
  };
  static const Form forms[] = {{"(*, torch.device device = None)", 2},
                               {"(torch.Storage storage)", 1},
                               {"(Tensor other)", 1},
                               {"(tuple of ints size, *, torch.device device = None)", 3},
                               {"(object data, *, torch.device device = None)", 3}};
  std::string given, keywords;
  PyObject *key, *value;
  for (Py_ssize_t at = 0; PyDict_Next(kw, &at, &key, &value);) {
    const char* k = PyUnicode_AsUTF8(key);
    if (!k) throw PythonError();
    given = cat_text(", ", k, "=", type_name(value), given);  // the last one first, as PyTorch has it
    keywords = keywords.empty() ? k : cat_text(k, ", ", keywords);
  }
  for (Py_ssize_t i = PyTuple_GET_SIZE(args); i-- > 0;)
    given = cat_text(", ", type_name(PyTuple_GET_ITEM(args, i)), given);
  std::string text = cat_text("new() received an invalid combination of arguments - got (", given.substr(2),
                              "), but expected one of:");
  for (auto& form : forms) {
    text += cat_text("\n * ", form.text);
    if (form.parts == PyTuple_GET_SIZE(args) + PyDict_Size(kw))
      text += cat_text("\n      didn't match because some of the keywords were incorrect: ", keywords);
  }
  throw type_error(text, "\n");
}

PyObject* legacy(PyObject*, PyObject* args, PyObject* kw) {
  return guarded([&]() -> PyObject* {
    if (PyTuple_GET_SIZE(args) < 2) throw type_error("_legacy_tensor(dtype, name, *args)");
    Py rest(checked(PyTuple_GetSlice(args, 2, PyTuple_GET_SIZE(args))));
    const char* name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(args, 1));
    if (!name) throw PythonError();
    return to_python(legacy_tensor(to_dtype(PyTuple_GET_ITEM(args, 0)), rest.get(), kw, name));
  });
}
PyMethodDef functions[] = {
    {"tensor", (PyCFunction)(void*)make_tensor, METH_FASTCALL | METH_KEYWORDS,
     "tensor(data, *, dtype=None, device=None, requires_grad=False) -> Tensor\n\nA new tensor with a copy of "
     "data: a number, "
     "nested sequences of numbers, or a NumPy array."},
    {"_legacy_tensor", (PyCFunction)(void*)legacy, METH_VARARGS | METH_KEYWORDS, nullptr},
    {}};

}  // namespace

PyObject* scalar_to_python(const Tensor& t) {
  if (t->delegate) return ask_delegate(t, "item").release();
  check_readable(t);
  return visit_storage(t.dtype(), [&]<class T>() { return element(load(t.data<T>())); });
}

Tensor tensor_from_data(PyObject* data, Dtype dtype, Device device) {
  Tensor t;
  if (is_tensor(data)) {
    Tensor source = as_tensor(data);
    if (source->delegate) {
      GradMode off(false);
      Tensor same = find_op("clone").call({source});
      return dtype == Dtype::none || dtype == same.dtype() ? same : find_op("to_dtype").call({same, dtype});
    }
    t = empty_like(source, dtype == Dtype::none ? source.dtype() : dtype);
    if (!t.is_meta()) copy(t, source);
  } else if (is_array(data)) {
    Tensor source = from_array(data, false);
    if (dtype == Dtype::none || dtype == source.dtype()) t = source;
    else copy(t = empty(source.sizes(), dtype), source);
  } else {
    Dims shape = shape_of(data);
    if (dtype == Dtype::none) {
      infer(data, dtype, 0);
      if (dtype == Dtype::none) dtype = default_dtype();
    }
    t = empty(shape, dtype);
    if (t.numel() || shape.size() > 1)
      visit_storage(dtype, [&]<class T>() {
        T* out = t.data<T>();
        store<T>(data, shape, 0, out);
      });
  }
  if (device.type == Device::meta) return empty(t.sizes(), t.dtype(), device);
  return t;
}

Tensor legacy_tensor(Dtype dtype, PyObject* args, PyObject* kw, const char* name) {
  Py_ssize_t n = PyTuple_GET_SIZE(args);
  if (kw && PyDict_Size(kw) > 0) {
    PyObject* device = PyDict_GetItemString(kw, "device");
    if (!device || PyDict_Size(kw) > 1) refuse_legacy(args, kw);
    if (to_device(device).type == Device::cuda)
      throw Error(ErrorKind::assertion, "Torch not compiled with CUDA enabled");
  }
  if (n == 0) return empty(Dims{0}, dtype);
  PyObject* first = PyTuple_GET_ITEM(args, 0);
  if (n == 1) {
    if (is_tensor(first)) {
      Tensor t = as_tensor(first);
      if (t.dtype() != dtype)
        throw type_error("expected ", info(dtype).scalar_name, " (got ", info(t.dtype()).scalar_name, ")");
      return alias(t);
    }
    if (StorageRef s = storage_of(first)) {
      int64_t count = s->nbytes / itemsize(dtype);
      return on_storage(s, dtype, Dims{count}, Dims{1}, 0);
    }
    if (reinterpret_cast<PyObject*>(Py_TYPE(first)) == size_type) return empty(to_dims(first), dtype);
    if (!PyIndex_Check(first) || is_array(first)) {
      if (PyUnicode_Check(first)) throw type_error("new(): invalid data type 'str'");
      if (!is_sequence(first) && !is_array(first))
        throw type_error("new(): data must be a sequence (got ", Py_TYPE(first)->tp_name, ")");
      return tensor_from_data(first, dtype, {});
    }
  }
  Dims sizes;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* o = PyTuple_GET_ITEM(args, i);
    if (!PyIndex_Check(o) || PyFloat_Check(o))
      throw type_error("new() received an invalid combination of arguments - got (", Py_TYPE(o)->tp_name,
                       "), but expected sizes as ints, a sequence of numbers or a tensor");
    sizes.push_back(to_int(o));
  }
  return empty(sizes, dtype);
}

void add_data(PyObject* module) {
  for (auto* m = tensor_methods; m->ml_name; ++m) {
    Py d(checked(PyDescr_NewMethod(tensor_type, m)));
    if (PyObject_SetAttrString(reinterpret_cast<PyObject*>(tensor_type), m->ml_name, d.get()) < 0)
      throw PythonError();
  }
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

// x[key] and x[key] = value: a key becomes a chain of views, and an index or index_put_ where it holds tensors.
#include <cstring>

#include "autograd/node.h"
#include "python/args.h"
#include "python/tensor_type.h"

namespace rushlight {

namespace {

const Op& op_select() {
  static const Op& op = find_op("select");
  return op;
}
const Op& op_slice() {
  static const Op& op = find_op("slice");
  return op;
}
const Op& op_unsqueeze() {
  static const Op& op = find_op("unsqueeze");
  return op;
}
const Op& op_alias() {
  static const Op& op = find_op("alias");
  return op;
}
const Op& op_index() {
  static const Op& op = find_op("index");
  return op;
}
const Op& op_fill() {
  static const Op& op = find_op("fill_", "Scalar");
  return op;
}
const Op& op_copy() {
  static const Op& op = find_op("copy_");
  return op;
}
const Op& op_convert() {
  static const Op& op = find_op("to_dtype");
  return op;
}
const Op& op_index_put() {
  static const Op& op = find_op("index_put_");
  return op;
}

bool plain_int(PyObject* o) { return PyLong_Check(o) && !PyBool_Check(o); }

// Sequences that are advanced indices: lists, ranges, arrays; tuples inside a tuple.
bool is_index_data(PyObject* o) {
  return PyList_Check(o) || PyTuple_Check(o) || PyRange_Check(o) || is_array(o);
}

Tensor index_tensor(PyObject* o) {
  if (is_tensor(o)) return as_tensor(o);
  Tensor t = tensor_from_data(o, Dtype::none, {});
  if (t.numel() == 0 && t.dtype() == default_dtype()) return empty(t.sizes(), Dtype::i64);  // x[[]]
  return t;
}

void add_mask(TensorList& indices, size_t dim, const Tensor& mask, const Tensor& view, int64_t at) {
  for (int64_t d = 0; d < mask.ndim(); ++d)
    if (at + d >= view.ndim() || mask.size(d) != view.size(at + d))
      throw index_error("The shape of the mask ", show(mask.sizes()), " at index ", d,
                        " does not match the shape of the indexed tensor ", show(view.sizes()), " at index ",
                        at + d);
  Tensor where = find_op("nonzero").call(
      {mask.dtype() == Dtype::boolean ? mask : find_op("ne").call({mask, 0})});  // (n, k)
  for (int64_t d = 0; d < mask.ndim(); ++d) {
    if (indices.size() <= dim + d) indices.resize(dim + d + 1);
    indices[dim + d] = op_select().call({where, 1, d});
  }
}

// One position along a dimension; `named` is the dimension's number in the tensor that the user indexed.
Tensor take(const Tensor& t, int64_t dim, int64_t index, int64_t named) {
  int64_t n = t.size(dim);
  if (index < -n || index >= n)
    throw index_error("index ", index, " is out of bounds for dimension ", named, " with size ", n);
  return op_select().call({t, dim, index});
}

struct Parsed {
  Tensor view;         // after the basic part of the key
  TensorList indices;  // by dimension of view; empty handles are full slices
  bool advanced = false;
  bool touched = false;  // view is not self any more
};

int64_t slice_bound(PyObject* o) {
  if (is_tensor(o)) return to_int(o);
  if (!PyIndex_Check(o))
    throw type_error("slice indices must be integers or None or have an __index__ method");
  Py n(PyNumber_Index(o));
  if (!n) throw PythonError();
  int overflow;
  int64_t v = PyLong_AsLongLongAndOverflow(n.get(), &overflow);
  return overflow > 0 ? INT64_MAX : overflow < 0 ? INT64_MIN : v;
}

// x[[[0, 1], [1, 2]]] means x[[0, 1], [1, 2]]: a list that holds sequences, slices, ... stands for a tuple.
Py tuple_in_disguise(PyObject* key) {
  if (!PyList_Check(key) || PyList_GET_SIZE(key) >= 32) return {};
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(key); ++i) {
    PyObject* o = PyList_GET_ITEM(key, i);
    if (!is_tensor(o) && !PyList_Check(o) && !PyTuple_Check(o) && !is_array(o) && !PySlice_Check(o) &&
        o != Py_Ellipsis && o != Py_None)
      continue;
    if (PyErr_WarnEx(
            PyExc_UserWarning,
            "Using a non-tuple sequence for multidimensional indexing is deprecated and will be changed in "
            "pytorch 2.9; "
            "use x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this will be interpreted as tensor index, "
            "x[torch.tensor(seq)], which will result either in an error or a different result",
            1) < 0)
      throw PythonError();
    return Py(checked(PyList_AsTuple(key)));
  }
  return {};
}

Parsed parse(const Tensor& self, PyObject* key) {
  Py as_tuple = tuple_in_disguise(key);
  if (as_tuple) key = as_tuple.get();
  PyObject* const* items = &key;
  Py_ssize_t n = 1;
  if (PyTuple_Check(key)) {
    n = PyTuple_GET_SIZE(key);
    items = n ? &PyTuple_GET_ITEM(key, 0) : nullptr;
  }
  // dimensions that the key names, so that an ellipsis knows its length
  int64_t named = 0;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* o = items[i];
    if (o == Py_None || PyBool_Check(o)) continue;
    if (o == Py_Ellipsis) continue;
    if (is_tensor(o)) {
      Dtype d = as_tensor(o).dtype();
      named += d == Dtype::boolean || d == Dtype::u8 ? as_tensor(o).ndim() : 1;
    } else if (is_array(o) || PyList_Check(o) || (PyTuple_Check(o) && items != &key)) {
      Tensor t = index_tensor(o);
      named += t.dtype() == Dtype::boolean ? t.ndim() : 1;
    } else {
      ++named;
    }
  }
  if (named > self.ndim()) throw index_error("too many indices for tensor of dimension ", self.ndim());
  Parsed p;
  p.view = self;
  int64_t dim = 0, dropped = 0;  // dimensions of view passed; dimensions of self that ints have removed
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* o = items[i];
    if (plain_int(o)) {
      p.view = take(p.view, dim, to_int(o), dim + dropped++);
      p.touched = true;
    } else if (PySlice_Check(o)) {
      auto* s = reinterpret_cast<PySliceObject*>(o);
      int64_t step = s->step == Py_None ? 1 : slice_bound(s->step);
      if (step == 0) throw value_error("slice step cannot be zero");
      if (step < 0) throw value_error("step must be greater than zero");
      if (s->start != Py_None || s->stop != Py_None || step != 1) {
        Value start = s->start == Py_None ? Value() : Value(slice_bound(s->start));
        Value stop = s->stop == Py_None ? Value() : Value(slice_bound(s->stop));
        p.view = op_slice().call({p.view, dim, start, stop, step});
        p.touched = true;
      }
      ++dim;
    } else if (o == Py_Ellipsis) {
      dim += self.ndim() - named;
    } else if (o == Py_None) {
      p.view = op_unsqueeze().call({p.view, dim});
      p.touched = true;
      ++dim;
    } else if (PyBool_Check(o)) {
      p.view = op_unsqueeze().call({p.view, dim});
      p.touched = p.advanced = true;
      if (p.indices.size() <= size_t(dim)) p.indices.resize(dim + 1);
      p.indices[dim] = o == Py_True ? full(Dims{1}, Dtype::i64, 0) : empty(Dims{0}, Dtype::i64);
      ++dim;
    } else if (is_tensor(o) || is_index_data(o)) {
      Tensor t = index_tensor(o);
      if (t.ndim() == 0 && is_integral(t.dtype()) && t.dtype() != Dtype::u8) {
        Py number(scalar_to_python(t));
        p.view = take(p.view, dim, to_int(number.get()), dim + dropped++);
        p.touched = true;
        continue;
      }
      p.advanced = true;
      if (t.dtype() == Dtype::boolean || t.dtype() == Dtype::u8) {
        if (t.dtype() == Dtype::u8 &&
            PyErr_WarnEx(PyExc_UserWarning,
                         "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool "
                         "instead.",
                         1) < 0)
          throw PythonError();
        if (t.ndim() == 0) {  // like True / False
          p.view = op_unsqueeze().call({p.view, dim});
          p.touched = true;
          Py truth(scalar_to_python(t));
          if (p.indices.size() <= size_t(dim)) p.indices.resize(dim + 1);
          p.indices[dim] = PyObject_IsTrue(truth.get()) ? full(Dims{1}, Dtype::i64, 0)
                                                        : empty(Dims{0}, Dtype::i64);
          ++dim;
          continue;
        }
        add_mask(p.indices, dim, t, p.view, dim);
        dim += t.ndim();
        continue;
      }
      if (!is_integral(t.dtype()))
        throw index_error("tensors used as indices must be long, int, byte or bool tensors");
      if (p.indices.size() <= size_t(dim)) p.indices.resize(dim + 1);
      p.indices[dim] = t.dtype() == Dtype::i64 ? t : op_convert().call({t, Dtype::i64});
      ++dim;
    } else if (PyUnicode_Check(o)) {
      throw type_error("new(): invalid data type 'str'");
    } else if (PyIndex_Check(o)) {
      p.view = take(p.view, dim, to_int(o), dim + dropped++);
      p.touched = true;
    } else {
      throw index_error(
          "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
          "(got ",
          Py_TYPE(o)->tp_name, ")");
    }
  }
  return p;
}

PyObject* override_of(const char* name, PyObject* self, PyObject* key, PyObject* value) {
  if ((Py_IS_TYPE(self, tensor_type) || !overrides(self)) && !overrides(key) && !(value && overrides(value)))
    return nullptr;
  Py method(checked(PyObject_GetAttrString(reinterpret_cast<PyObject*>(tensor_type), name)));
  PyObject* args[] = {self, key, value};
  return try_overrides_of(method.get(), name, args, value ? 3 : 2);
}

}  // namespace

PyObject* tensor_getitem(PyObject* self, PyObject* key) {
  return guarded([&]() -> PyObject* {
    if (PyObject* r = override_of("__getitem__", self, key, nullptr)) return r;
    const Tensor& t = reinterpret_cast<const Tensor&>(self);
    if (plain_int(key)) {
      if (t.ndim() == 0)
        throw index_error(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
            "convert a 0-dim tensor to a number");
      return to_python(take(t, 0, to_int(key), 0));
    }
    // x[mask]: its positions are needed only where they are recorded
    if (is_tensor(key) && as_tensor(key).dtype() == Dtype::boolean && t.ndim() &&
        same(as_tensor(key).sizes(), t.sizes()) && !(t.needs_grad() && grad_enabled())) {
      static const Op& select_masked = find_op("masked_select");
      return to_python(select_masked.call({t, as_tensor(key)}));
    }
    Parsed p = parse(t, key);
    if (p.advanced) return to_python(op_index().call({p.view, p.indices}));
    if (!p.touched) return to_python(op_alias().call({t}));
    return to_python(std::move(p.view));
  });
}

int tensor_setitem(PyObject* self, PyObject* key, PyObject* value) {
  return guarded_int([&] {
    if (!value) throw type_error("Tensor does not support deleting items");
    if (PyObject* r = override_of("__setitem__", self, key, value)) {
      Py_DECREF(r);
      return 0;
    }
    const Tensor& t = reinterpret_cast<const Tensor&>(self);
    Value number;
    Tensor source;
    // x[mask] = number: nothing has to be looked up when nothing is recorded
    if (is_tensor(key) && as_tensor(key).dtype() == Dtype::boolean && t.ndim() &&
        same(as_tensor(key).sizes(), t.sizes()) && !is_tensor(value) && number_value(value, number) &&
        !(t.needs_grad() && grad_enabled())) {
      static const Op& fill_masked = find_op("masked_fill", "Scalar");
      fill_masked.call_inplace({t, as_tensor(key), number});
      return 0;
    }
    Parsed p = parse(t, key);
    if (is_tensor(value)) source = as_tensor(value);
    else if (number_value(value, number)) {
    } else if (is_array(value)) source = from_array(value, true);
    else
      throw type_error("can't assign a ", Py_TYPE(value)->tp_name, " to a torch.", info(t.dtype()).type_name);
    if (p.advanced) {
      if (!source) {
        source = empty(IntSpan{}, t.dtype());
        op_fill().call_inplace({source, number});
      }
      if (source.dtype() != t.dtype()) source = op_convert().call({source, t.dtype()});
      op_index_put().call_inplace({p.view, p.indices, source});
      return 0;
    }
    if (!source) {
      if (number.tag == Value::complex && !is_complex(t.dtype()))
        throw runtime_error("value cannot be converted to type ", info(t.dtype()).ctype_name,
                            " without overflow");
      op_fill().call_inplace({p.view, number});
      return 0;
    }
    // leading dimensions of size one are dropped: x[0] = torch.ones(1, 1, 3)
    while (source.ndim() > p.view.ndim() && source.size(0) == 1) source = op_select().call({source, 0, 0});
    if (!same(source.sizes(), p.view.sizes())) source = find_op("expand").call({source, p.view.sizes()});
    op_copy().call_inplace({p.view, source});
    return 0;
  });
}

}  // namespace rushlight

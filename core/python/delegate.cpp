// Tensors with a delegate (Note [Delegates] in tensor/tensor.h): the hand-over of a call to Python, and what the package
// uses to make such tensors. A delegate has a method call(name, args), where name is that of the operator ("sum.dim",
// "add_"); it returns the outputs. What it computes there is recorded by the operator's own formula, unless the outputs
// come back with a history. NotImplemented stands for a composite that may run as it is, since it only calls others.
#include "python/delegate.h"

#include "autograd/forward.h"
#include "autograd/node.h"
#include "op/batching.h"
#include "python/autograd.h"

namespace rushlight {

namespace {

PyObject* tensor_or_none(const Tensor& t) { return t ? to_python(t) : Py_NewRef(Py_None); }

template <class List, class F> Py tuple_from(const List& items, F&& convert) {
  Py tuple(checked(PyTuple_New(items.size())));
  for (size_t i = 0; i < items.size(); ++i) PyTuple_SET_ITEM(tuple.get(), i, checked(convert(items[i])));
  return tuple;
}

PyObject* argument(const Value& v) {
  switch (v.tag) {
    case Value::none: return Py_NewRef(Py_None);
    case Value::tensor: return to_python(v.as_tensor());
    case Value::boolean: return PyBool_FromLong(v.i);
    case Value::integer: return PyLong_FromLongLong(v.i);
    case Value::real: return PyFloat_FromDouble(v.d);
    case Value::complex: return PyComplex_FromDoubles(v.z[0], v.z[1]);
    case Value::ints: return tuple_of(v.as_ints());
    case Value::reals: return tuple_from(std::span(v.real_list, v.count), PyFloat_FromDouble).release();
    case Value::tensors: return tuple_from(v.as_tensors(), tensor_or_none).release();
    case Value::dtype: return to_python(v.dt);
    case Value::device: return to_python(v.dev);
    case Value::text: return PyUnicode_FromString(v.s);
    case Value::object: return Py_NewRef(v.o);
  }
  return Py_NewRef(Py_None);
}

std::string full_name(const Call& c) {
  std::string name = c.op.name;
  if (c.in_place && !c.op.mutates) name += "_";
  if (!c.op.overload.empty()) name += "." + c.op.overload;
  return name;
}

const Tensor& first_delegated(const Call& c) {
  for (auto& v : c.args) {
    if (v.tag == Value::tensor && v.t->delegate) return v.as_tensor();
    if (v.tag == Value::tensors)
      for (auto& t : v.as_tensors())
        if (t && t->delegate) return t;
  }
  throw runtime_error(c.op.name, ": no argument has a delegate");
}

bool is_argument(const Call& c, const Tensor& t) {
  for (auto& v : c.args) {
    if (v.tag == Value::tensor && v.as_tensor().is(t)) return true;
    if (v.tag == Value::tensors)
      for (auto& x : v.as_tensors())
        if (x.is(t)) return true;
  }
  return false;
}

// The outputs from what a delegate returned.
void take_outputs(Call& c, PyObject* result) {
  auto add = [&](PyObject* o) {
    if (o != Py_None && !is_tensor(o))
      throw type_error(full_name(c), ": a delegate must return tensors, not ", Py_TYPE(o)->tp_name);
    c.outs.push_back(o == Py_None ? Tensor() : as_tensor(o));
  };
  c.outs.clear();
  if (!PyTuple_Check(result)) return add(result);
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(result); ++i) add(PyTuple_GET_ITEM(result, i));
}

}  // namespace

Py ask_delegate(const Tensor& t, const char* name, PyObject* args) {
  Py delegate = Py::share(t->delegate);  // the call may replace it
  return Py(checked(PyObject_CallMethod(delegate.get(), "call", "sO", name, args)));
}

Py ask_delegate(const Tensor& t, const char* name) {
  Py args(checked(PyTuple_Pack(1, reinterpret_cast<PyObject*>(t.get()))));
  return ask_delegate(t, name, args.get());
}

PyObject* delegate_attribute(const Tensor& t, const char* name) {
  return checked(PyObject_GetAttrString(t->delegate, name));
}

void run_delegated(Call& c) {
  bool recording = needs_record(c), tangents = modes().forward && carries_tangents(c);
  if (c.in_place) {
    check_inplace(c.in(0), recording);
    c.version_before = c.in(0).version();
    if (recording || tangents) keep_original(c, tangents);
  }
  Py args = tuple_from(c.args, argument);
  Py result = ask_delegate(first_delegated(c), full_name(c).c_str(), args.get());
  if (result.get() == Py_NotImplemented && c.op.spec.composite) {
    c.op.spec.cpu.fn(c, c.op.spec.cpu.data);
    return;
  }
  if (c.in_place) {
    c.outs.clear();
    c.outs.push_back(c.in(0));
    wrote(c.in(0));
    if (tangents) push_tangents(c);
    if (recording) record(c);
    return;
  }
  take_outputs(c, result.get());
  if (!c.op.list_out && c.outs.size() != size_t(c.op.nouts))
    throw runtime_error(full_name(c), ": a delegate returned ", c.outs.size(), " outputs instead of ",
                        c.op.nouts);
  bool has_history = false;
  for (auto& out : c.outs) has_history |= out && out.needs_grad();
  bool makes_views = c.op.spec.family == view;
  if (!(recording || tangents || makes_views) || has_history) return;
  for (auto& out : c.outs) {
    if (!out) continue;
    if (is_argument(c, out)) out = alias(out);  // the history belongs to the output alone
    if (c.op.spec.family == view && out->delegate && c.in(0)->delegate && c.in(0)->storage) {
      set_storage(out, StorageRef::share(c.in(0)->storage));  // one version counter, as for any view
      make_view(out, c.in(0), c.op);
    }
  }
  if (tangents) push_tangents(c);
  if (recording) record(c);
}

// ---- selective checkpoints ----

namespace {
// before(name, args) -> the outputs, or None to compute them; after(name, args, outputs)
thread_local PyObject *select_before = nullptr, *select_after = nullptr;
}  // namespace

void run_selected(Call& c, void (*body)(Call&)) {
  // views cost nothing, and what a program fills itself it has to make anew
  if (c.op.spec.composite || c.op.spec.family == view || c.op.spec.family == create) return body(c);
  struct Unwatched {  // the operator's own calls are its own business
    Unwatched() { modes().selecting = false; }
    ~Unwatched() { modes().selecting = true; }
  } inside;
  Py args = tuple_from(c.args, argument);
  if (select_before) {
    Py given(checked(PyObject_CallFunction(select_before, "sO", full_name(c).c_str(), args.get())));
    if (given.get() != Py_None) {
      bool recording = needs_record(c);
      take_outputs(c, given.get());
      if (!c.op.list_out && c.outs.size() != size_t(c.op.nouts))
        throw runtime_error(full_name(c), ": ", c.outs.size(), " outputs were kept instead of ", c.op.nouts);
      for (auto& out : c.outs)
        if (out) out = alias(out);
      if (recording) record(c);
      return;
    }
  }
  body(c);
  if (!select_after) return;
  Py outs(checked(PyTuple_New(c.outs.size())));
  for (size_t k = 0; k < c.outs.size(); ++k)
    PyTuple_SET_ITEM(outs.get(), k, c.outs[k] ? to_python(c.outs[k]) : Py_NewRef(Py_None));
  Py done(checked(PyObject_CallFunction(select_after, "sOO", full_name(c).c_str(), args.get(), outs.get())));
}

namespace {
// _select_operators(before or None, after or None) -> the pair before
PyObject* select_operators(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2) throw type_error("_select_operators expects two functions or None");
    Py was(checked(Py_BuildValue("(OO)", select_before ? select_before : Py_None,
                                 select_after ? select_after : Py_None)));
    Py_XSETREF(select_before, a[0] == Py_None ? nullptr : Py_NewRef(a[0]));
    Py_XSETREF(select_after, a[1] == Py_None ? nullptr : Py_NewRef(a[1]));
    modes().selecting = select_before || select_after;
    return was.release();
  });
}
}  // namespace

Tensor sparse_coo(const Tensor& indices, const Tensor& values, IntSpan size) {
  Py module(checked(PyImport_ImportModule("rushlight.sparse._constructors")));
  Py make(checked(PyObject_GetAttrString(module.get(), "sparse_coo_tensor")));
  Py args(checked(Py_BuildValue("OON", indices.get(), values.get(), tuple_of(size))));
  Py options(checked(Py_BuildValue("{s:O}", "check_invariants", Py_False)));
  Py made(checked(PyObject_Call(make.get(), args.get(), options.get())));
  return as_tensor(made.get());
}

namespace {

// _with_delegate(sizes, dtype, delegate, strides=None, offset=0, counts=False): a tensor of which no kernel can read the
// values. With counts it has an empty storage, which counts the in-place writes on it and on its views.
PyObject* with_delegate(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 3 && n != 5 && n != 6)
      throw type_error("_with_delegate expects sizes, dtype, delegate, strides, offset, counts");
    Dims sizes = to_dims(a[0]), strides = n >= 5 ? to_dims(a[3]) : Dims(sizes.size());  // 0, as in PyTorch
    if (strides.size() != sizes.size())
      throw value_error("_with_delegate: as many strides as sizes are needed");
    // By way of a small tensor: the product of the sizes may be larger than any storage.
    Tensor t = alias(empty(Dims{0}, Dtype::u8), sizes, strides, n >= 5 ? to_int(a[4]) : 0);
    if (n < 6 || a[5] != Py_True) set_storage(t, StorageRef());
    t->dtype = to_dtype(a[1]);
    t->delegate = Py_NewRef(a[2]);
    t->inference = modes().inference;
    track(t);
    return to_python(t);
  });
}

PyObject* delegate_of(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    if (!is_tensor(o)) throw type_error("_delegate_of expects a Tensor, not ", Py_TYPE(o)->tp_name);
    PyObject* delegate = as_tensor(o)->delegate;
    return Py_NewRef(delegate ? delegate : Py_None);
  });
}

// _set_delegate(tensor, delegate, sizes=as before): the new value of a tensor that has one already
PyObject* set_delegate(PyObject*, PyObject* const* a, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n < 2 || n > 3 || !is_tensor(a[0])) throw type_error("_set_delegate expects a tensor and a delegate");
    Tensor t = as_tensor(a[0]);
    if (!t->delegate) throw type_error("_set_delegate: the tensor has a storage");
    if (n == 3) {
      Dims sizes = to_dims(a[2]);
      set_layout(t, sizes, contiguous_strides(sizes), 0);
    }
    Py old(std::exchange(t->delegate, Py_NewRef(a[1])));
    return Py_NewRef(a[0]);
  });
}

thread_local PyObject* random_hook = nullptr;

// _set_random_hook(f or None) -> the hook before. Inside vmap f(name, args) is asked about calls without batched
// arguments; NotImplemented means that the call goes its ordinary way.
PyObject* set_random_hook(PyObject*, PyObject* f) {
  PyObject* before = std::exchange(random_hook, f == Py_None ? nullptr : Py_NewRef(f));
  modes().batching = random_hook;
  return before ? before : Py_NewRef(Py_None);
}

PyMethodDef functions[] = {
    {"_set_random_hook", set_random_hook, METH_O, nullptr},
    {"_select_operators", (PyCFunction)(void (*)(void))select_operators, METH_FASTCALL, nullptr},
    {"_with_delegate", (PyCFunction)(void (*)(void))with_delegate, METH_FASTCALL, nullptr},
    {"_delegate_of", delegate_of, METH_O, nullptr},
    {"_set_delegate", (PyCFunction)(void (*)(void))set_delegate, METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool drawn_by_vmap(Call& c) {
  if (c.op.spec.family != random_fill && c.op.spec.family != create) return false;
  Py hook = Py::share(random_hook), args = tuple_from(c.args, argument);
  Py result(checked(PyObject_CallFunction(hook.get(), "sO", full_name(c).c_str(), args.get())));
  if (result.get() == Py_NotImplemented) return false;
  take_outputs(c, result.get());
  return true;
}

void add_delegates(PyObject* module) {
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

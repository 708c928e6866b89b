// Python hooks: registration, and calling them with PyTorch's rules (None keeps the value, the size must not
// change).
#include "autograd/hooks.h"

#include "autograd/forward.h"

#include "python/python.h"

namespace rushlight {

NodeHooks::~NodeHooks() {
  Py_XDECREF(before);
  Py_XDECREF(after);
  Py_XDECREF(metadata);
  for (auto& h : outputs) Py_XDECREF(h.dict);
}
TensorExtra::TensorExtra() = default;
TensorExtra::~TensorExtra() {
  Py_XDECREF(backward_hooks);
  Py_XDECREF(accumulate_hooks);
}

NodeHooks& hooks_of(Node* n) {
  if (!n->hooks) n->hooks = new NodeHooks;
  return *n->hooks;
}
TensorExtra& extra_of(TensorObject* t) {
  if (!t->extra) t->extra = new TensorExtra;
  return *t->extra;
}
PyObject* metadata_of(Node* n) {
  NodeHooks& h = hooks_of(n);
  if (!h.metadata) h.metadata = checked(PyDict_New());
  return h.metadata;
}

PyObject* add_hook(PyObject** dict, PyObject* hook) {
  if (!*dict) {
    Py collections(checked(PyImport_ImportModule("collections")));
    *dict = checked(PyObject_CallMethod(collections.get(), "OrderedDict", nullptr));
  }
  Py module(checked(PyImport_ImportModule("rushlight.utils.hooks")));
  Py handle(checked(PyObject_CallMethod(module.get(), "RemovableHandle", "O", *dict)));
  Py id(checked(PyObject_GetAttrString(handle.get(), "id")));
  if (PyObject_SetItem(*dict, id.get(), hook) < 0) throw PythonError();
  return handle.release();
}

namespace {

// Hooks may register and remove hooks: the list of those to call is fixed beforehand.
template <class F> void each_hook(PyObject* dict, F&& f) {
  if (!dict || PyDict_GET_SIZE(dict) == 0) return;
  Py hooks(checked(PyDict_Values(dict)));
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(hooks.get()); ++i) f(PyList_GET_ITEM(hooks.get(), i));
}

std::string hook_name(PyObject* hook) {
  Py name(PyObject_GetAttrString(hook, "__name__"));
  if (!name || !PyUnicode_Check(name.get())) {
    PyErr_Clear();
    return Py_TYPE(hook)->tp_name;
  }
  const char* s = PyUnicode_AsUTF8(name.get());
  if (!s) PyErr_Clear();
  return s ? s : "?";
}

// A hook's answer for one gradient.
Tensor replaced(PyObject* hook, PyObject* answer, const Tensor& before) {
  if (!is_tensor(answer))
    throw type_error("expected Variable, but hook returned '", Py_TYPE(answer)->tp_name, "'");
  Tensor after = as_tensor(answer);
  if (before && !same(before.sizes(), after.sizes()))
    throw runtime_error("hook '", hook_name(hook), "' has changed the size of value");
  if (before && before.dtype() != after.dtype())
    throw runtime_error("hook '", hook_name(hook), "' has changed the type of value");
  return after;
}

PyObject* tuple_from(const TensorList& list) {
  PyObject* tuple = checked(PyTuple_New(list.size()));
  for (size_t i = 0; i < list.size(); ++i)
    PyTuple_SET_ITEM(tuple, i, list[i] ? to_python(list[i]) : Py_NewRef(Py_None));
  return tuple;
}

void take_tuple(PyObject* hook, PyObject* answer, TensorList& values) {
  Py single;
  if (is_tensor(answer) && values.size() == 1) {
    single = Py(checked(PyTuple_Pack(1, answer)));
    answer = single.get();
  }
  if (!PyTuple_Check(answer))
    throw type_error("expected tuple, but hook returned '", Py_TYPE(answer)->tp_name, "'");
  if (size_t(PyTuple_GET_SIZE(answer)) != values.size())
    throw runtime_error("hook '", hook_name(hook), "' has returned an incorrect number of values (got ",
                        PyTuple_GET_SIZE(answer), ", but expected ", values.size(), ")");
  for (size_t i = 0; i < values.size(); ++i) {
    PyObject* item = PyTuple_GET_ITEM(answer, i);
    if (item == Py_None) {
      if (values[i]) throw runtime_error("can't replace a non-None value with None");
      continue;
    }
    values[i] = replaced(hook, item, values[i]);
  }
}

}  // namespace

void run_tensor_hooks(PyObject* dict, Tensor& gradient) {
  if (!gradient) return;
  each_hook(dict, [&](PyObject* hook) {
    Py answer(checked(PyObject_CallOneArg(hook, reinterpret_cast<PyObject*>(gradient.get()))));
    if (answer.get() != Py_None) gradient = replaced(hook, answer.get(), gradient);
  });
}

void run_output_hooks(Node* n, TensorList& gradients) {
  for (size_t i = 0; i < n->hooks->outputs.size(); ++i) {
    auto [nr, borrowed] = n->hooks->outputs[i];
    Py dict = Py::share(borrowed);
    run_tensor_hooks(dict.get(), gradients[nr]);
  }
  for (size_t i = 0; i < n->hooks->retains.size(); ++i) {
    auto [nr, t] = n->hooks->retains[i];
    const Tensor& g = gradients[nr];
    if (!g) continue;
    static const Op& clone = find_op("clone");
    static const Op& add = find_op("add");
    Tensor kept = t->grad ? add(Tensor::share(t->grad), g) : clone(g);
    std::swap(t->grad, const_cast<TensorObject*&>(reinterpret_cast<TensorObject* const&>(kept)));
  }
}

void run_before_hooks(Node* n, TensorList& gradients) {
  Py dict = Py::share(n->hooks->before);
  each_hook(dict.get(), [&](PyObject* hook) {
    Py tuple(tuple_from(gradients));
    Py answer(checked(PyObject_CallOneArg(hook, tuple.get())));
    if (answer.get() != Py_None) take_tuple(hook, answer.get(), gradients);
  });
}

void run_after_hooks(Node* n, TensorList& results, const TensorList& gradients) {
  Py dict = Py::share(n->hooks->after);
  each_hook(dict.get(), [&](PyObject* hook) {
    Py inputs(tuple_from(results)), outputs(tuple_from(gradients));
    Py answer(checked(PyObject_CallFunctionObjArgs(hook, inputs.get(), outputs.get(), nullptr)));
    if (answer.get() != Py_None) take_tuple(hook, answer.get(), results);
  });
}

void run_accumulate_hooks(const Tensor& leaf) {
  Py dict = Py::share(leaf->extra->accumulate_hooks);
  each_hook(dict.get(), [&](PyObject* hook) {
    Py answer(checked(PyObject_CallOneArg(hook, reinterpret_cast<PyObject*>(leaf.get()))));
    if (answer.get() != Py_None) throw runtime_error("post accumulate grad hooks should return None.");
  });
}

void retain_grad(const Tensor& t) {
  if (t->retains_grad) return;
  Node* fn = grad_fn(t);
  hooks_of(fn).retains.push_back({t->output_nr, t.get()});
  t->retains_grad = true;
}

void move_retain(TensorObject* t, Node* from, Node* to, uint32_t nr) {
  if (from && from->hooks) std::erase_if(from->hooks->retains, [&](auto& r) { return r.tensor == t; });
  if (to) hooks_of(to).retains.push_back({nr, t});
}

}  // namespace rushlight

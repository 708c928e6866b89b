// The autograd attributes and methods of Tensor, and the module functions behind rushlight.autograd.
#include "python/autograd.h"

#include "autograd/history.h"
#include "autograd/saved.h"
#include "python/args.h"

namespace rushlight {

void track(const Tensor& t) {
  PyObject* o = reinterpret_cast<PyObject*>(t.get());
  if (!PyObject_GC_IsTracked(o)) PyObject_GC_Track(o);
}

namespace {

// The tensor behind a method's or attribute's self, read through the caller's variable; the caller keeps it
// alive.
const Tensor& self_tensor(PyObject*& o) { return reinterpret_cast<const Tensor&>(o); }
static_assert(sizeof(Tensor) == sizeof(PyObject*));

PyObject* self_of(PyObject* o) { return Py_NewRef(o); }

template <PyObject* (*F)(const Tensor&)> PyObject* getter(PyObject* o, void*) {
  return guarded([&] { return F(self_tensor(o)); });
}
template <void (*F)(const Tensor&, PyObject*)> int setter(PyObject* o, PyObject* value, void*) {
  return guarded_int([&] { return F(self_tensor(o), value), 0; });
}
template <PyObject* (*F)(const Tensor&)> PyObject* call(PyObject* o, PyObject*) {
  return guarded([&] { return F(self_tensor(o)); });
}
template <PyObject* (*F)(const Tensor&, PyObject*)> PyObject* call_one(PyObject* o, PyObject* arg) {
  return guarded([&] { return F(self_tensor(o), arg); });
}

// ---- requires_grad and leaves ----

void set_requires_grad(const Tensor& t, bool on, const char* dtype_text) {
  if (t->inference && on && !modes().inference)
    throw runtime_error(
        "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
  if (grad_fn(t)) {
    if (on) return;
    throw runtime_error(
        "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
        "in a "
        "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
  }
  if (on && !differentiable(t.dtype()))
    throw runtime_error("only Tensors of ", dtype_text, " dtype can require gradients");
  t->requires_grad = on;
}

PyObject* get_requires_grad(const Tensor& t) { return PyBool_FromLong(t.needs_grad()); }
void put_requires_grad(const Tensor& t, PyObject* value) {
  if (!value || !PyBool_Check(value)) throw runtime_error("requires_grad must be a bool");
  bool on = value == Py_True;
  if (on && grad_fn(t)) throw runtime_error("you can only change requires_grad flags of leaf variables.");
  set_requires_grad(t, on, "floating point and complex");
}

PyObject* requires_grad_(PyObject* o, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + keywords > 1)
      throw type_error("requires_grad_() takes 1 positional argument but ", nargs + keywords, " were given");
    if (keywords && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "requires_grad") != 0)
      throw type_error("requires_grad_() got an unexpected keyword argument '",
                       PyUnicode_AsUTF8(PyTuple_GET_ITEM(kwnames, 0)), "'");
    bool on = true;
    if (nargs + keywords) {
      if (!PyBool_Check(args[0]))
        throw type_error("requires_grad_(): argument 'requires_grad' (position 1) must be bool, not ",
                         Py_TYPE(args[0])->tp_name);
      on = args[0] == Py_True;
    }
    set_requires_grad(self_tensor(o), on, "floating point");
    return self_of(o);
  });
}

PyObject* get_is_leaf(const Tensor& t) { return PyBool_FromLong(!grad_fn(t)); }
PyObject* get_grad_fn(const Tensor& t) { return node_object(grad_fn(t)); }
PyObject* get_output_nr(const Tensor& t) { return PyLong_FromUnsignedLong(t->output_nr); }
PyObject* get_retains_grad(const Tensor& t) { return PyBool_FromLong(t->retains_grad); }
PyObject* get_version(const Tensor& t) {
  if (t->inference) throw runtime_error("Inference tensors do not track version counter.");
  return PyLong_FromUnsignedLong(t.version());
}
PyObject* get_base(const Tensor& t) {
  return t->base ? to_python(Tensor::share(t->base)) : Py_NewRef(Py_None);
}
PyObject* is_view(const Tensor& t) { return PyBool_FromLong(t->base != nullptr); }
PyObject* is_inference(const Tensor& t) { return PyBool_FromLong(t->inference); }

// ---- grad ----

PyObject* get_grad(const Tensor& t) {
  if (t->grad) return to_python(Tensor::share(t->grad));
  if (t->grad_fn && !t->retains_grad &&
      PyErr_WarnEx(PyExc_UserWarning,
                   "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                   "attribute won't be "
                   "populated during autograd.backward(). If you indeed want the .grad field to be populated "
                   "for a non-leaf "
                   "Tensor, use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by "
                   "mistake, make sure "
                   "you access the leaf Tensor instead. See github.com/pytorch/pytorch/pull/30531 for more "
                   "information.",
                   1) < 0)
    throw PythonError();
  return Py_NewRef(Py_None);
}

void put_grad(const Tensor& t, PyObject* value) {
  if (!value || value == Py_None) {
    if (TensorObject* old = std::exchange(t->grad, nullptr)) Py_DECREF(old);
    return;
  }
  if (!is_tensor(value))
    throw type_error("assigned grad expected to be a Tensor or None but got grad of type ",
                     Py_TYPE(value)->tp_name);
  Tensor g = as_tensor(value);
  if (g.is(t)) throw runtime_error("can't assign Variable as its own grad");
  if (g.dtype() != t.dtype())
    throw runtime_error(
        "attempting to assign a gradient with dtype '", info(g.dtype()).ctype_name,
        "' to a tensor with "
        "grad_dtype '",
        info(t.dtype()).scalar_name,
        "'. The gradient must match the tensor's grad_dtype "
        "(defaults to the tensor's dtype). You can set the tensor's grad_dtype attribute with a specific "
        "dtype, "
        "or None to allow any dtype. Set grad_dtype with caution. Diverging the dtypes of a tensor and its "
        "gradient may break downstream systems that assume they match.");
  if (g.device().type != t.device().type)
    throw runtime_error(
        "attempting to assign a gradient located on another device than its tensor. Please ensure that the "
        "gradient and the tensor are on the same device");
  if (!same(g.sizes(), t.sizes()))
    throw runtime_error("attempting to assign a gradient of size '", show(g.sizes()),
                        "' to a tensor of size '", show(t.sizes()),
                        "'. Please ensure that the gradient and the tensor are the same size");
  TensorObject* old = std::exchange(t->grad, g.release());
  if (old) Py_DECREF(old);
}

PyObject* retain_grad_method(const Tensor& t) {
  if (!t.needs_grad()) throw runtime_error("can't retain_grad on Tensor that has requires_grad=False");
  if (grad_fn(t)) retain_grad(t);
  return Py_NewRef(Py_None);
}

// ---- hooks ----

void register_on_node(const Tensor& t, PyObject* dict) {
  if (Node* fn = grad_fn(t)) hooks_of(fn).outputs.push_back({t->output_nr, Py_NewRef(dict)});
}

PyObject* register_hook(const Tensor& t, PyObject* hook) {
  if (!t.needs_grad())
    throw runtime_error("cannot register a hook on a tensor that doesn't require gradient");
  TensorExtra& extra = extra_of(t.get());
  bool fresh = !extra.backward_hooks;
  Py handle(add_hook(&extra.backward_hooks, hook));
  if (fresh) register_on_node(t, extra.backward_hooks);
  track(t);
  return handle.release();
}

PyObject* register_post_accumulate_grad_hook(const Tensor& t, PyObject* hook) {
  if (!t.needs_grad())
    throw runtime_error("cannot register a hook on a tensor that doesn't require gradient");
  if (grad_fn(t)) throw runtime_error("post accumulate grad hooks cannot be registered on non-leaf tensors");
  track(t);
  return add_hook(&extra_of(t.get()).accumulate_hooks, hook);
}

PyObject* or_none(PyObject* o) { return Py_NewRef(o ? o : Py_None); }
PyObject* get_backward_hooks(const Tensor& t) {
  return or_none(t->extra ? t->extra->backward_hooks : nullptr);
}
PyObject* get_accumulate_hooks(const Tensor& t) {
  return or_none(t->extra ? t->extra->accumulate_hooks : nullptr);
}

void put_dict(PyObject*& field, PyObject* value) {
  if (value && value != Py_None && !PyDict_Check(value)) throw type_error("hooks must be a dict or None");
  PyObject* old = std::exchange(field, value && value != Py_None ? Py_NewRef(value) : nullptr);
  Py_XDECREF(old);
}
void put_backward_hooks(const Tensor& t, PyObject* value) {
  TensorExtra& extra = extra_of(t.get());
  put_dict(extra.backward_hooks, value);
  if (extra.backward_hooks) register_on_node(t, extra.backward_hooks), track(t);
}
void put_accumulate_hooks(const Tensor& t, PyObject* value) {
  put_dict(extra_of(t.get()).accumulate_hooks, value);
  track(t);
}

// ---- detach and data ----

PyObject* detach(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (overrides(o)) {
      Py method(checked(PyObject_GetAttrString(reinterpret_cast<PyObject*>(tensor_type), "detach")));
      if (PyObject* r = try_overrides_of(method.get(), "detach", &o, 1)) return r;
      if (PyErr_Occurred()) throw PythonError();
    }
    return to_python(alias(as_tensor(o)));
  });
}

PyObject* detach_(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = self_tensor(o);
    if (t->base)
      throw runtime_error(
          "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) "
          "for training, and "
          "gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence detach_() "
          "cannot be called on "
          "these gradients. To fix this error, please refer to the Optimizer.zero_grad() function in "
          "torch/optim/optimizer.py as "
          "the solution.");
    if (t->retains_grad) move_retain(t.get(), t->grad_fn, nullptr, 0), t->retains_grad = false;
    set_history(t, NodeRef(), 0);
    t->requires_grad = false;
    return self_of(o);
  });
}

PyObject* get_data(const Tensor& t) {
  Tensor d = alias(t);
  if (t->storage) {
    Storage* s = Storage::alias(t->storage);
    s->version = 0;
    set_storage(d, StorageRef(s));
  }
  return to_python(std::move(d));
}

bool same_memory(const Tensor& a, const Tensor& b) {
  return a->storage && b->storage && a->storage->root() == b->storage->root() && a.dtype() == b.dtype() &&
         a.offset() == b.offset() && same(a.sizes(), b.sizes()) && same(a.strides(), b.strides());
}

// Whether only the caller's evaluation stack still refers to the object.
bool is_temporary(PyObject* o) {
#if PY_VERSION_HEX >= 0x030E0000
  return PyUnstable_Object_IsUniqueReferencedTemporary(o);  // since 3.14 the stack may borrow from a variable
#else
  return Py_REFCNT(o) == 1;
#endif
}

void put_data(const Tensor& t, PyObject* value) {
  if (!value) throw runtime_error("Deleting tensor data is not allowed. Delete tensor instead!");
  if (!is_tensor(value))
    throw type_error("Variable data has to be a tensor, but got ", Py_TYPE(value)->tp_name);
  bool about_to_die = is_temporary(value);
  Tensor v = as_tensor(value);
  if (t.needs_grad() && !differentiable(v.dtype()))
    throw runtime_error(
        "data set to a tensor that requires gradients must be floating point or complex dtype");
  if (v.is(t) || same_memory(t, v)) return;
  // The counter stays this tensor's own. A storage that only the value uses, which is about to die,
  // is taken as it is.
  uint32_t version = t.version();
  if (Storage* s = v->storage) {
    bool ours = s->refs == 1 && about_to_die && !s->python && !v->base;
    StorageRef storage = ours ? StorageRef::share(s) : StorageRef(Storage::alias(s));
    storage->version = version;
    set_storage(t, std::move(storage));
  } else {
    set_storage(t, StorageRef());
  }
  Py old(std::exchange(t->delegate, Py_XNewRef(v->delegate)));
  if (t->delegate) track(t);
  t->dtype = v.dtype();
  t->device = v.device();
  set_layout(t, v.sizes(), v.strides(), v.offset());
}

// ---- module functions ----

// A list of tensors from a sequence; None gives an empty handle where that is allowed.
TensorList tensors_from(PyObject* sequence, bool none_allowed, const char* what) {
  TensorList list;
  Py fast(checked(PySequence_Fast(sequence, what)));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.get()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(fast.get(), i);
    if (is_tensor(item)) list.push_back(as_tensor(item));
    else if (none_allowed && item == Py_None) list.push_back(Tensor());
    else
      throw runtime_error("element ", i, " of ", what, " must be a Tensor, but got ", Py_TYPE(item)->tp_name);
  }
  return list;
}

std::span<const Tensor> span_of(const TensorList& l) { return {l.data(), l.size()}; }

// _run_backward(tensors, gradients, retain_graph, create_graph, inputs, accumulate, allow_unused)
PyObject* run_backward_function(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  return guarded([&]() -> PyObject* {
    if (nargs != 7) throw type_error("_run_backward expects 7 arguments");
    TensorList roots = tensors_from(args[0], false, "tensors");
    TensorList gradients = args[1] == Py_None ? TensorList(roots.size())
                                              : tensors_from(args[1], true, "gradients tuple");
    if (gradients.size() != roots.size())
      throw runtime_error("got ", roots.size(), " tensors and ", gradients.size(), " gradients");
    TensorList inputs;
    if (args[4] != Py_None) inputs = tensors_from(args[4], false, "inputs");
    auto flag = [](PyObject* o) {
      int yes = PyObject_IsTrue(o);
      if (yes < 0) throw PythonError();
      return bool(yes);
    };
    TensorList results = run_backward(span_of(roots), span_of(gradients), flag(args[2]), flag(args[3]),
                                      span_of(inputs), flag(args[5]), flag(args[6]));
    PyObject* tuple = checked(PyTuple_New(results.size()));
    for (size_t i = 0; i < results.size(); ++i)
      PyTuple_SET_ITEM(tuple, i, results[i] ? to_python(std::move(results[i])) : Py_NewRef(Py_None));
    return tuple;
  });
}

// _backward(tensor, retain_graph, create_graph): the common case of Tensor.backward
PyObject* backward_function(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  return guarded([&]() -> PyObject* {
    if (nargs != 3 || !is_tensor(args[0])) throw type_error("_backward expects a tensor and two flags");
    Tensor root = as_tensor(args[0]), gradient;
    run_backward({&root, 1}, {&gradient, 1}, args[1] == Py_True, args[2] == Py_True, {}, true, true);
    return Py_NewRef(Py_None);
  });
}

PyObject* push_hooks(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  return guarded([&]() -> PyObject* {
    if (nargs != 2) throw type_error("_push_saved_tensors_hooks expects pack and unpack");
    push_saved_hooks(args[0], args[1]);
    return Py_NewRef(Py_None);
  });
}
PyObject* pop_hooks(PyObject*, PyObject*) {
  pop_saved_hooks();
  return Py_NewRef(Py_None);
}
PyObject* disable_hooks(PyObject*, PyObject* message) {
  const char* s = message == Py_None ? nullptr : PyUnicode_AsUTF8(message);
  if (message != Py_None && !s) return nullptr;
  disable_saved_hooks(s);
  return Py_NewRef(Py_None);
}

PyObject* set_anomaly(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 2) return PyErr_Format(PyExc_TypeError, "_set_anomaly_enabled expects two flags"), nullptr;
  modes().anomaly = args[0] == Py_True;
  modes().anomaly_check_nan = args[1] == Py_True;
  return Py_NewRef(Py_None);
}
PyObject* anomaly_enabled(PyObject*, PyObject*) { return PyBool_FromLong(modes().anomaly); }
PyObject* anomaly_check_nan(PyObject*, PyObject*) { return PyBool_FromLong(modes().anomaly_check_nan); }

PyObject* plain_backward(PyObject*, PyObject*) { return PyBool_FromLong(in_plain_backward()); }

PyObject* queue_callback_function(PyObject*, PyObject* callable) {
  if (queue_callback(callable)) return Py_NewRef(Py_None);
  PyErr_SetString(PyExc_RuntimeError, "Final callbacks can only be installed during backward pass.");
  return nullptr;
}

PyObject* set_prefix(PyObject*, PyObject* path) {
  const char* s = PyUnicode_AsUTF8(path);
  if (!s) return nullptr;
  set_package_prefix(s);
  return Py_NewRef(Py_None);
}

// The AccumulateGrad node of a leaf, or grad_fn: where its gradient goes, and which output of that node it
// is.
PyObject* gradient_edge_function(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    if (!is_tensor(o)) throw type_error("get_gradient_edge expects a Tensor, not ", Py_TYPE(o)->tp_name);
    Edge e = gradient_edge(self_tensor(o));
    if (!e.node)
      throw runtime_error(
          "It is not possible to get the gradient edge for a Tensor that does not require gradients");
    return checked(Py_BuildValue("(NI)", node_object(e.node.get()), e.nr));
  });
}

// _tensor_at_edge(node, output) -> the leaf of an AccumulateGrad node; else a tensor without values of its own whose
// gradient goes where the edge says.
PyObject* tensor_at_edge(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2) throw type_error("_tensor_at_edge(node, output)");
    Node* node = node_of(args[0]);
    int64_t nr = to_int(args[1]);
    if (Tensor leaf = variable_of(node)) return to_python(std::move(leaf));
    if (nr < 0 || nr >= int64_t(node->nouts))
      throw index_error(node->name(), " has ", node->nouts, " outputs: there is no output ", nr);
    GradMeta m = node->output_meta(uint32_t(nr));
    Dims strides(m.sizes.size(), 0);
    Tensor t = empty_strided(m.sizes, strides, m.dtype, m.device);
    set_history(t, NodeRef::share(node), uint32_t(nr));
    return to_python(std::move(t));
  });
}

PyObject* increment_version(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    if (!is_tensor(o)) throw type_error("increment_version expects a Tensor, not ", Py_TYPE(o)->tp_name);
    wrote(self_tensor(o));
    return Py_NewRef(Py_None);
  });
}

PyObject* show_history_as_function(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2 || !PyUnicode_Check(args[1])) throw type_error("_show_history_as(tensor, name)");
    if (is_tensor(args[0]) && as_tensor(args[0])->grad_fn)
      show_history_as(as_tensor(args[0]), PyUnicode_AsUTF8(args[1]));
    return Py_NewRef(args[0]);
  });
}
PyObject* become_view_function(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2) throw type_error("_become_view(tensor, view)");
    Tensor t = as_tensor(args[0]), view = as_tensor(args[1]);
    if (t->delegate || t->storage != view->storage || t.dtype() != view.dtype())
      throw runtime_error("an ordinary tensor and a view of it were expected");
    become_view(t, view);
    return Py_NewRef(args[0]);
  });
}

// What an optimiser's step asks of every parameter, in one call.
PyObject* with_gradients_function(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    Py all(checked(PySequence_Fast(o, "_with_gradients expects a sequence of Tensors")));
    Py params(checked(PyList_New(0))), grads(checked(PyList_New(0)));
    bool plain = true;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(all.get()); ++i) {
      PyObject* p = PySequence_Fast_GET_ITEM(all.get(), i);
      if (!is_tensor(p)) throw type_error("_with_gradients expects a sequence of Tensors");
      Py grad(get_grad(as_tensor(p)));
      if (grad.get() == Py_None) continue;
      plain &= !as_tensor(grad.get())->delegate;
      if (PyList_Append(params.get(), p) < 0 || PyList_Append(grads.get(), grad.get()) < 0)
        throw PythonError();
    }
    return PyTuple_Pack(3, params.get(), grads.get(), plain ? Py_True : Py_False);
  });
}

PyMethodDef functions[] = {
    {"_with_gradients", with_gradients_function, METH_O,
     "_with_gradients(tensors): (those that have a gradient, the gradients, whether none of these is sparse "
     "or "
     "quantised)."},
    {"_show_history_as", (PyCFunction)(void (*)(void))show_history_as_function, METH_FASTCALL,
     "_show_history_as(tensor, name): the tensor, whose grad_fn goes by that name if it is a recorded "
     "operator."},
    {"_become_view", (PyCFunction)(void (*)(void))become_view_function, METH_FASTCALL,
     "_become_view(tensor, view): the tensor, which has taken over geometry and history of a view of it."},
    {"_run_backward", (PyCFunction)(void (*)(void))run_backward_function, METH_FASTCALL, nullptr},
    {"_backward", (PyCFunction)(void (*)(void))backward_function, METH_FASTCALL, nullptr},
    {"_push_saved_tensors_hooks", (PyCFunction)(void (*)(void))push_hooks, METH_FASTCALL, nullptr},
    {"_pop_saved_tensors_hooks", pop_hooks, METH_NOARGS, nullptr},
    {"_disable_saved_tensors_hooks", disable_hooks, METH_O, nullptr},
    {"_set_anomaly_enabled", (PyCFunction)(void (*)(void))set_anomaly, METH_FASTCALL, nullptr},
    {"is_anomaly_enabled", anomaly_enabled, METH_NOARGS, nullptr},
    {"is_anomaly_check_nan_enabled", anomaly_check_nan, METH_NOARGS, nullptr},
    {"_in_plain_backward", plain_backward, METH_NOARGS, nullptr},
    {"_queue_callback", queue_callback_function, METH_O, nullptr},
    {"_set_package_prefix", set_prefix, METH_O, nullptr},
    {"_gradient_edge", gradient_edge_function, METH_O, nullptr},
    {"_tensor_at_edge", (PyCFunction)(void (*)(void))tensor_at_edge, METH_FASTCALL, nullptr},
    {"_increment_version", increment_version, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyMethodDef autograd_methods[] = {
    {"requires_grad_", (PyCFunction)(void (*)(void))requires_grad_, METH_FASTCALL | METH_KEYWORDS,
     "requires_grad_(requires_grad=True)\n--\n\nSays whether operations on this tensor are recorded; returns "
     "the tensor."},
    {"retain_grad", call<retain_grad_method>, METH_NOARGS,
     "retain_grad()\n--\n\nKeeps the gradient of this non-leaf tensor in .grad after backward()."},
    {"register_hook", call_one<register_hook>, METH_O,
     "register_hook(hook)\n--\n\nCalls hook(grad) when the gradient with respect to this tensor is known; a "
     "tensor that it "
     "returns\ntakes the gradient's place. Returns a handle with remove()."},
    {"register_post_accumulate_grad_hook", call_one<register_post_accumulate_grad_hook>, METH_O,
     "register_post_accumulate_grad_hook(hook)\n--\n\nCalls hook(tensor) after a gradient was added to .grad "
     "of this leaf."},
    {"detach", detach, METH_NOARGS,
     "detach()\n--\n\nThe same memory without the history: a tensor that does not require a gradient."},
    {"detach_", detach_, METH_NOARGS, "detach_()\n--\n\nForgets the history of this tensor, in place."},
    {"is_inference", call<is_inference>, METH_NOARGS,
     "is_inference()\n--\n\nWhether the tensor was made in inference mode."},
    {"_is_view", call<is_view>, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef autograd_getset[] = {
    {"requires_grad", getter<get_requires_grad>, setter<put_requires_grad>,
     "Whether operations on this tensor are recorded for backward().", nullptr},
    {"grad", getter<get_grad>, setter<put_grad>, "The gradient that backward() has added up, or None.",
     nullptr},
    {"grad_fn", getter<get_grad_fn>, nullptr,
     "The node of the operation that made this tensor; None for a leaf.", nullptr},
    {"is_leaf", getter<get_is_leaf>, nullptr, "True for tensors that no recorded operation made.", nullptr},
    {"_version", getter<get_version>, nullptr, "How many in-place writes the memory has seen.", nullptr},
    {"retains_grad", getter<get_retains_grad>, nullptr, "Whether retain_grad() was called on this non-leaf.",
     nullptr},
    {"output_nr", getter<get_output_nr>, nullptr, "Which output of grad_fn this tensor is.", nullptr},
    {"_base", getter<get_base>, nullptr, "The tensor that this one is a view of, or None.", nullptr},
    {"data", getter<get_data>, setter<put_data>,
     "The same memory without history and with a version counter of its own; can be assigned.", nullptr},
    {"_backward_hooks", getter<get_backward_hooks>, setter<put_backward_hooks>, nullptr, nullptr},
    {"_post_accumulate_grad_hooks", getter<get_accumulate_hooks>, setter<put_accumulate_hooks>, nullptr,
     nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

void add_autograd(PyObject* module) {
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
  add_node_types(module);
  add_function_type(module);
  add_grad_modes(module);
  add_forward(module);
  add_autocast(module);
}

}  // namespace rushlight

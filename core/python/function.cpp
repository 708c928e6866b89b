// autograd.Function: the node of a custom function, and Function.apply. The context that user code calls ctx
// is the grad_fn.
#include <algorithm>
#include <string>

#include "autograd/forward.h"
#include "autograd/saved.h"
#include "python/autograd.h"

namespace rushlight {

PyTypeObject* function_type = nullptr;

namespace {

struct FunctionNode final : Node {
  PyObject* context;  // owned
  std::string type_name;
  std::vector<Edge> edge_store;     // one per tensor argument
  std::vector<bool> is_tensor_arg;  // of every forward argument
  struct Output {
    bool is_tensor = false;
    Dims sizes;
    Dtype dtype = Dtype::none;
    Device device;
  };
  std::vector<Output> outputs;
  std::vector<Saved> saved;

  explicit FunctionNode(PyObject* ctx) : context(Py_NewRef(ctx)) {
    Py name(checked(PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(ctx)), "__name__")));
    const char* s = PyUnicode_AsUTF8(name.get());
    type_name = s ? s : "FunctionBackward";
    reinterpret_cast<NodeObject*>(ctx)->node = this;
    seq = next_sequence_number();
    site = current_site();
  }
  ~FunctionNode() override {
    release_saved();
    reinterpret_cast<NodeObject*>(context)->node = nullptr;
    Py_DECREF(context);
  }
  const char* name() const override { return type_name.c_str(); }
  GradMeta output_meta(uint32_t nr) const override {
    const Output& o = outputs[nr];
    return {o.sizes, o.dtype, o.device};
  }
  TensorList apply(TensorList grads, uint64_t wanted) override;
  void release_saved() override {
    for (auto& s : saved) s.drop();
  }
  int traverse(visitproc visit, void* arg) override {
    Py_VISIT(context);
    for (auto& s : saved)
      if (int stop = s.traverse(visit, arg)) return stop;
    return 0;
  }
};

bool truth(PyObject* object, const char* attribute) {
  Py value(checked(PyObject_GetAttrString(object, attribute)));
  int yes = PyObject_IsTrue(value.get());
  if (yes < 0) throw PythonError();
  return yes;
}

TensorList FunctionNode::apply(TensorList grads, uint64_t) {
  Py keep = Py::share(context);
  bool materialize = truth(context, "materialize_grads");
  Py args(checked(PyTuple_New(nouts)));
  static const Op& zeros = find_op("zeros");
  for (uint32_t k = 0; k < nouts; ++k) {
    const Output& o = outputs[k];
    if (!grads[k] && materialize && o.is_tensor) grads[k] = zeros(o.sizes, o.dtype, o.device);
    PyTuple_SET_ITEM(args.get(), k, grads[k] ? to_python(std::move(grads[k])) : Py_NewRef(Py_None));
  }
  Py function(checked(PyObject_GetAttrString(context, "apply")));
  Py result(checked(PyObject_CallObject(function.get(), args.get())));
  if (!PyTuple_Check(result.get())) result = Py(checked(PyTuple_Pack(1, result.get())));
  size_t n = is_tensor_arg.size(), given = PyTuple_GET_SIZE(result.get()), got = given;
  while (got > n && PyTuple_GET_ITEM(result.get(), got - 1) == Py_None) --got;
  if (got != n)
    throw runtime_error("function ", name(), " returned an incorrect number of gradients (expected ", n,
                        ", got ", given, ")");
  TensorList out;
  for (size_t i = 0; i < n; ++i) {
    PyObject* item = PyTuple_GET_ITEM(result.get(), i);
    if (!is_tensor_arg[i]) {
      if (item != Py_None)
        throw runtime_error("function ", name(), " returned a gradient different than None at position ",
                            i + 1, ", but the corresponding forward input was not a Variable");
    } else if (item == Py_None) {
      out.push_back(Tensor());
    } else if (is_tensor(item)) {
      out.push_back(as_tensor(item));
    } else {
      throw runtime_error("expected Variable or None (got ", Py_TYPE(item)->tp_name, ")");
    }
  }
  return out;
}

// ---- apply ----

// A set of tensors that the user named in ctx (mark_dirty, mark_non_differentiable).
struct Marked {
  Py tuple;
  Marked(PyObject* ctx, const char* attribute) : tuple(checked(PyObject_GetAttrString(ctx, attribute))) {
    if (tuple.get() != Py_None && !PyTuple_Check(tuple.get()))
      throw type_error(attribute, " must be a tuple of tensors");
  }
  bool has(PyObject* o) const {
    if (tuple.get() == Py_None) return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple.get()); ++i)
      if (PyTuple_GET_ITEM(tuple.get(), i) == o) return true;
    return false;
  }
};

struct Application {
  PyObject* ctx;
  PyObject* args;
  NodeRef ref;  // empty when nothing is recorded
  FunctionNode* node = nullptr;
  std::vector<int> slot_of_arg;  // edge of each argument, -1 for those that are no tensors

  int argument(PyObject* o) const {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i)
      if (PyTuple_GET_ITEM(args, i) == o) return i;
    return -1;
  }

  void begin() {
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    Py needs(checked(PyTuple_New(n)));
    bool any = false;
    for (Py_ssize_t i = 0; i < n; ++i) {
      PyObject* a = PyTuple_GET_ITEM(args, i);
      bool yes = is_tensor(a) && as_tensor(a).needs_grad();
      any |= yes;
      PyTuple_SET_ITEM(needs.get(), i, PyBool_FromLong(yes));
    }
    if (PyObject_SetAttrString(ctx, "needs_input_grad", needs.get()) < 0) throw PythonError();
    if (!any || !grad_enabled()) return;
    node = new FunctionNode(ctx);
    ref = NodeRef::steal(node);
    for (Py_ssize_t i = 0; i < n; ++i) {
      PyObject* a = PyTuple_GET_ITEM(args, i);
      node->is_tensor_arg.push_back(is_tensor(a));
      slot_of_arg.push_back(is_tensor(a) ? node->edge_store.size() : -1);
      if (is_tensor(a)) node->edge_store.push_back(gradient_edge(as_tensor(a)));
    }
    node->edges = node->edge_store.data();
    node->nedges = node->edge_store.size();
    if (modes().anomaly) remember_traceback(node);
  }

  Tensor finish(PyObject* item, uint32_t nr, const Marked& dirty, const Marked& non_differentiable) {
    Tensor t = as_tensor(item);
    int arg = argument(item);
    bool differentiates = node && differentiable(t.dtype()) && !non_differentiable.has(item);
    if (dirty.has(item)) {
      if (differentiates && t->requires_grad && !t->grad_fn)
        throw runtime_error("a leaf Variable that requires grad has been used in an in-place operation.");
      wrote(t);
      if (differentiates) {
        if (arg < 0)
          throw runtime_error("mark_dirty was called with a tensor that is not an input of the function");
        rebase_history(t, ref, nr, slot_of_arg[arg]);
        track(t);
      }
      return t;
    }
    if (arg >=
        0) {  // an input returned as it is: the output has to be another tensor, for it has another history
      Tensor view = alias(t);
      view->base = Tensor(t->base ? Tensor::share(t->base) : t).release();
      view->view_version = view.version();
      view->is_view = 2;
      t = view;
      if (!differentiates) return non_differentiable.has(item) ? alias(t) : t;
    } else if (t->base && differentiates) {
      t->is_view = 2;
    }
    if (!differentiates) return t.needs_grad() && node ? alias(t) : t;
    t->requires_grad = false;
    set_history(t, ref, nr);
    track(t);
    return t;
  }

  void save(PyObject* outputs) {
    Py to_save(checked(PyObject_GetAttrString(ctx, "to_save")));
    if (to_save.get() == Py_None) return;
    Py fast(checked(PySequence_Fast(to_save.get(), "save_for_backward expects tensors")));
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.get()); ++i) {
      PyObject* item = PySequence_Fast_GET_ITEM(fast.get(), i);
      if (item != Py_None && !is_tensor(item))
        throw type_error("save_for_backward can only save variables, but argument ", i, " is of type ",
                         Py_TYPE(item)->tp_name);
      if (!node) continue;
      node->saved.emplace_back();
      if (item == Py_None) continue;
      Tensor t = as_tensor(item);
      int output = -1;
      for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(outputs); ++k)
        if (PyTuple_GET_ITEM(outputs, k) == item && t->grad_fn == node) output = k;
      if (output >= 0) node->saved.back().keep_output(t, output);
      else node->saved.back().keep_input(t, t.version());
    }
    if (PyObject_SetAttrString(ctx, "to_save", Py_None) < 0) throw PythonError();
  }

  PyObject* end(Py raw) {
    bool single = !PyTuple_Check(raw.get());
    if (single) raw = Py(checked(PyTuple_Pack(1, raw.get())));
    Marked dirty(ctx, "dirty_tensors"), non_differentiable(ctx, "non_differentiable");
    Py_ssize_t n = PyTuple_GET_SIZE(raw.get());
    Py outputs(checked(PyTuple_New(n)));
    if (node) {
      node->nouts = n;
      node->outputs.resize(n);
    }
    for (Py_ssize_t k = 0; k < n; ++k) {
      PyObject* item = PyTuple_GET_ITEM(raw.get(), k);
      if (!is_tensor(item)) {
        PyTuple_SET_ITEM(outputs.get(), k, Py_NewRef(item));
        continue;
      }
      if (node) {
        Tensor t = as_tensor(item);
        node->outputs[k] = {true, t.sizes(), t.dtype(), t.device()};
      }
      PyTuple_SET_ITEM(outputs.get(), k, to_python(finish(item, k, dirty, non_differentiable)));
    }
    save(outputs.get());
    if (single) return Py_NewRef(PyTuple_GET_ITEM(outputs.get(), 0));
    return outputs.release();
  }
};

// _function_apply(forward, setup_context or None, ctx, args)
PyObject* function_apply(PyObject*, PyObject* const* a, Py_ssize_t nargs) {
  return guarded([&]() -> PyObject* {
    if (nargs != 4 || !PyTuple_Check(a[3]))
      throw type_error("_function_apply expects forward, setup_context, ctx, args");
    PyObject *forward = a[0], *setup = a[1], *ctx = a[2], *args = a[3];
    Application app{ctx, args};
    app.begin();
    Py raw;
    {
      GradMode off(false);
      if (setup != Py_None) {
        raw = Py(checked(PyObject_CallObject(forward, args)));
        Py done(checked(PyObject_CallFunctionObjArgs(setup, ctx, args, raw.get(), nullptr)));
      } else {
        Py with_ctx(checked(PyTuple_New(PyTuple_GET_SIZE(args) + 1)));
        PyTuple_SET_ITEM(with_ctx.get(), 0, Py_NewRef(ctx));
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i)
          PyTuple_SET_ITEM(with_ctx.get(), i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
        raw = Py(checked(PyObject_CallObject(forward, with_ctx.get())));
      }
    }
    return app.end(std::move(raw));
  });
}

PyObject* saved_tensors(PyObject* o, void*) {
  return guarded([&]() -> PyObject* {
    auto* n = static_cast<FunctionNode*>(reinterpret_cast<NodeObject*>(o)->node);
    if (modes().forward) [[unlikely]] {  // jvp() reads what save_for_forward() kept
      Py kept(checked(PyObject_GetAttrString(o, "saved_for_forward")));
      if (kept.get() != Py_None) return kept.release();
    }
    if (!n) return PyTuple_New(0);
    if (n->released) throw_already_released();
    NodeRef keep = NodeRef::share(n);
    Py tuple(checked(PyTuple_New(n->saved.size())));
    for (size_t i = 0; i < n->saved.size(); ++i)
      PyTuple_SET_ITEM(tuple.get(), i, n->saved[i] ? to_python(n->saved[i].unpack(n)) : Py_NewRef(Py_None));
    return tuple.release();
  });
}

// _give_output_tangents(ctx, outputs): the outputs that ctx saved are bare aliases; in forward mode they carry what the
// outputs do.
PyObject* give_output_tangents(PyObject*, PyObject* const* a, Py_ssize_t nargs) {
  return guarded([&]() -> PyObject* {
    if (nargs != 2 || !PyObject_TypeCheck(a[0], function_type) || !PyTuple_Check(a[1]))
      throw type_error("_give_output_tangents expects ctx and a tuple");
    auto* n = static_cast<FunctionNode*>(reinterpret_cast<NodeObject*>(a[0])->node);
    for (size_t i = 0; n && i < n->saved.size(); ++i) {
      Saved& s = n->saved[i];
      if (s.output < 0 || !s.tensor || s.output >= PyTuple_GET_SIZE(a[1])) continue;
      PyObject* out = PyTuple_GET_ITEM(a[1], s.output);
      if (is_tensor(out)) copy_tangents(as_tensor(out), Tensor::share(s.tensor));
    }
    return Py_NewRef(Py_None);
  });
}

int traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  return 0;
}
int clear(PyObject*) { return 0; }
void dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  if (reinterpret_cast<NodeObject*>(o)->weakrefs) PyObject_ClearWeakRefs(o);
  type->tp_free(o);
  Py_DECREF(type);
}

PyGetSetDef getset[] = {
    {"saved_tensors", saved_tensors, nullptr, "The tensors given to save_for_backward().", nullptr},
    {"saved_variables", saved_tensors, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef functions[] = {
    {"_function_apply", (PyCFunction)(void (*)(void))function_apply, METH_FASTCALL, nullptr},
    {"_give_output_tangents", (PyCFunction)(void (*)(void))give_output_tangents, METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyObject* function_context(Node* n) {
  auto* f = dynamic_cast<FunctionNode*>(n);
  return f ? f->context : nullptr;
}

void add_function_type(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_getset, getset},          {Py_tp_traverse, (void*)traverse},     {Py_tp_clear, (void*)clear},
      {Py_tp_dealloc, (void*)dealloc}, {Py_tp_new, (void*)PyType_GenericNew}, {0, nullptr}};
  static PyType_Spec spec = {"rushlight.autograd.function._FunctionBase", sizeof(NodeObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  Py bases(checked(PyTuple_Pack(1, node_type)));
  function_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpecWithBases(&spec, bases.get())));
  if (PyModule_AddObjectRef(module, "_FunctionBase", reinterpret_cast<PyObject*>(function_type)) < 0)
    throw PythonError();
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

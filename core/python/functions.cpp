// The callables that stand for op names: functions (rl.add), methods (Tensor.add, Tensor.add_), and the
// __torch_function__ protocol that sits in front of them.
#include <Python.h>
#include <structmember.h>

#include <cstring>
#include <map>

#include "python/args.h"

namespace rushlight {

namespace {

struct FunctionObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  const OverloadSet* set;
  PyObject* module;  // __module__, may be replaced from Python
  PyObject* doc;     // __doc__ set from Python
};

PyTypeObject* function_type;
PyTypeObject* method_type;
std::map<std::string, OverloadSet*, std::less<>> sets;
PyObject* torch_function_name;          // interned "__torch_function__"
PyObject* default_override = nullptr;   // Tensor.__torch_function__ as rushlight defines it
PyObject* disabled_override = nullptr;  // _disabled_torch_function_impl
__attribute__((tls_model("initial-exec"))) thread_local bool overrides_off = false;  // asked in every call

PyObject* lookup_override(PyTypeObject* type) {
  return _PyType_Lookup(type, torch_function_name);
}  // borrowed

}  // namespace

bool overrides(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  if (type == tensor_type || !(type->tp_flags & Py_TPFLAGS_HEAPTYPE) || overrides_off) return false;
  PyObject* f = lookup_override(type);
  return f && f != disabled_override;
}

namespace {

void collect(PyObject* o, std::vector<PyObject*>& found) {
  if (overrides(o)) {
    for (auto* p : found)
      if (Py_TYPE(p) == Py_TYPE(o)) return;
    // subclasses go before their bases
    size_t at = found.size();
    for (size_t i = 0; i < found.size(); ++i)
      if (PyType_IsSubtype(Py_TYPE(o), Py_TYPE(found[i]))) {
        at = i;
        break;
      }
    found.insert(found.begin() + at, o);
  } else if (PyTuple_CheckExact(o) || PyList_CheckExact(o)) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o) && i < 64; ++i) {
      PyObject* item = PySequence_Fast_GET_ITEM(o, i);
      if (!Py_IS_TYPE(item, tensor_type) && (Py_TYPE(item)->tp_flags & Py_TPFLAGS_HEAPTYPE))
        collect(item, found);
    }
  }
}

}  // namespace

namespace {
// Whether nobody among the arguments, or in a list among them, overrides. (Lists of lists are searched in any case.)
bool nobody_overrides(PyObject* const* args, Py_ssize_t total) {
  auto sequence = [](PyObject* o) { return PyTuple_CheckExact(o) || PyList_CheckExact(o); };
  for (Py_ssize_t i = 0; i < total; ++i) {
    if (Py_IS_TYPE(args[i], tensor_type)) continue;
    if (overrides(args[i])) return false;
    if (!sequence(args[i])) continue;
    PyObject** items = PySequence_Fast_ITEMS(args[i]);
    PyTypeObject* asked = tensor_type;  // most lists are of one type
    for (Py_ssize_t k = 0, n = PySequence_Fast_GET_SIZE(args[i]); k < n; ++k) {
      if (Py_IS_TYPE(items[k], asked)) continue;
      if (sequence(items[k]) || overrides(items[k])) return false;
      asked = Py_TYPE(items[k]);
    }
  }
  return true;
}

PyObject* search_overrides(PyObject* func, const char* name, PyObject* const* args, Py_ssize_t nargs,
                           PyObject* kwnames);
PyObject* ask_overrides(PyObject* func, const char* name, PyObject* const* args, Py_ssize_t nargs,
                        PyObject* kwnames) {
  if (nobody_overrides(args, nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0)) || overrides_off) [[likely]]
    return nullptr;
  return search_overrides(func, name, args, nargs, kwnames);
}
PyObject* search_overrides(PyObject* func, const char* name, PyObject* const* args, Py_ssize_t nargs,
                           PyObject* kwnames) {
  Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
  std::vector<PyObject*> found;
  for (Py_ssize_t i = 0; i < total; ++i) collect(args[i], found);
  if (found.empty()) return nullptr;
  Py types(PyTuple_New(found.size())), positional(PyTuple_New(nargs)), keywords(PyDict_New());
  if (!types || !positional || !keywords) throw PythonError();
  for (size_t i = 0; i < found.size(); ++i)
    PyTuple_SET_ITEM(types.get(), i, Py_NewRef(reinterpret_cast<PyObject*>(Py_TYPE(found[i]))));
  for (Py_ssize_t i = 0; i < nargs; ++i) PyTuple_SET_ITEM(positional.get(), i, Py_NewRef(args[i]));
  for (Py_ssize_t i = nargs; i < total; ++i)
    if (PyDict_SetItem(keywords.get(), PyTuple_GET_ITEM(kwnames, i - nargs), args[i]) < 0)
      throw PythonError();
  for (auto* o : found) {
    Py method(checked(PyObject_GetAttr(o, torch_function_name)));
    Py result(checked(PyObject_CallFunctionObjArgs(method.get(), func, types.get(), positional.get(),
                                                   keywords.get(), nullptr)));
    if (result.get() != Py_NotImplemented) return result.release();
  }
  throw type_error("Multiple dispatch failed for 'torch.", name,
                   "'; all __torch_function__ handlers returned NotImplemented");
}
}  // namespace

PyObject* try_overrides(PyObject* func, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  return ask_overrides(func, reinterpret_cast<FunctionObject*>(func)->set->name.c_str(), args, nargs,
                       kwnames);
}
PyObject* try_overrides_of(PyObject* func, const char* name, PyObject* const* args, Py_ssize_t nargs) {
  return ask_overrides(func, name, args, nargs, nullptr);
}

namespace {

PyObject* call_function(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    const auto* set = reinterpret_cast<FunctionObject*>(self)->set;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (PyObject* r = try_overrides(self, args, nargs, kwnames)) return r;
    return call_op(*set, nullptr, args, nargs, kwnames, set->in_place);
  });
}

PyObject* call_method(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    const auto* set = reinterpret_cast<FunctionObject*>(self)->set;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (!nargs || !is_tensor(args[0]))
      throw type_error("descriptor '", set->name, "' for 'torch._C.TensorBase' objects doesn't apply to a '",
                       nargs ? Py_TYPE(args[0])->tp_name : "missing", "' object");
    if (PyObject* r = try_overrides(self, args, nargs, kwnames)) return r;
    return call_op(*set, args[0], args + 1, nargs - 1, kwnames, set->in_place);
  });
}

PyObject* method_get(PyObject* self, PyObject* obj, PyObject*) {
  if (!obj || obj == Py_None) return Py_NewRef(self);
  return PyMethod_New(self, obj);
}

const OverloadSet& set_of(PyObject* o) { return *reinterpret_cast<FunctionObject*>(o)->set; }
PyObject* function_name(PyObject* o, void*) { return PyUnicode_FromString(set_of(o).name.c_str()); }
PyObject* function_doc(PyObject* o, void*) {
  auto* f = reinterpret_cast<FunctionObject*>(o);
  if (f->doc) return Py_NewRef(f->doc);
  std::string text;
  for (auto* op : f->set->ops) {
    if (!text.empty()) text += "\n\n";
    text += std::string(op->spec.sig) + "\n\n" + op->spec.doc;
  }
  return PyUnicode_FromString(text.c_str());
}
int function_set_doc(PyObject* o, PyObject* v, void*) {
  Py_XSETREF(reinterpret_cast<FunctionObject*>(o)->doc, Py_XNewRef(v));
  return 0;
}
PyObject* function_module(PyObject* o, void*) {
  auto* f = reinterpret_cast<FunctionObject*>(o);
  return f->module ? Py_NewRef(f->module) : PyUnicode_FromString("rushlight");
}
int function_set_module(PyObject* o, PyObject* v, void*) {
  Py_XSETREF(reinterpret_cast<FunctionObject*>(o)->module, Py_XNewRef(v));
  return 0;
}
PyObject* function_repr(PyObject* o) {
  return PyUnicode_FromFormat("<built-in %s %s>", Py_IS_TYPE(o, method_type) ? "method" : "function",
                              set_of(o).name.c_str());
}
PyObject* function_reduce(PyObject* o, PyObject*) {
  if (!Py_IS_TYPE(o, method_type)) return PyUnicode_FromString(set_of(o).name.c_str());
  Py builtins(PyImport_ImportModule("builtins"));
  Py getattr(PyObject_GetAttrString(builtins.get(), "getattr"));
  return Py_BuildValue("O(Os)", getattr.get(), tensor_type, set_of(o).name.c_str());
}
PyMethodDef function_methods[] = {{"__reduce__", function_reduce, METH_NOARGS, nullptr}, {}};
PyGetSetDef function_getset[] = {{"__name__", function_name, nullptr, nullptr, nullptr},
                                 {"__qualname__", function_name, nullptr, nullptr, nullptr},
                                 {"__doc__", function_doc, function_set_doc, nullptr, nullptr},
                                 {"__module__", function_module, function_set_module, nullptr, nullptr},
                                 {}};
PyMemberDef function_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FunctionObject, vectorcall), READONLY, nullptr}, {}};
PyType_Slot function_slots[] = {{Py_tp_call, (void*)PyVectorcall_Call}, {Py_tp_members, function_members},
                                {Py_tp_getset, function_getset},        {Py_tp_methods, function_methods},
                                {Py_tp_repr, (void*)function_repr},     {0, nullptr}};
PyType_Slot method_slots[] = {{Py_tp_call, (void*)PyVectorcall_Call},
                              {Py_tp_members, function_members},
                              {Py_tp_getset, function_getset},
                              {Py_tp_methods, function_methods},
                              {Py_tp_repr, (void*)function_repr},
                              {Py_tp_descr_get, (void*)method_get},
                              {0, nullptr}};
PyType_Spec function_spec = {"rushlight._C.OpFunction", sizeof(FunctionObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL |
                                 Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                             function_slots};
PyType_Spec method_spec = {"rushlight._C.OpMethod", sizeof(FunctionObject), 0,
                           // immutable: the interpreter specialises x.exp() only for descriptors that are
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
                               Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                           method_slots};

PyObject* make_callable(PyTypeObject* type, vectorcallfunc call, const OverloadSet* set) {
  auto* f = PyObject_New(FunctionObject, type);
  f->vectorcall = call;
  f->set = set;
  f->module = f->doc = nullptr;
  return reinterpret_cast<PyObject*>(f);
}

OverloadSet& set_named(const std::string& name, bool in_place) {
  OverloadSet*& s = sets[name];
  if (!s) s = new OverloadSet{name, {}, in_place};
  return *s;
}

// ---- introspection: the op table as Python data, for tests, docs and stubs ----
PyObject* op_table(PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
    Py list(PyList_New(0));
    static const char* families[] = {"pointwise", "reduction", "view", "create", "random", "other"};
    for (auto* op : registry()) {
      Py samples(PyList_New(0)), aliases(PyList_New(0)), names(PyList_New(0));
      for (auto* s : op->spec.samples) PyList_Append(samples.get(), Py(PyUnicode_FromString(s)).get());
      for (auto* s : op->spec.aliases) PyList_Append(aliases.get(), Py(PyUnicode_FromString(s)).get());
      for (auto& s : op->out_names) PyList_Append(names.get(), Py(PyUnicode_FromString(s.c_str())).get());
      Py row(Py_BuildValue("{s:s,s:s,s:s,s:s,s:s,s:s,s:O,s:O,s:O,s:i,s:O,s:O,s:s,s:s}", "name",
                           op->name.c_str(), "overload", op->overload.c_str(), "signature", op->spec.sig,
                           "doc", op->spec.doc, "family", families[op->spec.family], "ref", op->spec.ref,
                           "samples", samples.get(), "aliases", aliases.get(), "differentiable",
                           op->spec.grad ? Py_True : Py_False, "forms", int(op->forms), "composite",
                           op->spec.composite ? Py_True : Py_False, "outputs", names.get(), "modules",
                           op->spec.modules, "grad_name", op->grad_name.c_str()));
      if (!row) throw PythonError();
      PyList_Append(list.get(), row.get());
    }
    return list.release();
  });
}

PyObject* set_override_hooks(PyObject*, PyObject* const* a, Py_ssize_t n) {
  if (n != 2) {
    PyErr_SetString(PyExc_TypeError, "expected (default, disabled)");
    return nullptr;
  }
  Py_XSETREF(default_override, Py_NewRef(a[0]));
  Py_XSETREF(disabled_override, Py_NewRef(a[1]));
  Py_RETURN_NONE;
}
PyObject* swap_overrides_off(PyObject*, PyObject* o) {
  bool before = overrides_off;
  overrides_off = PyObject_IsTrue(o);
  return PyBool_FromLong(before);
}
PyObject* call_overrides(PyObject*, PyObject* const* a, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    if (n < 1) throw type_error("expected a function");
    std::vector<PyObject*> found;
    for (Py_ssize_t i = 1; i < n; ++i) collect(a[i], found);
    return PyBool_FromLong(!found.empty());
  });
}
PyMethodDef functions[] = {
    {"_op_table", op_table, METH_NOARGS, "The op table as a list of dicts."},
    {"_set_override_hooks", (PyCFunction)(void*)set_override_hooks, METH_FASTCALL, nullptr},
    {"_swap_overrides_off", swap_overrides_off, METH_O,
     "Turns __torch_function__ off or on; returns the state before."},
    {"_has_overrides", (PyCFunction)(void*)call_overrides, METH_FASTCALL | METH_KEYWORDS, nullptr},
    {}};

}  // namespace

const OverloadSet* find_overloads(const char* name) {
  auto it = sets.find(std::string_view(name));
  return it == sets.end() ? nullptr : it->second;
}

PyObject* overload_object(const char* name, bool as_method) {
  const OverloadSet* set = find_overloads(name);
  if (!set) return nullptr;
  return as_method ? make_callable(method_type, call_method, set)
                   : make_callable(function_type, call_function, set);
}

void add_ops(PyObject* module) {
  torch_function_name = PyUnicode_InternFromString("__torch_function__");
  function_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&function_spec)));
  method_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&method_spec)));
  PyModule_AddObjectRef(module, "OpFunction", reinterpret_cast<PyObject*>(function_type));
  PyModule_AddObjectRef(module, "OpMethod", reinterpret_cast<PyObject*>(method_type));
  std::map<std::string, Forms> forms;
  auto add = [&](const std::string& name, const Op* op) {
    // x.sum() must try fewer parameters first, so overloads keep the order in which their file defines them
    set_named(name, false).ops.push_back(op);
    forms[name] = forms[name] | op->forms;
    if (op->forms & inplace) {
      set_named(name + "_", true).ops.push_back(op);
      forms[name + "_"] = forms[name + "_"] | function | method;
    }
  };
  for (auto* op : registry()) {
    add(op->name, op);
    for (auto* alias : op->spec.aliases) add(alias, op);
  }
  // Names that the Python package re-exports, by module: "" for rushlight itself, "linalg", "special", ...
  Py exported(PyDict_New());
  auto export_name = [&](const char* where, const char* name) {
    PyObject* list = PyDict_GetItemString(exported.get(), where);
    if (!list) {
      Py fresh(PyList_New(0));
      PyDict_SetItemString(exported.get(), where, fresh.get());
      list = fresh.get();
    }
    PyList_Append(list, Py(PyUnicode_FromString(name)).get());
  };
  for (auto* op : registry()) {
    if (!(op->forms & function)) continue;
    bool core_only = std::string_view(op->spec.modules) == "nn";
    std::vector<std::string> names{op->name};
    for (auto* a : op->spec.aliases) names.push_back(a);
    for (auto& name : names) {
      if (!core_only) export_name("", name.c_str());
      if (op->forms & inplace) export_name("", (name + "_").c_str());
      std::string_view rest = op->spec.modules;
      while (!rest.empty()) {
        auto comma = rest.find(',');
        export_name(std::string(rest.substr(0, comma)).c_str(), name.c_str());
        rest = comma == rest.npos ? "" : rest.substr(comma + 1);
      }
    }
  }
  PyModule_AddObjectRef(module, "_exported", exported.get());
  auto* type = reinterpret_cast<PyObject*>(tensor_type);
  for (auto& [name, set] : sets) {
    Forms f = forms[name];
    Py function(make_callable(function_type, call_function, set));
    PyModule_AddObjectRef(module, name.c_str(), function.get());
    if (f & method) {
      Py m(make_callable(method_type, call_method, set));
      if (PyObject_SetAttrString(type, name.c_str(), m.get()) < 0) throw PythonError();
    }
  }
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight

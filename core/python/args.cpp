// From Python arguments to the values of a call: matching of signatures, and PyTorch's error texts where nothing matches.
#include "python/args.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>

namespace rushlight {

void Bound::reset() {
  ints_used = 0;
  tensors.clear();
  tensors_used = has_out = false;
  long_ints.clear();
  reals.clear();
  more_tensors.clear();
  outs.clear();
  requires_grad = -1;
}

int64_t* Bound::take_ints(size_t n) {
  if (ints_used + n <= 64) {
    int64_t* p = ints + ints_used;
    ints_used += n;
    return p;
  }
  return long_ints.emplace_front(n).data();
}

const char* type_name(PyObject* o) {
  if (is_tensor(o)) return "Tensor";
  if (is_dtype(o)) return "torch.dtype";
  const char* name = Py_TYPE(o)->tp_name;
  if (!strncmp(name, "rushlight.", 10)) {  // device, Size, ...: as PyTorch calls them
    static thread_local std::string text;
    text = "torch." + std::string(name + 10);
    return text.c_str();
  }
  return name;
}

namespace {

// int, bool excluded where torch excludes it; NumPy integers and 0-d integer tensors count.
bool int_value(PyObject* o, int64_t& out) {
  if (PyLong_CheckExact(o)) {
    int overflow;
    out = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow) throw runtime_error("Overflow when unpacking long long");
    return true;
  }
  if (PyFloat_Check(o) || PyUnicode_Check(o) || o == Py_None || PyTuple_Check(o) || PyList_Check(o))
    return false;
  if (PyBool_Check(o)) {
    out = o == Py_True;
    return true;
  }
  if (is_tensor(o)) {
    Tensor t = as_tensor(o);
    if (t.numel() != 1 || t.ndim() != 0 || !is_integral(t.dtype()) || t.is_meta() || t->delegate)
      return false;
    visit_storage(t.dtype(), [&]<class T>() { out = convert<int64_t>(*t.data<T>()); });
    return true;
  }
  if (!PyIndex_Check(o)) return false;
  Py n(PyNumber_Index(o));
  if (!n) {
    PyErr_Clear();
    return false;
  }
  return int_value(n.get(), out);
}

}  // namespace

bool number_value(PyObject* o, Value& v) {
  if (PyFloat_Check(o)) {
    v = Value(PyFloat_AS_DOUBLE(o));
    return true;
  }
  if (PyBool_Check(o)) {
    v = Value(o == Py_True);
    return true;
  }
  if (PyLong_Check(o)) {
    int overflow;
    long long x = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow) {
      double d = PyLong_AsDouble(o);
      if (PyErr_Occurred()) throw PythonError();
      if (overflow > 0 && d < 18446744073709551616.0) {  // uint64 range wraps, as in torch
        v = Value(int64_t(PyLong_AsUnsignedLongLongMask(o)));
        return true;
      }
      throw runtime_error("Overflow when unpacking long long");
    }
    v = Value(int64_t(x));
    return true;
  }
  if (PyComplex_Check(o)) {
    Py_complex z = PyComplex_AsCComplex(o);
    v = Value(c128(z.real, z.imag));
    return true;
  }
  // NumPy scalars other than float64 (a float already) and complex128
  if (Py_TYPE(o)->tp_as_number && !is_tensor(o) && !PyUnicode_Check(o)) {
    static PyObject* generic = nullptr;
    if (!generic) {
      PyObject* np = PyImport_ImportModule("numpy");
      if (!np) {
        PyErr_Clear();
        return false;
      }
      generic = PyObject_GetAttrString(np, "generic");
      Py_DECREF(np);
      if (!generic) {
        PyErr_Clear();
        return false;
      }
    }
    int is_generic = PyObject_IsInstance(o, generic);
    if (is_generic <= 0) {
      PyErr_Clear();
      return false;
    }
    Py item(PyObject_CallMethod(o, "item", nullptr));
    if (!item) {
      PyErr_Clear();
      return false;
    }
    if (Py_TYPE(item.get()) == Py_TYPE(o)) return false;
    return number_value(item.get(), v);
  }
  return false;
}

namespace {

bool read_tensor_number(PyObject* o, Value& v) {
  Tensor t = as_tensor(o);
  if (t.ndim() != 0 || t.is_meta() || t->delegate) return false;
  if (t.needs_grad()) return false;
  Py item(scalar_to_python(t));
  return item && number_value(item.get(), v);
}

bool ints_value(PyObject* o, const Param& p, Bound& b, Value& v) {
  int64_t one;
  if (PyTuple_Check(o) || PyList_Check(o)) {
    Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
    int64_t* out = b.take_ints(n);
    for (Py_ssize_t i = 0; i < n; ++i) {
      PyObject* item = PySequence_Fast_GET_ITEM(o, i);
      if (!int_value(item, out[i])) return false;
    }
    v = Value(IntSpan(out, n));
    return true;
  }
  if (std::string_view(p.name) == "size" && !p.varargs) return false;  // sizes are never a bare int
  if (int_value(o, one)) {
    size_t n = std::max(p.fixed, 1);
    int64_t* out = b.take_ints(n);
    std::fill_n(out, n, one);
    v = Value(IntSpan(out, n));
    return true;
  }
  return false;
}

// One argument against one parameter.
bool accept_any(const Param& p, PyObject* o, Value& v, Bound& b);
inline bool accept(const Param& p, PyObject* o, Value& v, Bound& b) {
  if (Py_IS_TYPE(o, tensor_type) && (p.type == Type::tensor || p.type == Type::operand)) [[likely]] {
    v = Value(reinterpret_cast<const Tensor&>(o));
    return true;
  }
  return accept_any(p, o, v, b);
}
bool accept_any(const Param& p, PyObject* o, Value& v, Bound& b) {
  if (o == Py_None && p.type != Type::object) {
    if (!p.optional) return false;
    v = Value();
    return true;
  }
  switch (p.type) {
    case Type::tensor:
      if (!is_tensor(o)) return false;
      v = Value(reinterpret_cast<const Tensor&>(o));
      return true;
    case Type::operand:
      if (is_tensor(o)) {
        v = Value(reinterpret_cast<const Tensor&>(o));
        return true;
      }
      return number_value(o, v);
    case Type::scalar:
      if (is_tensor(o)) return read_tensor_number(o, v);
      return number_value(o, v);
    case Type::integer: {
      int64_t x;
      if (!int_value(o, x)) return false;
      v = Value(x);
      return true;
    }
    case Type::real: {
      Value n;
      if (is_tensor(o) ? !read_tensor_number(o, n) : !number_value(o, n)) return false;
      if (n.tag == Value::complex) return false;
      v = Value(n.as_double());
      return true;
    }
    case Type::boolean: {
      if (PyBool_Check(o)) {
        v = Value(o == Py_True);
        return true;
      }
      Value n;
      if (PyLong_Check(o) || PyFloat_Check(o) || is_tensor(o) || !number_value(o, n) ||
          n.tag != Value::boolean)
        return false;
      v = n;
      return true;
    }
    case Type::ints: return ints_value(o, p, b, v);
    case Type::reals: {
      std::vector<double> xs;
      Value n;
      if (PyTuple_Check(o) || PyList_Check(o)) {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
          if (!number_value(PySequence_Fast_GET_ITEM(o, i), n)) return false;
          xs.push_back(n.as_double());
        }
      } else if (number_value(o, n)) {
        xs.assign(std::max(p.fixed, 1), n.as_double());
      } else {
        return false;
      }
      v = Value(std::span<const double>(b.reals.emplace_front(std::move(xs))));
      return true;
    }
    case Type::tensor_list: {
      if (!PyTuple_Check(o) && !PyList_Check(o)) return false;
      TensorList& list = b.take_tensors();
      PyTypeObject* known = tensor_type;  // most lists are of one type
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
        PyObject* item = PySequence_Fast_GET_ITEM(o, i);
        if (item == Py_None) list.push_back({});
        else if (Py_IS_TYPE(item, known) || is_tensor(item)) {
          known = Py_TYPE(item);
          list.push_back(as_tensor(item));
        } else {
          throw type_error("expected Tensor as element ", i, " in argument 0, but got ", type_name(item));
        }
      }
      v = Value(list);
      return true;
    }
    case Type::dtype:
      if (!is_dtype(o) && o != (PyObject*)&PyFloat_Type && o != (PyObject*)&PyLong_Type &&
          o != (PyObject*)&PyBool_Type && o != (PyObject*)&PyComplex_Type)
        return false;
      v = Value(to_dtype(o));
      return true;
    case Type::device: {
      Device d = to_device(o);
      if (d.type == Device::cuda) throw Error(ErrorKind::assertion, "Torch not compiled with CUDA enabled");
      v = Value(d);
      return true;
    }
    case Type::text: {
      if (!PyUnicode_Check(o)) return false;
      const char* s = PyUnicode_AsUTF8(o);
      if (!s) throw PythonError();
      v = Value(s);
      return true;
    }
    case Type::generator:
    case Type::object:
      v = Value();
      v.tag = Value::object;
      v.o = o;
      return true;
  }
  return false;
}

// Names that NumPy users write, as in PyTorch.
std::string_view canonical(std::string_view key, const Op& op) {
  if (key == "axis" || key == "axes") return op.position("dim") >= 0 ? "dim" : "dims";
  if (key == "keepdims") return "keepdim";
  if (key == "x" || key == "self" || key == "a") return "input";
  if (key == "x2") return "other";
  return key;
}

// Keywords that factories take whatever their signature says.
bool factory_keyword(const Op& op, std::string_view key, PyObject* o, Bound& b) {
  if (op.spec.family != create) return false;
  if (key == "requires_grad") {
    b.requires_grad = PyObject_IsTrue(o);
    return true;
  }
  if (key == "pin_memory") {
    if (PyObject_IsTrue(o) == 1)
      throw runtime_error("Cannot access accelerator device when none is available.");
    return true;
  }
  if (key == "layout") {
    if (o != Py_None) {
      Py text(PyObject_Repr(o));
      if (text && std::string(PyUnicode_AsUTF8(text.get())) != "torch.strided")
        throw not_implemented("layout ", PyUnicode_AsUTF8(text.get()), " is not implemented");
    }
    return true;
  }
  return false;
}

bool read_out(const Op& op, PyObject* o, Bound& b) {
  if (o == Py_None) return true;
  b.has_out = true;
  if (is_tensor(o)) {
    b.outs.push_back(as_tensor(o));
    return true;
  }
  if (!PyTuple_Check(o) && !PyList_Check(o)) return false;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(o, i);
    if (!is_tensor(item)) return false;
    b.outs.push_back(as_tensor(item));
  }
  return int(b.outs.size()) == op.nouts;
}

}  // namespace

// A list of ints whose element k (from zero) is none.
static std::string bad_element(const Op& op, const Param& p, PyObject* o, Py_ssize_t k) {
  if (k == 0)
    return cat_text(op.name, "(): argument '", p.name, "' (position 1) must be tuple of ints, not ",
                    type_name(o));
  return cat_text(op.name, "(): argument '", p.name, "' failed to unpack the object at pos ", k + 1,
                  " with error \"type must be tuple of ints,but got ", type_name(o), "\"");
}

static std::string missing_arguments(const Op& op, uint32_t absent) {
  std::string names;
  for (size_t i = 0; i < op.params.size(); ++i)
    if (absent >> i & 1) names += (names.empty() ? "\"" : ", \"") + op.params[i].name + "\"";
  return cat_text(op.name, "() missing ", std::popcount(absent), " required positional arguments: ", names);
}

// A factory that was given no device and takes none from a tensor makes its result on the default device.
static void use_default_device(const Op& op, Bound& b) {
  if (op.params[0].type == Type::tensor) return;
  for (size_t i = 0; i < op.params.size(); ++i)
    if (op.params[i].type == Type::device && b.values[i].tag == Value::none)
      b.values[i] = Value(default_device());
}

bool bind(const Op& op, Bound& b, PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames,
          std::string* why) {
  const size_t n = op.params.size();
  size_t next = 0;       // parameter
  Py_ssize_t given = 0;  // positional argument
  uint32_t set = 0;
  auto wrong = [&](size_t i, PyObject* o, int position) {
    if (why) {
      const Param& p = op.params[i];
      if (p.type == Type::ints && (PyTuple_Check(o) || PyList_Check(o))) {
        int64_t ignored;
        for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k)
          if (!int_value(PySequence_Fast_GET_ITEM(o, k), ignored)) {
            *why = bad_element(op, p, PySequence_Fast_GET_ITEM(o, k), k);
            return false;
          }
      }
      *why = cat_text(op.name, "(): argument '", p.name, "'",
                      position >= 0 ? cat_text(" (position ", position + 1, ")") : "", " must be ",
                      p.type_text, ", not ", type_name(o));
    }
    return false;
  };
  if (self) {
    if (!n || !accept(op.params[0], self, b.values[0], b)) {
      if (why) *why = cat_text(op.name, "(): this is not a method of ", type_name(self));
      return false;
    }
    set |= 1;
    next = 1;
  }
  for (; given < nargs; ++given, ++next) {
    if (next >= n || op.params[next].keyword_only) {
      if (why) {
        size_t most = 0;
        for (auto& p : op.params) most += !p.keyword_only;
        if (self && most == 1)
          *why = cat_text("TensorBase.", op.name, "() takes no arguments (", nargs, " given)");
        else
          *why = cat_text(op.name, "() takes ", most - (self ? 1 : 0), " positional argument",
                          most - (self ? 1 : 0) == 1 ? "" : "s", " but ", nargs,
                          nargs == 1 ? " was" : " were", " given");
      }
      return false;
    }
    const Param& p = op.params[next];
    PyObject* o = args[given];
    if (p.varargs && !PyTuple_Check(o) && !PyList_Check(o) && o != Py_None) {
      Py_ssize_t rest = nargs - given;
      int64_t* out = b.take_ints(rest);
      for (Py_ssize_t i = 0; i < rest; ++i)
        if (!int_value(args[given + i], out[i])) {
          if (why) *why = bad_element(op, p, args[given + i], i);
          return false;
        }
      b.values[next] = Value(IntSpan(out, rest));
      set |= 1u << next;
      given = nargs - 1;
      continue;
    }
    if (!accept(p, o, b.values[next], b)) return wrong(next, o, given);
    set |= 1u << next;
  }
  if (kwnames) {
    Py_ssize_t nk = PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t k = 0; k < nk; ++k) {
      PyObject* o = args[nargs + k];
      const char* raw = PyUnicode_AsUTF8(PyTuple_GET_ITEM(kwnames, k));
      if (!raw) throw PythonError();
      std::string_view key = raw;
      if (key == "out" && (op.forms & out_form)) {
        if (!read_out(op, o, b)) {
          if (why) *why = cat_text(op.name, "(): argument 'out' must be Tensor, not ", type_name(o));
          return false;
        }
        continue;
      }
      int i = op.position(key);
      if (i < 0) i = op.position(canonical(key, op));
      if (i < 0) {
        if (factory_keyword(op, key, o, b)) continue;
        if (why) *why = cat_text(op.name, "() got an unexpected keyword argument '", key, "'");
        return false;
      }
      if (set >> i & 1) {
        if (why) *why = cat_text(op.name, "() got multiple values for argument '", key, "'");
        return false;
      }
      if (!accept(op.params[i], o, b.values[i], b)) return wrong(i, o, -1);
      set |= 1u << i;
    }
  }
  if (op.required & ~set) [[unlikely]] {
    if (why) *why = missing_arguments(op, op.required & ~set);
    return false;
  }
  for (size_t i = next; i < n; ++i)
    if (!(set >> i & 1)) b.values[i] = op.defaults[i];
  if (op.spec.family == create && default_device().type != Device::cpu) use_default_device(op, b);
  // an operator of numbers only: pow(2, 3)
  const int operand = op.first_operand;
  if (operand < 0 || b.values[0].tag == Value::tensor) return true;
  for (size_t i = 0; i < n; ++i)
    if (b.values[i].tag == Value::tensor || b.values[i].tag == Value::tensors) return true;
  if (why)
    *why = cat_text(op.name, "(): argument '", op.params[operand].name, "' (position ", operand + 1,
                    ") must be Tensor, not ", nargs ? type_name(args[0]) : "number");
  return false;
}

namespace {

std::string show_default(const Param& p) {
  if (!p.has_default) return "";
  switch (p.fallback.tag) {
    case Value::none: return " = None";
    case Value::boolean: return p.fallback.i ? " = True" : " = False";
    case Value::integer: return cat_text(" = ", p.fallback.i);
    case Value::real: return cat_text(" = ", p.fallback.d);
    case Value::text: return cat_text(" = ", p.fallback.s);
    default: return "";
  }
}

// Functions of which PyTorch still knows a deprecated form, add(input, alpha, other); the texts of their errors tell.
bool has_deprecated_form(const std::string& name) {
  static const char* names[] = {"add",   "sub",   "addbmm", "addcdiv", "addcmul",
                                "addmm", "addmv", "addr",   "baddbmm"};
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

std::string show_signature(const Op& op, bool as_method) {
  std::string text = "(";
  bool star = false;
  for (size_t i = as_method ? 1 : 0; i < op.params.size(); ++i) {
    const Param& p = op.params[i];
    if (p.name[0] == '_') continue;
    if (text.size() > 1) text += ", ";
    if (p.keyword_only && !star) text += "*, ", star = true;
    text += p.type_text + " " + p.name + show_default(p);
  }
  if (!as_method && (op.forms & out_form))
    text += std::string(text.size() > 1 ? ", " : "") + (star ? "" : "*, ") + "Tensor out = None";
  return text + ")";
}

[[noreturn]] void no_match(const OverloadSet& set, PyObject* self, PyObject* const* args, Py_ssize_t nargs,
                           PyObject* kwnames) {
  // Only one overload takes that many arguments: say what is wrong with it.
  size_t given = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0) + (self ? 1 : 0);
  const Op* plausible = set.ops.size() == 1 && !has_deprecated_form(set.name) ? set.ops[0] : nullptr;
  int plausible_count = plausible ? 1 : 0;
  if (!plausible)
    for (auto* op : set.ops) {
      size_t least = 0;
      for (auto& p : op->params) least += !p.has_default && !(p.optional && p.keyword_only);
      if (given >= least && given <= op->params.size()) plausible = op, ++plausible_count;
    }
  if (plausible_count == 1) {
    Bound b;
    std::string why;
    bind(*plausible, b, self, args, nargs, kwnames, &why);
    if (!why.empty()) throw Error(ErrorKind::type, why);
  }
  std::string text = set.name + "() received an invalid combination of arguments - got (";
  Py_ssize_t nk = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t i = 0; i < nargs + nk; ++i) {
    if (i >= nargs) text += std::string(PyUnicode_AsUTF8(PyTuple_GET_ITEM(kwnames, i - nargs))) + "=";
    text += type_name(args[i]);
    if (i + 1 < nargs + nk || !nargs) text += ", ";  // PyTorch leaves the comma after keywords alone
  }
  if (set.ops.size() == 1) throw type_error(text, "), but expected ", show_signature(*set.ops[0], self));
  text += "), but expected one of:";
  for (auto* op : set.ops) text += "\n * " + show_signature(*op, self);
  text += "\n";
  throw Error(ErrorKind::type, text);
}

PyObject* structseq_of(const Op& op) {
  static std::map<const Op*, PyObject*>* types = new std::map<const Op*, PyObject*>;
  PyObject*& type = (*types)[&op];
  if (!type) {
    Py module(checked(PyImport_ImportModule("rushlight.return_types")));
    std::string name = op.name;
    if (*op.spec.modules && !name.starts_with(op.spec.modules))
      name = std::string(op.spec.modules) + "_" + name;
    Py names(PyTuple_New(op.out_names.size()));
    for (size_t i = 0; i < op.out_names.size(); ++i)
      PyTuple_SET_ITEM(names.get(), i, PyUnicode_FromString(op.out_names[i].c_str()));
    type = checked(PyObject_CallMethod(module.get(), "named_result", "sO", name.c_str(), names.get()));
  }
  return type;
}

}  // namespace

PyObject* wrap_outputs(Call& c) {
  const Op& op = c.op;
  if (!op.list_out && c.outs.size() == 1) return to_python(std::move(c.outs[0]));
  PyObject* t = checked(PyTuple_New(c.outs.size()));
  for (size_t i = 0; i < c.outs.size(); ++i)
    PyTuple_SET_ITEM(t, i, c.outs[i] ? to_python(std::move(c.outs[i])) : Py_NewRef(Py_None));
  if (op.out_names.empty()) return t;
  Py tuple(t);
  return checked(PyObject_CallOneArg(structseq_of(op), t));
}

namespace {
void require_grad(Call& c) {
  for (auto& out : c.outs) {
    if (!differentiable(out.dtype()))
      throw runtime_error("Only Tensors of floating point and complex dtype can require gradients");
    out->requires_grad = true;
  }
}
}  // namespace

PyObject* call_op(const OverloadSet& set, PyObject* self, PyObject* const* args, Py_ssize_t nargs,
                  PyObject* kwnames, bool in_place) {
  Bound b;
  for (auto* op : set.ops) {
    if (!bind(*op, b, self, args, nargs, kwnames, nullptr)) {
      b.reset();
      continue;
    }
    Call c(*op, {b.values, op->params.size()});
    if (in_place) {
      if (c.arg(0).tag != Value::tensor)  // add_(2, x): there is nothing to write to
        throw type_error(set.name, "(): argument '", op->params[0].name,
                         "' (position 1) must be Tensor, not ", type_name(args[0]));
      run_inplace(c);
    } else if (b.has_out) run_out(c, {b.outs.data(), b.outs.size()});
    else run(c);
    if (in_place || op->mutates) return Py_NewRef(reinterpret_cast<PyObject*>(b.values[0].t));
    if (b.requires_grad == 1) require_grad(c);
    if (!op->list_out && c.outs.size() == 1) [[likely]]
      return to_python(std::move(c.outs[0]));
    return wrap_outputs(c);
  }
  no_match(set, self, args, nargs, kwnames);
}

PyObject* call_named(const char* name, PyObject* a, PyObject* b) {
  const OverloadSet* set = find_overloads(name);
  if (!set) throw not_implemented("operator ", name, " is not implemented");
  PyObject* args[] = {a, b};
  return call_op(*set, nullptr, args, b ? 2 : 1, nullptr, set->in_place);
}

// ---- conversions shared by the layer ----
int64_t to_int(PyObject* o) {
  int64_t x;
  if (!int_value(o, x)) throw type_error("expected an int, got ", type_name(o));
  return x;
}
Dims to_dims(PyObject* o) {
  int64_t one;
  if (PyTuple_Check(o) || PyList_Check(o)) {
    Dims d;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i)
      d.push_back(to_int(PySequence_Fast_GET_ITEM(o, i)));
    return d;
  }
  if (int_value(o, one)) return Dims{one};
  throw type_error("expected a tuple of ints, got ", type_name(o));
}

}  // namespace rushlight

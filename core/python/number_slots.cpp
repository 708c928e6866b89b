// What Python's operators do with a tensor: arithmetic, comparisons and their in-place forms.
#include <Python.h>

#include <map>
#include <string_view>

#include "python/args.h"
#include "python/tensor_type.h"

namespace rushlight {

namespace {

const Tensor& ref(PyObject*& o) {
  return reinterpret_cast<const Tensor&>(o);
}  // borrowed view of the pointer
bool exact(PyObject* o) { return Py_IS_TYPE(o, tensor_type); }

PyObject* ask_override(const char* name, PyObject* a, PyObject* b);
// Overrides of subclasses come first; exact tensors and plain numbers skip the search.
PyObject* slot_override(const char* name, PyObject* a, PyObject* b) {
  if ((exact(a) || !overrides(a)) && (exact(b) || !overrides(b))) [[likely]]
    return nullptr;
  return ask_override(name, a, b);
}
PyObject* ask_override(const char* name, PyObject* a, PyObject* b) {
  if (!is_tensor(a)) {  // 2 - x asks for Tensor.__rsub__(x, 2)
    static const std::map<std::string_view, const char*> reflected = {{"add", "__radd__"},
                                                                      {"sub", "__rsub__"},
                                                                      {"mul", "__rmul__"},
                                                                      {"div", "__rtruediv__"},
                                                                      {"floor_divide", "__rfloordiv__"},
                                                                      {"remainder", "__rmod__"},
                                                                      {"pow", "__rpow__"},
                                                                      {"matmul", "__rmatmul__"},
                                                                      {"bitwise_left_shift", "__rlshift__"},
                                                                      {"bitwise_right_shift", "__rrshift__"}};
    if (auto it = reflected.find(name); it != reflected.end()) {
      Py slot(checked(PyObject_GetAttrString(reinterpret_cast<PyObject*>(tensor_type), it->second)));
      PyObject* swapped[] = {b, a};
      return try_overrides_of(slot.get(), it->second, swapped, 2);
    }
  }
  PyObject* args[] = {a, b};
  Py method(overload_object(name, true));
  return method ? try_overrides(method.get(), args, 2, nullptr) : nullptr;
}
// One side of an operator: a tensor or a number. Anything else has its own way of dealing with tensors (a NumPy array
// computes, and gives the result to Tensor.__array_wrap__), or Python raises its TypeError.
bool operand(PyObject* o, Value& v) {
  if (is_tensor(o)) {
    v = Value(ref(o));
    return true;
  }
  return number_value(o, v);
}
bool foreign(PyObject* o) {
  Value v;
  return !operand(o, v);
}

// Runs the call of a slot with these operands; finish gives the result from it.
template <class Run, class Finish>
PyObject* slot_call(const Op& op, PyObject* a, PyObject* b, Run&& start, Finish&& finish) {
  constexpr size_t most = 6;  // parameters of an operator that has a number slot
  struct Values {
    union {  // those that the operator has are filled below
      Value v[most];
    };
    Values() {}
  } values;
  size_t n = op.defaults.size();
  if (n > most) throw runtime_error(op.name, ": too many parameters for a number slot");
  if (!operand(a, values.v[0]) || !operand(b, values.v[1])) Py_RETURN_NOTIMPLEMENTED;
  for (size_t i = 2; i < n; ++i) values.v[i] = op.defaults[i];
  Call c(op, {values.v, n});
  start(c);
  return finish(c);
}
PyObject* call_binary(const Op& op, PyObject* a, PyObject* b) {
  return slot_call(op, a, b, run, [](Call& c) { return to_python(std::move(c.outs[0])); });
}
PyObject* call_binary_inplace(const Op& op, PyObject* a, PyObject* b) {
  return slot_call(op, a, b, run_inplace, [a](Call&) { return Py_NewRef(a); });
}

template <const char* name> const Op& op_named() {
  static const Op& op = find_op(name);
  return op;
}
// The overloads of that name, looked up once, called with a, or with a and b.
template <const char* name> PyObject* call_set(PyObject* a, PyObject* b) {
  static const OverloadSet* set = find_overloads(name);
  if (!set) throw not_implemented("operator ", name, " is not implemented");
  PyObject* args[] = {a, b};
  return call_op(*set, nullptr, args, b ? 2 : 1, nullptr, set->in_place);
}
#define RL_NAME(x) constexpr char n_##x[] = #x
RL_NAME(add);
RL_NAME(sub);
RL_NAME(mul);
RL_NAME(div);
RL_NAME(eq);
RL_NAME(ne);
RL_NAME(lt);
RL_NAME(le);
RL_NAME(gt);
RL_NAME(ge);
RL_NAME(pow);
RL_NAME(floor_divide);
RL_NAME(remainder);
RL_NAME(bitwise_and);
RL_NAME(bitwise_or);
RL_NAME(bitwise_xor);
RL_NAME(bitwise_left_shift);
RL_NAME(bitwise_right_shift);
RL_NAME(rsub);
RL_NAME(reciprocal);
RL_NAME(matmul);
RL_NAME(neg);
RL_NAME(abs);
RL_NAME(bitwise_not);
RL_NAME(pow_);
RL_NAME(floor_divide_);
RL_NAME(remainder_);
RL_NAME(bitwise_and_);
RL_NAME(bitwise_or_);
RL_NAME(bitwise_xor_);
RL_NAME(bitwise_left_shift_);
RL_NAME(bitwise_right_shift_);

template <const char* name> PyObject* commutative(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (PyObject* r = slot_override(name, a, b)) return r;
    if (is_tensor(a)) return call_binary(op_named<name>(), a, b);
    if (foreign(a)) Py_RETURN_NOTIMPLEMENTED;
    return call_binary(op_named<name>(), b, a);
  });
}
PyObject* nb_subtract(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (PyObject* r = slot_override("sub", a, b)) return r;
    if (is_tensor(a)) return call_binary(op_named<n_sub>(), a, b);
    if (foreign(a)) Py_RETURN_NOTIMPLEMENTED;
    return call_set<n_rsub>(b, a);
  });
}
PyObject* nb_divide(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (PyObject* r = slot_override("div", a, b)) return r;
    if (is_tensor(a)) return call_binary(op_named<n_div>(), a, b);
    if (foreign(a) && !is_array(a)) Py_RETURN_NOTIMPLEMENTED;
    Py inverse(call_set<n_reciprocal>(b, nullptr));  // as in torch: 2 / x is reciprocal(x) * 2
    return PyNumber_Multiply(inverse.get(), a);
  });
}
// Operators whose first operand may be a number: the overload set sorts it out.
template <const char* name> PyObject* either_way(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (PyObject* r = slot_override(name, a, b)) return r;
    if (foreign(a) || foreign(b)) Py_RETURN_NOTIMPLEMENTED;
    return call_set<name>(a, b);
  });
}
PyObject* nb_power(PyObject* a, PyObject* b, PyObject* mod) {
  if (mod != Py_None) {
    PyErr_SetString(PyExc_TypeError, "pow() with a modulus is not supported for tensors");
    return nullptr;
  }
  return either_way<n_pow>(a, b);
}
PyObject* nb_floor_divide(PyObject* a, PyObject* b) {
  if (is_tensor(a)) return either_way<n_floor_divide>(a, b);
  return guarded([&]() -> PyObject* {
    if (foreign(a)) Py_RETURN_NOTIMPLEMENTED;
    Tensor number = tensor_from_data(a, Dtype::none, {});
    number->wrapped_number = true;
    Py left(to_python(number));
    return call_set<n_floor_divide>(left.get(), b);
  });
}
PyObject* nb_remainder(PyObject* a, PyObject* b) { return either_way<n_remainder>(a, b); }
PyObject* nb_and(PyObject* a, PyObject* b) {
  return is_tensor(a) ? either_way<n_bitwise_and>(a, b) : either_way<n_bitwise_and>(b, a);
}
PyObject* nb_or(PyObject* a, PyObject* b) {
  return is_tensor(a) ? either_way<n_bitwise_or>(a, b) : either_way<n_bitwise_or>(b, a);
}
PyObject* nb_xor(PyObject* a, PyObject* b) {
  return is_tensor(a) ? either_way<n_bitwise_xor>(a, b) : either_way<n_bitwise_xor>(b, a);
}
PyObject* nb_lshift(PyObject* a, PyObject* b) { return either_way<n_bitwise_left_shift>(a, b); }
PyObject* nb_rshift(PyObject* a, PyObject* b) { return either_way<n_bitwise_right_shift>(a, b); }
PyObject* nb_matmul(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (PyObject* r = slot_override("matmul", a, b)) return r;
    if (!is_tensor(a) || !is_tensor(b)) Py_RETURN_NOTIMPLEMENTED;
    return call_set<n_matmul>(a, b);
  });
}
template <const char* name> PyObject* inplace_slot(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    static const std::string method = std::string(name) + "_";
    if (PyObject* r = slot_override(method.c_str(), a, b)) return r;
    if (!is_tensor(a)) Py_RETURN_NOTIMPLEMENTED;
    return call_binary_inplace(op_named<name>(), a, b);
  });
}
template <const char* name> PyObject* inplace_named(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (PyObject* r = slot_override(name, a, b)) return r;
    if (!is_tensor(a) || foreign(b)) Py_RETURN_NOTIMPLEMENTED;
    return call_set<name>(a, b);
  });
}
PyObject* nb_ipow(PyObject* a, PyObject* b, PyObject*) { return inplace_named<n_pow_>(a, b); }

template <const char* name> PyObject* unary(PyObject* a) {
  return guarded([&]() -> PyObject* {
    PyObject* args[] = {a};
    if (!exact(a) && overrides(a)) {
      Py method(overload_object(name, true));
      if (PyObject* r = try_overrides(method.get(), args, 1, nullptr)) return r;
    }
    return call_set<name>(a, nullptr);
  });
}
PyObject* nb_negative(PyObject* a) { return unary<n_neg>(a); }
PyObject* nb_positive(PyObject* a) {
  return guarded([&]() -> PyObject* {
    if (ref(a).dtype() == Dtype::boolean)
      throw runtime_error("The `+` operator, on a bool tensor is not supported.");
    return Py_NewRef(a);
  });
}
PyObject* nb_absolute(PyObject* a) { return unary<n_abs>(a); }
PyObject* nb_invert(PyObject* a) {
  if (differentiable(ref(a).dtype())) {
    PyErr_SetString(PyExc_TypeError,
                    "~ (operator.invert) is only implemented on integer and Boolean-type tensors");
    return nullptr;
  }
  return unary<n_bitwise_not>(a);
}

// Comparisons take arrays, too (Python would compare identities where both sides decline).
PyObject* richcompare(PyObject* a, PyObject* b, int op) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"lt", "le", "eq", "ne", "gt", "ge"};
    if (PyObject* r = slot_override(names[op], a, b)) return r;
    static const Op* const ops[] = {&op_named<n_lt>(), &op_named<n_le>(), &op_named<n_eq>(),
                                    &op_named<n_ne>(), &op_named<n_gt>(), &op_named<n_ge>()};
    if (!foreign(b) || !is_array(b)) return call_binary(*ops[op], a, b);
    Py right(to_python(from_array(b, true)));
    return call_binary(*ops[op], a, right.get());
  });
}

const PyType_Slot slots[] = {
    {Py_tp_richcompare, (void*)richcompare},
    {Py_nb_add, (void*)commutative<n_add>},
    {Py_nb_subtract, (void*)nb_subtract},
    {Py_nb_multiply, (void*)commutative<n_mul>},
    {Py_nb_true_divide, (void*)nb_divide},
    {Py_nb_floor_divide, (void*)nb_floor_divide},
    {Py_nb_remainder, (void*)nb_remainder},
    {Py_nb_power, (void*)nb_power},
    {Py_nb_matrix_multiply, (void*)nb_matmul},
    {Py_nb_and, (void*)nb_and},
    {Py_nb_or, (void*)nb_or},
    {Py_nb_xor, (void*)nb_xor},
    {Py_nb_lshift, (void*)nb_lshift},
    {Py_nb_rshift, (void*)nb_rshift},
    {Py_nb_inplace_add, (void*)inplace_slot<n_add>},
    {Py_nb_inplace_subtract, (void*)inplace_slot<n_sub>},
    {Py_nb_inplace_multiply, (void*)inplace_slot<n_mul>},
    {Py_nb_inplace_true_divide, (void*)inplace_slot<n_div>},
    {Py_nb_inplace_floor_divide, (void*)inplace_named<n_floor_divide_>},
    {Py_nb_inplace_remainder, (void*)inplace_named<n_remainder_>},
    {Py_nb_inplace_power, (void*)nb_ipow},
    {Py_nb_inplace_and, (void*)inplace_named<n_bitwise_and_>},
    {Py_nb_inplace_or, (void*)inplace_named<n_bitwise_or_>},
    {Py_nb_inplace_xor, (void*)inplace_named<n_bitwise_xor_>},
    {Py_nb_inplace_lshift, (void*)inplace_named<n_bitwise_left_shift_>},
    {Py_nb_inplace_rshift, (void*)inplace_named<n_bitwise_right_shift_>},
    {Py_nb_negative, (void*)nb_negative},
    {Py_nb_positive, (void*)nb_positive},
    {Py_nb_absolute, (void*)nb_absolute},
    {Py_nb_invert, (void*)nb_invert},
};

}  // namespace

std::span<const PyType_Slot> number_slots() { return slots; }

}  // namespace rushlight

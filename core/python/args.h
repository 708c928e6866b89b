// Binding of Python arguments to the parameters of an op, and the callable objects that stand for op names.
#pragma once
#include <forward_list>
#include <string>
#include <utility>
#include <vector>

#include "python/python.h"

namespace rushlight {

struct OverloadSet {
  std::string name;
  std::vector<const Op*> ops;
  bool in_place = false;  // add_: writes the first argument of a pointwise op
};

// Values of one call and whatever they point to.
struct Bound {
  static constexpr size_t max_params = 24;
  union {  // bind fills those that the signature has
    Value values[max_params];
  };
  int64_t ints[64];
  size_t ints_used = 0;
  TensorList tensors;
  bool tensors_used = false;
  // What does not fit above; few calls need it. Lists, because the values point into them.
  std::forward_list<std::vector<int64_t>> long_ints;
  std::forward_list<std::vector<double>> reals;
  std::forward_list<TensorList> more_tensors;
  TensorList outs;  // out=
  bool has_out = false;
  int requires_grad = -1;

  Bound() {}
  void reset();  // forgets everything, for the next overload
  int64_t* take_ints(size_t n);
  TensorList& take_tensors() {
    return std::exchange(tensors_used, true) ? more_tensors.emplace_front() : tensors;
  }
};

// True when the arguments fit op's signature; fills b. With `why` set, says in it what did not fit. Throws only for
// errors that no other overload could accept.
bool bind(const Op& op, Bound& b, PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames,
          std::string* why);

// Calls the operator of that name (rsub, copy_) with a, or with a and b.
PyObject* call_named(const char* name, PyObject* a, PyObject* b);

// ---- __torch_function__ ----
// True when o's type overrides it (exact tensors, Parameters and plain numbers answer in a few nanoseconds).
bool overrides(PyObject* o);
// The result of the override protocol among args, or null without an error when nobody overrides.
PyObject* try_overrides(PyObject* func, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames);
// The same for anything that is not an op: `name` appears in the error text.
PyObject* try_overrides_of(PyObject* func, const char* name, PyObject* const* args, Py_ssize_t nargs);
PyObject* overload_object(const char* name, bool as_method);

}  // namespace rushlight

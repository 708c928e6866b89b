// Shared declarations of the binding layer: conversions between Python objects and core values, and the error bridge.
#pragma once
#include "op/op.h"

namespace rushlight {

// ---- errors: run a body, turn C++ exceptions into Python ones ----
void set_python_error();  // inside a catch block: translates the current exception
template <class F> PyObject* guarded(F&& body) noexcept {
  try {
    return body();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}
template <class F> int guarded_int(F&& body) noexcept {
  try {
    return body();
  } catch (...) {
    set_python_error();
    return -1;
  }
}
inline PyObject* checked(PyObject* o) {
  if (!o) throw PythonError();
  return o;
}

// Owned reference
class Py {
 public:
  Py() = default;
  explicit Py(PyObject* owned) : p_(owned) {}
  static Py share(PyObject* o) {
    Py_XINCREF(o);
    return Py(o);
  }
  Py(const Py& o) : p_(o.p_) { Py_XINCREF(p_); }
  Py(Py&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Py& operator=(Py o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Py() { Py_XDECREF(p_); }
  PyObject* get() const { return p_; }
  PyObject* release() { return std::exchange(p_, nullptr); }
  explicit operator bool() const { return p_; }

 private:
  PyObject* p_ = nullptr;
};

// ---- to Python ----
inline PyObject* to_python(Tensor t) { return reinterpret_cast<PyObject*>(t.release()); }
PyObject* to_python(Dtype d);                 // rushlight.float32 (new reference)
PyObject* to_python(Device d);                // rushlight.device
PyObject* size_object(IntSpan sizes);         // rushlight.Size
PyObject* tuple_of(IntSpan v);                // plain tuple
PyObject* scalar_to_python(const Tensor& t);  // .item()

// ---- from Python (throw Error or PythonError) ----
bool is_dtype(PyObject* o);
Dtype to_dtype(PyObject* o);
Device to_device(PyObject* o);  // device, "cuda:1", int
Device default_device();        // where Python's factories make tensors: set_default_device, `with device`
Dims to_dims(PyObject* o);      // int, sequence of ints, Size
int64_t to_int(PyObject* o);    // int, NumPy integer, 0-d integer tensor; TypeError otherwise
const char* type_name(PyObject* o);  // what messages call the type of an argument: Tensor, int, torch.Size
bool number_value(PyObject* o,
                  Value& v);  // bool, int, float, complex, NumPy scalar -> v; false if it is none of these

// ---- calling an op from Python ----
struct OverloadSet;  // all ops of one name, in order of definition
PyObject* call_op(const OverloadSet& set, PyObject* self, PyObject* const* args, Py_ssize_t nargs,
                  PyObject* kwnames, bool in_place);
const OverloadSet* find_overloads(const char* name);
PyObject* wrap_outputs(Call& c);  // one tensor, a named tuple, or a tuple/list

// each file of the layer adds its names to the module
void add_types(PyObject* module);  // dtype.cpp: dtype, device, layout, memory_format, Size, finfo/iinfo data
void add_tensor_type(PyObject* module);   // tensor_type.cpp
void add_storage_type(PyObject* module);  // storage.cpp: UntypedStorage, from_numpy, DLPack
void add_ops(PyObject* module);           // args.cpp: functions and methods from the op table
void add_autograd(PyObject* module);      // autograd.cpp
void add_random(PyObject* module);        // random.cpp: Generator
void add_attributes(PyObject* module);    // attributes.cpp: lookup of nn.Module
void add_data(PyObject* module);          // data.cpp: tensor([...]), tolist, item
void add_delegates(PyObject* module);     // delegate.cpp: tensors that Python carries out
// Makes print(type(x)) say <class 'torch.Tensor'>, as PyTorch does; the type's own __module__ stays as it is.
void print_as_torch(PyTypeObject* type);
extern PyObject* size_type;  // rushlight.Size

}  // namespace rushlight

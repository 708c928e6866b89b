// Tensor: a strong reference to the Python object that is the tensor (architecture: a tensor is a CPython object all the
// way down). Layout, storage and autograd fields live in the object itself. Kernels read tensors but never copy handles.
#pragma once
#include <Python.h>

#include <cstring>
#include <utility>

#include "tensor/dims.h"
#include "tensor/dtype.h"
#include "tensor/error.h"
#include "tensor/storage.h"

namespace rushlight {

struct Node;
struct TensorExtra;  // rare autograd state (hooks, retain_grad, view geometry): autograd/node.h

constexpr int inline_ndim = 5;
constexpr int max_ndim = 64;  // as in PyTorch

// Note [Delegates]
// A sparse or quantised tensor has sizes, dtype and history like any other, but no storage that a kernel could read. Its
// delegate, a Python object, holds the tensors it is made of and carries out the operators: dispatch hands over every
// call that has such a tensor among its arguments (python/delegate.cpp), before a rule or a kernel sees it.

struct TensorObject {
  PyObject_HEAD PyObject* dict;
  PyObject* weakrefs;
  Storage* storage;  // owned; null on the meta device and where there is a delegate
  int64_t offset;    // in elements, from the storage's first byte
  int64_t numel;
  int64_t* dims;  // ndim sizes, then ndim strides (in elements)
  int64_t inline_dims[2 * inline_ndim];
  // Eight bytes that kind() compares at once
  uint8_t ndim;
  Dtype dtype;
  Device device;
  bool contiguous;
  bool wrapped_number;  // a Python number on its way through an op: lowest priority in promotion
  bool conj;            // reserved: conjugation is materialised
  bool unused;
  bool requires_grad;          // set by the user on a leaf; non-leaves have grad_fn
  bool inference;              // made in inference mode
  bool non_leaf_view_no_grad;  // a view made in no_grad mode (in-place writes on it are refused in grad mode)
  bool multi_view;             // an output of unbind/split/chunk
  uint8_t is_view;             // base is set, or would be if anything were differentiable
  bool retains_grad;
  uint32_t output_nr;     // which output of grad_fn
  uint32_t view_version;  // storage version when grad_fn was last derived from the base
  Node* grad_fn;          // owned
  Node* accumulator;      // borrowed: the AccumulateGrad node of this leaf while one is alive
  TensorObject* grad;     // owned
  TensorObject* base;     // owned: the root of a differentiable view chain
  TensorExtra* extra;     // owned
  PyObject* delegate;     // owned; null for ordinary tensors: Note [Delegates]

  // Number of dimensions, dtype, device, contiguity: equal where all of these are.
  uint64_t kind() const {
    uint64_t word;
    std::memcpy(&word, &ndim, sizeof word);
    return word;
  }
};
static_assert(offsetof(TensorObject, requires_grad) - offsetof(TensorObject, ndim) == sizeof(uint64_t));

extern PyTypeObject* tensor_type;  // rushlight.Tensor

class Tensor {
 public:
  Tensor() = default;
  static Tensor steal(TensorObject* p) {
    Tensor t;
    t.p_ = p;
    return t;
  }
  static Tensor share(TensorObject* p) {
    Py_XINCREF(p);
    return steal(p);
  }
  Tensor(const Tensor& o) : p_(o.p_) { Py_XINCREF(p_); }
  Tensor(Tensor&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Tensor& operator=(Tensor o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Tensor() { Py_XDECREF(p_); }

  TensorObject* get() const { return p_; }
  TensorObject* operator->() const { return p_; }
  TensorObject* release() { return std::exchange(p_, nullptr); }
  explicit operator bool() const { return p_; }
  bool is(const Tensor& o) const { return p_ == o.p_; }

  int64_t ndim() const { return p_->ndim; }
  IntSpan sizes() const { return {p_->dims, p_->ndim}; }
  IntSpan strides() const { return {p_->dims + p_->ndim, p_->ndim}; }
  int64_t size(int64_t d) const { return p_->dims[d < 0 ? d + p_->ndim : d]; }  // d must be in range
  int64_t stride(int64_t d) const { return p_->dims[p_->ndim + (d < 0 ? d + p_->ndim : d)]; }
  int64_t numel() const { return p_->numel; }
  int64_t offset() const { return p_->offset; }
  Dtype dtype() const { return p_->dtype; }
  Device device() const { return p_->device; }
  size_t itemsize() const { return rushlight::itemsize(p_->dtype); }
  size_t nbytes() const { return p_->numel * itemsize(); }
  bool contiguous() const { return p_->contiguous; }
  bool is_meta() const { return p_->device.type == Device::meta; }
  char* raw() const { return p_->storage ? p_->storage->data + p_->offset * itemsize() : nullptr; }
  template <class T> T* data() const { return reinterpret_cast<T*>(raw()); }
  uint32_t version() const { return p_->storage ? p_->storage->version : 0; }
  void bump_version() const {
    if (p_->storage) ++p_->storage->version;
  }

  // "requires_grad" as Python sees it; a view follows its base, which may have got a history after the view was made
  bool needs_grad() const {
    return p_->requires_grad || p_->grad_fn ||
           (p_->base && (p_->base->requires_grad || p_->base->grad_fn) && differentiable(p_->dtype));
  }

 private:
  TensorObject* p_ = nullptr;
};
static_assert(sizeof(Tensor) == sizeof(TensorObject*));

// ---- making tensors (no autograd) ----
Tensor empty(IntSpan sizes, Dtype dtype, Device device = {});
Tensor empty_strided(IntSpan sizes, IntSpan strides, Dtype dtype, Device device = {});
Tensor empty_like(const Tensor& t);  // same sizes, dtype, device; keeps dense strides
Tensor empty_like(const Tensor& t, Dtype dtype);
Tensor contiguous_like(const Tensor& t, Dtype dtype);  // same sizes and device
Tensor full(IntSpan sizes, Dtype dtype, double value);
Tensor scalar_tensor(double value, Dtype dtype);  // 0-d
Tensor scalar_tensor(int64_t value, Dtype dtype);
// A tensor on existing storage; no view bookkeeping.
Tensor on_storage(StorageRef storage, Dtype dtype, IntSpan sizes, IntSpan strides, int64_t offset);
// A view of t (same storage), no autograd, no base: what view rules return. dtype as t.
Tensor alias(const Tensor& t, IntSpan sizes, IntSpan strides, int64_t offset);
inline Tensor alias(const Tensor& t) { return alias(t, t.sizes(), t.strides(), t.offset()); }
// Changes the geometry of an existing object in place (resize_, t_, set_ ...).
void set_layout(const Tensor& t, IntSpan sizes, IntSpan strides, int64_t offset);
void set_storage(const Tensor& t, StorageRef storage);
// First and one-past-last byte that a tensor can touch.
std::pair<char*, char*> memory_range(const Tensor& t);
enum class Overlap { none, full, partial };
Overlap overlap(const Tensor& a, const Tensor& b);

TensorObject* new_tensor_object();                    // zeroed fields, base type; from the free list
TensorObject* new_tensor_object(PyTypeObject* type);  // of a subclass
void drop_recycled_tensors();                         // Note [Recycled tensors] in tensor.cpp
inline Tensor as_tensor(PyObject* o) { return Tensor::share(reinterpret_cast<TensorObject*>(o)); }
inline bool is_tensor(PyObject* o) {
  return Py_IS_TYPE(o, tensor_type) || PyType_IsSubtype(Py_TYPE(o), tensor_type);
}

}  // namespace rushlight

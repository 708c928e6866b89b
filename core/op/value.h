// Value: one argument of a call. Borrows what it points to; the caller keeps it alive for the duration of the call.
#pragma once
#include <complex>

#include "tensor/tensor.h"

namespace rushlight {

using c128 = std::complex<double>;
class TensorList;

struct Value {
  enum Tag : uint8_t {
    none,
    tensor,
    boolean,
    integer,
    real,
    complex,
    ints,
    reals,
    tensors,
    dtype,
    device,
    text,
    object
  };
  Tag tag = none;
  uint32_t count = 0;  // of ints, reals, tensors
  union {
    TensorObject* t;
    int64_t i;
    double d;
    double z[2];
    const int64_t* int_list;
    const double* real_list;
    TensorObject* const* tensor_list;  // entries may be null (indices)
    const char* s;
    Dtype dt;
    Device dev;
    PyObject* o;
  };
  Value() : i(0) {}
  Value(std::nullptr_t) : Value() {}
  Value(const Tensor& x) : Value() {
    if (x) {
      tag = tensor;
      t = x.get();
    }
  }
  Value(bool x) : Value() {
    tag = boolean;
    i = x;
  }
  Value(int x) : Value(int64_t(x)) {}
  Value(int64_t x) : Value() {
    tag = integer;
    i = x;
  }
  Value(double x) : Value() {
    tag = real;
    d = x;
  }
  Value(c128 x) : Value() {
    tag = complex;
    z[0] = x.real();
    z[1] = x.imag();
  }
  Value(Dtype x) : Value() {
    if (x != Dtype::none) {
      tag = dtype;
      dt = x;
    }
  }
  Value(Device x) : Value() {
    tag = device;
    dev = x;
  }
  Value(const char* x) : Value() {
    tag = text;
    s = x;
  }
  Value(IntSpan x) : Value() {
    tag = ints;
    int_list = x.data();
    count = x.size();
  }
  Value(const Dims& x) : Value(IntSpan(x)) {}
  Value(std::span<const double> x) : Value() {
    tag = reals;
    real_list = x.data();
    count = x.size();
  }
  Value(const TensorList& x);
  template <class T> Value(T*) = delete;  // no accidental pointer -> bool

  bool is_number() const { return tag >= boolean && tag <= complex; }
  explicit operator bool() const { return tag != none; }
  const Tensor& as_tensor() const {
    return reinterpret_cast<const Tensor&>(t);
  }  // Tensor is exactly this pointer
  IntSpan as_ints() const { return {int_list, count}; }
  std::span<const Tensor> as_tensors() const { return {reinterpret_cast<const Tensor*>(tensor_list), count}; }
  double as_double() const { return tag == real ? d : tag == complex ? z[0] : double(i); }
  int64_t as_int() const { return tag == real ? int64_t(d) : tag == complex ? int64_t(z[0]) : i; }
  c128 as_complex() const { return tag == complex ? c128(z[0], z[1]) : c128(as_double(), 0); }
};

// A list of tensors with inline room for four: outputs of a call, gradients of a node. Entries may be empty handles.
class TensorList {
 public:
  TensorList() = default;
  TensorList(std::initializer_list<Tensor> v) {
    for (auto& t : v) push_back(t);
  }
  explicit TensorList(size_t n) { resize(n); }
  TensorList(TensorList&& o) noexcept { *this = std::move(o); }
  TensorList(const TensorList& o) {
    for (auto& t : o) push_back(t);
  }
  TensorList& operator=(TensorList&& o) noexcept;
  TensorList& operator=(const TensorList& o) {
    if (this != &o) {
      clear();
      for (auto& t : o) push_back(t);
    }
    return *this;
  }
  ~TensorList() {
    clear();
    if (heap_) ::operator delete(heap_);
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  Tensor* data() { return heap_ ? heap_ : inline_data(); }
  const Tensor* data() const { return heap_ ? heap_ : const_cast<TensorList*>(this)->inline_data(); }
  Tensor& operator[](size_t i) { return data()[i]; }
  const Tensor& operator[](size_t i) const { return data()[i]; }
  Tensor* begin() { return data(); }
  Tensor* end() { return data() + size_; }
  const Tensor* begin() const { return data(); }
  const Tensor* end() const { return data() + size_; }
  void push_back(Tensor t) {
    reserve(size_ + 1);
    new (data() + size_++) Tensor(std::move(t));
  }
  void resize(size_t n) {
    reserve(n);
    while (size_ < n) new (data() + size_++) Tensor();
    while (size_ > n) data()[--size_].~Tensor();
  }
  void clear() {
    while (size_) data()[--size_].~Tensor();
  }
  void reserve(size_t n) {
    if (n > capacity_) [[unlikely]]
      grow(n);
  }

 private:
  void grow(size_t n);
  Tensor* inline_data() { return reinterpret_cast<Tensor*>(inline_); }
  Tensor* heap_ = nullptr;
  uint32_t size_ = 0, capacity_ = 4;
  alignas(Tensor) char inline_[4 * sizeof(Tensor)];
};
inline Value::Value(const TensorList& x) : Value() {
  tag = tensors;
  tensor_list = reinterpret_cast<TensorObject* const*>(x.data());
  count = x.size();
}

}  // namespace rushlight

// The tensor object: creation from the free list, destruction, layout changes, aliases.
#include "tensor/tensor.h"

#include <cstring>

#include "autograd/node.h"

namespace rushlight {

PyTypeObject* tensor_type = nullptr;

// Note [Data aliases]
// x.data shares x's bytes but not its version counter. It gets a Storage of its own whose `parent` is x's storage: the
// bytes belong to the parent, the counter to the alias. Views of x.data share the alias and so its counter.

namespace {
constexpr size_t fields_offset = offsetof(TensorObject, dict);
// Objects of exactly rushlight.Tensor are recycled: one allocation less per operation.
constexpr int free_limit = 512;
TensorObject* free_objects[free_limit];
int free_count = 0;
}  // namespace

TensorObject* new_tensor_object() {
  TensorObject* t;
  if (free_count) {
    t = free_objects[--free_count];
    PyObject_Init(reinterpret_cast<PyObject*>(t), tensor_type);
  } else {
    t = PyObject_GC_New(TensorObject, tensor_type);
    if (!t) throw PythonError();
  }
  std::memset(reinterpret_cast<char*>(t) + fields_offset, 0, sizeof(TensorObject) - fields_offset);
  t->dims = t->inline_dims;
  return t;
}

TensorObject* new_tensor_object(PyTypeObject* type) {
  if (type == tensor_type) return new_tensor_object();
  auto* t = reinterpret_cast<TensorObject*>(type->tp_alloc(type, 0));  // zeroed, tracked by the collector
  if (!t) throw PythonError();
  t->dims = t->inline_dims;
  t->dtype = Dtype::f32;
  return t;
}

void tensor_dealloc(PyObject* self) {
  auto* t = reinterpret_cast<TensorObject*>(self);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (t->weakrefs) PyObject_ClearWeakRefs(self);
  Py_CLEAR(t->dict);
  release_autograd(t);
  Py_CLEAR(t->delegate);
  if (t->storage && --t->storage->refs == 0) Storage::destroy(t->storage);
  t->storage = nullptr;
  if (t->dims != t->inline_dims) {
    delete[] t->dims;
    t->dims = t->inline_dims;
  }
  if (type == tensor_type && free_count < free_limit) free_objects[free_count++] = t;
  else type->tp_free(self);
  Py_DECREF(type);
}

namespace {
void fill_layout(TensorObject* t, IntSpan sizes, IntSpan strides, int64_t offset, int64_t numel) {
  size_t n = sizes.size();
  if (n > max_ndim) throw runtime_error("tensors have at most ", max_ndim, " dimensions, got ", n);
  if (n > inline_ndim && n > t->ndim) {
    auto* dims = new int64_t[2 * n];
    if (t->dims != t->inline_dims) delete[] t->dims;
    t->dims = dims;
  }
  // sizes and strides may be the object's own: copy through locals when the number of dimensions changes
  int64_t keep[2 * max_ndim];
  for (size_t i = 0; i < n; ++i) keep[i] = sizes[i], keep[n + i] = strides[i];
  std::memcpy(t->dims, keep, 2 * n * sizeof(int64_t));
  t->ndim = n;
  t->offset = offset;
  t->numel = numel;
  t->contiguous = is_contiguous({t->dims, n}, {t->dims + n, n});
}

[[noreturn]] void throw_too_large(IntSpan sizes, IntSpan strides) {
  throw runtime_error("Storage size calculation overflowed with sizes=", show(sizes),
                      " and strides=", show(strides));
}

Tensor make(IntSpan sizes, IntSpan strides, int64_t numel, int64_t span, Dtype dtype, Device device) {
  check_storable(dtype);
  int64_t bytes;
  if (__builtin_mul_overflow(span, int64_t(itemsize(dtype)), &bytes)) throw_too_large(sizes, strides);
  Tensor t = Tensor::steal(new_tensor_object());
  t->dtype = dtype;
  t->device = device;
  if (device.type == Device::cpu) t->device.index = -1;  // "cpu:0" is the CPU
  fill_layout(t.get(), sizes, strides, 0, numel);
  if (device.type != Device::meta) t->storage = Storage::create(bytes, device);
  return t;
}

// The same for a few sizes (whose product is numel) in row-major order, which needs no checks.
Tensor make_contiguous(IntSpan sizes, int64_t numel, Dtype dtype, Device device) {
  if (is_quantized(dtype)) [[unlikely]]
    check_storable(dtype);
  int64_t bytes;
  if (__builtin_mul_overflow(numel, int64_t(itemsize(dtype)), &bytes))
    throw_too_large(sizes, contiguous_strides(sizes));
  Tensor t = Tensor::steal(new_tensor_object());
  t->dtype = dtype;
  t->device = device;
  if (device.type == Device::cpu) t->device.index = -1;  // "cpu:0" is the CPU
  int n = sizes.size();
  t->ndim = n;
  t->numel = numel;
  t->contiguous = true;
  int64_t step = 1;
  for (int d = n; d-- > 0;) {
    t->dims[d] = sizes[d];
    t->dims[n + d] = step;
    if (__builtin_mul_overflow(step, std::max<int64_t>(sizes[d], 1), &step))
      throw runtime_error("Stride calculation overflowed");
  }
  if (device.type != Device::meta) t->storage = Storage::create(bytes, device);
  return t;
}
}  // namespace

Tensor empty(IntSpan sizes, Dtype dtype, Device device) {
  if (sizes.size() > inline_ndim) {
    int64_t n = count(sizes);
    return make(sizes, contiguous_strides(sizes), n, n, dtype, device);
  }
  return make_contiguous(sizes, count(sizes), dtype, device);
}

Tensor empty_strided(IntSpan sizes, IntSpan strides, Dtype dtype, Device device) {
  int64_t n = count(sizes), span = n ? 1 : 0;
  for (size_t d = 0; n && d < sizes.size(); ++d) {
    int64_t reach;
    if (strides[d] < 0) throw runtime_error("negative strides are not supported, got ", show(strides));
    if (__builtin_mul_overflow(sizes[d] - 1, strides[d], &reach) ||
        __builtin_add_overflow(span, reach, &span))
      throw_too_large(sizes, strides);
  }
  return make(sizes, strides, n, span, dtype, device);
}

Tensor empty_like(const Tensor& t, Dtype dtype) {
  if (t.contiguous() && t.ndim() <= inline_ndim)
    return make_contiguous(t.sizes(), t.numel(), dtype, t.device());
  if (t.contiguous()) return empty(t.sizes(), dtype, t.device());
  if (is_dense(t.sizes(), t.strides())) return empty_strided(t.sizes(), t.strides(), dtype, t.device());
  return empty(t.sizes(), dtype, t.device());
}
Tensor empty_like(const Tensor& t) { return empty_like(t, t.dtype()); }

Tensor full(IntSpan sizes, Dtype dtype, double value) {
  Tensor t = empty(sizes, dtype);
  visit_storage(dtype, [&]<class T>() { std::fill_n(t.data<T>(), t.numel(), convert<T>(value)); });
  return t;
}
Tensor scalar_tensor(double value, Dtype dtype) { return full({}, dtype, value); }
Tensor scalar_tensor(int64_t value, Dtype dtype) {
  Tensor t = empty({}, dtype);
  visit_storage(dtype, [&]<class T>() { *t.data<T>() = convert<T>(value); });
  return t;
}

Tensor on_storage(StorageRef storage, Dtype dtype, IntSpan sizes, IntSpan strides, int64_t offset) {
  check_storable(dtype);
  Tensor t = Tensor::steal(new_tensor_object());
  t->dtype = dtype;
  t->device = storage->device;
  fill_layout(t.get(), sizes, strides, offset, count(sizes));
  t->storage = storage.release();
  auto [first, last] = memory_range(t);
  if (t->numel && (first < t->storage->data || last > t->storage->data + t->storage->nbytes))
    throw runtime_error("setStorage: sizes ", show(sizes), ", strides ", show(strides), ", storage offset ",
                        offset, ", and itemsize ", itemsize(dtype), " requiring a storage size of ",
                        offset * itemsize(dtype) + (last - first), " are out of bounds for storage of size ",
                        t->storage->nbytes);
  return t;
}

Tensor alias(const Tensor& t, IntSpan sizes, IntSpan strides, int64_t offset) {
  Tensor v = Tensor::steal(new_tensor_object());
  v->dtype = t.dtype();
  v->device = t.device();
  v->conj = t->conj;
  v->inference = t->inference;
  fill_layout(v.get(), sizes, strides, offset, count(sizes));
  if (t->storage) {
    ++t->storage->refs;
    v->storage = t->storage;
  }
  v->delegate = Py_XNewRef(t->delegate);
  return v;
}

void set_layout(const Tensor& t, IntSpan sizes, IntSpan strides, int64_t offset) {
  fill_layout(t.get(), sizes, strides, offset, count(sizes));
}

void set_storage(const Tensor& t, StorageRef storage) {
  StorageRef old(t->storage);
  t->storage = storage.release();
}

std::pair<char*, char*> memory_range(const Tensor& t) {
  if (!t->storage || !t.numel()) return {nullptr, nullptr};
  int64_t last = 0;
  for (int64_t d = 0; d < t.ndim(); ++d) last += (t.size(d) - 1) * t.stride(d);
  return {t.raw(), t.raw() + (last + 1) * t.itemsize()};
}

Overlap overlap(const Tensor& a, const Tensor& b) {
  if (!a->storage || !b->storage || a->storage->root() != b->storage->root()) return Overlap::none;
  auto [a0, a1] = memory_range(a);
  auto [b0, b1] = memory_range(b);
  if (a0 == b0 && a1 == b1 && a.itemsize() == b.itemsize() && same(a.sizes(), b.sizes()) &&
      same(a.strides(), b.strides()))
    return Overlap::full;
  if (a0 >= b1 || b0 >= a1) return Overlap::none;
  // Interleaved views (x[::2] and x[1::2]) share a range but no element; torch asks only whether both are dense.
  if (!is_dense(a.sizes(), a.strides()) || !is_dense(b.sizes(), b.strides())) return Overlap::none;
  return Overlap::partial;
}

}  // namespace rushlight

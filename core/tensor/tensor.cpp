// The tensor object: creation from the free list, destruction, layout changes, aliases.
#include "tensor/tensor.h"

#include <cstring>

#include "autograd/node.h"
#include "device/allocator.h"

namespace rushlight {

PyTypeObject* tensor_type = nullptr;

// Note [Data aliases]
// x.data shares x's bytes but not its version counter. It gets a Storage of its own whose `parent` is x's storage: the
// bytes belong to the parent, the counter to the alias. Views of x.data share the alias and so its counter.

namespace {
// Note [Recycled tensors]
// Objects of exactly rushlight.Tensor are kept after use, for an operation makes one as often as not. Those whose memory is
// small and nobody else's keep that, too, in lists by its size: the next tensor of about as many bytes takes both at once.
// In a kept object, which goes on owning a reference to its type, all pointers but storage and dims are null.
struct Recycled {
  static constexpr int most = 64;
  TensorObject* objects[most];
  int count = 0;
};
constexpr size_t size_step =
    64;  // of the allocator's classes, so that tensors of one list have blocks of one class
constexpr size_t size_kinds = RUSHLIGHT_CACHE_MEMORY ? 9 : 0;
Recycled bare, with_memory[size_kinds + 1];

size_t size_kind(size_t bytes) { return (bytes + size_step - 1) / size_step; }
constexpr size_t flags_offset = offsetof(TensorObject, ndim);
constexpr size_t flags_end = offsetof(TensorObject, grad_fn);

TensorObject* take(Recycled& kept) {
  TensorObject* t = kept.objects[--kept.count];
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(t), 1);
  t->offset = 0;
  std::memset(reinterpret_cast<char*>(t) + flags_offset, 0, flags_end - flags_offset);
  return t;
}

// An object with memory for so many bytes; sizes, dtype and device are left to fill in.
TensorObject* new_with_memory(size_t bytes, Device device) {
  const size_t kind = size_kind(bytes);
  if (kind < size_kinds && with_memory[kind].count) [[likely]] {
    TensorObject* t = take(with_memory[kind]);
    Storage* s = t->storage;
    set_aside.bytes -= s->block_bytes();
    ++set_aside.reused;
    s->nbytes = s->capacity = bytes;
    s->device = device;
    return t;
  }
  Storage* s = Storage::create(bytes, device);
  TensorObject* t = new_tensor_object();
  t->storage = s;
  return t;
}

// False where the object must be freed. Its storage, if it has one, is nobody's any more.
bool recycle(TensorObject* t, Storage* dead) {
  if (dead) {
    const size_t kind = dead->inline_data ? size_kind(dead->capacity) : size_kinds;
    if (kind < size_kinds && with_memory[kind].count < Recycled::most) [[likely]] {
      dead->refs = 1;
      dead->version = 0;
      dead->resizable = true;
      set_aside.bytes += dead->block_bytes();
      t->storage = dead;
      with_memory[kind].objects[with_memory[kind].count++] = t;
      return true;
    }
    Storage::destroy(dead);
  }
  if (bare.count == Recycled::most) return false;
  bare.objects[bare.count++] = t;
  return true;
}
}  // namespace

TensorObject* new_tensor_object() {
  if (bare.count) return take(bare);
  auto* t = PyObject_GC_New(TensorObject, tensor_type);
  if (!t) throw PythonError();
  constexpr size_t fields = offsetof(TensorObject, dict);
  std::memset(reinterpret_cast<char*>(t) + fields, 0, sizeof(TensorObject) - fields);
  t->dims = t->inline_dims;
  return t;
}

void drop_recycled_tensors() {
  auto drop = [](Recycled& kept) {
    while (kept.count) {
      TensorObject* t = take(kept);
      if (t->storage) {
        set_aside.bytes -= t->storage->block_bytes();
        Storage::destroy(std::exchange(t->storage, nullptr));
      }
      PyObject_GC_Del(t);
      Py_DECREF(tensor_type);
    }
  };
  drop(bare);
  for (auto& kept : with_memory) drop(kept);
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
  if (t->grad_fn || t->grad || t->base || t->extra) release_autograd(t);
  Py_CLEAR(t->delegate);
  if (t->dims != t->inline_dims) {
    delete[] t->dims;
    t->dims = t->inline_dims;
  }
  Storage* dead = std::exchange(t->storage, nullptr);
  if (dead && --dead->refs) dead = nullptr;
  if (type == tensor_type) [[likely]] {
    if (recycle(t, dead)) return;
  } else if (dead) {
    Storage::destroy(dead);
  }
  type->tp_free(self);
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
  Tensor t =
      Tensor::steal(device.type == Device::meta ? new_tensor_object() : new_with_memory(bytes, device));
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

Tensor contiguous_like(const Tensor& t, Dtype dtype) {
  if (t.ndim() <= inline_ndim) return make_contiguous(t.sizes(), t.numel(), dtype, t.device());
  return empty(t.sizes(), dtype, t.device());
}
Tensor empty_like(const Tensor& t, Dtype dtype) {
  if (t.contiguous()) return contiguous_like(t, dtype);
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
  if (t.contiguous()) return {t.raw(), t.raw() + t.nbytes()};
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

// Storage: reference-counted bytes on a device, shared by the tensors that view them, with their version counter.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

namespace rushlight {

struct Device {
  enum Type : uint8_t { cpu, cuda, meta };
  Type type = cpu;
  int8_t index = -1;  // -1: not given
  bool operator==(const Device&) const = default;
};

// Reference counts are changed under the GIL only; kernels never touch them.
struct Storage {
  int64_t refs = 1;
  char* data = nullptr;
  size_t nbytes = 0;
  size_t capacity = 0;   // bytes that `data` really has (at least nbytes)
  uint32_t version = 0;  // counts in-place writes; all views share it
  Device device;
  bool inline_data = false;  // data lies in the same block, behind this header
  bool resizable = true;
  static constexpr size_t no_inline = ~size_t(0);
  size_t inline_capacity_kept =
      no_inline;  // size of the inline data that was outgrown: the block is that much larger
  // Memory that belongs to somebody else (a NumPy array, a file mapping): free_fn(owner) instead of release.
  void (*free_fn)(void* owner) = nullptr;
  void* owner = nullptr;
  uint32_t aliases = 0;  // live aliases of this storage: its bytes must stay where they are
  Storage* parent =
      nullptr;             // x.data: same bytes, own version counter (see Note [Data aliases] in tensor.cpp)
  void* python = nullptr;  // the UntypedStorage object, borrowed, while one is alive

  static Storage* create(size_t nbytes, Device device = {});
  size_t block_bytes() const;  // of the allocated block that this header lies in
  static Storage* wrap(char* data, size_t nbytes, void* owner, void (*free_fn)(void*));
  static Storage* alias(Storage* parent);  // shares the bytes, has its own version counter
  void grow(size_t nbytes);                // keeps the contents; throws where the memory is foreign
  static void destroy(Storage* s);
  Storage* root() {
    Storage* s = this;
    while (s->parent) s = s->parent;
    return s;
  }
};

class StorageRef {
 public:
  StorageRef() = default;
  explicit StorageRef(Storage* owned) : p_(owned) {}
  static StorageRef share(Storage* s) {
    ++s->refs;
    return StorageRef(s);
  }
  StorageRef(const StorageRef& o) : p_(o.p_) {
    if (p_) ++p_->refs;
  }
  StorageRef(StorageRef&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  StorageRef& operator=(StorageRef o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~StorageRef() {
    if (p_ && --p_->refs == 0) Storage::destroy(p_);
  }
  Storage* get() const { return p_; }
  Storage* operator->() const { return p_; }
  Storage* release() { return std::exchange(p_, nullptr); }
  explicit operator bool() const { return p_; }

 private:
  Storage* p_ = nullptr;
};

}  // namespace rushlight

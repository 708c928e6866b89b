// Storage: allocation, foreign memory, growth.
#include "tensor/storage.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <unordered_map>

#include "device/allocator.h"
#include "tensor/aliases.h"
#include "tensor/error.h"

namespace rushlight {

namespace {
constexpr size_t header = (sizeof(Storage) + 63) / 64 * 64;
constexpr size_t inline_limit = 4096;  // small tensors: header and data in one block

std::unordered_multimap<Storage*, Storage*>& alias_table() {
  static auto* table = new std::unordered_multimap<Storage*, Storage*>;
  return *table;
}
void forget_alias(Storage* root, Storage* alias) {
  auto [first, last] = alias_table().equal_range(root);
  auto it = std::find_if(first, last, [&](auto& entry) { return entry.second == alias; });
  if (it != last) alias_table().erase(it);
}
}  // namespace

size_t Storage::block_bytes() const {
  if (inline_data) return header + capacity;
  return inline_capacity_kept != no_inline ? header + inline_capacity_kept : sizeof(Storage);
}

Storage* Storage::create(size_t nbytes, Device device) {
  if (nbytes <= inline_limit) {
    char* block = static_cast<char*>(allocate(header + nbytes));
    auto* s = new (block) Storage;
    s->data = block + header;
    s->nbytes = s->capacity = nbytes;
    s->inline_data = true;
    s->device = device;
    return s;
  }
  char* data;
  try {
    data = static_cast<char*>(allocate(nbytes));
  } catch (const std::bad_alloc&) {
    throw runtime_error(
        "[enforce fail at allocator] DefaultCPUAllocator: can't allocate memory: you tried to allocate ",
        nbytes, " bytes. Error code 12 (Cannot allocate memory)");
  }
  auto* s = new (allocate(sizeof(Storage))) Storage;
  s->data = data;
  s->nbytes = s->capacity = nbytes;
  s->device = device;
  return s;
}

Storage* Storage::wrap(char* data, size_t nbytes, void* owner, void (*free_fn)(void*)) {
  auto* s = new (allocate(sizeof(Storage))) Storage;
  s->data = data;
  s->nbytes = s->capacity = nbytes;
  s->owner = owner;
  s->free_fn = free_fn;
  s->resizable = false;
  return s;
}

Storage* Storage::alias(Storage* parent) {
  parent = parent->root();
  auto* s = new (allocate(sizeof(Storage))) Storage;
  s->data = parent->data;
  s->nbytes = s->capacity = parent->nbytes;
  s->device = parent->device;
  s->version = parent->version;
  s->resizable = false;
  s->parent = parent;
  ++parent->refs;
  ++parent->aliases;
  alias_table().emplace(parent, s);
  return s;
}

std::vector<Storage*> aliases_of(Storage* root) {
  std::vector<Storage*> found;
  auto [first, last] = alias_table().equal_range(root);
  for (auto it = first; it != last; ++it) found.push_back(it->second);
  return found;
}

void Storage::grow(size_t wanted) {
  if (wanted <= capacity) {
    nbytes = std::max(nbytes, wanted);
    return;
  }
  // An alias cannot follow its parent's bytes, so memory that is shared with one stays where it is.
  if (!resizable || parent || aliases) throw runtime_error("Trying to resize storage that is not resizable");
  char* bigger = static_cast<char*>(allocate(wanted));
  std::memcpy(bigger, data, nbytes);
  if (inline_data) inline_data = false, inline_capacity_kept = capacity;
  else rushlight::release(data, capacity);
  data = bigger;
  nbytes = capacity = wanted;
}

void Storage::destroy(Storage* s) {
  while (s) {
    Storage* parent = s->parent;
    if (parent) forget_alias(parent, s);
    const size_t block = s->block_bytes();
    if (s->free_fn) s->free_fn(s->owner);
    else if (!s->inline_data && !parent) rushlight::release(s->data, s->capacity);
    s->~Storage();
    rushlight::release(s, block);
    if (parent) --parent->aliases;
    s = parent && --parent->refs == 0 ? parent : nullptr;
  }
}

}  // namespace rushlight

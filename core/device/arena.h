// Arena: one range of addresses from which large blocks are cut and in which neighbours that are free again join, so that
// blocks of ever new sizes do not pile up. Not safe against threads: the allocator holds its lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

namespace rushlight {

class Arena {
 public:
  // Reserves addresses, fewer where the system refuses; memory comes with the first touch of a page.
  explicit Arena(size_t bytes);
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  bool owns(const void* p) const { return p >= base_ && p < base_ + reserved_; }
  // A block from what was used before; null where nothing fits. Blocks of 2 MB and more begin on a 2 MB boundary.
  char* take(size_t bytes);
  // A block behind everything used so far; null where the addresses are used up.
  char* grow(size_t bytes);
  void give(char* block, size_t bytes);
  size_t resident() const { return resident_; }  // at most so many bytes of free ranges have pages
  void drop(size_t keep);  // gives such pages back, oldest first, until `keep` bytes are left

 private:
  struct Range {
    size_t bytes, resident;
    uint64_t stamp;  // when it was last in use
  };
  using Ranges = std::map<char*, Range>;
  void insert(char* at, Range range);
  Range remove(Ranges::iterator it);
  bool commit(char* end);

  char *base_ = nullptr, *top_ = nullptr, *committed_ = nullptr;
  size_t reserved_ = 0, resident_ = 0;
  uint64_t clock_ = 0;
  Ranges free_;
  std::set<std::pair<size_t, char*>> by_size_;
};

}  // namespace rushlight

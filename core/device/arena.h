// Arena: one range of addresses from which large blocks are cut and in which neighbours that are free again join, so that
// blocks of ever new sizes do not pile up. Not safe against threads: the allocator holds its lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace rushlight {

class Arena {
 public:
  // Reserves addresses, fewer where the system refuses; memory comes with the first touch of a page.
  explicit Arena(size_t bytes);
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  bool owns(const void* p) const { return p >= base_ && p < base_ + reserved_; }
  // A block from what was used before, where at most so many of its bytes have given their pages back; null where there is
  // no such place. Blocks of 2 MB and more begin on a 2 MB boundary.
  char* take(size_t bytes, size_t most_fresh = SIZE_MAX);
  // A block behind everything used so far; null where the addresses are used up.
  char* grow(size_t bytes);
  void give(char* block, size_t bytes);
  size_t resident() const { return resident_; }  // bytes of free ranges that have pages
  void drop(size_t keep);  // gives such pages back, oldest first, until about `keep` bytes are left

 private:
  struct Pages {
    char *begin, *end;
    uint64_t stamp;  // when they were last in use
  };
  struct Range {
    size_t bytes;
    std::vector<Pages> resident;  // its parts that have pages, by address
  };
  using Ranges = std::map<char*, Range>;
  void insert(char* at, Range range);
  Range remove(Ranges::iterator it);
  void put_back(const Range& range, char* from, char* to);
  bool commit(char* end);

  char *base_ = nullptr, *top_ = nullptr, *committed_ = nullptr;
  size_t reserved_ = 0, resident_ = 0;
  uint64_t clock_ = 0;
  Ranges free_;
  std::set<std::pair<size_t, char*>> by_size_;
};

}  // namespace rushlight

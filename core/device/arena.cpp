// The arena: best fit among free ranges, which a map keeps by address and a set by size.
#include "device/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <vector>

namespace rushlight {

namespace {
constexpr size_t page = 4096, huge_page = size_t{2} << 20, step = size_t{64} << 20;

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
// Where a block of that size may begin, from p on.
char* aligned(char* p, size_t bytes) {
  return reinterpret_cast<char*>(
      round_up(reinterpret_cast<uintptr_t>(p), bytes >= huge_page ? huge_page : page));
}
}  // namespace

Arena::Arena(size_t bytes) {
  for (bytes = round_up(bytes, step); bytes >= step; bytes = round_up(bytes / 2, step)) {
    void* map = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map != MAP_FAILED) {
      base_ = static_cast<char*>(map);
      reserved_ = bytes;
      top_ = committed_ = aligned(base_, huge_page);
      return;
    }
    if (bytes == step) return;
  }
}

// Makes the addresses up to end usable.
bool Arena::commit(char* end) {
  if (end <= committed_) return true;
  char* last = base_ + reserved_;
  if (end > last) return false;
  const size_t wanted = std::min<size_t>(round_up(end - committed_, step), last - committed_);
  if (mprotect(committed_, wanted, PROT_READ | PROT_WRITE)) return false;
#ifdef MADV_HUGEPAGE
  madvise(committed_, wanted, MADV_HUGEPAGE);  // a wish; failure changes nothing
#endif
  committed_ += wanted;
  return true;
}

void Arena::insert(char* at, Range range) {
  by_size_.emplace(range.bytes, at);
  free_.emplace(at, range);
  resident_ += range.resident;
}

Arena::Range Arena::remove(Ranges::iterator it) {
  const Range range = it->second;
  by_size_.erase({range.bytes, it->first});
  resident_ -= range.resident;
  free_.erase(it);
  return range;
}

char* Arena::take(size_t bytes) {
  bytes = round_up(bytes, page);
  for (auto it = by_size_.lower_bound({bytes, nullptr}); it != by_size_.end(); ++it) {
    char *begin = it->second, *end = begin + it->first, *block = aligned(begin, bytes);
    if (block + bytes > end) continue;
    const Range range = remove(free_.find(begin));
    // which part of a range has pages is not known: each remainder may have all of them
    auto put_back = [&](char* from, char* to) {
      const size_t rest = to - from;
      if (rest) insert(from, {rest, std::min(range.resident, rest), range.stamp});
    };
    put_back(begin, block);
    put_back(block + bytes, end);
    return block;
  }
  return nullptr;
}

char* Arena::grow(size_t bytes) {
  if (!reserved_ || bytes > reserved_) return nullptr;
  bytes = round_up(bytes, page);
  // a free range at the end becomes part of the block
  auto last = free_.empty() ? free_.end() : std::prev(free_.end());
  const bool joins = last != free_.end() && last->first + last->second.bytes == top_;
  char* begin = joins ? last->first : top_;
  char* block = aligned(begin, bytes);
  if (size_t(base_ + reserved_ - block) < bytes || !commit(block + bytes)) return nullptr;
  Range before{0, 0, 0};
  if (joins) before = remove(last);
  const size_t gap = block - begin;
  if (gap) insert(begin, {gap, std::min(before.resident, gap), before.stamp});
  top_ = block + bytes;
  return block;
}

void Arena::give(char* block, size_t bytes) {
  bytes = round_up(bytes, page);
  Range range{bytes, bytes, ++clock_};
  auto next = free_.lower_bound(block);
  if (next != free_.end() && next->first == block + bytes) {
    auto after = next++;
    const Range joined = remove(after);
    range.bytes += joined.bytes, range.resident += joined.resident;
  }
  if (next != free_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second.bytes == block) {
      block = before->first;
      const Range joined = remove(before);
      range.bytes += joined.bytes, range.resident += joined.resident;
    }
  }
  insert(block, range);
}

void Arena::drop(size_t keep) {
  if (resident_ <= keep) return;
  std::vector<std::pair<uint64_t, char*>> oldest;
  for (auto& [at, range] : free_)
    if (range.resident) oldest.emplace_back(range.stamp, at);
  std::sort(oldest.begin(), oldest.end());
  for (auto& [stamp, at] : oldest) {
    if (resident_ <= keep) return;
    Range& range = free_.find(at)->second;
    madvise(at, range.bytes, MADV_DONTNEED);
    resident_ -= range.resident;
    range.resident = 0;
  }
}

}  // namespace rushlight

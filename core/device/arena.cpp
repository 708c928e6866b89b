// The arena: best fit among free ranges, which a map keeps by address and a set by size, with the parts that have pages.
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
  for (auto& part : range.resident) resident_ += part.end - part.begin;
  free_.emplace(at, std::move(range));
}

Arena::Range Arena::remove(Ranges::iterator it) {
  Range range = std::move(it->second);
  by_size_.erase({range.bytes, it->first});
  for (auto& part : range.resident) resident_ -= part.end - part.begin;
  free_.erase(it);
  return range;
}

// Puts back what lies between two addresses of a range that was removed.
void Arena::put_back(const Range& range, char* from, char* to) {
  if (from == to) return;
  Range rest{size_t(to - from), {}};
  for (auto& part : range.resident) {
    char *begin = std::max(part.begin, from), *end = std::min(part.end, to);
    if (begin < end) rest.resident.push_back({begin, end, part.stamp});
  }
  insert(from, std::move(rest));
}

// The smallest range that has pages for all of the block; else the place where most of it has.
char* Arena::take(size_t bytes, size_t most_fresh) {
  bytes = round_up(bytes, page);
  char *best = nullptr, *best_block = nullptr;
  size_t fewest = SIZE_MAX;  // bytes without pages there
  for (auto it = by_size_.lower_bound({bytes, nullptr}); it != by_size_.end() && fewest; ++it) {
    char *begin = it->second, *end = begin + it->first;
    const auto& resident = free_.find(begin)->second.resident;
    auto consider = [&](char* from) {
      char* block = aligned(from, bytes);
      if (block + bytes > end) return;
      size_t fresh = bytes;
      for (auto& part : resident)
        if (char *a = std::max(part.begin, block), *b = std::min(part.end, block + bytes); a < b)
          fresh -= b - a;
      if (fresh < fewest) best = begin, best_block = block, fewest = fresh;
    };
    consider(begin);
    for (auto& part : resident)
      if (fewest) consider(part.begin);
  }
  if (!best || fewest > most_fresh) return nullptr;
  const Range range = remove(free_.find(best));
  put_back(range, best, best_block);
  put_back(range, best_block + bytes, best + range.bytes);
  return best_block;
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
  put_back(joins ? remove(last) : Range{}, begin, block);
  top_ = block + bytes;
  return block;
}

void Arena::give(char* block, size_t bytes) {
  bytes = round_up(bytes, page);
  Range range{bytes, {{block, block + bytes, ++clock_}}};
  auto next = free_.lower_bound(block);
  if (next != free_.end() && next->first == block + bytes) {
    auto after = next++;
    const Range joined = remove(after);
    range.bytes += joined.bytes;
    range.resident.insert(range.resident.end(), joined.resident.begin(), joined.resident.end());
  }
  if (next != free_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second.bytes == block) {
      block = before->first;
      Range joined = remove(before);
      joined.bytes += range.bytes;
      joined.resident.insert(joined.resident.end(), range.resident.begin(), range.resident.end());
      range = std::move(joined);
    }
  }
  insert(block, std::move(range));
}

void Arena::drop(size_t keep) {
  if (resident_ <= keep) return;
  std::vector<std::pair<uint64_t, Pages*>> oldest;
  for (auto& [at, range] : free_)
    for (auto& part : range.resident) oldest.emplace_back(part.stamp, &part);
  std::sort(oldest.begin(), oldest.end());
  for (auto& [stamp, part] : oldest) {
    if (resident_ <= keep) break;
    // its end, whole huge pages where there are some
    const size_t excess = std::min<size_t>(round_up(resident_ - keep, page), part->end - part->begin);
    char* from = part->end - excess;
    from -= reinterpret_cast<uintptr_t>(from) % huge_page;
    from = std::max(from, part->begin);
    madvise(from, part->end - from, MADV_DONTNEED);
    resident_ -= part->end - from;
    part->end = from;
  }
  for (auto& [at, range] : free_)
    std::erase_if(range.resident, [](const Pages& part) { return part.begin == part.end; });
}

}  // namespace rushlight

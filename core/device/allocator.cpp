// The caching allocator. Sizes fall into classes, eight for each power of two. Blocks up to 64 KB live in
// per-thread free lists (no locks, no read-modify-write atomics), larger ones in lists under one mutex, in front of an arena
// that joins and cuts them.
// Note [Held memory]
// A program that asks for ever new sizes must not collect a block of each: at most 1.2 times the peak of live memory is held.
// A block that is in no list is cut where the arena has pages; before others are asked for beyond that bound, the lists are
// emptied into the arena, and as many of its free pages go back as come. Besides, a quarter of the machine's (or control
// group's) memory is the most that is kept.
#include "allocator.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "arena.h"

namespace rushlight {

SetAside set_aside;

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kLargest = size_t{1} << (RUSHLIGHT_CACHE_MEMORY ? 47 : 38);  // more is refused at once
constexpr size_t kSmall = size_t{64} << 10;
constexpr int kSmallClasses = 64;
constexpr int kClasses = 8 + 8 * (47 - 9);
constexpr int64_t kFlushBytes = int64_t{1} << 20;  // when a thread reports to the shared counters
constexpr size_t kBinBytes = size_t{512} << 10;    // what a thread keeps per small class

// Classes 0..7 are 64, 128, ... 512 bytes; then eight steps to each next power of two. kSmall is class 63.
inline int class_of(size_t bytes) {
  if (bytes <= 512) return bytes == 0 ? 0 : static_cast<int>((bytes - 1) / 64);
  const size_t last = bytes - 1;
  const int width = std::bit_width(last);
  return 8 * (width - 10) + static_cast<int>(last >> (width - 4));
}

inline size_t class_bytes(int index) {
  if (index < 8) return static_cast<size_t>(index + 1) * 64;
  return static_cast<size_t>(index % 8 + 9) << (index / 8 + 5);
}

// ---- the system

#if RUSHLIGHT_CACHE_MEMORY

void* system_allocate(size_t bytes) {
  if (bytes < kHugePage) return std::aligned_alloc(kAlignment, bytes);
  // map more than needed, then cut the ends off, so that the block starts on a huge page
  const size_t page = 4096;
  bytes = (bytes + page - 1) / page * page;
  void* map = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<uintptr_t>(map);
  const uintptr_t aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
  if (aligned > start) munmap(map, aligned - start);
  const uintptr_t end = start + bytes + kHugePage;
  if (end > aligned + bytes) munmap(reinterpret_cast<void*>(aligned + bytes), end - aligned - bytes);
  void* block = reinterpret_cast<void*>(aligned);
#ifdef MADV_HUGEPAGE
  madvise(block, bytes, MADV_HUGEPAGE);  // a wish; failure changes nothing
#endif
  return block;
}

void system_release(void* block, size_t bytes) {
  if (bytes < kHugePage) {
    std::free(block);
  } else {
    munmap(block, (bytes + 4095) / 4096 * 4096);
  }
}

#endif

size_t number_in(const std::string& path) {
  std::ifstream file(path);
  size_t value = 0;
  return file >> value && value > 0 ? value : SIZE_MAX;  // the word "max" reads as no limit
}

// Physical memory, or the limit of the control group (either version) if that is less.
size_t memory_limit() {
  size_t limit = SIZE_MAX;
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) limit = static_cast<size_t>(pages) * static_cast<size_t>(page);
  limit = std::min(limit, number_in("/sys/fs/cgroup/memory.max"));
  limit = std::min(limit, number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const bool unified = second == first + 1;
    if (!unified && line.substr(first, second - first).find("memory") == std::string::npos) continue;
    for (std::string path = line.substr(second + 1); path.size() > 1; path.resize(path.rfind('/'))) {
      limit = std::min(limit, number_in(unified ? "/sys/fs/cgroup" + path + "/memory.max"
                                                : "/sys/fs/cgroup/memory" + path + "/memory.limit_in_bytes"));
    }
  }
  return limit;
}

// ---- a thread's small blocks

struct Bin {
  void* head = nullptr;  // the first word of a free block points to the next
  uint32_t count = 0;
};

// Written only by the owner, read by memory_stats: relaxed loads and stores, which are plain moves.
template <class T>
class Counter {
 public:
  T get() const { return value_.load(std::memory_order_relaxed); }
  void set(T value) { value_.store(value, std::memory_order_relaxed); }

 private:
  std::atomic<T> value_{};
};

struct ThreadCache {
  Bin bins[kSmallClasses];
  Counter<int64_t> in_use;   // not yet reported
  Counter<int64_t> highest;  // of in_use, since the last report
  Counter<int64_t> cached;
  Counter<uint64_t> allocations;
};

// ---- what threads share; never destroyed, so that late releases at exit are safe

struct Shared {
  std::mutex mutex;  // guards everything that is not atomic
  std::vector<ThreadCache*> threads;
  std::vector<void*> large[kClasses];
  size_t listed = 0;  // bytes in those lists
  size_t limit = memory_limit() / 4;
  Arena arena{RUSHLIGHT_CACHE_MEMORY ? std::max(16 * limit, size_t{64} << 30) : 0};
  std::atomic<int64_t> in_use{0};
  std::atomic<int64_t> peak{0};
  std::atomic<uint64_t> allocations{0};
  std::atomic<uint64_t> system_allocations{0};

  void add_in_use(int64_t bytes, int64_t highest) {
    const int64_t before = in_use.fetch_add(bytes, std::memory_order_relaxed);
    raise_peak(before + highest);
  }
  void raise_peak(int64_t candidate) {
    int64_t seen = peak.load(std::memory_order_relaxed);
    while (candidate > seen && !peak.compare_exchange_weak(seen, candidate, std::memory_order_relaxed)) {}
  }
};

Shared& shared();

#if RUSHLIGHT_CACHE_MEMORY

// initial-exec: one load, not a function call; two words fit into the room that libraries loaded late may use
__attribute__((tls_model("initial-exec"))) thread_local ThreadCache* this_thread = nullptr;
__attribute__((tls_model("initial-exec"))) thread_local bool thread_ending = false;

void report(ThreadCache& cache) {
  shared().add_in_use(cache.in_use.get(), cache.highest.get());
  cache.in_use.set(0);
  cache.highest.set(0);
}

void free_bins(ThreadCache& cache) {
  for (int i = 0; i < kSmallClasses; ++i) {
    Bin& bin = cache.bins[i];
    while (bin.head != nullptr) {
      void* block = bin.head;
      bin.head = *static_cast<void**>(block);
      system_release(block, class_bytes(i));
    }
    bin.count = 0;
  }
  cache.cached.set(0);
}

// Creates the cache on a thread's first use and gives it back when the thread ends.
struct ThreadGuard {
  ThreadCache* cache = new ThreadCache;

  ThreadGuard() {
    Shared& all = shared();
    const std::lock_guard lock(all.mutex);
    all.threads.push_back(cache);
    this_thread = cache;
  }
  ~ThreadGuard() {
    this_thread = nullptr;
    thread_ending = true;  // destructors that run later use the system directly
    report(*cache);
    free_bins(*cache);
    Shared& all = shared();
    all.allocations.fetch_add(cache->allocations.get(), std::memory_order_relaxed);
    const std::lock_guard lock(all.mutex);
    std::erase(all.threads, cache);
    delete cache;
  }
};

ThreadCache* thread_cache() {
  if (this_thread == nullptr && !thread_ending) {
    thread_local ThreadGuard guard;
    (void)guard;
  }
  return this_thread;
}

// The child of a fork has only the calling thread: what the others had counted is kept, their lists are given
// up, for they may have been in the middle of a change.
void after_fork_child() {
  Shared& all = shared();
  std::erase_if(all.threads, [&](ThreadCache* other) {
    if (other == this_thread) return false;
    all.in_use.fetch_add(other->in_use.get(), std::memory_order_relaxed);
    all.allocations.fetch_add(other->allocations.get(), std::memory_order_relaxed);
    return true;
  });
  all.mutex.unlock();
}

Shared& shared() {
  static Shared* const instance = [] {
    auto* created = new Shared;
    pthread_atfork([] { shared().mutex.lock(); }, [] { shared().mutex.unlock(); }, after_fork_child);
    return created;
  }();
  return *instance;
}

// The next functions want the mutex held.
void empty_lists(Shared& all) {
  for (int i = kSmallClasses; i < kClasses; ++i) {
    for (void* block : all.large[i]) all.arena.give(static_cast<char*>(block), class_bytes(i));
    all.large[i].clear();
  }
  all.listed = 0;
}

// Keeps at most so many free bytes.
void shrink_cache(Shared& all, size_t keep) {
  if (all.listed + all.arena.resident() <= keep) return;
  empty_lists(all);
  all.arena.drop(keep);
}

// Note [Held memory]
void* take_large(Shared& all, int index) {
  const size_t size = class_bytes(index);
  if (!all.large[index].empty()) {
    void* block = all.large[index].back();
    all.large[index].pop_back();
    all.listed -= size;
    return block;
  }
  const size_t live = std::max<int64_t>(all.in_use.load(std::memory_order_relaxed), 0) + size;
  const size_t most = std::max<size_t>(std::max<int64_t>(all.peak.load(std::memory_order_relaxed), 0), live);
  const size_t spare = most + most / 5 - live;  // what may be held besides
  const size_t held = all.listed + all.arena.resident();
  char* block = all.arena.take(size, spare + size > held ? spare + size - held : 0);
  if (!block) empty_lists(all);
  if (!block) block = all.arena.take(size);
  if (!block) {
    block = all.arena.grow(size);
    if (!block) return nullptr;
    all.system_allocations.fetch_add(1, std::memory_order_relaxed);
  }
  shrink_cache(all, spare);
  return block;
}

void* ask_system(size_t bytes) {
  void* block = system_allocate(bytes);
  if (block == nullptr) {
    empty_cache();
    block = system_allocate(bytes);
    if (block == nullptr) throw std::bad_alloc();
  }
  shared().system_allocations.fetch_add(1, std::memory_order_relaxed);
  return block;
}

inline void count_allocation(ThreadCache& cache, size_t bytes) {
  const int64_t now = cache.in_use.get() + static_cast<int64_t>(bytes);
  cache.in_use.set(now);
  if (now > cache.highest.get()) cache.highest.set(now);
  cache.allocations.set(cache.allocations.get() + 1);
  if (now > kFlushBytes) [[unlikely]]
    report(cache);
}

__attribute__((noinline)) void* allocate_small_slowly(int index) {
  const size_t size = class_bytes(index);
  void* block = ask_system(size);
  if (ThreadCache* cache = thread_cache()) {
    count_allocation(*cache, size);
  } else {
    shared().add_in_use(static_cast<int64_t>(size), static_cast<int64_t>(size));
    shared().allocations.fetch_add(1, std::memory_order_relaxed);
  }
  return block;
}

__attribute__((noinline)) void* allocate_large(size_t bytes) {
  if (bytes > kLargest) throw std::bad_alloc();
  const int index = class_of(bytes);
  const size_t size = class_bytes(index);
  Shared& all = shared();
  if (ThreadCache* cache = thread_cache()) report(*cache);
  void* block;
  {
    const std::lock_guard lock(all.mutex);
    block = take_large(all, index);
  }
  if (block == nullptr) block = ask_system(size);
  all.add_in_use(static_cast<int64_t>(size), static_cast<int64_t>(size));
  all.allocations.fetch_add(1, std::memory_order_relaxed);
  return block;
}

__attribute__((noinline)) void release_large(void* block, size_t bytes) {
  const int index = class_of(bytes);
  const size_t size = class_bytes(index);
  Shared& all = shared();
  all.add_in_use(-static_cast<int64_t>(size), 0);
  if (!all.arena.owns(block)) return system_release(block, size);
  const std::lock_guard lock(all.mutex);
  all.large[index].push_back(block);
  all.listed += size;
  shrink_cache(all, all.limit);
}

__attribute__((noinline)) void release_small_slowly(void* block, int index) {
  const size_t size = class_bytes(index);
  if (ThreadCache* cache = thread_cache()) {
    cache->in_use.set(cache->in_use.get() - static_cast<int64_t>(size));
    report(*cache);
  } else {
    shared().add_in_use(-static_cast<int64_t>(size), 0);
  }
  system_release(block, size);
}

#else

Shared& shared() {
  static Shared* const instance = new Shared;
  return *instance;
}

#endif

}  // namespace

#if RUSHLIGHT_CACHE_MEMORY

void* allocate(size_t bytes) {
  if (bytes > kSmall) return allocate_large(bytes);
  const int index = class_of(bytes);
  ThreadCache* cache = this_thread;
  if (cache == nullptr || cache->bins[index].head == nullptr) return allocate_small_slowly(index);
  Bin& bin = cache->bins[index];
  void* block = bin.head;
  bin.head = *static_cast<void**>(block);
  --bin.count;
  const size_t size = class_bytes(index);
  cache->cached.set(cache->cached.get() - static_cast<int64_t>(size));
  count_allocation(*cache, size);
  return block;
}

void release(void* block, size_t bytes) {
  if (block == nullptr) return;
  if (bytes > kSmall) return release_large(block, bytes);
  const int index = class_of(bytes);
  const size_t size = class_bytes(index);
  ThreadCache* cache = this_thread;
  if (cache == nullptr || (cache->bins[index].count + 1) * size > kBinBytes) {
    return release_small_slowly(block, index);
  }
  Bin& bin = cache->bins[index];
  *static_cast<void**>(block) = bin.head;
  bin.head = block;
  ++bin.count;
  const int64_t now = cache->in_use.get() - static_cast<int64_t>(size);
  cache->in_use.set(now);
  cache->cached.set(cache->cached.get() + static_cast<int64_t>(size));
  if (now < -kFlushBytes) [[unlikely]]
    report(*cache);
}

void empty_cache() {
  if (this_thread != nullptr) free_bins(*this_thread);
  Shared& all = shared();
  const std::lock_guard lock(all.mutex);
  shrink_cache(all, 0);
}

#else

void* allocate(size_t bytes) {
  void* block = nullptr;
  if (bytes > kLargest || posix_memalign(&block, kAlignment, bytes) != 0) throw std::bad_alloc();
  shared().add_in_use(static_cast<int64_t>(bytes), static_cast<int64_t>(bytes));
  shared().allocations.fetch_add(1, std::memory_order_relaxed);
  shared().system_allocations.fetch_add(1, std::memory_order_relaxed);
  return block;
}

void release(void* block, size_t bytes) {
  if (block == nullptr) return;
  shared().add_in_use(-static_cast<int64_t>(bytes), 0);
  std::free(block);
}

void empty_cache() {}

#endif

MemoryStats memory_stats() {
  Shared& all = shared();
  const std::lock_guard lock(all.mutex);
  MemoryStats stats;
  int64_t in_use = all.in_use.load(), peak = all.peak.load();
  int64_t cached = static_cast<int64_t>(all.listed + all.arena.resident()) + set_aside.bytes;
  stats.allocations = all.allocations.load() + set_aside.reused;
  for (const ThreadCache* thread : all.threads) {
    peak = std::max(peak, in_use + thread->highest.get());
    in_use += thread->in_use.get();
    cached += thread->cached.get();
    stats.allocations += thread->allocations.get();
  }
  stats.allocated = static_cast<size_t>(std::max<int64_t>(in_use - set_aside.bytes, 0));
  stats.peak_allocated = static_cast<size_t>(std::max(peak, in_use));
  stats.cached = static_cast<size_t>(std::max<int64_t>(cached, 0));
  stats.cache_limit = all.limit;
  stats.system_allocations = all.system_allocations.load();
  return stats;
}

void reset_peak() {
  Shared& all = shared();
  const std::lock_guard lock(all.mutex);
  int64_t in_use = all.in_use.load();
  for (ThreadCache* thread : all.threads) {
    thread->highest.set(thread->in_use.get());
    in_use += thread->in_use.get();
  }
  all.peak.store(in_use);
}

}  // namespace rushlight

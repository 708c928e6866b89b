// Memory for tensors on the CPU: 64-byte aligned blocks, kept in free lists after use, because pages fresh
// from the system cost several times what a kernel does with them. Knows nothing of tensors.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define RUSHLIGHT_CACHE_MEMORY 0  // the sanitizer must see every block, at its exact size
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RUSHLIGHT_CACHE_MEMORY 0
#endif
#endif
#ifndef RUSHLIGHT_CACHE_MEMORY
#define RUSHLIGHT_CACHE_MEMORY 1
#endif

namespace rushlight {

// Never returns null; zero bytes give a block too. Throws std::bad_alloc when the system refuses even after
// the cache was emptied. Blocks of 2 MB and more begin on a 2 MB boundary and ask for huge pages.
void* allocate(size_t bytes);

// `bytes` must be what the block was allocated with. Any thread may release; the block joins that thread's
// cache.
void release(void* block, size_t bytes);

// Gives cached blocks back to the system: all large ones, and the calling thread's small ones. (Small blocks
// kept by other threads stay; each thread keeps a bounded amount and frees it when it ends.)
void empty_cache();

// Blocks that were not released because tensors of their size are made all the time (Note [Recycled tensors] in
// tensor.cpp). They count as cached. Changed under the GIL.
struct SetAside {
  int64_t bytes = 0;
  uint64_t reused = 0;  // how often such a block was taken instead of a call of allocate
};
extern SetAside set_aside;

struct MemoryStats {
  size_t allocated = 0;  // bytes in use, as rounded to size classes
  // The most there were; with several threads, up to 1 MB per thread too low. Blocks set aside are counted.
  size_t peak_allocated = 0;
  size_t cached = 0;                // bytes kept for reuse
  size_t cache_limit = 0;           // large blocks beyond this go back to the system
  uint64_t allocations = 0;         // calls of allocate, and blocks set aside that were used again
  uint64_t system_allocations = 0;  // those which had to ask the system
};

MemoryStats memory_stats();
void reset_peak();  // peak_allocated starts again from the present amount

}  // namespace rushlight

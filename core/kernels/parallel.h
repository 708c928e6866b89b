// parallel_for: runs a function over fixed-size chunks of a range on the process's own threads. Safe to
// include in *.isa.cpp files: it holds no code but the template.
#pragma once

#include <cstdint>
#include <type_traits>

namespace rushlight {

// How many threads parallel_for uses: RUSHLIGHT_NUM_THREADS or OMP_NUM_THREADS, else what affinity and cgroup
// quota allow. set_num_threads takes effect at the next parallel_for.
int num_threads();
void set_num_threads(int count);

// True while the calling thread runs a chunk of some parallel_for; a nested one then runs serially.
bool in_parallel();

namespace detail {
using ChunkFn = void (*)(void* body, int64_t begin, int64_t end);
void run_chunks(int64_t n, int64_t grain, ChunkFn fn, void* body);
}  // namespace detail

// Calls f(begin, end) for [0, grain), [grain, 2*grain), ... up to n, in no particular order and on several
// threads. The chunks depend on n and grain alone, never on the number of threads, so a reduction that keeps
// one partial result per chunk and combines them in order gives the same bits on every machine. An exception
// thrown by f reaches the caller; chunks not yet begun are then left out.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  if (n <= grain) {
    f(int64_t{0}, n);
    return;
  }
  auto* body = const_cast<void*>(static_cast<const void*>(&f));
  detail::run_chunks(
      n, grain,
      [](void* b, int64_t begin, int64_t end) { (*static_cast<std::remove_reference_t<F>*>(b))(begin, end); },
      body);
}

}  // namespace rushlight

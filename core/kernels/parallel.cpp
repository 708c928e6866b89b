// The thread pool behind parallel_for. Chunks are claimed one by one by the workers and the caller, so a
// thread that the system has put aside delays only the chunk it holds; there is no barrier at which all must
// arrive.
#include "parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

namespace rushlight {
namespace {

constexpr int max_threads = 1024;

// ---- how many threads ----

int affinity_count() {
#if defined(__linux__)
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (!set) break;
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

// CPUs granted by one cgroup directory, 0 when it sets no limit.
double cgroup_limit(const std::string& dir) {
  double quota = 0, period = 0;
  std::string word;
  if (std::ifstream v2(dir + "/cpu.max"); v2 >> word >> period && word != "max")
    quota = std::atof(word.c_str());
  else if (std::ifstream q(dir + "/cpu.cfs_quota_us"), p(dir + "/cpu.cfs_period_us"); q >> quota) p >> period;
  return quota > 0 && period > 0 ? quota / period : 0;
}

// The tightest quota over the process's cgroup and its ancestors, version 2 and version 1.
int quota_count() {
  double tightest = max_threads;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    std::istringstream fields(line);
    std::string id, controllers, path;
    if (!std::getline(fields, id, ':') || !std::getline(fields, controllers, ':') ||
        !std::getline(fields, path))
      continue;
    std::string root;
    if (controllers.empty()) root = "/sys/fs/cgroup";
    else if ((',' + controllers + ',').find(",cpu,") != std::string::npos)
      root = "/sys/fs/cgroup/" + controllers;
    else continue;
    for (;;) {  // inside a container the path may not exist below the mount: its root still answers
      if (double limit = cgroup_limit(root + path); limit > 0) tightest = std::min(tightest, limit);
      if (path.empty() || path == "/") break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return std::max(1, static_cast<int>(tightest + 0.999));
}

int default_threads() {
  for (const char* name : {"RUSHLIGHT_NUM_THREADS", "OMP_NUM_THREADS"})
    if (const char* text = std::getenv(name))
      if (int count = std::atoi(text); count > 0) return std::min(count, max_threads);
  return std::min({affinity_count(), quota_count(), max_threads});
}

std::atomic<int>& wanted_threads() {
  static std::atomic<int> count{default_threads()};
  return count;
}

// ---- the pool ----

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until ready() or the time is over; says whether ready() held.
template <class Ready>
bool spin(int microseconds, Ready ready) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  do {
    for (int i = 0; i < 16; i++) {
      if (ready()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// One call of parallel_for; lives on the caller's stack.
struct Job {
  detail::ChunkFn fn;
  void* body;
  int64_t n, grain;
  int64_t chunks_per_claim;
  std::atomic<bool> failed{false};
  std::exception_ptr error{};

  void run_claim(int64_t claim) {
    const int64_t chunks = (n + grain - 1) / grain;
    const int64_t last = std::min(chunks, (claim + 1) * chunks_per_claim);
    for (int64_t c = claim * chunks_per_claim; c < last; c++) {
      if (failed.load(std::memory_order_relaxed)) return;
      try {
        fn(body, c * grain, std::min(n, (c + 1) * grain));
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
  }
};

thread_local bool inside = false;

struct Pool {
  // `ticket` is generation << 32 | next claim. A worker reads the ticket, then the job's fields, then takes
  // the claim with a compare-and-swap: if the job changed in between, so has the generation, and the swap
  // fails.
  alignas(64) std::atomic<uint64_t> ticket{0};
  std::atomic<Job*> job{nullptr};
  std::atomic<uint32_t> claims{0};
  std::atomic<int> active{0};  // workers with an index below this take part
  alignas(64) std::atomic<uint32_t> done{0};
  alignas(64) std::atomic<uint32_t> epoch{0};
  std::atomic<int> sleepers{0};
  std::atomic<bool> busy{false};
  int workers = 0;  // only touched while busy is held

  bool run_one() {
    uint64_t seen = ticket.load(std::memory_order_acquire);
    const uint32_t count = claims.load(std::memory_order_acquire);
    const auto claim = static_cast<uint32_t>(seen);
    if (claim >= count) return false;
    Job* current = job.load(std::memory_order_acquire);
    if (!ticket.compare_exchange_strong(seen, seen + 1, std::memory_order_acq_rel)) return true;
    current->run_claim(claim);
    if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == count) done.notify_one();
    return true;
  }

  void work(int index) {
    inside = true;
    for (uint32_t seen = 0;;) {
      if (index < active.load(std::memory_order_relaxed))
        while (run_one()) {}
      const auto changed = [&] { return epoch.load(std::memory_order_acquire) != seen; };
      if (!spin(30, changed)) {
        sleepers.fetch_add(1);
        epoch.wait(seen);
        sleepers.fetch_sub(1);
      }
      seen = epoch.load(std::memory_order_acquire);
    }
  }

  void grow(int target) {
    if (workers >= target) return;
    sigset_t all, old;  // signals belong to the program's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    try {
      // Detached, and the pool is never freed: nothing to wait for when the process ends.
      for (; workers < target; workers++) std::thread([this, index = workers] { work(index); }).detach();
    } catch (const std::exception&) {
      // The system gives no more threads; those we have, and the caller, do the work.
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }

  void run(Job& next, int threads) {
    grow(threads - 1);
    active.store(threads - 1, std::memory_order_relaxed);
    const int64_t chunks = (next.n + next.grain - 1) / next.grain;
    next.chunks_per_claim = std::max<int64_t>(1, chunks / (int64_t{64} * threads));
    const auto count = static_cast<uint32_t>((chunks + next.chunks_per_claim - 1) / next.chunks_per_claim);
    claims.store(0, std::memory_order_relaxed);
    job.store(&next, std::memory_order_relaxed);
    done.store(0, std::memory_order_relaxed);
    ticket.store(((ticket.load(std::memory_order_relaxed) >> 32) + 1) << 32, std::memory_order_release);
    claims.store(count, std::memory_order_release);
    epoch.fetch_add(1);
    if (sleepers.load() > 0) {
      if (static_cast<int>(count) - 1 < workers)
        for (uint32_t i = 1; i < count; i++) epoch.notify_one();
      else epoch.notify_all();
    }
    inside = true;
    while (run_one()) {}
    inside = false;
    if (!spin(50, [&] { return done.load(std::memory_order_acquire) == count; }))
      for (uint32_t now; (now = done.load(std::memory_order_acquire)) != count;) done.wait(now);
  }
};

std::atomic<Pool*> the_pool{nullptr};

// The child of a fork has none of the workers: it starts over with a new pool and leaves the old one alone.
void forget_pool() { the_pool.store(nullptr); }

Pool& pool() {
  Pool* current = the_pool.load(std::memory_order_acquire);
  if (current) return *current;
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
  (void)registered;
  auto* fresh = new Pool;
  if (the_pool.compare_exchange_strong(current, fresh)) return *fresh;
  delete fresh;
  return *current;
}

}  // namespace

int num_threads() { return wanted_threads().load(std::memory_order_relaxed); }

void set_num_threads(int count) { wanted_threads().store(std::clamp(count, 1, max_threads)); }

bool in_parallel() { return inside; }

namespace detail {

void run_chunks(int64_t n, int64_t grain, ChunkFn fn, void* body) {
  const int threads = inside ? 1 : num_threads();
  Pool* owned = threads > 1 ? &pool() : nullptr;
  // While another thread of the program uses the workers, this one does its work alone.
  if (!owned || owned->busy.exchange(true, std::memory_order_acquire)) {
    for (int64_t begin = 0; begin < n; begin += grain) fn(body, begin, std::min(n, begin + grain));
    return;
  }
  Job job{fn, body, n, grain, 1};
  owned->run(job, threads);
  owned->busy.store(false, std::memory_order_release);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace detail
}  // namespace rushlight

// The thread pool behind parallel_for. Chunks are claimed one by one by the workers and the caller, each beginning with a
// stretch of his own, so a thread that the system has put aside delays only the chunk it holds; there is no barrier at
// which all must arrive.
#include "parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

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

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Spins until ready() or the time is over; says whether ready() held.
template <class Ready>
bool spin(double microseconds, Ready ready) {
  const double end = now_us() + microseconds;
  do {
    for (int i = 0; i < 16; i++) {
      if (ready()) return true;
      pause();
    }
  } while (now_us() < end);
  return false;
}

// Where the caller of parallel_for runs. A scheduler that wakes a worker likes to put it on its caller's core, where it
// only gets in the way, and takes milliseconds to mend that.
class CallersPlace {
 public:
  // Called by the caller.
  void note() {
#if defined(__linux__)
    thread_local const pid_t self = static_cast<pid_t>(syscall(SYS_gettid));
    place_.store(uint64_t(self) << 32 | uint32_t(sched_getcpu()), std::memory_order_relaxed);
#endif
  }
  // Called by a worker: moves to another core that the caller may use, if there is one.
  void avoid() const {
#if defined(__linux__)
    const uint64_t place = place_.load(std::memory_order_relaxed);
    const int cpu = sched_getcpu();
    if (cpu < 0 || cpu != static_cast<int>(static_cast<uint32_t>(place))) return;
    cpu_set_t cores;  // systems with more than its 1,024 say EINVAL: the worker stays where it is
    if (sched_getaffinity(static_cast<pid_t>(place >> 32), sizeof cores, &cores) != 0) return;
    CPU_CLR(cpu, &cores);
    if (CPU_COUNT(&cores) > 0) sched_setaffinity(0, sizeof cores, &cores);
#endif
  }

 private:
  std::atomic<uint64_t> place_{UINT64_MAX};  // thread << 32 | core
};

// How a worker waits for the next job. To wake a sleeping thread takes longer than many a job, so it spins for as long
// as jobs have come quickly before. Spinning, it offers the core to others every few microseconds; where somebody
// takes it, cores are scarce: it sleeps, and spins less for the next while.
class Patience {
 public:
  template <class Ready, class Sleep>
  void wait(Ready ready, Sleep sleep) {
    const double start = now_us();
    double before = start;
    while (before - start < limit_) {
      if (spin(5, ready)) {
        limit_ = std::min(longest, 2 * limit_);
        return;
      }
      sched_yield();
      const double after = now_us();
      if (after - before > taken_away) {
        limit_ = shortest;
        break;
      }
      before = after;
    }
    if (ready()) return;
    sleep();
    limit_ = now_us() - start < longest ? std::min(longest, 2 * limit_) : std::max(shortest, limit_ / 2);
  }

 private:
  static constexpr double shortest = 20, longest = 1000, taken_away = 100;  // microseconds
  double limit_ = 200;
};

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

// A stretch of the claims. `ticket` is generation << 32 | next claim: whoever wants one reads the ticket, then the
// job's fields, then takes the claim with a compare-and-swap: if the job changed in between, so has the generation,
// and the swap fails.
struct alignas(64) Stretch {
  std::atomic<uint64_t> ticket{0};
};

struct Pool {
  // Everybody takes the claims of a stretch of his own, in order, before he helps the next one out: what a thread
  // has written in one job is in the cache of its core in the next one over the same memory.
  Stretch stretches[max_threads];
  alignas(64) std::atomic<Job*> job{nullptr};
  std::atomic<uint64_t> shape{0};  // of the job: number of threads << 32 | number of claims
  alignas(64) std::atomic<uint32_t> done{0};
  alignas(64) std::atomic<uint32_t> epoch{0};
  std::atomic<int> sleepers{0};
  std::atomic<bool> busy{false};
  CallersPlace caller;
  int workers = 0;  // only touched while busy is held, as is
  uint32_t generation = 0;

  // The first claim of a stretch; that of the one behind the last is the number of claims.
  static uint32_t first_claim(uint32_t count, int stretch, int threads) {
    return static_cast<uint32_t>(uint64_t{count} * stretch / threads);
  }

  // Runs one claim of a stretch; false where none is left.
  bool run_one(int stretch) {
    std::atomic<uint64_t>& ticket = stretches[stretch].ticket;
    uint64_t seen = ticket.load(std::memory_order_acquire);
    const uint64_t now = shape.load(std::memory_order_acquire);
    const auto count = static_cast<uint32_t>(now);
    const int threads = static_cast<int>(now >> 32);
    const auto claim = static_cast<uint32_t>(seen);
    if (stretch >= threads || claim >= first_claim(count, stretch + 1, threads)) return false;
    Job* current = job.load(std::memory_order_acquire);
    if (!ticket.compare_exchange_strong(seen, seen + 1, std::memory_order_acq_rel)) return true;
    current->run_claim(claim);
    if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == count) done.notify_one();
    return true;
  }

  void run_all(int own) {
    const int threads = static_cast<int>(shape.load(std::memory_order_acquire) >> 32);
    for (int i = 0; own < threads && i < threads; i++)
      while (run_one((own + i) % threads)) {}
  }

  void work(int index) {
    inside = true;
    Patience patience;
    for (uint32_t seen = 0;;) {
      caller.avoid();
      run_all(index + 1);
      patience.wait([&] { return epoch.load(std::memory_order_acquire) != seen; },
                    [&] {
                      sleepers.fetch_add(1);
                      epoch.wait(seen);
                      sleepers.fetch_sub(1);
                    });
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
    caller.note();
    grow(threads - 1);
    const int64_t chunks = (next.n + next.grain - 1) / next.grain;
    next.chunks_per_claim = std::max<int64_t>(1, chunks / (int64_t{64} * threads));
    const auto count = static_cast<uint32_t>((chunks + next.chunks_per_claim - 1) / next.chunks_per_claim);
    shape.store(0, std::memory_order_relaxed);
    job.store(&next, std::memory_order_relaxed);
    done.store(0, std::memory_order_relaxed);
    generation++;
    for (int i = 0; i < threads; i++)
      stretches[i].ticket.store(uint64_t{generation} << 32 | first_claim(count, i, threads),
                                std::memory_order_release);
    shape.store(uint64_t(threads) << 32 | count, std::memory_order_release);
    epoch.fetch_add(1);
    if (sleepers.load() > 0) {
      if (static_cast<int>(count) - 1 < workers)
        for (uint32_t i = 1; i < count; i++) epoch.notify_one();
      else epoch.notify_all();
    }
    inside = true;
    run_all(0);
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

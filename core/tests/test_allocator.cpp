// Checks the caching allocator: alignment, reuse, counters, other threads, fork, refusals.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <new>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "../device/allocator.h"

using namespace rushlight;

static int failures = 0;
#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      std::printf("line %d: %s\n", __LINE__, #condition); \
      ++failures; \
    } \
  } while (0)

static bool refuses(size_t bytes) {
  try {
    release(allocate(bytes), bytes);
  } catch (const std::bad_alloc&) { return true; }
  return false;
}

// Random allocations and releases, each block filled with its own byte: overlap would show.
static void churn(unsigned seed, int rounds) {
  std::mt19937 random(seed);
  struct Held {
    unsigned char* block;
    size_t bytes;
    unsigned char mark;
  };
  std::vector<Held> held;
  for (int i = 0; i < rounds; ++i) {
    if (held.size() < 50 || random() % 2) {
      const size_t bytes = random() % (size_t{1} << (random() % 22));
      auto* block = static_cast<unsigned char*>(allocate(bytes));
      CHECK(reinterpret_cast<uintptr_t>(block) % 64 == 0);
      const auto mark = static_cast<unsigned char>(random());
      std::memset(block, mark, bytes);
      held.push_back({block, bytes, mark});
    } else {
      std::swap(held[random() % held.size()], held.back());
      const Held h = held.back();
      held.pop_back();
      for (size_t k = 0; k < h.bytes; k += 61) CHECK(h.block[k] == h.mark);
      release(h.block, h.bytes);
    }
  }
  for (const Held& h : held) release(h.block, h.bytes);
}

int main() {
  const size_t before = memory_stats().allocated;
  for (size_t bytes : {0, 1, 63, 64, 65, 511, 512, 513, 1024, 1025, 65535, 65536, 65537, 1 << 20,
                       (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5 << 20}) {
    void* block = allocate(bytes);
    CHECK(block != nullptr && reinterpret_cast<uintptr_t>(block) % 64 == 0);
#if !defined(__SANITIZE_ADDRESS__)
    CHECK(bytes < (2u << 20) || reinterpret_cast<uintptr_t>(block) % (2u << 20) == 0);
#endif
    std::memset(block, 1, bytes);
    CHECK(memory_stats().allocated >= before + bytes);
    release(block, bytes);
    CHECK(memory_stats().allocated == before);
  }
#if !defined(__SANITIZE_ADDRESS__)
  for (size_t bytes : {100, 40000, 300000, 9 << 20}) {
    void* first = allocate(bytes);
    release(first, bytes);
    void* second = allocate(bytes);
    CHECK(first == second);
    release(second, bytes);
  }
  CHECK(memory_stats().cached >= (9u << 20));
  empty_cache();
  CHECK(memory_stats().cached == 0);
  CHECK(memory_stats().cache_limit > (1u << 20));

  reset_peak();  // ever new sizes: what is held stays near what was live
  std::mt19937 random(7);
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::pair<void*, size_t>> live;
    for (int k = 0; k < 4; ++k) {
      const size_t bytes = 70000 + random() % (8 << 20);
      live.emplace_back(allocate(bytes), bytes);
      std::memset(live.back().first, 1, bytes);
    }
    for (auto& [block, bytes] : live) release(block, bytes);
  }
  const MemoryStats held = memory_stats();
  CHECK(held.allocated + held.cached <= held.peak_allocated * 13 / 10);
#endif
  CHECK(refuses(SIZE_MAX) && refuses(SIZE_MAX - 4096) && refuses(SIZE_MAX / 2) &&
        refuses((size_t{1} << 47) - 5));

  reset_peak();
  void* peak_block = allocate(3 << 20);
  release(peak_block, 3 << 20);
  CHECK(memory_stats().peak_allocated >= before + (3u << 20) && memory_stats().allocated == before);
  reset_peak();
  CHECK(memory_stats().peak_allocated == before);
  void* small[100];
  for (void*& block : small) block = allocate(1000);
  for (void* block : small) release(block, 1000);
  CHECK(memory_stats().peak_allocated >= before + 100000);

  churn(1, 20000);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) threads.emplace_back(churn, t + 2, 10000);
  for (auto& thread : threads) thread.join();
  CHECK(memory_stats().allocated == before);

  std::vector<void*> handed(2000);  // allocated here, released there
  for (void*& block : handed) block = allocate(256);
  std::thread([&] {
    for (void* block : handed) release(block, 256);
  }).join();
  CHECK(memory_stats().allocated == before);

  std::atomic<bool> stop{false};  // fork while another thread works
  std::thread busy([&] {
    for (unsigned i = 0; !stop; ++i) churn(i, 500);
  });
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      churn(99, 500);
      empty_cache();
      _exit(failures != 0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  busy.join();

  release(allocate(500), 500);
  double best = 1e9;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 10000; ++i) release(allocate(500), 500);
    best = std::min(best,
                    std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 10000);
  }
  std::printf("allocate + release of 500 bytes: %.1f ns\n", best * 1e9);
  std::printf(failures ? "%d FAILED\n" : "ok\n", failures);
  return failures != 0;
}

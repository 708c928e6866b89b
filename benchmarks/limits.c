// What the processor can do at best: multiply-adds per second in registers, and bytes per second from and to memory.
// Prints "name one_thread all_threads" per line, in units of 10^9 per second. Compiled by limits.py for this machine.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __AVX512F__
#define WIDTH 64
#define CHAINS 24
#else
#define WIDTH 32
#define CHAINS 12
#endif
typedef float floats __attribute__((vector_size(WIDTH)));
typedef double doubles __attribute__((vector_size(WIDTH)));
enum { repeats = 4000000, megabytes = 256 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

// Independent chains of x = x * m + c, as many as registers allow: nothing but the units' throughput limits them.
#define CHAIN_LOOP(NAME, VECTOR, NUMBER)                                              \
  static double NAME(char* unused) {                                                  \
    VECTOR x[CHAINS], m = {0}, c = {0};                                               \
    (void)unused;                                                                     \
    m = m + (NUMBER)0.9999, c = c + (NUMBER)1e-4;                                     \
    _Pragma("GCC unroll 24") for (int i = 0; i < CHAINS; ++i) x[i] = c + (NUMBER)i;   \
    for (int k = 0; k < repeats; ++k) {                                               \
      _Pragma("GCC unroll 24") for (int i = 0; i < CHAINS; ++i) {                     \
        x[i] = x[i] * m + c;                                                          \
        __asm__ volatile("" : "+v"(x[i]));                                            \
      }                                                                               \
    }                                                                                 \
    VECTOR sum = x[0];                                                                \
    _Pragma("GCC unroll 24") for (int i = 1; i < CHAINS; ++i) sum += x[i];            \
    volatile NUMBER keep = sum[0];                                                    \
    (void)keep;                                                                       \
    return 2.0 * repeats * CHAINS * (WIDTH / sizeof(NUMBER));                         \
  }
CHAIN_LOOP(fma_f32, floats, float)
CHAIN_LOOP(fma_f64, doubles, double)

static const size_t half = (size_t)megabytes << 19;
static double copy(char* memory) {
  memcpy(memory, memory + half, half);
  return 2.0 * half;
}
static double read_all(char* memory) {
  const floats* p = (const floats*)memory;
  floats s[8] = {{0}};
  for (size_t i = 0; i + 8 <= 2 * half / WIDTH; i += 8)
    for (int j = 0; j < 8; ++j) s[j] += p[i + j];
  for (int j = 1; j < 8; ++j) s[0] += s[j];
  volatile float keep = s[0][0];
  (void)keep;
  return 2.0 * half;
}

struct job {
  double (*work)(char*);
  char* memory;
  double done;
};
static void* run(void* p) {
  struct job* j = p;
  j->done = j->work(j->memory);
  return NULL;
}

// The best of five runs on `threads` threads.
static double best(double (*work)(char*), struct job* jobs, int threads) {
  double result = 0;
  for (int round = 0; round < 5; ++round) {
    pthread_t ids[256];
    double start = now(), done = 0;
    for (int t = 0; t < threads; ++t) jobs[t].work = work;
    for (int t = 1; t < threads; ++t) pthread_create(&ids[t], NULL, run, &jobs[t]);
    run(&jobs[0]);
    for (int t = 1; t < threads; ++t) pthread_join(ids[t], NULL);
    double seconds = now() - start;
    for (int t = 0; t < threads; ++t) done += jobs[t].done;
    if (done / seconds > result) result = done / seconds;
  }
  return result * 1e-9;
}

int main(int argc, char** argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 1;
  if (threads < 1 || threads > 256) return 1;
  static struct job jobs[256];
  for (int t = 0; t < threads; ++t) {
    jobs[t].memory = aligned_alloc(64, 2 * half);
    if (!jobs[t].memory) return 1;
    memset(jobs[t].memory, 0, 2 * half);
  }
  struct {
    const char* name;
    double (*work)(char*);
  } all[] = {{"fma_f32", fma_f32}, {"fma_f64", fma_f64}, {"copy", copy}, {"read", read_all}};
  for (int i = 0; i < 4; ++i)
    printf("%s %g %g\n", all[i].name, best(all[i].work, jobs, 1), best(all[i].work, jobs, threads));
  return 0;
}

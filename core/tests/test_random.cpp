// Checks the generator and the samplers: the published MT19937 sequence, streams recorded from PyTorch 2.13
// with seed 1234, independence of how the draws are batched, the state's bytes, and refusals.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../kernels/half.h"
#include "../kernels/random.h"

using namespace rushlight;
using D = RandomDtype;

static int failures = 0;
#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      std::printf("line %d: %s\n", __LINE__, #condition); \
      ++failures; \
    } \
  } while (0)

template <class T>
static std::string hex(const std::vector<T>& values) {
  std::string text;
  for (size_t i = 0; i < values.size() * sizeof(T); ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", reinterpret_cast<const unsigned char*>(values.data())[i]);
    text += digits;
  }
  return text;
}

// What `sample` writes with a fresh generator of seed 1234.
template <class T, class Sample>
static std::string drawn(size_t count, Sample sample) {
  Generator g(1234);
  std::vector<T> values(count);
  sample(g, values.data(), count);
  return hex(values);
}

template <class Action>
static std::string refusal(Action action) {
  try {
    action();
  } catch (const RandomNotImplemented& error) {
    return std::string("not implemented: ") + error.what();
  } catch (const std::runtime_error& error) { return error.what(); }
  return "";
}

static void test_streams() {
  CHECK(drawn<float>(5, [](Generator& g, void* o, size_t n) { uniform(g, D::f32, o, n, 0, 1); }) ==
        "e065ed3ca6c5cd3e4c0a853e6ab8bb3ec0cc6e3d");
  CHECK(drawn<double>(5, [](Generator& g, void* o, size_t n) { uniform(g, D::f64, o, n, 0, 1); }) ==
        "4c8b9bfdbdaccd3fa8e1ee8a3629b43fe8ba663999d9dd3ff2afef8a3185da3f62b5a9b81ffdd83f");
  CHECK(drawn<float>(5, [](Generator& g, void* o, size_t n) { normal(g, D::f32, o, n, 0, 1); }) ==
        "4cf33c3dbe07ce3ec97981bfa1f05d3eeebd1cbf");
  CHECK(drawn<float>(17, [](Generator& g, void* o, size_t n) { normal(g, D::f32, o, n, 0, 1); }) ==
        "b4cce4bd3f01bdbd9e7534bf341acdbf8c04943e5ad0fa3eb742c5bee64736bfb50c233fe3cebabf74f4613e81297c3e7093"
        "a9bf516d"
        "323fe6bd29bfec9d9b3fdcbf21c0");
  CHECK(drawn<bfloat16>(17, [](Generator& g, void* o, size_t n) { normal(g, D::bf16, o, n, 0, 1); }) ==
        "e5bd4d3fbdbd34bfcdbf943efb3ec5be36bf2fbebbbf623e7c3eaabf323f2abf9c3f");
  CHECK(drawn<int64_t>(6, [](Generator& g, void* o,
                             size_t n) { random_range(g, D::i64, o, n, -5, int64_t{1} << 40); }) ==
        "b7bd717e2f000000978f41ce26000000d312839acc000000aa958ac198000000367c6ed88f000000bf39332517000000");
  CHECK(drawn<float>(10, [](Generator& g, void* o, size_t n) { bernoulli(g, D::f32, o, n, 0.3); }) ==
        "0000803f0000803f0000000000000000000000000000803f0000803f0000803f0000803f00000000");
  CHECK(drawn<uint8_t>(10, [](Generator& g, void* o, size_t n) {
          randperm(g, D::u8, o, static_cast<int64_t>(n));
        }) == "05040802060901070003");
  const float weights[] = {.1f, .2f, .3f, .4f}, rates[] = {0.5f, 3.f, 9.9f, 10.f, 50.f};
  CHECK(drawn<int64_t>(3, [&](Generator& g, int64_t* o, size_t n) {
          multinomial(g, D::f32, weights, 1, 4, o, static_cast<int64_t>(n), false);
        }) == "010000000000000003000000000000000200000000000000");
  CHECK(drawn<float>(5, [&](Generator& g, void* o, size_t n) { poisson(g, D::f32, rates, o, n); }) ==
        "000000000000803f000000410000404100003442");
  const float trials[] = {10.f, 40.f, 100.f}, p[] = {.2f, .5f, .9f}, alpha[] = {.1f, .5f, 1.f, 2.f, 10.f};
  CHECK(drawn<float>(3, [&](Generator& g, void* o, size_t n) { binomial(g, D::f32, trials, p, o, n); }) ==
        "0000803f0000a0410000b642");
  CHECK(drawn<float>(5, [&](Generator& g, void* o, size_t n) { standard_gamma(g, D::f32, alpha, o, n); }) ==
        "812a123e77202f3fa9a35f3f45ca2e40aecd1f41");
}

static void test_engine() {
  Generator g(5489);
  std::mt19937 standard(5489);
  for (int i = 0; i < 3000; ++i) CHECK(g.u32() == standard());
  for (size_t batch : {1, 3, 623, 624, 625, 2000}) {  // batches against single draws
    std::vector<uint32_t> words(batch);
    g.fill_u32(words.data(), batch);
    for (uint32_t w : words) CHECK(w == standard());
  }
  CHECK(Generator(1).u32() == Generator((uint64_t{7} << 32) + 1).u32());
  CHECK(Generator((uint64_t{7} << 32) + 1).initial_seed() == (uint64_t{7} << 32) + 1);
  Generator a, b;
  CHECK(a.initial_seed() == Generator::default_seed && a.seed() != b.seed());

  std::vector<double> whole(1000), parts(1000);  // an odd number of words before doubles
  Generator x(3), y(3);
  CHECK(x.u32() == y.u32());
  x.fill_u53(whole.data(), 1000);
  for (double& v : parts) v = y.u53();
  CHECK(whole == parts);
}

static void test_state() {
  Generator g(42);
  CHECK(g.normal() != 0);  // leaves one kept normal
  uint8_t state[Generator::state_size];
  g.get_state(state);
  Generator h;
  h.set_state(state, sizeof state);
  CHECK(h.initial_seed() == 42 && h.normal() == g.normal() && h.u64() == g.u64());
  uint8_t again[Generator::state_size];
  g.set_state(state, sizeof state);
  g.get_state(again);
  CHECK(std::memcmp(state, again, sizeof state) == 0);
  CHECK(state[0] == 42 && state[12] == 1 && state[5040] == 1);

  CHECK(refusal([&] { h.set_state(state, 10); }) ==
        "Expected a CPUGeneratorImplState of size 5056 but found the input RNG state size to be 10");
  for (int place : {8, 12, 16}) {  // left = 0, not seeded, next too large
    std::memcpy(again, state, sizeof state);
    std::memset(again + place, place == 16 ? 0xff : 0, 4);
    CHECK(refusal([&] { h.set_state(again, sizeof again); }) == "Invalid mt19937 state");
  }
  CHECK(h.u32() == [&] {
    g.normal();
    g.u64();
    return g.u32();
  }());  // refusals left h alone
}

static void test_refusals() {
  Generator g(1);
  float f[4];
  uint8_t u[4];
  int64_t i[4];
  CHECK(refusal([&] { random_range(g, D::i64, i, 4, 5, 5); }) ==
        "random_ expects 'from' to be less than 'to', but got from=5 >= to=5");
  CHECK(refusal([&] { random_range(g, D::u8, u, 4, 0, 257); }) ==
        "to - 1 is out of bounds for unsigned char");
  CHECK(refusal([&] { uniform(g, D::f32, f, 4, 2, 1); }) ==
        "uniform_ expects to return a [from, to) range, but found from=2 > to=1");
  CHECK(refusal([&] { uniform(g, D::i64, i, 4, 0, 1); }) ==
        "not implemented: \"check_uniform_bounds\" not implemented for 'Long'");
  CHECK(refusal([&] { normal(g, D::f32, f, 4, 0, -1); }) == "normal expects std >= 0.0, but found std -1");
  CHECK(refusal([&] { bernoulli(g, D::f32, f, 4, 1.2); }) ==
        "bernoulli_ expects p to be in [0, 1], but got p=1.2");
  CHECK(refusal([&] { exponential(g, D::f32, f, 4, 0); }) ==
        "exponential_ expects lambda > 0.0, but found lambda=0");
  CHECK(refusal([&] { geometric(g, D::f32, f, 4, 1); }) ==
        "geometric_ expects p to be in (0, 1), but got p=1");
  CHECK(refusal([&] { cauchy(g, D::f32, f, 4, 0, 0); }) == "cauchy_ expects sigma > 0.0, but found sigma=0");
  CHECK(refusal([&] { log_normal(g, D::f32, f, 4, 0, 0); }) ==
        "log_normal_ expects std > 0.0, but found std=0");
  CHECK(g.u32() == Generator(1).u32());  // nothing was drawn
}

int main() {
  test_streams();
  test_engine();
  test_state();
  test_refusals();

  Generator g;
  std::vector<float> values(1 << 20);
  const auto measure = [&](const char* name, auto sample) {
    double best = 1e9;
    for (int repeat = 0; repeat < 5; ++repeat) {
      const auto start = std::chrono::steady_clock::now();
      sample();
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::printf("%-10s %.2f ns per float\n", name, best / static_cast<double>(values.size()) * 1e9);
  };
  measure("uniform", [&] { uniform(g, D::f32, values.data(), values.size(), 0, 1); });
  measure("normal", [&] { normal(g, D::f32, values.data(), values.size(), 0, 1); });
  measure("bernoulli", [&] { bernoulli(g, D::f32, values.data(), values.size(), 0.9); });
  std::printf(failures ? "%d FAILED\n" : "ok\n", failures);
  return failures != 0;
}

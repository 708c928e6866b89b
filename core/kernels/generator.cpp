// The MT19937 generator behind every CPU sampler: seeding, batches of draws, the state's bytes.
#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "random.h"
#include "random_dispatch.h"
#include "with_isa.h"

namespace rushlight {

using random_detail::fail;

void Generator::manual_seed(uint64_t seed) {
  seed_ = seed;
  words_[0] = static_cast<uint32_t>(seed);
  for (uint32_t i = 1; i < kWords; ++i) {
    words_[i] = 1812433253u * (words_[i - 1] ^ (words_[i - 1] >> 30)) + i;
  }
  left_ = 1;
  next_ = 0;
  has_normal_ = has_float_normal_ = false;
  normal_ = 0.0;
  float_normal_ = 0.0f;
}

uint64_t Generator::seed() {
  std::random_device system;
  const uint64_t high = system();
  manual_seed(high << 32 | system());
  return seed_;
}

namespace {

// The loops take values: what a lambda holds would be read anew after each store, and they would not vectorise.
RL_INLINE uint32_t twist(uint32_t u, uint32_t v) {
  return (((u & 0x80000000u) | (v & 0x7fffffffu)) >> 1) ^ ((0u - (v & 1u)) & 0x9908b0dfu);
}
// Words first <= i < last from those `ahead` places away (behind, if negative).
template <int first, int last, int ahead>
RL_INLINE void twist_words(uint32_t* words) {
  for (int i = first; i < last; ++i) words[i] = words[i + ahead] ^ twist(words[i], words[i + 1]);
}
RL_INLINE void to_u24(const uint32_t* words, float* out, size_t n) {
  RL_INDEPENDENT
  for (size_t i = 0; i < n; ++i)
    out[i] = static_cast<float>(static_cast<int32_t>(words[i] & 0xffffffu)) * 0x1p-24f;
}
// 53 bits, as two halves placed in the low bits of 2^84 and 2^52: before AVX-512 vectors have no 64-bit conversion.
RL_INLINE void to_u53(const uint32_t* words, double* out, size_t n) {
  RL_INDEPENDENT
  for (size_t i = 0; i < n; ++i) {
    const uint64_t high = words[2 * i] & 0x1fffffu, low = words[2 * i + 1];
    const double top = std::bit_cast<double>(uint64_t{0x4530000000000000} | high) - 0x1p84;
    out[i] = (top + (std::bit_cast<double>(uint64_t{0x4330000000000000} | low) - 0x1p52)) * 0x1p-53;
  }
}

}  // namespace

void Generator::regenerate() {
  // Two runs, neither of which reads what it wrote less than 227 places before: they vectorise.
  constexpr int first = kWords - kShift;
  uint32_t* const words = words_;
  with_isa([words] {
    twist_words<0, first, kShift>(words);
    twist_words<first, kWords - 1, -first>(words);
  });
  words_[kWords - 1] = words_[kShift - 1] ^ twist(words_[kWords - 1], words_[0]);
  left_ = kWords;
  next_ = 0;
}

void Generator::temper_words(const uint32_t* words, uint32_t* out, size_t n) {
  RL_INDEPENDENT
  for (size_t i = 0; i < n; ++i) out[i] = temper(words[i]);
}

void Generator::fill_u32(uint32_t* out, size_t count) {
  while (count > 0) {
    if (left_ == 1) {
      regenerate();
      ++left_;  // as before a draw
    }
    const size_t n = std::min(count, static_cast<size_t>(left_ - 1));
    with_isa([words = words_ + next_, out, n] { temper_words(words, out, n); });
    next_ += static_cast<uint32_t>(n);
    left_ -= static_cast<int32_t>(n);
    out += n;
    count -= n;
  }
}

void Generator::fill_u24(float* out, size_t count) {
  uint32_t words[512];
  while (count > 0) {
    const size_t n = std::min(count, std::size(words));
    fill_u32(words, n);
    with_isa([from = &words[0], out, n] { to_u24(from, out, n); });
    out += n;
    count -= n;
  }
}

void Generator::fill_u53(double* out, size_t count) {
  uint32_t words[512];
  while (count > 0) {
    const size_t n = std::min(count, std::size(words) / 2);
    fill_u32(words, 2 * n);
    with_isa([from = &words[0], out, n] { to_u53(from, out, n); });
    out += n;
    count -= n;
  }
}

double Generator::normal() {
  if (has_normal_) {
    has_normal_ = false;
    const double kept = normal_;
    normal_ = 0.0;
    return kept;
  }
  const double u1 = u53(), u2 = u53();
  const double radius = std::sqrt(-2.0 * std::log1p(-u2));
  const double angle = 2.0 * 3.14159265358979323846 * u1;
  normal_ = radius * std::sin(angle);
  has_normal_ = true;
  return radius * std::cos(angle);
}

namespace {

// The state as PyTorch stores it. All members are aligned without hidden padding.
struct StateBytes {
  uint64_t seed;
  int32_t left;
  int32_t seeded;
  uint64_t next;
  uint64_t words[624];
  double normal_x;    // always 0
  double normal;      // the kept double normal
  double normal_rho;  // always 0
  int32_t has_normal;
  int32_t padding1;
  float float_normal;
  uint8_t has_float_normal;
  uint8_t padding2[3];
};
static_assert(sizeof(StateBytes) == Generator::state_size);

}  // namespace

void Generator::get_state(uint8_t* bytes) const {
  StateBytes state{};
  state.seed = seed_;
  state.left = left_;
  state.seeded = 1;
  state.next = next_;
  for (int i = 0; i < kWords; ++i) state.words[i] = words_[i];
  state.normal = has_normal_ ? normal_ : 0.0;
  state.has_normal = has_normal_;
  state.float_normal = has_float_normal_ ? float_normal_ : 0.0f;
  state.has_float_normal = has_float_normal_;
  std::memcpy(bytes, &state, sizeof state);
}

void Generator::set_state(const uint8_t* bytes, size_t size) {
  if (size != state_size) {
    fail("Expected a CPUGeneratorImplState of size ", state_size,
         " but found the input RNG state size to be ", size);
  }
  StateBytes state;
  std::memcpy(&state, bytes, sizeof state);
  // The third test also keeps draws inside the table: a true state has left + next = 625, or 1 + 0 when just
  // seeded.
  if (!state.seeded || state.left <= 0 || state.left > kWords || state.next > kWords ||
      state.next + static_cast<uint64_t>(state.left) > kWords + 1) {
    fail("Invalid mt19937 state");
  }
  seed_ = state.seed;
  left_ = state.left;
  next_ = static_cast<uint32_t>(state.next);
  for (int i = 0; i < kWords; ++i) words_[i] = static_cast<uint32_t>(state.words[i]);
  has_normal_ = state.has_normal != 0;
  normal_ = has_normal_ ? state.normal : 0.0;
  has_float_normal_ = state.has_float_normal != 0;
  float_normal_ = has_float_normal_ ? state.float_normal : 0.0f;
}

}  // namespace rushlight

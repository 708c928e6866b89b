// Random numbers of the CPU: the generator (MT19937) and samplers that fill contiguous memory. Seeds, streams
// and generator states equal PyTorch's bit for bit. Samplers draw in the order of memory, on one thread; the
// caller passes contiguous memory, holds the generator's lock, and hands complex tensors over as twice as
// many reals. Bad arguments throw std::runtime_error (RandomNotImplemented for a dtype), scalar ones before
// anything is drawn. An empty range draws nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace rushlight {

// A sampler that a dtype does not have.
struct RandomNotImplemented : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class RandomDtype : uint8_t { u8, i8, i16, i32, i64, f16, bf16, f32, f64, boolean };

class Generator {
 public:
  static constexpr uint64_t default_seed = 67280421310721;
  static constexpr size_t state_size = 5056;

  Generator() { manual_seed(default_seed); }
  explicit Generator(uint64_t seed) { manual_seed(seed); }

  void manual_seed(uint64_t seed);  // the engine uses the low 32 bits; initial_seed() keeps all
  uint64_t initial_seed() const { return seed_; }
  uint64_t seed();  // seeds from the operating system and returns the seed

  void get_state(uint8_t* bytes) const;  // writes state_size bytes
  void set_state(const uint8_t* bytes,
                 size_t size);  // std::runtime_error when malformed, nothing changed then

  uint32_t u32() {
    if (--left_ == 0) regenerate();
    return temper(words_[next_++]);
  }
  uint64_t u64() {  // the first draw is the high half
    const uint64_t high = u32();
    return high << 32 | u32();
  }
  float u24() { return static_cast<float>(static_cast<int32_t>(u32() & 0xffffffu)) * 0x1p-24f; }
  double u53() { return static_cast<double>(u64() & ((uint64_t{1} << 53) - 1)) * 0x1p-53; }
  double normal();  // standard normal; they come in pairs, and the second is kept for the next call

  void fill_u32(uint32_t* out, size_t count);  // the same as count calls of u32
  void fill_u24(float* out, size_t count);
  void fill_u53(double* out, size_t count);

 private:
  static constexpr int kWords = 624;
  static constexpr int kShift = 397;

  static uint32_t temper(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }
  static inline __attribute__((always_inline)) void temper_words(const uint32_t* words, uint32_t* out,
                                                                 size_t n);
  void regenerate();

  uint64_t seed_ = 0;
  uint32_t words_[kWords];
  int32_t left_ = 1;   // draws until the words are renewed, plus one
  uint32_t next_ = 0;  // index of the next word
  bool has_normal_ = false;
  bool has_float_normal_ = false;  // carried in the state, used by no sampler
  double normal_ = 0.0;
  float float_normal_ = 0.0f;
};

// ---- integers (random.cpp)

void random_(Generator& g, RandomDtype dtype, void* out, size_t count);  // the dtype's whole range, from zero
void random_range(Generator& g, RandomDtype dtype, void* out, size_t count, int64_t from,
                  int64_t to);  // [from, to)
// From `from` to the dtype's largest value; INT64_MIN draws all 64 bits.
void random_from(Generator& g, RandomDtype dtype, void* out, size_t count, int64_t from);
void randperm(Generator& g, RandomDtype dtype, void* out, int64_t count);

// ---- floating-point types (random.cpp)

void uniform(Generator& g, RandomDtype dtype, void* out, size_t count, double from, double to);
// `contiguous` tells whether the tensor itself is contiguous: 16 and more such elements are drawn in blocks,
// with different numbers than the one-by-one way.
void normal(Generator& g, RandomDtype dtype, void* out, size_t count, double mean, double std,
            bool contiguous = true);

// ---- one double draw for each element, any dtype where it makes sense (random.cpp)

void exponential(Generator& g, RandomDtype dtype, void* out, size_t count, double lambda);
void cauchy(Generator& g, RandomDtype dtype, void* out, size_t count, double median, double sigma);
void log_normal(Generator& g, RandomDtype dtype, void* out, size_t count, double mean, double std);
void geometric(Generator& g, RandomDtype dtype, void* out, size_t count, double p);
void bernoulli(Generator& g, RandomDtype dtype, void* out, size_t count, double p);
// One probability per element. The dtype of p decides how much is drawn: pass float for float and 16-bit
// probabilities, double for double ones.
void bernoulli(Generator& g, RandomDtype dtype, void* out, size_t count, const float* p);
void bernoulli(Generator& g, RandomDtype dtype, void* out, size_t count, const double* p);

// ---- parameters per element (random_samplers.cpp); `dtype` is that of the parameters and of the result

// `samples` indices for each of `rows` rows of `columns` weights. One sample is drawn as without replacement.
void multinomial(Generator& g, RandomDtype dtype, const void* weights, int64_t rows, int64_t columns,
                 int64_t* out, int64_t samples, bool replacement);
void poisson(Generator& g, RandomDtype dtype, const void* rate, void* out, size_t count);
void binomial(Generator& g, RandomDtype dtype, const void* trials, const void* p, void* out, size_t count);
void standard_gamma(Generator& g, RandomDtype dtype, const void* alpha, void* out, size_t count);
void dirichlet(Generator& g, RandomDtype dtype, const void* alpha, void* out, size_t rows, size_t columns);

}  // namespace rushlight

// The samplers whose parameters are plain numbers: integers, uniform, normal and one-draw distributions.
#include "random.h"

#include <atomic>
#include <bit>
#include <cmath>
#include <limits>

#include "parallel.h"
#include "random_dispatch.h"
#include "random_normal.h"
#include "with_isa.h"

namespace rushlight {

using namespace random_detail;

// ---- integers

namespace {

const char* c_name(RandomDtype dtype) {
  constexpr const char* names[] = {"unsigned char", "signed char",   "short", "int",    "long",
                                   "c10::Half",     "c10::BFloat16", "float", "double", "bool"};
  return names[static_cast<int>(dtype)];
}

// Mantissa digits of a floating-point type: integers up to 2^digits are exact.
template <class T>
constexpr int kDigits = std::numeric_limits<T>::digits;

template <class T>
T from_int64(int64_t v) {
  if constexpr (std::is_same_v<T, bool>) {
    return v != 0;
  } else {
    return static_cast<T>(v);
  }
}

// out[i] = base + draws[i] % range for range < 2^28. The division is done in double, where all of it is exact but the quotient,
// which is off by one at most: integers have no vector division.
template <class T>
RL_INLINE void store_remainders(T* out, size_t count, const uint32_t* draws, uint64_t base, uint32_t range) {
  const double divisor = range, inverse = 1.0 / divisor;
  RL_INDEPENDENT
  for (size_t i = 0; i < count; ++i) {
    // a draw placed in the low bits of 2^52
    const double draw = std::bit_cast<double>(uint64_t{0x4330000000000000} | draws[i]) - 0x1p52;
    double rest = draw - __builtin_trunc(draw * inverse) * divisor;
    rest = rest < 0.0 ? rest + divisor : rest;
    rest = rest >= divisor ? rest - divisor : rest;
    out[i] = from_int64<T>(
        static_cast<int64_t>(base + static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(rest)))));
  }
}
// out[i] = one where u[i] < p(i)
template <class T, class U, class P>
RL_INLINE void store_below(T* out, size_t count, const U* u, T one, T zero, P p) {
  RL_INDEPENDENT
  for (size_t i = 0; i < count; ++i) out[i] = u[i] < p(i) ? one : zero;
}

template <class T>
void fill_range(Generator& g, T* out, size_t count, int64_t from, uint64_t range) {
  const auto base = static_cast<uint64_t>(from);
  if (range >= uint64_t{1} << 28) {
    for (size_t i = 0; i < count; ++i) out[i] = from_int64<T>(static_cast<int64_t>(base + g.u64() % range));
    return;
  }
  const auto small = static_cast<uint32_t>(range);
  in_chunks<uint32_t>(g, count, [&](const uint32_t* draws, size_t n, size_t at) {
    with_isa([=] { store_remainders(out + at, n, draws, base, small); });
  });
}

int floor_log2(int64_t v) {
  const uint64_t magnitude = v < 0 ? 0 - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
  return std::bit_width(magnitude) - 1;
}

// The nearest value of type T as an integer; INT64_MIN beyond the integers, as x86's conversion has it.
template <class T>
int64_t through(int64_t v) {
  const auto value = static_cast<double>(static_cast<T>(v));
  return value >= -0x1p63 && value < 0x1p63 ? static_cast<int64_t>(value)
                                            : std::numeric_limits<int64_t>::min();
}

// The bound as the dtype can represent it, moved inwards by one step where rounding went outwards.
template <class T>
int64_t tighten_from(int64_t from) {
  const int64_t next = from == std::numeric_limits<int64_t>::max() ? from : from + 1;
  const int64_t rounded = through<T>(next);
  return rounded < from ? rounded + (int64_t{1} << std::max(floor_log2(next) - kDigits<T> + 1, 0)) : from;
}
template <class T>
int64_t tighten_to(int64_t to) {
  const int64_t rounded = through<T>(to - 1);
  return rounded >= to ? rounded - (int64_t{1} << std::max(floor_log2(to - 1) - kDigits<T> + 1, 0)) : to;
}

template <class T>
void check_bound(RandomDtype dtype, int64_t bound, const char* name) {
  bool inside;
  if constexpr (std::is_same_v<T, bool>) {
    inside = bound == 0 || bound == 1;
  } else if constexpr (is_floating<T>) {
    inside = std::fabs(static_cast<double>(bound)) <= static_cast<double>(std::numeric_limits<T>::max());
  } else {
    inside = bound >= std::numeric_limits<T>::min() && bound <= std::numeric_limits<T>::max();
  }
  if (!inside) fail(name, " is out of bounds for ", c_name(dtype));
}

}  // namespace

void random_(Generator& g, RandomDtype dtype, void* out, size_t count) {
  visit(dtype, [&]<class T>(T*) {
    T* to = static_cast<T*>(out);
    if constexpr (std::is_same_v<T, int64_t>) {
      for (size_t i = 0; i < count; ++i) to[i] = static_cast<int64_t>(g.u64() & ~(uint64_t{1} << 63));
    } else if constexpr (std::is_same_v<T, double>) {
      for (size_t i = 0; i < count; ++i) to[i] = static_cast<double>(g.u64() % ((uint64_t{1} << 53) + 1));
    } else {
      uint32_t range;
      if constexpr (std::is_same_v<T, bool>) {
        range = 2;
      } else if constexpr (is_floating<T>) {
        range = (uint32_t{1} << kDigits<T>)+1;
      } else {
        range = static_cast<uint32_t>(std::numeric_limits<T>::max()) + 1;
      }
      in_chunks<uint32_t>(g, count, [&](const uint32_t* draws, size_t n, size_t at) {
        for (size_t i = 0; i < n; ++i) to[at + i] = from_int64<T>(draws[i] % range);
      });
    }
  });
}

void random_range(Generator& g, RandomDtype dtype, void* out, size_t count, int64_t from, int64_t to) {
  if (from >= to) { fail("random_ expects 'from' to be less than 'to', but got from=", from, " >= to=", to); }
  visit(dtype, [&]<class T>(T*) {
    int64_t low = from, high = to;
    if constexpr (is_floating<T>) {
      check_bound<T>(dtype, low, "from");
      check_bound<T>(dtype, high - 1, "to - 1");
      low = tighten_from<T>(low);
      high = tighten_to<T>(high);
      if (low >= high) {
        fail("random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but got from=",
             low, " >= to=", high);
      }
    }
    check_bound<T>(dtype, low, "from");
    check_bound<T>(dtype, high - 1, "to - 1");
    fill_range(g, static_cast<T*>(out), count, low, static_cast<uint64_t>(high) - static_cast<uint64_t>(low));
  });
}

void random_from(Generator& g, RandomDtype dtype, void* out, size_t count, int64_t from) {
  visit(dtype, [&]<class T>(T*) {
    T* to = static_cast<T*>(out);
    if (from == std::numeric_limits<int64_t>::min()) {
      constexpr bool wide = std::is_same_v<T, int64_t> || std::is_same_v<T, double> ||
                            std::is_same_v<T, float> || std::is_same_v<T, bfloat16>;
      if (std::is_same_v<T, half>) not_implemented("random_full_64_bits_range_kernel_cpu", dtype);
      if (!wide) fail("random_full_64_bits_range_kernel_cpu handles only int64, double, float and bfloat16");
      for (size_t i = 0; i < count; ++i) to[i] = from_int64<T>(static_cast<int64_t>(g.u64()));
      return;
    }
    int64_t low = from, last;
    if constexpr (std::is_same_v<T, bool>) {
      last = 1;
    } else if constexpr (is_floating<T>) {
      last = int64_t{1} << kDigits<T>;
      low = tighten_from<T>(low);
      if (low >= last) {
        fail(
            "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' casted to dtype, "
            "but got from=",
            low, " > to_inc=", last);
      }
    } else {
      last = std::numeric_limits<T>::max();
    }
    check_bound<T>(dtype, low, "from");
    check_bound<T>(dtype, last, "to - 1");
    fill_range(g, to, count, low, static_cast<uint64_t>(last) - static_cast<uint64_t>(low) + 1);
  });
}

void randperm(Generator& g, RandomDtype dtype, void* out, int64_t count) {
  if (count < 0) fail("Trying to create tensor with negative dimension ", count, ": [", count, "]");
  visit(dtype, [&]<class T>(T*) {
    if constexpr (is_floating<T>) {
      constexpr int64_t limit = (int64_t{1} << kDigits<T>)+1;
      if (count > limit) fail("n cannot be greater than ", limit, " for ", scalar_name(dtype), " type.");
    } else if constexpr (sizeof(T) < 8) {
      constexpr const char* names[] = {"uint8_t", "int8_t", "int16_t", "int"};
      if (count > static_cast<int64_t>(std::numeric_limits<T>::max())) {
        fail("value cannot be converted to type ",
             std::is_same_v<T, bool> ? "bool" : names[static_cast<int>(dtype) & 3], " without overflow");
      }
    }
    T* r = static_cast<T*>(out);
    if (count < int64_t{0xffffffff} / 20) {  // the modulo bias of 32 bits is small enough
      for (int64_t i = 0; i < count; ++i) r[i] = from_int64<T>(i);
      for (int64_t i = 0; i + 1 < count; ++i) {
        const auto other = i + static_cast<int64_t>(g.u32() % static_cast<uint32_t>(count - i));
        const T kept = r[i];
        r[i] = r[other];
        r[other] = kept;
      }
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      const auto other = static_cast<int64_t>(g.u64() % static_cast<uint64_t>(i + 1));
      r[i] = r[other];
      r[other] = from_int64<T>(i);
    }
  });
}

// ---- floating-point types

void uniform(Generator& g, RandomDtype dtype, void* out, size_t count, double from, double to) {
  visit_floating("check_uniform_bounds", dtype, [&]<class T>(T*) {
    const auto largest = static_cast<double>(std::numeric_limits<T>::max());
    if (!(from >= -largest && from <= largest)) fail("from is out of bounds for ", c_name(dtype));
    if (!(to >= -largest && to <= largest)) fail("to is out of bounds for ", c_name(dtype));
    if (from > to) {
      fail("uniform_ expects to return a [from, to) range, but found from=", from, " > to=", to);
    }
    if (to - from > largest) {
      fail("uniform_ expects to-from <= std::numeric_limits<", scalar_name(dtype),
           ">::max(), but found to=", to, " and from=", from, " which result in to-from to exceed the limit");
    }
    T* values = static_cast<T*>(out);
    if constexpr (HalfPrecision<T>) {
      const auto low = static_cast<float>(from), high = static_cast<float>(to);
      const T first(low), last(high);
      in_chunks<float>(g, count, [&](float* u, size_t n, size_t at) {
        scale_add(u, n, high - low, low);
        for (size_t i = 0; i < n; ++i) {
          const T v(u[i]);
          values[at + i] = v == last ? first : v;  // rounding may have reached the open end
        }
      });
    } else {
      const auto low = static_cast<T>(from), high = static_cast<T>(to);
      constexpr size_t chunk = 4096;
      for (size_t done = 0; done < count; done += chunk) {
        const size_t n = std::min(chunk, count - done);
        T* v = values + done;
        if constexpr (std::is_same_v<T, double>) {
          g.fill_u53(v, n);
        } else {
          g.fill_u24(v, n);
        }
        scale_add(v, n, high - low, low);
        for (size_t i = 0; i < n; ++i) v[i] = v[i] == high ? low : v[i];
      }
    }
  });
}

void normal(Generator& g, RandomDtype dtype, void* out, size_t count, double mean, double std,
            bool contiguous) {
  if (!(std >= 0.0)) fail("normal expects std >= 0.0, but found std ", std);
  visit_floating("normal_kernel_cpu", dtype, [&]<class T>(T*) {
    T* values = static_cast<T*>(out);
    if (count < 16 || !contiguous) {
      for (size_t i = 0; i < count; ++i) values[i] = static_cast<T>(std::fma(g.normal(), std, mean));
      return;
    }
    const size_t whole = count / 16 * 16;
    if constexpr (HalfPrecision<T>) {
      // converted block by block; the tail's block overwrites the end of the one before
      float block[512];
      for (size_t done = 0; done < whole; done += std::size(block)) {
        const size_t n = std::min(std::size(block), whole - done);
        g.fill_u24(block, n);
        normal_blocks(block, n / 16, static_cast<float>(mean), static_cast<float>(std));
        convert_array(block, values + done, n);
      }
      if (whole != count) {
        g.fill_u24(block, 16);
        normal_blocks(block, 1, static_cast<float>(mean), static_cast<float>(std));
        convert_array(block, values + count - 16, 16);
      }
    } else {
      const auto draw = [&](T* to, size_t n) {
        if constexpr (std::is_same_v<T, double>) {
          g.fill_u53(to, n);
        } else {
          g.fill_u24(to, n);
        }
      };
      const auto m = static_cast<T>(mean), s = static_cast<T>(std);
      constexpr size_t chunk = 4096;  // draws and their transform, while they are in the cache
      for (size_t done = 0; done < count; done += chunk) {
        const size_t n = std::min(chunk, count - done);
        draw(values + done, n);
        normal_blocks(values + done, n / 16, m, s);
      }
      if (whole != count) {
        draw(values + count - 16, 16);
        normal_blocks(values + count - 16, 1, m, s);
      }
    }
  });
}

// ---- one double draw for each element

namespace {

void check_continuous(const char* distribution, RandomDtype dtype, const char* name) {
  visit(dtype, [&]<class T>(T*) {
    if (!is_floating<T>) {
      fail(distribution, " distribution is a continuous probability distribution. ",
           "dtype must be a floating point but you specified ", name);
    }
  });
}

}  // namespace

void exponential(Generator& g, RandomDtype dtype, void* out, size_t count, double lambda) {
  if (!(lambda > 0.0)) fail("exponential_ expects lambda > 0.0, but found lambda=", lambda);
  check_continuous("Exponential", dtype, scalar_name(dtype));
  visit_floating("exponential", dtype, [&]<class T>(T*) {
    T* values = static_cast<T*>(out);
    const double factor = -1.0 / lambda;
    in_chunks<double>(g, count, [&](const double* u, size_t n, size_t at) {
      for (size_t i = 0; i < n; ++i) values[at + i] = static_cast<T>(factor * std::log1p(-u[i]));
    });
  });
}

void cauchy(Generator& g, RandomDtype dtype, void* out, size_t count, double median, double sigma) {
  if (!(sigma > 0.0)) fail("cauchy_ expects sigma > 0.0, but found sigma=", sigma);
  check_continuous("Cauchy", dtype, c_name(dtype));
  visit_floating("cauchy", dtype, [&]<class T>(T*) {
    T* values = static_cast<T*>(out);
    in_chunks<double>(g, count, [&](const double* u, size_t n, size_t at) {
      for (size_t i = 0; i < n; ++i) {
        values[at + i] =
            static_cast<T>(std::fma(sigma, std::tan(3.14159265358979323846 * (u[i] - 0.5)), median));
      }
    });
  });
}

void log_normal(Generator& g, RandomDtype dtype, void* out, size_t count, double mean, double std) {
  if (!(std > 0.0)) fail("log_normal_ expects std > 0.0, but found std=", std);
  visit_floating("log_normal_cpu", dtype, [&]<class T>(T*) {
    T* values = static_cast<T*>(out);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<T>(std::exp(std::fma(g.normal(), std, mean)));
  });
}

void geometric(Generator& g, RandomDtype dtype, void* out, size_t count, double p) {
  if (!(p > 0.0 && p < 1.0)) fail("geometric_ expects p to be in (0, 1), but got p=", p);
  visit(dtype, [&]<class T>(T*) {
    if constexpr (std::is_same_v<T, bool>) {
      not_implemented("geometric_cpu", dtype);
    } else {
      T* values = static_cast<T*>(out);
      const double scale = std::log1p(-p);
      in_chunks<double>(g, count, [&](const double* u, size_t n, size_t at) {
        for (size_t i = 0; i < n; ++i) {
          const double v = std::ceil(std::log(u[i]) / scale);
          if constexpr (is_floating<T>) {
            values[at + i] = static_cast<T>(v);
          } else {
            // narrow types wrap, as a conversion through int64 does; a draw of 0 means infinity
            values[at + i] = static_cast<T>(v < 9.2e18 ? static_cast<int64_t>(v) : INT64_MIN);
          }
        }
      });
    }
  });
}

void bernoulli(Generator& g, RandomDtype dtype, void* out, size_t count, double p) {
  if (!(p >= 0.0 && p <= 1.0)) fail("bernoulli_ expects p to be in [0, 1], but got p=", p);
  visit(dtype, [&]<class T>(T*) {
    T* values = static_cast<T*>(out);
    const T one(1), zero(0);
    in_chunks<double>(g, count, [&](const double* u, size_t n, size_t at) {
      with_isa([=] { store_below(values + at, n, u, one, zero, [p](size_t) { return p; }); });
    });
  });
}

namespace {

template <class P>
RL_INLINE bool are_chances(const P* p, int64_t n) {
  int outside = 0;
  for (int64_t i = 0; i < n; ++i) outside |= !(p[i] >= P(0) && p[i] <= P(1));
  return !outside;
}

template <class P>
void bernoulli_each(Generator& g, RandomDtype dtype, void* out, size_t count, const P* p) {
  std::atomic<bool> sound{true};
  parallel_for(static_cast<int64_t>(count), 65536, [p, &sound](int64_t begin, int64_t end) {
    with_isa([=, &sound] {
      if (!are_chances(p + begin, end - begin)) sound = false;
    });
  });
  if (!sound)
    fail(
        "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message be "
        "improved?  ",
        "If so, please report an enhancement request to PyTorch.)");
  visit(dtype, [&]<class T>(T*) {
    T* values = static_cast<T*>(out);
    const T one(1), zero(0);
    in_chunks<P>(g, count, [&](const P* u, size_t n, size_t at) {
      with_isa([=] {
        store_below(values + at, n, u, one, zero, [limit = p + at](size_t i) { return limit[i]; });
      });
    });
  });
}

}  // namespace

void bernoulli(Generator& g, RandomDtype dtype, void* out, size_t count, const float* p) {
  bernoulli_each(g, dtype, out, count, p);
}
void bernoulli(Generator& g, RandomDtype dtype, void* out, size_t count, const double* p) {
  bernoulli_each(g, dtype, out, count, p);
}

}  // namespace rushlight

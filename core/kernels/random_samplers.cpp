// Samplers whose parameters are arrays: multinomial, Poisson, binomial, gamma, Dirichlet. The order of draws
// and the precision of each step are part of the contract with PyTorch's streams, so they are written out as
// they are.
#include <cmath>
#include <limits>
#include <vector>

#include "mathfn.h"
#include "random.h"
#include "random_dispatch.h"

namespace rushlight {

using namespace random_detail;

// ---- multinomial

namespace {

// Inverse of the running sum, which is kept in the weights' own precision (float for 16-bit types).
template <class T>
void draw_with_replacement(Generator& g, const T* weights, int64_t columns, int64_t* out, int64_t samples) {
  using Sum = compute_t<T>;
  std::vector<Sum> cumulative(static_cast<size_t>(columns));
  Sum sum = 0;
  for (int64_t i = 0; i < columns; ++i) {
    const auto w = static_cast<Sum>(weights[i]);
    if (!(w >= 0)) fail("invalid multinomial distribution (encountering probability entry < 0)");
    if (std::isinf(w))
      fail("invalid multinomial distribution (encountering probability entry = infinity or NaN)");
    sum += w;
    cumulative[static_cast<size_t>(i)] = sum;
  }
  if (!(sum > 0)) fail("invalid multinomial distribution (sum of probabilities <= 0)");
  for (Sum& c : cumulative) c /= sum;
  cumulative.back() = 1;
  for (int64_t j = 0; j < samples; ++j) {
    const double u = g.u53();
    const auto found = std::lower_bound(cumulative.begin(), cumulative.end(), u,
                                        [](Sum c, double v) { return static_cast<double>(c) < v; });
    out[j] = found - cumulative.begin();
  }
}

// The largest w / q with exponential q, in decreasing order. Equal ratios (zero weights, mostly) come out as
// the selection algorithm leaves them; it is the one that topk uses.
template <class T>
void draw_without_replacement(Generator& g, RandomDtype dtype, const T* weights, int64_t columns,
                              int64_t* out, int64_t samples) {
  using Compute = compute_t<T>;
  struct Entry {
    Compute ratio;
    int64_t index;
  };
  std::vector<T> race(static_cast<size_t>(columns));
  exponential(g, dtype, race.data(), race.size(), 1.0);
  std::vector<Entry> entries(race.size());
  for (size_t i = 0; i < race.size(); ++i) {
    entries[i] = {static_cast<Compute>(T(static_cast<Compute>(weights[i]) / static_cast<Compute>(race[i]))),
                  static_cast<int64_t>(i)};
  }
  const auto before = [](const Entry& a, const Entry& b) {  // NaN (0 / 0) counts as largest
    return (a.ratio != a.ratio && b.ratio == b.ratio) || a.ratio > b.ratio;
  };
  const auto begin = entries.begin(), last = begin + samples - 1;
  if (samples == 1) {
    out[0] = std::min_element(begin, entries.end(), before)->index;
    return;
  }
  if (samples * 64 <= columns) {
    std::partial_sort(begin, last + 1, entries.end(), before);
  } else {
    std::nth_element(begin, last, entries.end(), before);
    std::sort(begin, last, before);
  }
  for (int64_t j = 0; j < samples; ++j) out[j] = entries[static_cast<size_t>(j)].index;
}

}  // namespace

void multinomial(Generator& g, RandomDtype dtype, const void* weights, int64_t rows, int64_t columns,
                 int64_t* out, int64_t samples, bool replacement) {
  if (samples <= 0) fail("cannot sample n_sample <= 0 samples");
  if (!replacement && samples > columns) {
    fail("cannot sample n_sample > prob_dist.size(-1) samples without replacement");
  }
  const bool inverse = replacement && samples > 1;
  visit(dtype, [&]<class T>(T*) {
    if (!is_floating<T>) {
      fail("multinomial only supports floating-point dtypes for input, got: ", scalar_name(dtype));
    }
  });
  visit_floating("multinomial", dtype, [&]<class T>(T*) {
    const T* w = static_cast<const T*>(weights);
    if (!inverse) {
      for (int64_t row = 0; row < rows; ++row) {
        compute_t<T> sum = 0;
        for (int64_t i = 0; i < columns; ++i) {
          const auto v = static_cast<compute_t<T>>(w[row * columns + i]);
          if (!(v >= 0) || std::isinf(v)) {
            fail("probability tensor contains either `inf`, `nan` or element < 0");
          }
          sum += v;
        }
        if (!(sum > 0)) fail("invalid multinomial distribution (sum of probabilities <= 0)");
      }
    }
    for (int64_t row = 0; row < rows; ++row) {
      if (inverse) {
        draw_with_replacement(g, w + row * columns, columns, out + row * samples, samples);
      } else {
        draw_without_replacement(g, dtype, w + row * columns, columns, out + row * samples, samples);
      }
    }
  });
}

// ---- Poisson

namespace {

int64_t draw_poisson(Generator& g, double rate) {
  if (!(rate >= 0)) fail("invalid Poisson rate, expected rate to be non-negative");
  if (rate == 0) return 0;
  if (rate < 10) {  // count arrivals until their product of uniforms falls below e^-rate
    const double limit = std::exp(-rate);
    double product = 1.0;
    for (int64_t count = 0;; ++count) {
      product *= g.u53();
      if (product <= limit) return count;
    }
  }
  // transformed rejection (Hörmann's PTRS)
  const double log_rate = std::log(rate);
  const double b = 0.931 + 2.53 * std::sqrt(rate);
  const double a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
  const double v_accept = 0.9277 - 3.6224 / (b - 2);
  while (true) {
    const double u = g.u53() - 0.5;
    const double v = g.u53();
    const double us = 0.5 - std::fabs(u);
    const double k = std::floor((2 * a / us + b) * u + rate + 0.43);
    if (us >= 0.07 && v <= v_accept) return static_cast<int64_t>(k);
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (std::log(v) + std::log(inverse_alpha) - std::log(a / (us * us) + b) <=
        -rate + k * log_rate - fn::lgamma(k + 1)) {
      return static_cast<int64_t>(k);
    }
  }
}

// ---- binomial

// Error of Stirling's formula for log k!.
double stirling_tail(double k) {
  constexpr double table[] = {
      0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
      0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287};
  if (k < 10) return table[static_cast<int>(k)];
  const double square = (k + 1) * (k + 1);
  return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1);
}

// Few successes: add up geometric waiting times.
template <class T>
T binomial_by_waiting(Generator& g, T trials, T p) {
  const auto log_q = static_cast<double>(std::log1p(-p));
  double total = 0.0;
  for (int64_t successes = 0;; ++successes) {
    total += std::ceil(std::log(g.u53()) / log_q);
    if (total > static_cast<double>(trials)) return static_cast<T>(successes);
  }
}

// Many successes: transformed rejection (Hörmann's BTRS). T is the tensor's type; where a step is rounded to
// it, the contract wants that.
template <class T>
T binomial_by_rejection(Generator& g, T trials, T p) {
  const auto n = static_cast<double>(trials);
  const auto deviation = static_cast<double>(std::sqrt(trials * p * (T(1) - p)));
  const double b = 1.15 + 2.53 * deviation;
  const double a = -0.0873 + 0.0248 * b + 0.01 * static_cast<double>(p);
  const double c = static_cast<double>(trials * p) + 0.5;
  const double v_accept = 0.92 - 4.2 / b;
  const auto r = static_cast<double>(p / (T(1) - p));
  const double alpha = (2.83 + 5.1 / b) * deviation;
  const auto m = static_cast<double>(std::floor((trials + T(1)) * p));
  while (true) {
    const double u = g.u53() - 0.5;
    double v = g.u53();
    const double us = 0.5 - std::fabs(u);
    const double k = us == 0 ? -1.0
                             : static_cast<double>(static_cast<T>(std::floor((2 * a / us + b) * u + c)));
    if (k < 0 || k > n) continue;
    if (us >= 0.07 && v <= v_accept) return static_cast<T>(k);
    v = std::log(v * alpha / (a / (us * us) + b));
    const double bound = (m + 0.5) * std::log((m + 1) / (r * (n - m + 1))) +
                         (n + 1) * std::log((n - m + 1) / (n - k + 1)) +
                         (k + 0.5) * std::log(r * (n - k + 1) / (k + 1)) + stirling_tail(m) +
                         stirling_tail(n - m) - stirling_tail(k) - stirling_tail(n - k);
    if (v <= bound) return static_cast<T>(k);
  }
}

template <class T>
T draw_binomial(Generator& g, T trials, T p) {
  if (trials <= 0 || p <= 0) return 0;
  if (p >= 1) return trials;
  if (p != p || trials != trials) return std::numeric_limits<T>::quiet_NaN();
  const bool mirrored = p > T(0.5);
  const T q = mirrored ? static_cast<T>(1.0 - static_cast<double>(p)) : p;
  const T k = trials * q >= T(10) ? binomial_by_rejection(g, trials, q) : binomial_by_waiting(g, trials, q);
  return mirrored ? trials - k : k;
}

// ---- gamma

// Marsaglia and Tsang; alpha below 1 is drawn at alpha + 1 and scaled back. 1/3 and 0.0331 are float
// constants.
template <class T>
T draw_gamma(Generator& g, T alpha) {
  double scale = 1.0;
  if (alpha < T(1)) {
    if (alpha == T(0)) return T(0);
    scale = std::pow(1 - g.u53(), static_cast<double>(T(1) / alpha));
    alpha += T(1);
  }
  const auto d = static_cast<double>(alpha - static_cast<T>(1.0f / 3.0f));
  const double c = 1.0 / std::sqrt(9.0 * d);
  if (!(d > 0))
    return std::numeric_limits<T>::quiet_NaN();  // a NaN or negative alpha would never be accepted
  while (true) {
    double x, y;
    do {
      x = g.normal();
      y = 1.0 + c * x;
    } while (y <= 0);
    const double v = y * y * y;
    const double u = 1 - g.u53();
    const double square = x * x;
    if (u < 1.0 - static_cast<double>(0.0331f) * square * square ||
        std::log(u) < 0.5 * square + d * (1.0 - v + std::log(v))) {
      return static_cast<T>(scale * d * v);
    }
  }
}

}  // namespace

void poisson(Generator& g, RandomDtype dtype, const void* rate, void* out, size_t count) {
  visit_floating("poisson_cpu", dtype, [&]<class T>(T*) {
    const T* r = static_cast<const T*>(rate);
    T* values = static_cast<T*>(out);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<T>(draw_poisson(g, static_cast<double>(r[i])));
  });
}

void binomial(Generator& g, RandomDtype dtype, const void* trials, const void* p, void* out, size_t count) {
  visit_float_double("binomial_cpu", dtype, [&]<class T>(T*) {
    const T* n = static_cast<const T*>(trials);
    const T* q = static_cast<const T*>(p);
    for (size_t i = 0; i < count; ++i) static_cast<T*>(out)[i] = draw_binomial(g, n[i], q[i]);
  });
}

void standard_gamma(Generator& g, RandomDtype dtype, const void* alpha, void* out, size_t count) {
  visit_float_double("gamma_cpu", dtype, [&]<class T>(T*) {
    const T* a = static_cast<const T*>(alpha);
    for (size_t i = 0; i < count; ++i) {
      const T value = draw_gamma(g, a[i]);
      static_cast<T*>(out)[i] = value < std::numeric_limits<T>::min() ? std::numeric_limits<T>::min() : value;
    }
  });
}

void dirichlet(Generator& g, RandomDtype dtype, const void* alpha, void* out, size_t rows, size_t columns) {
  visit_float_double("dirichlet", dtype, [&]<class T>(T*) {
    const T* a = static_cast<const T*>(alpha);
    T* values = static_cast<T*>(out);
    std::vector<double> parts(columns);
    for (size_t row = 0; row < rows; ++row) {
      double sum = 0.0;
      for (size_t i = 0; i < columns; ++i) {
        const double part = draw_gamma(g, static_cast<double>(a[row * columns + i]));
        parts[i] = std::max(part, std::numeric_limits<double>::min());
        sum += parts[i];
      }
      for (size_t i = 0; i < columns; ++i) {  // strictly inside (0, 1)
        const T value = std::max(static_cast<T>(parts[i] / sum), std::numeric_limits<T>::min());
        values[row * columns + i] = std::min(value, std::nextafter(T(1), T(0)));
      }
    }
  });
}

}  // namespace rushlight

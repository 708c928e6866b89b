// Checks the raw CPU kernels (threads, matrix product, convolution, pooling) against plain loops over random
// shapes. Standalone. With an argument "digest" it prints checksums of float32 and float64 results instead:
// they must be the same for every RUSHLIGHT_NUM_THREADS, and for RUSHLIGHT_CPU=v3 and v4.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/conv.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pool.h"
#include "kernels/parallel.h"

using namespace rushlight;
using namespace rushlight::cpu;

namespace {

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1); \
    } \
  } while (0)

struct Random {
  uint64_t state = 12345;
  uint64_t next() { return (state = state * 6364136223846793005ull + 1442695040888963407ull) >> 33; }
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
  int64_t between(int64_t a, int64_t b) { return a + below(b - a + 1); }
  double unit() { return static_cast<double>(next() % 2000001) / 1e6 - 1; }
};
Random rnd;

uint64_t digest = 1469598103934665603ull;
template <class T>
void mix(const std::vector<T>& v) {
  for (const T& x : v) {
    unsigned char bytes[sizeof(T)];
    std::memcpy(bytes, &x, sizeof(T));
    for (unsigned char b : bytes) digest = (digest ^ b) * 1099511628211ull;
  }
}

template <class T>
std::vector<T> random_vector(int64_t n) {
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) x = static_cast<T>(rnd.unit() * (std::is_integral_v<T> ? 100 : 1));
  return v;
}

// ---- threads ----

void test_parallel() {
  const int before = num_threads();
  for (int threads : {1, 2, 4}) {
    set_num_threads(threads);
    CHECK(num_threads() == threads);
    for (int64_t n : {0, 1, 7, 1000, 1001}) {
      std::vector<std::atomic<int>> hits(static_cast<size_t>(n));
      parallel_for(n, 10, [&](int64_t begin, int64_t end) {
        CHECK(begin % 10 == 0 && end == std::min(n, begin + 10));
        for (int64_t i = begin; i < end; i++) hits[i]++;
      });
      for (auto& h : hits) CHECK(h == 1);
    }
    for (int round = 0; round < 3000; round++) {
      std::atomic<int64_t> sum{0};
      parallel_for(5, 1, [&](int64_t b, int64_t) { sum += b; });
      CHECK(sum == 10);
    }
    bool caught = false;
    try {
      parallel_for(100, 1, [&](int64_t b, int64_t) {
        if (b == 37) throw std::runtime_error("thirty-seven");
      });
    } catch (const std::runtime_error& e) { caught = std::string(e.what()) == "thirty-seven"; }
    CHECK(caught);
    std::atomic<int> nested{0};
    parallel_for(8, 1, [&](int64_t, int64_t) {
      CHECK(in_parallel() || num_threads() == 1);
      parallel_for(8, 1, [&](int64_t, int64_t) { nested++; });
    });
    CHECK(nested == 64 && !in_parallel());
  }
  set_num_threads(2);
  std::vector<std::thread> users;
  std::atomic<int64_t> total{0};
  for (int u = 0; u < 3; u++)
    users.emplace_back([&] {
      for (int r = 0; r < 500; r++) parallel_for(20, 1, [&](int64_t b, int64_t) { total += b; });
    });
  for (auto& u : users) u.join();
  CHECK(total == 3 * 500 * 190);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    std::atomic<int> count{0};
    for (int r = 0; r < 100; r++) parallel_for(10, 1, [&](int64_t, int64_t) { count++; });
    _exit(count == 1000 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  set_num_threads(before);
}

// ---- matrix product ----

float bf16_to_float(uint16_t h) {
  const uint32_t bits = static_cast<uint32_t>(h) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
struct Half16 {  // bf16 of the tests, rounded by cutting: inputs only need to be representable
  uint16_t bits = 0;
  Half16() = default;
  explicit Half16(double x) {
    const float f = static_cast<float>(x);
    uint32_t u;
    std::memcpy(&u, &f, 4);
    bits = static_cast<uint16_t>(u >> 16);
  }
};
template <class T>
auto wide(T x) {
  if constexpr (std::is_integral_v<T>) return static_cast<int64_t>(x);
  else return static_cast<double>(x);
}
double wide(Half16 x) { return bf16_to_float(x.bits); }
std::complex<double> wide(std::complex<float> x) { return x; }
std::complex<double> wide(std::complex<double> x) { return x; }

// A matrix with its strides: row-major, column-major, spread out, broadcast along either side, or reversed.
struct Layout {
  int64_t row, col, offset, room;
};
Layout random_layout(int64_t m, int64_t n) {
  const int64_t pad = rnd.below(3);
  switch (rnd.below(7)) {
    case 0:
    case 1: return {n + pad, 1, 0, m * (n + pad) + 1};
    case 2:
    case 3: return {1, m + pad, 0, n * (m + pad) + 1};
    case 4: return {2 * n + pad, 2, 0, m * (2 * n + pad) + 2};
    case 5: return rnd.below(2) ? Layout{0, 1, 0, n + 1} : Layout{1, 0, 0, m + 1};
    default: return {-n, -1, m * n, m * n + 1};
  }
}

template <class T>
void fill_matrix(std::vector<T>& v) {
  for (auto& x : v) {
    if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>)
      x = T(static_cast<typename T::value_type>(rnd.unit()), static_cast<typename T::value_type>(rnd.unit()));
    else if constexpr (std::is_integral_v<T>) x = static_cast<T>(rnd.next());
    else x = T(rnd.unit());
  }
}

template <class T>
void check_gemm(Kind kind, int64_t m, int64_t n, int64_t k, double tolerance) {
  const Layout la = random_layout(m, k), lb = random_layout(k, n);
  const int64_t ldc = n + rnd.below(3);
  const bool add = rnd.below(3) == 0;
  std::vector<T> a(la.room), b(lb.room), c(m * ldc + 1);
  fill_matrix(a);
  fill_matrix(b);
  fill_matrix(c);
  const std::vector<T> before = c;
  gemm(kind, m, n, k, a.data() + la.offset, la.row, la.col, b.data() + lb.offset, lb.row, lb.col, c.data(),
       ldc, add);
  mix(c);
  using W = decltype(wide(T()));
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < ldc; j++) {
      const T got = c[i * ldc + j];
      if (j >= n) {
        CHECK(std::memcmp(&got, &before[i * ldc + j], sizeof(T)) == 0);  // nothing written beyond the row
        continue;
      }
      W want = add ? wide(before[i * ldc + j]) : W(0);
      for (int64_t p = 0; p < k; p++) {
        const W x = wide(a[la.offset + i * la.row + p * la.col]),
                y = wide(b[lb.offset + p * lb.row + j * lb.col]);
        if constexpr (std::is_integral_v<T>)
          want = static_cast<int64_t>(static_cast<uint64_t>(want) +
                                      static_cast<uint64_t>(x) * static_cast<uint64_t>(y));
        else want += x * y;
      }
      if constexpr (std::is_integral_v<T>) CHECK(got == static_cast<T>(want));
      else if (!(std::abs(wide(got) - want) <=
                 tolerance * (1 + std::sqrt(static_cast<double>(k))) * (1 + std::abs(want)))) {
        std::fprintf(stderr, "gemm kind %d (%ld, %ld, %ld) strides a %ld,%ld b %ld,%ld add %d at %ld,%ld\n",
                     int(kind), long(m), long(n), long(k), long(la.row), long(la.col), long(lb.row),
                     long(lb.col), add, long(i), long(j));
        CHECK(!"gemm result");
      }
    }
}

int64_t random_size() {
  switch (rnd.below(8)) {
    case 0: return 1;
    case 1: return rnd.below(4);
    case 2:
    case 3:
    case 4: return rnd.between(1, 40);
    case 5:
    case 6: return rnd.between(20, 150);
    default: return rnd.between(150, 600);
  }
}

void test_gemm() {
  for (int round = 0; round < 400; round++) {
    const int64_t m = random_size(), n = random_size(), k = random_size();
    check_gemm<float>(Kind::f32, m, n, k, 1e-6);
    check_gemm<double>(Kind::f64, m, n, k, 4e-15);
    if (round % 4) continue;
    check_gemm<Half16>(Kind::bf16, m, n, k, 5e-3);
    check_gemm<_Float16>(Kind::f16, m, n, k, 1e-3);
    check_gemm<std::complex<float>>(Kind::c64, m, n, k, 2e-6);
    check_gemm<std::complex<double>>(Kind::c128, m, n, k, 8e-15);
    check_gemm<int8_t>(Kind::i8, m, n, k, 0);
    check_gemm<uint8_t>(Kind::u8, m, n, k, 0);
    check_gemm<int16_t>(Kind::i16, m, n, k, 0);
    check_gemm<int32_t>(Kind::i32, m, n, k, 0);
    check_gemm<int64_t>(Kind::i64, m, n, k, 0);
  }
  check_gemm<float>(Kind::f32, 300, 2500, 300, 1e-6);
  check_gemm<float>(Kind::f32, 1100, 400, 300, 1e-6);  // several blocks of rows
  check_gemm<float>(Kind::f32, 1500, 70, 300, 1e-6);   // few columns
  check_gemm<float>(Kind::f32, 1, 3000, 2000, 1e-6);
  check_gemm<float>(Kind::f32, 3000, 1, 2000, 1e-6);

  // NaN and infinity reach every element of their row or column, and no other.
  for (int64_t size : {5, 40, 200}) {
    std::vector<float> a(size * size, 1), b(size * size, 1), c(size * size, 0);
    a[2 * size + 3] = std::numeric_limits<float>::quiet_NaN();
    b[size + 4] = std::numeric_limits<float>::infinity();
    gemm(Kind::f32, size, size, size, a.data(), size, 1, b.data(), size, 1, c.data(), size);
    for (int64_t i = 0; i < size; i++)
      for (int64_t j = 0; j < size; j++) {
        const float x = c[i * size + j];
        CHECK(i == 2 ? std::isnan(x) : j == 4 ? std::isinf(x) : x == static_cast<float>(size));
      }
  }

  // Rows computed alone, few or many at a time have the same bits (the fallback without fma and the matrix unit may differ).
  const int parts = float32_parts();
  set_float32_parts(0);
  if (isa() != Isa::v2) {
    const int64_t m = 500, n = 330, k = 700;
    auto a = random_vector<float>(m * k), b = random_vector<float>(k * n);
    for (bool columns : {false, true}) {
      const int64_t br = columns ? 1 : n, bc = columns ? k : 1;
      std::vector<float> all(m * n), some(m * n);
      gemm(Kind::f32, m, n, k, a.data(), k, 1, b.data(), br, bc, all.data(), n);
      for (int64_t rows : {1, 3, 20}) {
        for (int64_t i = 0; i < m; i += rows)
          gemm(Kind::f32, std::min(rows, m - i), n, k, a.data() + i * k, k, 1, b.data(), br, bc,
               some.data() + i * n, n);
        CHECK(std::memcmp(all.data(), some.data(), all.size() * 4) == 0);
      }
      std::vector<float> column(m);
      gemm(Kind::f32, m, 1, k, a.data(), k, 1, b.data() + 5 * bc, br, bc, column.data(), 1);
      for (int64_t i = 0; i < m; i++) CHECK(column[i] == all[i * n + 5]);
    }
  }

  set_float32_parts(parts);

  // Batches, with a repeated operand.
  const int64_t batch = 7, m = 9, n = 11, k = 13;
  auto a = random_vector<double>(batch * m * k), b = random_vector<double>(k * n);
  std::vector<double> c(batch * m * n), one(m * n);
  gemm_batched(Kind::f64, batch, m, n, k, a.data(), m * k, k, 1, b.data(), 0, n, 1, c.data(), m * n, n);
  for (int64_t i = 0; i < batch; i++) {
    gemm(Kind::f64, m, n, k, a.data() + i * m * k, k, 1, b.data(), n, 1, one.data(), n);
    CHECK(std::memcmp(one.data(), c.data() + i * m * n, one.size() * 8) == 0);
  }

  auto x = random_vector<float>(100003), y = random_vector<float>(100003);
  double want = 0;
  for (size_t i = 0; i < x.size(); i++) want += double(x[i]) * y[i];
  CHECK(std::abs(dot_f32(100003, x.data(), 1, y.data(), 1) - want) < 1e-2);
  std::vector<float> spread(200006);
  for (size_t i = 0; i < x.size(); i++) spread[2 * i] = x[i];
  CHECK(dot_f32(100003, x.data(), 1, y.data(), 1) == dot_f32(100003, spread.data(), 2, y.data(), 1));
}

// ---- convolution ----

template <class T>
void close(const char* what, const Conv2dShape& s, const std::vector<T>& got, const std::vector<double>& want,
           double tolerance) {
  for (size_t i = 0; i < got.size(); i++)
    if (!(std::abs(double(got[i]) - want[i]) <= tolerance * (1 + std::abs(want[i])))) {
      std::fprintf(
          stderr,
          "%s: n %ld cin %ld %ldx%ld cout %ld k %ldx%ld s %ld,%ld p %ld,%ld d %ld,%ld g %ld out %ldx%ld"
          " at %zu: %g, not %g\n",
          what, long(s.n), long(s.cin), long(s.h), long(s.w), long(s.cout), long(s.kh), long(s.kw),
          long(s.stride_h), long(s.stride_w), long(s.pad_h), long(s.pad_w), long(s.dil_h), long(s.dil_w),
          long(s.groups), long(s.hout), long(s.wout), i, double(got[i]), want[i]);
      CHECK(!"convolution result");
    }
}

template <class T>
void check_conv(const Conv2dShape& s, double tolerance) {
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups;
  auto x = random_vector<T>(s.n * s.cin * s.h * s.w), w = random_vector<T>(s.cout * cin * s.kh * s.kw);
  auto gy = random_vector<T>(s.n * s.cout * s.hout * s.wout), bias = random_vector<T>(s.cout);
  const bool with_bias = rnd.below(2);
  std::vector<double> y(gy.size()), gx(x.size()), gw(w.size());
  for (int64_t n = 0; n < s.n; n++)
    for (int64_t o = 0; o < s.cout; o++)
      for (int64_t oy = 0; oy < s.hout; oy++)
        for (int64_t ox = 0; ox < s.wout; ox++) {
          const int64_t at = ((n * s.cout + o) * s.hout + oy) * s.wout + ox;
          y[at] = with_bias ? bias[o] : 0;
          for (int64_t c = 0; c < cin; c++)
            for (int64_t i = 0; i < s.kh; i++)
              for (int64_t j = 0; j < s.kw; j++) {
                const int64_t yy = oy * s.stride_h - s.pad_h + i * s.dil_h,
                              xx = ox * s.stride_w - s.pad_w + j * s.dil_w;
                if (yy < 0 || yy >= s.h || xx < 0 || xx >= s.w) continue;
                const int64_t in = ((n * s.cin + o / cout * cin + c) * s.h + yy) * s.w + xx;
                const int64_t tap = ((o * cin + c) * s.kh + i) * s.kw + j;
                y[at] += double(x[in]) * w[tap];
                gx[in] += double(gy[at]) * w[tap];
                gw[tap] += double(gy[at]) * x[in];
              }
        }
  std::vector<T> got_y(y.size(), T(NAN)), got_gx(x.size(), T(NAN)), got_gw(w.size(), T(NAN));
  conv2d_forward(s, x.data(), w.data(), with_bias ? bias.data() : nullptr, got_y.data());
  conv2d_backward_data(s, gy.data(), w.data(), got_gx.data());
  conv2d_backward_weight(s, x.data(), gy.data(), got_gw.data());
  mix(got_y);
  mix(got_gx);
  mix(got_gw);
  close("forward", s, got_y, y, tolerance);
  close("backward data", s, got_gx, gx, tolerance);
  close("backward weight", s, got_gw, gw, tolerance);
}

void test_conv() {
  for (int round = 0; round < 300; round++) {
    Conv2dShape s{};
    s.n = rnd.between(round % 50 == 0 ? 0 : 1, 4);
    s.groups = rnd.below(3) ? 1 : rnd.between(1, 5);
    s.cin = s.groups * rnd.between(1, rnd.below(3) ? 4 : 40);
    s.cout = s.groups * rnd.between(1, rnd.below(3) ? 6 : 40);
    if (rnd.below(6) == 0) s.cin = s.cout = s.groups = rnd.between(1, 9);  // depthwise
    s.h = rnd.between(1, 20);
    s.w = rnd.between(1, rnd.below(4) ? 20 : 70);
    s.kh = rnd.between(1, 5);
    s.kw = rnd.between(1, 5);
    if (rnd.below(5) == 0) s.kh = s.kw = 1;
    s.stride_h = rnd.below(2) ? 1 : rnd.between(1, 4);
    s.stride_w = rnd.below(2) ? 1 : rnd.between(1, 4);
    s.dil_h = rnd.below(2) ? 1 : rnd.between(1, 3);
    s.dil_w = rnd.below(2) ? 1 : rnd.between(1, 3);
    s.pad_h = rnd.below(2) ? 0 : rnd.between(0, 6);
    s.pad_w = rnd.below(2) ? 0 : rnd.between(0, 6);
    const int64_t room_h = s.h + 2 * s.pad_h - s.dil_h * (s.kh - 1) - 1,
                  room_w = s.w + 2 * s.pad_w - s.dil_w * (s.kw - 1) - 1;
    if (room_h < 0 || room_w < 0) continue;
    s.hout = room_h / s.stride_h + 1;
    s.wout = room_w / s.stride_w + 1;
    check_conv<float>(s, 3e-5);
    check_conv<double>(s, 1e-13);
  }
  check_conv<float>({2, 3, 12, 12, 5, 12, 12, 1, 1, 0, 0, 1, 1, 1, 1, 1},
                    3e-5);                                                     // kernel as large as the image
  check_conv<float>({70, 4, 9, 9, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 9, 9}, 1e-4);  // many partial sums
  check_conv<float>({2, 3, 32, 32, 20, 8, 8, 8, 8, 0, 0, 1, 1, 1, 4, 4}, 3e-5);     // patches
  check_conv<float>({1, 64, 30, 40, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 30, 40}, 3e-4);  // one large image
  check_conv<float>({2, 0, 5, 5, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 5, 5}, 1e-5);        // no channels
}

// ---- pooling ----

// Every input inside a window, as (place, value); `counted` is the window's size with its padding.
template <class T>
std::vector<int64_t> places(const Pool2dShape& s, int64_t oy, int64_t ox, int64_t& counted) {
  std::vector<int64_t> inside;
  counted = 0;
  for (int64_t i = 0; i < s.kh; i++)
    for (int64_t j = 0; j < s.kw; j++) {
      const int64_t y = oy * s.stride_h - s.pad_h + i * s.dil_h, x = ox * s.stride_w - s.pad_w + j * s.dil_w;
      counted += y < s.h + s.pad_h && x < s.w + s.pad_w;
      if (y >= 0 && y < s.h && x >= 0 && x < s.w) inside.push_back(y * s.w + x);
    }
  return inside;
}

template <class T>
void check_pool(const Pool2dShape& s, bool include, int64_t divisor) {
  const int64_t in = s.h * s.w, out = s.hout * s.wout;
  auto x = random_vector<T>(s.planes * in), gy = random_vector<T>(s.planes * out);
  for (T& v : x) v = std::round(v * 4);  // ties
  if (!x.empty() && rnd.below(3) == 0) x[rnd.below(x.size())] = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> y(gy.size()), gx(x.size()), want_gx(x.size());
  std::vector<int64_t> index(gy.size());
  max_pool2d_forward(s, x.data(), y.data(), index.data());
  max_pool2d_backward(s.planes, in, out, gy.data(), index.data(), gx.data());
  mix(gx);
  for (int64_t at = 0; at < s.planes * out; at++) {
    const int64_t p = at / out;
    int64_t counted = 0, best = -1;
    for (int64_t place : places<T>(s, at % out / s.wout, at % s.wout, counted)) {
      const T a = x[p * in + place];
      if (best < 0 || std::isnan(a) || a > x[p * in + best]) best = place;
    }
    CHECK(best == index[at]);
    if (best < 0) {
      CHECK(y[at] == -std::numeric_limits<T>::infinity());
      continue;
    }
    CHECK(y[at] == x[p * in + best] || std::isnan(y[at]));
    want_gx[p * in + best] += gy[at];
  }
  CHECK(gx == want_gx);
  if (s.dil_h != 1 || s.dil_w != 1) return;
  x = random_vector<T>(x.size());
  avg_pool2d_forward(s, include, divisor, x.data(), y.data());
  avg_pool2d_backward(s, include, divisor, gy.data(), gx.data());
  mix(y);
  mix(gx);
  std::vector<double> sums(gx.size());
  for (int64_t at = 0; at < s.planes * out; at++) {
    const int64_t p = at / out;
    int64_t counted = 0;
    const auto inside = places<T>(s, at % out / s.wout, at % s.wout, counted);
    const double by = static_cast<double>(divisor   ? divisor
                                          : include ? counted
                                                    : static_cast<int64_t>(inside.size()));
    double sum = 0;
    for (int64_t place : inside) {
      sum += x[p * in + place];
      sums[p * in + place] += gy[at] / by;
    }
    CHECK(std::abs(y[at] - sum / by) < 1e-5);
  }
  for (size_t i = 0; i < gx.size(); i++) CHECK(std::abs(gx[i] - sums[i]) < 1e-5);
}

void test_pool() {
  for (int round = 0; round < 300; round++) {
    Pool2dShape s{};
    s.planes = rnd.between(0, 5);
    s.kh = rnd.between(1, 4);
    s.kw = rnd.between(1, 4);
    s.stride_h = rnd.between(1, 3);
    s.stride_w = rnd.between(1, 3);
    s.pad_h = rnd.between(0, s.kh / 2);
    s.pad_w = rnd.between(0, s.kw / 2);
    s.dil_h = rnd.below(3) ? 1 : 2;
    s.dil_w = rnd.below(3) ? 1 : 2;
    s.h = rnd.between(1, 15);
    s.w = rnd.between(1, 15);
    const bool ceil_mode = rnd.below(2);
    const auto out = [&](int64_t size, int64_t k, int64_t stride, int64_t pad, int64_t dil) {
      const int64_t room = size + 2 * pad - dil * (k - 1) - 1;
      if (room < 0) return int64_t{0};
      int64_t n = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
      if (ceil_mode && (n - 1) * stride >= size + pad) n--;
      return n;
    };
    s.hout = out(s.h, s.kh, s.stride_h, s.pad_h, s.dil_h);
    s.wout = out(s.w, s.kw, s.stride_w, s.pad_w, s.dil_w);
    if (s.hout <= 0 || s.wout <= 0) continue;
    check_pool<float>(s, rnd.below(2), rnd.below(4) ? 0 : 3);
    check_pool<double>(s, rnd.below(2), rnd.below(4) ? 0 : 3);
  }
  // Adaptive windows overlap where sizes do not divide: 5 -> 3 covers [0,2) [1,4) [3,5).
  const AdaptivePool2dShape s{1, 1, 5, 1, 3};
  const std::vector<double> x = {1, 2, 4, 8, 16}, gy = {1, 10, 100};
  std::vector<double> y(3), gx(5);
  std::vector<int64_t> index(3);
  adaptive_avg_pool2d_forward(s, x.data(), y.data());
  CHECK(y[0] == 1.5 && y[1] == 14.0 / 3 && y[2] == 12);
  adaptive_avg_pool2d_backward(s, gy.data(), gx.data());
  CHECK(gx[0] == 0.5 && gx[1] == 0.5 + 10.0 / 3 && gx[2] == 10.0 / 3 && gx[3] == 10.0 / 3 + 50 &&
        gx[4] == 50);
  adaptive_max_pool2d_forward(s, x.data(), y.data(), index.data());
  CHECK(y[0] == 2 && y[1] == 8 && y[2] == 16 && index[0] == 1 && index[1] == 3 && index[2] == 4);
  max_pool2d_backward(1, 5, 3, gy.data(), index.data(), gx.data());
  CHECK(gx == (std::vector<double>{0, 1, 0, 10, 100}));
  index[1] = 5;
  bool caught = false;
  try {
    max_pool2d_backward(1, 5, 3, gy.data(), index.data(), gx.data());
  } catch (const std::out_of_range&) { caught = true; }
  CHECK(caught);
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void bench_gemm() {
  struct Shape {
    int64_t m, n, k;
    bool transposed;
  };
  for (Shape s : {Shape{32, 64, 64, false}, Shape{32, 64, 64, true}, Shape{32, 10, 64, true},
                  Shape{64, 64, 64, false}, Shape{64, 64, 64, true}, Shape{256, 256, 256, false},
                  Shape{256, 256, 256, true}, Shape{1024, 1024, 1024, false}, Shape{1, 1024, 1024, false},
                  Shape{1, 1024, 1024, true}, Shape{8, 1024, 1024, true}}) {
    auto a = random_vector<float>(s.m * s.k), b = random_vector<float>(s.k * s.n);
    std::vector<float> c(s.m * s.n);
    const double flop = 2.0 * s.m * s.n * s.k;
    const int inner = std::max(1, int(1e7 / flop));
    double best = 1e9;
    for (int round = 0; round < 30; round++) {
      const double t = seconds();
      for (int i = 0; i < inner; i++)
        gemm(Kind::f32, s.m, s.n, s.k, a.data(), s.k, 1, b.data(), s.transposed ? 1 : s.n,
             s.transposed ? s.k : 1, c.data(), s.n);
      best = std::min(best, (seconds() - t) / inner);
    }
    std::printf("gemm %s %dt %5ld %5ld %5ld %s: %8.2f us %6.1f GF/s\n", isa_name(), num_threads(), long(s.m),
                long(s.n), long(s.k), s.transposed ? "NT" : "NN", best * 1e6, flop / best / 1e9);
  }
}

void bench_conv() {
  struct Case {
    const char* name;
    Conv2dShape s;
  };
  for (const Case& c :
       {Case{"mnist 1->32 3x3", {64, 1, 28, 28, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 28, 28}},
        Case{"64->64 3x3 56", {4, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 56, 56}},
        Case{"256->256 3x3 14", {4, 256, 14, 14, 256, 3, 3, 1, 1, 1, 1, 1, 1, 1, 14, 14}},
        Case{"64->128 3x3/2 56", {4, 64, 56, 56, 128, 3, 3, 2, 2, 1, 1, 1, 1, 1, 28, 28}},
        Case{"256->64 1x1 56", {4, 256, 56, 56, 64, 1, 1, 1, 1, 0, 0, 1, 1, 1, 56, 56}},
        Case{"depthwise 128 3x3 28", {8, 128, 28, 28, 128, 3, 3, 1, 1, 1, 1, 1, 1, 128, 28, 28}}}) {
    const Conv2dShape& s = c.s;
    auto x = random_vector<float>(s.n * s.cin * s.h * s.w);
    auto w = random_vector<float>(s.cout * s.cin / s.groups * s.kh * s.kw);
    std::vector<float> y(s.n * s.cout * s.hout * s.wout);
    const double flop = 2.0 * y.size() * (s.cin / s.groups) * s.kh * s.kw;
    double best[3] = {1e9, 1e9, 1e9};
    for (int round = 0; round < 8; round++)
      for (int pass = 0; pass < 3; pass++) {
        const double t = seconds();
        if (pass == 0) conv2d_forward<float>(s, x.data(), w.data(), nullptr, y.data());
        if (pass == 1) conv2d_backward_data(s, y.data(), w.data(), x.data());
        if (pass == 2) conv2d_backward_weight(s, x.data(), y.data(), w.data());
        best[pass] = std::min(best[pass], seconds() - t);
        x = random_vector<float>(x.size()), w = random_vector<float>(w.size());
      }
    std::printf(
        "conv %s %dt %-22s forward %6.0f us %5.0f GF/s  data %6.0f us %5.0f GF/s  weight %6.0f us %5.0f "
        "GF/s\n",
        isa_name(), num_threads(), c.name, best[0] * 1e6, flop / best[0] / 1e9, best[1] * 1e6,
        flop / best[1] / 1e9, best[2] * 1e6, flop / best[2] / 1e9);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "bench") {
    bench_gemm();
    bench_conv();
    return 0;
  }
  if (mode != "digest") test_parallel();
  test_gemm();
  test_conv();
  test_pool();
  if (mode == "digest") std::printf("%016lx\n", static_cast<unsigned long>(digest));
  else std::printf("kernels ok (%s, %d threads)\n", isa_name(), num_threads());
}

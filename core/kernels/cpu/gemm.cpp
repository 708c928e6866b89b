// Entry to the matrix products: empty sizes, the choice by type and instruction set, complex numbers,
// batches, and the scratch memory.
#include "gemm.h"

#include <algorithm>
#include <atomic>
#include <complex>
#include <cstdlib>
#include <cstring>
#include <new>

#include "../parallel.h"
#include "gemm_product.h"
#include "gemm_scratch.h"
#include "isa.h"

namespace rushlight::cpu {

RL_FOR_EACH_ISA(void gemm_f32(const Product&); void gemm_f64(const Product&); void gemm_bf16(const Product&);
                void gemm_f16(const Product&); void gemm_i8(const Product&); void gemm_i16(const Product&);
                void gemm_i32(const Product&); void gemm_i64(const Product&);
                float dot32(int64_t, const float*, int64_t, const float*, int64_t);
                double dot64(int64_t, const double*, int64_t, const double*, int64_t);)

#if defined(__x86_64__)
namespace amx {
void gemm_bf16(const Product&);
void gemm_f32(const Product&, int parts);
}  // namespace amx
#endif

namespace {

using Fn = void (*)(const Product&);

size_t element_size(Kind kind) {
  switch (kind) {
    case Kind::i8:
    case Kind::u8: return 1;
    case Kind::bf16:
    case Kind::f16:
    case Kind::i16: return 2;
    case Kind::f32:
    case Kind::i32: return 4;
    case Kind::f64:
    case Kind::i64:
    case Kind::c64: return 8;
    case Kind::c128: return 16;
  }
  return 0;
}

// Four real products over the real and imaginary parts, which are just operands with doubled strides.
template <class R>
void complex_product(const Product& g) {
  static const Fn real = sizeof(R) == 4 ? RL_PICK(gemm_f32) : RL_PICK(gemm_f64);
  const auto *a = static_cast<const R*>(g.a), *b = static_cast<const R*>(g.b);
  auto* c = static_cast<std::complex<R>*>(g.c);
  Scratch parts(Use::panel_c, sizeof(R) * 3 * g.m * g.n);
  R *rr = parts.as<R>(), *ii = rr + g.m * g.n, *im = ii + g.m * g.n;
  const auto product = [&](const R* x, const R* y, R* out, bool add) {
    real({g.m, g.n, g.k, x, 2 * g.a_row, 2 * g.a_col, y, 2 * g.b_row, 2 * g.b_col, out, g.n, add});
  };
  product(a, b, rr, false);
  product(a + 1, b + 1, ii, false);
  product(a, b + 1, im, false);
  product(a + 1, b, im, true);
  for (int64_t i = 0; i < g.m; i++)
    for (int64_t j = 0; j < g.n; j++) {
      const std::complex<R> sum(rr[i * g.n + j] - ii[i * g.n + j], im[i * g.n + j]);
      auto& out = c[i * g.c_row + j];
      out = g.add ? out + sum : sum;
    }
}

std::atomic<int> parts{3};

#if defined(__x86_64__)
// Whether a product is large enough to be worth packing for the matrix unit: what packing costs per term, for m rows and n
// columns, against what the unit saves. By the sizes alone, so that the bits depend on nothing else.
bool worth_tiles(const Product& g) {
  return g.k >= 32 && static_cast<double>(g.m) * g.n >= 36.0 * (static_cast<double>(g.m) + g.n);
}
#endif

void product_f32(const Product& g) {
  static const Fn vectors = RL_PICK(gemm_f32);
#if defined(__x86_64__)
  if (worth_tiles(g) && has_amx())
    if (const int count = parts.load(std::memory_order_relaxed)) return amx::gemm_f32(g, count);
#endif
  vectors(g);
}

Fn pick_bf16() {
#if defined(__x86_64__)
  if (has_amx()) return &amx::gemm_bf16;
#endif
  return RL_PICK(gemm_bf16);
}

Fn pick(Kind kind) {
  static const Fn table[] = {product_f32,       RL_PICK(gemm_f64),      pick_bf16(),
                             RL_PICK(gemm_f16), complex_product<float>, complex_product<double>,
                             RL_PICK(gemm_i8),  RL_PICK(gemm_i16),      RL_PICK(gemm_i32),
                             RL_PICK(gemm_i64), RL_PICK(gemm_i8)};  // bytes wrap alike, signed or not
  return table[static_cast<int>(kind)];
}

}  // namespace

int float32_parts() { return parts.load(std::memory_order_relaxed); }
void set_float32_parts(int count) { parts.store(count, std::memory_order_relaxed); }

void gemm(Kind kind, int64_t m, int64_t n, int64_t k, const void* a, int64_t a_row_stride,
          int64_t a_col_stride, const void* b, int64_t b_row_stride, int64_t b_col_stride, void* c,
          int64_t c_row_stride, bool accumulate) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {
    const size_t size = element_size(kind);
    for (int64_t i = 0; i < m && !accumulate; i++)
      std::memset(static_cast<char*>(c) + i * c_row_stride * static_cast<int64_t>(size), 0, n * size);
    return;
  }
  pick(kind)(
      {m, n, k, a, a_row_stride, a_col_stride, b, b_row_stride, b_col_stride, c, c_row_stride, accumulate});
}

void gemm_batched(Kind kind, int64_t batch, int64_t m, int64_t n, int64_t k, const void* a,
                  int64_t a_batch_stride, int64_t a_row_stride, int64_t a_col_stride, const void* b,
                  int64_t b_batch_stride, int64_t b_row_stride, int64_t b_col_stride, void* c,
                  int64_t c_batch_stride, int64_t c_row_stride, bool accumulate) {
  const auto size = static_cast<int64_t>(element_size(kind));
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      gemm(kind, m, n, k, static_cast<const char*>(a) + i * a_batch_stride * size, a_row_stride, a_col_stride,
           static_cast<const char*>(b) + i * b_batch_stride * size, b_row_stride, b_col_stride,
           static_cast<char*>(c) + i * c_batch_stride * size, c_row_stride, accumulate);
  };
  const double flops = 2.0 * static_cast<double>(m) * n * k;
  // A few large products are better parallel inside; the results are the same.
  if (flops > 8e6 && batch < 4 * num_threads()) run(0, batch);
  else parallel_for(batch, static_cast<int64_t>(std::clamp(5e5 / (flops + 100), 1.0, 1e6)), run);
}

float dot_f32(int64_t n, const float* a, int64_t a_stride, const float* b, int64_t b_stride) {
  static const auto fn = RL_PICK(dot32);
  return fn(n, a, a_stride, b, b_stride);
}
double dot_f64(int64_t n, const double* a, int64_t a_stride, const double* b, int64_t b_stride) {
  static const auto fn = RL_PICK(dot64);
  return fn(n, a, a_stride, b, b_stride);
}

// ---- scratch ----

namespace {

constexpr size_t kept_limit = 16 << 20;  // larger buffers go back at once

struct Kept {
  struct Slot {
    void* data = nullptr;
    size_t bytes = 0;
  } slots[static_cast<int>(Use::count)];
  ~Kept() {
    for (Slot& slot : slots) std::free(slot.data);
  }
};
thread_local Kept kept;

void* aligned(size_t bytes) {
  void* data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!data) throw std::bad_alloc();
  return data;
}

}  // namespace

Scratch::Scratch(Use use, size_t bytes) : data_(nullptr), owned_(bytes > kept_limit) {
  if (bytes == 0) return;
  if (owned_) {
    data_ = aligned(bytes);
    return;
  }
  auto& slot = kept.slots[static_cast<int>(use)];
  if (slot.bytes < bytes) {
    std::free(slot.data);
    slot.data = nullptr;
    slot.bytes = 0;
    const size_t room = std::min(kept_limit, std::max<size_t>(bytes + bytes / 4, 65536));
    slot.data = aligned(room);
    slot.bytes = room;
  }
  data_ = slot.data;
}

Scratch::~Scratch() {
  if (owned_) std::free(data_);
}

}  // namespace rushlight::cpu

// Entry to attention: the pieces that threads take, and where each head lies. The work is in attention*.isa.cpp.
#include "kernels/cpu/attention.h"

#include <algorithm>
#include <memory>
#include <type_traits>

#include "kernels/cpu/attention_head.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "kernels/mathfn.h"
#include "kernels/parallel.h"
#include "kernels/with_isa.h"

namespace rushlight::cpu {

RL_FOR_EACH_ISA(void attention32(const AttentionPiece<float>&, const AttentionResult<float>&);
                void attention64(const AttentionPiece<double>&, const AttentionResult<double>&);
                void attention_backward32(const AttentionPiece<float>&, const AttentionGradient<float>&);
                void attention_backward64(const AttentionPiece<double>&, const AttentionGradient<double>&);)

#if defined(__x86_64__)
// False, and nothing of use written, where numbers are too large or too small for the matrix unit.
namespace amx {
bool attention(const AttentionPiece<float>&, const AttentionResult<float>&);
bool attention_backward(const AttentionPiece<float>&, const AttentionGradient<float>&);
}  // namespace amx
#endif

namespace {

constexpr int64_t most_queries = 512;  // of one piece: they share the packing of keys and values

template <class T>
T* rows_of(const AttentionShape& s, int64_t head, T* first, const RowStrides& by) {
  return first + head / s.heads * by.batch + head % s.heads * by.head;
}
template <class T>
AttentionPiece<T> piece_of(const AttentionShape& s, int64_t head, const T* q, const T* k, const T* v) {
  const int64_t mask = head / s.heads * s.mask_stride[0] + head % s.heads * s.mask_stride[1];
  return {s,
          0,
          s.queries,
          rows_of(s, head, q, s.q),
          rows_of(s, head, k, s.k),
          rows_of(s, head, v, s.v),
          s.mask ? static_cast<const char*>(s.mask) + mask * int64_t(s.bool_mask ? 1 : sizeof(T)) : nullptr};
}
// Pieces of one chunk, so that a chunk is worth handing to another thread.
int64_t grain(int64_t pieces, double products) {
  return products < 5e5 ? pieces : std::max<int64_t>(1, int64_t(1.25e5 * double(pieces) / products));
}
double products(const AttentionShape& s) {
  return double(s.batch * s.heads) * double(s.queries) * double(s.keys) * double(s.size + s.value_size) /
         (1 + s.causal);
}

// Whether the matrix unit is worth it: by the sizes alone, so that the bits depend on nothing else. It does whole tiles of 32 in
// 4/7 of the time that multiply-adds take for as much, and splitting a probability costs it as much as 32 of its products.
template <class T>
bool on_tiles(const AttentionShape& s) {
  const auto padded = [](int64_t n) { return double((n + 31) / 32 * 32); };
  const double work = double(s.queries) * double(s.keys) * double(s.size + s.value_size);
  const double tiles = padded(s.queries) * padded(s.keys) * (padded(s.size) + padded(s.value_size) + 32);
  return std::is_same_v<T, float> && s.queries > 32 && s.keys > 32 && 7 * work >= 4 * tiles &&
         float32_parts() && has_amx();
}

}  // namespace

template <class T>
void attention(const AttentionShape& s, const T* q, const T* k, const T* v, T* out, T* logsumexp) {
  static const auto run = [] {
    if constexpr (std::is_same_v<T, float>) return RL_PICK(attention32);
    else return RL_PICK(attention64);
  }();
  const int64_t heads = s.batch * s.heads, parts = (s.queries + most_queries - 1) / most_queries;
  [[maybe_unused]] const bool tiles = on_tiles<T>(s);
  parallel_for(heads * parts, grain(heads * parts, products(s)), [&](int64_t first, int64_t last) {
    std::unique_ptr<T[]> totals(new T[std::min(s.queries, most_queries)]);
    for (int64_t number = first; number < last; ++number) {
      const int64_t head = number / parts;
      AttentionPiece<T> piece = piece_of(s, head, q, k, v);
      piece.begin = number % parts * most_queries;
      piece.end = std::min(s.queries, piece.begin + most_queries);
      T* top = logsumexp + head * s.queries + piece.begin;
      const AttentionResult<T> result{rows_of(s, head, out, s.out), top, totals.get()};
      bool done = false;
#if defined(__x86_64__)
      if constexpr (std::is_same_v<T, float>) done = tiles && amx::attention(piece, result);
#endif
      if (!done) run(piece, result);
      with_isa([&] {
        const int64_t n = piece.end - piece.begin;
        T *to = top, *total = totals.get();
        RL_INDEPENDENT
        for (int64_t i = 0; i < n; ++i) to[i] = to[i] + fn::log(total[i]);
      });
    }
  });
}

template <class T>
void attention_backward(const AttentionShape& s, const GradientStrides& by, const T* g, const T* q,
                        const T* k, const T* v, const T* out, const T* logsumexp, T* gq, T* gk, T* gv) {
  static const auto run = [] {
    if constexpr (std::is_same_v<T, float>) return RL_PICK(attention_backward32);
    else return RL_PICK(attention_backward64);
  }();
  [[maybe_unused]] const bool tiles = on_tiles<T>(s);
  parallel_for(s.batch * s.heads, grain(s.batch * s.heads, 2.5 * products(s)),
               [&](int64_t first, int64_t last) {
                 for (int64_t head = first; head < last; ++head) {
                   const AttentionPiece<T> piece = piece_of(s, head, q, k, v);
                   const AttentionGradient<T> result{rows_of(s, head, g, by.g),
                                                     rows_of(s, head, out, s.out),
                                                     logsumexp + head * s.queries,
                                                     rows_of(s, head, gq, by.q),
                                                     rows_of(s, head, gk, by.k),
                                                     rows_of(s, head, gv, by.v),
                                                     by};
                   bool done = false;
#if defined(__x86_64__)
                   if constexpr (std::is_same_v<T, float>)
                     done = tiles && amx::attention_backward(piece, result);
#endif
                   if (!done) run(piece, result);
                 }
               });
}

#define INSTANTIATE(T) \
  template void attention(const AttentionShape&, const T*, const T*, const T*, T*, T*); \
  template void attention_backward(const AttentionShape&, const GradientStrides&, const T*, const T*, \
                                   const T*, const T*, const T*, const T*, T*, T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace rushlight::cpu

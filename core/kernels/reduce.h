// Reductions over any set of dimensions. A reducer is a struct with
//   using Acc;  Acc identity();  Acc lift(T);  Acc combine(Acc, Acc)
// Note [Order of a reduction]: every row is cut into chunks of fixed length; a chunk is accumulated in 16 lanes (long
// chunks in more, see wide_lanes), the lanes are combined in a fixed tree, the chunks in order. Bits depend on the sizes
// only, not on threads or instruction set.
#pragma once
#include <memory>
#include <vector>

#include "kernels/copy.h"
#include "kernels/loop.h"
#include "kernels/with_isa.h"

namespace rushlight {

constexpr int64_t reduce_lanes = 16, reduce_chunk = 8192;

// Input with the kept dimensions first and the reduced ones last, merged where strides allow.
struct ReducePlan {
  Tensor owned;  // a contiguous copy where the layout asked for one
  const char* data = nullptr;
  int64_t kept = 1, reduced = 1;  // numbers of elements
  Dims kept_sizes, kept_strides;  // in elements, outer to inner
  int64_t stride = 1;             // between reduced elements
  int64_t inner = 1;              // columns side by side (stride one) when stride != 1
  // Element offset of kept position k.
  int64_t offset(int64_t k) const {
    int64_t at = 0;
    for (size_t d = kept_sizes.size(); d-- > 0;) {
      at += k % kept_sizes[d] * kept_strides[d];
      k /= kept_sizes[d];
    }
    return at;
  }
};
// dims: wrapped, without duplicates. rows_only: the reduced elements must lie side by side.
ReducePlan plan_reduction(const Tensor& in, const Dims& dims, bool rows_only);

// How many lanes long runs use: several registers, for one addition has to wait for the one before.
template <class Acc> constexpr int64_t wide_lanes = std::max<int64_t>(reduce_lanes, 256 / sizeof(Acc));

// Lane 0 with lane count / 2, ...; then the first half in the same way.
template <int64_t count, class R, class Acc> RL_INLINE void fold_lanes(const R& r, Acc* lanes) {
  if constexpr (count > 1) {
    RL_LANES
    for (int64_t l = 0; l < count / 2; ++l) lanes[l] = r.combine(lanes[l], lanes[l + count / 2]);
    fold_lanes<count / 2>(r, lanes);
  }
}

template <int64_t count, class T, class R> RL_INLINE typename R::Acc reduce_in_lanes(R r, const T* x,
                                                                                     int64_t n) {
  using Acc = typename R::Acc;
  Acc lanes[count];
  RL_LANES
  for (int64_t l = 0; l < count; ++l) lanes[l] = r.identity();
  const T* const last = x + n - reduce_lanes;
  const bool has_last = n >= reduce_lanes;
  for (; n >= count; n -= count, x += count) RL_LANES
  for (int64_t l = 0; l < count; ++l) lanes[l] = r.combine(lanes[l], r.lift(load(x + l)));
  if constexpr (count > reduce_lanes)
    for (; n >= reduce_lanes; n -= reduce_lanes, x += reduce_lanes) RL_LANES
  for (int64_t l = 0; l < reduce_lanes; ++l) lanes[l] = r.combine(lanes[l], r.lift(load(x + l)));
  if (n && has_last) {  // the rest, as the end of a full vector: no loop of n steps
    const int32_t skip = int32_t(reduce_lanes - n);
    RL_LANES
    for (int32_t l = 0; l < reduce_lanes; ++l) {
      const Acc with = r.combine(lanes[l], r.lift(load(last + l)));
      lanes[l] = l >= skip ? with : lanes[l];
    }
  } else {
    for (int64_t l = 0; l < n; ++l) lanes[l] = r.combine(lanes[l], r.lift(load(x + l)));
  }
  fold_lanes<count>(r, lanes);
  return lanes[0];
}
template <class T, class R> RL_INLINE typename R::Acc reduce_run(const R& r, const T* x, int64_t n) {
  constexpr int64_t wide = wide_lanes<typename R::Acc>;
  if (n < 4 * wide) return reduce_in_lanes<reduce_lanes>(r, x, n);
  return reduce_in_lanes<wide>(r, x, n);
}

// acc[j] = reduction over column j of a block. Arguments by value: what a lambda captures by reference would be read anew
// after each store, and the loop would not vectorise.
template <class T, class R>
RL_INLINE void reduce_rows(R r, const T* x, int64_t stride, int64_t rows, int64_t n,
                           typename R::Acc* __restrict acc) {
  for (int64_t j = 0; j < n; ++j) acc[j] = r.identity();
  for (int64_t i = 0; i < rows; ++i, x += stride) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) acc[j] = r.combine(acc[j], r.lift(load(x + j)));
  }
}

// The same for rows of n that lie one after another: where they are short, several are taken side by side.
template <class T, class R>
RL_INLINE void reduce_dense_rows(R r, const T* x, int64_t rows, int64_t n, typename R::Acc* __restrict acc) {
  const int64_t side = std::max<int64_t>(1, std::min(64 / n, rows));
  reduce_rows(r, x, side * n, rows / side, side * n, acc);
  x += rows / side * side * n;
  for (int64_t i = 0; i < rows % side; ++i, x += n)
    for (int64_t j = 0; j < n; ++j) acc[j] = r.combine(acc[j], r.lift(load(x + j)));
  for (int64_t i = 1; i < side; ++i)
    for (int64_t j = 0; j < n; ++j) acc[j] = r.combine(acc[j], acc[i * n + j]);
}

// result[k] = reduction over row k
template <class T, class R> void reduce(const ReducePlan& p, const R& r, typename R::Acc* result) {
  using Acc = typename R::Acc;
  const T* data = reinterpret_cast<const T*>(p.data);
  if (p.kept == 0) return;
  if (p.reduced == 0) {
    for (int64_t k = 0; k < p.kept; ++k) result[k] = r.identity();
    return;
  }
  if (p.stride == 1 || p.reduced == 1) {
    int64_t chunks = (p.reduced + reduce_chunk - 1) / reduce_chunk;
    if (chunks == 1) {
      int64_t grain = std::max<int64_t>(1, 4 * reduce_chunk / p.reduced);
      parallel_for(p.kept, grain, [&](int64_t begin, int64_t end) {
        with_isa([&] {
          for (int64_t k = begin; k < end; ++k) result[k] = reduce_run(r, data + p.offset(k), p.reduced);
        });
      });
      return;
    }
    std::unique_ptr<Acc[]> partial(new Acc[p.kept * chunks]);
    Acc* out = partial.get();
    parallel_for(p.kept * chunks, 4, [&](int64_t begin, int64_t end) {
      with_isa([&] {
        for (int64_t t = begin; t < end; ++t) {
          int64_t at = t % chunks * reduce_chunk;
          out[t] = reduce_run(r, data + p.offset(t / chunks) + at, std::min(reduce_chunk, p.reduced - at));
        }
      });
    });
    for (int64_t k = 0; k < p.kept; ++k) {
      Acc acc = out[k * chunks];
      for (int64_t c = 1; c < chunks; ++c) acc = r.combine(acc, out[k * chunks + c]);
      result[k] = acc;
    }
    return;
  }
  // Columns: `inner` results side by side, rows `stride` apart.
  constexpr int64_t width = 256, height = 512;
  int64_t outer = p.kept / p.inner, blocks = (p.inner + width - 1) / width,
          chunks = (p.reduced + height - 1) / height;
  std::unique_ptr<Acc[]> partial(chunks > 1 ? new Acc[p.kept * chunks] : nullptr);
  Acc* parts = partial.get();
  int64_t work = std::min(p.inner, width) * std::min(p.reduced, height);
  parallel_for(outer * blocks * chunks, std::max<int64_t>(1, 4 * reduce_chunk / work),
               [&](int64_t begin, int64_t end) {
                 Acc acc[width];
                 with_isa([&] {
                   for (int64_t t = begin; t < end; ++t) {
                     int64_t c = t % chunks, b = t / chunks % blocks, o = t / chunks / blocks;
                     int64_t first = b * width, n = std::min(width, p.inner - first),
                             rows = std::min(height, p.reduced - c * height);
                     const T* x = data + p.offset(o * p.inner) + first + c * height * p.stride;
                     if (n == p.stride) reduce_dense_rows(r, x, rows, n, acc);
                     else reduce_rows(r, x, p.stride, rows, n, acc);
                     int64_t k = o * p.inner + first;
                     if (chunks == 1)
                       for (int64_t j = 0; j < n; ++j) result[k + j] = acc[j];
                     else
                       for (int64_t j = 0; j < n; ++j) parts[c * p.kept + k + j] = acc[j];
                   }
                 });
               });
  if (chunks > 1)
    for (int64_t k = 0; k < p.kept; ++k) {
      Acc acc = parts[k];
      for (int64_t c = 1; c < chunks; ++c) acc = r.combine(acc, parts[c * p.kept + k]);
      result[k] = acc;
    }
}

}  // namespace rushlight

// Kernels that work along one dimension: the input with that dimension last and contiguous, and the way back.
#pragma once
#include "kernels/copy.h"
#include "kernels/parallel.h"

namespace rushlight {

// t with dimension d moved to the end (a view; 0-d tensors become one element).
inline Tensor dim_last(const Tensor& t, int64_t d) {
  if (t.ndim() == 0) return alias(t, Dims{1}, Dims{1}, t.offset());
  Dims sizes(t.sizes()), strides(t.strides());
  sizes.erase(d);
  strides.erase(d);
  sizes.push_back(t.size(d));
  strides.push_back(t.stride(d));
  return alias(t, sizes, strides, t.offset());
}
inline Tensor contiguous_rows(const Tensor& t, int64_t d) {
  Tensor moved = dim_last(t, d);
  if (moved.contiguous()) return moved;
  Tensor rows = empty(moved.sizes(), t.dtype());
  copy(rows, moved);
  return rows;
}
// Memory for an output in row layout: the output itself where its dimension d is last already.
inline Tensor output_rows(const Tensor& out, int64_t d) {
  Tensor moved = dim_last(out, d);
  return moved.contiguous() ? moved : empty(moved.sizes(), out.dtype());
}
inline void put_rows(const Tensor& out, const Tensor& rows, int64_t d) {
  Tensor moved = dim_last(out, d);
  if (moved.raw() != rows.raw()) copy(moved, rows);
}
// f(row number) for each of the rows, in parallel where they are long enough together.
template <class F> void each_of_rows(int64_t rows, int64_t length, F&& f) {
  parallel_for(rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(length, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t k = begin; k < end; ++k) f(k);
               });
}

}  // namespace rushlight

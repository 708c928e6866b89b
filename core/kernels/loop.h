// Loop: walks several strided operands of one broadcast shape together, row by row. It knows addresses and strides only,
// neither dtypes nor what is computed. Operand 0 (the output, if there is one) decides the order of the walk.
#pragma once
#include <algorithm>

#include "kernels/parallel.h"
#include "tensor/tensor.h"

namespace rushlight {

constexpr int max_operands = 8;
constexpr int64_t pointwise_grain =
    16384;  // elements per parallel chunk; fixed, so that chunks never depend on threads

struct Loop {
  int ndim = 0, nops = 0;
  int64_t numel = 1;
  char* base[max_operands];
  int64_t sizes[max_ndim];                  // [0] is the innermost dimension
  int64_t strides[max_operands][max_ndim];  // in bytes, 0 where the operand is broadcast

  explicit Loop(IntSpan shape);
  // Adds an operand that broadcasts (right-aligned) to the shape; strides in elements. Returns its number.
  int add(char* data, IntSpan operand_sizes, IntSpan operand_strides, int64_t itemsize);
  int add(const Tensor& t) { return add(t.raw(), t.sizes(), t.strides(), t.itemsize()); }
  // After the last add: drops dimensions of size 1, sorts the rest by stride, merges neighbours that form one row.
  // A (2, 3, 4) contiguous loop becomes one row of 24; with a broadcast (4,) operand it becomes 6 rows of 4.
  void finish();

  int64_t row() const { return sizes[0]; }
  int64_t stride(int operand) const { return strides[operand][0]; }  // within a row, in bytes
  bool contiguous(int operand, int64_t itemsize) const;              // the whole operand is one run of memory

  // f(char* const* pointers, int64_t n) for the rows, and pieces of rows, that make up elements [begin, end).
  template <class F> void each_row(int64_t begin, int64_t end, F&& f) const {
    int64_t index[max_ndim];
    char* p[max_operands];
    for (int k = 0; k < nops; ++k) p[k] = base[k];
    int64_t rest = begin;
    for (int d = 0; d < ndim; ++d) {
      index[d] = rest % sizes[d];
      rest /= sizes[d];
      for (int k = 0; k < nops; ++k) p[k] += index[d] * strides[k][d];
    }
    while (begin < end) {
      int64_t n = std::min(sizes[0] - index[0], end - begin);
      f(static_cast<char* const*>(p), n);
      begin += n;
      if (begin >= end) break;
      for (int k = 0; k < nops; ++k) p[k] -= index[0] * strides[k][0];
      index[0] = 0;
      for (int d = 1; d < ndim; ++d) {
        if (++index[d] < sizes[d]) {
          for (int k = 0; k < nops; ++k) p[k] += strides[k][d];
          break;
        }
        index[d] = 0;
        for (int k = 0; k < nops; ++k) p[k] -= strides[k][d] * (sizes[d] - 1);
      }
    }
  }
  template <class F> void for_each_row(F&& f) const { each_row(0, numel, f); }
  // The same in parallel, in chunks of `grain` elements.
  template <class F> void parallel_rows(int64_t grain, F&& f) const {
    parallel_for(numel, grain, [&](int64_t begin, int64_t end) { each_row(begin, end, f); });
  }
};

// f(T& element) over all elements of a tensor, in no particular order, on the calling thread.
template <class T, class F> void each_element(const Tensor& t, F&& f) {
  Loop loop(t.sizes());
  loop.add(t);
  loop.finish();
  loop.for_each_row([&](char* const* p, int64_t n) {
    for (int64_t i = 0; i < n; ++i) f(*reinterpret_cast<T*>(p[0] + i * loop.stride(0)));
  });
}

}  // namespace rushlight

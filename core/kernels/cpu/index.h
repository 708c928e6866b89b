// Kernels of advanced indexing: which elements a list of index tensors names, reading them and writing to them.
#pragma once
#include <vector>

#include "tensor/tensor.h"

namespace rushlight::cpu {

// Position of the first index outside [low, high), -1 if there is none.
int64_t first_outside(const int64_t* index, int64_t n, int64_t low, int64_t high);

// a = a + b in the dtype's own arithmetic: integers wrap, bool is "or".
template <class T> inline void add_to(T& a, T b) {
  if constexpr (std::is_same_v<T, bool>) a = rushlight::load(&a) || b;
  else if constexpr (std::is_integral_v<T>) a = T(std::make_unsigned_t<T>(a) + std::make_unsigned_t<T>(b));
  else if constexpr (HalfPrecision<T>) a = T(float(a) + float(b));
  else a += b;
}

// The shape of t[indices]: dimensions before the indexed ones, the indices' own, and those after. Where the indexed
// dimensions are not neighbours, the indices' come first.
struct IndexShape {
  Dims index;          // the indices broadcast together
  Dims before, after;  // dimensions of t
  Dims sizes;          // of the result
  IndexShape(const Tensor& t,
             std::span<const Tensor> indices);  // indices by dimension, empty handles for full slices
};

// The elements of t[indices] as sums of offsets before[i] + index[j] + after[k], then runs of neighbouring elements.
struct Selection {
  Dims sizes;
  std::vector<int64_t> before, index, after;  // in elements from the first of t
  int64_t run = 1;
  Selection(const Tensor& t,
            std::span<const Tensor> indices);  // int64 indices; IndexError where one is out of bounds
  // one dimension indexed by n numbers known to be in bounds
  Selection(const Tensor& t, int64_t dim, const int64_t* numbers, int64_t n);
};

// out = the selected elements of t, in order; out is contiguous.
void take_elements(const Tensor& out, const Tensor& t, const Selection& s);
// Writes values (contiguous in the selection's sizes, or one element for all) to the selected elements; with accumulate adds
// them. Where an element is named several times, the order of the selection decides, whatever the number of threads.
void put_elements(const Tensor& t, const Selection& s, const Tensor& values, bool accumulate);

// The contiguous matrix `to` of `rows` rows of `row` elements = base (zeros without one) with row i of values added to row
// index[i], in the order of i; indices equal to `skipped` are left out. For fresh outputs: each row is written once.
void add_rows(Dtype dtype, char* to, const char* base, int64_t rows, int64_t row, const int64_t* index,
              int64_t n, const char* values, int64_t skipped = -1);
// Whether that pays: rows are long enough, and few enough, for the list of those that go to each of them.
inline bool adds_by_rows(int64_t rows, int64_t row, int64_t n) { return row >= 16 && rows <= 4 * n + 64; }

}  // namespace rushlight::cpu

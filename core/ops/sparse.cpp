// The kernel under products of sparse and dense matrices; everything else about sparse tensors is in rushlight/sparse.
#include "kernels/parallel.h"
#include "ops/dense.h"

#include <algorithm>

namespace rushlight::ops {

namespace {

// Rows begin in order and end at the last element; columns name rows of the dense matrix.
void check_pattern(const Tensor& starts, const Tensor& columns, int64_t inner) {
  const int64_t *first = starts.data<int64_t>(), *column = columns.data<int64_t>();
  int64_t rows = starts.numel() - 1, n = columns.numel();
  bool ordered = first[0] == 0 && first[rows] == n;
  for (int64_t r = 0; r < rows; ++r) ordered &= first[r] <= first[r + 1];
  if (!ordered) throw runtime_error("the compressed indices of a sparse tensor do not fit its plain indices");
  bool inside = true;
  for (int64_t k = 0; k < n; ++k) inside &= column[k] >= 0 && column[k] < inner;
  if (!inside) throw index_error("a sparse matrix has column indices outside of its ", inner, " columns");
}

// One row of the product: the rows of b that the columns name, scaled, summed in the order of the elements. A piece of
// fixed width keeps its sums in registers.
template <class T>
void product_row(const int64_t* columns, const T* values, int64_t n, const T* b, int64_t width, T* out) {
  constexpr int64_t piece = 16;
  int64_t at = 0;
  for (; at + piece <= width; at += piece) {
    T sums[piece] = {};
    for (int64_t k = 0; k < n; ++k) {
      const T* from = b + columns[k] * width + at;
      const T scale = values[k];
      for (int64_t j = 0; j < piece; ++j) sums[j] = T(sums[j] + scale * from[j]);
    }
    std::copy_n(sums, piece, out + at);
  }
  for (; at < width; ++at) {
    T sum = T();
    for (int64_t k = 0; k < n; ++k) sum = T(sum + values[k] * b[columns[k] * width + at]);
    out[at] = sum;
  }
}

template <class T>
void product(const int64_t* starts, const int64_t* columns, const T* values, const T* b, T* out, int64_t rows,
             int64_t width, int64_t n) {
  int64_t grain = std::max<int64_t>(1, 65536 * rows / std::max<int64_t>(1, n * width));
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      product_row(columns + starts[r], values + starts[r], starts[r + 1] - starts[r], b, width,
                  out + r * width);
  });
}

}  // namespace

const Op& csr_mm = def({
    .sig = "_csr_mm(Tensor starts, Tensor columns, Tensor values, Tensor dense) -> Tensor",
    .doc =
        "The product of a matrix in compressed rows (starts (n + 1,), columns and values (nnz,)) and a dense "
        "matrix (k, m): (n, m).",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          const Tensor &starts = c.in(0), &columns = c.in(1), &values = c.in(2), &b = c.in(3);
          expect(starts.ndim() == 1 && starts.numel() > 0 && columns.ndim() == 1 && values.ndim() == 1, c);
          expect(b.ndim() == 2 && columns.numel() == values.numel() && values.dtype() == b.dtype(), c);
          expect(starts.dtype() == Dtype::i64 && columns.dtype() == Dtype::i64, c);
          c.out_meta(0, b.dtype(), Dims{starts.numel() - 1, b.size(1)});
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor starts = dense(c.in(0)), columns = dense(c.in(1)), values = dense(c.in(2), d),
                 b = dense(c.in(3), d);
          check_pattern(starts, columns, b.size(0));
          Result out(c.out(), d);
          visit(d, [&]<class T>() {
            if constexpr (std::is_same_v<T, bool>) throw_unsupported("sparse_mm", d);
            else
              product<T>(starts.data<int64_t>(), columns.data<int64_t>(), values.data<T>(), b.data<T>(),
                         out.data<T>(), starts.numel() - 1, b.size(1), columns.numel());
          });
          out.store();
        },
    .modules = "nn",
});

}  // namespace rushlight::ops

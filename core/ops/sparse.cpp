// The kernels under products and sums of sparse tensors; everything else about them is in rushlight/sparse.
#include "kernels/parallel.h"
#include "kernels/with_isa.h"
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

// `piece` columns of one row of the product: the rows of b that the columns name, scaled, summed in the order of the
// elements in registers.
template <int piece, class T>
RL_INLINE void product_piece(const int64_t* columns, const T* values, int64_t n, const T* b, int64_t width,
                             T* out) {
  T sums[piece] = {};
  for (int64_t k = 0; k < n; ++k) {
    const T* from = b + columns[k] * width;
    const T scale = values[k];
    for (int64_t j = 0; j < piece; ++j) sums[j] = T(sums[j] + scale * from[j]);
  }
  std::copy_n(sums, piece, out);
}

template <class T>
void product(const int64_t* starts, const int64_t* columns, const T* values, const T* b, T* out, int64_t rows,
             int64_t width, int64_t n) {
  int64_t grain = std::max<int64_t>(1, 65536 * rows / std::max<int64_t>(1, n * width));
  parallel_for(rows, grain, [=](int64_t begin, int64_t end) {
    with_isa([=] {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t first = starts[r], count = starts[r + 1] - first;
        T* to = out + r * width;
        int64_t at = 0;
        for (; at + 16 <= width; at += 16)
          product_piece<16>(columns + first, values + first, count, b + at, width, to + at);
        for (; at < width; ++at)
          product_piece<1>(columns + first, values + first, count, b + at, width, to + at);
      }
    });
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

const Op& merge_positions = def({
    .sig = "_merge_positions(Tensor a, Tensor b) -> (Tensor both, Tensor place_a, Tensor place_b)",
    .doc = "The positions in two ascending lists (n,) and (m,), int64, each once and in order, and where "
           "those of "
           "either list are among them.",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          const Tensor &a = c.in(0), &b = c.in(1);
          expect(a.ndim() == 1 && b.ndim() == 1 && a.dtype() == Dtype::i64 && b.dtype() == Dtype::i64, c);
        },
    .cpu =
        [](Call& c) {
          Tensor a = dense(c.in(0)), b = dense(c.in(1));
          const int64_t n = a.numel(), m = b.numel();
          Tensor all = empty(Dims{n + m}, Dtype::i64), place_a = empty(Dims{n}, Dtype::i64),
                 place_b = empty(Dims{m}, Dtype::i64);
          const int64_t *x = a.data<int64_t>(), *y = b.data<int64_t>();
          int64_t *out = all.data<int64_t>(), *in_x = place_a.data<int64_t>(),
                  *in_y = place_b.data<int64_t>();
          int64_t i = 0, j = 0, k = 0;
          for (; i < n && j < m; ++k) {  // without branches: which list is next cannot be foreseen
            const int64_t here = x[i], there = y[j];
            out[k] = std::min(here, there);
            in_x[i] = in_y[j] = k;
            i += here <= there;
            j += there <= here;
          }
          for (; i < n; ++i, ++k) out[in_x[i] = k] = x[i];
          for (; j < m; ++j, ++k) out[in_y[j] = k] = y[j];
          Tensor both = empty(Dims{k}, Dtype::i64);
          std::copy_n(out, k, both.data<int64_t>());
          c.outs = {both, place_a, place_b};
        },
});

}  // namespace rushlight::ops

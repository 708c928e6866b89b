// Rows of a matrix by index, and the gradient: rows added up in a dense matrix, in the order of the indices.
#include "kernels/cpu/index.h"
#include "kernels/parallel.h"
#include "kernels/stream.h"
#include "ops/dense.h"
#include "ops/ops.h"

#include <cstring>
#include <unordered_map>

namespace rushlight::ops {

namespace {

extern const Op& embedding_backward;

// The indices as contiguous int64; raises for those that name no row.
Tensor checked_indices(const Tensor& t, int64_t rows) {
  Tensor indices = dense(t, Dtype::i64);
  const int64_t* index = indices.data<int64_t>();
  if (cpu::first_outside(index, indices.numel(), 0, rows) >= 0)
    throw index_error("index out of range in self");
  return indices;
}

void check_index_dtype(const Tensor& t) {
  if (t.dtype() == Dtype::i64 || t.dtype() == Dtype::i32) return;
  throw runtime_error(
      "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but "
      "got "
      "torch.",
      info(t.dtype()).type_name, " instead (while checking arguments for embedding)");
}

// The gradient of embedding(sparse=True): a row for every index that is not padding_idx, in the order of the indices.
Tensor sparse_gradient(const Call& c, const Tensor& g) {
  if (c.b(3))
    throw runtime_error("embedding_backward: scale_grad_by_freq not supported with sparse gradients");
  Tensor indices = RL_OP("reshape").call({c.in(1), Dims{-1}});
  Tensor values = RL_OP("reshape").call({g, Dims{indices.numel(), g.size(-1)}});
  if (c.i(2) >= 0) {
    Tensor kept = RL_OP("reshape").call({RL_OP("nonzero").call({ne(indices, c.i(2))}), Dims{-1}});
    indices = RL_OP("index_select").call({indices, 0, kept});
    values = RL_OP("index_select").call({values, 0, kept});
  }
  return sparse_coo(unsqueeze.call({indices, 0}), values, c.in_sizes(0));
}

}  // namespace

const Op& embedding = def({
    .sig = "embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, bool "
           "sparse=False) -> "
           "Tensor",
    .doc = "Rows of weight, one for each index. The row padding_idx gets no gradient.",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          const Tensor& weight = c.in(0);
          if (weight.ndim() != 2) throw runtime_error("'weight' must be 2-D");
          check_index_dtype(c.in(1));
          Dims sizes(c.in(1).sizes());
          sizes.push_back(weight.size(1));
          c.out_meta(0, weight.dtype(), std::move(sizes));
        },
    .cpu =
        [](Call& c) {
          Tensor weight = dense(c.in(0)), indices = checked_indices(c.in(1), weight.size(0));
          const int64_t* index = indices.data<int64_t>();
          size_t row = weight.size(1) * weight.itemsize();
          const char* from = weight.raw();
          char* to = c.out().raw();
          const bool past = row >= 256 && streams(2 * indices.numel() * int64_t(row));
          parallel_for(indices.numel(), std::max<int64_t>(1, 65536 / std::max<int64_t>(row, 1)),
                       [&](int64_t begin, int64_t end) {
                         for (int64_t i = begin; i < end; ++i)
                           if (past) stream_copy(to + i * row, from + index[i] * row, row);
                           else std::memcpy(to + i * row, from + index[i] * row, row);
                         if (past) stream_end();
                       });
        },
    .saves = save(In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          if (c.b(4)) return Grads{sparse_gradient(c, g), Tensor()};
          return Grads{embedding_backward(g, c.in(1), c.in_sizes(0)[0], c.i(2), c.b(3)), Tensor()};
        },
    .ref = "weight[indices]",
    .samples = {"x(4,3), i(5; 0, 4)", "x(4,3), i(2,3; 0, 4)"},
});

namespace {

const Op& embedding_backward = def({
    .sig =
        "embedding_dense_backward(Tensor grad_output, Tensor indices, int num_weights, int padding_idx, bool "
        "scale_grad_by_freq) -> Tensor",
    .doc = "Rows of grad_output added up at their indices.",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          if (c.in(0).ndim() == 0)
            throw runtime_error("embedding_dense_backward: grad_output needs at least one dimension");
          check_index_dtype(c.in(1));
          c.out_meta(0, c.in(0).dtype(), Dims{c.i(2), c.in(0).size(-1)});
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor g = dense(c.in(0), d), indices = checked_indices(c.in(1), c.i(2));
          Result out(c.out(), d);
          const int64_t* index = indices.data<int64_t>();
          int64_t n = indices.numel(), width = g.size(-1);
          check(n * width == g.numel(),
                "embedding_dense_backward: sizes of grad_output and indices do not match");
          if (!c.b(4) && cpu::adds_by_rows(c.i(2), width, n)) {
            cpu::add_rows(d, out.work().raw(), nullptr, c.i(2), width, index, n, g.raw(), c.i(3));
            return out.store();
          }
          std::unordered_map<int64_t, int64_t> uses;  // of each index
          if (c.b(4))
            for (int64_t i = 0; i < n; ++i) ++uses[index[i]];
          rushlight::fill(out.work(), Value(0));
          visit(d, [&]<class T>() {
            if constexpr (!std::is_same_v<T, bool>) {
              const T* from = g.data<T>();
              T* to = out.data<T>();
              // chunks of columns, so that every sum runs in the order of the indices
              parallel_for(width, n * width < 65536 ? width : 64, [&](int64_t begin, int64_t end) {
                for (int64_t i = 0; i < n; ++i) {
                  if (index[i] == c.i(3)) continue;
                  T* row = to + index[i] * width;
                  const T* add = from + i * width;
                  if (uses.empty())
                    for (int64_t j = begin; j < end; ++j) row[j] = T(row[j] + add[j]);
                  else
                    for (int64_t j = begin; j < end; ++j)
                      row[j] = T(row[j] + add[j] / convert<T>(uses.at(index[i])));
                }
              });
            }
          });
          out.store();
        },
    .saves = save(In1),
    .grad =
        [](const Call& c, const Tensor& gg) {
          if (c.b(4))
            throw not_implemented(
                "embedding: second derivatives with scale_grad_by_freq are not implemented");
          Tensor rows = embedding(gg, c.in(1));
          if (c.i(3) < 0) return Grads{rows, Tensor()};
          return Grads{mul(rows, unsqueeze.call({ne(c.in(1), c.i(3)), -1})), Tensor()};
        },
});

}  // namespace

}  // namespace rushlight::ops

// Pieces of a tensor along one dimension: split, chunk, unbind, narrow.
#include "ops/view.h"

#include <algorithm>

#include "ops/ops.h"

namespace rushlight::ops {

namespace {

int64_t dim_of(const Call& c, int k, int64_t ndim) { return wrap_dim(c.i(k), ndim); }
Tensor narrowed(const Tensor& t, int64_t d, int64_t start, int64_t length, int64_t step = 1) {
  Dims sizes(t.sizes()), strides(t.strides());
  sizes[d] = length;
  strides[d] *= step;
  return alias(t, sizes, strides, t.offset() + (length ? start : 0) * t.stride(d));
}

void split_rule(Call& c, int64_t d, const Dims& lengths) {
  const Tensor& t = c.in(0);
  int64_t start = 0;
  for (size_t k = 0; k < lengths.size(); ++k) {
    c.out_view(k, narrowed(t, d, start, lengths[k]));
    start += lengths[k];
  }
}

// Outputs of split and its relatives that got no gradient count as zeros.
Grads join_gradients(const Call& c, int64_t dim, bool stacked, IntSpan lengths) {
  TensorList parts;
  for (size_t k = 0; k < c.grads->size(); ++k) {
    if (c.g(k)) {
      parts.push_back(c.g(k));
      continue;
    }
    Dims sizes(c.in_sizes(0));
    if (stacked) sizes.erase(dim);
    else sizes[dim] = lengths[k];
    parts.push_back(full(sizes, c.in_dtype(0), 0));
  }
  return {find_op(stacked ? "stack" : "cat").call({parts, dim})};
}

Dims chunk_lengths(int64_t size, int64_t step) {
  Dims lengths;
  for (int64_t at = 0; at < size; at += step) lengths.push_back(std::min(step, size - at));
  if (lengths.empty()) lengths.push_back(0);
  return lengths;
}
Dims split_lengths(int64_t size, int64_t step) {
  if (step < 0) throw runtime_error("split expects split_size be non-negative, but got split_size=", step);
  if (step == 0 && size != 0)
    throw runtime_error("split expects split_size > 0 unless dimension size is 0, but got dimension size of ",
                        size);
  return step ? chunk_lengths(size, step) : Dims{0};
}

}  // namespace

const Op& narrow = def({
    .sig = "narrow(Tensor input, int dim, int start, int length) -> Tensor",
    .doc = "A view of length positions from start along dim.",
    .family = other,
    .forms = function | method,
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.ndim() == 0) throw runtime_error("narrow() cannot be applied to a 0-dim tensor.");
          int64_t d = dim_of(c, 1, t.ndim()), start = c.i(2), length = c.i(3), n = t.size(d);
          if (length < 0) throw runtime_error("narrow(): length must be non-negative.");
          if (start < -n || start > n)
            throw index_error("start out of range (expected to be in range of [", -n, ", ", n, "], but got ",
                              start, ")");
          if (start < 0) start += n;
          if (length > n - start)
            throw runtime_error("start (", start, ") + length (", length, ") exceeds dimension size (", n,
                                ").");
          c.outs.push_back(slice.call({t, d, start, start + length, 1}));
        },
    .composite = true,
    .samples = {"x(4,3), 0, 1, 2"},
});

const Op& split = def({
    .sig = "split(Tensor tensor, int split_size, int dim=0) -> Tensor[]",
    .doc = "Views of consecutive pieces along dim, split_size positions each (the last may be shorter).",
    .family = Family::view,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.ndim() == 0) throw runtime_error("split expects at least a 1-dimensional tensor");
          int64_t d = dim_of(c, 2, t.ndim());
          split_rule(c, d, split_lengths(t.size(d), c.i(1)));
        },
    .grad = [](const Call& c, const Tensor&) -> Grads {
      int64_t d = wrap_dim(c.i(2), c.in_sizes(0).size());
      return join_gradients(c, d, false, split_lengths(c.in_sizes(0)[d], c.i(1)));
    },
    .samples = {"x(5,2), 2", "x(2,4), 2, 1"},
});
const Op& split_sections = def({
    .sig = "split.sizes(Tensor tensor, int[] split_size, int dim=0) -> Tensor[]",
    .doc = "Views of consecutive pieces of the given lengths along dim.",
    .family = Family::view,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.ndim() == 0) throw runtime_error("split expects at least a 1-dimensional tensor");
          int64_t d = dim_of(c, 2, t.ndim()), sum = 0;
          for (auto s : c.ints(1)) {
            if (s < 0)
              throw runtime_error(
                  "split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes=",
                  show(c.ints(1)));
            if (__builtin_add_overflow(sum, s, &sum)) sum = -1;
            if (sum < 0) break;
          }
          if (sum != t.size(d))
            throw runtime_error("split_with_sizes expects split_sizes to sum exactly to ", t.size(d),
                                " (input tensor's size at dimension ", d,
                                "), but got split_sizes=", show(c.ints(1)));
          split_rule(c, d, Dims(c.ints(1)));
        },
    .grad = [](const Call& c, const Tensor&) -> Grads {
      return join_gradients(c, wrap_dim(c.i(2), c.in_sizes(0).size()), false, c.ints(1));
    },
    .grad_name = "SplitWithSizesBackward0",
    .samples = {"x(5,2), (2,3)"},
    .aliases = {"split_with_sizes"},
});
const Op& chunk = def({
    .sig = "chunk(Tensor input, int chunks, int dim=0) -> Tensor[]",
    .doc = "Views of at most chunks consecutive pieces of equal length along dim (the last may be shorter).",
    .family = other,
    .forms = function | method,
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.ndim() == 0) throw runtime_error("chunk expects at least a 1-dimensional tensor");
          if (c.i(1) <= 0) throw runtime_error("chunk expects `chunks` to be greater than 0, got: ", c.i(1));
          int64_t d = dim_of(c, 2, t.ndim()), n = t.size(d), step = (n + c.i(1) - 1) / c.i(1);
          if (step == 0 && n == 0) {
            if (c.i(1) > 100000) throw runtime_error("chunk: ", c.i(1), " empty chunks are too many");
            c.outs = split_sections.call_list({t, Dims(c.i(1), 0), d});
          } else {
            c.outs = split.call_list({t, step, d});
          }
        },
    .composite = true,
    .samples = {"x(5,2), 2", "x(2,4), 2, 1"},
});
const Op& unbind = def({
    .sig = "unbind(Tensor input, int dim=0) -> Tensor[]",
    .doc = "Views of every position along dim.",
    .family = Family::view,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.ndim() == 0)
            throw index_error("Dimension specified as ", c.i(1), " but tensor has no dimensions");
          int64_t d = dim_of(c, 1, t.ndim());
          Dims sizes(t.sizes()), strides(t.strides());
          sizes.erase(d);
          strides.erase(d);
          for (int64_t i = 0; i < t.size(d); ++i)
            c.out_view(i, alias(t, sizes, strides, t.offset() + i * t.stride(d)));
        },
    .grad = [](const Call& c, const Tensor&) -> Grads {
      return join_gradients(c, wrap_dim(c.i(1), c.in_sizes(0).size()), true, {});
    },
    .samples = {"x(3,2)", "x(2,3), 1"},
});

}  // namespace rushlight::ops

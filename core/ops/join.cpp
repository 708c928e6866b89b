// Joining tensors: cat, stack and their relatives.
#include <cstring>

#include "kernels/copy.h"
#include "ops/create.h"
#include "ops/ops.h"
#include "ops/view.h"

namespace rushlight::ops {

namespace {

void check_elements(std::span<const Tensor> list) {
  for (size_t i = 0; i < list.size(); ++i)
    if (!list[i]) throw type_error("expected Tensor as element ", i, " in argument 0, but got NoneType");
}

// torch.empty(0) joins with anything, as in old programs.
bool skipped(const Tensor& t) { return t.ndim() == 1 && t.numel() == 0; }

void cat_rule(Call& c) {
  auto list = c.tensors(0);
  if (list.empty()) throw value_error("torch.cat(): expected a non-empty list of Tensors");
  check_elements(list);
  for (size_t i = 0; i < list.size(); ++i)
    if (list[i].ndim() == 0)
      throw runtime_error("zero-dimensional tensor (at position ", i, ") cannot be concatenated");
  const Tensor* first = nullptr;
  for (auto& t : list)
    if (!skipped(t)) {
      first = &t;
      break;
    }
  if (!first) first = &list[0];
  int64_t d = wrap_dim(c.i(1), first->ndim()), total = 0;
  bool last_channels = true;
  Dtype dtype = first->dtype();
  for (size_t i = 0; i < list.size(); ++i) {
    const Tensor& t = list[i];
    if (t.dtype() != dtype) dtype = Dtype::none;
    if (skipped(t)) continue;
    if (t.ndim() != first->ndim())
      throw runtime_error("Tensors must have same number of dimensions: got ", first->ndim(), " and ",
                          t.ndim());
    for (int64_t k = 0; k < t.ndim(); ++k)
      if (k != d && t.size(k) != first->size(k))
        throw runtime_error("Sizes of tensors must match except in dimension ", d, ". Expected size ",
                            first->size(k), " but got size ", t.size(k), " for tensor number ", i,
                            " in the list.");
    if (__builtin_add_overflow(total, t.size(d), &total))
      throw runtime_error("cat: the sizes sum to more than 2^63");
    last_channels &= t.ndim() == 4 && channels_last(t);
  }
  if (dtype == Dtype::none) {
    Value all = c.arg(0);
    dtype = result_type({&all, 1});
  }
  Dims sizes(first->sizes());
  sizes[d] = total;
  c.out_meta(0, dtype, std::move(sizes));
  if (last_channels && !skipped(*first)) {
    const Dims& sizes = c.meta0.sizes;
    c.meta0.strides = Dims{sizes[1] * sizes[2] * sizes[3], 1, sizes[1] * sizes[3], sizes[1]};
    c.meta0.strided = true;
  }
}

// The tensors along dimension d of out; `stacked` ones lack that dimension and take one place of it each.
void join_into(const Tensor& out, std::span<const Tensor> list, int64_t d, bool stacked) {
  if (out.numel() == 0) return;
  size_t item = out.itemsize();
  int64_t outer = 1, inner = item;
  for (int64_t k = 0; k < d; ++k) outer *= out.size(k);
  for (int64_t k = d + 1; k < out.ndim(); ++k) inner *= out.size(k);
  int64_t row = out.size(d) * inner;
  bool small = out.contiguous() && outer * row <= 1 << 18;
  int64_t at = 0;
  for (auto& t : list) {
    if (t.numel() == 0) continue;
    const int64_t length = stacked ? 1 : t.size(d);
    if (small && t.contiguous() && t.dtype() == out.dtype()) {
      char* to = out.raw() + at * inner;
      const char* from = t.raw();
      size_t bytes = length * inner;
      for (int64_t r = 0; r < outer; ++r) std::memcpy(to + r * row, from + r * bytes, bytes);
    } else {
      Dims sizes(out.sizes()), strides(out.strides());
      sizes[d] = length;
      if (stacked) sizes.erase(d), strides.erase(d);
      rushlight::copy(alias(out, sizes, strides, out.offset() + at * out.stride(d)), t);
    }
    at += length;
  }
}

const Op& cat = def({
    .sig = "cat(Tensor[] tensors, int dim=0) -> Tensor",
    .doc = "The tensors one after the other along dim; they have the same sizes elsewhere.",
    .forms = function | out_form,
    .autocast = Autocast::widest,
    .rule = cat_rule,
    .cpu = [](Call& c) { join_into(c.out(), c.tensors(0), wrap_dim(c.i(1), c.out().ndim()), false); },
    .grad =
        [](const Call& c, const Tensor& g) {
          int64_t d = wrap_dim(c.i(1), g.ndim()), at = 0;
          Grads out;
          for (int k = 0; k < c.slots(); ++k) {
            IntSpan sizes = c.in_sizes(k);
            bool skip = sizes.size() == 1 && sizes[0] == 0;
            int64_t length = skip ? 0 : sizes[d];
            if (!c.wants(k)) out.push_back({});
            else if (skip) out.push_back(full(Dims{0}, g.dtype(), 0));
            else out.push_back(slice(g, d, at, at + length));
            at += length;
          }
          return out;
        },
    .ref = "np.concatenate(tensors, dim)",
    .samples = {"[x(2,3), y(1,3)]", "[x(2,3), y(2,2), w(2,1)], 1", "[x(2,3), x(0)], -1", "[x(3)]"},
    .aliases = {"concat", "concatenate"},
});

const Op& stack = def({
    .sig = "stack(Tensor[] tensors, int dim=0) -> Tensor",
    .doc = "Tensors of equal size side by side along a new dimension.",
    .forms = function | out_form,
    .autocast = Autocast::widest,
    .rule =
        [](Call& c) {
          auto list = c.tensors(0);
          if (list.empty()) throw runtime_error("stack expects a non-empty TensorList");
          check_elements(list);
          int64_t d = wrap_dim(c.i(1), list[0].ndim() + 1);
          Dtype dtype = list[0].dtype();
          for (size_t i = 0; i < list.size(); ++i) {
            if (!same(list[i].sizes(), list[0].sizes()))
              throw runtime_error("stack expects each tensor to be equal size, but got ",
                                  show(list[0].sizes()), " at entry 0 and ", show(list[i].sizes()),
                                  " at entry ", i);
            if (list[i].dtype() != dtype) dtype = Dtype::none;
          }
          if (dtype == Dtype::none) {
            Value all = c.arg(0);
            dtype = result_type({&all, 1});
          }
          Dims sizes(list[0].sizes());
          sizes.insert(d, list.size());
          c.out_meta(0, dtype, std::move(sizes));
        },
    .cpu = [](Call& c) { join_into(c.out(), c.tensors(0), wrap_dim(c.i(1), c.out().ndim()), true); },
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads out;
          for (int k = 0; k < c.slots(); ++k) out.push_back(c.wants(k) ? select(g, c.i(1), k) : Tensor());
          return out;
        },
    .ref = "np.stack(tensors, dim)",
    .samples = {"[x(2,3), y(2,3)]", "[x(2,3), y(2,3)], 1", "[x(3), y(3)], -1", "[x(), y()]"},
});

// ---- relatives ----
// At least n dimensions, in the way of the n-d stack functions.
Tensor at_least(const Tensor& t, int n) {
  if (t.ndim() >= n) return t;
  Dims sizes(t.sizes());
  if (n == 1) return reshape(t, Dims{1});
  if (n == 2) return reshape(t, t.ndim() ? Dims{1, sizes[0]} : Dims{1, 1});
  return reshape(t, t.ndim() == 2 ? Dims{sizes[0], sizes[1], 1}
                    : t.ndim()    ? Dims{1, sizes[0], 1}
                                  : Dims{1, 1, 1});
}
TensorList all_at_least(const Call& c, int n) {
  auto list = c.tensors(0);
  if (list.empty()) throw runtime_error(c.op.name, " expects a non-empty TensorList");
  check_elements(list);
  TensorList out;
  for (auto& t : list) out.push_back(at_least(t, n));
  return out;
}

const Op& hstack = def({
    .sig = "hstack(Tensor[] tensors) -> Tensor",
    .doc = "The tensors one after the other along the second dimension (the first one for vectors).",
    .forms = function | out_form,
    .cpu =
        [](Call& c) {
          TensorList list = all_at_least(c, 1);
          c.outs = TensorList{cat.call({list, list[0].ndim() == 1 ? 0 : 1})};
        },
    .composite = true,
    .ref = "np.hstack(tensors)",
    .samples = {"[x(2), y(3)]", "[x(2,3), y(2,1)]"},
});
const Op& vstack = def({
    .sig = "vstack(Tensor[] tensors) -> Tensor",
    .doc = "The tensors below each other; vectors are rows.",
    .forms = function | out_form,
    .cpu =
        [](Call& c) {
          TensorList list = all_at_least(c, 2);
          c.outs = TensorList{cat.call({list, 0})};
        },
    .composite = true,
    .ref = "np.vstack(tensors)",
    .samples = {"[x(3), y(3)]", "[x(2,3), y(1,3)]"},
    .aliases = {"row_stack"},
});
const Op& dstack = def({
    .sig = "dstack(Tensor[] tensors) -> Tensor",
    .doc = "The tensors one after the other along the third dimension.",
    .forms = function | out_form,
    .cpu =
        [](Call& c) {
          TensorList list = all_at_least(c, 3);
          c.outs = TensorList{cat.call({list, 2})};
        },
    .composite = true,
    .ref = "np.dstack(tensors)",
    .samples = {"[x(3), y(3)]", "[x(2,3), y(2,3)]"},
});
const Op& column_stack = def({
    .sig = "column_stack(Tensor[] tensors) -> Tensor",
    .doc = "The tensors side by side; vectors are columns.",
    .forms = function | out_form,
    .cpu =
        [](Call& c) {
          TensorList list = all_at_least(c, 0);
          for (auto& t : list)
            if (t.ndim() < 2) t = reshape(t, Dims{t.numel(), 1});
          c.outs = TensorList{cat.call({list, 1})};
        },
    .composite = true,
    .ref = "np.column_stack(tensors)",
    .samples = {"[x(3), y(3)]", "[x(3), y(3,2)]"},
});

}  // namespace

}  // namespace rushlight::ops

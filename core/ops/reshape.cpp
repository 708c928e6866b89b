// The same elements under another shape: view, reshape, flatten, and the copies that make it possible.
#include "ops/view.h"

#include <algorithm>

#include "ops/ops.h"

namespace rushlight::ops {

namespace {

int64_t dim_of(const Call& c, int k, int64_t ndim) { return wrap_dim(c.i(k), ndim); }
// The gradient goes back to the size-one dimensions that were dropped.
Grads reshape_back(const Call& c, const Tensor& g) { return {reshape(g, c.in_sizes(0))}; }

}  // namespace

bool view_strides(const Tensor& t, IntSpan sizes, Dims& strides) {
  strides.resize(sizes.size());
  if (t.contiguous()) {
    strides = contiguous_strides(sizes);
    return true;
  }
  if (t.numel() == 0) {
    strides = contiguous_strides(sizes);
    return true;
  }
  // Old dimensions are taken in chunks that are contiguous among themselves; each chunk must be a product of new ones.
  int64_t next = int64_t(sizes.size()) - 1, chunk = 1, base = t.ndim() ? t.stride(t.ndim() - 1) : 1;
  for (int64_t d = t.ndim() - 1; d >= 0; --d) {
    chunk *= t.size(d);
    bool last = d == 0 || (t.size(d - 1) != 1 && t.stride(d - 1) != chunk * base);
    if (!last) continue;
    int64_t covered = 1;
    while (next >= 0 && (covered < chunk || sizes[next] == 1)) {
      strides[next] = covered * base;
      covered *= sizes[next--];
    }
    if (covered != chunk) return false;
    if (d > 0) {
      chunk = 1;
      base = t.stride(d - 1);
    }
  }
  return next == -1;
}

Dims infer_size(IntSpan wanted, int64_t numel) {
  Dims sizes(wanted);
  int64_t known = 1, unknown = -1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == -1) {
      if (unknown >= 0) throw runtime_error("only one dimension can be inferred");
      unknown = i;
    } else if (sizes[i] < 0) {
      throw runtime_error("invalid shape dimension ", sizes[i], " at index ", i, " of shape ", show(wanted));
    } else if (__builtin_mul_overflow(known, sizes[i], &known)) {
      throw runtime_error("shape '", show(wanted), "' is invalid for input of size ", numel);
    }
  }
  if (unknown >= 0) {
    if (known == 0 && numel == 0)
      throw runtime_error("cannot reshape tensor of 0 elements into shape ", show(wanted),
                          " because the unspecified dimension size -1 can be any value and is ambiguous");
    if (known == 0 || numel % known)
      throw runtime_error("shape '", show(wanted), "' is invalid for input of size ", numel);
    sizes[unknown] = numel / known;
  } else if (known != numel) {
    throw runtime_error("shape '", show(wanted), "' is invalid for input of size ", numel);
  }
  return sizes;
}

const Op& view_ = def({
    .sig = "view(Tensor input, int... size) -> Tensor",
    .doc = "The same elements under another shape, without copying; one size may be -1. Raises where the "
           "strides do not allow it.",
    .family = Family::view,
    .forms = Forms::method,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          Dims sizes = infer_size(c.ints(1), t.numel()), strides;
          if (!view_strides(t, sizes, strides))
            throw runtime_error(
                "view size is not compatible with input tensor's size and stride (at least one dimension "
                "spans across "
                "two contiguous subspaces). Use .reshape(...) instead.");
          c.out_view(0, alias(t, sizes, strides, t.offset()));
        },
    .grad = reshape_back,
    .ref = "np.reshape(input, size)",
    .samples = {"x(2,6), (3,4)", "x(2,3,4), (-1,)", "x(0,3), (3,0)", "x(), (1,1)"},
});

Tensor reshape(const Tensor& x, IntSpan wanted) {
  Dims sizes = infer_size(wanted, x.numel()), strides;
  if (view_strides(x, sizes, strides)) return view_.call({x, sizes});
  return unsafe_view.call({contiguous_copy(x), sizes});
}

// A fresh result under another shape. It shares memory with nothing the user can reach, so it is no view.
const Op& unsafe_view = def({
    .sig = "_unsafe_view(Tensor input, int[] size) -> Tensor",
    .doc = "A new tensor's elements under another shape.",
    .forms = Forms::no_forms,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (!t.contiguous()) throw runtime_error("_unsafe_view: expected a contiguous tensor");
          Dims sizes = infer_size(c.ints(1), t.numel());
          c.out_view(0, alias(t, sizes, contiguous_strides(sizes), t.offset()));
        },
    .cpu = [](Call&) {},  // the rule has done it all
    .grad = reshape_back,
});

const Op& reshape_op = def({
    .sig = "reshape(Tensor input, int... shape) -> Tensor",
    .doc = "The same elements under another shape: a view where the strides allow it, a copy otherwise.",
    .family = other,
    .forms = function | method,
    .cpu = [](Call& c) { c.outs.push_back(reshape(c.in(0), c.ints(1))); },
    .composite = true,
    .ref = "np.reshape(input, shape)",
    .samples = {"x(2,6), (3,4)", "x(2,3), (-1,)", "x(0,3), (3,0)"},
});

const Op& contiguous = def({
    .sig = "contiguous(Tensor input, *, any memory_format=None) -> Tensor",
    .doc = "The tensor itself where it is contiguous already, otherwise a contiguous copy.",
    .family = other,
    .forms = Forms::method,
    .cpu = [](Call& c) { c.outs.push_back(c.in(0).contiguous() ? c.in(0) : contiguous_copy(c.in(0))); },
    .composite = true,
    .samples = {"x(2,3)"},
});

const Op& flatten = def({
    .sig = "flatten(Tensor input, int start_dim=0, int end_dim=-1) -> Tensor",
    .doc = "Merges the dimensions from start_dim to end_dim into one.",
    .family = other,
    .forms = function | method,
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          int64_t a = dim_of(c, 1, t.ndim()), b = dim_of(c, 2, t.ndim());
          if (a > b) throw runtime_error("flatten() has invalid args: start_dim cannot come after end_dim");
          if (t.ndim() == 0) {
            c.outs.push_back(reshape(t, Dims{1}));
            return;
          }
          if (a == b) {
            c.outs.push_back(t);
            return;
          }
          Dims sizes;
          int64_t merged = 1;
          for (int64_t d = 0; d < t.ndim(); ++d) {
            if (d < a || d > b) sizes.push_back(t.size(d));
            else {
              merged *= t.size(d);
              if (d == b) sizes.push_back(merged);
            }
          }
          c.outs.push_back(reshape(t, sizes));
        },
    .composite = true,
    .samples = {"x(2,3,4)", "x(2,3,4), 1", "x(2,3,4), 0, 1", "x()"},
});

const Op& ravel = def({
    .sig = "ravel(Tensor input) -> Tensor",
    .doc = "All elements in one dimension: a view where possible.",
    .family = other,
    .forms = function | method,
    .cpu = [](Call& c) { c.outs.push_back(reshape(c.in(0), Dims{-1})); },
    .composite = true,
    .ref = "np.ravel(input)",
    .samples = {"x(2,3)", "x()"},
});

Tensor contiguous_copy(const Tensor& x) {
  // clone keeps dense strides; a copy into row-major order is what views need
  static PyObject* row_order = PyUnicode_InternFromString("contiguous_format");
  Value format;
  format.tag = Value::object;
  format.o = row_order;
  return clone.call({x, format});
}

}  // namespace rushlight::ops

// Views: operators that give another geometry of the same memory. Rules build the output; there is no kernel.
#include "ops/view.h"

#include <algorithm>

#include "ops/ops.h"

namespace rushlight::ops {

namespace {

int64_t dim_of(const Call& c, int k, int64_t ndim) { return wrap_dim(c.i(k), ndim); }

Dims wrap_dims(IntSpan dims, int64_t ndim) {
  Dims out;
  for (auto d : dims) out.push_back(wrap_dim(d, ndim));
  return out;
}

void check_permutation(const char* name, const Dims& order, int64_t ndim) {
  if (int64_t(order.size()) != ndim)
    throw runtime_error(
        name,
        "(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
        "ordering of dimensions i.e. input.dim() = ",
        ndim, " is not equal to len(dims) = ", order.size());
  uint64_t seen = 0;
  for (auto d : order) {
    if (seen >> d & 1) throw runtime_error(name, "(): duplicate dims are not allowed.");
    seen |= uint64_t(1) << d;
  }
}

Tensor permuted(const Tensor& t, const Dims& order) {
  Dims sizes(order.size()), strides(order.size());
  for (size_t i = 0; i < order.size(); ++i) sizes[i] = t.size(order[i]), strides[i] = t.stride(order[i]);
  return alias(t, sizes, strides, t.offset());
}

void transpose_rule(Call& c, int64_t a, int64_t b) {
  const Tensor& t = c.in(0);
  Dims sizes(t.sizes()), strides(t.strides());
  if (t.ndim()) {
    std::swap(sizes[a], sizes[b]);
    std::swap(strides[a], strides[b]);
  }
  c.out_view(0, alias(t, sizes, strides, t.offset()));
}

Dims squeezed_dims(const Tensor& t, IntSpan dims, bool all) {
  Dims keep;
  for (int64_t d = 0; d < t.ndim(); ++d) {
    bool named = all || std::find(dims.begin(), dims.end(), d) != dims.end();
    if (!named || t.size(d) != 1) keep.push_back(d);
  }
  return keep;
}
void squeeze_rule(Call& c, IntSpan dims, bool all) {
  c.out_view(0, permuted(c.in(0), squeezed_dims(c.in(0), dims, all)));
}

// The gradient goes back to the size-one dimensions that were dropped.
Grads reshape_back(const Call& c, const Tensor& g) { return {reshape(g, c.in_sizes(0))}; }
Tensor narrowed(const Tensor& t, int64_t d, int64_t start, int64_t length, int64_t step = 1) {
  Dims sizes(t.sizes()), strides(t.strides());
  sizes[d] = length;
  strides[d] *= step;
  return alias(t, sizes, strides, t.offset() + (length ? start : 0) * t.stride(d));
}

}  // namespace

const Op& view_dtype = def({
    .sig = "view.dtype(Tensor input, dtype dtype) -> Tensor",
    .doc = "The same bytes read as another dtype; the last dimension is scaled where the item sizes differ.",
    .family = Family::view,
    .forms = Forms::method,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          Dtype to = c.dtype(1, t.dtype());
          check_storable(to);
          int64_t from_size = t.itemsize(), to_size = itemsize(to);
          Dims sizes(t.sizes()), strides(t.strides());
          int64_t offset = t.offset();
          if (from_size != to_size) {
            if (t.ndim() == 0)
              throw runtime_error("self.dim() cannot be 0 to view ", info(t.dtype()).scalar_name, " as ",
                                  info(to).scalar_name, " (different element sizes)");
            if (strides.back() != 1)
              throw runtime_error("self.stride(-1) must be 1 to view ", info(t.dtype()).scalar_name, " as ",
                                  info(to).scalar_name, " (different element sizes), but got ",
                                  strides.back());
            auto rescale = [&](int64_t v, const char* what) {
              if (v * from_size % to_size)
                throw runtime_error(what, " must be divisible by ", to_size / from_size, " to view ",
                                    info(t.dtype()).scalar_name, " as ", info(to).scalar_name,
                                    " (different element sizes), but got ", v);
              return v * from_size / to_size;
            };
            sizes.back() = rescale(sizes.back(), "self.size(-1)");
            for (size_t d = 0; d + 1 < strides.size(); ++d) strides[d] = rescale(strides[d], "self.stride()");
            offset = rescale(offset, "self.storage_offset()");
          }
          Tensor out = alias(t, t.sizes(), t.strides(), t.offset());
          out->dtype = to;
          set_layout(out, sizes, strides, offset);
          c.out_view(0, out);
        },
    .samples = {"x(2,4), dtype=rl.int32"},
});

const Op& alias_ = def({
    .sig = "alias(Tensor input) -> Tensor",
    .doc = "A view of the whole tensor.",
    .family = Family::view,
    .forms = Forms::no_forms,
    .rule = [](Call& c) { c.out_view(0, alias(c.in(0))); },
    .grad = [](const Call&, const Tensor& g) -> Grads { return {g}; },
});

const Op& expand = def({
    .sig = "expand(Tensor input, int... size, *, bool implicit=False) -> Tensor",
    .doc = "A view in which dimensions of size one are repeated (stride zero); -1 keeps a size.",
    .family = Family::view,
    .forms = Forms::method,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          IntSpan wanted = c.ints(1);
          int64_t lead = int64_t(wanted.size()) - t.ndim();
          if (lead < 0)
            throw runtime_error("expand(torch.", info(t.dtype()).type_name, "{", show(t.sizes()),
                                "}, size=", show(wanted), "): the number of sizes provided (", wanted.size(),
                                ") must be greater or equal to the number of dimensions in the tensor (",
                                t.ndim(), ")");
          Dims sizes(wanted.size()), strides(wanted.size());
          for (int64_t d = 0; d < int64_t(wanted.size()); ++d) {
            int64_t old = d < lead ? 1 : t.size(d - lead), size = wanted[d];
            if (size == -1) {
              if (d < lead)
                throw runtime_error(
                    "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing "
                    "dimension ",
                    d);
              size = old;
            }
            if (size < 0) throw runtime_error("expand: sizes must be non-negative or -1, got ", show(wanted));
            if (old != size && old != 1)
              throw runtime_error("The expanded size of the tensor (", size,
                                  ") must match the existing size (", old, ") at non-singleton dimension ", d,
                                  ".  Target sizes: ", show(wanted), ".  Tensor sizes: ", show(t.sizes()));
            sizes[d] = size;
            if (d >= lead && old == size) strides[d] = t.stride(d - lead);
            else strides[d] = 0;
          }
          c.out_view(0, alias(t, sizes, strides, t.offset()));
        },
    .grad = [](const Call&, const Tensor& g) -> Grads { return {g}; },  // the engine sums to the input's size
    .samples = {"x(3,1), (3,4)", "x(3), (2,-1)", "x(), (2,2)"},
});

const Op& permute = def({
    .sig = "permute(Tensor input, int... dims) -> Tensor",
    .doc = "A view with the dimensions in the given order.",
    .family = Family::view,
    .rule =
        [](Call& c) {
          Dims order = wrap_dims(c.ints(1), c.in(0).ndim());
          check_permutation("permute", order, c.in(0).ndim());
          c.out_view(0, permuted(c.in(0), order));
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      Dims order = wrap_dims(c.ints(1), g.ndim()), back(order.size());
      for (size_t i = 0; i < order.size(); ++i) back[order[i]] = i;
      return {permute.call({g, back})};
    },
    .ref = "np.transpose(input, dims)",
    .samples = {"x(2,3,4), (2,0,1)", "x(2,3), (-1,-2)"},
});

const Op& transpose = def({
    .sig = "transpose(Tensor input, int dim0, int dim1) -> Tensor",
    .doc = "A view with two dimensions exchanged.",
    .family = Family::view,
    .rule =
        [](Call& c) {
          int64_t n = c.in(0).ndim();
          transpose_rule(c, dim_of(c, 1, n), dim_of(c, 2, n));
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads { return {transpose.call({g, c.i(1), c.i(2)})}; },
    .ref = "np.swapaxes(input, dim0, dim1)",
    .samples = {"x(2,3,4), 0, 2", "x(2,3), -1, 0"},
    .aliases = {"swapaxes", "swapdims"},
});

const Op& t = def({
    .sig = "t(Tensor input) -> Tensor",
    .doc =
        "A view of a matrix with its two dimensions exchanged; tensors of fewer dimensions stay as they are.",
    .family = Family::view,
    .rule =
        [](Call& c) {
          if (c.in(0).ndim() > 2)
            throw runtime_error("t() expects a tensor with <= 2 dimensions, but self is ", c.in(0).ndim(),
                                "D");
          if (c.in(0).ndim() < 2) c.out_view(0, alias(c.in(0)));
          else transpose_rule(c, 0, 1);
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads { return {t.call({g})}; },
    .grad_name = "TBackward0",
    .ref = "input.T",
    .samples = {"x(2,3)", "x(3)", "x()"},
});

const Op& select = def({
    .sig = "select(Tensor input, int dim, int index) -> Tensor",
    .doc = "A view of one position along dim, which is removed.",
    .family = Family::view,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.ndim() == 0) throw index_error("select() cannot be applied to a 0-dim tensor.");
          int64_t d = dim_of(c, 1, t.ndim()), i = c.i(2), n = t.size(d);
          if (i < -n || i >= n)
            throw index_error("select(): index ", i, " out of range for tensor of size ", show(t.sizes()),
                              " at dimension ", d);
          if (i < 0) i += n;
          Dims sizes(t.sizes()), strides(t.strides());
          sizes.erase(d);
          strides.erase(d);
          c.out_view(0, alias(t, sizes, strides, t.offset() + i * t.stride(d)));
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      return {find_op("select_backward").call({g, c.in_sizes(0), c.i(1), c.i(2)})};
    },
    .samples = {"x(3,4), 0, 1", "x(3,4), -1, -2"},
});

const Op& slice = def({
    .sig = "slice(Tensor input, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor",
    .doc = "A view of every step-th position from start to end along dim; bounds are clipped.",
    .family = Family::view,
    .forms = Forms::no_forms,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.ndim() == 0) throw runtime_error("slice() cannot be applied to a 0-dim tensor.");
          int64_t d = dim_of(c, 1, t.ndim()), n = t.size(d), step = c.i(4);
          if (step <= 0) throw runtime_error("slice step must be positive");
          auto clip = [&](int k, int64_t fallback) {
            int64_t v = c.has(k) ? c.i(k) : fallback;
            if (v < 0) v = v < -n ? 0 : v + n;
            return std::min(v, n);
          };
          int64_t start = clip(2, 0), end = std::max(clip(3, n), start);
          c.out_view(0, narrowed(t, d, start, (end - start) / step + ((end - start) % step != 0), step));
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      return {find_op("slice_backward").call({g, c.in_sizes(0), c.i(1), c.arg(2), c.arg(3), c.i(4)})};
    },
});

const Op& squeeze = def({
    .sig = "squeeze(Tensor input) -> Tensor",
    .doc = "A view without the dimensions of size one.",
    .family = Family::view,
    .rule = [](Call& c) { squeeze_rule(c, {}, true); },
    .grad = reshape_back,
    .ref = "np.squeeze(input)",
    .samples = {"x(1,3,1)", "x(2,3)"},
});
const Op& squeeze_dim = def({
    .sig = "squeeze.dim(Tensor input, int[] dim) -> Tensor",
    .doc = "A view without the named dimensions, where their size is one.",
    .family = Family::view,
    .rule = [](Call& c) { squeeze_rule(c, wrap_dims(c.ints(1), c.in(0).ndim()), false); },
    .grad = reshape_back,
    .grad_name = "SqueezeBackward1",
    .samples = {"x(1,3,1), 0", "x(1,3,1), (0,2)", "x(2,3), 0"},
});
const Op& unsqueeze = def({
    .sig = "unsqueeze(Tensor input, int dim) -> Tensor",
    .doc = "A view with a new dimension of size one at dim.",
    .family = Family::view,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          int64_t d = wrap_dim(c.i(1), t.ndim() + 1);
          Dims sizes(t.sizes()), strides(t.strides());
          int64_t stride = d < t.ndim() ? t.size(d) * t.stride(d) : 1;
          sizes.insert(d, 1);
          strides.insert(d, stride);
          c.out_view(0, alias(t, sizes, strides, t.offset()));
        },
    .grad = reshape_back,
    .ref = "np.expand_dims(input, dim)",
    .samples = {"x(2,3), 0", "x(2,3), -1", "x(), 0"},
});

const Op& diagonal = def({
    .sig = "diagonal(Tensor input, int offset=0, int dim1=0, int dim2=1) -> Tensor",
    .doc = "A view of a diagonal of the matrices spanned by dim1 and dim2; it becomes the last dimension.",
    .family = Family::view,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          int64_t a = dim_of(c, 2, t.ndim()), b = dim_of(c, 3, t.ndim()), offset = c.i(1);
          if (a == b) throw runtime_error("diagonal dimensions cannot be identical ", c.i(2), ", ", c.i(3));
          int64_t rows = t.size(a), cols = t.size(b);
          int64_t length = offset >= 0 ? std::min(rows, cols > offset ? cols - offset : 0)
                                       : std::min(rows > -offset ? rows + offset : 0, cols);
          length = std::max<int64_t>(length, 0);
          int64_t at = t.offset();
          if (length) at += offset >= 0 ? offset * t.stride(b) : -offset * t.stride(a);
          Dims sizes, strides;
          for (int64_t d = 0; d < t.ndim(); ++d)
            if (d != a && d != b) sizes.push_back(t.size(d)), strides.push_back(t.stride(d));
          sizes.push_back(length);
          strides.push_back(t.stride(a) + t.stride(b));
          c.out_view(0, alias(t, sizes, strides, at));
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      Tensor zeros = full(c.in_sizes(0), g.dtype(), 0);
      return {find_op("diagonal_scatter").call({zeros, g, c.i(1), c.i(2), c.i(3)})};
    },
    .ref = "np.diagonal(input, offset, dim1, dim2)",
    .samples = {"x(3,4)", "x(3,4), 1", "x(2,3,4), -1, 1, 2"},
});

const Op& unfold = def({
    .sig = "unfold(Tensor input, int dimension, int size, int step) -> Tensor",
    .doc = "A view of all windows of length size, step apart, along a dimension; the window becomes the last "
           "dimension.",
    .family = Family::view,
    .forms = Forms::method,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          int64_t d = dim_of(c, 1, t.ndim()), size = c.i(2), step = c.i(3);
          int64_t n = t.ndim() ? t.size(d) : 1, stride = t.ndim() ? t.stride(d) : 1;
          if (size < 0) throw runtime_error("size is ", size, " but must be >= 0");
          if (size > n)
            throw runtime_error("maximum size for tensor at dimension ", d, " is ", n, " but size is ", size);
          if (step <= 0) throw runtime_error("step is ", step, " but must be > 0");
          Dims sizes(t.sizes()), strides(t.strides());
          if (t.ndim()) {
            sizes[d] = (n - size) / step + 1;
            if (__builtin_mul_overflow(strides[d], step, &strides[d]))
              throw runtime_error("Stride calculation overflowed");
          }
          sizes.push_back(size);
          strides.push_back(stride);
          c.out_view(0, alias(t, sizes, strides, t.offset()));
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      // every element of the input gathers the windows it appears in
      IntSpan sizes = c.in_sizes(0);
      if (sizes.empty()) return {reshape(g, Dims{})};
      int64_t d = wrap_dim(c.i(1), sizes.size());
      static const Op& arange = find_op("arange");
      Tensor positions = unfold.call({arange.call({0, sizes[d], 1, Dtype::i64}), 0, c.i(2), c.i(3)});
      Tensor windows = find_op("movedim").call({g, Dims{-1}, Dims{d + 1}});
      Dims merged(windows.sizes());
      merged[d] *= merged[d + 1];
      merged.erase(d + 1);
      Tensor zeros = full(sizes, g.dtype(), 0);
      return {find_op("index_add").call({zeros, d, reshape(positions, Dims{-1}), reshape(windows, merged)})};
    },
    .samples = {"x(7), 0, 3, 2", "x(2,5), 1, 2, 1"},
});

const Op& as_strided = def({
    .sig = "as_strided(Tensor input, int[] size, int[] stride, int? storage_offset=None, *, int "
           "_base_offset=0) -> Tensor",
    .doc = "A view with any sizes, strides and offset (in elements) inside the storage of input.",
    .family = Family::view,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          IntSpan sizes = c.ints(1), strides = c.ints(2);
          if (sizes.size() != strides.size())
            throw runtime_error("mismatch in length of strides and shape: sizes ", show(sizes), ", strides ",
                                show(strides));
          for (auto s : strides)
            if (s < 0)
              throw runtime_error(
                  "as_strided: Negative strides are not supported at the moment, got strides: ",
                  show(strides));
          int64_t offset = c.has(3) ? c.i(3) : t.offset();
          c.args[3] = Value(offset);
          c.args[4] = Value(t.offset());
          if (t->storage) check_bounds(t, sizes, strides, offset);
          c.out_view(0, alias(t, sizes, strides, offset));
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      // Through a flat picture of the storage: add the gradient where the view read, then read where the input reads.
      Dims in_strides(c.in_strides(0));
      int64_t first = std::min(c.i(3), c.i(4));
      auto reach = [](IntSpan sizes, IntSpan strides) {
        int64_t n = 1;
        for (size_t d = 0; d < sizes.size(); ++d) n += (sizes[d] - 1) * strides[d];
        return n;
      };
      int64_t length = 0;
      if (g.numel()) length = c.i(3) - first + reach(c.ints(1), c.ints(2));
      if (count(c.in_sizes(0))) length = std::max(length, c.i(4) - first + reach(c.in_sizes(0), in_strides));
      static const Op& arange = find_op("arange");
      Tensor positions =
          as_strided.call({arange.call({0, length, 1, Dtype::i64}), c.ints(1), c.ints(2), c.i(3) - first});
      Tensor flat = find_op("index_add")
                        .call({full(Dims{length}, g.dtype(), 0), 0, reshape(positions, Dims{-1}),
                               reshape(g, Dims{-1})});
      return {as_strided.call({flat, c.in_sizes(0), in_strides, c.i(4) - first})};
    },
    .samples = {"x(3,4), (2,2), (4,1)", "x(6), (2,3), (1,1), 1"},
});

const Op& movedim = def({
    .sig = "movedim(Tensor input, int[] source, int[] destination) -> Tensor",
    .doc = "A view in which the source dimensions stand at the destination positions, the others in their "
           "order.",
    .family = other,
    .forms = function | method,
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          Dims from = wrap_dims(c.ints(1), t.ndim()), to = wrap_dims(c.ints(2), t.ndim());
          if (from.size() != to.size())
            throw runtime_error("movedim: Invalid source or destination dims: source (", show(c.ints(1)),
                                " dims) should contain the same number of dims as destination (",
                                show(c.ints(2)), " dims)");
          Dims order(t.ndim(), -1);
          uint64_t used = 0;
          for (size_t i = 0; i < from.size(); ++i) {
            if (used >> from[i] & 1)
              throw runtime_error("movedim: repeated dim in `source` (", show(c.ints(1)), ")");
            if (order[to[i]] != -1)
              throw runtime_error("movedim: repeated dim in `destination` (", show(c.ints(2)), ")");
            used |= uint64_t(1) << from[i];
            order[to[i]] = from[i];
          }
          int64_t next = 0;
          for (auto& o : order) {
            if (o != -1) continue;
            while (used >> next & 1) ++next;
            o = next++;
          }
          c.outs.push_back(permute.call({t, order}));
        },
    .composite = true,
    .ref = "np.moveaxis(input, source, destination)",
    .samples = {"x(2,3,4), 0, 2", "x(2,3,4), (0,1), (1,2)"},
    .aliases = {"moveaxis"},
});

const Op& view_as_real = def({
    .sig = "view_as_real(Tensor input) -> Tensor",
    .doc = "A complex tensor as real numbers with a last dimension of two: real and imaginary parts.",
    .family = Family::view,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (!is_complex(t.dtype()))
            throw runtime_error("view_as_real is only supported for complex tensors");
          Dims sizes(t.sizes()), strides;
          for (auto s : t.strides()) strides.push_back(2 * s);
          sizes.push_back(2);
          strides.push_back(1);
          Tensor out = alias(t);
          out->dtype = real_of(t.dtype());
          set_layout(out, sizes, strides, 2 * t.offset());
          c.out_view(0, out);
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      return {find_op("view_as_complex").call({g.contiguous() ? g : contiguous_copy(g)})};
    },
    .samples = {"z(2,3)"},
});
const Op& view_as_complex = def({
    .sig = "view_as_complex(Tensor input) -> Tensor",
    .doc = "Pairs along the last dimension of a real tensor as complex numbers.",
    .family = Family::view,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.dtype() != Dtype::f16 && t.dtype() != Dtype::f32 && t.dtype() != Dtype::f64)
            throw runtime_error(
                "view_as_complex is only supported for half, float and double tensors, but got a tensor of "
                "scalar type: ",
                info(t.dtype()).scalar_name);
          if (t.ndim() == 0) throw runtime_error("Input tensor must have one or more dimensions");
          if (t.sizes().back() != 2) throw runtime_error("Tensor must have a last dimension of size 2");
          if (t.strides().back() != 1) throw runtime_error("Tensor must have a last dimension with stride 1");
          Dims sizes(t.sizes().first(t.ndim() - 1)), strides;
          for (int64_t d = 0; d + 1 < t.ndim(); ++d) {
            if (t.stride(d) % 2)
              throw runtime_error("Tensor must have a stride divisible by 2 for all but last dimension");
            strides.push_back(t.stride(d) / 2);
          }
          if (t.offset() % 2) throw runtime_error("Tensor must have a storage_offset divisible by 2");
          Tensor out = alias(t);
          out->dtype = complex_of(t.dtype());
          set_layout(out, sizes, strides, t.offset() / 2);
          c.out_view(0, out);
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads { return {view_as_real.call({g})}; },
    .samples = {"x(3,2)"},
});

void check_bounds(const Tensor& t, IntSpan sizes, IntSpan strides, int64_t offset) {
  int64_t last = offset, step, bytes;
  bool bad = offset < 0;
  if (count(sizes) && !bad) {
    for (size_t d = 0; d < sizes.size(); ++d)
      bad |= __builtin_mul_overflow(sizes[d] - 1, strides[d], &step) ||
             __builtin_add_overflow(last, step, &last);
    bad = bad || __builtin_mul_overflow(last + 1, int64_t(t.itemsize()), &bytes) ||
          bytes > int64_t(t->storage->nbytes);
  }
  if (offset < 0) throw runtime_error("Tensor: invalid storage offset ", offset);
  if (bad)
    throw runtime_error("setStorage: sizes ", show(sizes), ", strides ", show(strides), ", storage offset ",
                        offset, ", and itemsize ", t.itemsize(), " requiring a storage size of ",
                        (last + 1) * int64_t(t.itemsize()), " are out of bounds for storage of size ",
                        t->storage->nbytes);
}

}  // namespace rushlight::ops

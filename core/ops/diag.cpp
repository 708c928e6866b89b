// Diagonals and triangles: diag, diag_embed, trace, tril, triu, and copies with a part replaced (the inverse of views).
#include <cstring>

#include "autograd/node.h"
#include "kernels/copy.h"
#include "kernels/parallel.h"
#include "kernels/stream.h"
#include "ops/both.h"
#include "ops/index.h"
#include "ops/ops.h"
#include "ops/view.h"

namespace rushlight::ops {

namespace {

Tensor diagonal_of(const Tensor& t, int64_t offset, int64_t a, int64_t b) {
  static const Op& diagonal = find_op("diagonal");
  return diagonal(t, offset, a, b);
}

// A view of t that is not recorded and keeps no base.
template <class F> Tensor plain_view(const Tensor& t, F&& view) {
  GradMode off(false);
  return view(alias(t));
}

// ---- copies with a part replaced ----
// Output like argument 0; `view` is the part that argument 1 replaces.
template <class F> void part_rule(Call& c, F&& view) {
  const Tensor &t = c.in(0), &src = c.in(1);
  Tensor part = plain_view(t, view);
  if (!same(part.sizes(), src.sizes()))
    throw runtime_error("expected src to have a size equal to the slice of self. src size = ",
                        show(src.sizes()), ", slice size = ", show(part.sizes()));
  c.out_meta(0, t.dtype(), Dims(t.sizes()));
}
template <class F> void replace_part(Call& c, F&& view) {
  rushlight::copy(c.out(), c.in(0));
  rushlight::copy(plain_view(c.out(), view), c.in(1));
}
template <class F> Grads part_grad(const Call& c, const Tensor& g, F&& view) {
  Tensor self;
  if (c.wants(0)) {
    self = clone(g);
    zero_.call_inplace({view(self)});
  }
  return {self, c.wants(1) ? view(g) : Tensor()};
}

Tensor diagonal_part(const Call& c, const Tensor& t) { return diagonal_of(t, c.i(2), c.i(3), c.i(4)); }
Tensor select_part(const Call& c, const Tensor& t) { return select(t, c.i(2), c.i(3)); }
Tensor slice_part(const Call& c, const Tensor& t) {
  return slice.call({t, c.i(2), c.arg(3), c.arg(4), c.i(5)});
}

template <Tensor (*part)(const Call&, const Tensor&)> void rule_of(Call& c) {
  part_rule(c, [&](const Tensor& t) { return part(c, t); });
}
template <Tensor (*part)(const Call&, const Tensor&)> void kernel_of(Call& c) {
  replace_part(c, [&](const Tensor& t) { return part(c, t); });
}
template <Tensor (*part)(const Call&, const Tensor&)> Grads grad_of(const Call& c, const Tensor& g) {
  return part_grad(c, g, [&](const Tensor& t) { return part(c, t); });
}

const Op& diagonal_scatter = def({
    .sig = "diagonal_scatter(Tensor input, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor",
    .doc = "A copy with src on a diagonal.",
    .forms = function | method,
    .rule = rule_of<diagonal_part>,
    .cpu = kernel_of<diagonal_part>,
    .grad = grad_of<diagonal_part>,
    .samples = {"x(3,4), x(3)", "x(2,3,4), x(2,2), -1, 1, 2"},
});
const Op& select_scatter = def({
    .sig = "select_scatter(Tensor input, Tensor src, int dim, int index) -> Tensor",
    .doc = "A copy with src at one position along dim.",
    .forms = function | method,
    .rule = rule_of<select_part>,
    .cpu = kernel_of<select_part>,
    .grad = grad_of<select_part>,
    .samples = {"x(3,4), x(3), 1, 2", "x(3,4), x(4), 0, -1"},
});
const Op& slice_scatter = def({
    .sig = "slice_scatter(Tensor input, Tensor src, int dim=0, int? start=None, int? end=None, int step=1) "
           "-> Tensor",
    .doc = "A copy with src at a range of positions along dim.",
    .forms = function | method,
    .rule = rule_of<slice_part>,
    .cpu = kernel_of<slice_part>,
    .grad = grad_of<slice_part>,
    .samples = {"x(5,2), x(2,2), 0, 1, 4, 2", "x(3,4), x(3,2), 1, 2"},
});

// ---- diagonals ----
const Op& diagonal_copy = def({
    .sig = "diagonal_copy(Tensor input, int offset=0, int dim1=0, int dim2=1) -> Tensor",
    .doc = "A diagonal as a new tensor.",
    .forms = function,
    .rule =
        [](Call& c) {
          Tensor part =
              plain_view(c.in(0), [&](const Tensor& t) { return diagonal_of(t, c.i(1), c.i(2), c.i(3)); });
          c.out_meta(0, c.in(0).dtype(), Dims(part.sizes()));
        },
    .cpu =
        [](Call& c) {
          rushlight::copy(c.out(), plain_view(c.in(0), [&](const Tensor& t) {
                            return diagonal_of(t, c.i(1), c.i(2), c.i(3));
                          }));
        },
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{diagonal_scatter.call({full(c.in_sizes(0), g.dtype(), 0), g, c.i(1), c.i(2), c.i(3)})};
        },
    .grad_name = "DiagonalBackward0_copy",
    .samples = {"x(3,4), 1"},
});

const Op& diag_embed = def({
    .sig = "diag_embed(Tensor input, int offset=0, int dim1=-2, int dim2=-1) -> Tensor",
    .doc = "Matrices of zeros, spanned by dim1 and dim2, with the last dimension of input on a diagonal.",
    .forms = function | method,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.ndim() == 0)
            throw index_error("diag_embed(): the input has no dimension to put on a diagonal");
          int64_t nd = t.ndim() + 1, a = wrap_dim(c.i(2), nd), b = wrap_dim(c.i(3), nd);
          if (a == b) throw runtime_error("diagonal dimensions cannot be identical ", c.i(2), ", ", c.i(3));
          int64_t offset = c.i(1), n;
          if (offset == INT64_MIN || __builtin_add_overflow(t.size(-1), std::abs(offset), &n))
            throw runtime_error("diag_embed(): offset ", offset, " is too large");
          Dims sizes(t.sizes().first(t.ndim() - 1));
          sizes.insert(std::min(a, b), n);
          sizes.insert(std::max(a, b), n);
          c.out_meta(0, t.dtype(), std::move(sizes));
        },
    .cpu =
        [](Call& c) {
          rushlight::fill(c.out(), Value(0));
          auto view = [&](const Tensor& t) { return diagonal_of(t, c.i(1), c.i(2), c.i(3)); };
          rushlight::copy(plain_view(c.out(), view), c.in(0));
        },
    .grad = [](const Call& c, const Tensor& g) { return Grads{diagonal_of(g, c.i(1), c.i(2), c.i(3))}; },
    .samples = {"x(3)", "x(2,3), 1", "x(2,3), -1, 0, 2"},
});

const Op& diag = def({
    .sig = "diag(Tensor input, int diagonal=0) -> Tensor",
    .doc = "A vector becomes a matrix with it on a diagonal; a matrix gives its diagonal.",
    .forms = function | method | out_form,
    .cpu =
        [](Call& c) {
          int64_t nd = c.in(0).ndim();
          if (nd != 1 && nd != 2) throw runtime_error("diag(): Supports 1D or 2D tensors. Got ", nd, "D");
          c.outs = TensorList{nd == 1 ? diag_embed(c.in(0), c.i(1)) : diagonal_copy(c.in(0), c.i(1))};
        },
    .composite = true,
    .ref = "np.diag(input, diagonal)",
    .samples = {"x(3)", "x(3), 1", "x(3,4), -1"},
});
const Op& diagflat = def({
    .sig = "diagflat(Tensor input, int offset=0) -> Tensor",
    .doc = "A matrix with the elements of input on a diagonal.",
    .forms = function | method,
    .cpu = [](Call& c) { c.outs = TensorList{diag_embed(reshape(c.in(0), Dims{-1}), c.i(1))}; },
    .composite = true,
    .ref = "np.diagflat(input, offset)",
    .samples = {"x(2,2)", "x(3), -1", "x()"},
});

const Op& trace = def({
    .sig = "trace(Tensor input) -> Tensor",
    .doc = "Sum of the elements on the diagonal of a matrix.",
    .forms = function | method,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.ndim() != 2)
            throw runtime_error("trace: expected a matrix, but got tensor with dim ", t.ndim());
          c.out_meta(0, differentiable(t.dtype()) ? t.dtype() : Dtype::i64, Dims());
        },
    .kernel_name = "trace",
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          int64_t n = std::min(t.size(0), t.size(1)), step = t.stride(0) + t.stride(1);
          visit(c, t.dtype(), [&]<class T>() {
            const T* from = t.data<T>();
            if constexpr (std::is_integral_v<T>) {
              uint64_t sum = 0;
              for (int64_t i = 0; i < n; ++i) sum += uint64_t(int64_t(from[i * step]));
              *c.out().data<int64_t>() = int64_t(sum);
            } else {
              using Sum = std::conditional_t<HalfPrecision<T>, float, T>;
              Sum sum{};
              for (int64_t i = 0; i < n; ++i) sum += Sum(from[i * step]);
              *c.out().data<T>() = T(sum);
            }
          });
        },
    .grad =
        [](const Call& c, const Tensor& g) {
          IntSpan sizes = c.in_sizes(0);
          Tensor line = expand(g, Dims{std::min(sizes[0], sizes[1])});
          return Grads{diagonal_scatter(full(sizes, g.dtype(), 0), line)};
        },
    .ref = "np.trace(input)",
    .samples = {"x(3,3)", "x(2,4)", "x(0,3)"},
});

// ---- triangles ----
void triangle_rule(Call& c) {
  if (c.in(0).ndim() < 2) {
    std::string name = c.op.name.substr(0, 4);
    throw runtime_error(name, ": input tensor must have at least 2 dimensions");
  }
  c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
}
// The column at which the triangle ends in row r (lower), or begins.
int64_t triangle_edge(bool lower, int64_t r, int64_t k, int64_t cols) {
  return std::clamp(lower ? r + k + 1 : r + k, int64_t(0), cols);
}
// Rows of contiguous matrices: the part inside the triangle copied, zeros for the rest.
template <bool lower> void copy_triangle(const Tensor& to, const Tensor& from, int64_t k) {
  const int64_t rows = to.size(-2), cols = to.size(-1), item = to.itemsize();
  const bool past = streams(2 * to.numel() * item);
  char* target = to.raw();
  const char* source = from.raw();
  parallel_for(to.numel() / cols, std::max<int64_t>(1, 32768 / cols), [=](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t edge = triangle_edge(lower, line % rows, k, cols) * item, row = line * cols * item;
      const int64_t zeros = row + (lower ? edge : 0), zero_bytes = lower ? cols * item - edge : edge;
      const int64_t kept = row + (lower ? 0 : edge), kept_bytes = cols * item - zero_bytes;
      std::memset(target + zeros, 0, zero_bytes);
      if (past) stream_copy(target + kept, source + kept, kept_bytes);
      else std::memcpy(target + kept, source + kept, kept_bytes);
    }
    if (past) stream_end();
  });
}
// The triangle of each matrix, zeros outside it.
template <bool lower> void keep_triangle(Call& c) {
  const Tensor& t = c.out();
  int64_t rows = t.size(-2), cols = t.size(-1), row_step = t.stride(-2), col_step = t.stride(-1);
  if (t.numel() == 0) return;
  int64_t k = std::clamp(c.i(1), -rows - 1, cols + 1), lead = t.ndim() - 2;
  if (!c.in_place) {
    if (t.contiguous() && c.in(0).contiguous()) return copy_triangle<lower>(t, c.in(0), k);
    rushlight::copy(t, c.in(0));
  }
  Dims batch_sizes(t.sizes().first(lead)), batch_strides(t.strides().first(lead));
  visit_size(t.itemsize(), [&]<class T>() {
    T* data = t.data<T>();
    parallel_for(t.numel() / cols, std::max<int64_t>(1, 32768 / cols), [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; ++line) {
        int64_t r = line % rows, b = line / rows, at = r * row_step;
        for (int64_t d = lead; d-- > 0;) at += b % batch_sizes[d] * batch_strides[d], b /= batch_sizes[d];
        int64_t edge = triangle_edge(lower, r, k, cols);
        for (int64_t i = lower ? edge : 0, stop = lower ? cols : edge; i < stop; ++i)
          data[at + i * col_step] = T();
      }
    });
  });
}
const Both tril = def_both(
    {
        .sig = "tril(Tensor input, int diagonal=0) -> Tensor",
        .doc = "A copy with zeros above a diagonal of the last two dimensions.",
        .rule = triangle_rule,
        .grad = [](const Call& c, const Tensor& g) { return Grads{find_op("tril").call({g, c.i(1)})}; },
        .ref = "np.tril(input, diagonal)",
        .samples = {"x(3,3)", "x(2,3,4), 1", "x(4,3), -2"},
    },
    keep_triangle<true>, Starts::empty);
const Both triu = def_both(
    {
        .sig = "triu(Tensor input, int diagonal=0) -> Tensor",
        .doc = "A copy with zeros below a diagonal of the last two dimensions.",
        .rule = triangle_rule,
        .grad = [](const Call& c, const Tensor& g) { return Grads{find_op("triu").call({g, c.i(1)})}; },
        .ref = "np.triu(input, diagonal)",
        .samples = {"x(3,3)", "x(2,3,4), 1", "x(4,3), -2"},
    },
    keep_triangle<false>, Starts::empty);

}  // namespace

}  // namespace rushlight::ops

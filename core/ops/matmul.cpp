// Products of vectors, matrices and batches of matrices. All go to the strided matrix product of kernels/cpu/gemm.h, so that
// transposed operands are never copied. Products with an addend (addmm, ...) are in addmm.cpp.
#include "ops/matmul.h"

#include "autograd/node.h"
#include "kernels/cpu/gemm.h"
#include "ops/dense.h"
#include "ops/ops.h"
#include "ops/view.h"

namespace rushlight::ops {

namespace {

cpu::Kind kind_of(Dtype d, const char* name) {
  switch (d) {
    case Dtype::u8: return cpu::Kind::u8;
    case Dtype::i8: return cpu::Kind::i8;
    case Dtype::i16: return cpu::Kind::i16;
    case Dtype::i32: return cpu::Kind::i32;
    case Dtype::i64: return cpu::Kind::i64;
    case Dtype::f16: return cpu::Kind::f16;
    case Dtype::bf16: return cpu::Kind::bf16;
    case Dtype::f32: return cpu::Kind::f32;
    case Dtype::f64: return cpu::Kind::f64;
    case Dtype::c64: return cpu::Kind::c64;
    case Dtype::c128: return cpu::Kind::c128;
    default: throw_unsupported(name, d);
  }
}

Tensor conj_of(const Tensor& t) { return is_complex(t.dtype()) ? conj(t) : t; }

// Matrices stored column by column: their gradients are computed in the same layout, so that the gradient of a transposed
// weight is contiguous once it is transposed back.
bool column_major(IntSpan sizes, IntSpan strides) { return strides[0] == 1 && strides[1] == sizes[0]; }
Tensor flip(const Tensor& t) { return transpose.call({t, 0, 1}); }

}  // namespace

void multiply(const Tensor& out, const Tensor& a, const Tensor& b, bool accumulate, const char* name) {
  cpu::Kind kind = kind_of(a.dtype(), name);
  if (a.ndim() == 2)
    return cpu::gemm(kind, a.size(0), b.size(1), a.size(1), a.raw(), a.stride(0), a.stride(1), b.raw(),
                     b.stride(0), b.stride(1), out.raw(), out.stride(0), accumulate);
  cpu::gemm_batched(kind, a.size(0), a.size(1), b.size(2), a.size(2), a.raw(), a.stride(0), a.stride(1),
                    a.stride(2), b.raw(), b.stride(0), b.stride(1), b.stride(2), out.raw(), out.stride(0),
                    out.stride(1), accumulate);
}

Tensor left_gradient(const Tensor& g, const Tensor& b, IntSpan sizes, IntSpan strides) {
  if (sizes.size() == 3) return bmm(g, adjoint(b));
  return column_major(sizes, strides) ? flip(mm(conj_of(b), flip(g))) : mm(g, adjoint(b));
}
Tensor right_gradient(const Tensor& g, const Tensor& a, IntSpan sizes, IntSpan strides) {
  if (sizes.size() == 3) return bmm(adjoint(a), g);
  return column_major(sizes, strides) ? flip(mm(flip(g), conj_of(a))) : mm(adjoint(a), g);
}
static Grads product_gradients(const Call& c, const Tensor& g) {
  return Grads{c.wants(0) ? left_gradient(g, c.in(1), c.in_sizes(0), c.in_strides(0)) : Tensor(),
               c.wants(1) ? right_gradient(g, c.in(0), c.in_sizes(1), c.in_strides(1)) : Tensor()};
}

Tensor adjoint(const Tensor& t) { return conj_of(transpose.call({t, -2, -1})); }

const Op& mm = def({
    .sig = "mm(Tensor input, Tensor mat2) -> Tensor",
    .doc = R"(Product of two matrices.

        >>> rl.mm(rl.ones(2, 3), rl.ones(3, 1))
        tensor([[3.],
                [3.]]))",
    .autocast = Autocast::lower,
    .rule =
        [](Call& c) {
          const Tensor &a = c.in(0), &b = c.in(1);
          if (a.ndim() != 2) throw runtime_error("self must be a matrix");
          if (b.ndim() != 2) throw runtime_error("mat2 must be a matrix");
          if (a.size(1) != b.size(0))
            throw runtime_error("mat1 and mat2 shapes cannot be multiplied (", a.size(0), "x", a.size(1),
                                " and ", b.size(0), "x", b.size(1), ")");
          if (a.dtype() != b.dtype())
            throw runtime_error("expected m1 and m2 to have the same dtype, but got: ",
                                info(a.dtype()).ctype_name, " != ", info(b.dtype()).ctype_name);
          c.out_meta(0, a.dtype(), Dims{a.size(0), b.size(1)});
        },
    .cpu = [](Call& c) { multiply(c.out(), c.in(0), c.in(1), false, "addmm_impl_cpu_"); },
    .saves = {.for0 = In1, .for1 = In0},
    .grad = product_gradients,
    .ref = "input @ mat2",
    .samples = {"x(2,3), y(3,4)", "x(0,3), y(3,2)", "x(2,0), y(0,3)", "z(2,2), z(2,3)"},
});

const Op& bmm = def({
    .sig = "bmm(Tensor input, Tensor mat2) -> Tensor",
    .doc = "Products of two batches of matrices: (b, n, k) with (b, k, m) gives (b, n, m).",
    .autocast = Autocast::lower,
    .rule =
        [](Call& c) {
          const Tensor &a = c.in(0), &b = c.in(1);
          if (a.ndim() != 3) throw runtime_error("batch1 must be a 3D tensor");
          if (b.ndim() != 3) throw runtime_error("batch2 must be a 3D tensor");
          if (b.size(0) != a.size(0) || b.size(1) != a.size(2))
            throw runtime_error("Expected size for first two dimensions of batch2 tensor to be: [", a.size(0),
                                ", ", a.size(2), "] but got: [", b.size(0), ", ", b.size(1), "].");
          if (a.dtype() != b.dtype())
            throw runtime_error("expected scalar type ", info(a.dtype()).scalar_name, " but found ",
                                info(b.dtype()).scalar_name);
          c.out_meta(0, a.dtype(), Dims{a.size(0), a.size(1), b.size(2)});
        },
    .cpu = [](Call& c) { multiply(c.out(), c.in(0), c.in(1), false, "bmm"); },
    .saves = {.for0 = In1, .for1 = In0},
    .grad = product_gradients,
    .ref = "input @ mat2",
    .samples = {"x(2,3,4), y(2,4,2)", "x(0,2,3), y(0,3,2)", "z(2,2,2), z(2,2,1)"},
});

const Op& mv = def({
    .sig = "mv(Tensor input, Tensor vec) -> Tensor",
    .doc = "Product of a matrix and a vector.",
    .rule =
        [](Call& c) {
          const Tensor &a = c.in(0), &v = c.in(1);
          if (a.ndim() != 2 || v.ndim() != 1)
            throw runtime_error("vector + matrix @ vector expected, got ", a.ndim() == 2 ? 1 : v.ndim(), ", ",
                                a.ndim(), ", ", v.ndim());
          if (a.size(1) != v.size(0))
            throw runtime_error("size mismatch, got input (", a.size(0), "), mat (", a.size(0), "x",
                                a.size(1), "), vec (", v.size(0), ")");
          if (a.dtype() != v.dtype())
            throw runtime_error("addmv input tensors must have the same dtype, but got ",
                                info(v.dtype()).scalar_name, ", ", info(a.dtype()).scalar_name, ", and ",
                                info(v.dtype()).scalar_name);
          c.out_meta(0, a.dtype(), Dims{a.size(0)});
        },
    .cpu =
        [](Call& c) {
          const Tensor &a = c.in(0), &v = c.in(1);
          cpu::gemm(kind_of(a.dtype(), "addmv_impl_cpu"), a.size(0), 1, a.size(1), a.raw(), a.stride(0),
                    a.stride(1), v.raw(), v.stride(0), 1, c.out().raw(), 1);
        },
    .saves = {.for0 = In1, .for1 = In0},
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? mul(unsqueeze.call({g, 1}), conj_of(c.in(1))) : Tensor(),
                       c.wants(1) ? mv(adjoint(c.in(0)), g) : Tensor()};
        },
    .ref = "input @ vec",
    .samples = {"x(2,3), y(3)", "x(0,3), y(3)", "x(2,0), y(0)", "z(2,3), z(3)"},
});

namespace {
void dot_rule(Call& c) {
  const Tensor &a = c.in(0), &b = c.in(1);
  if (a.ndim() != 1 || b.ndim() != 1)
    throw runtime_error("1D tensors expected, but got ", a.ndim(), "D and ", b.ndim(), "D tensors");
  if (a.dtype() != b.dtype())
    throw runtime_error("dot : expected both vectors to have same dtype, but found ",
                        info(a.dtype()).scalar_name, " and ", info(b.dtype()).scalar_name);
  if (a.numel() != b.numel())
    throw runtime_error("inconsistent tensor size, expected tensor ", show(a.sizes()), " and src ",
                        show(b.sizes()), " to have the same number of elements, but got ", a.numel(), " and ",
                        b.numel(), " elements respectively");
  c.out_meta(0, a.dtype(), Dims());
}
void dot_into(const Tensor& out, const Tensor& a, const Tensor& b) {
  int64_t n = a.numel();
  if (a.dtype() == Dtype::f32)
    *out.data<float>() = cpu::dot_f32(n, a.data<float>(), a.stride(0), b.data<float>(), b.stride(0));
  else if (a.dtype() == Dtype::f64)
    *out.data<double>() = cpu::dot_f64(n, a.data<double>(), a.stride(0), b.data<double>(), b.stride(0));
  else
    cpu::gemm(kind_of(a.dtype(), "dot"), 1, 1, n, a.raw(), 0, a.stride(0), b.raw(), b.stride(0), 1, out.raw(),
              1);
}
}  // namespace

const Op& dot = def({
    .sig = "dot(Tensor input, Tensor tensor) -> Tensor",
    .doc = "Sum of the products of two vectors' elements.",
    .rule = dot_rule,
    .cpu = [](Call& c) { dot_into(c.out(), c.in(0), c.in(1)); },
    .saves = {.for0 = In1, .for1 = In0},
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? chain(g, c.arg(1)) : Tensor(),
                       c.wants(1) ? chain(g, c.arg(0)) : Tensor()};
        },
    .ref = "np.dot(input, tensor)",
    .samples = {"x(4), y(4)", "x(0), y(0)", "z(3), z(3)"},
});

const Op& vdot = def({
    .sig = "vdot(Tensor input, Tensor other) -> Tensor",
    .doc = "dot with the first vector conjugated.",
    .rule = dot_rule,
    .cpu =
        [](Call& c) {
          GradMode off(false);
          dot_into(c.out(), conj_of(c.in(0)), c.in(1));
        },
    .saves = {.for0 = In1, .for1 = In0},
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? mul(conj_of(g), c.in(1)) : Tensor(),
                       c.wants(1) ? mul(g, c.in(0)) : Tensor()};
        },
    .ref = "np.vdot(input, other)",
    .samples = {"x(4), y(4)", "z(3), z(3)"},
});

const Op& outer = def({
    .sig = "outer(Tensor input, Tensor vec2) -> Tensor",
    .doc = "Products of every element of one vector with every element of another, as a matrix.",
    .cpu =
        [](Call& c) {
          if (c.in(0).ndim() != 1)
            throw runtime_error("outer: Expected 1-D argument self, but got ", c.in(0).ndim(), "-D");
          if (c.in(1).ndim() != 1)
            throw runtime_error("outer: Expected 1-D argument vec2, but got ", c.in(1).ndim(), "-D");
          c.outs = TensorList{mul(reshape(c.in(0), Dims{-1, 1}), c.in(1))};
        },
    .composite = true,
    .ref = "np.outer(input, vec2)",
    .samples = {"x(3), y(4)", "x(0), y(2)"},
    .aliases = {"ger"},
});

const Op& inner = def({
    .sig = "inner(Tensor input, Tensor other) -> Tensor",
    .doc = "Sums of products over the last dimensions; a number where an argument is 0-d.",
    .cpu =
        [](Call& c) {
          const Tensor &a = c.in(0), &b = c.in(1);
          if (a.ndim() == 0 || b.ndim() == 0) {
            c.outs = TensorList{mul(a, b)};
            return;
          }
          if (a.size(-1) != b.size(-1))
            throw runtime_error("inner() the last dimension must match on both input tensors but got shapes ",
                                show(a.sizes()), " and ", show(b.sizes()));
          if (a.ndim() == 1 && b.ndim() == 1) {
            c.outs = TensorList{dot(a, b)};
            return;
          }
          Dims sizes(a.sizes().first(a.ndim() - 1));
          for (int64_t d = 0; d + 1 < b.ndim(); ++d) sizes.push_back(b.size(d));
          int64_t k = a.size(-1);
          Tensor rows = reshape(a, Dims{k ? a.numel() / k : count(a.sizes().first(a.ndim() - 1)), k});
          Tensor columns = reshape(b, Dims{k ? b.numel() / k : count(b.sizes().first(b.ndim() - 1)), k});
          c.outs = TensorList{reshape(mm(rows, transpose.call({columns, 0, 1})), sizes)};
        },
    .composite = true,
    .ref = "np.inner(input, other)",
    .samples = {"x(3), y(3)", "x(2,3), y(4,3)", "x(2,2,3), y(3)", "x(), y(2)"},
});

namespace {

// The row of a fresh one-row matrix. It shares memory with nothing the user can reach, so it is no view.
const Op& only_row = def({
    .sig = "_only_row(Tensor input) -> Tensor",
    .doc = "The one row of a new matrix.",
    .forms = Forms::no_forms,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (!t.ndim() || t.size(0) != 1) throw runtime_error("_only_row: expected a matrix of one row");
          c.out_view(0, alias(t, t.sizes().subspan(1), t.strides().subspan(1), t.offset()));
        },
    .cpu = [](Call&) {},  // the rule has done it all
    .grad = [](const Call&, const Tensor& g) { return Grads{unsqueeze.call({g, 0})}; },
    .grad_name = "SqueezeBackward4",
});

// (..., k) folded into a matrix of k columns. Sizes are written out, because -1 has no meaning where k is 0.
Tensor fold(const Tensor& t) {
  int64_t k = t.size(-1);
  return reshape(t, Dims{count(t.sizes().first(t.ndim() - 1)), k});
}
Tensor as_batch(const Tensor& t, IntSpan batch, int64_t batches) {
  int64_t n = t.ndim(), rows = t.size(n - 2), columns = t.size(n - 1);
  if (n == 3 && batch.size() == 1 && t.size(0) == batch[0]) return t;
  Dims sizes(batch);
  sizes.push_back(rows);
  sizes.push_back(columns);
  return reshape(same(sizes, t.sizes()) ? t : expand.call({t, sizes}), Dims{batches, rows, columns});
}

Tensor matmul_of(const Tensor& a, const Tensor& b) {
  int64_t n = a.ndim(), m = b.ndim();
  if (n == 2 && m == 2) return mm(a, b);
  if (n == 0 || m == 0)
    throw runtime_error("both arguments to matmul need to be at least 1D, but they are ", n, "D and ", m,
                        "D");
  if (n == 1 && m == 1) return dot(a, b);
  if (n == 2 && m == 1) return mv(a, b);
  if (n == 1 && m == 2) return only_row(mm(unsqueeze.call({a, 0}), b));
  Dims strides;
  if (m <= 2 &&
      (b.needs_grad() || view_strides(a, Dims{count(a.sizes().first(n - 1)), a.size(n - 1)}, strides))) {
    Dims sizes(a.sizes().first(n - 1));
    if (m == 2) sizes.push_back(b.size(1));
    return unsafe_view.call({m == 2 ? mm(fold(a), b) : mv(fold(a), b), sizes});
  }
  // a batch on either side; a vector becomes a matrix of one row or one column
  Tensor left = n == 1 ? unsqueeze.call({a, 0}) : a, right = m == 1 ? unsqueeze.call({b, 1}) : b;
  Dims batch =
      rushlight::broadcast(left.sizes().first(left.ndim() - 2), right.sizes().first(right.ndim() - 2));
  int64_t batches = count(batch);
  Tensor product = bmm(as_batch(left, batch, batches), as_batch(right, batch, batches));
  Dims sizes = batch;
  if (n > 1) sizes.push_back(left.size(-2));
  if (m > 1) sizes.push_back(right.size(-1));
  return unsafe_view.call({product, sizes});
}

}  // namespace

const Op& matmul = def({
    .sig = "matmul(Tensor input, Tensor other) -> Tensor",
    .doc =
        R"(The product that @ stands for. Vectors: their dot product. Matrices: the matrix product. A vector and a matrix: the
        vector counts as a row (left) or as a column (right). More dimensions: products of matrices, with the leading
        dimensions broadcast.

        >>> rl.matmul(rl.ones(5, 1, 2, 3), rl.ones(4, 3, 2)).shape
        torch.Size([5, 4, 2, 2]))",
    .autocast = Autocast::lower,
    .cpu = [](Call& c) { c.outs.push_back(matmul_of(c.in(0), c.in(1))); },
    .composite = true,
    .ref = "input @ other",
    .samples = {"x(3), y(3)", "x(2,3), y(3)", "x(3), y(3,2)", "x(2,3), y(3,4)", "x(2,3,4), y(4)",
                "x(3), y(2,3,4)", "x(2,3,4), y(4,2)", "x(2,3), y(4,3,2)", "x(2,1,3,4), y(3,4,2)",
                "x(0,3,4), y(4,2)", "z(2,2), z(2,2)"},
});

}  // namespace rushlight::ops

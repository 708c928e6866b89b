// Linear algebra: vector norms, and factorisations whose kernels are numpy.linalg's (rushlight/_linalg/kernels.py) with
// derivatives of our own. Matrices are the last two dimensions; all others are a batch.
#include <cmath>

#include "autograd/node.h"
#include "kernels/reduce.h"
#include "ops/matmul.h"
#include "ops/ops.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace rushlight::ops {

namespace {

// ---- kernels in NumPy ----
PyObject* tensor_tuple(std::span<const Tensor> tensors) {
  PyObject* t = PyTuple_New(tensors.size());
  if (!t) throw PythonError();
  for (size_t i = 0; i < tensors.size(); ++i)
    PyTuple_SET_ITEM(t, i, reinterpret_cast<PyObject*>(alias(tensors[i]).release()));
  return t;
}
// rushlight._linalg.kernels.run(name, inputs, outputs, flag) writes the outputs' memory.
void numpy_kernel(Call& c, const char* name, TensorList inputs, int flag = 0) {
  PyObject* module = PyImport_ImportModule("rushlight._linalg.kernels");
  if (!module) throw PythonError();
  PyObject* in = tensor_tuple({inputs.data(), inputs.size()});
  PyObject* out = tensor_tuple({c.outs.data(), c.outs.size()});
  PyObject* done = PyObject_CallMethod(module, "run", "sNNi", name, in, out, flag);
  Py_DECREF(module);
  if (!done) throw PythonError();
  Py_DECREF(done);
}

void check_matrix(const Tensor& t, const char* name, bool square = true) {
  if (t.ndim() < 2) throw runtime_error(name, ": The input tensor A must have at least 2 dimensions.");
  if (square && t.size(-1) != t.size(-2))
    throw runtime_error(name, ": A must be batches of square matrices, but they are ", t.size(-2), " by ",
                        t.size(-1), " matrices");
  if (!differentiable(t.dtype()))
    throw runtime_error(name, ": Expected a floating point or complex tensor as input. Got ",
                        info(t.dtype()).scalar_name);
  if (t.dtype() == Dtype::f16 || t.dtype() == Dtype::bf16)
    throw runtime_error(name, ": Low precision dtypes not supported. Got ", info(t.dtype()).scalar_name);
}
Dims batch_of(const Tensor& t, int64_t drop = 2) { return Dims(t.sizes().first(t.ndim() - drop)); }
Dims with(Dims d, std::initializer_list<int64_t> more) {
  for (auto m : more) d.push_back(m);
  return d;
}

// ---- formulas ----
Tensor mh(const Tensor& t) {  // conjugate transpose
  Tensor r = transpose.call({t, -2, -1});
  return is_complex(t.dtype()) ? conj.call({r}) : r;
}

Tensor column(const Tensor& t) { return unsqueeze.call({t, -1}); }
Tensor as_scale(const Tensor& t) { return unsqueeze.call({unsqueeze.call({t, -1}), -1}); }
Tensor diagonal_matrix(const Tensor& v) { return find_op("diag_embed").call({v}); }
Tensor tril(const Tensor& t, int64_t k = 0) { return find_op("tril").call({t, k}); }
Tensor inverse(const Tensor& a) { return find_op("linalg_inv_ex").call_list({a})[0]; }
Tensor solve(const Tensor& a, const Tensor& b) { return find_op("linalg_solve_ex").call_list({a, b})[0]; }
Tensor conjugate(const Tensor& t) { return is_complex(t.dtype()) ? conj.call({t}) : t; }
Tensor plus(const Tensor& a, const Tensor& b) { return !a ? b : !b ? a : a + b; }
// 1 / (v_j - v_i) off the diagonal, 0 on it
Tensor inverse_differences(const Tensor& v) {
  Tensor differences = unsqueeze.call({v, -2}) - column(v);
  Tensor on = to_dtype.call({find_op("eye").call({v.size(-1)}), Dtype::boolean});
  return masked_fill.call({reciprocal.call({masked_fill.call({differences, on, 1})}), on, 0});
}

Tensor dim_swap(const Tensor& t) {  // the transposed matrices, for kernels
  Dims sizes(t.sizes()), strides(t.strides());
  size_t n = sizes.size();
  std::swap(sizes[n - 1], sizes[n - 2]);
  std::swap(strides[n - 1], strides[n - 2]);
  return alias(t, sizes, strides, t.offset());
}
// As in PyTorch: B is a batch of vectors where its sizes are A's without the last
bool is_vector_rhs(IntSpan a, IntSpan b) {
  return b.size() == 1 || (b.size() + 1 == a.size() && same(b, a.first(a.size() - 1)));
}
Tensor squeeze_last(const Tensor& t) { return select.call({t, -1, 0}); }

template <class T> struct Square {
  using Acc = T;
  RL_INLINE Acc identity() const { return 0; }
  RL_INLINE Acc lift(T x) const { return x * x; }
  RL_INLINE Acc combine(Acc a, Acc b) const { return a + b; }
};

}  // namespace

const Op& vector_norm = def({
    .sig = "linalg_vector_norm(Tensor input, Scalar ord=2, int[]? dim=None, bool keepdim=False, *, dtype? "
           "dtype=None) -> Tensor",
    .doc = "The ord-norm of the elements over dim (all by default): (sum |x|^ord)^(1/ord), the largest |x| "
           "for inf, the smallest for "
           "-inf, the number of non-zero elements for 0.",
    .family = reduction,
    .forms = Forms::function | Forms::out_form,
    .rule =
        [](Call& c) {
          const Tensor& x = c.in(0);
          Dtype d = c.dtype(4, x.dtype());
          if (!differentiable(d))
            throw runtime_error(
                "linalg.vector_norm: Expected a floating point or complex tensor as input. Got ",
                info(d).scalar_name);
          Dims dims = reduced_dims(c.arg(2), x.ndim());
          double ord = c.d(1);
          if (!x.numel() && (ord < 0 || std::isinf(ord)))
            for (auto k : dims)
              if (x.size(k) == 0)
                throw runtime_error("linalg.vector_norm cannot compute the ", ord,
                                    " norm on an empty tensor because the operation does "
                                    "not have an identity");
          c.out_meta(0, real_of(d), reduced_sizes(x.sizes(), dims, c.b(3)));
        },
    .cpu =
        [](Call& c) {
          GradMode off(false);
          static const Op& total = find_op("sum", "dim");
          Tensor x = c.in(0);
          Dims dims = reduced_dims(c.arg(2), x.ndim());
          double p = c.d(1);
          if (c.has(4)) x = to_dtype.call({x, c.dtype(4, x.dtype())});
          if (p == 2 && (x.dtype() == Dtype::f32 || x.dtype() == Dtype::f64)) {
            ReducePlan plan = plan_reduction(x, dims, false);
            visit_float(x.dtype(), [&]<class T>() {
              T* out = c.out().data<T>();
              reduce<T>(plan, Square<T>{}, out);
              for (int64_t k = 0; k < plan.kept; ++k) out[k] = std::sqrt(out[k]);
            });
            return;
          }
          Tensor a = abs.call({x}), r;
          if (dims.empty()) r = p == 0 ? to_dtype.call({ne.call({a, 0}), a.dtype()}) : a;
          else if (std::isinf(p)) r = find_op(p > 0 ? "amax" : "amin").call({a, dims, c.b(3)});
          else if (p == 0) r = total.call({ne.call({a, 0}), dims, c.b(3), a.dtype()});
          else if (p == 1) r = total.call({a, dims, c.b(3)});
          else if (p == 2) r = sqrt.call({total.call({square.call({a}), dims, c.b(3)})});
          else
            r = find_op("pow", "Tensor_Scalar")
                    .call({total.call({find_op("pow", "Tensor_Scalar").call({a, p}), dims, c.b(3)}), 1 / p});
          copy(c.out(), r);
        },
    .saves = save(In0 | Out),
    .grad = [](const Call& c, const Tensor& g0) -> Grads {
      const Tensor& x = c.in(0);
      static const Op& total = find_op("sum", "dim");
      static const Op& pow = find_op("pow", "Tensor_Scalar");
      Dims dims = reduced_dims(c.arg(2), c.in_sizes(0).size());
      Tensor g = restore_dims(g0, c.in_sizes(0), dims, c.b(3)),
             norm = restore_dims(c.out(), c.in_sizes(0), dims, c.b(3));
      double p = c.d(1);
      Tensor zero = eq.call({norm, 0});
      if (p == 0) return {fresh_zeros(x)};
      if (p == 1) return {g * sgn.call({x})};
      if (p == 2) return {masked_fill.call({x * (g / norm), zero, 0})};
      Tensor a = abs.call({x});
      if (std::isinf(p)) {
        Tensor hit = to_dtype.call({eq.call({a, norm}), a.dtype()});
        Tensor n = dims.empty() ? hit : total.call({hit, dims, true});
        return {sgn.call({x}) * hit * (g / n)};
      }
      Tensor scale = masked_fill.call({g / pow.call({norm, p - 1}), zero, 0});
      if (p < 1)
        return {sgn.call({x}) * masked_fill.call({pow.call({a, p - 1}), eq.call({a, 0}), 0}) * scale};
      return {sgn.call({x}) * pow.call({a, p - 1}) * scale};
    },
    .grad_name = "LinalgVectorNormBackward0",
    .ref = "np.linalg.norm(input.ravel(), ord) if dim is None else np.linalg.norm(input, ord, axis=dim, "
           "keepdims=keepdim)",
    .samples = {"x(2,3)", "x(2,3), 1, 1", "x(2,3), 3, 0, keepdim=True", "x(4,), rl.inf"},
    .modules = "nn",
});

const Op& linalg_inv_ex = def({
    .sig = "linalg_inv_ex(Tensor A, *, bool check_errors=False) -> (Tensor inverse, Tensor info)",
    .doc = "Inverse of square matrices. Raises LinAlgError for singular ones when check_errors is set; info "
           "is zero for the others.",
    .forms = Forms::function | Forms::out_form,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          check_matrix(c.in(0), "linalg.inv");
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
          c.out_meta(1, Dtype::i32, batch_of(c.in(0)));
        },
    .cpu = [](Call& c) { numpy_kernel(c, "inv", {c.in(0)}, c.b(1)); },
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      Tensor h = mh(c.out());
      return {-matmul(matmul(h, g), h)};
    },
    .grad_name = "LinalgInvExBackward0",
    .samples = {"spd(3,3)", "spd(2,3,3)"},
    .modules = "linalg",
});

const Op& linalg_det = def({
    .sig = "linalg_det(Tensor A) -> Tensor",
    .doc = "Determinant of square matrices.",
    .forms = Forms::function | Forms::out_form,
    .rule =
        [](Call& c) {
          check_matrix(c.in(0), "linalg.det");
          c.out_meta(0, c.in(0).dtype(), batch_of(c.in(0)));
        },
    .cpu = [](Call& c) { numpy_kernel(c, "det", {c.in(0)}); },
    .saves = save(In0 | Out),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      // conj(det) * inv(A)^H; where det is zero the adjugate comes from the singular values
      const Tensor& a = c.in(0);
      Tensor some_zero = find_op("any").call({eq.call({c.out(), 0})});
      if (a.numel() && *some_zero.data<bool>()) {
        TensorList usv = find_op("linalg_svd").call_list({a, false});
        int64_t n = a.size(-1);
        Tensor s = usv[1];
        TensorList others;
        for (int64_t i = 0; i < n; ++i) {
          TensorList rest;
          if (i) rest.push_back(slice.call({s, -1, 0, i, 1}));
          if (i + 1 < n) rest.push_back(slice.call({s, -1, i + 1, n, 1}));
          Tensor part = rest.empty() ? full(Dims(batch_of(a)), s.dtype(), 1)
                                     : find_op("prod", "dim_int").call({find_op("cat").call({rest, -1}), -1});
          others.push_back(part);
        }
        Tensor cofactors = find_op("stack").call({others, -1});
        static const Op& det = find_op("linalg_det");
        Tensor phase = det.call({usv[0]}) * det.call({usv[2]});
        Tensor adjugate_h = matmul(usv[0] * unsqueeze.call({cofactors, -2}), usv[2]);
        return {adjugate_h * as_scale(g * conjugate(phase))};
      }
      return {as_scale(g * conjugate(c.out())) * mh(inverse(a))};
    },
    .grad_name = "LinalgDetBackward0",
    .ref = "np.linalg.det(A)",
    .samples = {"spd(3,3)", "x(2,2,2)"},
    .modules = "linalg",
});

const Op& linalg_slogdet = def({
    .sig = "linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet)",
    .doc = "Sign of the determinant and the logarithm of its absolute value.",
    .forms = Forms::function | Forms::out_form,
    .rule =
        [](Call& c) {
          check_matrix(c.in(0), "linalg.slogdet");
          c.out_meta(0, c.in(0).dtype(), batch_of(c.in(0)));
          c.out_meta(1, real_of(c.in(0).dtype()), batch_of(c.in(0)));
        },
    .cpu = [](Call& c) { numpy_kernel(c, "slogdet", {c.in(0)}); },
    .saves = save(In0 | Out),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      if (g && is_complex(c.in_dtype(0)))
        throw not_implemented("linalg_slogdet: the gradient of a complex sign is not implemented");
      if (!c.g(1)) return {fresh_zeros(c.in(0))};
      return {as_scale(c.g(1)) * mh(inverse(c.in(0)))};
    },
    .grad_name = "LinalgSlogdetBackward0",
    .samples = {"spd(3,3)", "x(2,2,2)"},
    .modules = "linalg",
});

const Op& linalg_solve_ex = def({
    .sig = "linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False) -> (Tensor "
           "result, Tensor info)",
    .doc = "X with A X = B (X A = B for left=False). B is a batch of matrices, or of vectors where its sizes "
           "are A's without the last.",
    .forms = Forms::function | Forms::out_form,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          const Tensor &a = c.in(0), &b = c.in(1);
          check_matrix(a, "linalg.solve");
          if (b.dtype() != a.dtype())
            throw runtime_error("linalg.solve: Expected A and B to have the same dtype, but found A of type ",
                                info(a.dtype()).scalar_name, " and B of type ", info(b.dtype()).scalar_name,
                                " instead");
          bool vector = is_vector_rhs(a.sizes(), b.sizes());
          if (vector && !c.b(2))
            throw runtime_error(
                "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False. "
                "In this case linalg.solve is equivalent to B / A.squeeze(-1)");
          int64_t n = a.size(-1), rows = vector ? b.size(-1) : b.size(c.b(2) ? -2 : -1);
          if (rows != n)
            throw runtime_error("linalg.solve: Incompatible shapes of A and B for the equation ",
                                c.b(2) ? "AX = B" : "XA = B", " (", a.size(-2), "x", a.size(-1), " and ",
                                vector ? b.size(-1) : b.size(-2), "x", vector ? 1 : b.size(-1), ")");
          Dims batch = vector ? broadcast(batch_of(a), batch_of(b, 1)) : broadcast(batch_of(a), batch_of(b));
          c.out_meta(0, a.dtype(), vector ? with(batch, {n}) : with(batch, {b.size(-2), b.size(-1)}));
          c.out_meta(1, Dtype::i32, batch_of(a));
        },
    .cpu =
        [](Call& c) {
          bool vector = is_vector_rhs(c.in(0).sizes(), c.in(1).sizes());
          Tensor a = c.in(0), b = c.in(1);
          if (!c.b(2)) a = dim_swap(a), b = dim_swap(b);
          if (!c.b(2)) {
            Tensor out = c.outs[0], swapped = dim_swap(out);
            c.outs[0] = swapped;
            numpy_kernel(c, "solve", {a, b}, c.b(3));
            c.outs[0] = out;
            return;
          }
          numpy_kernel(c, "solve", {a, b}, c.b(3) + 2 * vector);
        },
    .saves = {.always = In0 | Out},
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      const Tensor &a = c.in(0), &x = c.out();
      if (!c.b(2)) {
        Tensor gb = find_op("linalg_solve_ex").call_list({mh(a), g, false})[0];
        return {-matmul(mh(x), gb), gb};
      }
      bool vector = is_vector_rhs(c.in_sizes(0), c.in_sizes(1));
      Tensor gb = vector ? squeeze_last(solve(mh(a), column(g))) : solve(mh(a), g);
      Tensor ga = vector ? -matmul(column(gb), mh(column(x))) : -matmul(gb, mh(x));
      return {ga, gb};
    },
    .grad_name = "LinalgSolveExBackward0",
    .samples = {"spd(3,3), x(3,2)", "spd(2,3,3), x(2,3,1)", "spd(3,3), x(3)"},
    .modules = "linalg",
});

const Op& linalg_cholesky_ex = def({
    .sig = "linalg_cholesky_ex(Tensor A, *, bool upper=False, bool check_errors=False) -> (Tensor L, Tensor "
           "info)",
    .doc = "Lower triangular L with L L^H = A for Hermitian positive definite matrices (upper: its conjugate "
           "transpose).",
    .forms = Forms::function | Forms::out_form,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          check_matrix(c.in(0), "linalg.cholesky");
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
          c.out_meta(1, Dtype::i32, batch_of(c.in(0)));
        },
    .cpu = [](Call& c) { numpy_kernel(c, "cholesky", {c.in(0)}, c.b(2) + 2 * c.b(1)); },
    .saves = save(Out),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      // Murray, "Differentiation of the Cholesky decomposition" (2016): L^-H phi(L^H g) L^-1, made Hermitian
      Tensor l = c.b(1) ? mh(c.out()) : c.out(), gl = tril(c.b(1) ? mh(g) : g);
      Tensor product = matmul(mh(l), gl);
      Tensor phi = (tril(product) + tril(product, -1)) * 0.5;  // lower triangle, half of the diagonal
      Tensor inv = inverse(l);
      Tensor s = matmul(matmul(mh(inv), phi), inv);
      return {(s + mh(s)) * 0.5};
    },
    .grad_name = "LinalgCholeskyExBackward0",
    .ref = "np.linalg.cholesky(A)",
    .samples = {"spd(3,3)", "spd(2,3,3)"},
    .modules = "linalg",
});

namespace {

// The gradient of a matrix with at least as many rows as columns; gq or gr may be missing.
Tensor qr_gradient(const Tensor& q, const Tensor& r, const Tensor& gq, const Tensor& gr) {
  Tensor mat;
  if (gr) mat = matmul(r, mh(gr));
  if (gq) mat = mat ? mat - matmul(mh(gq), q) : -matmul(mh(gq), q);
  Tensor sym = tril(mat) + mh(tril(mat, -1));
  Tensor rhs = plus(gq, matmul(q, sym));
  return mh(solve(r, mh(rhs)));  // rhs R^-H
}

}  // namespace

const Op& linalg_qr = def({
    .sig = "linalg_qr(Tensor A, str mode='reduced') -> (Tensor Q, Tensor R)",
    .doc = "QR decomposition; mode is 'reduced', 'complete' or 'r'.",
    .forms = Forms::function | Forms::out_form,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          const Tensor& a = c.in(0);
          check_matrix(a, "linalg.qr", false);
          if (c.s(1) != "reduced" && c.s(1) != "complete" && c.s(1) != "r")
            throw runtime_error("qr received unrecognized mode '", c.s(1),
                                "' but expected one of 'reduced' (default), 'r', or 'complete'");
          int64_t m = a.size(-2), n = a.size(-1), k = std::min(m, n);
          bool complete = c.s(1) == "complete";
          Dims batch = batch_of(a);
          c.out_meta(0, a.dtype(), c.s(1) == "r" ? Dims{0} : with(batch, {m, complete ? m : k}));
          c.out_meta(1, a.dtype(), with(batch, {complete ? m : k, n}));
        },
    .cpu =
        [](Call& c) {
          numpy_kernel(c, "qr", {c.in(0)}, c.s(1) == "complete" ? 1 : c.s(1) == "r" ? 2 : 0);
        },
    .saves = save(Out0 | Out1),
    .grad = [](const Call& c, const Tensor& gq) -> Grads {
      IntSpan sizes = c.in_sizes(0);
      int64_t m = sizes[sizes.size() - 2], n = sizes[sizes.size() - 1];
      if (c.s(1) != "reduced" && !(c.s(1) == "complete" && m <= n))
        throw runtime_error(
            "The derivative of linalg.qr depends on Q, which is only computed for mode='reduced'");
      const Tensor &q = c.out(0), &r = c.out(1), &gr = c.g(1);
      if (m >= n) return {qr_gradient(q, r, gq, gr)};
      // A = [X Y] = Q [R1 R2] with R2 = Q^H Y: X is square, and Y adds Y gR2^H to the gradient of Q
      static const Op &narrow = find_op("narrow"), &cat = find_op("cat");
      auto left = [&](const Tensor& t) { return narrow.call({t, -1, 0, m}); };
      auto right = [&](const Tensor& t) { return narrow.call({t, -1, m, n - m}); };
      if (!gr) {
        Tensor x = qr_gradient(q, left(r), gq, gr);
        return {cat.call({TensorList{x, right(r) * 0}, -1})};
      }
      Tensor of_y = matmul(q, right(gr));
      Tensor x = qr_gradient(q, left(r), plus(gq, matmul(q, matmul(right(r), mh(right(gr))))), left(gr));
      return {cat.call({TensorList{x, of_y}, -1})};
    },
    .grad_name = "LinalgQrBackward0",
    .samples = {"x(4,3)", "x(2,3,3)", "x(2,3,5)"},
    .modules = "linalg",
});

const Op& linalg_eigh = def({
    .sig = "linalg_eigh(Tensor A, str UPLO='L') -> (Tensor eigenvalues, Tensor eigenvectors)",
    .doc = "Eigenvalues (ascending) and eigenvectors of Hermitian matrices, read from one triangle.",
    .forms = Forms::function | Forms::out_form,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          check_matrix(c.in(0), "linalg.eigh");
          c.out_meta(0, real_of(c.in(0).dtype()), batch_of(c.in(0), 1));
          c.out_meta(1, c.in(0).dtype(), Dims(c.in(0).sizes()));
        },
    .cpu = [](Call& c) { numpy_kernel(c, "eigh", {c.in(0)}, c.s(1) == "U" || c.s(1) == "u"); },
    .saves = save(Out0 | Out1),
    .grad = [](const Call& c, const Tensor& gl) -> Grads {
      const Tensor &l = c.out(0), &v = c.out(1), &gv = c.g(1);
      Tensor inner;
      if (gl) inner = diagonal_matrix(gl);
      if (gv) inner = plus(inner, matmul(mh(v), gv) * inverse_differences(l));
      return {matmul(matmul(v, inner), mh(v))};
    },
    .grad_name = "LinalgEighBackward0",
    .samples = {"spd(3,3)", "spd(2,3,3)"},
    .modules = "linalg",
});

const Op& linalg_svd = def({
    .sig = "linalg_svd(Tensor A, bool full_matrices=True) -> (Tensor U, Tensor S, Tensor Vh)",
    .doc = "Singular value decomposition: A = U diag(S) Vh, S descending.",
    .forms = Forms::function | Forms::out_form,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          const Tensor& a = c.in(0);
          check_matrix(a, "linalg.svd", false);
          int64_t m = a.size(-2), n = a.size(-1), k = std::min(m, n);
          Dims batch = batch_of(a);
          c.out_meta(0, a.dtype(), with(batch, {m, c.b(1) ? m : k}));
          c.out_meta(1, real_of(a.dtype()), with(batch, {k}));
          c.out_meta(2, a.dtype(), with(batch, {c.b(1) ? n : k, n}));
        },
    .cpu = [](Call& c) { numpy_kernel(c, "svd", {c.in(0)}, c.b(1)); },
    .saves = save(Out0 | Out1 | Out2),
    .grad = [](const Call& c, const Tensor& gu0) -> Grads {
      // Giles, "Collected matrix derivative results for forward and reverse mode AD" (2008), section 3.2
      IntSpan sizes = c.in_sizes(0);
      int64_t m = sizes[sizes.size() - 2], n = sizes[sizes.size() - 1], k = std::min(m, n);
      Tensor u = slice.call({c.out(0), -1, 0, k, 1}), s = c.out(1), vh = slice.call({c.out(2), -2, 0, k, 1});
      if (c.b(1) && m != n && (gu0 || c.g(2)))
        throw runtime_error(
            "svd_backward: The derivative of U and Vh is only defined for full_matrices=False");
      const Tensor &gs = c.g(1), &gvh = c.g(2);
      Tensor gu = gu0;
      Tensor v = mh(vh), gv = gvh ? mh(gvh) : Tensor();
      Tensor f = inverse_differences(square.call({s}));  // 1 / (s_j^2 - s_i^2)
      Tensor inner;
      if (gs) inner = diagonal_matrix(is_complex(c.in_dtype(0)) ? to_dtype.call({gs, c.in_dtype(0)}) : gs);
      Tensor s_row = unsqueeze.call({s, -2}), s_col = column(s);
      if (gu) {
        Tensor w = matmul(mh(u), gu);
        inner = plus(inner, (w - mh(w)) * f * s_row);
      }
      if (gv) {
        Tensor w = matmul(mh(v), gv);
        inner = plus(inner, s_col * ((w - mh(w)) * f));
      }
      Tensor g = inner ? matmul(matmul(u, inner), vh) : Tensor();
      if (gu && m > k) {
        Tensor t = gu / s_row;
        g = plus(g, matmul(t - matmul(u, matmul(mh(u), t)), vh));
      }
      if (gv && n > k) {
        Tensor t = gv / s_row;
        g = plus(g, matmul(u, mh(t - matmul(v, matmul(mh(v), t)))));
      }
      return {g};
    },
    .grad_name = "LinalgSvdBackward0",
    .samples = {"x(3,4), False", "x(4,3), False", "x(2,3,3)"},
    .modules = "linalg",
});

const Op& linalg_eig = def({
    .sig = "linalg_eig(Tensor A) -> (Tensor eigenvalues, Tensor eigenvectors)",
    .doc =
        "Eigenvalues and eigenvectors (complex, of length one) of square matrices, in no particular order.",
    .forms = Forms::function | Forms::out_form,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          check_matrix(c.in(0), "linalg.eig");
          Dtype d = complex_of(c.in(0).dtype());
          c.out_meta(0, d, batch_of(c.in(0), 1));
          c.out_meta(1, d, Dims(c.in(0).sizes()));
        },
    .cpu = [](Call& c) { numpy_kernel(c, "eig", {c.in(0)}); },
    .saves = save(Out0 | Out1),
    .grad = [](const Call& c, const Tensor& gl) -> Grads {
      // Boeddeker et al., "On the computation of complex-valued gradients with application to statistically optimum
      // beamforming" (2019), section 4.11
      const Tensor &l = c.out(0), &v = c.out(1), &gv = c.g(1);
      Tensor inner;
      if (gl) inner = diagonal_matrix(gl);
      if (gv) {
        Tensor w = matmul(mh(v), gv);
        Tensor along =
            to_dtype.call({find_op("real").call({find_op("diagonal").call({w, 0, -2, -1})}), l.dtype()});
        Tensor correction = matmul(mh(v), v) * unsqueeze.call({along, -2});
        inner = plus(inner, (w - correction) * conjugate(inverse_differences(l)));
      }
      return {solve(mh(v), matmul(inner, mh(v)))};
    },
    .grad_name = "LinalgEigBackward0",
    .modules = "linalg",
});

}  // namespace rushlight::ops

// Matrix products with an addend: beta * input + alpha * product. Where both factors are 1 the product is accumulated onto a
// copy of the addend; a beta of 0 ignores the addend, NaN or not.
#include "autograd/node.h"
#include "kernels/cpu/gemm.h"
#include "kernels/parallel.h"
#include "ops/dense.h"
#include "ops/matmul.h"
#include "ops/ops.h"
#include "ops/view.h"

#include <algorithm>
#include <cstring>

namespace rushlight::ops {

namespace {

bool is(const Value& v, double x) { return v.tag != Value::complex && v.as_double() == x; }

// Integer tensors take the integer part of the factors.
Value factor(const Value& v, Dtype d) {
  return differentiable(d) || v.tag == Value::boolean ? v : Value(v.as_int());
}

Tensor scaled(const Tensor& g, const Value& by) {
  if (is(by, 1)) return g;
  return chain(g, by);
}

// out = t, broadcast
void spread(const Tensor& out, const Tensor& t) {
  if (t.ndim() == 1 && t.contiguous() && out.contiguous() && out.ndim() == 2 && t.size(0) == out.size(1)) {
    const size_t row = t.nbytes();
    const char* from = t.raw();
    char* to = out.raw();
    parallel_for(out.size(0), std::max<int64_t>(1, (64 << 10) / std::max<size_t>(1, row)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) std::memcpy(to + i * row, from, row);
                 });
    return;
  }
  rushlight::copy(out, t);
}

bool shares(const Tensor& a, const Tensor& b) { return a->storage == b->storage; }

void add_product(Call& c, const Tensor& out, const Tensor& a, const Tensor& b, const char* name) {
  const Tensor& addend = c.in(0);
  const Value beta = factor(c.arg(3), out.dtype()), alpha = factor(c.arg(4), out.dtype());
  bool rows = out.ndim() < 2 || out.stride(-1) == 1 || out.size(-1) == 1;
  if (rows && is(alpha, 1) && (is(beta, 1) || is(beta, 0)) && !shares(out, a) && !shares(out, b)) {
    if (is(beta, 1) && !out.is(addend) && !(c.in_place && out.raw() == addend.raw())) spread(out, addend);
    return multiply(out, a, b, is(beta, 1), name);
  }
  GradMode off(false);
  Dims sizes(a.ndim() == 2 ? Dims{a.size(0), b.size(1)} : Dims{a.size(0), a.size(1), b.size(2)});
  // 16-bit numbers are rounded once, at the end
  Dtype wide = compute_type(a.dtype());
  Tensor product = empty(sizes, wide);
  if (wide == a.dtype()) multiply(product, a, b, false, name);
  else multiply(product, dense(a, wide), dense(b, wide), false, name);
  if (!same(sizes, out.sizes()))
    product = alias(product, out.sizes(), contiguous_strides(out.sizes()), product.offset());
  Tensor weighted = mul(product, alpha);
  rushlight::copy(out, is(beta, 0) ? weighted : add(mul(dense(addend, wide), beta), weighted));
}

Grads addend_and_product(const Call& c, const Tensor& g) {
  Grads grads(3);
  if (c.wants(0)) grads[0] = scaled(g, c.arg(3));
  if (!c.wants(1) && !c.wants(2)) return grads;
  Tensor by_alpha = scaled(g, c.arg(4));
  if (c.wants(1)) grads[1] = left_gradient(by_alpha, c.in(2), c.in_sizes(1), c.in_strides(1));
  if (c.wants(2)) grads[2] = right_gradient(by_alpha, c.in(1), c.in_sizes(2), c.in_strides(2));
  return grads;
}

void check_in_place(const Call& c, IntSpan sizes) {
  if (c.in_place && !same(c.in(0).sizes(), sizes))
    throw runtime_error("Bad in-place call: input tensor size ", show(c.in(0).sizes()),
                        " and output tensor size ", show(sizes), " should match");
}

}  // namespace

void check_expands(const Tensor& t, IntSpan target) {
  int64_t n = target.size(), m = t.ndim();
  bool fits = m <= n;
  for (int64_t d = 0; d < m && fits; ++d) fits = t.size(d) == 1 || t.size(d) == target[n - m + d];
  if (!fits) {
    GradMode off(false);
    expand.call({t, target});  // raises
  }
}

const Op& addmm = def({
    .sig = "addmm(Tensor input, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    .doc = "beta * input + alpha * (mat1 @ mat2); input is broadcast.",
    .forms = function | method | inplace | out_form,
    .autocast = Autocast::lower,
    .rule =
        [](Call& c) {
          const Tensor &t = c.in(0), &a = c.in(1), &b = c.in(2);
          if (a.ndim() != 2) throw runtime_error("mat1 must be a matrix, got ", a.ndim(), "-D tensor");
          if (b.ndim() != 2) throw runtime_error("mat2 must be a matrix, got ", b.ndim(), "-D tensor");
          if (t.dtype() != b.dtype())
            throw runtime_error("self and mat2 must have the same dtype, but got ",
                                info(t.dtype()).scalar_name, " and ", info(b.dtype()).scalar_name);
          if (a.dtype() != b.dtype())
            throw runtime_error("mat1 and mat2 must have the same dtype, but got ",
                                info(a.dtype()).scalar_name, " and ", info(b.dtype()).scalar_name);
          if (a.size(1) != b.size(0))
            throw runtime_error("mat1 and mat2 shapes cannot be multiplied (", a.size(0), "x", a.size(1),
                                " and ", b.size(0), "x", b.size(1), ")");
          Dims sizes{a.size(0), b.size(1)};
          check_in_place(c, sizes);
          check_expands(t, sizes);
          c.out_meta(0, a.dtype(), std::move(sizes));
        },
    .cpu = [](Call& c) { add_product(c, c.out(), c.in(1), c.in(2), "addmm_impl_cpu_"); },
    .saves = {.for1 = In2, .for2 = In1},
    .grad = addend_and_product,
    .ref = "beta * input + alpha * (mat1 @ mat2)",
    .samples = {"x(2,4), x(2,3), y(3,4)", "x(4), x(2,3), y(3,4), beta=0.5, alpha=2.0",
                "x(), x(2,3), y(3,2), beta=0", "z(2), z(2,2), z(2,2)"},
});

const Op& baddbmm = def({
    .sig = "baddbmm(Tensor input, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    .doc = "beta * input + alpha * bmm(batch1, batch2); input is broadcast.",
    .forms = function | method | inplace | out_form,
    .autocast = Autocast::lower,
    .rule =
        [](Call& c) {
          const Tensor &t = c.in(0), &a = c.in(1), &b = c.in(2);
          if (a.ndim() != 3) throw runtime_error("batch1 must be a 3D tensor");
          if (b.ndim() != 3) throw runtime_error("batch2 must be a 3D tensor");
          if (b.size(0) != a.size(0) || b.size(1) != a.size(2))
            throw runtime_error("Expected size for first two dimensions of batch2 tensor to be: [", a.size(0),
                                ", ", a.size(2), "] but got: [", b.size(0), ", ", b.size(1), "].");
          if (a.dtype() != b.dtype() || t.dtype() != a.dtype())
            throw runtime_error("expected scalar type ", info(a.dtype()).scalar_name, " but found ",
                                info(a.dtype() != b.dtype() ? b.dtype() : t.dtype()).scalar_name);
          Dims sizes{a.size(0), a.size(1), b.size(2)};
          check_in_place(c, sizes);
          check_expands(t, sizes);
          c.out_meta(0, a.dtype(), std::move(sizes));
        },
    .cpu = [](Call& c) { add_product(c, c.out(), c.in(1), c.in(2), "baddbmm"); },
    .saves = {.for1 = In2, .for2 = In1},
    .grad = addend_and_product,
    .ref = "beta * input + alpha * (batch1 @ batch2)",
    .samples = {"x(2,3,2), x(2,3,4), y(2,4,2)", "x(2), x(2,3,4), y(2,4,2), beta=0.5, alpha=2.0"},
});

const Op& addmv = def({
    .sig = "addmv(Tensor input, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    .doc = "beta * input + alpha * (mat @ vec); input is broadcast.",
    .forms = function | method | inplace | out_form,
    .rule =
        [](Call& c) {
          const Tensor &t = c.in(0), &a = c.in(1), &v = c.in(2);
          if (a.ndim() != 2 || v.ndim() != 1 || t.ndim() > 1)
            throw runtime_error("vector + matrix @ vector expected, got ", t.ndim(), ", ", a.ndim(), ", ",
                                v.ndim());
          if (a.size(1) != v.size(0) || (t.ndim() == 1 && t.size(0) != 1 && t.size(0) != a.size(0)))
            throw runtime_error("size mismatch, got input (", t.ndim() ? t.size(0) : 1, "), mat (", a.size(0),
                                "x", a.size(1), "), vec (", v.size(0), ")");
          if (a.dtype() != v.dtype() || t.dtype() != a.dtype())
            throw runtime_error("addmv input tensors must have the same dtype, but got ",
                                info(t.dtype()).scalar_name, ", ", info(a.dtype()).scalar_name, ", and ",
                                info(v.dtype()).scalar_name);
          check_in_place(c, Dims{a.size(0)});
          c.out_meta(0, a.dtype(), Dims{a.size(0)});
        },
    .cpu =
        [](Call& c) {
          const Tensor &out = c.out(), &v = c.in(2);
          // the vector as a matrix of one column
          Tensor column = alias(v, Dims{v.size(0), 1}, Dims{v.stride(0), 1}, v.offset());
          Tensor target = alias(out, Dims{out.size(0), 1}, Dims{out.stride(0), 1}, out.offset());
          Value args[] = {c.in(0), c.arg(1), c.arg(2), c.arg(3), c.arg(4)};
          const Tensor& t = c.in(0);
          Tensor addend = t.ndim() ? alias(t, Dims{t.size(0), 1}, Dims{t.stride(0), 1}, t.offset()) : t;
          args[0] = Value(addend);
          Call inner(c.op, args);
          inner.in_place = c.in_place;
          add_product(inner, target, c.in(1), column, "addmv_impl_cpu");
        },
    .saves = {.for1 = In2, .for2 = In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads grads(3);
          if (c.wants(0)) grads[0] = scaled(g, c.arg(3));
          if (c.wants(1)) grads[1] = scaled(chain(unsqueeze.call({g, 1}), c.arg(2)), c.arg(4));
          if (c.wants(2)) grads[2] = scaled(mv(adjoint(c.in(1)), g), c.arg(4));
          return grads;
        },
    .ref = "beta * input + alpha * (mat @ vec)",
    .samples = {"x(2), x(2,3), y(3)", "x(), x(2,3), y(3), beta=0.5, alpha=2.0"},
});

const Op& addbmm = def({
    .sig = "addbmm(Tensor input, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    .doc = "beta * input + alpha * the sum over the batch of batch1 @ batch2; input is broadcast.",
    .forms = function | method | inplace | out_form,
    .autocast = Autocast::lower,
    .rule =
        [](Call& c) {
          const Tensor &t = c.in(0), &a = c.in(1), &b = c.in(2);
          if (a.ndim() != 3) throw runtime_error("batch1 must be a 3D tensor");
          if (b.ndim() != 3) throw runtime_error("batch2 must be a 3D tensor");
          if (b.size(0) != a.size(0))
            throw runtime_error("batch1 and batch2 must have same number of batches, got ", a.size(0),
                                " and ", b.size(0));
          if (b.size(1) != a.size(2))
            throw runtime_error("Incompatible matrix sizes for bmm (", a.size(1), "x", a.size(2), " and ",
                                b.size(1), "x", b.size(2), ")");
          if (a.dtype() != b.dtype() || t.dtype() != a.dtype())
            throw runtime_error("self and mat2 must have the same dtype, but got ",
                                info(t.dtype()).scalar_name, " and ",
                                info(a.dtype() != t.dtype() ? a.dtype() : b.dtype()).scalar_name);
          Dims sizes{a.size(1), b.size(2)};
          check_in_place(c, sizes);
          check_expands(t, sizes);
          c.out_meta(0, a.dtype(), std::move(sizes));
        },
    .cpu =
        [](Call& c) {
          // sum over b and k of batch1[b, i, k] * batch2[b, k, j]: one product of matrices with b * k inner terms
          const Tensor &a = c.in(1), &b = c.in(2);
          GradMode off(false);
          Tensor wide = reshape(permute.call({a, Dims{1, 0, 2}}), Dims{a.size(1), a.size(0) * a.size(2)});
          Tensor tall = reshape(b, Dims{b.size(0) * b.size(1), b.size(2)});
          add_product(c, c.out(), wide, tall, "addbmm");
        },
    .saves = {.for1 = In2, .for2 = In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads grads(3);
          if (c.wants(0)) grads[0] = scaled(g, c.arg(3));
          if (!c.wants(1) && !c.wants(2)) return grads;
          IntSpan a = c.in_sizes(1), b = c.in_sizes(2);
          Tensor each = expand.call({scaled(g, c.arg(4)), Dims{a[0], a[1], b[2]}});
          if (c.wants(1)) grads[1] = bmm(each, adjoint(c.in(2)));
          if (c.wants(2)) grads[2] = bmm(adjoint(c.in(1)), each);
          return grads;
        },
    .ref = "beta * input + alpha * (batch1 @ batch2).sum(0)",
    .samples = {"x(3,2), x(2,3,4), y(2,4,2)", "x(2), x(2,3,4), y(2,4,2), beta=0.5, alpha=2.0"},
});

const Op& addr = def({
    .sig = "addr(Tensor input, Tensor vec1, Tensor vec2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    .doc = "beta * input + alpha * outer(vec1, vec2); input is broadcast.",
    .forms = function | method | inplace | out_form,
    .rule =
        [](Call& c) {
          const Tensor &a = c.in(1), &b = c.in(2);
          if (a.ndim() != 1)
            throw runtime_error("addr: Expected 1-D argument vec1, but got ", a.ndim(), "-D");
          if (b.ndim() != 1)
            throw runtime_error("addr: Expected 1-D argument vec2, but got ", b.ndim(), "-D");
          Dims sizes{a.size(0), b.size(0)};
          check_expands(c.in(0), sizes);
          Dtype d = result_type(c.args.first(3));
          for (int k : {3, 4})
            if (!is_float(d) && !is_complex(d) &&
                (c.arg(k).tag == Value::real || c.arg(k).tag == Value::complex))
              throw runtime_error("For integral input tensors, argument ", k == 3 ? "beta" : "alpha",
                                  " must not be a floating point number.");
          c.out_meta(0, d, std::move(sizes));
        },
    .cpu =
        [](Call& c) {
          GradMode off(false);
          Value beta = factor(c.arg(3), c.meta0.dtype), alpha = factor(c.arg(4), c.meta0.dtype);
          Tensor product = mul(unsqueeze.call({c.in(1), 1}), c.in(2));
          if (!is(alpha, 1)) product = mul(product, alpha);
          rushlight::copy(c.out(),
                          is(beta, 0) ? product : add(is(beta, 1) ? c.in(0) : mul(c.in(0), beta), product));
        },
    .saves = {.for1 = In2, .for2 = In1},
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads grads(3);
          if (c.wants(0)) grads[0] = scaled(g, c.arg(3));
          auto conjugate = [](const Tensor& t) { return is_complex(t.dtype()) ? conj(t) : t; };
          if (c.wants(1)) grads[1] = scaled(mv(g, conjugate(c.in(2))), c.arg(4));
          if (c.wants(2)) grads[2] = scaled(mv(transpose.call({g, 0, 1}), conjugate(c.in(1))), c.arg(4));
          return grads;
        },
    .ref = "beta * input + alpha * np.outer(vec1, vec2)",
    .samples = {"x(2,3), x(2), y(3)", "x(3), x(2), y(3), beta=0.5, alpha=2.0"},
});

}  // namespace rushlight::ops

// Scaled dot-product attention: one kernel that never holds all scores for the usual case, other ops for the rest (dropout, masks
// that want a gradient, other ranks than four).
#include "kernels/cpu/attention.h"

#include <cmath>

#include "autograd/node.h"
#include "ops/dense.h"
#include "ops/matmul.h"
#include "ops/ops.h"
#include "ops/softmax.h"

namespace rushlight::ops {

namespace {

extern const Op& attention_backward;

cpu::RowStrides rows_of(const Tensor& t) { return {t.stride(0), t.stride(1), t.stride(2)}; }
cpu::AttentionShape shape_of(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                             const Tensor& mask, bool causal, double scale) {
  cpu::AttentionShape s{};
  s.batch = q.size(0), s.heads = q.size(1), s.queries = q.size(2), s.keys = k.size(2), s.size = q.size(3),
  s.value_size = v.size(3);
  s.q = rows_of(q), s.k = rows_of(k), s.v = rows_of(v), s.out = rows_of(out);
  for (int d = 0; d < 4; ++d) {
    int64_t from = mask ? d - 4 + mask.ndim() : -1;
    s.mask_stride[d] = from < 0 || mask.size(from) == 1 ? 0 : mask.stride(from);
  }
  s.mask = mask ? mask.raw() : nullptr;
  s.bool_mask = mask && mask.dtype() == Dtype::boolean;
  s.causal = causal;
  s.scale = scale;
  return s;
}

// The strides of a new (batch, heads, length, size) tensor that lies as `like` does: with the heads inside the rows where a
// transposed (batch, length, heads, size) tensor came in, so that its transposition back is contiguous.
Dims strides_like(const Tensor& like, int64_t size) {
  const int64_t heads = like.size(1), length = like.size(2);
  const bool inside = heads > 1 && length > 1 && like.stride(1) < like.stride(2);
  return inside ? Dims{heads * length * size, size, heads * size, 1}
                : Dims{heads * length * size, length * size, size, 1};
}

// The kernel reads rows at any distance, of elements side by side.
Tensor in_rows(const Tensor& t, Dtype d) {
  return t.dtype() == d && (t.stride(3) == 1 || t.size(3) <= 1) ? t : dense(t, d);
}
Tensor mask_in_type(const Tensor& t, Dtype d) {
  return !t || t.dtype() == d || t.dtype() == Dtype::boolean ? t : dense(t, d);
}
// Where the kernel writes: the output, or a stand-in of the type it computes in.
Tensor result_of(const Tensor& out, Dtype d) { return out.dtype() == d ? out : empty(out.sizes(), d); }
void store_result(const Tensor& out, const Tensor& work) {
  if (!work.is(out)) rushlight::copy(out, work);
}

bool fits_kernel(const Tensor& q, const Tensor& k, const Tensor& v) {
  return q.ndim() == 4 && k.ndim() == 4 && v.ndim() == 4 && is_float(q.dtype()) && q.size(0) == k.size(0) &&
         q.size(0) == v.size(0) && q.size(1) == k.size(1) && q.size(1) == v.size(1) &&
         q.size(3) == k.size(3) && k.size(2) == v.size(2) && q.dtype() == k.dtype() && q.dtype() == v.dtype();
}
bool fits_mask(const Tensor& mask, const Tensor& q, const Tensor& k) {
  if (mask.ndim() > 4 || (mask.dtype() != Dtype::boolean && mask.dtype() != q.dtype())) return false;
  const int64_t sizes[] = {q.size(0), q.size(1), q.size(2), k.size(2)};
  for (int64_t d = 0; d < mask.ndim(); ++d)
    if (mask.size(d) != 1 && mask.size(d) != sizes[4 - mask.ndim() + d]) return false;
  return true;
}

// The masked scores, differentiable.
Tensor scores_of(const Tensor& q, const Tensor& k, const Tensor& mask, bool causal, double scale) {
  const double inf = INFINITY;
  Tensor scores = mul(matmul(q, transpose.call({k, -2, -1})), scale);
  if (causal) {
    Tensor seen = RL_OP("tril")(full(Dims{q.size(-2), k.size(-2)}, Dtype::boolean, 1));
    scores = masked_fill(scores, logical_not(seen), -inf);
  }
  if (!mask) return scores;
  return mask.dtype() == Dtype::boolean ? masked_fill(scores, logical_not(mask), -inf) : add(scores, mask);
}
// softmax, with zeros instead of 0 / 0 for queries that see nothing
Tensor weights_of(const Tensor& scores, bool masked) {
  Tensor weights = softmax(scores, -1);
  if (!masked) return weights;
  static const Op& all = find_op("all", "dim");
  return masked_fill(weights, all.call({eq(scores, -INFINITY), Dims{-1}, true}), 0);
}

const Op& fused_attention = def({
    .sig = "_scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask, bool "
           "is_causal, float scale) -> "
           "(Tensor, Tensor)",
    .doc =
        "Attention of (batch, heads, length, size) tensors, and the logarithms of the sums of exp(scores).",
    .forms = no_forms,
    .autocast = Autocast::lower,
    .rule =
        [](Call& c) {
          const Tensor &q = c.in(0), &v = c.in(2);
          expect(fits_kernel(q, c.in(1), v) && (!c.has(3) || fits_mask(c.in(3), q, c.in(1))), c);
          c.out_meta(0, q.dtype(), Dims{q.size(0), q.size(1), q.size(2), v.size(3)},
                     strides_like(q, v.size(3)));
          c.out_meta(1, compute_type(q.dtype()), Dims{q.size(0), q.size(1), q.size(2)});
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor q = in_rows(c.in(0), d), k = in_rows(c.in(1), d), v = in_rows(c.in(2), d);
          Tensor mask = c.has(3) ? mask_in_type(c.in(3), d) : Tensor(), out = result_of(c.out(), d);
          visit_float(d, [&]<class T>() {
            cpu::attention(shape_of(q, k, v, out, mask, c.b(4), c.d(5)), q.data<T>(), k.data<T>(),
                           v.data<T>(), out.data<T>(), c.out(1).data<T>());
          });
          store_result(c.out(), out);
        },
    .saves = save(In0 | In1 | In2 | In3 | Out0 | Out1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads grads(4);
          if (!g) return grads;
          if (!grad_enabled()) {
            TensorList all = attention_backward.call_list(
                {g, c.in(0), c.in(1), c.in(2), c.arg(3), c.out(0), c.out(1), c.b(4), c.d(5)});
            for (int k = 0; k < 3; ++k)
              if (c.wants(k)) grads[k] = all[k];
            return grads;
          }
          const Tensor &q = c.in(0), &k = c.in(1), &v = c.in(2);
          Tensor mask = c.has(3) ? c.in(3) : Tensor(),
                 p = weights_of(scores_of(q, k, mask, c.b(4), c.d(5)), mask || c.b(4));
          Tensor slope = matmul(g, adjoint(v));
          static const Op& sum = find_op("sum", "dim");
          Tensor ds = mul(mul(p, sub(slope, sum.call({mul(slope, p), Dims{-1}, true}))), c.d(5));
          if (c.wants(0)) grads[0] = matmul(ds, k);
          if (c.wants(1)) grads[1] = matmul(adjoint(ds), q);
          if (c.wants(2)) grads[2] = matmul(adjoint(p), g);
          return grads;
        },
    .grad_name = "ScaledDotProductFlashAttentionForCpuBackward0",
});

const Op& attention_backward = def({
    .sig = "_scaled_dot_product_attention_backward(Tensor grad_output, Tensor query, Tensor key, Tensor "
           "value, Tensor? attn_mask, "
           "Tensor output, Tensor logsumexp, bool is_causal, float scale) -> (Tensor, Tensor, Tensor)",
    .doc = "Gradients of attention with respect to query, key and value.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          const Tensor &g = c.in(0), &q = c.in(1), &v = c.in(3), &sums = c.in(6);
          expect(fits_kernel(q, c.in(2), v) && (!c.has(4) || fits_mask(c.in(4), q, c.in(2))), c);
          Dims sizes{q.size(0), q.size(1), q.size(2), v.size(3)};
          expect(same(g.sizes(), sizes) && same(c.in(5).sizes(), sizes) && is_float(g.dtype()) &&
                     is_float(c.in(5).dtype()),
                 c);
          expect(same(sums.sizes(), q.sizes().first(3)) && is_float(sums.dtype()), c);
          for (int k = 0; k < 3; ++k) {
            const Tensor& t = c.in(k + 1);
            c.out_meta(k, q.dtype(), Dims(t.sizes()), strides_like(t, t.size(3)));
          }
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor g = in_rows(c.in(0), d), q = in_rows(c.in(1), d), k = in_rows(c.in(2), d),
                 v = in_rows(c.in(3), d);
          Tensor mask = c.has(4) ? mask_in_type(c.in(4), d) : Tensor(), out = in_rows(c.in(5), d),
                 sums = dense(c.in(6), d);
          Tensor gq = result_of(c.out(0), d), gk = result_of(c.out(1), d), gv = result_of(c.out(2), d);
          visit_float(d, [&]<class T>() {
            cpu::attention_backward(shape_of(q, k, v, out, mask, c.b(7), c.d(8)),
                                    {rows_of(g), rows_of(gq), rows_of(gk), rows_of(gv)}, g.data<T>(),
                                    q.data<T>(), k.data<T>(), v.data<T>(), out.data<T>(), sums.data<T>(),
                                    gq.data<T>(), gk.data<T>(), gv.data<T>());
          });
          store_result(c.out(0), gq);
          store_result(c.out(1), gk);
          store_result(c.out(2), gv);
        },
});

Tensor dropped(const Tensor& t, double p) {
  if (p == 1) return mul(t, 0.0);
  Tensor noise = rushlight::empty_like(t);
  {
    GradMode off(false);
    static const Op& bernoulli = find_op("bernoulli_");
    bernoulli(noise, 1 - p);
    rushlight::copy(noise, div(noise, 1 - p));
  }
  return mul(t, noise);
}

}  // namespace

const Op& scaled_dot_product_attention = def({
    .sig = "scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, "
           "float dropout_p=0.0, bool "
           "is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor",
    .doc =
        R"(softmax(query @ key.T * scale + mask) @ value, for queries (..., L, E), keys (..., S, E), values (..., S, V).

        attn_mask is added to the scores, or is boolean with False where a query must not look; is_causal hides every key after the
        query's own position; scale is 1 / sqrt(E) by default; with enable_gqa several heads of query share one of key and value.)",
    .forms = Forms::function,
    .autocast = Autocast::lower,
    .cpu =
        [](Call& c) {
          const Tensor& q = c.in(0);
          Tensor k = c.in(1), v = c.in(2), mask = c.has(3) ? c.in(3) : Tensor();
          if (std::min({q.ndim(), k.ndim(), v.ndim()}) < 2)
            throw runtime_error(
                "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: ",
                q.ndim(), " key.dim: ", k.ndim(), " and value.dim: ", v.ndim(), " instead.");
          if (q.dtype() != k.dtype() || q.dtype() != v.dtype())
            throw runtime_error(
                "Expected query, key, and value to have the same dtype, but got query.dtype: ",
                info(q.dtype()).ctype_name, " key.dtype: ", info(k.dtype()).ctype_name,
                " and value.dtype: ", info(v.dtype()).ctype_name, " instead.");
          if (mask && mask.dtype() != Dtype::boolean && mask.dtype() != Dtype::f32 &&
              mask.dtype() != q.dtype())
            throw runtime_error(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
                "attn_mask.dtype: ",
                info(mask.dtype()).ctype_name, " and  query.dtype: ", info(q.dtype()).ctype_name,
                " instead.");
          if (mask && c.b(5))
            throw runtime_error(
                "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True");
          double p = c.d(4);
          if (!(p >= 0 && p <= 1))
            throw runtime_error("dropout probability has to be between 0 and 1, but got ", p);
          if (c.b(7) && q.ndim() >= 3 && k.ndim() >= 3 && v.ndim() >= 3) {
            int64_t heads = q.size(-3);
            if (!k.size(-3) || !v.size(-3) || heads % k.size(-3) || heads % v.size(-3))
              throw runtime_error(
                  "Number of heads in key and value must divide the number of heads in query");
            static const Op& repeat = find_op("repeat_interleave", "self_int");
            int64_t of_k = heads / k.size(-3), of_v = heads / v.size(-3);
            k = repeat.call({k, of_k, -3});
            v = repeat.call({v, of_v, -3});
          }
          double scale = c.has(6) ? c.d(6) : 1 / std::sqrt(double(q.size(-1)));
          bool causal = c.b(5);
          if (p == 0 && fits_kernel(q, k, v) && (!mask || (!mask.needs_grad() && fits_mask(mask, q, k)))) {
            c.outs = TensorList{fused_attention.call_list({q, k, v, mask, causal, scale})[0]};
            return;
          }
          Tensor weights = weights_of(scores_of(q, k, mask, causal, scale), mask || causal);
          c.outs = TensorList{matmul(p > 0 ? dropped(weights, p) : weights, v)};
        },
    .composite = true,
    .samples = {"x(2,3,4,5), x(2,3,6,5), y(2,3,6,2)", "x(1,2,4,5), x(1,2,4,5), y(1,2,4,5), None, 0.0, True",
                "x(3,4,5), x(3,6,5), y(3,6,2)", "x(1,2,4,5), x(1,2,6,5), y(1,2,6,2), mask(4,6)"},
    .modules = "nn",
});

}  // namespace rushlight::ops

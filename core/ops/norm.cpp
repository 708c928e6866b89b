// Layer and root mean square normalisation. The gradient is one kernel, or a formula of ops where it is to be differentiated
// again. Norms over channels are in channel_norm.cpp.
#include "autograd/node.h"
#include "kernels/cpu/norm.h"
#include "ops/dense.h"
#include "ops/ops.h"
#include "ops/view.h"

#include <limits>

namespace rushlight::ops {

namespace {

extern const Op& layer_norm_backward;

// Sizes in front of the normalised ones: rows; the normalised ones: columns.
struct Rows {
  int64_t rows, columns;
};
Rows rows_of(IntSpan sizes, IntSpan shape) {
  return {count(sizes.first(sizes.size() - shape.size())), count(shape)};
}

void check_shapes(const Call& c, int weight, int bias, const char* star) {
  const Tensor& x = c.in(0);
  IntSpan shape = c.ints(1);
  if (shape.empty())
    throw runtime_error(
        "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but "
        "got "
        "normalized_shape = []");
  for (auto& [argument, name] : {std::pair{weight, "weight"}, {bias, "bias"}})
    if (argument >= 0 && c.has(argument) && !same(c.in(argument).sizes(), shape))
      throw runtime_error("Expected ", name, " to be of same shape as normalized_shape, but got ", name,
                          " of shape ", show(c.in(argument).sizes()),
                          " and normalized_shape = ", show(shape));
  if (x.ndim() < int64_t(shape.size()) || !same(x.sizes().subspan(x.ndim() - shape.size()), shape)) {
    std::string text = show(shape);
    throw runtime_error("Given normalized_shape=", text, ", expected input with shape [*", star,
                        text.substr(1), ", but got input of size", show(x.sizes()));
  }
}

Dims row_dims(IntSpan sizes, IntSpan shape) {
  Dims dims;
  for (size_t d = sizes.size() - shape.size(); d < sizes.size(); ++d) dims.push_back(d);
  return dims;
}
Tensor mean_over(const Tensor& t, const Dims& dims) {
  static const Op& mean = find_op("mean", "dim");
  return mean.call({t, dims, true});
}
Tensor sum_leading(const Tensor& t, size_t keep) {
  static const Op& sum = find_op("sum", "dim");
  Dims dims;
  for (int64_t d = 0; d < t.ndim() - int64_t(keep); ++d) dims.push_back(d);
  return dims.empty() ? t : sum.call({t, dims});
}

const Op& native_layer_norm = def({
    .sig = "native_layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps) "
           "-> (Tensor, Tensor, "
           "Tensor)",
    .doc = "layer_norm, and the mean and the inverse deviation of each row.",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          check_shapes(c, 2, 3, ", ");
          const Tensor& x = c.in(0);
          check_parameter(c, 2);
          check_parameter(c, 3);
          if (!is_float(x.dtype())) throw_unsupported("LayerNormKernelImpl", x.dtype());
          c.out_meta(0, x.dtype(), Dims(x.sizes()));
          Dims statistics(x.sizes());
          for (size_t d = x.ndim() - c.ints(1).size(); d < statistics.size(); ++d) statistics[d] = 1;
          c.out_meta(1, compute_type(x.dtype()), statistics);
          c.out_meta(2, compute_type(x.dtype()), statistics);
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d), weight = c.has(2) ? dense(c.in(2), d) : Tensor(),
                 bias = c.has(3) ? dense(c.in(3), d) : Tensor();
          Result y(c.out(), d);
          Rows r = rows_of(x.sizes(), c.ints(1));
          visit_float(d, [&]<class T>() {
            cpu::layer_norm(r.rows, r.columns, x.data<T>(), weight ? weight.data<T>() : nullptr,
                            bias ? bias.data<T>() : nullptr, c.d(4), y.data<T>(), c.out(1).data<T>(),
                            c.out(2).data<T>());
          });
          y.store();
        },
    .saves = save(In0 | In2 | Out1 | Out2),
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads grads(3);
          if (!g) return grads;
          const Tensor& x = c.in(0);
          size_t n = c.ints(1).size();
          if (!grad_enabled()) {
            TensorList all = layer_norm_backward.call_list(
                {g, x, c.ints(1), c.out(1), c.out(2), c.arg(2), c.wants(0), c.wants(1), c.wants(2)});
            for (int k = 0; k < 3; ++k) grads[k] = all[k];
            return grads;
          }
          Dims dims = row_dims(x.sizes(), c.ints(1));
          Tensor centred = sub(x, mean_over(x, dims));
          Tensor inverse = rsqrt(add(mean_over(mul(centred, centred), dims), c.d(4))),
                 unit = mul(centred, inverse);
          if (c.wants(0)) {
            Tensor scaled = c.has(2) ? mul(g, c.in(2)) : g;
            grads[0] =
                mul(sub(sub(scaled, mean_over(scaled, dims)), mul(unit, mean_over(mul(scaled, unit), dims))),
                    inverse);
          }
          if (c.wants(1)) grads[1] = sum_leading(mul(g, unit), n);
          if (c.wants(2)) grads[2] = sum_leading(g, n);
          return grads;
        },
});

const Op& native_rms_norm = def({
    .sig = "_native_rms_norm(Tensor input, int[] normalized_shape, Tensor? weight, float eps) -> (Tensor, "
           "Tensor)",
    .doc = "rms_norm, and the inverse root mean square of each row.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          check_shapes(c, 2, -1, "");
          const Tensor& x = c.in(0);
          expect(is_float(x.dtype()) && (!c.has(2) || is_float(c.in(2).dtype())), c);
          c.out_meta(0, x.dtype(), Dims(x.sizes()));
          Dims statistics(x.sizes());
          for (auto d : row_dims(x.sizes(), c.ints(1))) statistics[d] = 1;
          c.out_meta(1, compute_type(x.dtype()), statistics);
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d), weight = c.has(2) ? dense(c.in(2), d) : Tensor();
          Result y(c.out(), d);
          Rows r = rows_of(x.sizes(), c.ints(1));
          visit_float(d, [&]<class T>() {
            cpu::rms_norm(r.rows, r.columns, x.data<T>(), weight ? weight.data<T>() : nullptr, c.d(3),
                          y.data<T>(), c.out(1).data<T>());
          });
          y.store();
        },
    .saves = save(In0 | In2 | Out1),
    .grad =
        [](const Call& c, const Tensor& grad) {
          Grads grads(2);
          if (!grad) return grads;
          auto wide = [](const Tensor& t) {
            return compute_type(t.dtype()) == t.dtype() ? t : to_dtype(t, compute_type(t.dtype()));
          };
          const Tensor x = wide(c.in(0)), g = wide(grad);
          Dims dims = row_dims(x.sizes(), c.ints(1));
          Tensor inverse = grad_enabled() ? rsqrt(add(mean_over(mul(x, x), dims), c.d(3))) : c.out(1);
          Tensor unit = mul(x, inverse);
          if (c.wants(0)) {
            Tensor scaled = c.has(2) ? mul(g, wide(c.in(2))) : g;
            grads[0] = mul(sub(scaled, mul(unit, mean_over(mul(scaled, unit), dims))), inverse);
          }
          if (c.wants(1)) grads[1] = sum_leading(mul(g, unit), c.ints(1).size());
          return grads;
        },
    .grad_name = "MulBackward0",  // the last of the operators that it stands for
});

const Op& layer_norm_backward = def({
    .sig = "_layer_norm_backward(Tensor grad_output, Tensor input, int[] normalized_shape, Tensor mean, "
           "Tensor rstd, Tensor? "
           "weight, bool want_input, bool want_weight, bool want_bias) -> (Tensor, Tensor, Tensor)",
    .doc = "Gradients of layer_norm; those not wanted are left out.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          const Tensor& x = c.in(1);
          IntSpan shape = c.ints(2), sizes = x.sizes();
          size_t rows = sizes.size() - shape.size();
          expect(shape.size() <= sizes.size() && same(sizes.subspan(rows), shape) &&
                     same(c.in(0).sizes(), sizes),
                 c);
          expect(c.in(3).numel() == count(sizes.first(rows)) && c.in(4).numel() == c.in(3).numel(), c);
          expect(!c.has(5) || c.in(5).numel() == count(shape), c);
          for (int k : {0, 1, 3, 4}) expect(is_float(c.in(k).dtype()), c);
          if (c.b(6)) c.out_meta(0, x.dtype(), Dims(x.sizes()));
          Dtype d = c.has(5) ? c.in(5).dtype() : x.dtype();
          c.meta(0);
          if (c.b(7)) c.out_meta(1, d, Dims(c.ints(2)));
          if (c.b(8)) c.out_meta(2, d, Dims(c.ints(2)));
          c.meta0.device = c.device();
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.in(1).dtype());
          Tensor g = dense(c.in(0), d), x = dense(c.in(1), d), mean = dense(c.in(3), d),
                 rstd = dense(c.in(4), d);
          Tensor weight = c.has(5) ? dense(c.in(5), d) : Tensor();
          Rows r = rows_of(x.sizes(), c.ints(2));
          Tensor work[3];
          for (int k = 0; k < 3; ++k)
            if (c.b(6 + k)) work[k] = c.outs[k].dtype() == d ? c.outs[k] : empty(c.outs[k].sizes(), d);
          visit_float(d, [&]<class T>() {
            auto raw = [](const Tensor& t) { return t ? t.data<T>() : nullptr; };
            cpu::layer_norm_backward<T>(r.rows, r.columns, g.data<T>(), x.data<T>(), mean.data<T>(),
                                        rstd.data<T>(), raw(weight), raw(work[0]), raw(work[1]),
                                        raw(work[2]));
          });
          for (int k = 0; k < 3; ++k)
            if (work[k] && !work[k].is(c.outs[k])) rushlight::copy(c.outs[k], work[k]);
        },
});

}  // namespace

const Op& layer_norm = def({
    .sig = "layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float "
           "eps=1e-05, bool "
           "cudnn_enable=True) -> Tensor",
    .doc = "Each row of the last dimensions, whose sizes are normalized_shape, shifted and scaled to mean 0 "
           "and variance 1; then "
           "times weight plus bias.",
    .forms = Forms::function,
    .cpu =
        [](Call& c) {
          c.outs =
              TensorList{native_layer_norm.call_list({c.arg(0), c.arg(1), c.arg(2), c.arg(3), c.arg(4)})[0]};
        },
    .composite = true,
    .samples = {"x(3,5), (5,)", "x(3,5), (5,), x(5), x(5)", "x(2,3,4), (3,4), x(3,4)",
                "x(2,4), (4,), None, x(4), 0.1"},
});

const Op& rms_norm = def({
    .sig = "rms_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor",
    .doc = "Each row of the last dimensions divided by its root mean square, times weight. eps is the "
           "dtype's epsilon by default.",
    .forms = Forms::function,
    .cpu =
        [](Call& c) {
          check_shapes(c, 2, -1, "");
          Dtype d = c.in(0).dtype();
          if (!differentiable(d)) throw_unsupported("rms_norm", d);
          double eps = c.has(3)                              ? c.d(3)
                       : d == Dtype::f64 || d == Dtype::c128 ? std::numeric_limits<double>::epsilon()
                                                             : std::numeric_limits<float>::epsilon();
          if (is_float(d) && (!c.has(2) || is_float(c.in(2).dtype()))) {
            c.outs = TensorList{native_rms_norm.call_list({c.in(0), c.arg(1), c.arg(2), eps})[0]};
            return;
          }
          const Tensor& x = c.in(0);
          Tensor y = mul(x, rsqrt(add(mean_over(mul(x, x), row_dims(x.sizes(), c.ints(1))), eps)));
          c.outs = TensorList{c.has(2) ? mul(y, c.in(2)) : y};
        },
    .composite = true,
    .samples = {"x(3,5), (5,)", "x(2,3,4), (3,4), x(3,4), 0.1"},
});

}  // namespace rushlight::ops

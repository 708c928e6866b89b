// Batch and group normalisation: statistics per channel over the batch, or per group of channels within each sample.
#include "autograd/node.h"
#include "kernels/cpu/norm.h"
#include "ops/create.h"
#include "ops/dense.h"
#include "ops/ops.h"
#include "ops/view.h"

#include <cmath>
#include <vector>

namespace rushlight::ops {

namespace {

extern const Op &batch_norm_backward, &group_norm_backward;

cpu::Planes planes_of(const Tensor& x) { return {x.size(0), x.size(1), count(x.sizes().subspan(2))}; }
Tensor optional(const Call& c, int k, Dtype d) { return c.has(k) ? dense(c.in(k), d) : Tensor(); }
template <class T> const T* raw(const Tensor& t) { return t ? t.data<T>() : nullptr; }

Tensor mean_over(const Tensor& t, const Dims& dims) {
  static const Op& mean = find_op("mean", "dim");
  return mean.call({t, dims, true});
}
Tensor sum_over(const Tensor& t, const Dims& dims) {
  static const Op& sum = find_op("sum", "dim");
  return sum.call({t, dims});
}
Dims all_but_channel(int64_t ndim) {
  Dims dims{0};
  for (int64_t d = 2; d < ndim; ++d) dims.push_back(d);
  return dims;
}
// A tensor of one number per channel, shaped to broadcast against (n, channels, ...).
Tensor along_channels(const Tensor& t, int64_t ndim) {
  Dims sizes(size_t(ndim), 1);
  sizes[1] = t.numel();
  return reshape(t, sizes);
}

// ---- batch norm ----

constexpr const char* parameter_names[] = {"", "weight", "bias", "running_mean", "running_var"};

void batch_norm_rule(Call& c) {
  const Tensor& x = c.in(0);
  if (x.ndim() < 2) {  // PyTorch finds no channels
    for (int k : {3, 4, 1, 2})
      if (c.has(k) && c.in(k).numel())
        throw runtime_error(parameter_names[k], " should contain 0 elements not ", c.in(k).numel());
    wrap_dim(1, x.ndim());  // raises
  }
  bool training = c.b(5);
  for (int k : {3, 4, 1, 2}) {
    if (c.has(k) && c.in(k).numel() != x.size(1))
      throw runtime_error(parameter_names[k], " should contain ", x.size(1), " elements not ",
                          c.in(k).numel());
    if (!c.has(k) && k >= 3 && !training)
      throw runtime_error(parameter_names[k], " must be defined in evaluation mode");
  }
  if (!is_float(x.dtype())) throw_unsupported("batch_norm", x.dtype());
  for (int k = 1; k < 5; ++k) check_parameter(c, k);
  c.out_meta(0, x.dtype(), Dims(x.sizes()));
  c.out_meta(1, compute_type(x.dtype()), Dims{x.size(1)});
  c.out_meta(2, compute_type(x.dtype()), Dims{x.size(1)});
  keep_format(c, 0, x);
}

// running = (1 - momentum) * running + momentum * batch
template <class T> void update_running(const Tensor& running, const T* batch, double factor,
                                       double momentum) {
  Tensor now = dense(running, dtype_of<T>), next = empty(now.sizes(), dtype_of<T>);
  for (int64_t i = 0; i < now.numel(); ++i)
    next.data<T>()[i] = T((1 - momentum) * now.data<T>()[i] + momentum * (factor * batch[i]));
  rushlight::copy(running, next);
  wrote(running);
}

template <class T> void batch_norm_forward(Call& c, const Tensor& x, const Tensor& y) {
  Dtype d = dtype_of<T>;
  Tensor weight = optional(c, 1, d), bias = optional(c, 2, d);
  cpu::Planes p = planes_of(x);
  T *mean = c.out(1).data<T>(), *rstd = c.out(2).data<T>();
  if (c.b(5)) {
    cpu::channel_moments(p, x.data<T>(), mean, rstd);
    double n = double(p.n) * double(p.inner);
    if (x.numel()) {
      if (c.has(3)) update_running(c.in(3), mean, 1, c.d(6));
      if (c.has(4)) update_running(c.in(4), rstd, n / (n - 1), c.d(6));
    }
  } else {
    rushlight::copy(c.out(1), c.in(3));
    rushlight::copy(c.out(2), c.in(4));
  }
  std::vector<T> scale(p.channels);
  for (int64_t k = 0; k < p.channels; ++k) {
    rstd[k] = T(1) / std::sqrt(rstd[k] + T(c.d(7)));
    scale[k] = weight ? rstd[k] * weight.data<T>()[k] : rstd[k];
  }
  cpu::channel_affine(p, x.data<T>(), mean, scale.data(), raw<T>(bias), y.data<T>());
}

const Op& native_batch_norm = def({
    .sig = "native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? "
           "running_var, bool training, "
           "float momentum, float eps) -> (Tensor, Tensor, Tensor)",
    .doc = "batch_norm, and the mean and the inverse deviation that it used.",
    .forms = Forms::function,
    .rule = batch_norm_rule,
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d);
          Result y(c.out(), d);
          visit_float(d, [&]<class T>() { batch_norm_forward<T>(c, x, y.work()); });
          y.store();
        },
    .saves = save(In0 | In1 | Out1 | Out2),
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads grads(5);
          if (!g) return grads;
          const Tensor& x = c.in(0);
          if (!grad_enabled()) {
            TensorList all = batch_norm_backward.call_list({g, x, c.out(1), c.out(2), c.arg(1), c.b(5)});
            for (int k = 0; k < 3; ++k)
              if (c.wants(k)) grads[k] = all[k];
            return grads;
          }
          Dims dims = all_but_channel(x.ndim());
          Tensor centred, inverse;
          if (c.b(5)) {
            centred = sub(x, mean_over(x, dims));
            inverse = rsqrt(add(mean_over(mul(centred, centred), dims), c.d(7)));
          } else {
            centred = sub(x, along_channels(c.out(1), x.ndim()));
            inverse = along_channels(c.out(2), x.ndim());
          }
          Tensor unit = mul(centred, inverse);
          if (c.wants(0)) {
            Tensor scaled = c.has(1) ? mul(g, along_channels(c.in(1), x.ndim())) : g;
            if (c.b(5))
              scaled =
                  sub(sub(scaled, mean_over(scaled, dims)), mul(unit, mean_over(mul(scaled, unit), dims)));
            grads[0] = mul(scaled, inverse);
          }
          if (c.wants(1)) grads[1] = sum_over(mul(g, unit), dims);
          if (c.wants(2)) grads[2] = sum_over(g, dims);
          return grads;
        },
});

const Op& batch_norm_backward = def({
    .sig = "_batch_norm_backward(Tensor grad_output, Tensor input, Tensor mean, Tensor rstd, Tensor? weight, "
           "bool training) -> "
           "(Tensor, Tensor, Tensor)",
    .doc = "Gradients of batch_norm with respect to input, weight and bias.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          const Tensor& x = c.in(1);
          expect(x.ndim() >= 2 && same(c.in(0).sizes(), x.sizes()), c);
          for (int k = 0; k < 4; ++k) expect(is_float(c.in(k).dtype()), c);
          for (int k = 2; k < 5; ++k) expect(!c.has(k) || c.in(k).numel() == x.size(1), c);
          c.out_meta(0, x.dtype(), Dims(x.sizes()));
          c.out_meta(1, compute_type(x.dtype()), Dims{x.size(1)});
          c.out_meta(2, compute_type(x.dtype()), Dims{x.size(1)});
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.in(1).dtype());
          Tensor g = dense(c.in(0), d), x = dense(c.in(1), d), mean = dense(c.in(2), d),
                 rstd = dense(c.in(3), d);
          Tensor weight = optional(c, 4, d);
          Result gx(c.out(), d);
          visit_float(d, [&]<class T>() {
            cpu::Planes p = planes_of(x);
            T *gw = c.out(1).data<T>(), *gb = c.out(2).data<T>();
            const T *m = mean.data<T>(), *s = rstd.data<T>();
            cpu::channel_dots(p, g.data<T>(), x.data<T>(), m, gb, gw);
            std::vector<T> a(p.channels), b(p.channels), slope(p.channels);
            const T n = T(double(p.n) * double(p.inner));
            for (int64_t k = 0; k < p.channels; ++k) {
              a[k] = weight ? s[k] * weight.data<T>()[k] : s[k];
              if (c.b(5)) {
                b[k] = gb[k] / n * a[k];
                slope[k] = gw[k] / n * s[k] * s[k] * a[k];
              }
              gw[k] = n > 0 ? gw[k] * s[k] : T(0);  // an empty batch has no deviation
            }
            cpu::channel_backward(p, g.data<T>(), x.data<T>(), m, a.data(), b.data(), slope.data(),
                                  gx.data<T>());
          });
          gx.store();
        },
});

// ---- group norm ----

const Op& native_group_norm = def({
    .sig = "native_group_norm(Tensor input, Tensor? weight, Tensor? bias, int num_groups, float eps) -> "
           "(Tensor, Tensor, Tensor)",
    .doc = "group_norm, and the mean and the inverse deviation of each group.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          const Tensor& x = c.in(0);
          if (x.ndim() < 2) wrap_dim(1, x.ndim());  // raises
          int64_t groups = c.i(3);
          if (groups <= 0) throw runtime_error("Expected num groups to be greater than 0, got ", groups);
          if (x.size(1) % groups)
            throw runtime_error(
                "Expected number of channels in input to be divisible by num_groups, but got input of shape ",
                show(x.sizes()), " and num_groups=", groups);
          for (int k : {1, 2})
            if (c.has(k) && (c.in(k).ndim() != 1 || c.in(k).numel() != x.size(1)))
              throw runtime_error(
                  "Expected ", k == 1 ? "weight" : "bias",
                  " to be a vector of size equal to the number of channels in input, but got ",
                  k == 1 ? "weight" : "bias", " of shape ", show(c.in(k).sizes()), " and input of shape ",
                  show(x.sizes()));
          for (int k : {1, 2}) check_parameter(c, k);
          if (!is_float(x.dtype())) throw_unsupported("GroupNormKernelImpl", x.dtype());
          c.out_meta(0, x.dtype(), Dims(x.sizes()));
          c.out_meta(1, compute_type(x.dtype()), Dims{x.size(0), groups});
          c.out_meta(2, compute_type(x.dtype()), Dims{x.size(0), groups});
          keep_format(c, 0, x);
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d), weight = optional(c, 1, d), bias = optional(c, 2, d);
          Result y(c.out(), d);
          visit_float(d, [&]<class T>() {
            cpu::Planes p = planes_of(x);
            const int64_t groups = c.i(3), per_group = p.channels / groups;
            T *mean = c.out(1).data<T>(), *rstd = c.out(2).data<T>();
            cpu::channel_moments<T>({1, p.n * groups, per_group * p.inner}, x.data<T>(), mean, rstd);
            // one mean, scale and shift per plane
            std::vector<T> m(p.n * p.channels), scale(m.size()), shift(bias ? m.size() : 0);
            for (int64_t g = 0; g < p.n * groups; ++g) rstd[g] = T(1) / std::sqrt(rstd[g] + T(c.d(4)));
            for (int64_t k = 0; k < p.n * p.channels; ++k) {
              const int64_t g = k / per_group, channel = k % p.channels;
              m[k] = mean[g];
              scale[k] = weight ? rstd[g] * weight.data<T>()[channel] : rstd[g];
              if (bias) shift[k] = bias.data<T>()[channel];
            }
            cpu::channel_affine<T>({1, p.n * p.channels, p.inner}, x.data<T>(), m.data(), scale.data(),
                                   bias ? shift.data() : nullptr, y.data<T>());
          });
          y.store();
        },
    .saves = save(In0 | In1 | Out1 | Out2),
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads grads(3);
          if (!g) return grads;
          const Tensor& x = c.in(0);
          if (!grad_enabled()) {
            TensorList all = group_norm_backward.call_list({g, x, c.out(1), c.out(2), c.arg(1)});
            for (int k = 0; k < 3; ++k)
              if (c.wants(k)) grads[k] = all[k];
            return grads;
          }
          int64_t n = x.size(0), groups = c.i(3), inner = count(x.sizes().subspan(2)) * (x.size(1) / groups);
          Dims grouped{n, groups, inner}, last{2}, channels = all_but_channel(x.ndim());
          Tensor rows = reshape(x, grouped), centred = sub(rows, mean_over(rows, last));
          Tensor inverse = rsqrt(add(mean_over(mul(centred, centred), last), c.d(4))),
                 unit = mul(centred, inverse);
          if (c.wants(0)) {
            Tensor scaled = reshape(c.has(1) ? mul(g, along_channels(c.in(1), x.ndim())) : g, grouped);
            scaled = sub(sub(scaled, mean_over(scaled, last)), mul(unit, mean_over(mul(scaled, unit), last)));
            grads[0] = reshape(mul(scaled, inverse), x.sizes());
          }
          if (c.wants(1)) grads[1] = sum_over(mul(g, reshape(unit, x.sizes())), channels);
          if (c.wants(2)) grads[2] = sum_over(g, channels);
          return grads;
        },
});

const Op& group_norm_backward = def({
    .sig = "_group_norm_backward(Tensor grad_output, Tensor input, Tensor mean, Tensor rstd, Tensor? weight) "
           "-> (Tensor, Tensor, "
           "Tensor)",
    .doc = "Gradients of group_norm with respect to input, weight and bias.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          const Tensor& x = c.in(1);
          const Tensor &mean = c.in(2), &rstd = c.in(3);
          expect(x.ndim() >= 2 && same(c.in(0).sizes(), x.sizes()) && mean.ndim() == 2 &&
                     same(mean.sizes(), rstd.sizes()),
                 c);
          expect(mean.size(0) == x.size(0) && mean.size(1) > 0 && x.size(1) % mean.size(1) == 0, c);
          for (int k = 0; k < 4; ++k) expect(is_float(c.in(k).dtype()), c);
          expect(!c.has(4) || c.in(4).numel() == x.size(1), c);
          c.out_meta(0, x.dtype(), Dims(x.sizes()));
          c.out_meta(1, compute_type(x.dtype()), Dims{x.size(1)});
          c.out_meta(2, compute_type(x.dtype()), Dims{x.size(1)});
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.in(1).dtype());
          Tensor g = dense(c.in(0), d), x = dense(c.in(1), d), mean = dense(c.in(2), d),
                 rstd = dense(c.in(3), d);
          Tensor weight = optional(c, 4, d);
          Result gx(c.out(), d);
          visit_float(d, [&]<class T>() {
            cpu::Planes p = planes_of(x);
            const int64_t groups = mean.size(1), per_group = p.channels / groups, planes = p.n * p.channels;
            const T *m = mean.data<T>(), *s = rstd.data<T>();
            std::vector<T> of_plane(planes), sums(planes), dots(planes), a(planes), b(planes), slope(planes);
            for (int64_t k = 0; k < planes; ++k) of_plane[k] = m[k / per_group];
            cpu::channel_dots<T>({1, planes, p.inner}, g.data<T>(), x.data<T>(), of_plane.data(), sums.data(),
                                 dots.data());
            auto factor = [&](int64_t k) { return weight ? weight.data<T>()[k % p.channels] : T(1); };
            const T n = T(double(per_group) * double(p.inner));
            for (int64_t group = 0; group < p.n * groups; ++group) {
              T sum = 0, dot = 0;
              for (int64_t k = group * per_group; k < (group + 1) * per_group; ++k)
                sum += sums[k] * factor(k), dot += dots[k] * factor(k);
              for (int64_t k = group * per_group; k < (group + 1) * per_group; ++k) {
                a[k] = s[group] * factor(k);
                b[k] = s[group] * (sum / n);
                slope[k] = s[group] * s[group] * s[group] * (dot / n);
              }
            }
            T *gw = c.out(1).data<T>(), *gb = c.out(2).data<T>();
            for (int64_t k = 0; k < p.channels; ++k) gw[k] = gb[k] = 0;
            for (int64_t k = 0; k < planes; ++k) {
              gw[k % p.channels] += dots[k] * s[k / per_group];
              gb[k % p.channels] += sums[k];
            }
            cpu::channel_backward<T>({1, planes, p.inner}, g.data<T>(), x.data<T>(), of_plane.data(),
                                     a.data(), b.data(), slope.data(), gx.data<T>());
          });
          gx.store();
        },
});

}  // namespace

const Op& batch_norm = def({
    .sig = "batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? "
           "running_var, bool training, float "
           "momentum, float eps, bool cudnn_enabled=False) -> Tensor",
    .doc = "Each channel (dimension 1) shifted and scaled to mean 0 and variance 1, by the statistics of the "
           "batch (training, which "
           "also updates the running ones) or by the running statistics; then times weight plus bias.",
    .forms = Forms::function,
    .cpu =
        [](Call& c) {
          c.outs = TensorList{native_batch_norm.call_list(
              {c.arg(0), c.arg(1), c.arg(2), c.arg(3), c.arg(4), c.arg(5), c.arg(6), c.arg(7)})[0]};
        },
    .composite = true,
    .samples = {"x(4,3), x(3), x(3), None, None, True, 0.1, 1e-05",
                "x(4,3,2,5), None, None, None, None, True, 0.1, 1e-05"},
});

const Op& group_norm = def({
    .sig = "group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float "
           "eps=1e-05, bool "
           "cudnn_enabled=True) -> Tensor",
    .doc = "Groups of channels of each sample, each shifted and scaled to mean 0 and variance 1; then each "
           "channel times weight plus "
           "bias.",
    .forms = Forms::function,
    .cpu =
        [](Call& c) {
          c.outs =
              TensorList{native_group_norm.call_list({c.arg(0), c.arg(2), c.arg(3), c.arg(1), c.arg(4)})[0]};
        },
    .composite = true,
    .samples = {"x(2,4,3), 2", "x(2,4,3), 2, x(4), x(4)", "x(2,6), 3, x(6)"},
});

}  // namespace rushlight::ops

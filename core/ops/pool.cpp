// Pooling over the last two dimensions, with the gradients as ops of their own.
#include "kernels/cpu/pool.h"

#include "autograd/node.h"
#include "ops/create.h"
#include "ops/dense.h"
#include "ops/ops.h"
#include "ops/view.h"

#include <array>

namespace rushlight::ops {

namespace {

extern const Op &max_pool_backward, &max_pool_taps_backward, &avg_pool_backward, &adaptive_avg_backward;

constexpr int64_t limit = int64_t(1) << 31;

struct Pair {
  int64_t h, w;
};
Pair pair_of(IntSpan v, const char* op, const char* name) {
  if (v.size() != 1 && v.size() != 2)
    throw runtime_error(op, ": ", name, " must either be a single int, or a tuple of two ints");
  for (auto x : v)
    if (x >= limit || x <= -limit) throw runtime_error(op, ": ", name, " is out of range");
  return {v[0], v.back()};
}

int64_t pooled_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                    bool ceil_mode) {
  int64_t room = in + 2 * pad - dilation * (kernel - 1) - 1 + (ceil_mode ? stride - 1 : 0);
  int64_t out = (room >= 0 ? room / stride : -((-room + stride - 1) / stride)) + 1;
  if (ceil_mode && (out - 1) * stride >= in + pad) --out;  // the last window would start in the padding
  return out;
}

// The geometry of a pool over x, checked.
cpu::Pool2dShape pool_shape(IntSpan x, const char* op, Pair kernel, Pair stride, Pair pad, Pair dilation,
                            bool ceil_mode) {
  if (stride.h == 0 || stride.w == 0) throw runtime_error("stride should not be zero");
  if (kernel.h <= 0 || kernel.w <= 0)
    throw runtime_error("kernel size should be greater than zero, but got kH: ", kernel.h, " kW: ", kernel.w);
  if (stride.h < 0 || stride.w < 0)
    throw runtime_error("stride should be greater than zero, but got dH: ", stride.h, " dW: ", stride.w);
  if (dilation.h <= 0 || dilation.w <= 0)
    throw runtime_error("dilation should be greater than zero, but got dilationH: ", dilation.h,
                        " dilationW: ", dilation.w);
  if (int64_t(x.size()) != 3 && int64_t(x.size()) != 4)
    throw runtime_error("non-empty 3D or 4D (batch mode) tensor expected for input");
  for (int64_t d = int64_t(x.size()) - 3; d < int64_t(x.size()); ++d)
    if (x[d] == 0)
      throw runtime_error(
          "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got:",
          show(x));
  for (auto [p, k, d] : {std::array{pad.h, kernel.h, dilation.h}, std::array{pad.w, kernel.w, dilation.w}}) {
    if (p < 0) throw runtime_error("pad must be non-negative, but got pad: ", p);
    if (p > ((k - 1) * d + 1) / 2)
      throw runtime_error("pad should be at most half of effective kernel size, but got pad=", p,
                          ", kernel_size=", k, " and dilation=", d);
  }
  cpu::Pool2dShape s{count(x.first(int64_t(x.size()) - 2)),
                     x[x.size() - 2],
                     x[x.size() - 1],
                     kernel.h,
                     kernel.w,
                     stride.h,
                     stride.w,
                     pad.h,
                     pad.w,
                     dilation.h,
                     dilation.w,
                     0,
                     0};
  s.hout = pooled_size(s.h, s.kh, s.stride_h, s.pad_h, s.dil_h, ceil_mode);
  s.wout = pooled_size(s.w, s.kw, s.stride_w, s.pad_w, s.dil_w, ceil_mode);
  if (s.hout < 1 || s.wout < 1)
    throw runtime_error("Given input size: (", x[x.size() - 3], "x", s.h, "x", s.w,
                        "). Calculated output size: (", x[x.size() - 3], "x", std::max<int64_t>(s.hout, 0),
                        "x", std::max<int64_t>(s.wout, 0), "). Output size is too small");
  return s;
}

Dims with_plane(IntSpan sizes, int64_t h, int64_t w) {
  Dims out(sizes);
  out[out.size() - 2] = h;
  out[out.size() - 1] = w;
  return out;
}

// ---- max pool ----

cpu::Pool2dShape max_shape(const Call& c) {
  Pair kernel = pair_of(c.ints(1), "max_pool2d", "kernel_size");
  Pair stride = c.ints(2).empty() ? kernel : pair_of(c.ints(2), "max_pool2d", "stride");
  return pool_shape(c.in(0).sizes(), "max_pool2d", kernel, stride,
                    pair_of(c.ints(3), "max_pool2d", "padding"), pair_of(c.ints(4), "max_pool2d", "dilation"),
                    c.b(5));
}

// f<T>() for the dtypes of the maximum kernels
template <class F> void visit_max(Dtype d, const char* name, F&& f) {
  switch (d) {
    case Dtype::f32: return f.template operator()<float>();
    case Dtype::f64: return f.template operator()<double>();
    case Dtype::u8: return f.template operator()<uint8_t>();
    case Dtype::i8: return f.template operator()<int8_t>();
    case Dtype::i16: return f.template operator()<int16_t>();
    case Dtype::i32: return f.template operator()<int32_t>();
    case Dtype::i64: return f.template operator()<int64_t>();
    default: throw_unsupported(name, d);
  }
}

const Op& max_pool2d_with_indices = def({
    .sig = "max_pool2d_with_indices(Tensor input, int[] kernel_size, int[] stride=[], int[] padding=0, int[] "
           "dilation=1, bool "
           "ceil_mode=False) -> (Tensor, Tensor)",
    .doc = "Largest value of each window over the last two dimensions, and its place in the plane.",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          cpu::Pool2dShape s = max_shape(c);
          Dtype d = c.in(0).dtype();
          if (d == Dtype::boolean || is_complex(d)) throw_unsupported("max_pool2d", d);
          c.out_meta(0, d, with_plane(c.in(0).sizes(), s.hout, s.wout));
          keep_format(c, 0, c.in(0));
          c.out_meta(1, Dtype::i64, with_plane(c.in(0).sizes(), s.hout, s.wout));
          keep_format(c, 1, c.in(0));
        },
    .cpu =
        [](Call& c) {
          cpu::Pool2dShape s = max_shape(c);
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d);
          Result y(c.out(), d), places(c.out(1), Dtype::i64);
          visit_max(d, "max_pool2d", [&]<class T>() {
            cpu::max_pool2d_forward(s, x.data<T>(), y.data<T>(), places.data<int64_t>());
          });
          y.store();
          places.store();
        },
    .saves = save(Out1),
    .grad =
        [](const Call& c, const Tensor& g) {
          if (!g) return Grads{Tensor()};
          return Grads{max_pool_backward(g, c.out(1), c.in_sizes(0))};
        },
    .grad_name = "MaxPool2DWithIndicesBackward0",
    .samples = {"x(2,3,6,5), 2", "x(3,6,5), (3,2), 2, 1", "x(1,2,7,7), 3, 2, 1, (2,1), True"},
});

const Op& max_pool_backward = def({
    .sig = "max_pool2d_with_indices_backward(Tensor grad_output, Tensor indices, int[] sizes) -> Tensor",
    .doc = "Every gradient goes to the place of its window's maximum.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          const Tensor &g = c.in(0), &index = c.in(1);
          size_t n = c.ints(2).size();
          expect(n >= 2 && same(g.sizes(), index.sizes()) && size_t(g.ndim()) == n, c);
          expect(index.dtype() == Dtype::i64 && is_float(g.dtype()), c);
          expect(same(g.sizes().first(n - 2), c.ints(2).first(n - 2)), c);
          c.out_meta(0, g.dtype(), Dims(c.ints(2)));
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor g = dense(c.in(0), d), index = dense(c.in(1));
          Result gx(c.out(), d);
          IntSpan sizes = c.out().sizes();
          int64_t n = sizes.size();
          visit_float(d, [&]<class T>() {
            cpu::max_pool2d_backward(count(sizes.first(n - 2)), sizes[n - 2] * sizes[n - 1],
                                     g.size(-2) * g.size(-1), g.data<T>(), index.data<int64_t>(),
                                     gx.data<T>());
          });
          gx.store();
        },
    .saves = save(In1),
    .grad =
        [](const Call& c, const Tensor& gg) {
          const Tensor& index = c.in(1);
          static const Op& gather = find_op("gather");
          Dims flat(gg.sizes().first(gg.ndim() - 2)), taken = flat;
          flat.push_back(gg.size(-2) * gg.size(-1));
          taken.push_back(index.size(-2) * index.size(-1));
          return Grads{reshape(gather.call({reshape(gg, flat), -1, reshape(index, taken)}), index.sizes()),
                       Tensor()};
        },
});

// The largest values alone keep, for the gradient, the number of the tap that won rather than its place: one byte.
const Op& max_pool_taps = def({
    .sig =
        "_max_pool2d_taps(Tensor input, int[] kernel_size, int[] stride, int[] padding, int[] dilation, bool "
        "ceil_mode, bool record) -> (Tensor, Tensor)",
    .doc = "Largest value of each window over the last two dimensions, and, to record, which tap of the "
           "window it is.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          cpu::Pool2dShape s = max_shape(c);
          Dtype d = c.in(0).dtype();
          expect(is_float(d) && s.kh * s.kw <= cpu::most_taps, c);
          Dims sizes = with_plane(c.in(0).sizes(), s.hout, s.wout);
          c.out_meta(0, d, sizes);
          keep_format(c, 0, c.in(0));
          c.out_meta(1, Dtype::u8, c.b(6) ? sizes : Dims{0});
        },
    .cpu =
        [](Call& c) {
          cpu::Pool2dShape s = max_shape(c);
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d);
          Result y(c.out(), d);
          visit_float(d, [&]<class T>() {
            cpu::max_pool2d_taps(s, x.data<T>(), y.data<T>(), c.b(6) ? c.out(1).data<uint8_t>() : nullptr);
          });
          y.store();
        },
    .saves = save(Out1),
    .grad =
        [](const Call& c, const Tensor& g) {
          if (!g) return Grads{Tensor()};
          return Grads{max_pool_taps_backward.call(
              {g, c.out(1), c.in_sizes(0), c.arg(1), c.arg(2), c.arg(3), c.arg(4), c.arg(5)})};
        },
    .grad_name = "MaxPool2DWithIndicesBackward0",
});

cpu::Pool2dShape taps_shape(const Call& c) {
  Pair kernel = pair_of(c.ints(3), "max_pool2d", "kernel_size");
  Pair stride = c.ints(4).empty() ? kernel : pair_of(c.ints(4), "max_pool2d", "stride");
  return pool_shape(c.ints(2), "max_pool2d", kernel, stride, pair_of(c.ints(5), "max_pool2d", "padding"),
                    pair_of(c.ints(6), "max_pool2d", "dilation"), c.b(7));
}

// The element of x that each tap stands for; 0 where there is none.
Tensor at_taps(const Tensor& x, const Tensor& taps, const cpu::Pool2dShape& s) {
  Tensor t = dense(taps), index = empty(t.sizes(), Dtype::i64);
  const uint8_t* tap = t.data<uint8_t>();
  int64_t* to = index.data<int64_t>();
  for (int64_t k = 0; k < t.numel(); ++k) {
    int64_t y = k / s.wout % s.hout * s.stride_h - s.pad_h + tap[k] / s.kw * s.dil_h;
    int64_t x = k % s.wout * s.stride_w - s.pad_w + tap[k] % s.kw * s.dil_w;
    to[k] = tap[k] == cpu::no_tap ? 0 : y * s.w + x;
  }
  Dims flat(x.sizes().first(x.ndim() - 2)), taken = flat;
  flat.push_back(s.h * s.w);
  taken.push_back(s.hout * s.wout);
  Tensor all = reshape(RL_OP("gather").call({reshape(x, flat), -1, reshape(index, taken)}), t.sizes());
  return masked_fill.call({all, eq(taps, int64_t(cpu::no_tap)), 0.0});
}

const Op& max_pool_taps_backward = def({
    .sig = "_max_pool2d_taps_backward(Tensor grad_output, Tensor taps, int[] sizes, int[] kernel_size, int[] "
           "stride, int[] padding, int[] dilation, bool ceil_mode) -> Tensor",
    .doc = "Every gradient goes to the tap of its window that was the maximum.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          cpu::Pool2dShape s = taps_shape(c);
          Dims sizes = with_plane(c.ints(2), s.hout, s.wout);
          expect(same(c.in(0).sizes(), sizes) && same(c.in(1).sizes(), sizes), c);
          expect(c.in(1).dtype() == Dtype::u8 && is_float(c.in(0).dtype()), c);
          c.out_meta(0, c.in(0).dtype(), Dims(c.ints(2)));
        },
    .cpu =
        [](Call& c) {
          cpu::Pool2dShape s = taps_shape(c);
          Dtype d = compute_type(c.out().dtype());
          Tensor g = dense(c.in(0), d), taps = dense(c.in(1));
          Result gx(c.out(), d);
          visit_float(d, [&]<class T>() {
            cpu::max_pool2d_taps_backward(s, g.data<T>(), taps.data<uint8_t>(), gx.data<T>());
          });
          gx.store();
        },
    .saves = save(In1),
    .grad = [](const Call& c,
               const Tensor& gg) { return Grads{at_taps(gg, c.in(1), taps_shape(c)), Tensor()}; },
});

// ---- mean pools ----

cpu::Pool2dShape avg_shape(IntSpan x, const Call& c, int first) {
  Pair kernel = pair_of(c.ints(first), "avg_pool2d", "kernel_size");
  Pair stride = c.ints(first + 1).empty() ? kernel : pair_of(c.ints(first + 1), "avg_pool2d", "stride");
  if (c.has(first + 5) && c.i(first + 5) == 0) throw runtime_error("divisor must be not zero");
  return pool_shape(x, "avg_pool2d", kernel, stride, pair_of(c.ints(first + 2), "avg_pool2d", "padding"),
                    {1, 1}, c.b(first + 3));
}
int64_t divisor(const Call& c, int k) { return c.has(k) ? c.i(k) : 0; }

// Integers are averaged in float64 and truncated.
Dtype mean_type(Dtype d, const char* name) {
  if (d == Dtype::boolean || is_complex(d)) throw_unsupported(name, d);
  return is_float(d) ? compute_type(d) : Dtype::f64;
}

const Op& avg_pool2d = def({
    .sig = "avg_pool2d(Tensor input, int[] kernel_size, int[] stride=[], int[] padding=0, bool "
           "ceil_mode=False, bool "
           "count_include_pad=True, int? divisor_override=None) -> Tensor",
    .doc = "Mean of each window over the last two dimensions.",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          if (c.in(0).ndim() < 3) wrap_dim(-3, c.in(0).ndim());  // raises
          cpu::Pool2dShape s = avg_shape(c.in(0).sizes(), c, 1);
          c.out_meta(0, c.in(0).dtype(), with_plane(c.in(0).sizes(), s.hout, s.wout));
          keep_format(c, 0, c.in(0));
        },
    .cpu =
        [](Call& c) {
          cpu::Pool2dShape s = avg_shape(c.in(0).sizes(), c, 1);
          Dtype d = mean_type(c.out().dtype(), "avg_pool2d_out_frame");
          Tensor x = dense(c.in(0), d);
          Result y(c.out(), d);
          visit_float(d, [&]<class T>() {
            cpu::avg_pool2d_forward(s, c.b(5), divisor(c, 6), x.data<T>(), y.data<T>());
          });
          y.store();
        },
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{avg_pool_backward.call(
              {g, c.in_sizes(0), c.arg(1), c.arg(2), c.arg(3), c.arg(4), c.arg(5), c.arg(6)})};
        },
    .grad_name = "AvgPool2DBackward0",
    .samples = {"x(2,3,6,5), 2", "x(3,6,5), (3,2), 2, 1, True, False", "x(1,2,7,7), 3, 2, 1, False, True, 5"},
    .modules = "nn",
});

const Op& avg_pool_backward = def({
    .sig = "avg_pool2d_backward(Tensor grad_output, int[] sizes, int[] kernel_size, int[] stride, int[] "
           "padding, bool ceil_mode, "
           "bool count_include_pad, int? divisor_override) -> Tensor",
    .doc = "Every gradient is shared by its window.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          cpu::Pool2dShape s = avg_shape(c.ints(1), c, 2);
          expect(same(c.in(0).sizes(), with_plane(c.ints(1), s.hout, s.wout)) && is_float(c.in(0).dtype()),
                 c);
          c.out_meta(0, c.in(0).dtype(), Dims(c.ints(1)));
        },
    .cpu =
        [](Call& c) {
          cpu::Pool2dShape s = avg_shape(c.out().sizes(), c, 2);
          Dtype d = compute_type(c.out().dtype());
          Tensor g = dense(c.in(0), d);
          Result gx(c.out(), d);
          visit_float(d, [&]<class T>() {
            cpu::avg_pool2d_backward(s, c.b(6), divisor(c, 7), g.data<T>(), gx.data<T>());
          });
          gx.store();
        },
    .grad =
        [](const Call& c, const Tensor& gg) {
          return Grads{avg_pool2d.call({gg, c.arg(2), c.arg(3), c.arg(4), c.arg(5), c.arg(6), c.arg(7)})};
        },
});

// ---- adaptive pools ----

cpu::AdaptivePool2dShape adaptive_shape(IntSpan sizes, int64_t hout, int64_t wout) {
  int64_t n = sizes.size();
  return {count(sizes.first(n - 2)), sizes[n - 2], sizes[n - 1], hout, wout};
}

void check_adaptive(const Call& c, const char* name) {
  const Tensor& x = c.in(0);
  if (c.ints(1).size() != 2) throw runtime_error(name, "(): internal error: output_size.size() must be 2");
  if (x.ndim() != 3 && x.ndim() != 4)
    throw runtime_error(name, "(): Expected 3D or 4D tensor, but got ", show(x.sizes()));
  for (int64_t d = x.ndim() == 4 ? 1 : 0; d < x.ndim(); ++d)
    if (x.size(d) == 0)
      throw runtime_error(
          name, "(): Expected input to have non-zero size for non-batch dimensions, but input has sizes ",
          show(x.sizes()), " with dimension ", d, " being empty");
}

const Op& adaptive_avg_pool2d = def({
    .sig = "adaptive_avg_pool2d(Tensor input, int[2] output_size) -> Tensor",
    .doc = "Means of a grid of windows that covers the last two dimensions.",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          IntSpan size = c.ints(1);
          for (auto s : size)
            if (s < 0)
              throw runtime_error(
                  "adaptive_avg_pool2d: elements of output_size must be greater than or equal to 0 but "
                  "received {",
                  size[0], ", ", size[1], "}");
          check_adaptive(c, "adaptive_avg_pool2d");
          if (!is_float(c.in(0).dtype())) throw_unsupported("adaptive_avg_pool2d", c.in(0).dtype());
          c.out_meta(0, c.in(0).dtype(), with_plane(c.in(0).sizes(), size[0], size[1]));
          keep_format(c, 0, c.in(0));
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d);
          Result y(c.out(), d);
          visit_float(d, [&]<class T>() {
            cpu::adaptive_avg_pool2d_forward(adaptive_shape(x.sizes(), c.ints(1)[0], c.ints(1)[1]),
                                             x.data<T>(), y.data<T>());
          });
          y.store();
        },
    .grad = [](const Call& c,
               const Tensor& g) { return Grads{adaptive_avg_backward.call({g, c.in_sizes(0)})}; },
    .grad_name = "AdaptiveAvgPool2DBackward0",
    .samples = {"x(2,3,6,5), (2,3)", "x(3,4,4), 3"},
    .modules = "nn",
});

const Op& adaptive_avg_backward = def({
    .sig = "_adaptive_avg_pool2d_backward(Tensor grad_output, int[] sizes) -> Tensor",
    .doc = "Every gradient is shared by its window.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          const Tensor& g = c.in(0);
          IntSpan sizes = c.ints(1);
          size_t n = sizes.size();
          expect(n >= 3 && size_t(g.ndim()) == n && is_float(g.dtype()), c);
          expect(same(g.sizes().first(n - 2), sizes.first(n - 2)) && sizes[n - 2] > 0 && sizes[n - 1] > 0, c);
          c.out_meta(0, g.dtype(), Dims(sizes));
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor g = dense(c.in(0), d);
          Result gx(c.out(), d);
          visit_float(d, [&]<class T>() {
            cpu::adaptive_avg_pool2d_backward(adaptive_shape(c.out().sizes(), g.size(-2), g.size(-1)),
                                              g.data<T>(), gx.data<T>());
          });
          gx.store();
        },
    .grad =
        [](const Call& c, const Tensor& gg) {
          IntSpan sizes = c.in_sizes(0);
          return Grads{adaptive_avg_pool2d.call({gg, sizes.subspan(sizes.size() - 2)})};
        },
});

const Op& adaptive_max_pool2d = def({
    .sig = "adaptive_max_pool2d(Tensor input, int[2] output_size) -> (Tensor, Tensor)",
    .doc = "Largest values of a grid of windows that covers the last two dimensions, and their places.",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          IntSpan size = c.ints(1);
          check_adaptive(c, "adaptive_max_pool2d");
          for (auto s : size)
            if (s < 0)
              throw runtime_error("Trying to create tensor with negative dimension ", s, ": ",
                                  show(with_plane(c.in(0).sizes(), size[0], size[1])));
          if (!is_float(c.in(0).dtype())) throw_unsupported("adaptive_max_pool2d", c.in(0).dtype());
          c.out_meta(0, c.in(0).dtype(), with_plane(c.in(0).sizes(), size[0], size[1]));
          keep_format(c, 0, c.in(0));
          c.out_meta(1, Dtype::i64, with_plane(c.in(0).sizes(), size[0], size[1]));
          keep_format(c, 1, c.in(0));
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d);
          Result y(c.out(), d), places(c.out(1), Dtype::i64);
          visit_float(d, [&]<class T>() {
            cpu::adaptive_max_pool2d_forward(adaptive_shape(x.sizes(), c.ints(1)[0], c.ints(1)[1]),
                                             x.data<T>(), y.data<T>(), places.data<int64_t>());
          });
          y.store();
          places.store();
        },
    .saves = save(Out1),
    .grad =
        [](const Call& c, const Tensor& g) {
          if (!g) return Grads{Tensor()};
          return Grads{max_pool_backward(g, c.out(1), c.in_sizes(0))};
        },
    .grad_name = "AdaptiveMaxPool2DBackward0",
    .samples = {"x(2,3,6,5), (2,3)", "x(3,4,4), 3"},
    .modules = "nn",
});

}  // namespace

const Op& max_pool2d = def({
    .sig = "max_pool2d(Tensor input, int[] kernel_size, int[] stride=[], int[] padding=0, int[] dilation=1, "
           "bool "
           "ceil_mode=False) -> Tensor",
    .doc = "Largest value of each window over the last two dimensions.",
    .forms = Forms::function,
    .cpu =
        [](Call& c) {
          const Tensor& x = c.in(0);
          IntSpan kernel = c.ints(1);
          const bool few = !kernel.empty() && kernel.front() > 0 && kernel.back() > 0 &&
                           kernel.front() <= cpu::most_taps && kernel.back() <= cpu::most_taps &&
                           kernel.front() * kernel.back() <= cpu::most_taps;
          if (!few || !is_float(x.dtype())) {
            c.outs = TensorList{
                max_pool2d_with_indices.call_list({x, c.arg(1), c.arg(2), c.arg(3), c.arg(4), c.arg(5)})[0]};
            return;
          }
          const bool record = modes().forward || (grad_enabled() && x.needs_grad());
          c.outs = TensorList{
              max_pool_taps.call_list({x, c.arg(1), c.arg(2), c.arg(3), c.arg(4), c.arg(5), record})[0]};
        },
    .composite = true,
    .samples = {"x(2,3,6,5), 2", "x(3,6,5), (3,2), 2, 1", "x(1,2,7,7), 3, 2, 1, (2,1), True"},
});

}  // namespace rushlight::ops

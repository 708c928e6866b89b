// Convolutions in 1, 2 and 3 dimensions, forward and transposed. One op does both directions: the gradient of a convolution with
// respect to its input is the transposed convolution and the other way round, so second derivatives need nothing else than the
// gradient with respect to the weight. The work is done by conv_kernel.cpp.
#include "autograd/node.h"
#include "ops/conv.h"
#include "ops/create.h"
#include "ops/dense.h"
#include "ops/ops.h"
#include "ops/reduce.h"
#include "ops/view.h"

#include <vector>

namespace rushlight::ops {

namespace {

constexpr int64_t limit =
    int64_t(1) << 31;  // of strides, paddings and dilations: keeps size arithmetic in range

bool any(IntSpan v, bool (*f)(int64_t)) { return std::any_of(v.begin(), v.end(), f); }

std::string joined(const Dims& sizes) {
  std::string text;
  for (size_t i = 0; i < sizes.size(); ++i) text += (i ? " x " : "") + std::to_string(sizes[i]);
  return text;
}

void check_list(IntSpan list, size_t n, const char* name) {
  if (list.size() != n)
    throw runtime_error("expected ", name, " to be a single integer value or a list of ", n,
                        " values to match the convolution dimensions, but got ", name, "=", show(list));
  if (any(list, [](int64_t v) { return v >= limit || v <= -limit; }))
    throw runtime_error("convolution: ", name, " is out of range");
}

// arguments of convolution
enum { input, weight, bias, stride, padding, dilation, transposed, output_padding, groups };

void check_weight(const Call& c) {
  const Tensor &x = c.in(input), &w = c.in(weight);
  size_t n = w.ndim() - 2;
  int64_t g = c.i(groups);
  if (any(c.ints(padding), [](int64_t v) { return v < 0; }))
    throw runtime_error("negative padding is not supported");
  if (any(c.ints(output_padding), [](int64_t v) { return v < 0; }))
    throw runtime_error("negative output_padding is not supported");
  if (any(c.ints(stride), [](int64_t v) { return v <= 0; }))
    throw runtime_error("non-positive stride is not supported");
  if (any(c.ints(dilation), [](int64_t v) { return v <= 0; }))
    throw runtime_error("dilation should be greater than zero, but got ", show(c.ints(dilation)));
  if (g <= 0) throw runtime_error("non-positive groups is not supported");
  if (w.size(0) < g)
    throw runtime_error("Given groups=", g, ", expected weight to be at least ", g,
                        " at dimension 0, but got weight of size ", show(w.sizes()), " instead");
  if (w.size(0) % g)
    throw runtime_error("Given groups=", g, ", expected weight to be divisible by ", g,
                        " at dimension 0, but got weight of size [", show(w.sizes()), "] instead");
  bool back = c.b(transposed);
  int64_t channels = back ? w.size(0) : w.size(1) * g;
  if (x.size(1) != channels)
    throw runtime_error("Given ", back ? "transposed=" : "groups=", back ? 1 : g, ", weight of size ",
                        show(w.sizes()), ", expected input", show(x.sizes()), " to have ", channels,
                        " channels, but got ", x.size(1), " channels instead");
  if (c.has(bias)) {
    int64_t outputs = back ? w.size(1) * g : w.size(0);
    if (c.in(bias).ndim() != 1 || c.in(bias).size(0) != outputs)
      throw runtime_error("Given ", back ? "transposed=1, " : "", "weight of size ", show(w.sizes()),
                          ", expected bias to be 1-dimensional with ", outputs,
                          " elements, but got bias of size ", show(c.in(bias).sizes()), " instead");
  }
  if (any(w.sizes().subspan(2), [](int64_t v) { return v == 0; })) {
    IntSpan k = w.sizes().subspan(2);
    throw runtime_error("kernel size should be greater than zero, but got kernel_height: ",
                        n > 1 ? k[n - 2] : 1, " kernel_width: ", k[n - 1]);
  }
}

void check_dtypes(const Call& c) {
  Dtype x = c.in(input).dtype();
  if (!c.b(transposed) && c.has(bias) && c.in(bias).dtype() != x)
    throw runtime_error("Input type (", info(x).ctype_name, ") and bias type (",
                        info(c.in(bias).dtype()).ctype_name, ") should be the same");
  for (int k : {int(weight), int(bias)})
    if (c.has(k) && c.in(k).dtype() != x)
      throw runtime_error("expected scalar type ", info(x).scalar_name, " but found ",
                          info(c.in(k).dtype()).scalar_name);
  if (is_complex(x)) throw not_implemented("convolution of complex numbers is not implemented");
  if (x == Dtype::boolean) throw_unsupported("slow_conv2d_cpu", x);
}

Dims output_sizes(const Call& c) {
  const Tensor &x = c.in(input), &w = c.in(weight);
  size_t n = w.ndim() - 2;
  IntSpan s = c.ints(stride), p = c.ints(padding), d = c.ints(dilation), extra = c.ints(output_padding);
  Dims sizes{x.size(0), c.b(transposed) ? w.size(1) * c.i(groups) : w.size(0)}, kernel, padded;
  bool fits = true;
  for (size_t i = 0; i < n; ++i) {
    int64_t in = x.size(i + 2), k, reach;
    if (__builtin_mul_overflow(d[i], w.size(i + 2) - 1, &reach))
      throw runtime_error("convolution: dilation is out of range");
    k = reach + 1;
    if (c.b(transposed)) {
      if (__builtin_mul_overflow(in - 1, s[i], &reach))
        throw runtime_error("convolution: stride is out of range");
      sizes.push_back(reach - 2 * p[i] + k + extra[i]);
    } else {
      kernel.push_back(k);
      padded.push_back(in + 2 * p[i]);
      fits &= padded.back() >= k;
      sizes.push_back((padded.back() - k) / s[i] + 1);
    }
  }
  if (!fits)
    throw runtime_error("Calculated padded input size per channel: (", joined(padded), "). Kernel size: (",
                        joined(Dims(w.sizes().subspan(2))),
                        "). Kernel size can't be greater than actual input size");
  if (c.b(transposed)) {
    Dims in(x.sizes().subspan(2)), out(IntSpan(sizes).subspan(2));
    if (any(out, [](int64_t v) { return v < 0; }))
      throw runtime_error("Given input size per channel: (", joined(in),
                          "). Calculated output size per channel: (", joined(out),
                          "). Output size is too small");
  }
  return sizes;
}

ConvGeometry geometry(const Tensor& large, const Tensor& small, IntSpan kernel, IntSpan s, IntSpan p,
                      IntSpan d, int64_t g) {
  ConvGeometry geo;
  geo.n = large.size(0);
  geo.cin = large.size(1);
  geo.cout = small.size(1);
  geo.groups = g;
  size_t n = kernel.size();
  for (size_t i = 0; i < n; ++i) {
    size_t k = 3 - n + i;  // depth, height, width
    geo.in[k] = large.size(i + 2);
    geo.out[k] = small.size(i + 2);
    geo.kernel[k] = kernel[i];
    geo.stride[k] = s[i];
    geo.pad[k] = p[i];
    geo.dilation[k] = d[i];
  }
  return geo;
}

// Integers are computed in float64.
Dtype working_type(Dtype d) { return is_float(d) ? compute_type(d) : Dtype::f64; }

// t without what lies beyond `sizes` in the spatial dimensions.
Tensor trimmed(Tensor t, IntSpan sizes) {
  for (size_t d = 2; d < sizes.size(); ++d)
    if (t.size(d) > sizes[d]) t = slice.call({t, int64_t(d), 0, sizes[d]});
  return t;
}

// The extra rows that make the transposed convolution of `small` as large as `large`.
Dims missing(IntSpan large, IntSpan small, IntSpan kernel, IntSpan s, IntSpan p, IntSpan d) {
  Dims extra;
  for (size_t i = 0; i < kernel.size(); ++i)
    extra.push_back(large[i + 2] - ((small[i + 2] - 1) * s[i] - 2 * p[i] + d[i] * (kernel[i] - 1) + 1));
  return extra;
}

void check_lists(const Call& c, size_t n) {
  check_list(c.ints(stride), n, "stride");
  check_list(c.ints(padding), n, "padding");
  check_list(c.ints(dilation), n, "dilation");
  check_list(c.ints(output_padding), n, "output_padding");
}

void checked(Call& c) {
  int64_t n = c.in(weight).ndim();
  if (n < 3 || n > 5 || c.in(input).ndim() != n)
    throw runtime_error(
        "convolution: expected input and weight of 3 to 5 dimensions, as many in both, but got sizes ",
        show(c.in(input).sizes()), " and ", show(c.in(weight).sizes()));
  check_lists(c, n - 2);
  check_weight(c);
  output_sizes(c);
  check_dtypes(c);
}

void check_output_padding(const Call& c) {
  IntSpan s = c.ints(stride), d = c.ints(dilation), extra = c.ints(output_padding);
  size_t n = extra.size();
  if (!c.b(transposed) || s.size() != n || d.size() != n) return;
  for (size_t i = 0; i < n; ++i)
    if (extra[i] >= s[i] && extra[i] >= d[i] && s[i] > 0 && d[i] > 0) {
      auto height = [&](IntSpan v, int64_t fallback) { return n == 1 ? fallback : v[n - 2]; };
      throw runtime_error(
          "output padding must be smaller than either stride or dilation, but got output_padding_height: ",
          height(extra, 0), " output_padding_width: ", extra.back(), " stride_height: ", height(s, 1),
          " stride_width: ", s.back(), " dilation_height: ", height(d, 1), " dilation_width: ", d.back());
    }
}

extern const Op &convolve, &weight_gradient;

// The convolution of `large` (or, transposed, of `small`) without bias, as the gradient formulas use it.
Tensor plain(const Tensor& x, const Tensor& w, const Call& c, int first, bool back, const Dims& extra,
             int64_t g) {
  return convolve.call({x, w, nullptr, c.arg(first), c.arg(first + 1), c.arg(first + 2), back, extra, g});
}

const Op& convolve = def({
    .sig = "_convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] "
           "dilation, bool transposed, "
           "int[] output_padding, int groups) -> Tensor",
    .doc = "Convolution of a batch. Unlike `convolution` it takes any number of rows as output padding.",
    .forms = no_forms,
    .autocast = Autocast::lower,
    .rule =
        [](Call& c) {
          checked(c);
          c.out_meta(0, c.in(input).dtype(), output_sizes(c));
          keep_format(c, 0, channels_last(c.in(input)) ? c.in(input) : c.in(weight));
        },
    .cpu =
        [](Call& c) {
          Dtype d = working_type(c.out().dtype());
          Tensor x = dense(c.in(input), d), w = dense(c.in(weight), d),
                 b = c.has(bias) ? dense(c.in(bias), d) : Tensor();
          Result y(c.out(), d);
          bool back = c.b(transposed);
          ConvGeometry geo = geometry(back ? y.work() : x, back ? x : y.work(), w.sizes().subspan(2),
                                      c.ints(stride), c.ints(padding), c.ints(dilation), c.i(groups));
          if (back) conv_backward_data(geo, x, w, b, y.work());
          else conv_forward(geo, x, w, b, y.work());
          y.store();
        },
    .saves = {.for0 = In1, .for1 = In0},
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads grads(3);
          bool back = c.b(transposed);
          int64_t n = c.i(groups);
          IntSpan kernel = c.in_sizes(1).subspan(2), s = c.ints(stride), p = c.ints(padding),
                  d = c.ints(dilation);
          if (c.wants(0)) {
            Dims extra = back ? Dims(kernel.size()) : missing(c.in_sizes(0), g.sizes(), kernel, s, p, d);
            grads[0] = trimmed(plain(g, c.in(1), c, stride, !back, extra, n), c.in_sizes(0));
          }
          if (c.wants(1))
            grads[1] = weight_gradient(back ? g : c.in(0), back ? c.in(0) : g, kernel, s, p, d, n);
          if (c.wants(2)) {
            Dims dims{0};
            for (int64_t k = 2; k < g.ndim(); ++k) dims.push_back(k);
            grads[2] = find_op("sum", "dim").call({g, dims});
          }
          return grads;
        },
    .grad_name = "ConvolutionBackward0",
});

const Op& weight_gradient = def({
    .sig = "_convolution_weight(Tensor large, Tensor small, int[] kernel_size, int[] stride, int[] padding, "
           "int[] dilation, int "
           "groups) -> Tensor",
    .doc = "Gradient of the convolution from large to small with respect to its weight.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          const Tensor &large = c.in(0), &small = c.in(1);
          IntSpan kernel = c.ints(2), s = c.ints(3), p = c.ints(4), d = c.ints(5);
          size_t n = kernel.size();
          int64_t groups = c.i(6);
          expect(n >= 1 && n <= 3 && large.ndim() == int64_t(n) + 2 && small.ndim() == large.ndim(), c);
          for (IntSpan list : {kernel, s, p, d}) check_list(list, n, "argument");
          expect(
              large.dtype() == small.dtype() && large.dtype() != Dtype::boolean && !is_complex(large.dtype()),
              c);
          expect(groups > 0 && large.size(1) % groups == 0 && small.size(1) % groups == 0, c);
          expect(large.size(0) == small.size(0), c);
          for (size_t i = 0; i < n; ++i) {
            expect(kernel[i] > 0 && s[i] > 0 && p[i] >= 0 && d[i] > 0, c);
            int64_t room = large.size(i + 2) + 2 * p[i] - d[i] * (kernel[i] - 1) - 1;
            expect(small.size(i + 2) <= (room < 0 ? 0 : room / s[i] + 1), c);
          }
          Dims sizes{c.in(1).size(1), c.in(0).size(1) / c.i(6)};
          for (auto k : c.ints(2)) sizes.push_back(k);
          c.out_meta(0, c.in(0).dtype(), std::move(sizes));
        },
    .cpu =
        [](Call& c) {
          Dtype d = working_type(c.out().dtype());
          Tensor large = dense(c.in(0), d), small = dense(c.in(1), d);
          Result gw(c.out(), d);
          conv_backward_weight(geometry(large, small, c.ints(2), c.ints(3), c.ints(4), c.ints(5), c.i(6)),
                               large, small, gw.work());
          gw.store();
        },
    .saves = {.for0 = In1, .for1 = In0},
    .grad =
        [](const Call& c, const Tensor& gg) {
          Grads grads(2);
          IntSpan kernel = c.ints(2);
          if (c.wants(0)) {
            Dims extra = missing(c.in_sizes(0), c.in_sizes(1), kernel, c.ints(3), c.ints(4), c.ints(5));
            grads[0] = plain(c.in(1), gg, c, 3, true, extra, c.i(6));
          }
          if (c.wants(1))
            grads[1] = trimmed(plain(c.in(0), gg, c, 3, false, Dims(kernel.size()), c.i(6)), c.in_sizes(1));
          return grads;
        },
    .grad_name = "ConvolutionBackwardBackward0",
});

Dims repeated(IntSpan list, size_t n) { return list.size() == 1 ? Dims(n, list[0]) : Dims(list); }

// A convolution of complex numbers as four real ones.
void convolve_parts(Call& c, size_t n) {
  auto part = [&](const Op& of_input, const Op& of_weight) {
    Tensor x = of_input.call({c.in(0)}), w = of_weight.call({c.in(1)});
    std::vector<Value> args(c.args.begin(), c.args.end());
    args[0] = x, args[1] = w, args[2] = Value();
    Call real_call(c.op, args);
    run(real_call);
    return real_call.outs[0];
  };
  Tensor re = sub(part(real, real), part(imag, imag)), im = add(part(real, imag), part(imag, real));
  Tensor out = find_op("complex").call({re, im});
  if (c.has(2)) {
    Tensor bias = c.in(2);
    for (size_t d = 0; d < n; ++d) bias = unsqueeze.call({bias, -1});
    out = add(out, bias);
  }
  c.outs = TensorList{out};
}

// conv1d, ...: batched and unbatched input, single integers for all dimensions. `at` is where each list stands among c's
// arguments; -1: the direction has none.
void convolve_any(Call& c, size_t n, bool back, int groups_at, int dilation_at, int extra_at) {
  if (is_complex(c.in(0).dtype()) && is_complex(c.in(1).dtype())) return convolve_parts(c, n);
  const Tensor& x = c.in(0);
  if (x.ndim() != int64_t(n) + 1 && x.ndim() != int64_t(n) + 2)
    throw runtime_error("Expected ", n + 1, "D (unbatched) or ", n + 2, "D (batched) input to ", c.op.name,
                        ", but got input of size: ", show(x.sizes()));
  size_t kernels = std::max<int64_t>(c.in(1).ndim() - 2, 0);
  Dims s = repeated(c.ints(3), n), p = repeated(c.ints(4), n), d = repeated(c.ints(dilation_at), n);
  Dims extra = extra_at < 0 ? Dims(n) : repeated(c.ints(extra_at), n);
  check_list(s, kernels, "stride");
  bool batched = x.ndim() == int64_t(n) + 2;
  Tensor batch = batched ? x : unsqueeze.call({x, 0});
  Value args[] = {batch, c.arg(1), c.arg(2), s, p, d, back, extra, c.arg(groups_at)};
  Call whole(convolve, args);
  check_output_padding(whole);
  run(whole);
  c.outs = TensorList{batched ? whole.outs[0] : find_op("squeeze", "dim").call({whole.outs[0], Dims{0}})};
}

}  // namespace

const Op& convolution = def({
    .sig = "convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] "
           "dilation, bool transposed, "
           "int[] output_padding, int groups) -> Tensor",
    .doc =
        "Convolution or transposed convolution of a batch, in as many dimensions as weight has beyond two.",
    .forms = Forms::function,
    .autocast = Autocast::lower,
    .cpu =
        [](Call& c) {
          size_t n = std::max<int64_t>(c.in(weight).ndim() - 2, 0);
          if (is_complex(c.in(input).dtype()) && is_complex(c.in(weight).dtype()))
            return convolve_parts(c, n);
          Dims s = repeated(c.ints(stride), n), p = repeated(c.ints(padding), n),
               d = repeated(c.ints(dilation), n), extra = repeated(c.ints(output_padding), n);
          Value args[] = {c.arg(0), c.arg(1), c.arg(2), s, p, d, c.arg(transposed), extra, c.arg(groups)};
          Call whole(convolve, args);
          check_output_padding(whole);
          run(whole);
          c.outs = std::move(whole.outs);
        },
    .composite = true,
    .samples = {"x(1,2,5,4), x(3,2,3,2), None, 1, 0, 1, False, 0, 1"},
});

#define RL_CONV(N, NAME, SAMPLE...) \
  const Op& NAME = \
      def({ \
          .sig = #NAME "(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, int[] padding=0, " \
                       "int[] dilation=1, int " \
                       "groups=1) -> Tensor", \
          .doc = "Cross-correlation of input (batch, channels, " #N \
                 " dimensions) with weight (outputs, channels / groups, ...).", \
          .forms = Forms::function, \
          .autocast = Autocast::lower, \
          .cpu = [](Call& c) { convolve_any(c, N, false, 6, 5, -1); }, \
          .composite = true, \
          .samples = {SAMPLE}, \
      });
#define RL_CONV_TRANSPOSE(N, NAME, SAMPLE...) \
  const Op& NAME = \
      def({ \
          .sig = #NAME "(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, int[] padding=0, " \
                       "int[] output_padding=0, " \
                       "int groups=1, int[] dilation=1) -> Tensor", \
          .doc = "The transpose of the cross-correlation in " #N \
                 " dimensions; weight is (channels, outputs / groups, ...).", \
          .forms = Forms::function, \
          .autocast = Autocast::lower, \
          .cpu = [](Call& c) { convolve_any(c, N, true, 6, 7, 5); }, \
          .composite = true, \
          .samples = {SAMPLE}, \
      });
RL_CONV(1, conv1d, "x(2,3,8), x(4,3,3), x(4)", "x(2,4,8), x(4,2,3), None, 2, 1, 2, 2", "x(3,8), x(4,3,3)")
RL_CONV(2, conv2d, "x(2,3,5,6), x(4,3,3,2), x(4)", "x(1,4,6,5), x(4,2,3,3), None, (2,1), (1,2), (1,2), 2",
        "x(3,5,5), x(2,3,1,1)")
RL_CONV(3, conv3d, "x(1,2,4,4,5), x(3,2,2,3,2), x(3)", "x(1,2,4,3,3), x(2,1,2,2,2), None, 2, 1, 1, 2")
RL_CONV_TRANSPOSE(1, conv_transpose1d, "x(2,3,5), x(3,4,3), x(4)", "x(1,4,5), x(4,2,3), None, 2, 1, 1, 2")
RL_CONV_TRANSPOSE(2, conv_transpose2d, "x(2,3,4,3), x(3,2,3,2), x(2)",
                  "x(1,4,3,4), x(4,1,3,3), None, (2,1), 1, (1,0), 2")
RL_CONV_TRANSPOSE(3, conv_transpose3d, "x(1,2,3,3,2), x(2,2,2,2,3), x(2)",
                  "x(1,2,2,3,2), x(2,1,2,2,2), None, 2, 1, 1, 2")
#undef RL_CONV
#undef RL_CONV_TRANSPOSE

}  // namespace rushlight::ops

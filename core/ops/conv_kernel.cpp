// Convolutions on tensors by the two-dimensional kernels. Three dimensions become two: the slices that one output slice reads are
// gathered as further channels, (n, cin, D, h, w) to (n * OD, cin * KD, h, w), which fits the weight's memory as it is.
#include "kernels/cpu/conv.h"
#include "kernels/parallel.h"
#include "ops/conv.h"
#include "ops/dense.h"

#include <algorithm>
#include <cstring>

namespace rushlight::ops {

namespace {

bool flat(const ConvGeometry& g) {
  return g.in[0] == 1 && g.out[0] == 1 && g.kernel[0] == 1 && g.pad[0] == 0;
}

cpu::Conv2dShape plane(const ConvGeometry& g, int64_t n, int64_t cin) {
  return {n,           cin,         g.in[1],  g.in[2],  g.cout,        g.kernel[1],   g.kernel[2],
          g.stride[1], g.stride[2], g.pad[1], g.pad[2], g.dilation[1], g.dilation[2], g.groups,
          g.out[1],    g.out[2]};
}

// f(slice of the gathered tensor, slice of x or -1 where it lies in the padding), for all (n, OD, cin, KD)
template <class F> void each_slice(const ConvGeometry& g, F&& f) {
  int64_t at = 0;
  for (int64_t n = 0; n < g.n; ++n)
    for (int64_t od = 0; od < g.out[0]; ++od)
      for (int64_t c = 0; c < g.cin; ++c)
        for (int64_t k = 0; k < g.kernel[0]; ++k, ++at) {
          int64_t d = od * g.stride[0] - g.pad[0] + k * g.dilation[0];
          f(at, d >= 0 && d < g.in[0] ? (n * g.cin + c) * g.in[0] + d : -1);
        }
}
template <class T> Tensor gathered(const ConvGeometry& g, const Tensor& x) {
  int64_t size = g.in[1] * g.in[2];
  Tensor wide = empty(Dims{g.n * g.out[0], g.cin * g.kernel[0], g.in[1], g.in[2]}, x.dtype());
  each_slice(g, [&](int64_t to, int64_t from) {
    T* slice = wide.data<T>() + to * size;
    if (from < 0) std::fill_n(slice, size, T(0));
    else std::copy_n(x.data<T>() + from * size, size, slice);
  });
  return wide;
}
template <class T> void scattered(const ConvGeometry& g, const Tensor& wide, const Tensor& gx) {
  int64_t size = g.in[1] * g.in[2];
  std::fill_n(gx.data<T>(), gx.numel(), T(0));
  each_slice(g, [&](int64_t from, int64_t to) {
    if (to < 0) return;
    const T* slice = wide.data<T>() + from * size;
    T* target = gx.data<T>() + to * size;
    for (int64_t i = 0; i < size; ++i) target[i] += slice[i];
  });
}

// (n, cout, OD, h, w) seen as (n, OD, cout, h * w)
Tensor slices_first(const ConvGeometry& g, const Tensor& y) {
  int64_t size = g.out[1] * g.out[2];
  return alias(y, Dims{g.n, g.out[0], g.cout, size}, Dims{g.cout * g.out[0] * size, size, g.out[0] * size, 1},
               y.offset());
}
Tensor by_slices(const ConvGeometry& g, const Tensor& y) { return dense(slices_first(g, y)); }

template <class T> void add_bias(const Tensor& y, const Tensor& bias) {
  int64_t channels = y.size(1), size = channels && y.size(0) ? y.numel() / (channels * y.size(0)) : 0;
  for (int64_t k = 0; k < y.size(0) * channels; ++k) {
    T b = bias.data<T>()[k % channels];
    T* to = y.data<T>() + k * size;
    for (int64_t i = 0; i < size; ++i) to[i] += b;
  }
}

}  // namespace

void conv_forward(const ConvGeometry& g, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const Tensor& y) {
  visit_float(x.dtype(), [&]<class T>() {
    const T* b = bias ? bias.data<T>() : nullptr;
    if (flat(g))
      return cpu::conv2d_forward<T>(plane(g, g.n, g.cin), x.data<T>(), weight.data<T>(), b, y.data<T>());
    Tensor wide = gathered<T>(g, x), out = empty(slices_first(g, y).sizes(), y.dtype());
    cpu::conv2d_forward<T>(plane(g, g.n * g.out[0], g.cin * g.kernel[0]), wide.data<T>(), weight.data<T>(), b,
                           out.data<T>());
    rushlight::copy(slices_first(g, y), out);
  });
}

void conv_backward_data(const ConvGeometry& g, const Tensor& gy, const Tensor& weight, const Tensor& bias,
                        const Tensor& gx) {
  visit_float(gy.dtype(), [&]<class T>() {
    if (flat(g)) {
      cpu::conv2d_backward_data<T>(plane(g, g.n, g.cin), gy.data<T>(), weight.data<T>(), gx.data<T>());
    } else {
      Tensor from = by_slices(g, gy),
             wide = empty(Dims{g.n * g.out[0], g.cin * g.kernel[0], g.in[1], g.in[2]}, gy.dtype());
      cpu::conv2d_backward_data<T>(plane(g, g.n * g.out[0], g.cin * g.kernel[0]), from.data<T>(),
                                   weight.data<T>(), wide.data<T>());
      scattered<T>(g, wide, gx);
    }
    if (bias) add_bias<T>(gx, bias);
  });
}

void conv_backward_weight(const ConvGeometry& g, const Tensor& x, const Tensor& gy, const Tensor& gw) {
  visit_float(x.dtype(), [&]<class T>() {
    if (flat(g))
      return cpu::conv2d_backward_weight<T>(plane(g, g.n, g.cin), x.data<T>(), gy.data<T>(), gw.data<T>());
    Tensor wide = gathered<T>(g, x), from = by_slices(g, gy);
    cpu::conv2d_backward_weight<T>(plane(g, g.n * g.out[0], g.cin * g.kernel[0]), wide.data<T>(),
                                   from.data<T>(), gw.data<T>());
  });
}

}  // namespace rushlight::ops

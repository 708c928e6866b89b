// A convolution's geometry, and the kernels on contiguous float or double tensors.
#pragma once
#include "op/op.h"

namespace rushlight::ops {

// From the large side (n, cin, in...) to the small side (n, cout, out...). Depth, height, width; missing ones are 1.
struct ConvGeometry {
  int64_t n, cin, cout, groups;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, kernel[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1}, pad[3] = {0, 0, 0}, dilation[3] = {1, 1, 1};
};

// bias may be an empty handle. Outputs are overwritten.
void conv_forward(const ConvGeometry& g, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const Tensor& y);
void conv_backward_data(const ConvGeometry& g, const Tensor& gy, const Tensor& weight, const Tensor& bias,
                        const Tensor& gx);
void conv_backward_weight(const ConvGeometry& g, const Tensor& x, const Tensor& gy, const Tensor& gw);

}  // namespace rushlight::ops

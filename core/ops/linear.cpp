// The affine map of the last dimension that neural networks are made of.
#include "ops/dense.h"
#include "ops/matmul.h"
#include "ops/ops.h"
#include "ops/view.h"

namespace rushlight::ops {

const Op& linear = def({
    .sig = "linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
    .doc = "input @ weight.T + bias, over the last dimension of input.",
    .forms = Forms::function,
    .autocast = Autocast::lower,
    .cpu =
        [](Call& c) {
          const Tensor &x = c.in(0), &weight = c.in(1);
          int64_t n = x.ndim();
          if (n == 0 || weight.ndim() == 0)
            throw runtime_error("both arguments to linear need to be at least 1D, but they are ", n, "D and ",
                                weight.ndim(), "D");
          static const Op& t = find_op("t");
          Tensor transposed = t(weight);
          if (!c.has(2)) {
            c.outs = TensorList{matmul(x, transposed)};
          } else if (n == 2) {
            c.outs = TensorList{addmm(c.in(2), x, transposed)};
          } else {
            Tensor rows = reshape(x, Dims{count(x.sizes().first(n - 1)), x.size(-1)});
            Tensor product = addmm(c.in(2), rows, transposed);
            Dims sizes(x.sizes());
            sizes[n - 1] = product.size(1);
            c.outs = TensorList{reshape(product, sizes)};
          }
        },
    .composite = true,
    .ref = "input @ weight.T + (0 if bias is None else bias)",
    .samples = {"x(2,3), y(4,3)", "x(2,3), y(4,3), x(4)", "x(2,2,3), y(4,3), x(4)", "x(3), y(4,3), x(4)",
                "x(0,3), y(4,3), x(4)"},
    .modules = "nn",
});

}  // namespace rushlight::ops

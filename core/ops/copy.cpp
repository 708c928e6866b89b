// Copies of values: clone, conversion between dtypes, writes into an existing tensor.
#include "kernels/copy.h"

#include "op/warn.h"
#include "ops/create.h"
#include "ops/ops.h"

namespace rushlight::ops {

const Op& clone = def({
    .sig = "clone(Tensor input, *, any memory_format=None) -> Tensor",
    .doc = "A copy with its own memory. Dense inputs keep their strides; memory_format asks for row order or "
           "for channels last.",
    .rule =
        [](Call& c) {
          rule::same(c);
          const Format f = format_of(c.arg(1));
          if (f == Format::preserve) return;
          const Tensor& t = c.in(0);
          c.out_meta(0, t.dtype(), Dims(t.sizes()));
          c.meta0.strided = format_strides(f, t.sizes(), c.meta0.strides);
        },
    .cpu = [](Call& c) { rushlight::copy(c.out(), c.in(0)); },
    .grad = [](const Call&, const Tensor& g) { return Grads{g}; },
    .ref = "input.copy()",
    .samples = {"x(2,3)"},
});

const Op& to_dtype = def({
    .sig = "to_dtype(Tensor input, dtype dtype) -> Tensor",
    .doc = "A copy with another dtype, with the strides of a dense input.",
    .rule =
        [](Call& c) {
          rule::same(c);
          c.meta0.dtype = c.arg(1).dt;
          warn_if_imaginary_is_lost(c.in(0).dtype(), c.arg(1).dt);
        },
    .cpu = [](Call& c) { rushlight::copy(c.out(), c.in(0)); },
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{g.dtype() == c.in_dtype(0) ? g : to_dtype(g, c.in_dtype(0))};
        },
    .grad_name = "ToCopyBackward0",
    .ref = "input.astype(dtype)",
    .samples = {"x(2,3), dtype=float64", "x(2,3), dtype=int64"},
});

const Op& copy_ = def({
    .sig = "copy_(Tensor! input, Tensor src, bool non_blocking=False) -> Tensor",
    .doc = "Writes src into input, broadcast and converted to its dtype.",
    .rule =
        [](Call& c) {
          Dims sizes = rushlight::broadcast(c.in(0).sizes(), c.in(1).sizes());
          warn_if_imaginary_is_lost(c.in(1).dtype(), c.in(0).dtype());
          c.out_meta(0, c.in(0).dtype(), std::move(sizes));
        },
    .cpu = [](Call& c) { rushlight::copy(c.out(), c.in(1)); },
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? fresh_zeros(g) : Tensor(), c.wants(1) ? g : Tensor()};
        },
    .grad_name = "CopyBackwards",
    .ref = "np.broadcast_to(src, input.shape)",
    .samples = {"x(2,3), y(2,3)", "x(2,3), y(3)"},
});

const Op& fill_tensor = def({
    .sig = "fill_.Tensor(Tensor! input, Tensor value) -> Tensor",
    .doc = "Sets every element to the value of a 0-d tensor.",
    .rule =
        [](Call& c) {
          if (c.in(1).ndim())
            throw runtime_error("fill_ only supports 0-dimension value tensor but got tensor with ",
                                c.in(1).ndim(), " dimensions.");
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
        },
    .cpu = [](Call& c) { rushlight::copy(c.out(), c.in(1)); },
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? fresh_zeros(g) : Tensor(), c.wants(1) ? g : Tensor()};
        },
    .grad_name = "FillBackward3",
    .ref = "np.full_like(input, value)",
    .samples = {"x(2,3), y()"},
});

const Op& fill_ = def({
    .sig = "fill_.Scalar(Tensor! input, Scalar value) -> Tensor",
    .doc = "Sets every element to value.",
    .rule =
        [](Call& c) {
          if (c.arg(1).tag == Value::complex && c.arg(1).z[1] != 0 && !is_complex(c.in(0).dtype()))
            throw runtime_error("value cannot be converted to type ", info(c.in(0).dtype()).ctype_name,
                                " without overflow");
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
        },
    .cpu = [](Call& c) { rushlight::fill(c.out(), c.arg(1)); },
    .grad = [](const Call&, const Tensor& g) { return Grads{fresh_zeros(g)}; },
    .grad_name = "FillBackward2",
    .ref = "np.full_like(input, value)",
    .samples = {"x(2,3), 1.5"},
});

const Op& zero_ = def({
    .sig = "zero_(Tensor! input) -> Tensor",
    .doc = "Sets every element to zero.",
    .rule = [](Call& c) { c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes())); },
    .cpu = [](Call& c) { rushlight::fill(c.out(), Value(0)); },
    .grad = [](const Call&, const Tensor& g) { return Grads{fresh_zeros(g)}; },
    .grad_name = "ZeroBackward0",
    .ref = "np.zeros_like(input)",
    .samples = {"x(2,3)"},
});

}  // namespace rushlight::ops

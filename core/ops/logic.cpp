// Logical operators and selection by masks.
#include "kernels/copy.h"
#include "kernels/map.h"
#include "ops/ops.h"

namespace rushlight::ops {

const Op& logical_and = def({
    .sig = "logical_and(Tensor input, Operand other) -> Tensor",
    .doc = "True where both elements are nonzero.",
    .family = pointwise,
    .rule = rule::compare,
    .cpu = map<All>([]<class T>(T a, T b) -> bool { return (a != T(0)) & (b != T(0)); }),
    .ref = "np.logical_and(input, other)",
    .samples = {"ties(2,3), ties(2,3)", "mask(3,1), mask(1,4)"},
});

const Op& logical_or = def({
    .sig = "logical_or(Tensor input, Operand other) -> Tensor",
    .doc = "True where at least one of the elements is nonzero.",
    .family = pointwise,
    .rule = rule::compare,
    .cpu = map<All>([]<class T>(T a, T b) -> bool { return (a != T(0)) | (b != T(0)); }),
    .ref = "np.logical_or(input, other)",
    .samples = {"ties(2,3), ties(2,3)", "mask(3,1), mask(1,4)"},
});

const Op& logical_xor = def({
    .sig = "logical_xor(Tensor input, Operand other) -> Tensor",
    .doc = "True where exactly one of the elements is nonzero.",
    .family = pointwise,
    .rule = rule::compare,
    .cpu = map<All>([]<class T>(T a, T b) -> bool { return (a != T(0)) ^ (b != T(0)); }),
    .ref = "np.logical_xor(input, other)",
    .samples = {"ties(2,3), ties(2,3)", "mask(3,1), mask(1,4)"},
});

const Op& logical_not = def({
    .sig = "logical_not(Tensor input) -> Tensor",
    .doc = "True where the element is zero.",
    .family = pointwise,
    .rule = rule::to_bool,
    .cpu = map<All>([]<class T>(T x) -> bool { return x == T(0); }),
    .ref = "np.logical_not(input)",
    .samples = {"ties(2,3)", "mask(2,3)"},
});

// ---- selection ----
namespace {

constexpr auto choose = []<class T>(bool m, T a, T b) -> T {
  // complex numbers as bits or parts, which vectorise
  if constexpr (std::same_as<T, c64>)
    return std::bit_cast<c64>(m ? std::bit_cast<uint64_t>(a) : std::bit_cast<uint64_t>(b));
  else if constexpr (std::same_as<T, c128>) return {m ? a.real() : b.real(), m ? a.imag() : b.imag()};
  else return m ? a : b;
};

void where_rule(Call& c) {
  Dtype mask = c.in(0).dtype();
  if (mask != Dtype::boolean && mask != Dtype::u8)
    throw runtime_error("where expected condition to be a boolean tensor, but got a tensor with dtype ",
                        info(mask).scalar_name);
  if (mask == Dtype::u8 &&
      PyErr_WarnEx(PyExc_UserWarning,
                   "where received a uint8 condition tensor. This behavior is "
                   "deprecated and will be removed in a future version of PyTorch. Use a boolean "
                   "condition instead.",
                   1) < 0)
    throw PythonError();
  Value operands[] = {c.arg(1), c.arg(2)};
  if (operands[0].tag == Value::tensor && operands[1].tag == Value::tensor) {
    const Tensor &m = c.in(0), &a = c.in(1), &b = c.in(2);
    if (a.contiguous() && !a->wrapped_number && a->kind() == b->kind() && same(a.sizes(), b.sizes()) &&
        m.contiguous() && m.device() == a.device() && same(m.sizes(), a.sizes())) {
      c.alike = &a;
      c.compute = c.meta0.dtype = a.dtype();
      c.meta0.device = a.device();
      return;
    }
  }
  c.compute = result_type(operands);
  Dims sizes(c.in(0).sizes());
  for (auto& v : operands)
    if (v.tag == Value::tensor) sizes = rushlight::broadcast(sizes, v.as_tensor().sizes());
  c.out_meta(0, c.compute, std::move(sizes));
  pointwise_layout(c, c.meta0);
}

}  // namespace

const Op& where = def({
    .sig = "where(Tensor condition, Operand input, Operand other) -> Tensor",
    .doc = R"(input where condition is true, other elsewhere, all broadcast together.

        >>> rl.where(rl.tensor([True, False]), rl.tensor([1., 2.]), 0.)
        tensor([1., 0.]))",
    .family = pointwise,
    .forms = function | out_form,
    .rule = where_rule,
    .cpu = map_mask<AllAndFloat8>(choose),
    .saves = save(In0),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{Tensor(), c.wants(1) ? where(c.in(0), g, 0) : Tensor(),
                       c.wants(2) ? where(c.in(0), 0, g) : Tensor()};
        },
    .ref = "np.where(condition, input, other)",
    .samples = {"mask(2,3), x(2,3), y(2,3)", "mask(2,1), x(1,4), 1.5", "mask(2,3), 0, x(3)",
                "mask(2,3), 1.0, 2.0"},
});

namespace {

void masked_fill_rule(Call& c) {
  const Tensor &x = c.in(0), &mask = c.in(1);
  if (mask.dtype() != Dtype::boolean) {
    const char* given = info(mask.dtype()).ctype_name;
    throw runtime_error(c.in_place ? "masked_fill_" : "masked_fill",
                        " only supports boolean masks, but got mask with dtype ", given);
  }
  const Value& v = c.arg(2);
  if (v.tag == Value::complex && v.z[1] != 0 && !is_complex(x.dtype()))
    throw runtime_error("value cannot be converted to type ", info(x.dtype()).ctype_name,
                        " without overflow");
  if (v.tag == Value::tensor && v.as_tensor().ndim())
    throw runtime_error("masked_fill_ only supports a 0-dimensional value tensor, but got tensor with ",
                        v.as_tensor().ndim(), " dimension(s).");
  c.compute = x.dtype();
  c.out_meta(0, c.compute, rushlight::broadcast(mask.sizes(), x.sizes()));
}
void masked_fill_kernel(Call& c) {
  run_map(c, static_mask_table<All>(choose), {c.arg(1), c.arg(2), c.arg(0)});
}

}  // namespace

const Op& masked_fill_tensor = def({
    .sig = "masked_fill.Tensor(Tensor input, Tensor mask, Tensor value) -> Tensor",
    .doc = "input with the value of a 0-d tensor where mask is true.",
    .family = pointwise,
    .forms = function | method | inplace,
    .rule = masked_fill_rule,
    .kernel_name = "masked_fill",
    .cpu = masked_fill_kernel,
    .saves = save(In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{c.wants(0) ? masked_fill(g, c.in(1), 0) : Tensor(), Tensor(),
                       c.wants(2) ? where(c.in(1), g, 0) : Tensor()};
        },
    .grad_name = "MaskedFillBackward1",
    .ref = "np.where(mask, value, input)",
    .samples = {"x(2,3), mask(2,3), y()"},
});

const Op& masked_fill = def({
    .sig = "masked_fill.Scalar(Tensor input, Tensor mask, Scalar value) -> Tensor",
    .doc = "input with value where mask is true.",
    .family = pointwise,
    .forms = function | method | inplace,
    .rule = masked_fill_rule,
    .kernel_name = "masked_fill",
    .cpu = masked_fill_kernel,
    .saves = save(In1),
    .grad = [](const Call& c, const Tensor& g) { return Grads{masked_fill(g, c.in(1), 0), Tensor()}; },
    .ref = "np.where(mask, value, input)",
    .samples = {"x(2,3), mask(2,3), 1.5", "x(2,3), mask(3), 0"},
});

}  // namespace rushlight::ops

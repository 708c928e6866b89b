// Sums and their relatives: sum, mean, prod, any, all, var, std, logsumexp, norms of elements, counts.
#include "ops/reduce.h"

#include <cmath>

#include "kernels/cpu/softmax.h"
#include "kernels/mathfn.h"
#include "kernels/reduce.h"
#include "op/warn.h"
#include "ops/ops.h"
#include "autograd/node.h"
#include "ops/view.h"

namespace rushlight::ops {

Dims reduced_dims(const Value& dims, int64_t ndim) {
  Dims out;
  IntSpan given = dims.tag == Value::ints ? dims.as_ints() : IntSpan();
  int64_t one;
  if (dims.tag == Value::integer) one = dims.i, given = IntSpan(&one, 1);
  if (given.empty()) {
    for (int64_t d = 0; d < ndim; ++d) out.push_back(d);
    return out;
  }
  for (auto d : given) {
    int64_t w = wrap_dim(d, ndim);
    if (std::find(out.begin(), out.end(), w) != out.end())
      throw runtime_error("dim ", w, " appears multiple times in the list of dims");
    out.push_back(w);
  }
  if (ndim == 0) out.clear();
  return out;
}

Dims reduced_sizes(IntSpan sizes, const Dims& dims, bool keepdim) {
  Dims out;
  for (int64_t d = 0; d < int64_t(sizes.size()); ++d) {
    if (std::find(dims.begin(), dims.end(), d) == dims.end()) out.push_back(sizes[d]);
    else if (keepdim) out.push_back(1);
  }
  return out;
}

Tensor restore_dims(const Tensor& x, IntSpan sizes, const Dims& dims, bool keepdim) {
  if (keepdim || sizes.empty()) return x;
  return reshape(x, reduced_sizes(sizes, dims, true));
}
Tensor expand_back(const Tensor& g, IntSpan sizes, const Dims& dims, bool keepdim) {
  return expand.call({restore_dims(g, sizes, dims, keepdim), sizes});
}

namespace {

template <class T> struct wide_of {
  using type = int64_t;
};
template <> struct wide_of<float> {
  using type = float;
};
template <> struct wide_of<double> {
  using type = double;
};
template <> struct wide_of<half> {
  using type = float;
};
template <> struct wide_of<bfloat16> {
  using type = float;
};
template <> struct wide_of<c64> {
  using type = c64;
};
template <> struct wide_of<c128> {
  using type = c128;
};
template <class T> struct real_of_t {
  using type = T;
};
template <class T> struct real_of_t<std::complex<T>> {
  using type = T;
};
template <class T> using real_t = typename real_of_t<T>::type;
template <class T> using Wide = typename wide_of<T>::type;  // what sums of T are held in

template <class T> struct Sum {
  using Acc = Wide<T>;
  RL_INLINE Acc identity() const { return Acc(0); }
  RL_INLINE Acc lift(T x) const { return Acc(x); }
  RL_INLINE Acc combine(Acc a, Acc b) const {
    if constexpr (std::is_integral_v<Acc>) return Acc(uint64_t(a) + uint64_t(b));  // wraps
    else return a + b;
  }
};
template <class T> struct NanSum : Sum<T> {
  using Acc = Wide<T>;
  RL_INLINE Acc lift(T x) const {
    if constexpr (std::is_floating_point_v<Acc>) return Acc(x) == Acc(x) ? Acc(x) : Acc(0);
    else return Acc(x);
  }
};
template <class T> struct Product {
  // float in double: partial products neither overflow nor become subnormal, which is slow
  using Acc = std::conditional_t<std::is_same_v<T, float>, double, Wide<T>>;
  RL_INLINE Acc identity() const { return Acc(1); }
  RL_INLINE Acc lift(T x) const { return Acc(x); }
  RL_INLINE Acc combine(Acc a, Acc b) const {
    if constexpr (std::is_integral_v<Acc>) return Acc(uint64_t(a) * uint64_t(b));  // wraps
    else return a * b;
  }
};
template <class T, bool All> struct Truth {
  using Acc = uint8_t;
  RL_INLINE Acc identity() const { return All; }
  RL_INLINE Acc lift(T x) const { return x; }
  RL_INLINE Acc combine(Acc a, Acc b) const { return All ? a & b : a | b; }
};

// The dtypes for which a reduction is compiled; input of any other is converted first.
template <class... T> struct Compiled {};
using SumTypes = Compiled<bool, int32_t, int64_t, bfloat16, float, double, c64, c128>;
using ProductTypes = Compiled<int64_t, float, double, c64, c128>;
using FloatTypes = Compiled<float, double>;
using BoolTypes = Compiled<bool>;
template <class F, class... T> bool visit_compiled(Compiled<T...>, Dtype d, F&& f) {
  return ((d == dtype_of<T> ? (f.template operator()<T>(), true) : false) || ...);
}

Tensor converted(const Tensor& t, Dtype d) {
  Tensor out = empty_like(t, d);
  copy(out, t);
  return out;
}

// Reduces c.in(0), converted to the dtype `as` first, with R<T>; divides by `divisor` where that is not one.
template <template <class> class R, class List> void run_reduction(Call& c, const Dims& dims, Dtype as,
                                                                   double divisor = 1) {
  Tensor in = c.in(0);
  if (in.dtype() != as) in = converted(in, as);
  auto compute = [&]<class T>() {
    ReducePlan p = plan_reduction(in, dims, false);
    using Acc = typename R<T>::Acc;
    Dtype held = dtype_of<Acc>, wanted = c.out().dtype();
    bool direct = held == wanted || (held == Dtype::u8 && wanted == Dtype::boolean);
    std::unique_ptr<Acc[]> buffer(direct ? nullptr : new Acc[p.kept]);
    Acc* out = direct ? c.out().data<Acc>() : buffer.get();
    reduce<T>(p, R<T>{}, out);
    if constexpr (!std::is_integral_v<Acc>)
      if (divisor != 1)
        for (int64_t k = 0; k < p.kept; ++k) out[k] /= real_t<Acc>(divisor);
    if (!direct) convert_row(held, wanted)(c.out().raw(), reinterpret_cast<const char*>(out), p.kept);
  };
  if (visit_compiled(List{}, as, compute)) return;
  if (!has_kernels(as)) throw_unsupported(c, as);
  Dtype wider = is_float(as) ? Dtype::f32 : Dtype::i64;
  in = converted(in, wider);
  if (!visit_compiled(List{}, wider, compute)) throw_unsupported(c, as);
}

void reduce_rule(Call& c, Dtype dtype, int dims_at, int keepdim_at) {
  Dims dims = reduced_dims(dims_at < 0 ? Value() : c.arg(dims_at), c.in(0).ndim());
  c.out_meta(0, dtype, reduced_sizes(c.in(0).sizes(), dims, keepdim_at >= 0 && c.b(keepdim_at)));
}
Dtype sum_dtype(const Call& c, int k) {
  Dtype d = c.in(0).dtype();
  return c.dtype(k, is_integral(d) || d == Dtype::boolean ? Dtype::i64 : d);
}
// The dtype in which elements enter the sum: narrower input is widened by the lanes, other conversions come first.
Dtype entry_dtype(Dtype in, Dtype out) {
  if (in == out || (out == Dtype::i64 && (is_integral(in) || in == Dtype::boolean))) return in;
  return out;
}
Dtype mean_dtype(const Call& c, int k) {
  Dtype d = c.dtype(k, c.in(0).dtype());
  if (!differentiable(d))
    throw runtime_error("mean(): could not infer output dtype. ",
                        c.has(k) ? "Optional dtype must" : "Input dtype must",
                        " be either a floating point or complex dtype. Got: ", info(d).scalar_name);
  return d;
}

}  // namespace

const Op& sum = def({
    .sig = "sum(Tensor input, *, dtype? dtype=None) -> Tensor",
    .doc = "Sum of all elements; integers are summed as int64.",
    .family = reduction,
    .rule = [](Call& c) { reduce_rule(c, sum_dtype(c, 1), -1, -1); },
    .cpu =
        [](Call& c) {
          run_reduction<Sum, SumTypes>(c, reduced_dims({}, c.in(0).ndim()),
                                       entry_dtype(c.in(0).dtype(), c.out().dtype()));
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads { return {expand.call({g, c.in_sizes(0)})}; },
    .ref = "np.sum(input)",
    .samples = {"x(2,3)", "x()", "x(0,3)"},
});
const Op& sum_dim = def({
    .sig = "sum.dim(Tensor input, int[]? dim, bool keepdim=False, *, dtype? dtype=None) -> Tensor",
    .doc = "Sum over the dimensions in dim (None or (): all).",
    .family = reduction,
    .rule = [](Call& c) { reduce_rule(c, sum_dtype(c, 3), 1, 2); },
    .cpu =
        [](Call& c) {
          run_reduction<Sum, SumTypes>(c, reduced_dims(c.arg(1), c.in(0).ndim()),
                                       entry_dtype(c.in(0).dtype(), c.out().dtype()));
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      return {expand_back(g, c.in_sizes(0), reduced_dims(c.arg(1), c.in_sizes(0).size()), c.b(2))};
    },
    .grad_name = "SumBackward1",
    .ref = "np.sum(input, axis=dim, keepdims=keepdim)",
    .samples = {"x(2,3,4), dim=1", "x(2,3,4), dim=(0,2), keepdim=True", "x(2,3), dim=0", "x(0,3), dim=0"},
});
const Op& nansum = def({
    .sig = "nansum(Tensor input, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None) -> Tensor",
    .doc = "Sum over dim with nan counted as zero.",
    .family = reduction,
    .rule =
        [](Call& c) {
          if (is_complex(c.in(0).dtype())) throw runtime_error("nansum does not support complex inputs");
          reduce_rule(c, sum_dtype(c, 3), 1, 2);
        },
    .cpu =
        [](Call& c) {
          Dims dims = reduced_dims(c.arg(1), c.in(0).ndim());
          Dtype entry = entry_dtype(c.in(0).dtype(), c.out().dtype());
          if (is_float(entry)) run_reduction<NanSum, FloatTypes>(c, dims, entry);
          else run_reduction<Sum, SumTypes>(c, dims, entry);
        },
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      Tensor back = expand_back(g, c.in_sizes(0), reduced_dims(c.arg(1), c.in_sizes(0).size()), c.b(2));
      return {back * logical_not.call({isnan.call({c.in(0)})})};
    },
    .ref = "np.nansum(input, axis=dim, keepdims=keepdim)",
    .samples = {"x(2,3)", "x(2,3), dim=1"},
});

namespace {
// Divided before it is spread: the spreading is then all that is written.
Tensor mean_gradient(const Call& c, const Tensor& g, const Value& dim, bool keepdim) {
  Dims dims = reduced_dims(dim, c.in_sizes(0).size());
  double n = 1;
  for (auto d : dims) n *= c.in_sizes(0)[d];
  return clone.call({expand_back(g / n, c.in_sizes(0), dims, keepdim)});
}
}  // namespace

const Op& mean = def({
    .sig = "mean(Tensor input, *, dtype? dtype=None) -> Tensor",
    .doc = "Mean of all elements.",
    .family = reduction,
    .rule = [](Call& c) { reduce_rule(c, mean_dtype(c, 1), -1, -1); },
    .kernel_name = "sum_cpu",
    .cpu =
        [](Call& c) {
          double n = c.in(0).numel();
          run_reduction<Sum, SumTypes>(c, reduced_dims({}, c.in(0).ndim()), c.out().dtype(), n);
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      return {clone.call({expand.call({g / double(count(c.in_sizes(0))), c.in_sizes(0)})})};
    },
    .ref = "np.mean(input)",
    .samples = {"x(2,3)", "x()"},
});
const Op& mean_dim = def({
    .sig = "mean.dim(Tensor input, int[]? dim, bool keepdim=False, *, dtype? dtype=None) -> Tensor",
    .doc = "Mean over the dimensions in dim.",
    .family = reduction,
    .rule = [](Call& c) { reduce_rule(c, mean_dtype(c, 3), 1, 2); },
    .kernel_name = "sum_cpu",
    .cpu =
        [](Call& c) {
          Dims dims = reduced_dims(c.arg(1), c.in(0).ndim());
          double n = 1;
          for (auto d : dims) n *= c.in(0).size(d);
          run_reduction<Sum, SumTypes>(c, dims, c.out().dtype(), n);
        },
    .grad = [](const Call& c, const Tensor& g) -> Grads { return {mean_gradient(c, g, c.arg(1), c.b(2))}; },
    .grad_name = "MeanBackward1",
    .ref = "np.mean(input, axis=dim, keepdims=keepdim)",
    .samples = {"x(2,3,4), dim=1", "x(2,3,4), dim=(0,2), keepdim=True", "x(2,3), dim=-1"},
});

namespace {
// d prod / dx_i is the product of the others: exclusive products from both sides, exact where elements are zero.
Tensor product_gradient(const Tensor& g, const Tensor& x, int64_t d) {
  static const Op& cumprod = find_op("cumprod");
  static const Op& flip = find_op("flip");
  static const Op& cat = find_op("cat");
  int64_t n = x.size(d);
  if (n == 0) return fresh_zeros(x);
  Dims one(x.sizes());
  one[d] = 1;
  Tensor ones = full(one, x.dtype(), 1);
  auto before = [&](const Tensor& t) {
    TensorList parts{ones, slice.call({t, d, 0, n - 1, 1})};
    return cumprod.call({cat.call({parts, d}), d});
  };
  Tensor after = flip.call({before(flip.call({x, Dims{d}})), Dims{d}});
  Tensor others = before(x) * after;
  return g * (is_complex(x.dtype()) ? conj.call({others}) : others);
}
}  // namespace

const Op& prod = def({
    .sig = "prod(Tensor input, *, dtype? dtype=None) -> Tensor",
    .doc = "Product of all elements; integers are multiplied as int64.",
    .family = reduction,
    .autocast = Autocast::full,
    .rule = [](Call& c) { reduce_rule(c, sum_dtype(c, 1), -1, -1); },
    .kernel_name = "prod_out_cpu",
    .cpu =
        [](Call& c) {
          run_reduction<Product, ProductTypes>(c, reduced_dims({}, c.in(0).ndim()),
                                               entry_dtype(c.in(0).dtype(), c.out().dtype()));
        },
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      return {reshape(product_gradient(g, reshape(c.in(0), Dims{-1}), 0), c.in_sizes(0))};
    },
    .ref = "np.prod(input)",
    .samples = {"x(2,3)", "x()"},
});
const Op& prod_dim = def({
    .sig = "prod.dim_int(Tensor input, int dim, bool keepdim=False, *, dtype? dtype=None) -> Tensor",
    .doc = "Product over one dimension.",
    .family = reduction,
    .autocast = Autocast::full,
    .rule = [](Call& c) { reduce_rule(c, sum_dtype(c, 3), 1, 2); },
    .kernel_name = "prod_out_cpu",
    .cpu =
        [](Call& c) {
          run_reduction<Product, ProductTypes>(c, reduced_dims(c.arg(1), c.in(0).ndim()),
                                               entry_dtype(c.in(0).dtype(), c.out().dtype()));
        },
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      Dims dims = reduced_dims(c.arg(1), c.in_sizes(0).size());
      if (dims.empty()) return {g};
      return {product_gradient(restore_dims(g, c.in_sizes(0), dims, c.b(2)), c.in(0), dims[0])};
    },
    .grad_name = "ProdBackward1",
    .ref = "np.prod(input, axis=dim, keepdims=keepdim)",
    .samples = {"x(2,3), 1", "x(2,3,2), 1, keepdim=True"},
});

namespace {
template <class T> using All = Truth<T, true>;
template <class T> using Any = Truth<T, false>;
Dtype truth_dtype(const Call& c) { return c.in(0).dtype() == Dtype::u8 ? Dtype::u8 : Dtype::boolean; }
}  // namespace

const Op& any = def({
    .sig = "any(Tensor input) -> Tensor",
    .doc = "Whether some element is true (not zero).",
    .family = reduction,
    .rule = [](Call& c) { reduce_rule(c, truth_dtype(c), -1, -1); },
    .cpu =
        [](Call& c) { run_reduction<Any, BoolTypes>(c, reduced_dims({}, c.in(0).ndim()), Dtype::boolean); },
    .ref = "np.any(input)",
    .samples = {"b(2,3)", "x(2,3)", "x(0,)"},
});
const Op& any_dim = def({
    .sig = "any.dim(Tensor input, int[]? dim, bool keepdim=False) -> Tensor",
    .doc = "Whether some element along dim is true.",
    .family = reduction,
    .rule = [](Call& c) { reduce_rule(c, truth_dtype(c), 1, 2); },
    .cpu =
        [](Call& c) {
          run_reduction<Any, BoolTypes>(c, reduced_dims(c.arg(1), c.in(0).ndim()), Dtype::boolean);
        },
    .ref = "np.any(input, axis=dim, keepdims=keepdim)",
    .samples = {"b(2,3), 1", "x(2,3), (0,1), keepdim=True"},
});
const Op& all = def({
    .sig = "all(Tensor input) -> Tensor",
    .doc = "Whether every element is true (not zero).",
    .family = reduction,
    .rule = [](Call& c) { reduce_rule(c, truth_dtype(c), -1, -1); },
    .cpu =
        [](Call& c) { run_reduction<All, BoolTypes>(c, reduced_dims({}, c.in(0).ndim()), Dtype::boolean); },
    .ref = "np.all(input)",
    .samples = {"b(2,3)", "x(2,3)", "x(0,)"},
});
const Op& all_dim = def({
    .sig = "all.dim(Tensor input, int[]? dim, bool keepdim=False) -> Tensor",
    .doc = "Whether every element along dim is true.",
    .family = reduction,
    .rule = [](Call& c) { reduce_rule(c, truth_dtype(c), 1, 2); },
    .cpu =
        [](Call& c) {
          run_reduction<All, BoolTypes>(c, reduced_dims(c.arg(1), c.in(0).ndim()), Dtype::boolean);
        },
    .ref = "np.all(input, axis=dim, keepdims=keepdim)",
    .samples = {"b(2,3), 1", "x(2,3), (0,1), keepdim=True"},
});
const Op& count_nonzero = def({
    .sig = "count_nonzero(Tensor input, int[]? dim=None) -> Tensor",
    .doc = "How many elements along dim are not zero.",
    .family = reduction,
    .rule = [](Call& c) { reduce_rule(c, Dtype::i64, 1, -1); },
    .cpu =
        [](Call& c) {
          run_reduction<Sum, SumTypes>(c, reduced_dims(c.arg(1), c.in(0).ndim()), Dtype::boolean);
        },
    .ref = "np.asarray(np.count_nonzero(input, axis=dim))",
    .samples = {"b(2,3)", "x(2,3), 1"},
});

// ---- variance ----
namespace {

template <class T> struct Deviation {
  using Acc = T;
  T mean;
  RL_INLINE Acc identity() const { return 0; }
  RL_INLINE Acc lift(T x) const { return (x - mean) * (x - mean); }
  RL_INLINE Acc combine(Acc a, Acc b) const { return a + b; }
};

// The variance of complex numbers is real: that of the real parts plus that of the imaginary ones.
void complex_variance(Call& c, const Dims& dims, double correction, bool root, bool with_mean) {
  GradMode off(false);
  static const Op &average = find_op("mean", "dim"), &total = find_op("sum", "dim");
  const Tensor& x = c.in(0);
  double n = 1;
  for (auto d : dims) n *= x.size(d);
  Tensor mean = dims.empty() ? x : average.call({x, dims, true}), part = abs.call({x - mean});
  Tensor squares = part * part;
  if (!dims.empty()) squares = total.call({squares, dims, true});
  Tensor value = squares / std::max(n - correction, 0.0);
  if (root) value = sqrt.call({value});
  copy(c.out(), reshape(value, c.out().sizes()));
  if (with_mean) copy(c.out(1), reshape(mean, c.out(1).sizes()));
}

// Two passes per row: the mean, then the squared deviations.
void variance_kernel(Call& c, const Dims& dims, double correction, bool root, bool with_mean) {
  Tensor in = c.in(0);
  if (is_complex(in.dtype())) return complex_variance(c, dims, correction, root, with_mean);
  Dtype as = in.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32;
  if (in.dtype() != as) {
    Tensor converted = empty_like(in, as);
    copy(converted, in);
    in = converted;
  }
  ReducePlan p = plan_reduction(in, dims, true);
  visit_float(as, [&]<class T>() {
    std::vector<T> values(p.kept), means(p.kept);
    T *value = values.data(), *average = means.data();
    double n = p.reduced, divisor = n - correction > 0 ? n - correction : 0;
    reduce<T>(p, Sum<T>{}, average);
    for (int64_t k = 0; k < p.kept; ++k) average[k] /= T(n);
    const T* data = reinterpret_cast<const T*>(p.data);
    parallel_for(p.kept, std::max<int64_t>(1, 4 * reduce_chunk / std::max<int64_t>(p.reduced, 1)),
                 [&](int64_t begin, int64_t end) {
                   with_isa([&] {
                     for (int64_t k = begin; k < end; ++k) {
                       Deviation<T> r{average[k]};
                       const T* x = data + p.offset(k);
                       T total = 0;
                       for (int64_t at = 0; at < p.reduced; at += reduce_chunk)
                         total += reduce_run(r, x + at, std::min(reduce_chunk, p.reduced - at));
                       T v = p.reduced ? total / T(divisor) : T(NAN);
                       value[k] = root ? std::sqrt(v) : v;
                     }
                   });
                 });
    visit(c, c.out().dtype(), [&]<class O>() {
      for (int64_t k = 0; k < p.kept; ++k) c.out().data<O>()[k] = convert<O>(value[k]);
      if (with_mean)
        for (int64_t k = 0; k < p.kept; ++k) c.out(1).data<O>()[k] = convert<O>(average[k]);
    });
  });
}

double correction_of(const Value& v) { return v ? v.as_double() : 1; }

void variance_rule(Call& c, const Value& dim, double correction, bool keepdim, bool with_mean) {
  const Tensor& t = c.in(0);
  if (!differentiable(t.dtype()))
    throw runtime_error("std and var only support floating point and complex dtypes");
  Dims sizes = reduced_sizes(t.sizes(), reduced_dims(dim, t.ndim()), keepdim);
  int64_t kept = 1;
  for (int64_t n : sizes) kept *= n;
  if ((kept ? t.numel() / kept : 0) <= correction)
    warn(cat_text(c.op.name,
                  "(): degrees of freedom is <= 0. Correction should be strictly less than the reduction "
                  "factor (input numel divided by output numel)."));
  c.out_meta(0, real_of(t.dtype()), sizes);
  if (with_mean) c.out_meta(1, t.dtype(), sizes);
}

Tensor variance_gradient(const Call& c, const Tensor& g, const Value& dim, double correction, bool keepdim) {
  Dims dims = reduced_dims(dim, c.in_sizes(0).size());
  double n = 1;
  for (auto d : dims) n *= c.in_sizes(0)[d];
  static const Op& average = find_op("mean", "dim");
  const Tensor& x = c.in(0);
  Tensor centred = dims.empty() ? x - x : x - average.call({x, dims, true});
  return expand_back(g * (2 / (n - correction)), c.in_sizes(0), dims, keepdim) * centred;
}
// d sqrt(v): zero where the deviation is zero would be 0/0; torch gives nan * 0 masked to zero there as well.
Tensor root_gradient(const Tensor& g, const Tensor& result) {
  return masked_fill.call({g / (result * 2.0), eq.call({result, 0}), 0});
}
}  // namespace

// Each of var and std has PyTorch's three forms: all elements, (dim, unbiased, keepdim), (dim, *, correction, keepdim).
#define RL_VARIANCE(NAME, ROOT, BACK0) \
  const Op& NAME##_all = def({ \
      .sig = #NAME "(Tensor input, bool unbiased=True) -> Tensor", \
      .doc = #NAME " of all elements, divided by n - 1 unless unbiased is False.", \
      .family = reduction, \
      .rule = [](Call& c) { variance_rule(c, {}, c.b(1), false, false); }, \
      .cpu = [](Call& c) { variance_kernel(c, reduced_dims({}, c.in(0).ndim()), c.b(1), ROOT, false); }, \
      .saves = save(ROOT ? In0 | Out : In0), \
      .grad = [](const Call& c, const Tensor& g) -> Grads { \
        return {variance_gradient(c, ROOT ? root_gradient(g, c.out()) : g, {}, c.b(1), false)}; \
      }, \
      .grad_name = BACK0, \
      .ref = "np." #NAME "(input, ddof=1 if unbiased else 0)", \
      .samples = {"x(2,3)", "x(5,), unbiased=False"}, \
  }); \
  const Op& NAME##_dim = def({ \
      .sig = #NAME ".dim(Tensor input, int[]? dim, bool unbiased=True, bool keepdim=False) -> Tensor", \
      .doc = #NAME " over the dimensions in dim.", \
      .family = reduction, \
      .rule = [](Call& c) { variance_rule(c, c.arg(1), c.b(2), c.b(3), false); }, \
      .cpu = \
          [](Call& c) { variance_kernel(c, reduced_dims(c.arg(1), c.in(0).ndim()), c.b(2), ROOT, false); }, \
      .saves = save(ROOT ? In0 | Out : In0), \
      .grad = [](const Call& c, const Tensor& g) -> Grads { \
        return {variance_gradient(c, ROOT ? root_gradient(g, c.out()) : g, c.arg(1), c.b(2), c.b(3))}; \
      }, \
      .grad_name = BACK0, \
      .ref = "np." #NAME "(input, axis=dim, ddof=1 if unbiased else 0, keepdims=keepdim)", \
      .samples = {"x(4,3), 0", "x(2,3,4), (0,2), keepdim=True"}, \
  }); \
  const Op& NAME##_correction = \
      def({ \
          .sig = #NAME ".correction(Tensor input, int[]? dim=None, *, Scalar? correction=None, bool " \
                       "keepdim=False) -> Tensor", \
          .doc = #NAME " over dim, divided by n - correction (default 1).", \
          .family = reduction, \
          .rule = [](Call& c) { variance_rule(c, c.arg(1), correction_of(c.arg(2)), c.b(3), false); }, \
          .cpu = \
              [](Call& c) { \
                variance_kernel(c, reduced_dims(c.arg(1), c.in(0).ndim()), correction_of(c.arg(2)), ROOT, \
                                false); \
              }, \
          .saves = save(ROOT ? In0 | Out : In0), \
          .grad = [](const Call& c, const Tensor& g) -> Grads { \
            return {variance_gradient(c, ROOT ? root_gradient(g, c.out()) : g, c.arg(1), \
                                      correction_of(c.arg(2)), c.b(3))}; \
          }, \
          .grad_name = BACK0, \
          .samples = {"x(4,3), 0, correction=0", "x(2,3,4), (0,2), correction=2, keepdim=True"}, \
      });
RL_VARIANCE(var, false, "VarBackward0")
RL_VARIANCE(std, true, "StdBackward0")
#undef RL_VARIANCE

const Op& var_mean = def({
    .sig = "var_mean(Tensor input, int[]? dim=None, bool unbiased=True, bool keepdim=False, *, Scalar? "
           "correction=None) -> (Tensor, Tensor)",
    .doc = "Variance and mean over dim.",
    .family = reduction,
    .forms = Forms::function,
    .rule = [](Call& c) { variance_rule(c, c.arg(1), c.has(4) ? c.d(4) : c.b(2), c.b(3), true); },
    .cpu =
        [](Call& c) {
          variance_kernel(c, reduced_dims(c.arg(1), c.in(0).ndim()), c.has(4) ? c.d(4) : c.b(2), false, true);
        },
    .saves = save(In0),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      Tensor total;
      if (g) total = variance_gradient(c, g, c.arg(1), c.has(4) ? c.d(4) : c.b(2), c.b(3));
      if (c.g(1)) {
        Tensor m = mean_gradient(c, c.g(1), c.arg(1), c.b(3));
        total = total ? total + m : m;
      }
      return {total};
    },
    .samples = {"x(4,3), 0", "x(2,3)"},
});
const Op& std_mean = def({
    .sig = "std_mean(Tensor input, int[]? dim=None, bool unbiased=True, bool keepdim=False, *, Scalar? "
           "correction=None) -> (Tensor, Tensor)",
    .doc = "Standard deviation and mean over dim.",
    .family = reduction,
    .forms = Forms::function,
    .rule = [](Call& c) { variance_rule(c, c.arg(1), c.has(4) ? c.d(4) : c.b(2), c.b(3), true); },
    .cpu =
        [](Call& c) {
          variance_kernel(c, reduced_dims(c.arg(1), c.in(0).ndim()), c.has(4) ? c.d(4) : c.b(2), true, true);
        },
    .saves = save(In0 | Out),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      Tensor total;
      if (g)
        total = variance_gradient(c, root_gradient(g, c.out()), c.arg(1), c.has(4) ? c.d(4) : c.b(2), c.b(3));
      if (c.g(1)) {
        Tensor m = mean_gradient(c, c.g(1), c.arg(1), c.b(3));
        total = total ? total + m : m;
      }
      return {total};
    },
    .samples = {"x(4,3), 0", "x(2,3)"},
});

namespace {
// Complex numbers have no rows of vectors: written with tensors.
void complex_logsumexp(Call& c, const Dims& dims) {
  const Tensor& x = c.in(0);
  GradMode off(false);
  static const Op& amax = find_op("amax");
  static const Op& total = find_op("sum", "dim");
  if (!x.numel()) return copy(c.out(), log.call({total.call({x, dims, c.b(2)})}));
  Tensor top = amax.call({real.call({x}), dims, true});
  top = masked_fill.call({top, logical_not.call({isfinite.call({top})}), 0});
  Tensor r = log.call({total.call({exp.call({x - top}), dims, true})}) + top;
  copy(c.out(), c.b(2) ? r : reshape(r, c.out().sizes()));
}
}  // namespace

const Op& logsumexp = def({
    .sig = "logsumexp(Tensor input, int[] dim, bool keepdim=False) -> Tensor",
    .doc = "log(sum(exp(input))) over dim, computed without overflow.",
    .family = reduction,
    .rule =
        [](Call& c) {
          Dtype d = c.in(0).dtype();
          reduce_rule(c, differentiable(d) ? d : default_dtype(), 1, 2);
        },
    .cpu =
        [](Call& c) {
          const Tensor &x = c.in(0), &out = c.out();
          const Dims dims = reduced_dims(c.arg(1), x.ndim());
          if (dims.empty()) return copy(out, x);
          if (is_complex(x.dtype())) return complex_logsumexp(c, dims);
          if (!out.numel()) return;
          if (!x.numel()) return fill(out, Value(-HUGE_VAL));
          // the dimensions that stay, then those that go, in a dtype that has kernels
          Dims sizes, strides;
          for (bool goes : {false, true})
            for (int64_t d = 0; d < x.ndim(); ++d)
              if ((std::find(dims.begin(), dims.end(), d) != dims.end()) == goes)
                sizes.push_back(x.size(d)), strides.push_back(x.stride(d));
          const Dtype narrow = out.dtype(), wide = narrow == Dtype::f64 ? Dtype::f64 : Dtype::f32;
          Tensor rows = alias(x, sizes, strides, x.offset()), sums = out;
          if (x.dtype() != wide || !rows.contiguous()) {
            Tensor packed_rows = empty(sizes, wide);
            copy(packed_rows, rows);
            rows = packed_rows;
          }
          if (narrow != wide) sums = empty(out.sizes(), wide);
          visit_float(wide, [&]<class T>() {
            cpu::logsumexp(out.numel(), x.numel() / out.numel(), rows.data<T>(), sums.data<T>());
          });
          if (narrow != wide) copy(out, sums);
        },
    .saves = save(In0 | Out),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      Dims dims = reduced_dims(c.arg(1), c.in_sizes(0).size());
      Tensor out = restore_dims(c.out(), c.in_sizes(0), dims, c.b(2));
      Tensor share = exp.call({c.in(0) - out});
      if (is_complex(share.dtype())) share = conj.call({share});
      return {expand_back(g, c.in_sizes(0), dims, c.b(2)) * share};
    },
    .ref = "np.log(np.sum(np.exp(input), axis=dim, keepdims=keepdim))",
    .samples = {"x(2,3), 1", "x(2,3,4), (0,2), keepdim=True"},
    .modules = "special",
});

}  // namespace rushlight::ops

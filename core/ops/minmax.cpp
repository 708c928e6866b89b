// Largest and smallest elements, and where they are.
#include <algorithm>
#include <bit>
#include <limits>

#include "kernels/reduce.h"
#include "kernels/rows.h"
#include "ops/ops.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace rushlight::ops {

namespace {

// Floats are compared as integers of the same order, nan beyond all others: one instruction instead of four.
template <class T, bool Max> struct Extreme {
  static constexpr bool real = std::is_floating_point_v<T>;
  using Acc = std::conditional_t<std::is_same_v<T, float>, int32_t,
                                 std::conditional_t<std::is_same_v<T, double>, int64_t, T>>;
  using Limits = std::numeric_limits<Acc>;
  RL_INLINE Acc identity() const {
    if constexpr (real)
      return lift(Max ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity());
    else return Max ? Limits::lowest() : Limits::max();
  }
  static RL_INLINE Acc flip(Acc bits) { return bits ^ ((bits >> (8 * sizeof(Acc) - 1)) & Limits::max()); }
  RL_INLINE Acc lift(T x) const {
    if constexpr (real)
      return x != x ? (Max ? Limits::max() : Limits::lowest()) : flip(std::bit_cast<Acc>(x));
    else return x;
  }
  static RL_INLINE T value(Acc a) {
    if constexpr (real) return std::bit_cast<T>(flip(a));  // the ends of the range are nan
    else return a;
  }
  RL_INLINE Acc combine(Acc a, Acc b) const { return Max ? std::max(a, b) : std::min(a, b); }
};

// f<T>() for the dtypes that order; 16-bit floats are compared as float32 (exact).
template <class F> void visit_ordered(const Call& c, Dtype d, F&& f) {
  switch (d) {
    case Dtype::u8: return f.template operator()<uint8_t>();
    case Dtype::i8: return f.template operator()<int8_t>();
    case Dtype::i16: return f.template operator()<int16_t>();
    case Dtype::i32: return f.template operator()<int32_t>();
    case Dtype::i64: return f.template operator()<int64_t>();
    case Dtype::f32: return f.template operator()<float>();
    case Dtype::f64: return f.template operator()<double>();
    default: throw_unsupported(c, d);
  }
}
Dtype compared_as(Dtype d) {
  if (d == Dtype::boolean) return Dtype::u8;  // as 0 and 1
  return d == Dtype::f16 || d == Dtype::bf16 ? Dtype::f32 : d;
}
Tensor comparable(const Tensor& t) {
  Dtype d = compared_as(t.dtype());
  if (d == t.dtype()) return t;
  Tensor out = empty_like(t, d);
  copy(out, t);
  return out;
}

template <bool Max> void extreme_kernel(Call& c, const Dims& dims, int out_at) {
  Tensor in = comparable(c.in(0)), out = c.out(out_at);
  Tensor direct = in.dtype() == out.dtype() ? out : empty(out.sizes(), in.dtype());
  visit_ordered(c, in.dtype(), [&]<class T>() {
    ReducePlan p = plan_reduction(in, dims, false);
    using R = Extreme<T, Max>;
    auto* found = reinterpret_cast<typename R::Acc*>(direct.raw());
    reduce<T>(p, R{}, found);
    if constexpr (R::real)
      for (int64_t k = 0; k < p.kept; ++k) direct.data<T>()[k] = R::value(found[k]);
  });
  if (!direct.is(out)) copy(out, direct);
}

// First position of value, or of nan if it is nan, which is somewhere in the row.
template <class T> RL_INLINE int64_t first_position(const T* row, int64_t n, T value) {
  constexpr int64_t step = 64;
  int64_t i = 0;
  for (; i + step <= n; i += step) {
    int found = 0;
    for (int64_t k = 0; k < step; ++k) found |= (row[i + k] == value) | (row[i + k] != row[i + k]);
    if (found) break;
  }
  for (; i < n; ++i)
    if (row[i] == value || row[i] != row[i]) return i;
  return n - 1;
}

// Extremes of `width` columns of n rows, and their first positions.
template <bool Max, class T, class Index>
RL_INLINE void extreme_columns(const T* x, int64_t n, int64_t stride, int64_t width, T* best, Index* at) {
  for (int64_t j = 0; j < width; ++j) best[j] = x[j], at[j] = 0;
  for (Index i = 1; i < Index(n); ++i) {
    x += stride;
    RL_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) {
      bool better = Max ? x[j] > best[j] : x[j] < best[j];
      if constexpr (std::is_floating_point_v<T>) better |= (x[j] != x[j]) & (best[j] == best[j]);
      best[j] = better ? x[j] : best[j];
      at[j] = better ? i : at[j];
    }
  }
}

// First position of the extreme value along dim; nan counts as the extreme.
template <bool Max> void extreme_index_kernel(const Call& c, const Tensor& input, int64_t d,
                                              const Tensor& values, const Tensor& indices) {
  Tensor in = comparable(input);
  if (!in.contiguous()) copy(in = empty(input.sizes(), in.dtype()), comparable(input));
  int64_t n = in.ndim() ? in.size(d) : 1, inner = 1, rows = n ? in.numel() / n : 0;
  for (int64_t k = d + 1; k < in.ndim(); ++k) inner *= in.size(k);
  if (rows == 0) return;
  Tensor best =
      values
          ? (values.dtype() == in.dtype() && values.contiguous() ? values : empty(values.sizes(), in.dtype()))
          : Tensor();
  int64_t* where = indices.data<int64_t>();
  visit_ordered(c, in.dtype(), [&]<class T>() {
    const T* x = in.data<T>();
    T* out = best ? best.data<T>() : nullptr;
    if (inner == 1) {
      parallel_for(rows, std::max<int64_t>(1, 2 * reduce_chunk / n), [=](int64_t begin, int64_t end) {
        with_isa([=] {
          for (int64_t k = begin; k < end; ++k) {
            const T* row = x + k * n;
            const T value = Extreme<T, Max>::value(reduce_run(Extreme<T, Max>{}, row, n));
            where[k] = first_position(row, n, value);
            if (out) out[k] = row[where[k]];
          }
        });
      });
      return;
    }
    constexpr int64_t width = 128;
    const int64_t blocks = (inner + width - 1) / width;
    parallel_for(rows / inner * blocks, std::max<int64_t>(1, 2 * reduce_chunk / (n * std::min(inner, width))),
                 [=](int64_t begin, int64_t end) {
                   with_isa([=] {
                     using Index = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
                     T top[width];
                     Index at[width];
                     int64_t far_at[width];
                     for (int64_t t = begin; t < end; ++t) {
                       const int64_t first = t % blocks * width, m = std::min(width, inner - first);
                       const T* from = x + t / blocks * n * inner + first;
                       int64_t* to = where + t / blocks * inner + first;
                       if (n <= INT32_MAX) {
                         extreme_columns<Max>(from, n, inner, m, top, at);
                         for (int64_t j = 0; j < m; ++j) to[j] = at[j];
                       } else {
                         extreme_columns<Max>(from, n, inner, m, top, far_at);
                         for (int64_t j = 0; j < m; ++j) to[j] = far_at[j];
                       }
                       if (!out) continue;
                       for (int64_t j = 0; j < m; ++j) out[t / blocks * inner + first + j] = top[j];
                     }
                   });
                 });
  });
  if (best && !best.is(values)) copy(values, best);
}

void check_not_empty(const Call& c, const Dims& dims, bool named) {
  const Tensor& t = c.in(0);
  if (t.numel()) return;
  if (!named && c.op.name.starts_with("arg"))
    throw index_error(c.op.name, "(): Expected reduction dim to be specified for input.numel() == 0.");
  if (!named)
    throw runtime_error(
        c.op.name,
        "(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
        "with the 'dim' argument.");
  for (auto d : dims)
    if (t.size(d) == 0)
      throw index_error(c.op.name, "(): Expected reduction dim ", d, " to have non-zero size.");
}

// The gradient at ties is shared evenly.
Grads even_gradient(const Call& c, const Tensor& g, const Dims& dims, bool keepdim) {
  Tensor out = restore_dims(c.out(), c.in_sizes(0), dims, keepdim);
  Tensor hit = to_dtype.call({eq.call({c.in(0), out}), g.dtype()});
  static const Op& total = find_op("sum", "dim");
  Tensor shares = dims.empty() ? hit : total.call({hit, dims, true});
  return {expand_back(g, c.in_sizes(0), dims, keepdim) * hit / shares};
}
// The gradient goes to the chosen position.
Grads chosen_gradient(const Call& c, const Tensor& g, int64_t d, bool keepdim) {
  if (c.in_sizes(0).empty()) return {g};
  static const Op& scatter_ = find_op("scatter_", "src");
  Dims dims{d};
  return {scatter_.call_inplace({full(c.in_sizes(0), g.dtype(), 0), d,
                                 restore_dims(c.out(1), c.in_sizes(0), dims, keepdim),
                                 restore_dims(g, c.in_sizes(0), dims, keepdim)})};
}

template <bool Max> const Op& def_all(const char* sig, const char* doc, const char* ref,
                                      const char* grad_name) {
  return def({
      .sig = sig,
      .doc = doc,
      .family = reduction,
      .rule =
          [](Call& c) {
            check_not_empty(c, {}, false);
            c.out_meta(0, c.in(0).dtype(), Dims{});
          },
      .kernel_name = Max ? "max_all" : "min_all",
      .cpu = [](Call& c) { extreme_kernel<Max>(c, reduced_dims({}, c.in(0).ndim()), 0); },
      .saves = save(In0 | Out),
      .grad = [](const Call& c, const Tensor& g) -> Grads {
        return even_gradient(c, g, reduced_dims({}, c.in_sizes(0).size()), false);
      },
      .grad_name = grad_name,
      .ref = ref,
      .samples = {"x(2,3)", "ties(3,4)", "x()"},
  });
}
void refuse_complex(const Call& c) {
  if (is_complex(c.in(0).dtype())) throw runtime_error(c.op.name, "(): does not support complex input");
}
template <bool Max> const Op& def_dim(const char* sig, const char* doc, const char* grad_name) {
  return def({
      .sig = sig,
      .doc = doc,
      .family = reduction,
      .rule =
          [](Call& c) {
            refuse_complex(c);
            Dims dims = reduced_dims(c.arg(1), c.in(0).ndim());
            check_not_empty(c, dims, true);
            Dims sizes = reduced_sizes(c.in(0).sizes(), dims, c.b(2));
            c.out_meta(0, c.in(0).dtype(), sizes);
            c.out_meta(1, Dtype::i64, sizes);
          },
      .cpu =
          [](Call& c) {
            extreme_index_kernel<Max>(c, c.in(0), wrap_dim(c.i(1), c.in(0).ndim()), c.out(0), c.out(1));
          },
      .saves = save(Out1),
      .grad = [](const Call& c, const Tensor& g) -> Grads {
        return chosen_gradient(c, g, wrap_dim(c.i(1), c.in_sizes(0).size()), c.b(2));
      },
      .grad_name = grad_name,
      .samples = {"x(2,3), 1", "x(2,3,4), -2, keepdim=True"},
  });
}
template <bool Max> const Op& def_amax(const char* sig, const char* doc, const char* ref) {
  return def({
      .sig = sig,
      .doc = doc,
      .family = reduction,
      .rule =
          [](Call& c) {
            Dims dims = reduced_dims(c.arg(1), c.in(0).ndim());
            check_not_empty(c, dims, c.ints(1).size());
            c.out_meta(0, c.in(0).dtype(), reduced_sizes(c.in(0).sizes(), dims, c.b(2)));
          },
      .kernel_name = Max ? "max_values_cpu" : "min_values_cpu",
      .cpu = [](Call& c) { extreme_kernel<Max>(c, reduced_dims(c.arg(1), c.in(0).ndim()), 0); },
      .saves = save(In0 | Out),
      .grad = [](const Call& c, const Tensor& g) -> Grads {
        return even_gradient(c, g, reduced_dims(c.arg(1), c.in_sizes(0).size()), c.b(2));
      },
      .ref = ref,
      .samples = {"x(2,3,4), dim=(0,2)", "ties(3,4), dim=1, keepdim=True", "x(2,3)"},
  });
}
template <bool Max> const Op& def_arg(const char* sig, const char* doc, const char* ref) {
  return def({
      .sig = sig,
      .doc = doc,
      .family = reduction,
      .rule =
          [](Call& c) {
            if (c.in(0).dtype() == Dtype::boolean)
              throw runtime_error(c.op.name, "(): does not support bool input");
            refuse_complex(c);
            Dims dims = reduced_dims(c.arg(1), c.in(0).ndim());
            check_not_empty(c, dims, c.has(1));
            c.out_meta(0, Dtype::i64,
                       c.has(1) ? reduced_sizes(c.in(0).sizes(), dims, c.b(2))
                       : c.b(2) ? Dims(c.in(0).ndim(), 1)
                                : Dims{});
          },
      .cpu =
          [](Call& c) {
            const Tensor& t = c.in(0);
            if (c.has(1)) return extreme_index_kernel<Max>(c, t, wrap_dim(c.i(1), t.ndim()), {}, c.out());
            Tensor flat = t;
            if (!t.contiguous()) copy(flat = empty(t.sizes(), t.dtype()), t);
            flat = alias(flat, Dims{t.numel()}, Dims{1}, flat.offset());
            extreme_index_kernel<Max>(c, flat, 0, {}, c.out());
          },
      .ref = ref,
      .samples = {"x(2,3)", "x(2,3), 1", "ties(3,4), 0, keepdim=True"},
  });
}

}  // namespace

const Op& max =
    def_all<true>("max(Tensor input) -> Tensor", "Largest element.", "np.max(input)", "MaxBackward1");
const Op& min =
    def_all<false>("min(Tensor input) -> Tensor", "Smallest element.", "np.min(input)", "MinBackward1");
const Op& max_dim =
    def_dim<true>("max.dim(Tensor input, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
                  "Largest element along dim and its first position.", "MaxBackward0");
const Op& min_dim =
    def_dim<false>("min.dim(Tensor input, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
                   "Smallest element along dim and its first position.", "MinBackward0");
const Op& amax = def_amax<true>("amax(Tensor input, int[] dim=[], bool keepdim=False) -> Tensor",
                                "Largest element over dim (all by default). Ties share the gradient evenly.",
                                "np.max(input, axis=dim, keepdims=keepdim)");
const Op& amin =
    def_amax<false>("amin(Tensor input, int[] dim=[], bool keepdim=False) -> Tensor",
                    "Smallest element over dim (all by default). Ties share the gradient evenly.",
                    "np.min(input, axis=dim, keepdims=keepdim)");
const Op& argmax =
    def_arg<true>("argmax(Tensor input, int? dim=None, bool keepdim=False) -> Tensor",
                  "Position of the first largest element along dim, or in the flattened tensor.",
                  "np.argmax(input, axis=dim, keepdims=keepdim)");
const Op& argmin =
    def_arg<false>("argmin(Tensor input, int? dim=None, bool keepdim=False) -> Tensor",
                   "Position of the first smallest element along dim, or in the flattened tensor.",
                   "np.argmin(input, axis=dim, keepdims=keepdim)");

// max(a, b) is maximum(a, b)
const Op& max_other = def({
    .sig = "max.other(Tensor input, Tensor other) -> Tensor",
    .doc = "Element-wise maximum of two tensors.",
    .family = other,
    .cpu = [](Call& c) { c.outs.push_back(maximum.call({c.in(0), c.in(1)})); },
    .composite = true,
    .ref = "np.maximum(input, other)",
    .samples = {"x(2,3), y(2,3)"},
});
const Op& min_other = def({
    .sig = "min.other(Tensor input, Tensor other) -> Tensor",
    .doc = "Element-wise minimum of two tensors.",
    .family = other,
    .cpu = [](Call& c) { c.outs.push_back(minimum.call({c.in(0), c.in(1)})); },
    .composite = true,
    .ref = "np.minimum(input, other)",
    .samples = {"x(2,3), y(2,3)"},
});

const Op& aminmax = def({
    .sig = "aminmax(Tensor input, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)",
    .doc = "Smallest and largest element over dim (all by default).",
    .family = reduction,
    .rule =
        [](Call& c) {
          Dims dims = reduced_dims(c.arg(1), c.in(0).ndim());
          check_not_empty(c, dims, c.has(1));
          Dims sizes = reduced_sizes(c.in(0).sizes(), dims, c.b(2));
          c.out_meta(0, c.in(0).dtype(), sizes);
          c.out_meta(1, c.in(0).dtype(), sizes);
        },
    .cpu =
        [](Call& c) {
          Dims dims = reduced_dims(c.arg(1), c.in(0).ndim());
          extreme_kernel<false>(c, dims, 0);
          extreme_kernel<true>(c, dims, 1);
        },
    .saves = save(In0 | Out0 | Out1),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      Dims dims = reduced_dims(c.arg(1), c.in_sizes(0).size());
      static const Op& total = find_op("sum", "dim");
      Tensor sum;
      for (int k = 0; k < 2; ++k) {
        if (!c.g(k)) continue;
        Tensor hit = to_dtype.call(
            {eq.call({c.in(0), restore_dims(c.out(k), c.in_sizes(0), dims, c.b(2))}), c.g(k).dtype()});
        Tensor part = expand_back(c.g(k), c.in_sizes(0), dims, c.b(2)) * hit /
                      (dims.empty() ? hit : total.call({hit, dims, true}));
        sum = sum ? sum + part : part;
      }
      return {sum};
    },
    .samples = {"x(2,3)", "x(2,3), dim=1"},
});

}  // namespace rushlight::ops

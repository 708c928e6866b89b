// Running results along a dimension: cumsum, cumprod, cummax, cummin, logcumsumexp.
#include <cmath>

#include "kernels/loop.h"
#include "kernels/rows.h"
#include "kernels/with_isa.h"
#include "ops/ops.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace rushlight::ops {

namespace {

Dtype scan_dtype(const Call& c) {
  Dtype d = c.in(0).dtype();
  return c.dtype(2, is_integral(d) || d == Dtype::boolean ? Dtype::i64 : d);
}
void scan_rule(Call& c) {
  wrap_dim(c.i(1), c.in(0).ndim());
  c.out_meta(0, scan_dtype(c), Dims(c.in(0).sizes()));
}

template <class T> struct scan_acc {
  using type = T;
};
template <> struct scan_acc<half> {
  using type = float;
};
template <> struct scan_acc<bfloat16> {
  using type = float;
};
template <> struct scan_acc<float> {
  using type = double;
};
template <> struct scan_acc<bool> {
  using type = int64_t;
};
template <> struct scan_acc<int64_t> {
  using type = uint64_t;
};  // wraps
template <> struct scan_acc<int32_t> {
  using type = uint32_t;
};

// Numbers so much narrower than what they are held in that results of several of them cannot overflow.
template <class T> constexpr bool combines_freely = std::is_integral_v<T> || std::is_same_v<T, float> ||
                                                    std::is_same_v<T, half>;

// Running results of one row. Four at a time wait for one another only once.
template <class Acc, class T, class Step> RL_INLINE void scan_row(const T* x, T* y, int64_t n, Step step) {
  Acc acc = Acc(x[0]);
  y[0] = x[0];
  int64_t i = 1;
  for (; combines_freely<T> && i + 4 <= n; i += 4) {
    const Acc a = Acc(x[i]), b = step(a, Acc(x[i + 1])), c = Acc(x[i + 2]), d = step(c, Acc(x[i + 3]));
    const Acc third = step(b, c), fourth = step(b, d);
    y[i] = T(step(acc, a));
    y[i + 1] = T(step(acc, b));
    y[i + 2] = T(step(acc, third));
    acc = step(acc, fourth);
    y[i + 3] = T(acc);
  }
  for (; i < n; ++i) {
    acc = step(acc, Acc(x[i]));
    y[i] = T(acc);
  }
}

// Running results down `width` columns of n rows.
template <class Acc, class T, class Step>
RL_INLINE void scan_columns(const T* x, T* y, int64_t n, int64_t stride, int64_t width, Acc* acc, Step step) {
  for (int64_t j = 0; j < width; ++j) acc[j] = Acc(x[j]), y[j] = x[j];
  for (int64_t i = 1; i < n; ++i) {
    x += stride;
    y += stride;
    RL_INDEPENDENT
    for (int64_t j = 0; j < width; ++j) {
      acc[j] = step(acc[j], Acc(x[j]));
      y[j] = T(acc[j]);
    }
  }
}

template <class Step> void scan_kernel(Call& c, Step step) {
  Tensor in = c.in(0);
  const Tensor& out = c.out();
  if (in.dtype() == Dtype::boolean) {  // as 0 and 1, whatever the bytes are
    Tensor bytes = empty_like(in, Dtype::u8);
    copy(bytes, in);
    in = bytes;
  }
  if (in.dtype() != out.dtype()) {
    Tensor converted = empty_like(in, out.dtype());
    copy(converted, in);
    in = converted;
  }
  int64_t d = wrap_dim(c.i(1), in.ndim()), inner = 1;
  for (int64_t k = d + 1; k < in.ndim(); ++k) inner *= in.size(k);
  if (out.numel() == 0) return;
  if (inner >= 8 && in.contiguous() && out.contiguous()) {
    int64_t n = in.size(d);
    constexpr int64_t width = 128;
    int64_t blocks = (inner + width - 1) / width;
    visit(c, out.dtype(), [&]<class T>() {
      using Acc = typename scan_acc<T>::type;
      const T* x = in.data<T>();
      T* y = out.data<T>();
      parallel_for(in.numel() / (n * inner) * blocks,
                   std::max<int64_t>(1, pointwise_grain / (n * std::min(inner, width))),
                   [=](int64_t begin, int64_t end) {
                     with_isa([=] {
                       Acc acc[width];
                       for (int64_t k = begin; k < end; ++k) {
                         int64_t at = k / blocks * n * inner + k % blocks * width;
                         scan_columns(x + at, y + at, n, inner, std::min(width, inner - k % blocks * width),
                                      acc, step);
                       }
                     });
                   });
    });
    return;
  }
  Tensor rows = contiguous_rows(in, d), to = output_rows(out, d);
  int64_t n = rows.size(-1), count = n ? rows.numel() / n : 0;
  visit(c, out.dtype(), [&]<class T>() {
    const T* x = rows.data<T>();
    T* y = to.data<T>();
    each_of_rows(count, n,
                 [&](int64_t k) { scan_row<typename scan_acc<T>::type>(x + k * n, y + k * n, n, step); });
  });
  put_rows(out, to, d);
}

// Sum of everything from each position to the end
Tensor reversed_cumsum(const Tensor& g, int64_t d) {
  static const Op& flip = find_op("flip");
  static const Op& cumsum = find_op("cumsum");
  if (g.ndim() == 0) return g;
  return flip.call({cumsum.call({flip.call({g, Dims{d}}), d}), Dims{d}});
}

}  // namespace

const Op& cumsum = def({
    .sig = "cumsum(Tensor input, int dim, *, dtype? dtype=None) -> Tensor",
    .doc = "Running sum along dim; integers are summed as int64.",
    .forms = Forms::function | Forms::method | Forms::inplace | Forms::out_form,
    .rule = scan_rule,
    .kernel_name = "cumsum_out_cpu",
    .cpu = [](Call& c) { scan_kernel(c, [](auto a, auto b) { return a + b; }); },
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      return {reversed_cumsum(g, wrap_dim(c.i(1), g.ndim()))};
    },
    .ref = "np.cumsum(input, axis=dim)",
    .samples = {"x(2,3), 1", "x(4,), 0", "x(2,3,4), 0"},
});
const Op& cumprod = def({
    .sig = "cumprod(Tensor input, int dim, *, dtype? dtype=None) -> Tensor",
    .doc = "Running product along dim; integers are multiplied as int64.",
    .forms = Forms::function | Forms::method | Forms::inplace | Forms::out_form,
    .rule = scan_rule,
    .kernel_name = "cumprod_out_cpu",
    .cpu = [](Call& c) { scan_kernel(c, [](auto a, auto b) { return a * b; }); },
    .saves = save(In0 | Out),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      const Tensor& x = c.in(0);
      if (x.ndim() == 0 || x.numel() == 0) return {g};
      int64_t d = wrap_dim(c.i(1), x.ndim()), n = x.size(d);
      // sum over j >= i of g_j * prod_{k <= j, k != i} x_k. Where no element is zero that is a suffix sum of g*y over x_i.
      Tensor zero = find_op("any").call({eq.call({x, 0})});
      bool has_zero = !x.is_meta() && *zero.data<bool>();
      if (!has_zero) return {reversed_cumsum(g * c.out(), d) / x};
      static const Op& cat = find_op("cat");
      static const Op& total = find_op("sum", "dim");
      TensorList parts;
      for (int64_t i = 0; i < n; ++i) {
        Tensor before = i ? slice.call({c.out(), d, i - 1, i, 1})
                          : full(
                                [&] {
                                  Dims s(x.sizes());
                                  s[d] = 1;
                                  return s;
                                }(),
                                x.dtype(), 1);
        Tensor tail = before;
        if (i + 1 < n) {
          TensorList both{before, before * cumprod.call({slice.call({x, d, i + 1, n, 1}), d})};
          tail = cat.call({both, d});
        }
        parts.push_back(total.call({slice.call({g, d, i, n, 1}) * tail, Dims{d}, true}));
      }
      return {cat.call({parts, d})};
    },
    .ref = "np.cumprod(input, axis=dim)",
    .samples = {"x(2,3), 1", "x(4,), 0"},
});
namespace {
// log(exp(a) + exp(b))
c128 log_of_sum(c128 a, c128 b) {
  const c128 top = a.real() < b.real() ? b : a, low = a.real() < b.real() ? a : b;
  if (low != low || top != top) return {NAN, NAN};
  if (std::isinf(top.real()) && top.real() == low.real())
    return top.real() < 0 ? low : std::log(std::exp(a) + std::exp(b));
  const c128 r = std::exp(low - top);
  return {top.real() + 0.5 * std::log1p(r.real() * (2 + r.real()) + r.imag() * r.imag()),
          top.imag() + std::atan2(r.imag(), 1 + r.real())};
}
}  // namespace

const Op& logcumsumexp = def({
    .sig = "logcumsumexp(Tensor input, int dim) -> Tensor",
    .doc = "log(cumsum(exp(input))) along dim, computed without overflow.",
    .rule =
        [](Call& c) {
          Dtype d = c.in(0).dtype();
          if (!is_float(d) && !is_complex(d)) throw_unsupported("logcumsumexp_out_cpu", d);
          wrap_dim(c.i(1), c.in(0).ndim());
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
        },
    .cpu =
        [](Call& c) {
          int64_t d = wrap_dim(c.i(1), c.in(0).ndim());
          Tensor rows = contiguous_rows(c.in(0), d), to = output_rows(c.out(), d);
          int64_t n = rows.size(-1), count = n ? rows.numel() / n : 0;
          visit(c, c.out().dtype(), [&]<class T>() {
            if constexpr (std::is_floating_point_v<T> || std::is_same_v<T, half> ||
                          std::is_same_v<T, bfloat16>) {
              const T* x = rows.data<T>();
              T* y = to.data<T>();
              each_of_rows(count, n, [&](int64_t k) {
                double acc = -INFINITY;
                for (int64_t i = k * n; i < (k + 1) * n; ++i) {
                  double v = convert<double>(x[i]), top = std::max(acc, v), low = std::min(acc, v);
                  acc = top == low && std::isinf(top) ? top
                        : v != v || acc != acc        ? NAN
                                                      : top + std::log1p(std::exp(low - top));
                  y[i] = convert<T>(acc);
                }
              });
            } else if constexpr (std::is_same_v<T, c64> || std::is_same_v<T, c128>) {
              const T* x = rows.data<T>();
              T* y = to.data<T>();
              each_of_rows(count, n, [&](int64_t k) {
                c128 acc(-INFINITY, 0);
                for (int64_t i = k * n; i < (k + 1) * n; ++i)
                  y[i] = convert<T>(acc = log_of_sum(acc, convert<c128>(x[i])));
              });
            }
          });
          put_rows(c.out(), to, d);
        },
    .saves = save(In0 | Out),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      int64_t d = wrap_dim(c.i(1), g.ndim());
      Tensor risen = exp.call({c.in(0)}), sunk = exp.call({-c.out()});
      if (is_complex(g.dtype())) risen = conj.call({risen}), sunk = conj.call({sunk});
      return {risen * reversed_cumsum(g * sunk, d)};
    },
    .ref = "np.log(np.cumsum(np.exp(input), axis=dim))",
    .samples = {"x(2,3), 1", "x(4,), 0"},
});

namespace {
template <bool Max> const Op& def_cumulative(const char* sig, const char* doc) {
  return def({
      .sig = sig,
      .doc = doc,
      .rule =
          [](Call& c) {
            wrap_dim(c.i(1), c.in(0).ndim());
            c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
            c.out_meta(1, Dtype::i64, Dims(c.in(0).sizes()));
          },
      .cpu =
          [](Call& c) {
            int64_t d = wrap_dim(c.i(1), c.in(0).ndim());
            Tensor rows = contiguous_rows(c.in(0), d), to = output_rows(c.out(0), d),
                   at = output_rows(c.out(1), d);
            int64_t n = rows.size(-1), count = n ? rows.numel() / n : 0;
            int64_t* where = at.data<int64_t>();
            visit(c, rows.dtype(), [&]<class T>() {
              if constexpr (std::is_same_v<T, c64> || std::is_same_v<T, c128>)
                throw_unsupported(Max ? "cummax_cpu" : "cummin_cpu", dtype_of<T>);
              else {
                const T* x = rows.data<T>();
                T* y = to.data<T>();
                each_of_rows(count, n, [&](int64_t k) {
                  int64_t best = 0;
                  for (int64_t i = 0; i < n; ++i) {
                    auto v = convert<double>(load(x + k * n + i)),
                         b = convert<double>(load(x + k * n + best));
                    if (v != v || (b == b && (Max ? v >= b : v <= b))) best = i;
                    y[k * n + i] = load(x + k * n + best);
                    where[k * n + i] = best;
                  }
                });
              }
            });
            put_rows(c.out(0), to, d);
            put_rows(c.out(1), at, d);
          },
      .saves = save(Out1),
      .grad = [](const Call& c, const Tensor& g) -> Grads {
        if (g.ndim() == 0) return {g};
        static const Op& scatter_add = find_op("scatter_add");
        return {
            scatter_add.call({full(c.in_sizes(0), g.dtype(), 0), wrap_dim(c.i(1), g.ndim()), c.out(1), g})};
      },
      .samples = {"x(2,3), 1", "x(4,), 0"},
  });
}
}  // namespace
const Op& cummax = def_cumulative<true>("cummax(Tensor input, int dim) -> (Tensor values, Tensor indices)",
                                        "Running maximum along dim and its position.");
const Op& cummin = def_cumulative<false>("cummin(Tensor input, int dim) -> (Tensor values, Tensor indices)",
                                         "Running minimum along dim and its position.");

}  // namespace rushlight::ops

// Order along a dimension: sort, argsort, topk, kthvalue, median, mode, and the distinct elements of a tensor.
#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cpu/order.h"
#include "kernels/rows.h"
#include "ops/ops.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace rushlight::ops {

namespace {

// Total order with nan last (largest), as PyTorch sorts.
template <class T> bool before(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return a < b || (b != b && a == a);
  else return a < b;
}

template <class F> void visit_sortable(const Call& c, Dtype d, F&& f) {
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
// The same order in a dtype that is sorted: bools as 0 and 1.
Tensor sortable(const Tensor& t) {
  bool narrow = t.dtype() == Dtype::f16 || t.dtype() == Dtype::bf16;
  if (!narrow && t.dtype() != Dtype::boolean) return t;
  Tensor out = empty_like(t, narrow ? Dtype::f32 : Dtype::u8);
  copy(out, t);
  return out;
}
// Complex numbers have no order. PyTorch has its own words for each operator; the names are those of its kernels.
void refuse_complex(const Call& c) {
  Dtype d = c.in(0).dtype();
  const std::string& name = c.op.name;
  if (is_complex(d) && (name == "sort" || name == "argsort"))
    throw runtime_error(" Sort does not support complex dtypes on CPU");
  if (is_complex(d) && name == "topk") throw runtime_error(" topk does not support complex dtypes on CPU");
  if (d == Dtype::boolean && name == "topk") throw runtime_error("topk does not support bool dtypes on CPU");
  const bool median = name == "median" || name == "nanmedian";
  if (!is_complex(d) && !(d == Dtype::boolean && (median || name == "kthvalue"))) return;
  throw_unsupported(median              ? (c.op.nouts > 1 ? "median_out" : "median_cpu")
                    : name == "_unique" ? "unique"
                                        : (name + "_cpu").c_str(),
                    d);
}

// One row at a time: f(const T* row, n, T* values, int64_t* indices) writes m results.
template <class F> void along_dim(Call& c, int64_t d, int64_t m, F&& f) {
  Tensor rows = contiguous_rows(sortable(c.in(0)), d);
  int64_t n = rows.size(-1), count = 1;
  for (int64_t k = 0; k + 1 < rows.ndim(); ++k) count *= rows.size(k);
  Dims sizes(rows.sizes());
  sizes.back() = m;
  Tensor values = empty(sizes, rows.dtype()), indices = empty(sizes, Dtype::i64);
  int64_t* where = indices.data<int64_t>();
  visit_sortable(c, rows.dtype(), [&]<class T>() {
    const T* x = rows.data<T>();
    T* y = values.data<T>();
    each_of_rows(count, 8 * n, [&](int64_t k) { f(x + k * n, n, y + k * m, where + k * m); });
  });
  copy(dim_last(c.out(0), d), values);
  copy(dim_last(c.out(1), d), indices);
}

template <class T, class N> void put_ranked(const T* row, const N* sorted, int64_t n, T* values,
                                            int64_t* indices) {
  for (int64_t i = 0; i < n; ++i) {
    indices[i] = uint32_t(sorted[i]);
    values[i] = row[indices[i]];
  }
}
// Long integers that lie close together, as they do in practice, are sorted as 32-bit numbers. False: they do not.
// Else f(ranks) is called with the ranks in order.
template <class F> bool sort_narrow_ranks(const int64_t* row, int64_t n, bool descending, F&& f) {
  if (n < 64 || n > cpu::most_ranked) return false;
  const auto [least, most] = std::minmax_element(row, row + n);
  const uint64_t low = *least;
  if (uint64_t(*most) - low > UINT32_MAX) return false;
  auto ranks = cpu::scratch<uint64_t>(2 * n);
  for (int64_t i = 0; i < n; ++i) {
    const auto key = uint32_t(uint64_t(row[i]) - low);
    ranks[i] = uint64_t(descending ? ~key : key) << cpu::position_bits | uint32_t(i);
  }
  f(cpu::sort_ranked<uint32_t>(ranks.get(), ranks.get() + n, n));
  return true;
}
// f(ranks) of a row in order; false where it is too long for ranks.
template <class T, class F> bool sort_ranks(const T* row, int64_t n, bool descending, F&& f) {
  if constexpr (std::is_same_v<T, int64_t>)
    if (sort_narrow_ranks(row, n, descending, f)) return true;
  if (n > cpu::most_ranked) return false;
  auto ranks = cpu::scratch<cpu::Ranked<T>>(2 * n);
  cpu::rank_row(row, n, descending, ranks.get());
  f(cpu::sort_ranked<T>(ranks.get(), ranks.get() + n, n));
  return true;
}
template <class T> void sort_row(const T* row, int64_t n, T* values, int64_t* indices, bool descending) {
  if (sort_ranks(row, n, descending, [&](const auto* ranks) { put_ranked(row, ranks, n, values, indices); }))
    return;
  std::iota(indices, indices + n, int64_t(0));
  if (descending)
    std::stable_sort(indices, indices + n, [row](int64_t a, int64_t b) { return before(row[b], row[a]); });
  else std::stable_sort(indices, indices + n, [row](int64_t a, int64_t b) { return before(row[a], row[b]); });
  for (int64_t i = 0; i < n; ++i) values[i] = row[indices[i]];
}
// Where the element at place k (from 0) of the sorted row is.
template <class T> int64_t kth_position(const T* row, int64_t n, int64_t k) {
  if (n <= cpu::most_ranked) {
    auto ranks = cpu::scratch<cpu::Ranked<T>>(n);
    cpu::rank_row(row, n, false, ranks.get());
    return uint32_t(cpu::select_ranked<T>(ranks.get(), n, k));
  }
  std::vector<T> values(n);
  std::vector<int64_t> order(n);
  sort_row(row, n, values.data(), order.data(), false);
  return order[k];
}
// The first k elements of the sorted row. Ties: the earlier position wins.
template <class T> void top_of_row(const T* row, int64_t n, int64_t k, bool descending, T* values,
                                   int64_t* indices) {
  if (n > cpu::most_ranked) {
    std::vector<T> all(n);
    std::vector<int64_t> order(n);
    sort_row(row, n, all.data(), order.data(), descending);
    std::copy_n(all.data(), k, values);
    std::copy_n(order.data(), k, indices);
    return;
  }
  using N = cpu::Ranked<T>;
  if (k <= n / 256) {
    auto best = cpu::scratch<N>(cpu::first_ranked_room(k));
    cpu::first_ranked(row, n, k, descending, best.get());
    return put_ranked(row, best.get(), k, values, indices);
  }
  auto ranks = cpu::scratch<N>(n);
  cpu::rank_row(row, n, descending, ranks.get());
  if (k <= 64 || n < 512) {
    std::partial_sort(ranks.get(), ranks.get() + k, ranks.get() + n);
    return put_ranked(row, ranks.get(), k, values, indices);
  }
  const N last = cpu::select_ranked<T>(ranks.get(), n, k - 1);
  auto best = cpu::scratch<N>(2 * k + 1);
  int64_t m = 0;
  for (int64_t i = 0; i < n; ++i) {
    const N v = cpu::ranked(row[i], i, descending);
    best[m] = v;
    m += v <= last;
  }
  put_ranked(row, cpu::sort_ranked<T>(best.get(), best.get() + k + 1, k), k, values, indices);
}

void sort_kernel(Call& c, int dim_at, int descending_at) {
  int64_t d = wrap_dim(c.i(dim_at), c.in(0).ndim()), n = c.in(0).ndim() ? c.in(0).size(d) : 1;
  bool descending = c.b(descending_at);
  along_dim(c, d, n, [descending]<class T>(const T* row, int64_t n, T* values, int64_t* indices) {
    sort_row(row, n, values, indices, descending);
  });
}
void two_outputs(Call& c, Dims sizes) {
  refuse_complex(c);
  c.out_meta(0, c.in(0).dtype(), sizes);
  c.out_meta(1, Dtype::i64, sizes);
}
// The gradient of values[i] goes to input[indices[i]].
Tensor scatter_back(const Call& c, const Tensor& g, int64_t d, const Tensor& indices) {
  if (c.in_sizes(0).empty()) return reshape(g, Dims{});
  static const Op& scatter_ = find_op("scatter_", "src");
  return scatter_.call_inplace({full(c.in_sizes(0), g.dtype(), 0), d, indices, g});
}
// kthvalue, median, mode: one position along dim
Grads picked_gradient(const Call& c, const Tensor& g, int dim_at, int keepdim_at) {
  IntSpan sizes = c.in_sizes(0);
  int64_t d = wrap_dim(c.i(dim_at), sizes.size());
  return {scatter_back(c, restore_dims(g, sizes, Dims{d}, c.b(keepdim_at)), d,
                       restore_dims(c.out(1), sizes, Dims{d}, c.b(keepdim_at)))};
}
void one_per_row(Call& c, int dim_at, int keepdim_at) {
  const Tensor& t = c.in(0);
  int64_t d = wrap_dim(c.i(dim_at), t.ndim());
  if (t.ndim() && t.size(d) == 0)
    throw index_error(c.op.name, "(): Expected reduction dim ", d, " to have non-zero size.");
  two_outputs(c, reduced_sizes(t.sizes(), t.ndim() ? Dims{d} : Dims{}, c.b(keepdim_at)));
}
// Runs f over rows where the outputs have dim removed or kept as one.
template <class F> void pick_along(Call& c, int dim_at, int keepdim_at, F&& f) {
  const Tensor& t = c.in(0);
  int64_t d = wrap_dim(c.i(dim_at), t.ndim());
  Tensor values = c.outs[0], indices = c.outs[1];
  if (t.ndim() && !c.b(keepdim_at)) {  // along_dim wants the dimension in the outputs
    Dims sizes(t.sizes());
    sizes[d] = 1;
    c.outs[0] = alias(values, sizes, contiguous_strides(sizes), values.offset());
    c.outs[1] = alias(indices, sizes, contiguous_strides(sizes), indices.offset());
  }
  along_dim(c, d, 1, f);
  c.outs[0] = values;
  c.outs[1] = indices;
}

}  // namespace

const Op& sort = def({
    .sig = "sort(Tensor input, int dim=-1, bool descending=False, bool stable=False) -> (Tensor values, "
           "Tensor indices)",
    .doc = "Elements in order along dim, and where they were. Equal elements keep their order; nan counts as "
           "largest.",
    .rule =
        [](Call& c) {
          wrap_dim(c.i(1), c.in(0).ndim());
          two_outputs(c, Dims(c.in(0).sizes()));
        },
    .kernel_name = "sorting_kernel_method_name",
    .cpu = [](Call& c) { sort_kernel(c, 1, 2); },
    .saves = save(Out1),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      return {scatter_back(c, g, wrap_dim(c.i(1), c.in_sizes(0).size()), c.out(1))};
    },
    .samples = {"x(2,5)", "x(4,3), 0, descending=True"},
});
const Op& sort_stable = def({
    .sig = "sort.stable(Tensor input, *, bool? stable, int dim=-1, bool descending=False) -> (Tensor values, "
           "Tensor indices)",
    .doc = "sort with the keyword stable first.",
    .rule =
        [](Call& c) {
          wrap_dim(c.i(2), c.in(0).ndim());
          two_outputs(c, Dims(c.in(0).sizes()));
        },
    .kernel_name = "sorting_kernel_method_name",
    .cpu = [](Call& c) { sort_kernel(c, 2, 3); },
    .saves = save(Out1),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      return {scatter_back(c, g, wrap_dim(c.i(2), c.in_sizes(0).size()), c.out(1))};
    },
    .samples = {"x(2,5), stable=True"},
});
const Op& argsort = def({
    .sig = "argsort(Tensor input, int dim=-1, bool descending=False, bool stable=False) -> Tensor",
    .doc = "The indices that sort(input, dim) gives.",
    .cpu = [](Call& c) { c.outs.push_back(sort.call_list({c.in(0), c.i(1), c.b(2)})[1]); },
    .composite = true,
    .ref = "np.argsort(-input if descending else input, axis=dim, kind='stable')",
    .samples = {"x(2,5)", "x(4,3), 0, descending=True"},
});
const Op& msort = def({
    .sig = "msort(Tensor input) -> Tensor",
    .doc = "Elements in order along the first dimension.",
    .cpu = [](Call& c) { c.outs.push_back(sort.call_list({c.in(0), 0})[0]); },
    .composite = true,
    .ref = "np.sort(input, axis=0)",
    .samples = {"x(4,3)"},
});

const Op& topk = def({
    .sig = "topk(Tensor input, int k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, "
           "Tensor indices)",
    .doc = "The k largest (or smallest) elements along dim, in order, and where they are.",
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          int64_t d = wrap_dim(c.i(2), t.ndim()), n = t.ndim() ? t.size(d) : 1;
          if (c.i(1) < 0 || c.i(1) > n) throw runtime_error("selected index k out of range");
          if (t.dtype() == Dtype::boolean) throw runtime_error("topk does not support bool dtypes on CPU");
          Dims sizes(t.sizes());
          if (t.ndim()) sizes[d] = c.i(1);
          two_outputs(c, sizes);
        },
    .cpu =
        [](Call& c) {
          int64_t d = wrap_dim(c.i(2), c.in(0).ndim()), k = c.i(1);
          bool largest = c.b(3);
          if (k == 0) return;
          along_dim(c, d, k, [k, largest]<class T>(const T* row, int64_t n, T* values, int64_t* indices) {
            top_of_row(row, n, k, largest, values, indices);
          });
        },
    .saves = save(Out1),
    .grad = [](const Call& c, const Tensor& g) -> Grads {
      return {scatter_back(c, g, wrap_dim(c.i(2), c.in_sizes(0).size()), c.out(1))};
    },
    .samples = {"x(2,5), 2", "x(4,3), 2, 0, largest=False"},
});

const Op& kthvalue = def({
    .sig = "kthvalue(Tensor input, int k, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc = "The k-th smallest element along dim (counted from one) and where it is.",
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          int64_t d = wrap_dim(c.i(2), t.ndim()), n = t.ndim() ? t.size(d) : 1;
          if (c.i(1) < 1 || c.i(1) > n)
            throw runtime_error("kthvalue(): selected number k out of range for dimension ", d);
          one_per_row(c, 2, 3);
        },
    .cpu =
        [](Call& c) {
          int64_t k = c.i(1);
          pick_along(c, 2, 3, [k]<class T>(const T* row, int64_t n, T* value, int64_t* index) {
            *index = kth_position(row, n, k - 1);
            *value = row[*index];
          });
        },
    .saves = save(Out1),
    .grad = [](const Call& c, const Tensor& g) -> Grads { return picked_gradient(c, g, 2, 3); },
    .samples = {"x(2,5), 2", "x(4,3), 1, 0, keepdim=True"},
});

namespace {

// The lower median; with skip, nan elements do not count, otherwise one nan makes the result nan.
template <bool Skip> struct Median {
  template <class T> void operator()(const T* row, int64_t n, T* value, int64_t* index) const {
    int64_t good = n;  // elements that are not nan
    if constexpr (std::is_floating_point_v<T>) {
      good = std::count_if(row, row + n, [](T x) { return x == x; });
      if (good < n && !Skip) {
        *index = std::find_if(row, row + n, [](T x) { return x != x; }) - row;
        *value = row[*index];
        return;
      }
    }
    *index = kth_position(row, n, ((good ? good : n) - 1) / 2);
    *value = row[*index];
  }
};

template <bool Skip> const Op& def_median_dim(const char* sig, const char* doc) {
  return def({
      .sig = sig,
      .doc = doc,
      .rule = [](Call& c) { one_per_row(c, 1, 2); },
      .cpu = [](Call& c) { pick_along(c, 1, 2, Median<Skip>{}); },
      .saves = save(Out1),
      .grad = [](const Call& c, const Tensor& g) -> Grads { return picked_gradient(c, g, 1, 2); },
      .grad_name = Skip ? "NanmedianBackward1" : "MedianBackward1",
      .samples = {"x(2,5), 1", "x(4,3), 0, keepdim=True"},
  });
}
template <bool Skip> const Op& def_median(const char* sig, const char* doc, const char* ref) {
  return def({
      .sig = sig,
      .doc = doc,
      .rule =
          [](Call& c) {
            refuse_complex(c);
            c.out_meta(0, c.in(0).dtype(), Dims{});
          },
      .cpu =
          [](Call& c) {
            Tensor in = sortable(c.in(0));
            if (!in.numel()) {
              fill(c.out(), Value(differentiable(in.dtype()) ? double(NAN) : double(INT64_MIN)));
              return;
            }
            Tensor flat = in;
            if (!in.contiguous()) copy(flat = empty(in.sizes(), in.dtype()), in);
            visit_sortable(c, in.dtype(), [&]<class T>() {
              T value;
              int64_t index;
              Median<Skip>{}(flat.data<T>(), flat.numel(), &value, &index);
              fill(c.out(), std::is_floating_point_v<T> ? Value(double(value)) : Value(int64_t(value)));
            });
          },
      .saves = save(In0 | Out),
      .grad = [](const Call& c, const Tensor& g) -> Grads {
        Tensor hit = to_dtype.call(
            {logical_or.call({eq.call({c.in(0), c.out()}), ne.call({c.out(), c.out()})}), g.dtype()});
        return {expand.call({g, c.in_sizes(0)}) * hit / find_op("sum").call({hit})};
      },
      .ref = ref,
      .samples = {"x(5,)", "x(3,3)"},
  });
}
}  // namespace
const Op& median = def_median<false>("median(Tensor input) -> Tensor", "The lower median of all elements.",
                                     "np.sort(input.ravel())[(input.size - 1) // 2]");
const Op& median_dim = def_median_dim<false>(
    "median.dim(Tensor input, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
    "The lower median along dim and where it is.");
const Op& nanmedian = def_median<true>("nanmedian(Tensor input) -> Tensor",
                                       "The lower median of the elements that are not nan.",
                                       "np.sort(input.ravel())[(input.size - 1) // 2]");
const Op& nanmedian_dim = def_median_dim<true>(
    "nanmedian.dim(Tensor input, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
    "The lower median along dim of the elements that are not nan.");

const Op& mode = def({
    .sig = "mode(Tensor input, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc = "The most frequent element along dim (the smallest of several) and its last position.",
    .rule = [](Call& c) { one_per_row(c, 1, 2); },
    .cpu =
        [](Call& c) {
          pick_along(c, 1, 2, []<class T>(const T* row, int64_t n, T* value, int64_t* index) {
            std::vector<T> values(n);
            std::vector<int64_t> order(n);
            sort_row(row, n, values.data(), order.data(), false);
            int64_t best = 0, start = 0, longest = 0;
            for (int64_t i = 1; i <= n; ++i)
              if (i == n || values[i] != values[start]) {
                if (i - start > longest) longest = i - start, best = i - 1;
                start = i;
              }
            *index = order[best];
            *value = values[best];
          });
        },
    .saves = save(Out1),
    .grad = [](const Call& c, const Tensor& g) -> Grads { return picked_gradient(c, g, 1, 2); },
    .samples = {"ties(2,5)", "ties(4,3), 0, keepdim=True"},
});

// ---- distinct elements ----
namespace {
// What _unique finds: the position of an element of each group, how many there are, and, if wanted, the group of
// every element.
struct Groups {
  std::vector<int64_t> where, counts;
  int64_t* inverse = nullptr;

  void begin(int64_t at) {
    where.push_back(at);
    counts.push_back(0);
  }
  void add(int64_t at) {
    ++counts.back();
    if (inverse) inverse[at] = int64_t(counts.size()) - 1;
  }
};

// Integers that lie close together are counted, not sorted. False: they do not.
template <class T> bool count_groups(const T* x, int64_t n, Groups& out) {
  if (n == 0) return false;
  const auto [least, most] = std::minmax_element(x, x + n);
  const auto low = uint64_t(*least), span = uint64_t(*most) - low;
  if (span >= uint64_t(std::max<int64_t>(n, 256))) return false;
  struct Found {
    int64_t count = 0, group = 0, last = 0;
  };
  std::vector<Found> found(span + 1);
  for (int64_t i = 0; i < n; ++i) {
    Found& f = found[uint64_t(x[i]) - low];
    ++f.count;
    f.last = i;
  }
  for (Found& f : found)
    if (f.count) {
      f.group = int64_t(out.where.size());
      out.where.push_back(f.last);
      out.counts.push_back(f.count);
    }
  if (out.inverse)
    for (int64_t i = 0; i < n; ++i) out.inverse[i] = found[uint64_t(x[i]) - low].group;
  return true;
}

template <class T> void sort_groups(const T* x, int64_t n, Groups& out) {
  const bool ranked = sort_ranks(x, n, false, [&](const auto* ranks) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = uint32_t(ranks[i]);
      // nan equals nothing
      if (i == 0 || ranks[i] >> cpu::position_bits != ranks[i - 1] >> cpu::position_bits || x[at] != x[at])
        out.begin(at);
      out.add(at);
    }
  });
  if (ranked) return;
  std::vector<int64_t> order(n);
  std::vector<T> sorted(n);
  sort_row(x, n, sorted.data(), order.data(), false);
  for (int64_t i = 0; i < n; ++i) {
    if (i == 0 || sorted[i] != sorted[i - 1]) out.begin(order[i]);
    out.add(order[i]);
  }
}
}  // namespace

const Op& unique_flat = def({
    .sig =
        "_unique(Tensor input, bool consecutive=False, bool inverse=True) -> (Tensor values, Tensor inverse, "
        "Tensor counts)",
    .doc = "Distinct elements of the flattened input in order (or runs of equal ones), each element's place "
           "among them (nothing without inverse), and how often they occur.",
    .forms = Forms::function,
    .rule = [](Call& c) { refuse_complex(c); },
    .kernel_name = "unique",
    .cpu =
        [](Call& c) {
          Tensor in = sortable(c.in(0)), flat = in;
          if (!in.contiguous()) copy(flat = empty(in.sizes(), in.dtype()), in);
          int64_t n = flat.numel();
          Tensor inverse = empty(c.b(2) ? Dims(c.in(0).sizes()) : Dims{0}, Dtype::i64);
          Groups groups;
          if (c.b(2)) groups.inverse = inverse.data<int64_t>();
          Tensor values;
          visit_sortable(c, flat.dtype(), [&]<class T>() {
            const T* x = flat.data<T>();
            if (c.b(1)) {
              for (int64_t i = 0; i < n; ++i) {
                if (i == 0 || x[i] != x[i - 1]) groups.begin(i);
                groups.add(i);
              }
            } else {
              bool counted = false;
              if constexpr (std::is_integral_v<T>) counted = count_groups(x, n, groups);
              if (!counted) sort_groups(x, n, groups);
            }
            values = empty(Dims{int64_t(groups.where.size())}, flat.dtype());
            for (size_t i = 0; i < groups.where.size(); ++i) values.data<T>()[i] = x[groups.where[i]];
          });
          Tensor counts = empty(Dims{int64_t(groups.counts.size())}, Dtype::i64);
          std::copy(groups.counts.begin(), groups.counts.end(), counts.data<int64_t>());
          if (values.dtype() != c.in(0).dtype()) {
            Tensor back = empty(values.sizes(), c.in(0).dtype());
            copy(back, values);
            values = back;
          }
          c.outs = {values, inverse, counts};
        },
});

}  // namespace rushlight::ops

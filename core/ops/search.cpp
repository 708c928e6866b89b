// Places in sorted sequences, and counts of values: searchsorted, bucketize, bincount, histc.
#include <cmath>
#include <mutex>
#include <tuple>

#include "autograd/node.h"
#include "kernels/copy.h"
#include "kernels/cpu/index.h"
#include "kernels/lanes.h"
#include "kernels/parallel.h"
#include "kernels/with_isa.h"
#include "ops/index.h"
#include "op/warn.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

template <class T> auto comparable(T x) {
  if constexpr (HalfPrecision<T>) return float(x);
  else return x;
}

// For each value the first place in its row of `sorted` whose element is not smaller (right: is larger).
template <class T, class Out>
void search_rows(const Tensor& sorted, const int64_t* order, const Tensor& values, const Tensor& out,
                 bool right) {
  int64_t length = sorted.ndim() ? sorted.size(-1) : 1,
          per_row = sorted.ndim() == 1 || values.ndim() == 0 ? values.numel() : values.size(-1);
  const T *sequence = sorted.data<T>(), *from = values.data<T>();
  Out* to = out.data<Out>();
  parallel_for(values.numel(), 4096, [&](int64_t begin, int64_t end) {
    constexpr int together = 8;
    int64_t i = begin;
    // Several values step by step side by side: while one waits for memory, so do the others.
    for (; sorted.ndim() == 1 && !order && length > 0 && i + together <= end; i += together) {
      int64_t low[together] = {}, left = length;
      auto is_before = [&](int64_t place, int k) {
        auto x = comparable(sequence[place]), value = comparable(from[i + k]);
        return right ? !(x > value) : !(x >= value);
      };
      for (; left > 1; left -= left / 2)
        for (int k = 0; k < together; ++k)
          low[k] += -int64_t(is_before(low[k] + left / 2 - 1, k)) & (left / 2);
      for (int k = 0; k < together; ++k) to[i + k] = Out(low[k] + is_before(low[k], k));
    }
    for (; i < end; ++i) {
      int64_t base = sorted.ndim() == 1 ? 0 : i / per_row * length;
      auto value = comparable(from[i]);
      int64_t low = 0, left = length;
      while (left > 0) {  // without branches, which could not be predicted
        int64_t half = left / 2, middle = low + half;
        auto x = comparable(sequence[base + (order ? order[base + middle] : middle)]);
        bool is_before = right ? !(x > value) : !(x >= value);
        low += -int64_t(is_before) & (half + 1);
        left = half + (-int64_t(is_before) & (left - 2 * half - 1));
      }
      to[i] = Out(low);
    }
  });
}

void warn_if_strided(const Tensor& t, const char* what) {
  if (!is_contiguous(t.sizes(), t.strides()))
    warn_once(cat_text("torch.searchsorted(): ", what,
                       " tensor is non-contiguous, this will lower the performance due to extra data copy "
                       "when converting non-contiguous tensor to contiguous, please use contiguous ",
                       what, " tensor if possible. This message will only appear once per program."));
}

void search(Call& c, const Tensor& sequence, const Tensor& sorter, const Tensor& values, bool right) {
  Dtype common = promote(sequence.dtype(), values.dtype());
  if (values->wrapped_number) common = result_type(std::initializer_list<Value>{sequence, values});
  warn_if_strided(values, "input value");
  warn_if_strided(sequence, "boundary");
  if (sorter) warn_if_strided(sorter, "sorter");
  Tensor sorted = packed(sequence, common, sequence.sizes()), wanted = packed(values, common, values.sizes());
  Tensor order;
  if (sorter) {
    order = packed(sorter, Dtype::i64, sorter.sizes());
    if (cpu::first_outside(order.data<int64_t>(), order.numel(), 0, sorted.size(-1)) >= 0)
      throw runtime_error("torch.searchsorted(): sorter index out of range");
  }
  const int64_t* places = order ? order.data<int64_t>() : nullptr;
  visit(
      common,
      [&]<class T>() {
        if constexpr (std::is_same_v<T, c64> || std::is_same_v<T, c128>)
          throw_unsupported("searchsorted_out_cpu", common);
        else if (c.out().dtype() == Dtype::i32)
          search_rows<T, int32_t>(sorted, places, wanted, c.out(), right);
        else search_rows<T, int64_t>(sorted, places, wanted, c.out(), right);
      },
      "searchsorted_out_cpu");
}

Tensor number_tensor(const Value& v) {
  Dtype d = v.tag == Value::boolean ? Dtype::boolean : v.tag == Value::integer ? Dtype::i64 : default_dtype();
  Tensor t = empty(IntSpan{}, d);
  rushlight::fill(t, v);
  t->wrapped_number = true;
  return t;
}

// sorted_sequence, input, out_int32, right, side, sorter
void searchsorted_rule(Call& c) {
  const Tensor& seq = c.in(0);
  bool tensor = c.arg(1).tag == Value::tensor;
  if (seq.ndim() == 0)
    throw runtime_error(
        "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension");
  if (c.has(4)) {
    if (c.s(4) != "left" && c.s(4) != "right")
      throw runtime_error("torch.searchsorted(): side can only be 'left' or 'right' but got ", c.s(4));
    if (c.b(3) && c.s(4) == "left")
      throw runtime_error(
          "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was "
          "True");
  }
  Dims sizes = tensor ? Dims(c.in(1).sizes()) : Dims();
  bool fits = seq.ndim() == 1 ||
              (sizes.size() == size_t(seq.ndim()) &&
               same(IntSpan(sizes).first(sizes.size() - 1), seq.sizes().first(seq.ndim() - 1)));
  if (!fits)
    throw runtime_error(
        "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
        "boundaries "
        "tensor and input value tensor must match, but we got boundaries tensor ",
        show(seq.sizes()), " and input value tensor ", show(sizes));
  if (c.has(5)) {
    if (!same(c.in(5).sizes(), seq.sizes()))
      throw runtime_error(
          "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor ",
          show(seq.sizes()), "and got sorter tensor ", show(c.in(5).sizes()));
    if (c.in(5).dtype() != Dtype::i64)
      throw runtime_error("torch.searchsorted(): sorter must be a tensor of long dtype but got dtype ",
                          info(c.in(5).dtype()).scalar_name);
  }
  c.out_meta(0, c.b(2) ? Dtype::i32 : Dtype::i64, std::move(sizes));
}
void searchsorted_kernel(Call& c) {
  Tensor values = c.arg(1).tag == Value::tensor ? c.in(1) : number_tensor(c.arg(1));
  search(c, c.in(0), c.has(5) ? c.in(5) : Tensor(), values, c.b(3) || (c.has(4) && c.s(4) == "right"));
}
#define RL_SEARCH "*, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None) -> Tensor"
const Op& searchsorted = def({
    .sig = "searchsorted(Tensor sorted_sequence, Tensor input, " RL_SEARCH,
    .doc = "Places at which the values of input keep sorted_sequence sorted: before equal elements, or "
           "(right) behind them.",
    .forms = function | out_form,
    .rule = searchsorted_rule,
    .cpu = searchsorted_kernel,
    .samples = {"rl.arange(5.0), x(2,3)", "rl.arange(5.0), x(4), right=True"},
});
const Op& searchsorted_number = def({
    .sig = "searchsorted.Scalar(Tensor sorted_sequence, Scalar self, " RL_SEARCH,
    .doc = "The same for one number.",
    .forms = function | out_form,
    .rule = searchsorted_rule,
    .cpu = searchsorted_kernel,
});

void bucketize_rule(Call& c) {
  if (c.in(1).ndim() != 1)
    throw runtime_error("boundaries tensor must be 1 dimension, but got dim(", c.in(1).ndim(), ")");
  c.out_meta(0, c.b(2) ? Dtype::i32 : Dtype::i64,
             c.arg(0).tag == Value::tensor ? Dims(c.in(0).sizes()) : Dims());
}
void bucketize_kernel(Call& c) {
  search(c, c.in(1), {}, c.arg(0).tag == Value::tensor ? c.in(0) : number_tensor(c.arg(0)), c.b(3));
}
const Op& bucketize = def({
    .sig = "bucketize(Tensor input, Tensor boundaries, *, bool out_int32=False, bool right=False) -> Tensor",
    .doc = "Number of the bucket, among those that sorted boundaries separate, in which each value lies.",
    .forms = function | out_form,
    .rule = bucketize_rule,
    .cpu = bucketize_kernel,
    .samples = {"x(2,3), rl.arange(3.0)", "x(4), rl.arange(3.0), right=True"},
});
const Op& bucketize_number = def({
    .sig = "bucketize.Scalar(Scalar self, Tensor boundaries, *, bool out_int32=False, bool right=False) -> "
           "Tensor",
    .doc = "The same for one number.",
    .forms = function,
    .rule = bucketize_rule,
    .cpu = bucketize_kernel,
});

const Op& bincount = def({
    .sig = "bincount(Tensor input, Tensor? weights=None, int minlength=0) -> Tensor",
    .doc =
        "How often each number 0, 1, ... occurs in a vector, or the sum of the weights of its occurrences.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.is_meta()) throw not_implemented("bincount on the meta device");
          if (c.i(2) < 0) throw runtime_error("minlength should be >= 0");
          if (!is_integral(t.dtype())) throw_unsupported("bincount_cpu", t.dtype());
          if (c.has(1) && (c.in(1).ndim() != 1 || c.in(1).numel() != t.numel()))
            throw runtime_error("weights should be 1-d and have the same length as input");
          Tensor numbers = packed(t, Dtype::i64, t.sizes());
          const int64_t* from = numbers.data<int64_t>();
          int64_t n = numbers.numel(), length = c.i(2);
          int64_t least = 0, most = -1;
          with_isa([from, n, &least, &most] {
            int64_t low = 0, high = -1;
            for (int64_t i = 0; i < n; ++i) low = std::min(low, from[i]), high = std::max(high, from[i]);
            least = low;
            most = high;
          });
          length = std::max(length, most == INT64_MAX ? INT64_MAX : most + 1);
          if (t.ndim() != 1 || least < 0)
            throw runtime_error("bincount only supports 1-d non-negative integral inputs.");
          Dtype d = !c.has(1) ? Dtype::i64 : c.in(1).dtype() == Dtype::f32 ? Dtype::f32 : Dtype::f64;
          Tensor out = full(Dims{length}, d, 0);
          out->inference = modes().inference;
          if (!c.has(1)) {
            int64_t* counts = out.data<int64_t>();
            for (int64_t i = 0; i < n; ++i) ++counts[from[i]];
          } else {
            Tensor weights = packed(c.in(1), d, c.in(1).sizes());
            visit_float(d, [&]<class T>() {
              for (int64_t i = 0; i < n; ++i) out.data<T>()[from[i]] += weights.data<T>()[i];
            });
          }
          c.outs[0] = out;
        },
    .ref = "np.bincount(input, weights, minlength)",
    .samples = {"i(9; 0, 5)", "i(9; 0, 5), x(9), 7"},
});

// ---- histograms ----
// The smallest and the largest of n > 0 values; nan where there is one.
template <class T> std::pair<T, T> range_of(const T* x, int64_t n) {
  constexpr int64_t chunk = 65536;
  const int64_t chunks = (n + chunk - 1) / chunk;
  std::vector<std::pair<T, T>> parts(chunks);
  parallel_for(n, chunk, [&](int64_t begin, int64_t end) {
    with_isa([x, begin, end, part = &parts[begin / chunk]] {
      Lanes<T> low(x[begin]), high(x[begin]), other(T(0));  // other: whether there is a nan
      int64_t i = begin;
      for (; i + lane_count <= end; i += lane_count) RL_LANES
      for (int k = 0; k < lane_count; ++k) {
        const T value = x[i + k];
        low.lane[k] = value < low.lane[k] ? value : low.lane[k];
        high.lane[k] = value > high.lane[k] ? value : high.lane[k];
        other.lane[k] = value == value ? other.lane[k] : T(1);
      }
      for (; i < end; ++i) {
        low.lane[0] = x[i] < low.lane[0] ? x[i] : low.lane[0];
        high.lane[0] = x[i] > high.lane[0] ? x[i] : high.lane[0];
        other.lane[0] = x[i] == x[i] ? other.lane[0] : T(1);
      }
      if (other.combine([](T a, T b) { return a > b ? a : b; }) > 0 || x[begin] != x[begin])
        *part = {T(NAN), T(NAN)};
      else
        *part = {low.combine([](T a, T b) { return b < a ? b : a; }),
                 high.combine([](T a, T b) { return b > a ? b : a; })};
    });
  });
  std::pair<T, T> all = parts[0];
  for (auto& [low, high] : parts) {
    if (low != low || all.first != all.first) all = {T(NAN), T(NAN)};
    else all = {std::min(all.first, low), std::max(all.second, high)};
  }
  return all;
}

// The bin of each value, `bins` for those outside.
template <class T> RL_INLINE void find_bins(const T* x, int64_t n, int64_t bins, T low, T high, int64_t* to) {
  const T count = T(bins), width = high - low;
  RL_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const bool inside = x[i] >= low && x[i] <= high;
    const int64_t bin = int64_t((inside ? x[i] - low : T(0)) * count / width);
    to[i] = inside ? std::min(bin, bins - 1) : bins;
  }
}
// Counts of the values between low and high in bins of equal width.
template <class T> std::vector<int64_t> bin_counts(const T* x, int64_t n, int64_t bins, T low, T high) {
  std::vector<int64_t> counts(bins + 1);  // the last one: values outside
  std::mutex adding;
  parallel_for(n, std::max<int64_t>(65536, 4 * bins), [&](int64_t begin, int64_t end) {
    constexpr int64_t block = 512;
    int64_t place[block];
    std::vector<int64_t> own(bins + 1);
    for (int64_t at = begin; at < end; at += block) {
      const int64_t m = std::min(block, end - at);
      with_isa([=, to = &place[0]] { find_bins(x + at, m, bins, low, high, to); });
      for (int64_t i = 0; i < m; ++i) ++own[place[i]];
    }
    std::lock_guard lock(adding);
    for (int64_t i = 0; i < bins; ++i) counts[i] += own[i];
  });
  return counts;
}

const Op& histc = def({
    .sig = "histc(Tensor input, int bins=100, float min=0.0, float max=0.0) -> Tensor",
    .doc = "Counts of the values in bins of equal width between min and max (by default the smallest and "
           "largest value).",
    .rule =
        [](Call& c) {
          if (!is_float(c.in(0).dtype())) throw_unsupported("histogram_cpu", c.in(0).dtype());
          if (c.i(1) <= 0)
            throw runtime_error("torch.histogram(): bins must be > 0, but got ", c.i(1), " for dimension 0");
          if (!(c.d(3) >= c.d(2))) throw runtime_error("torch.histc: max must be larger than min");
          c.out_meta(0, c.in(0).dtype(), Dims{c.i(1)});
        },
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          bool wide = t.dtype() == Dtype::f64;
          Tensor values = packed(t, wide ? Dtype::f64 : Dtype::f32, t.sizes());
          visit_float(values.dtype(), [&]<class T>() {
            const T* x = values.data<T>();
            int64_t n = values.numel(), bins = c.i(1);
            T low = T(c.d(2)), high = T(c.d(3));
            if (low == high && n) std::tie(low, high) = range_of(x, n);
            if (!std::isfinite(low) || !std::isfinite(high))
              throw runtime_error("torch.histc: range of [", low, ", ", high, "] is not finite");
            if (low == high) low -= 1, high += 1;
            const std::vector<int64_t> counts = bin_counts(x, n, bins, low, high);
            visit(c.out().dtype(), [&]<class Out>() {
              for (int64_t i = 0; i < bins; ++i) c.out().data<Out>()[i] = convert<Out>(counts[i]);
            });
          });
        },
    .samples = {"x(20), 5, -1, 1", "x(20), 4"},
});

}  // namespace

}  // namespace rushlight::ops

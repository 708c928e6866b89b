// gather and its inverse: scatter, scatter_add, scatter_reduce. Whole positions are written in positions.cpp.
#include <atomic>
#include <memory>

#include "kernels/copy.h"
#include "kernels/cpu/index.h"
#include "kernels/loop.h"
#include "kernels/stream.h"
#include "kernels/with_isa.h"
#include "ops/both.h"
#include "ops/index.h"
#include "ops/scatter.h"
#include "ops/ops.h"
#include "ops/view.h"

namespace rushlight::ops {

namespace {

// ---- checks ----
void check_dtype(const Op& op, const Tensor& index) {
  if (index.dtype() != Dtype::i64 && index.dtype() != Dtype::i32)
    throw runtime_error(op.name, "(): Expected dtype int32/int64 for index");
}
int64_t at_least_1(int64_t n) { return n ? n : 1; }
int64_t stride_of(const Tensor& t, int64_t d) { return t.ndim() ? t.stride(d) : 0; }

void scatter_check(const Call& c, const Tensor& t, int64_t dim, const Tensor& index, const Tensor* source) {
  int64_t d = wrap_dim(dim, t.ndim());
  check_dtype(c.op, index);
  if (source && source->dtype() != t.dtype())
    throw runtime_error("scatter(): Expected self.dtype to be equal to src.dtype");
  if (index.numel() == 0) return;
  if (at_least_1(index.ndim()) != at_least_1(t.ndim()))
    throw runtime_error("Index tensor must have the same number of dimensions as self tensor");
  if (source && at_least_1(index.ndim()) != at_least_1(source->ndim()))
    throw runtime_error("Index tensor must have the same number of dimensions as src tensor");
  bool fits = true;
  for (int64_t k = 0; k < index.ndim(); ++k) {
    if (k != d && index.size(k) > size_of(t, k)) fits = false;
    if (source && index.size(k) > size_of(*source, k)) fits = false;
  }
  if (fits) return;
  if (source)
    throw runtime_error("Expected index ", show(index.sizes()), " to be no larger than self ",
                        show(t.sizes()), " apart from dimension ", d, " and to be no larger size than src ",
                        show(source->sizes()));
  throw runtime_error("Expected index ", show(index.sizes()), " to be no larger than self ", show(t.sizes()),
                      " apart from dimension ", d);
}

// Raises where one of int64 numbers in row-major order is outside the dimension.
void check_index(const Tensor& numbers, const Tensor& t, int64_t d) {
  const int64_t* from = numbers.data<int64_t>();
  if (int64_t at = cpu::first_outside(from, numbers.numel(), 0, size_of(t, d)); at >= 0)
    throw runtime_error("index ", from[at], " is out of bounds for dimension ", d, " with size ",
                        size_of(t, d));
}

// ---- loops ----
// t as an operand of a loop over index: its own strides, none along the indexed dimension.
int add_along(Loop& loop, const Tensor& t, const Tensor& index, int64_t d) {
  Dims strides(t.strides());
  if (t.ndim()) strides[d] = 0;
  strides.resize(index.ndim());
  return loop.add(t.raw(), index.sizes(), strides, t.itemsize());
}

constexpr int64_t gather_block = 256;  // elements gathered before they are written past the caches

// to[i] = from[at[i] * apart]; false where one of the numbers is outside.
template <class T>
RL_INLINE bool gather_dense(T* to, const T* from, const int64_t* at, int64_t n, int64_t apart,
                            uint64_t size) {
  uint64_t most = 0;
  RL_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t place = at[i];
    most = std::max(most, place);
    to[i] = from[int64_t(place < size ? place : 0) * apart];
  }
  return most < size;
}

// Numbers outside the dimension are found on the way, for long ones come from memory only once: false then.
template <class T> bool gather_rows(const Tensor& out, const Tensor& t, const Tensor& index, int64_t d) {
  Loop loop(index.sizes());
  loop.add(out);
  loop.add(index);
  add_along(loop, t, index, d);
  loop.finish();
  const uint64_t size = size_of(t, d);
  if (size == 0) return false;
  int64_t step = stride_of(t, d) * int64_t(sizeof(T));
  int64_t so = loop.stride(0), si = loop.stride(1), st = loop.stride(2);
  bool dense = so == int64_t(sizeof(T)) && si == int64_t(sizeof(int64_t)) && st == 0;
  const bool past = dense && streams(loop.numel * int64_t(2 * sizeof(T) + sizeof(int64_t)));
  std::atomic<bool> outside{false};
  auto gather_row = [=, &outside](char* const* p, int64_t n) {
    bool bad = false;
    if (dense) {  // along the last dimension, as is usual
      T* to = reinterpret_cast<T*>(p[0]);
      const T* from = reinterpret_cast<const T*>(p[2]);
      const int64_t* at = reinterpret_cast<const int64_t*>(p[1]);
      const int64_t apart = step / int64_t(sizeof(T));
      // a row of which much is read, in no order, comes in order first
      if (apart == 1 && size * sizeof(T) <= 32768 && uint64_t(n) >= size / 4) prefetch(from, size);
      alignas(64) char gathered[gather_block * sizeof(T)];
      for (int64_t i = 0, most = past ? gather_block : n; i < n; i += most) {
        const int64_t m = std::min(most, n - i);
        T* const target = past ? reinterpret_cast<T*>(gathered) : to + i;
        if (past) prefetch(at + i + 2 * most, m);
        bool inside = true;
        with_isa([=, numbers = at + i, &inside] {
          if (apart == 1) inside = gather_dense(target, from, numbers, m, 1, size);
          else inside = gather_dense(target, from, numbers, m, apart, size);
        });
        bad |= !inside;
        if (past) stream_copy(to + i, gathered, m * sizeof(T));
      }
    } else {
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = *reinterpret_cast<const int64_t*>(p[1] + i * si);
        const bool beyond = uint64_t(at) >= size;
        bad |= beyond;
        *reinterpret_cast<T*>(p[0] + i * so) =
            *reinterpret_cast<const T*>(p[2] + i * st + (beyond ? 0 : at) * step);
      }
    }
    if (bad) outside = true;
  };
  parallel_for(loop.numel, pointwise_grain, [&](int64_t begin, int64_t end) {
    loop.each_row(begin, end, gather_row);
    if (past) stream_end();
  });
  return !outside;
}

// write(to[at[i] * apart + i * beside], from[i]), or from[0] for all; numbers outside are left out, and false then. By value, for the
// compiler must see that what is written changes none of it.
template <class T, class F>
RL_INLINE bool write_row(T* to, int64_t apart, int64_t beside, const int64_t* at, uint64_t size,
                         const T* from, bool one, int64_t n, F write) {
  constexpr int64_t block = 128, ahead = 4 * block;
  bool bad = false;
  const int64_t step = one ? 0 : 1;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(begin + block, n);
    if (n > ahead) {
      prefetch(at + begin + ahead, end - begin);
      if (!one) prefetch(from + begin + ahead, end - begin);
    }
    for (int64_t i = begin; i < end; ++i) {
      if (uint64_t(at[i]) < size) write(to[at[i] * apart + i * beside], from[i * step]);
      else bad = true;
    }
  }
  return !bad;
}

enum class Scattered { not_here, done, found_outside };

// Whether a fresh output can be made of these values row by row: they are contiguous, or zeros that need not be read.
bool has_rows(const Tensor& original) { return original.contiguous() || is_spread_zero(original); }

// Scattering along the last dimension, contiguous and of one shape but for that, into a fresh t: each row is copied, written to
// and stored.
template <class T, class F>
Scattered scatter_fresh_rows(const Tensor& t, const Tensor& original, const Tensor& index,
                             const Tensor& source, bool one, int64_t d, F&& write) {
  if (d + 1 != t.ndim() || !has_rows(original) || !index.contiguous()) return Scattered::not_here;
  if (!one && !(source.contiguous() && same(source.sizes(), index.sizes()))) return Scattered::not_here;
  for (int64_t k = 0; k < d; ++k)
    if (index.size(k) != t.size(k)) return Scattered::not_here;
  const int64_t size = t.size(d), named = index.size(d), rows = index.numel() / named;
  if (size == 0) return Scattered::found_outside;
  const bool zero = is_spread_zero(original);
  const bool past = size <= RowOutput<T>::most && streams(rows * (2 * size + named) * int64_t(sizeof(T)));
  T* const to = t.data<T>();
  const T *const start = original.data<T>(), *const values = source.data<T>();
  const int64_t* const numbers = index.data<int64_t>();
  std::atomic<bool> outside{false};
  parallel_for(rows, std::max<int64_t>(1, pointwise_grain / (size + named)), [&](int64_t begin, int64_t end) {
    const RowOutput<T> output(past, size);
    bool bad = false;
    for (int64_t r = begin; r < end; ++r) {
      T* const row = output.begin(to + r * size);
      if (zero) std::fill_n(row, size, T());
      else std::copy_n(start + r * size, size, row);
      const int64_t* at = numbers + r * named;
      const T* from = one ? values : values + r * named;
      bad |= !write_row(row, 1, 0, at, size, from, one, named, write);
      output.finish(to + r * size, size, start + (zero ? 0 : (r + 1) * size));
    }
    if (bad) outside = true;
  });
  return outside ? Scattered::found_outside : Scattered::done;
}

// Columns of a matrix of `rows` rows that lie `apart` elements from one another, copied into `to` or back.
template <class T>
void pack_columns(const T* from, int64_t from_apart, T* to, int64_t to_apart, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * from_apart, n, to + r * to_apart);
}

// Scattering along another than the last dimension, where everything is contiguous and of one shape but for that
// dimension: a block of columns is taken out of t, written to, and put back. In t, its rows may lie a power of two apart,
// where they would drive each other out of the cache.
// original: the values of t before, where t is fresh and empty; then numbers outside the dimension are found on the way.
template <class T, class F>
Scattered scatter_columns(const Tensor& t, const Tensor& original, const Tensor& index, const Tensor& source,
                          bool one, int64_t d, F&& write) {
  constexpr int64_t line = std::max<int64_t>(1, 64 / sizeof(T)), most_bytes = 512 << 10;
  constexpr int64_t ahead = 8;  // rows; they are too far apart for the processor to foresee
  constexpr auto no = Scattered::not_here;
  if (d + 1 >= t.ndim() || !t.contiguous() || !index.contiguous() || (original && !has_rows(original)))
    return no;
  if (!one && !(source.contiguous() && same(source.sizes(), index.sizes()))) return no;
  for (int64_t k = 0; k < t.ndim(); ++k)
    if (k != d && index.size(k) != t.size(k)) return no;
  const int64_t rows = t.size(d), named = index.size(d);
  if (rows * 64 > most_bytes || named < rows / 2) return no;
  const int64_t width = std::min<int64_t>(4, most_bytes / (rows * 64)) * line;
  int64_t outer = 1, inner = 1;
  for (int64_t k = 0; k < t.ndim(); ++k) (k < d ? outer : inner) *= k == d ? 1 : t.size(k);
  const int64_t blocks = (inner + width - 1) / width;
  T* const target = t.data<T>();
  const T *const start = original ? original.data<T>() : target, *const values = source.data<T>();
  const int64_t* const numbers = index.data<int64_t>();
  const bool zero = original && is_spread_zero(original);
  const bool past = original && streams((2 * t.numel() + index.numel()) * int64_t(sizeof(T)));
  std::atomic<bool> outside{false};
  parallel_for(outer * blocks, 1, [&](int64_t begin, int64_t end) {
    std::unique_ptr<T[]> columns(new T[rows * width]);
    bool bad = false;
    for (int64_t b = begin; b < end; ++b) {
      const int64_t o = b / blocks, first = b % blocks * width, n = std::min(width, inner - first);
      const int64_t place = o * rows * inner + first;
      if (zero) std::fill_n(columns.get(), rows * width, T());
      else pack_columns(start + place, inner, columns.get(), width, rows, n);
      const int64_t* at = numbers + o * named * inner + first;
      const T* from = one ? values : values + o * named * inner + first;
      for (int64_t r = 0; r < named; ++r, at += inner, from += one ? 0 : inner) {
        if (r + ahead < named) {
          for (int64_t i = 0; i < n; i += 8) __builtin_prefetch(at + ahead * inner + i);
          if (!one)
            for (int64_t i = 0; i < n; i += line) __builtin_prefetch(from + ahead * inner + i);
        }
        bad |= !write_row(columns.get(), width, 1, at, rows, from, one, n, write);
      }
      if (past)
        stream_rows(reinterpret_cast<char*>(target + place), inner * sizeof(T),
                    reinterpret_cast<const char*>(columns.get()), width * sizeof(T), n * sizeof(T), rows);
      else pack_columns(columns.get(), width, target + place, inner, rows, n);
    }
    if (past) stream_end();
    if (bad) outside = true;
  });
  return outside ? Scattered::found_outside : Scattered::done;
}

// write(target, source) for every position of index, in row-major order along the dimension. The work is split along another
// dimension, so that no two chunks meet in one element; source may be one element for all. original as above.
template <class T, class F>
void scatter_rows(const Tensor& t, const Tensor& original, const Tensor& index, const Tensor& source,
                  bool one, int64_t d, F&& write) {
  // in place, the numbers are checked before anything is changed
  if (!original) check_index(index, t, d);
  Scattered found = original ? scatter_fresh_rows<T>(t, original, index, source, one, d, write)
                             : Scattered::not_here;
  if (found == Scattered::not_here) found = scatter_columns<T>(t, original, index, source, one, d, write);
  if (found == Scattered::found_outside) check_index(index, t, d);
  if (found != Scattered::not_here) return;
  if (original) {
    check_index(index, t, d);
    rushlight::copy(t, original);
  }
  int64_t split = -1;
  for (int64_t k = 0; k < index.ndim(); ++k)
    if (k != d && (split < 0 || index.size(k) > index.size(split))) split = k;
  int64_t parts = split < 0 ? 1 : index.size(split);
  int64_t grain = std::max<int64_t>(1, pointwise_grain / std::max<int64_t>(index.numel() / parts, 1));
  int64_t step = stride_of(t, d) * int64_t(sizeof(T));
  auto narrow_raw = [&](const Tensor& x, int64_t begin) {
    return x.raw() + (split < 0 ? 0 : begin * x.stride(split)) * int64_t(x.itemsize());
  };
  parallel_for(parts, grain, [&](int64_t begin, int64_t end) {
    Dims sizes(index.sizes());
    if (split >= 0) sizes[split] = end - begin;
    Dims to_strides(t.strides()), from_strides(one ? IntSpan() : source.strides());
    if (t.ndim()) to_strides[d] = 0;
    to_strides.resize(sizes.size());
    from_strides.resize(sizes.size());
    Loop loop(sizes);
    loop.add(narrow_raw(index, begin), sizes, index.strides(), sizeof(int64_t));
    loop.add(narrow_raw(t, begin), sizes, to_strides, sizeof(T));
    loop.add(one ? source.raw() : narrow_raw(source, begin), sizes, from_strides, sizeof(T));
    loop.finish();
    int64_t si = loop.stride(0), st = loop.stride(1), ss = loop.stride(2);
    bool dense = si == int64_t(sizeof(int64_t)) && st == 0 && ss == int64_t(sizeof(T));
    loop.for_each_row([=](char* const* p, int64_t n) {
      if (dense) {  // along the last dimension, as is usual
        T* to = reinterpret_cast<T*>(p[1]);
        const T* from = reinterpret_cast<const T*>(p[2]);
        const int64_t* at = reinterpret_cast<const int64_t*>(p[0]);
        const int64_t apart = step / int64_t(sizeof(T));
        for (int64_t i = 0; i < n; ++i) write(to[at[i] * apart], from[i]);
        return;
      }
      for (int64_t i = 0; i < n; ++i)
        write(*reinterpret_cast<T*>(p[1] + i * st + *reinterpret_cast<const int64_t*>(p[0] + i * si) * step),
              *reinterpret_cast<const T*>(p[2] + i * ss));
    });
  });
}

enum class Reduce { none, sum, prod, mean, amax, amin };

template <class T> double order_key(T x) {
  if constexpr (HalfPrecision<T>) return float(x);
  else return x;
}
// nan wins
template <bool largest, class T> T extreme(T a, T b) {
  if constexpr (std::is_integral_v<T>) return largest ? std::max(a, b) : std::min(a, b);
  else {
    auto x = order_key(a), y = order_key(b);
    return x != x ? a : y != y ? b : (largest ? y > x : y < x) ? b : a;
  }
}

// original: the input where t is a fresh output that holds nothing yet, else no tensor.
void scatter_values(const Tensor& t, const Tensor& given_index, const Tensor& source, bool one, int64_t d,
                    Reduce how, const Tensor& original = Tensor()) {
  if (given_index.numel() == 0) {
    if (original) rushlight::copy(t, original);
    return;
  }
  Tensor index = packed(given_index, Dtype::i64, given_index.sizes());
  if (how == Reduce::none) {
    visit_size(t.itemsize(), [&]<class T>() {
      scatter_rows<T>(t, original, index, source, one, d, [](T& a, const T& b) { a = b; });
    });
    return;
  }
  visit(
      t.dtype(),
      [&]<class T>() {
        auto run = [&](auto write) { scatter_rows<T>(t, original, index, source, one, d, write); };
        switch (how) {
          case Reduce::prod: return run([](T& a, const T& b) { a = scaled(load(&a), load(&b)); });
          case Reduce::amax:
          case Reduce::amin:
            if constexpr (std::is_same_v<T, c64> || std::is_same_v<T, c128>)
              throw_unsupported("scatter_reduce", t.dtype());
            else if (how == Reduce::amax)
              return run([](T& a, const T& b) { a = extreme<true>(load(&a), load(&b)); });
            else return run([](T& a, const T& b) { a = extreme<false>(load(&a), load(&b)); });
          default: return run([](T& a, const T& b) { cpu::add_to(a, load(&b)); });
        }
      },
      "scatter");
}

}  // namespace

// A source that is the target itself cannot be read while it is written.
const Tensor& apart(const Tensor& source, const Tensor& t) {
  if (overlap(source, t) != Overlap::none)
    throw runtime_error(
        "unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
        "single memory location. Please clone() the tensor before performing the operation.");
  return source;
}

Tensor number_element(const Value& v, Dtype d) {
  Tensor t = empty(IntSpan{}, d);
  rushlight::fill(t, v);
  return t;
}

// ---- gather ----
const Op& gather = def({
    .sig = "gather(Tensor input, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor",
    .doc = "For each element of index, the element of input at the same place except along dim, where index "
           "says which.",
    .rule =
        [](Call& c) {
          const Tensor &t = c.in(0), &index = c.in(2);
          int64_t d = wrap_dim(c.i(1), t.ndim());
          check_dtype(c.op, index);
          if (index.numel()) {
            if (at_least_1(index.ndim()) != at_least_1(t.ndim()))
              throw runtime_error("Index tensor must have the same number of dimensions as input tensor");
            for (int64_t k = 0; k < index.ndim(); ++k)
              if (k != d && index.size(k) > size_of(t, k))
                throw runtime_error("Size does not match at dimension ", k, " expected index ",
                                    show(index.sizes()), " to be no larger than self ", show(t.sizes()),
                                    " apart from dimension ", d);
          }
          c.out_meta(0, t.dtype(), Dims(index.sizes()));
        },
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (c.out().numel() == 0) return;
          int64_t d = wrap_dim(c.i(1), t.ndim());
          Tensor index = packed(c.in(2), Dtype::i64, c.in(2).sizes());
          visit_size(t.itemsize(), [&]<class T>() {
            if (!gather_rows<T>(c.out(), t, index, d)) check_index(index, t, d);
          });
        },
    .saves = save(In2),
    .grad =
        [](const Call& c, const Tensor& g) {
          return Grads{scatter_add(spread_zero(c.in_sizes(0), g.dtype()), c.i(1), c.in(2), g)};
        },
    .ref = "np.take_along_axis(input, index, dim)",
    .samples = {"x(3,4), 1, i(3,2; 0, 4)", "x(3,4), 0, i(2,4; 0, 3)", "x(4), -1, i(6; 0, 4)"},
});

namespace {

// ---- scatter ----
void scatter_rule(Call& c) {
  scatter_check(c, c.in(0), c.i(1), c.in(2), c.arg(3).tag == Value::tensor ? &c.in(3) : nullptr);
  c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
}
void scatter_into(Call& c, Reduce how) {
  const Tensor& t = c.out();
  int64_t d = wrap_dim(c.i(1), t.ndim());
  const Tensor original = c.in_place ? Tensor() : c.in(0);
  if (c.arg(3).tag == Value::tensor) scatter_values(t, c.in(2), apart(c.in(3), t), false, d, how, original);
  else scatter_values(t, c.in(2), number_element(c.arg(3), t.dtype()), true, d, how, original);
}
Tensor without_written(const Call& c, const Tensor& g) {
  static const Op& scatter_number = find_op("scatter", "value");
  return scatter_number.call({g, c.i(1), c.in(2), 0});
}
// A source may be larger than index: its corner is what was read, and its gradient is zero elsewhere.
Tensor corner(Tensor t, IntSpan sizes) {
  for (size_t d = 0; d < sizes.size() && t.ndim(); ++d)
    if (t.size(d) != sizes[d]) t = slice(t, int64_t(d), 0, sizes[d]);
  return t;
}
Tensor spread(const Tensor& part, IntSpan sizes) {
  if (same(sizes, part.sizes())) return part;
  Tensor whole = full(sizes, part.dtype(), 0);
  if (part.numel())
    copy_.call_inplace({corner(whole, part.sizes()), reshape(part, sizes.empty() ? sizes : part.sizes())});
  return whole;
}
Tensor gathered(const Call& c, const Tensor& g) { return spread(gather(g, c.i(1), c.in(2)), c.in_sizes(2)); }

// before the form with a number, which would read a 0-d tensor out
const Both scatter_src = def_both(
    {
        .sig = "scatter.src(Tensor input, int dim, Tensor index, Tensor src) -> Tensor",
        .doc = "A copy with the elements of src at the places along dim that index names.",
        .forms = function | method | out_form,
        .rule = scatter_rule,
        .saves = save(In2),
        .grad =
            [](const Call& c, const Tensor& g) {
              return Grads{c.wants(0) ? without_written(c, g) : Tensor(), Tensor(),
                           c.wants(2) ? gathered(c, g) : Tensor()};
            },
        .grad_name = "ScatterBackward0",
        .samples = {"x(5,4), 0, perm(1,4), x(1,4)"},
    },
    [](Call& c) { scatter_into(c, Reduce::none); }, Starts::empty);

const Both scatter_value = def_both(
    {
        .sig = "scatter.value(Tensor input, int dim, Tensor index, Scalar value) -> Tensor",
        .doc = "A copy with value at the places along dim that index names.",
        .forms = function | method | out_form,
        .rule = scatter_rule,
        .saves = save(In2),
        .grad = [](const Call& c, const Tensor& g) { return Grads{without_written(c, g)}; },
        .grad_name = "ScatterBackward1",
        .samples = {"x(3,4), 1, i(3,2; 0, 4), 2.5"},
    },
    [](Call& c) { scatter_into(c, Reduce::none); }, Starts::empty);

Reduce named_add_or_multiply(std::string_view s) {
  if (s == "add") return Reduce::sum;
  if (s == "multiply") return Reduce::prod;
  throw runtime_error("reduce argument must be either add or multiply.");
}
void scatter_named_rule(Call& c) {
  named_add_or_multiply(c.s(4));
  scatter_rule(c);
}
const Both scatter_reduce_old = def_both(
    {
        .sig = "scatter.reduce(Tensor input, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor",
        .doc = "A copy with the elements of src added or multiplied (reduce) to the places that index names.",
        .forms = function | method | out_form,
        .rule = scatter_named_rule,
    },
    [](Call& c) { scatter_into(c, named_add_or_multiply(c.s(4))); }, Starts::empty);
const Both scatter_value_reduce = def_both(
    {
        .sig = "scatter.value_reduce(Tensor input, int dim, Tensor index, Scalar value, *, str reduce) -> "
               "Tensor",
        .doc = "A copy with value added or multiplied (reduce) to the places that index names.",
        .forms = function | method | out_form,
        .rule = scatter_named_rule,
    },
    [](Call& c) { scatter_into(c, named_add_or_multiply(c.s(4))); }, Starts::empty);

const Both scatter_add_both = def_both(
    {
        .sig = "scatter_add(Tensor input, int dim, Tensor index, Tensor src) -> Tensor",
        .doc = "A copy with the elements of src added to the places along dim that index names.",
        .rule = scatter_rule,
        .saves = save(In2),
        .grad =
            [](const Call& c, const Tensor& g) {
              return Grads{c.wants(0) ? g : Tensor(), Tensor(), c.wants(2) ? gathered(c, g) : Tensor()};
            },
        .samples = {"x(3,4), 1, i(3,2; 0, 4), x(3,2)", "x(3,4), 0, i(5,4; 0, 3), x(5,4)"},
    },
    [](Call& c) { scatter_into(c, Reduce::sum); }, Starts::empty);

// ---- scatter_reduce ----
Reduce named_reduce(std::string_view s) {
  if (s == "sum") return Reduce::sum;
  if (s == "prod") return Reduce::prod;
  if (s == "mean") return Reduce::mean;
  if (s == "amax") return Reduce::amax;
  if (s == "amin") return Reduce::amin;
  throw runtime_error("reduce argument must be either sum, prod, mean, amax or amin, got ", s);
}
Value neutral(Reduce how, Dtype d) {
  if (how == Reduce::prod) return Value(1);
  if (how != Reduce::amax && how != Reduce::amin) return Value(0);
  bool lowest = how == Reduce::amax;
  if (is_float(d)) return Value(lowest ? -INFINITY : INFINITY);
  if (d == Dtype::boolean) return Value(!lowest);
  if (d == Dtype::u8) return Value(lowest ? 0 : 255);
  int bits = 8 * int(itemsize(d));
  int64_t high = bits == 64 ? INT64_MAX : (int64_t(1) << (bits - 1)) - 1;
  return Value(lowest ? -high - 1 : high);
}
void scatter_reduce_into(Call& c) {
  Reduce how = named_reduce(c.s(4));
  const Tensor& t = c.out();
  if (!has_kernels(t.dtype())) throw_unsupported(c, t.dtype());
  int64_t d = wrap_dim(c.i(1), t.ndim());
  Tensor source = apart(c.in(3), t);
  if (!c.b(5))
    scatter_values(t, c.in(2), number_element(neutral(how, t.dtype()), t.dtype()), true, d, Reduce::none);
  scatter_values(t, c.in(2), source, false, d, how);
  if (how != Reduce::mean) return;
  Tensor counts = full(t.sizes(), Dtype::i64, c.b(5) ? 1 : 0);
  scatter_values(counts, c.in(2), full({}, Dtype::i64, 1), true, d, Reduce::sum);
  visit(t.dtype(), [&]<class T>() {
    Loop loop(t.sizes());
    loop.add(t);
    loop.add(counts);
    loop.finish();
    loop.for_each_row([&](char* const* p, int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        T& x = *reinterpret_cast<T*>(p[0] + i * loop.stride(0));
        int64_t k = std::max<int64_t>(*reinterpret_cast<int64_t*>(p[1] + i * loop.stride(1)), 1);
        if constexpr (std::is_same_v<T, bool>) continue;
        else if constexpr (std::is_integral_v<T>) x = T(x / k - (x % k != 0 && x < 0));
        else if constexpr (HalfPrecision<T>) x = T(float(x) / float(k));
        else x /= T(double(k));
      }
    });
  });
}

Grads scatter_reduce_grad(const Call& c, const Tensor& g) {
  static const Op& reduce = find_op("scatter_reduce");
  Reduce how = named_reduce(c.s(4));
  const Value &dim = c.arg(1), &index = c.arg(2);
  bool include = c.b(5);
  if (c.in(2).numel() == 0) return {g, Tensor(), full(c.in_sizes(2), g.dtype(), 0)};
  Tensor to_self, to_src;
  if (how == Reduce::sum) {
    to_self = g;
    to_src = c.wants(2) ? gather(g, dim, index) : Tensor();
  } else if (how == Reduce::mean) {
    Tensor counts = full(c.in_sizes(0), g.dtype(), include ? 1 : 0);
    counts = scatter_add(counts, dim, index, full(c.in(2).sizes(), g.dtype(), 1));
    to_self = g / clamp_min(counts, 1);
    to_src = c.wants(2) ? gather(to_self, dim, index) : Tensor();
  } else if (how == Reduce::prod) {
    const Tensor &self = c.in(0), src = corner(c.in(3), c.in(2).sizes());
    Tensor no_zeros = masked_fill(self, eq(self, 0), 1);
    Tensor from_others = reduce.call({no_zeros, dim, index, src, "prod", include});
    to_self = g * from_others / no_zeros;
    if (c.wants(2)) {
      Tensor zero = eq(src, 0);
      Tensor zeros_there =
          scatter_add(full(self.sizes(), g.dtype(), 0), dim, index, to_dtype(zero, g.dtype()));
      Tensor lone = logical_and(zero, eq(gather(zeros_there, dim, index), 1));
      Tensor without = reduce.call({self, dim, index, masked_fill(src, lone, 1), "prod", include});
      to_src = where(lone, gather(g * without, dim, index),
                     gather(g * c.out(), dim, index) / masked_fill(src, zero, 1));
    }
  } else {
    const Tensor &self = c.in(0), src = corner(c.in(3), c.in(2).sizes());
    Tensor at_src = gather(c.out(), dim, index);
    Tensor self_hit = to_dtype(eq(self, c.out()), g.dtype()), src_hit = to_dtype(eq(src, at_src), g.dtype());
    if (!include) self_hit = without_written(c, self_hit);
    Tensor share = g / clamp_min(scatter_add(self_hit, dim, index, src_hit), 1);
    to_self = self_hit * share;
    to_src = c.wants(2) ? src_hit * gather(share, dim, index) : Tensor();
    if (!include) {  // places that nothing was written to keep their own value
      return {where(ne(without_written(c, full(self.sizes(), Dtype::f32, 1)), 0), g, 0), Tensor(),
              to_src ? spread(to_src, c.in_sizes(2)) : to_src};
    }
    return {to_self, Tensor(), to_src ? spread(to_src, c.in_sizes(2)) : to_src};
  }
  if (!include) to_self = without_written(c, to_self);
  return {to_self, Tensor(), to_src ? spread(to_src, c.in_sizes(2)) : to_src};
}

const Both scatter_reduce = def_both(
    {
        .sig = "scatter_reduce(Tensor input, int dim, Tensor index, Tensor src, str reduce, *, bool "
               "include_self=True) -> Tensor",
        .doc = "A copy in which the places that index names hold the sum, prod, mean, amax or amin of the "
               "elements of src sent "
               "there, and of the input's own unless include_self is False.",
        .rule =
            [](Call& c) {
              named_reduce(c.s(4));
              scatter_rule(c);
            },
        .saves = save(In0 | In2 | In3 | Out),
        .grad = scatter_reduce_grad,
        .samples = {"x(3,4), 1, i(3,6; 0, 4), x(3,6), 'sum'",
                    "x(3,4), 1, i(3,6; 0, 4), pos(3,6), 'prod', include_self=False",
                    "x(3,4), 1, i(3,6; 0, 4), x(3,6), 'mean'", "x(3,4), 0, i(5,4; 0, 3), x(5,4), 'amax'",
                    "x(3,4), 0, i(5,4; 0, 3), x(5,4), 'amin', include_self=False"},
    },
    scatter_reduce_into);

}  // namespace

const Op& scatter_add = scatter_add_both.made;

}  // namespace rushlight::ops

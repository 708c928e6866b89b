// Operators that make tensors from sizes and numbers: filled ones, ranges, identity matrices, index grids.
#include "ops/create.h"

#include <cmath>
#include <cstring>

#include "kernels/copy.h"
#include "kernels/parallel.h"
#include "kernels/with_isa.h"
#include "op/warn.h"

namespace rushlight::ops {

Format format_of(const Value& v) {
  if (v.tag != Value::object || v.o == Py_None) return Format::preserve;
  PyObject* text = PyObject_Str(v.o);
  const char* utf8 = text ? PyUnicode_AsUTF8(text) : nullptr;
  if (!utf8) {
    Py_XDECREF(text);
    throw PythonError();
  }
  std::string name = utf8;
  Py_DECREF(text);
  if (auto dot = name.rfind('.'); dot != name.npos) name.erase(0, dot + 1);
  if (name == "preserve_format") return Format::preserve;
  if (name == "contiguous_format") return Format::contiguous;
  if (name == "channels_last") return Format::channels_last;
  if (name == "channels_last_3d") return Format::channels_last_3d;
  throw type_error("argument 'memory_format' must be torch.memory_format, not ", Py_TYPE(v.o)->tp_name);
}

bool format_strides(Format f, IntSpan sizes, Dims& strides) {
  if (f == Format::preserve || f == Format::contiguous) return false;
  size_t rank = f == Format::channels_last ? 4 : 5;
  if (sizes.size() != rank)
    throw runtime_error("required rank ", rank, " tensor to use channels_last", rank == 5 ? "_3d" : "",
                        " format");
  strides.resize(rank);
  int64_t step = 1;
  auto take = [&](size_t d) {
    strides[d] = step;
    if (__builtin_mul_overflow(step, std::max<int64_t>(sizes[d], 1), &step))
      throw runtime_error("Stride calculation overflowed");
  };
  take(1);
  for (size_t d = rank - 1; d > 1; --d) take(d);
  take(0);
  return true;
}

bool channels_last(const Tensor& t) {
  const int64_t rank = t.ndim();
  if ((rank != 4 && rank != 5) || t.stride(1) == 0) return false;
  int64_t least = 0;
  auto follows = [&](int64_t d) {  // dimension d lies outside of those asked about before
    if (t.size(d) == 0 || t.stride(d) < least) return false;
    if (d == 0 && least == t.stride(1)) return false;  // only the batch is larger than one: contiguous
    least = t.stride(d) * std::max<int64_t>(t.size(d), 1);
    return true;
  };
  if (!follows(1)) return false;
  for (int64_t d = rank - 1; d > 1; --d)
    if (!follows(d)) return false;
  return follows(0);
}

void keep_format(Call& c, int k, const Tensor& like) {
  if (!channels_last(like)) return;
  OutMeta& m = k ? c.more[k - 1] : c.meta0;
  m.strided =
      format_strides(like.ndim() == 4 ? Format::channels_last : Format::channels_last_3d, m.sizes, m.strides);
}

void check_fits(const Value& v, Dtype d) {
  static const char* names[] = {"bool",
                                "uint8_t",
                                "int8_t",
                                "int16_t",
                                "int32_t",
                                "int64_t",
                                "at::Half",
                                "at::BFloat16",
                                "float",
                                "double",
                                "c10::complex<float>",
                                "c10::complex<double>"};
  bool fits = true;
  if (v.tag == Value::complex && v.z[1] != 0) fits = is_complex(d);
  if (fits && is_integral(d) && has_kernels(d)) {
    int bits = 8 * int(itemsize(d));
    bool is_signed = rushlight::is_signed(d);
    if (v.tag == Value::real || v.tag == Value::complex) {
      double x = v.as_double(), high = std::ldexp(1.0, is_signed ? bits - 1 : bits);
      fits = x > (is_signed ? -high - 1 : -high) &&
             x < high;  // small negative numbers wrap in unsigned types
    } else if (bits < 64) {
      int64_t high = int64_t(1) << (is_signed ? bits - 1 : bits);
      fits = v.i >= -high && v.i < high;
    }
  }
  if (!fits)
    throw runtime_error("value cannot be converted to type ", has_kernels(d) ? names[int(d)] : info(d).name,
                        " without overflow");
}

namespace {

Device device_arg(const Call& c, int at, Device fallback = {}) {
  return c.has(at) ? c.arg(at).dev : fallback;
}

// The dtype and device arguments follow each other in every factory.
void made(Call& c, Dims sizes, int dtype_at, Dtype fallback) {
  c.meta0.dtype = c.dtype(dtype_at, fallback);
  c.meta0.sizes = std::move(sizes);
  c.meta0.device = device_arg(c, dtype_at + 1);
  c.meta0.strided = false;
}

// The memory keeps what it holds, except that a bool must be 0 or 1.
void leave_as_is(Call& c) {
  if (c.out().dtype() == Dtype::boolean && c.out()->storage)
    std::memset(c.out()->storage->data, 0, c.out()->storage->nbytes);
}

void check_sizes(const Call& c) {
  for (auto s : c.meta0.sizes)
    if (s < 0) throw runtime_error(c.op.name, ": Dimension size must be non-negative.");
}

Dtype dtype_of_number(const Value& v) {
  switch (v.tag) {
    case Value::boolean: return Dtype::boolean;
    case Value::integer: return Dtype::i64;
    case Value::complex: return default_complex();
    default: return default_dtype();
  }
}

void fill_with(Call& c, double number) { rushlight::fill(c.out(), Value(number)); }

}  // namespace

void like_rule(Call& c, int dtype_at) {
  const Tensor& t = c.in(0);
  c.compute = t.dtype();
  c.out_meta(0, c.dtype(dtype_at, t.dtype()), Dims(t.sizes()));
  c.meta0.device = device_arg(c, dtype_at + 1, t.device());
  Format f = format_of(c.arg(dtype_at + 2));
  if (f == Format::preserve) pointwise_layout(c, c.meta0);
  else if (format_strides(f, t.sizes(), c.meta0.strides)) c.meta0.strided = true;
}

namespace {

// ---- filled tensors ----
const Op& empty_op = def({
    .sig = "empty(int... size, *, dtype? dtype=None, device? device=None, any memory_format=None) -> Tensor",
    .doc = "A tensor of the given sizes with whatever values the memory holds.",
    .family = create,
    .rule =
        [](Call& c) {
          made(c, Dims(c.ints(0)), 1, default_dtype());
          if (c.has(3) && c.arg(3).o != Py_None) {
            Format f = format_of(c.arg(3));
            if (f == Format::preserve) throw runtime_error("unsupported memory format Preserve");
            c.meta0.strided = format_strides(f, c.meta0.sizes, c.meta0.strides);
          }
        },
    .cpu = leave_as_is,
});

const Op& empty_strided_op = def({
    .sig = "empty_strided(int[] size, int[] stride, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc = "A tensor of the given sizes and strides (in elements) with whatever values the memory holds.",
    .family = create,
    .forms = function,
    .rule =
        [](Call& c) {
          if (c.ints(0).size() != c.ints(1).size())
            throw runtime_error("dimensionality of sizes (", c.ints(0).size(),
                                ") must match dimensionality of strides (", c.ints(1).size(), ")");
          made(c, Dims(c.ints(0)), 2, default_dtype());
          c.meta0.strides = Dims(c.ints(1));
          c.meta0.strided = true;
        },
    .cpu = leave_as_is,
});

const Op& zeros = def({
    .sig = "zeros(int... size, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc = "A tensor of zeros.",
    .family = create,
    .rule =
        [](Call& c) {
          made(c, Dims(c.ints(0)), 1, default_dtype());
          check_sizes(c);
        },
    .cpu = [](Call& c) { fill_with(c, 0); },
    .ref = "np.zeros(size)",
    .samples = {"(2,3)", "(0,3)", "()", "(2,), dtype=int64"},
});

const Op& ones = def({
    .sig = "ones(int... size, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc = "A tensor of ones.",
    .family = create,
    .rule = [](Call& c) { made(c, Dims(c.ints(0)), 1, default_dtype()); },
    .cpu = [](Call& c) { fill_with(c, 1); },
    .ref = "np.ones(size)",
    .samples = {"(2,3)", "(0,3)", "()", "(2,), dtype=int64"},
});

const Op& full_op = def({
    .sig = "full(int[] size, Scalar fill_value, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc = "A tensor filled with one number; its dtype follows from the number unless it is given.",
    .family = create,
    .rule =
        [](Call& c) {
          made(c, Dims(c.ints(0)), 2, dtype_of_number(c.arg(1)));
          check_fits(c.arg(1), c.meta0.dtype);
        },
    .cpu = [](Call& c) { rushlight::fill(c.out(), c.arg(1)); },
    .ref = "np.full(size, fill_value)",
    .samples = {"(2,3), 1.5", "(2,), 3", "(), True"},
});

const Op& scalar_tensor_op = def({
    .sig = "scalar_tensor(Scalar s, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc = "A 0-d tensor of the default dtype, or of dtype.",
    .family = create,
    .forms = function,
    .rule =
        [](Call& c) {
          made(c, Dims(), 1, default_dtype());
          check_fits(c.arg(0), c.meta0.dtype);
        },
    .cpu = [](Call& c) { rushlight::fill(c.out(), c.arg(0)); },
    .samples = {"2.5"},
});

// ---- the same shaped like another tensor ----
#define RL_LIKE "dtype? dtype=None, device? device=None, any memory_format=None) -> Tensor"
const Op& empty_like_op = def({
    .sig = "empty_like(Tensor input, *, " RL_LIKE,
    .doc = "A tensor with the sizes, strides and dtype of input and whatever values the memory holds.",
    .family = create,
    .forms = function,
    .rule = [](Call& c) { like_rule(c, 1); },
    .cpu = leave_as_is,
});
const Op& zeros_like = def({
    .sig = "zeros_like(Tensor input, *, " RL_LIKE,
    .doc = "Zeros with the sizes, strides and dtype of input.",
    .family = create,
    .rule = [](Call& c) { like_rule(c, 1); },
    .cpu = [](Call& c) { fill_with(c, 0); },
    .ref = "np.zeros_like(input)",
    .samples = {"x(2,3)", "x()", "i(3; 0, 9)"},
});
const Op& ones_like = def({
    .sig = "ones_like(Tensor input, *, " RL_LIKE,
    .doc = "Ones with the sizes, strides and dtype of input.",
    .family = create,
    .rule = [](Call& c) { like_rule(c, 1); },
    .cpu = [](Call& c) { fill_with(c, 1); },
    .ref = "np.ones_like(input)",
    .samples = {"x(2,3)", "x()", "i(3; 0, 9)"},
});
const Op& full_like = def({
    .sig = "full_like(Tensor input, Scalar fill_value, *, " RL_LIKE,
    .doc = "One number with the sizes, strides and dtype of input.",
    .family = create,
    .rule =
        [](Call& c) {
          like_rule(c, 2);
          check_fits(c.arg(1), c.meta0.dtype);
        },
    .cpu = [](Call& c) { rushlight::fill(c.out(), c.arg(1)); },
    .ref = "np.full_like(input, fill_value)",
    .samples = {"x(2,3), 2.5", "i(3; 0, 9), 4"},
});

// ---- ranges ----
bool whole(const Value& v) { return v.tag == Value::boolean || v.tag == Value::integer; }

[[noreturn]] void bad_range(const Value& start, const Value& end) {
  auto text = [](const Value& v) { return whole(v) ? cat_text(v.i) : cat_text(v.as_double()); };
  throw runtime_error("unsupported range: ", text(start), " -> ", text(end));
}

void real_bound(const Value& v) {
  if (v.tag == Value::complex && v.z[1] != 0)
    throw runtime_error("value cannot be converted to type double without overflow");
}

// Number of values from start to end, exclusive.
int64_t arange_length(const Value& start, const Value& end, const Value& step, Dtype dtype) {
  for (auto* v : {&start, &end, &step}) real_bound(*v);
  double first = start.as_double(), last = end.as_double(), by = step.as_double();
  if (!(by > 0 || by < 0)) throw runtime_error("step must be nonzero");
  if (!std::isfinite(first) || !std::isfinite(last)) bad_range(start, end);
  bool integers = dtype == Dtype::i64 && whole(start) && whole(end) && whole(step);
  bool forward = by > 0;
  bool consistent = integers ? (forward ? end.i >= start.i : end.i <= start.i)
                             : (forward ? last >= first : last <= first);
  if (!consistent) throw runtime_error("upper bound and lower bound inconsistent with step sign");
  if (integers) {
    __int128 span = __int128(end.i) - start.i, sign = forward ? 1 : -1;
    return int64_t((span + step.i - sign) / step.i);
  }
  double n = dtype == Dtype::i64
                 ? std::ceil((double(end.as_int()) - double(start.as_int())) / double(step.as_int()))
                 : std::ceil((last - first) / by);
  if (!(n >= 0 && n < 9.2e18)) throw runtime_error("invalid size, possible overflow?");
  return int64_t(n);
}

void arange_rule(Call& c, const Value& start, const Value& end, const Value& step, int dtype_at) {
  Dtype d = c.dtype(dtype_at, whole(start) && whole(end) && whole(step) ? Dtype::i64 : default_dtype());
  int64_t n = arange_length(start, end, step, d);
  c.out_meta(0, d, Dims{n});
  c.meta0.device = device_arg(c, dtype_at + 1);
  if (d == Dtype::boolean || is_complex(d)) throw_unsupported("arange_cpu", d);
}

void arange_fill(const Tensor& out, const Value& start, const Value& step) {
  visit(
      out.dtype(),
      [&]<class T>() {
        T* to = out.data<T>();
        if (std::is_integral_v<T>) {
          uint64_t first = start.as_int(), by = step.as_int();  // wraps like the dtype itself
          parallel_for(out.numel(), 65536, [&](int64_t begin, int64_t end) {
            with_isa([=] {
              T* const target = to;  // locals: what a lambda holds would be read anew after each store
              const uint64_t from = first, step = by;
              const int64_t last = end;
              for (int64_t i = begin; i < last; ++i)
                target[i] = convert<T>(int64_t(from + uint64_t(i) * step));
            });
          });
        } else {
          double first = start.as_double(), by = step.as_double();
          parallel_for(out.numel(), 65536, [&](int64_t begin, int64_t end) {
            with_isa([=] {
              T* const target = to +
                                begin;  // locals: what a lambda holds would be read anew after each store
              const double from = double(begin), start = first, step = by;
              const int32_t n = int32_t(end - begin);
              for (int32_t i = 0; i < n; ++i)
                target[i] = convert<T>(start + (from + double(i)) * step);  // from + i is exact
            });
          });
        }
      },
      "arange_cpu");
}

const Op& arange_end = def({
    .sig = "arange.end(Scalar end, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc = "0, 1, ... up to end, which is left out. Integers unless end is a float.",
    .family = create,
    .rule = [](Call& c) { arange_rule(c, Value(0), c.arg(0), Value(1), 1); },
    .cpu = [](Call& c) { arange_fill(c.out(), Value(0), Value(1)); },
    .ref = "np.arange(end)",
    .samples = {"5", "0", "2.5"},
});
const Op& arange = def({
    .sig = "arange(Scalar start, Scalar end, Scalar step=1, *, dtype? dtype=None, device? device=None) -> "
           "Tensor",
    .doc = "start, start + step, ... up to end, which is left out. Integers unless some argument is a float.",
    .family = create,
    .rule = [](Call& c) { arange_rule(c, c.arg(0), c.arg(1), c.arg(2), 3); },
    .cpu = [](Call& c) { arange_fill(c.out(), c.arg(0), c.arg(2)); },
    .ref = "np.arange(start, end, step)",
    .samples = {"1, 5", "5, 1, -2", "0, 1, 0.25"},
});

const Op& range = def({
    .sig =
        "range(Scalar start, Scalar end, Scalar step=1, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc = "start, start + step, ... up to and including end. arange is the usual choice.",
    .family = create,
    .forms = function,
    .rule =
        [](Call& c) {
          arange_length(c.arg(0), c.arg(1), c.arg(2), Dtype::f64);  // the checks
          warn(
              "torch.range is deprecated and will be removed in a future release because its behavior is "
              "inconsistent with Python's range builtin. Instead, use torch.arange, which produces values in "
              "[start, end).");
          double n = std::floor((c.d(1) - c.d(0)) / c.d(2)) + 1;
          if (!(n < 9.2e18)) throw runtime_error("invalid size, possible overflow?");
          made(c, Dims{int64_t(n)}, 3, default_dtype());
        },
    .cpu = [](Call& c) { arange_fill(c.out(), c.arg(0), c.arg(2)); },
    .samples = {"1, 4", "0, 1, 0.25"},
});

// a + b * c with one rounding.
template <class T> T fused(T a, T b, T c) {
  if constexpr (std::is_same_v<T, float>)
    return float(double(a) + double(b) * double(c));  // the product is exact
  else if constexpr (std::is_same_v<T, double>) return std::fma(b, c, a);
  else return a + b * c;
}
// The second half is counted from the end, so that the last value is exact.
template <class T, class Step, class F> void spaced(const Tensor& out, T first, T last, F&& value) {
  int64_t n = out.numel(), half = n / 2;
  Step step = n > 1 ? (Step(last) - Step(first)) / Step(double(n - 1)) : Step();
  T* to = out.data<T>();
  parallel_for(n, 32768, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      to[i] = value(i < half ? fused(Step(first), step, Step(double(i)))
                             : fused(Step(last), -step, Step(double(n - i - 1))));
  });
  if (n == 1) to[0] = value(Step(first));
}
void linspace_fill(Call& c) {
  Value first = c.arg(0), last = c.arg(1);
  visit(
      c.out().dtype(),
      [&]<class T>() {
        if constexpr (std::is_same_v<T, c64> || std::is_same_v<T, c128>) {
          spaced<T, T>(c.out(), T(first.as_complex()), T(last.as_complex()), [](T x) { return x; });
        } else {
          using Step = std::conditional_t<std::is_integral_v<T>, double,
                                          std::conditional_t<std::is_same_v<T, double>, double, float>>;
          T a = whole(first) ? convert<T>(first.i) : convert<T>(first.as_double());
          T b = whole(last) ? convert<T>(last.i) : convert<T>(last.as_double());
          spaced<T, Step>(c.out(), a, b, [](Step x) { return convert<T>(x); });
        }
      },
      "linspace_cpu");
}
void logspace_fill(Call& c) {
  double base = c.d(3);
  visit(
      c.out().dtype(),
      [&]<class T>() {
        if constexpr (std::is_same_v<T, c64> || std::is_same_v<T, c128>) {
          spaced<T, T>(c.out(), T(c.arg(0).as_complex()), T(c.arg(1).as_complex()),
                       [&](T x) { return T(std::pow(c128(base), c128(x))); });
        } else {
          using Step = std::conditional_t<std::is_same_v<T, double>, double, float>;
          spaced<T, Step>(c.out(), convert<T>(c.d(0)), convert<T>(c.d(1)),
                          [&](Step x) { return convert<T>(std::pow(base, double(x))); });
        }
      },
      "logspace_cpu");
}
void spaced_rule(Call& c, int dtype_at, const char* kernel) {
  if (c.i(2) < 0) throw runtime_error("number of steps must be non-negative");
  bool complex = c.arg(0).tag == Value::complex || c.arg(1).tag == Value::complex;
  made(c, Dims{c.i(2)}, dtype_at, complex ? default_complex() : default_dtype());
  if (c.meta0.dtype == Dtype::boolean) throw_unsupported(kernel, Dtype::boolean);
  check_fits(c.arg(0), c.meta0.dtype);
  check_fits(c.arg(1), c.meta0.dtype);
}

const Op& linspace = def({
    .sig =
        "linspace(Scalar start, Scalar end, int steps, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc = "steps evenly spaced values from start to end, both included.",
    .family = create,
    .rule = [](Call& c) { spaced_rule(c, 3, "linspace_cpu"); },
    .cpu = linspace_fill,
    .ref = "np.linspace(start, end, steps)",
    .samples = {"0, 1, 5", "3, -3, 4", "2, 9, 1", "0, 1, 0"},
});
// Ends that are part of a graph; plain numbers and other 0-d tensors go above.
const Op& linspace_tensor = def({
    .sig = "linspace.Tensor_Tensor(Tensor start, Tensor end, int steps, *, dtype? dtype=None, device? "
           "device=None) -> Tensor",
    .doc = "steps evenly spaced values between two 0-d tensors; gradients flow to both.",
    .family = create,
    .cpu =
        [](Call& c) {
          for (int k = 0; k < 2; ++k)
            if (c.in(k).ndim())
              throw runtime_error("linspace only supports 0-dimensional start and end tensors, but got ",
                                  k ? "end" : "start", " with ", c.in(k).ndim(), " dimension(s).");
          Tensor unit = linspace.call({0, 1, c.i(2), c.arg(3), c.arg(4)});
          c.outs.push_back(c.in(0) + (c.in(1) - c.in(0)) * unit);
        },
    .composite = true,
    .samples = {"x(), y(), 5"},
});
const Op& logspace = def({
    .sig = "logspace(Scalar start, Scalar end, int steps, float base=10.0, *, dtype? dtype=None, device? "
           "device=None) -> Tensor",
    .doc = "base raised to evenly spaced exponents from start to end, both included.",
    .family = create,
    .rule = [](Call& c) { spaced_rule(c, 4, "logspace_cpu"); },
    .cpu = logspace_fill,
    .ref = "np.logspace(start, end, steps, base=base)",
    .samples = {"0, 2, 5", "-1, 1, 3, 2.0"},
});

// ---- matrices ----
const Op& eye = def({
    .sig = "eye(int n, int? m=None, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc =
        "A matrix of n rows and m columns (n, unless given) with ones on the diagonal and zeros elsewhere.",
    .family = create,
    .rule =
        [](Call& c) {
          int64_t n = c.i(0), m = c.has(1) ? c.i(1) : n;
          if (n < 0) throw runtime_error("n must be greater or equal to 0, got ", n);
          if (m < 0) throw runtime_error("m must be greater or equal to 0, got ", m);
          made(c, Dims{n, m}, 2, default_dtype());
        },
    .kernel_name = "eye",
    .cpu =
        [](Call& c) {
          const Tensor& out = c.out();
          rushlight::fill(out, Value(0));
          int64_t n = std::min(out.size(0), out.size(1)), step = out.size(1) + 1;
          visit_storage(out.dtype(), [&]<class T>() {
            T* to = out.data<T>();
            for (int64_t i = 0; i < n; ++i) to[i * step] = convert<T>(1);
          });
        },
    .ref = "np.eye(n, m)",
    .samples = {"3", "2, 4", "0", "3, 2"},
});

// Columns of row r that lie in the triangle: [first, last).
struct Triangle {
  int64_t rows, cols, offset;
  bool lower;
  Triangle(const Call& c, bool is_lower) : rows(c.i(0)), cols(c.i(1)), lower(is_lower) {
    if (rows < 0) throw runtime_error("row must be non-negative, got", rows);
    if (cols < 0) throw runtime_error("col must be non-negative, got", cols);
    offset = std::clamp(c.i(2), -rows - 1, cols + 1);
  }
  int64_t first(int64_t r) const { return lower ? 0 : std::clamp(r + offset, int64_t(0), cols); }
  int64_t last(int64_t r) const { return lower ? std::clamp(r + offset + 1, int64_t(0), cols) : cols; }
  int64_t size() const {
    __int128 area = __int128(rows) * cols;
    if (area > INT64_MAX / 16) throw runtime_error("the triangle has too many elements");
    int64_t n = 0;
    for (int64_t r = 0; r < rows && cols; ++r) n += std::max<int64_t>(last(r) - first(r), 0);
    return n;
  }
};
void triangle_rule(Call& c, bool lower, const char* kernel) {
  Triangle t(c, lower);
  made(c, Dims{2, t.size()}, 3, Dtype::i64);
  if (c.meta0.dtype != Dtype::i64 && c.meta0.dtype != Dtype::i32) throw_unsupported(kernel, c.meta0.dtype);
}
void triangle_fill(Call& c, bool lower) {
  Triangle t(c, lower);
  const Tensor& out = c.out();
  visit(out.dtype(), [&]<class T>() {
    T *row = out.data<T>(), *col = row + out.size(1);
    for (int64_t r = 0; r < t.rows; ++r)
      for (int64_t k = t.first(r); k < t.last(r); ++k) *row++ = convert<T>(r), *col++ = convert<T>(k);
  });
}
const Op& tril_indices = def({
    .sig =
        "tril_indices(int row, int col, int offset=0, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc =
        "Row and column numbers of the lower triangle of a (row, col) matrix, as the two rows of the result.",
    .family = create,
    .forms = function,
    .rule = [](Call& c) { triangle_rule(c, true, "tril_indices"); },
    .cpu = [](Call& c) { triangle_fill(c, true); },
    .ref = "np.stack(np.tril_indices(row, offset, col))",
    .samples = {"3, 3", "3, 2, -1", "2, 4, 1", "0, 2"},
});
const Op& triu_indices = def({
    .sig =
        "triu_indices(int row, int col, int offset=0, *, dtype? dtype=None, device? device=None) -> Tensor",
    .doc =
        "Row and column numbers of the upper triangle of a (row, col) matrix, as the two rows of the result.",
    .family = create,
    .forms = function,
    .rule = [](Call& c) { triangle_rule(c, false, "triu_indices"); },
    .cpu = [](Call& c) { triangle_fill(c, false); },
    .ref = "np.stack(np.triu_indices(row, offset, col))",
    .samples = {"3, 3", "3, 2, -1", "2, 4, 1", "0, 2"},
});

}  // namespace

}  // namespace rushlight::ops

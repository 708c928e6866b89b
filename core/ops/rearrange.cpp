// Elements in another order or number: repeat, flip, roll, rot90, constant padding, and pieces cut at given places.
#include "autograd/node.h"
#include "kernels/copy.h"
#include "kernels/loop.h"
#include "ops/create.h"
#include "ops/index.h"
#include "ops/ops.h"
#include "ops/view.h"

namespace rushlight::ops {

namespace {

// ---- repeat ----
void repeat_rule(Call& c) {
  const Tensor& t = c.in(0);
  IntSpan times = c.ints(1);
  if (int64_t(times.size()) < t.ndim())
    throw runtime_error(
        "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor");
  Dims sizes(times);
  for (int64_t d = 0, lead = times.size() - t.ndim(); d < int64_t(times.size()); ++d)
    if (d >= lead && __builtin_mul_overflow(sizes[d], t.size(d - lead), &sizes[d]))
      throw runtime_error("repeat: the result has too many elements");
  for (auto n : sizes)
    if (n < 0) throw runtime_error("Trying to create tensor with negative dimension ", n, ": ", show(sizes));
  for (auto n : times)
    if (n < 0) throw runtime_error("Trying to create tensor with negative dimension ", n, ": ", show(sizes));
  c.out_meta(0, t.dtype(), std::move(sizes));
}
// Sizes (times 0, size 0, times 1, size 1, ...) of a repeated tensor.
Dims interleaved(IntSpan sizes, IntSpan times) {
  Dims out;
  for (size_t d = 0, lead = times.size() - sizes.size(); d < times.size(); ++d) {
    out.push_back(times[d]);
    out.push_back(d < lead ? 1 : sizes[d - lead]);
  }
  return out;
}
void repeat_kernel(Call& c) {
  const Tensor &t = c.in(0), &out = c.out();
  if (out.numel() == 0) return;
  Dims sizes = interleaved(t.sizes(), c.ints(1)), strides(sizes.size());
  for (size_t k = 0, lead = c.ints(1).size() - t.ndim(); k < sizes.size(); ++k)
    strides[k] = k % 2 == 0 || k / 2 < lead ? 0 : t.stride(k / 2 - lead);
  if (sizes.size() > max_ndim) throw runtime_error("repeat supports at most ", max_ndim / 2, " dimensions");
  rushlight::copy(alias(out, sizes, contiguous_strides(sizes), out.offset()),
                  alias(t, sizes, strides, t.offset()));
}
const Op& repeat = def({
    .sig = "repeat(Tensor input, int... repeats) -> Tensor",
    .doc = "Copies of the tensor side by side: repeats[d] of them along dimension d.",
    .forms = method,
    .rule = repeat_rule,
    .cpu = repeat_kernel,
    .grad =
        [](const Call& c, const Tensor& g) {
          IntSpan sizes = c.in_sizes(0), times = c.ints(1);
          if (g.numel() == 0) return Grads{full(sizes, g.dtype(), 0)};
          Dims summed;
          for (size_t d = 0; d < times.size(); ++d) summed.push_back(2 * d);
          if (summed.empty()) return Grads{g};
          static const Op& sum = find_op("sum", "dim");
          return Grads{reshape(sum(reshape(g, interleaved(sizes, times)), summed), sizes)};
        },
    .ref = "np.tile(input, repeats)",
    .samples = {"x(2,3), (2,2)", "x(3), (2,1,2)", "x(2,3), (0,1)", "x(), (3,)"},
});
const Op& tile = def({
    .sig = "tile(Tensor input, int... dims) -> Tensor",
    .doc = "repeat; dims that are missing in front count as 1.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          Dims times(c.ints(1));
          while (int64_t(times.size()) < c.in(0).ndim()) times.insert(0, 1);
          c.outs = TensorList{repeat(c.in(0), times)};
        },
    .composite = true,
    .ref = "np.tile(input, dims)",
    .samples = {"x(2,3), (2,)", "x(3), (2,2)"},
});

// ---- repeat_interleave ----
const Op& repeat_positions = def({
    .sig = "repeat_interleave.Tensor(Tensor repeats, *, int? output_size=None) -> Tensor",
    .doc = "repeats[i] times the number i, for each i.",
    .forms = function,
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          if (t.is_meta()) throw not_implemented("repeat_interleave on the meta device");
          if (t.dtype() != Dtype::i64 && t.dtype() != Dtype::i32)
            throw_unsupported("repeat_interleave_cpu", t.dtype());
          if (t.ndim() != 1) throw runtime_error("repeat_interleave only accept 1D vector as repeat");
          Tensor times = packed(t, Dtype::i64, t.sizes());
          const int64_t* n = times.data<int64_t>();
          int64_t total = 0;
          for (int64_t i = 0; i < times.numel(); ++i) {
            if (n[i] < 0) throw runtime_error("repeats can not be negative");
            if (__builtin_add_overflow(total, n[i], &total))
              throw runtime_error("repeat_interleave: too many elements");
          }
          if (c.has(1) && c.i(1) != total) throw runtime_error("allocated size does not match required size");
          Tensor out = empty(Dims{total}, Dtype::i64);
          out->inference = modes().inference;
          int64_t* to = out.data<int64_t>();
          for (int64_t i = 0; i < times.numel(); ++i) to = std::fill_n(to, n[i], i);
          c.outs[0] = t.dtype() == Dtype::i64 ? out : packed(out, t.dtype(), out.sizes());
        },
});
const Op& repeat_interleave_tensor = def({
    .sig = "repeat_interleave.self_Tensor(Tensor input, Tensor repeats, int? dim=None, *, int? "
           "output_size=None) -> Tensor",
    .doc = "Each position along dim (of the flattened tensor without dim) repeated as often as repeats says.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          Tensor t = c.has(2) ? c.in(0) : reshape(c.in(0), Dims{-1}), times = c.in(1);
          int64_t d = c.has(2) ? wrap_dim(c.i(2), t.ndim()) : 0;
          int64_t n = t.ndim() ? t.size(d) : 1;
          if (times.ndim() > 1) throw runtime_error("repeats must be 0-dim or 1-dim tensor");
          if (times.numel() == 1) times = expand(reshape(times, Dims{1}), Dims{n});
          else if (times.numel() != n)
            throw runtime_error(
                "repeats must have the same size as input along dim, but got repeats.size(0) = ",
                times.numel(), " and input.size(0) = ", n);
          c.outs = TensorList{find_op("index_select")(t, d, repeat_positions.call({times, c.arg(3)}))};
        },
    .composite = true,
    .samples = {"x(3,2), rl.tensor([1,0,2]), 0", "x(3), rl.tensor([2])"},
});
const Op& repeat_interleave_int = def({
    .sig = "repeat_interleave.self_int(Tensor input, int repeats, int? dim=None, *, int? output_size=None) "
           "-> Tensor",
    .doc = "Each position along dim (of the flattened tensor without dim) repeated.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          Tensor t = c.has(2) ? c.in(0) : reshape(c.in(0), Dims{-1});
          int64_t d = c.has(2) ? wrap_dim(c.i(2), t.ndim()) : 0, times = c.i(1);
          if (times < 0) throw runtime_error("Repeats must be non-negative");
          if (t.ndim() == 0) t = reshape(t, Dims{1});
          Dims wide(t.sizes());
          wide.insert(d + 1, times);
          int64_t length;
          if (__builtin_mul_overflow(t.size(d), times, &length))
            throw runtime_error("repeat_interleave: too many elements");
          if (c.has(3) && c.i(3) != length)
            throw runtime_error("repeat_interleave: Invalid output_size, expected ", length, " but got ",
                                c.i(3));
          Dims merged(t.sizes());
          merged[d] = length;
          c.outs = TensorList{reshape(contiguous_copy(expand(unsqueeze(t, d + 1), wide)), merged)};
        },
    .composite = true,
    .ref = "np.repeat(input, repeats, dim)",
    .samples = {"x(3,2), 2, 0", "x(3,2), 2", "x(3,2), 0, 1"},
});

// ---- flips ----
uint64_t flip_mask(const Tensor& t, IntSpan dims) {
  uint64_t mask = 0;
  for (auto d : dims) {
    int64_t k = wrap_dim(d, t.ndim());
    if (mask >> k & 1) throw runtime_error("dim ", k, " appears multiple times in the list of dims");
    mask |= uint64_t(1) << k;
  }
  return mask;
}
// Negates the strides of the dimensions in the mask; returns the offset of the element that comes first then.
int64_t flipped_strides(const Tensor& t, uint64_t mask, Dims& strides) {
  strides = Dims(t.strides());
  int64_t first = 0;
  for (int64_t d = 0; d < t.ndim(); ++d)
    if (mask >> d & 1) {
      first += (t.size(d) - 1) * strides[d];
      strides[d] = -strides[d];
    }
  return first;
}
const Op& flip = def({
    .sig = "flip(Tensor input, int... dims) -> Tensor",
    .doc = "A copy with the order of positions along dims reversed.",
    .forms = function | method,
    .rule =
        [](Call& c) {
          flip_mask(c.in(0), c.ints(1));
          rule::same(c);
        },
    .cpu =
        [](Call& c) {
          Dims strides;
          int64_t first = flipped_strides(c.in(0), flip_mask(c.in(0), c.ints(1)), strides);
          rushlight::copy(c.out(), alias(c.in(0), c.out().sizes(), strides, c.in(0).offset() + first));
        },
    .grad = [](const Call& c, const Tensor& g) { return Grads{flip(g, c.ints(1))}; },
    .ref = "np.flip(input, dims)",
    .samples = {"x(2,3), (0,)", "x(2,3,4), (0,2)", "x(0,3), (1,)"},
});
const Op& fliplr = def({
    .sig = "fliplr(Tensor input) -> Tensor",
    .doc = "A copy with the order of columns reversed.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          if (c.in(0).ndim() < 2) throw runtime_error("Input must be >= 2-d.");
          c.outs = TensorList{flip(c.in(0), Dims{1})};
        },
    .composite = true,
    .ref = "np.fliplr(input)",
    .samples = {"x(2,3)"},
});
const Op& flipud = def({
    .sig = "flipud(Tensor input) -> Tensor",
    .doc = "A copy with the order of rows reversed.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          if (c.in(0).ndim() < 1) throw runtime_error("Input must be >= 1-d.");
          c.outs = TensorList{flip(c.in(0), Dims{0})};
        },
    .composite = true,
    .ref = "np.flipud(input)",
    .samples = {"x(2,3)"},
});

const Op& rot90 = def({
    .sig = "rot90(Tensor input, int k=1, int[] dims=[0,1]) -> Tensor",
    .doc = "A copy turned k times by a quarter in the plane of two dims, from the first towards the second.",
    .forms = function | method,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          IntSpan dims = c.ints(2);
          if (dims.size() != 2)
            throw runtime_error("expected total rotation dims == 2, but got dims = ", dims.size());
          if (t.ndim() < 2) throw runtime_error("expected total dims >= 2, but got total dims = ", t.ndim());
          int64_t a = wrap_dim(dims[0], t.ndim()), b = wrap_dim(dims[1], t.ndim());
          if (a == b)
            throw runtime_error("expected rotation dims to be different, but got dim0 = ", dims[0],
                                " and dim1 = ", dims[1]);
          Dims sizes(t.sizes());
          if (c.i(1) & 1) std::swap(sizes[a], sizes[b]);
          c.out_meta(0, t.dtype(), std::move(sizes));
        },
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          int64_t a = wrap_dim(c.ints(2)[0], t.ndim()), b = wrap_dim(c.ints(2)[1], t.ndim());
          int64_t quarter = ((c.i(1) % 4) + 4) % 4;
          uint64_t both = uint64_t(1) << a | uint64_t(1) << b;
          uint64_t mask = quarter == 0   ? 0
                          : quarter == 2 ? both
                          : quarter == 1 ? uint64_t(1) << b
                                         : uint64_t(1) << a;
          Dims strides;
          int64_t first = flipped_strides(t, mask, strides);
          if (quarter & 1) std::swap(strides[a], strides[b]);
          rushlight::copy(c.out(), alias(t, c.out().sizes(), strides, t.offset() + first));
        },
    .grad = [](const Call& c, const Tensor& g) { return Grads{rot90(g, -(c.i(1) % 4), c.ints(2))}; },
    .ref = "np.rot90(input, k, dims)",
    .samples = {"x(2,3)", "x(2,3,4), 2, (0,2)", "x(2,3), -1", "x(2,3), 4"},
});

// ---- roll ----
// Shifts by dimension, each in [0, size).
Dims roll_shifts(const Tensor& t, IntSpan shifts, IntSpan dims) {
  Dims by(t.ndim());
  for (size_t k = 0; k < dims.size(); ++k) {
    int64_t d = wrap_dim(dims[k], t.ndim()), n = t.ndim() ? t.size(d) : 1;
    if (t.ndim() && n) by[d] = ((by[d] + shifts[k] % n) % n + n) % n;
  }
  return by;
}
// Copies block by block: each rolled dimension splits what is left in two.
void roll_blocks(const Tensor& out, const Tensor& in, const Dims& by, int64_t d) {
  while (d < in.ndim() && by[d] == 0) ++d;
  if (d == in.ndim()) return rushlight::copy(out, in);
  int64_t n = in.size(d), head = n - by[d];
  auto part = [&](const Tensor& t, int64_t begin, int64_t length) {
    Dims sizes(t.sizes());
    sizes[d] = length;
    return alias(t, sizes, t.strides(), t.offset() + begin * t.stride(d));
  };
  roll_blocks(part(out, by[d], head), part(in, 0, head), by, d + 1);
  roll_blocks(part(out, 0, by[d]), part(in, head, by[d]), by, d + 1);
}
const Op& roll = def({
    .sig = "roll(Tensor input, int[] shifts, int[] dims=[]) -> Tensor",
    .doc = "A copy with positions moved along dims by shifts, around the end; without dims over the "
           "flattened tensor.",
    .forms = function | method,
    .rule =
        [](Call& c) {
          if (c.ints(1).empty()) throw runtime_error("`shifts` required");
          if (c.ints(1).size() != c.ints(2).size() && !(c.ints(2).empty() && c.ints(1).size() == 1))
            throw runtime_error("shifts and dimensions must align. shifts: ", c.ints(1).size(),
                                ", dims:", c.ints(2).size());
          for (auto d : c.ints(2)) wrap_dim(d, c.in(0).ndim());
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
        },
    .cpu =
        [](Call& c) {
          if (c.out().numel() == 0) return;
          Tensor in = c.in(0), out = c.out();
          Dims zero{0};
          IntSpan dims = c.ints(2);
          if (dims.empty()) {
            in = packed(in);
            Dims line{in.numel()};
            in = alias(in, line, Dims{1}, in.offset());
            out = alias(out, line, Dims{1}, out.offset());
            dims = zero;
          }
          roll_blocks(out, in, roll_shifts(in, c.ints(1), dims), 0);
        },
    .grad =
        [](const Call& c, const Tensor& g) {
          Dims back;
          for (auto s : c.ints(1)) back.push_back(s == INT64_MIN ? s : -s);
          return Grads{roll(g, back, c.ints(2))};
        },
    .ref = "np.roll(input, shifts, dims if len(dims) else None)",
    .samples = {"x(5), (2,)", "x(3,4), (1,-1), (0,1)", "x(3,4), (3,)", "x(2,3), (7,), (1,)"},
});

// ---- padding ----
const Op& constant_pad_nd = def({
    .sig = "constant_pad_nd(Tensor input, int[] pad, Scalar value=0) -> Tensor",
    .doc = "A copy with value around it: pad lists (before, after) from the last dimension backwards; "
           "negative numbers cut.",
    .forms = function,
    .rule =
        [](Call& c) {
          const Tensor& t = c.in(0);
          IntSpan pad = c.ints(1);
          if (pad.size() % 2)
            throw runtime_error("Length of pad must be even but instead it equals ", pad.size());
          if (int64_t(pad.size()) > 2 * t.ndim())
            throw runtime_error(
                "Length of pad should be no more than twice the number of dimensions of the input. Pad "
                "length is ",
                pad.size(), "while the input has ", t.ndim(), "dimensions.");
          Dims sizes(t.sizes());
          for (size_t k = 0; 2 * k < pad.size(); ++k) {
            int64_t& n = sizes[t.ndim() - 1 - k];
            int64_t before = pad[2 * k], after = pad[2 * k + 1], old = n;
            if (__builtin_add_overflow(n, before, &n) || __builtin_add_overflow(n, after, &n))
              throw runtime_error("constant_pad_nd: the padded size is too large");
            if (before < -old || after < -old) throw runtime_error("narrow(): length must be non-negative.");
            if (n < 0 && before < 0 && after < 0)  // each alone would fit: cutting is two steps
              throw runtime_error("narrow(): length must be non-negative.");
            if (n < 0)
              throw runtime_error("The input size ", old, ", plus negative padding ", before, " and ", after,
                                  " resulted in a negative output size, which is invalid. Check dimension ",
                                  t.ndim() - 1 - int64_t(k), " of your input.");
          }
          c.out_meta(0, t.dtype(), std::move(sizes));
          keep_format(c, 0, t);
        },
    .cpu =
        [](Call& c) {
          const Tensor &t = c.in(0), &out = c.out();
          IntSpan pad = c.ints(1);
          rushlight::fill(out, c.arg(2));
          Dims sizes(t.sizes());
          int64_t from = t.offset(), to = out.offset();
          for (size_t k = 0; 2 * k < pad.size(); ++k) {
            int64_t d = t.ndim() - 1 - k, before = pad[2 * k], after = pad[2 * k + 1];
            sizes[d] += std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0);
            if (sizes[d] <= 0) return;
            from += std::max<int64_t>(-before, 0) * t.stride(d);
            to += std::max<int64_t>(before, 0) * out.stride(d);
          }
          if (count(sizes))
            rushlight::copy(alias(out, sizes, out.strides(), to), alias(t, sizes, t.strides(), from));
        },
    .grad =
        [](const Call& c, const Tensor& g) {
          Dims back;
          for (auto n : c.ints(1)) back.push_back(-n);
          return Grads{constant_pad_nd.call({g, back, 0})};
        },
    .samples = {"x(2,3), (1,2)", "x(2,3), (1,0,0,2), 1.5", "x(2,4), (-1,1)", "x(2,3), ()"},
});

// ---- broadcasting, pieces ----
const Op& broadcast_to = def({
    .sig = "broadcast_to(Tensor input, int[] size) -> Tensor",
    .doc = "expand: a view in which dimensions of size one are repeated.",
    .forms = function | method,
    .cpu = [](Call& c) { c.outs = TensorList{expand(c.in(0), c.ints(1))}; },
    .composite = true,
    .ref = "np.broadcast_to(input, size)",
    .samples = {"x(3,1), (2,3,4)", "x(3), (3,)"},
});

// Views between consecutive cuts along d; cuts are clipped like the bounds of a slice.
TensorList cut_at(const Tensor& t, int64_t d, IntSpan cuts) {
  TensorList out;
  int64_t from = 0;
  for (auto at : cuts) {
    out.push_back(slice(t, d, from, at));
    from = at;
  }
  out.push_back(slice.call({t, d, from, Value(), 1}));
  return out;
}
TensorList equal_pieces(const Tensor& t, int64_t d, int64_t sections) {
  if (sections <= 0) throw runtime_error("number of sections must be larger than 0, got ", sections);
  if (sections > 1 << 24) throw runtime_error("tensor_split: ", sections, " pieces are too many");
  int64_t n = t.size(d), longer = n % sections, at = 0;
  TensorList out;
  for (int64_t k = 0; k < sections; ++k) {
    int64_t length = n / sections + (k < longer);
    out.push_back(slice(t, d, at, at + length));
    at += length;
  }
  return out;
}
int64_t split_dim(const Call& c, int64_t dim) {
  const Tensor& t = c.in(0);
  if (t.ndim() == 0)
    throw runtime_error(
        "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims");
  return wrap_dim(dim, t.ndim());
}
const Op& tensor_split = def({
    .sig = "tensor_split.sections(Tensor input, int sections, int dim=0) -> Tensor[]",
    .doc = "Views of consecutive pieces along dim, as equal in length as possible.",
    .forms = function | method,
    .cpu = [](Call& c) { c.outs = equal_pieces(c.in(0), split_dim(c, c.i(2)), c.i(1)); },
    .composite = true,
    .samples = {"x(5,2), 2", "x(2,5), 3, 1"},
});
const Op& tensor_split_indices = def({
    .sig = "tensor_split.indices(Tensor input, int[] indices, int dim=0) -> Tensor[]",
    .doc = "Views of the pieces between the given positions along dim.",
    .forms = function | method,
    .cpu = [](Call& c) { c.outs = cut_at(c.in(0), split_dim(c, c.i(2)), c.ints(1)); },
    .composite = true,
    .samples = {"x(5,2), (1,3)", "x(2,5), (2,), 1"},
});
const Op& tensor_split_tensor = def({
    .sig = "tensor_split.tensor(Tensor input, Tensor tensor_indices_or_sections, int dim=0) -> Tensor[]",
    .doc = "The same with the number of pieces, or the positions, in an int64 tensor.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          const Tensor& where = c.in(1);
          if (where.dtype() != Dtype::i64)
            throw runtime_error(
                "tensor_split expected tensor_indices_or_sections to have dtype of long, but got ",
                info(where.dtype()).scalar_name);
          if (where.ndim() > 1)
            throw runtime_error(
                "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or "
                "one-dimensional "
                "tensor, but got a tensor with ",
                where.ndim(), " dims");
          int64_t d = split_dim(c, c.i(2));
          Tensor numbers = packed(where);
          IntSpan cuts(numbers.data<int64_t>(), numbers.numel());
          c.outs = where.ndim() ? cut_at(c.in(0), d, cuts) : equal_pieces(c.in(0), d, cuts[0]);
        },
    .composite = true,
});

// hsplit, vsplit, dsplit: along a fixed dimension, in equal pieces only.
int64_t fixed_dim(const Call& c, int64_t least) {
  int64_t nd = c.in(0).ndim();
  if (nd < least)
    throw runtime_error("torch.", c.op.name, " requires a tensor with at least ", least,
                        " dimension, but got a tensor with ", nd, " dimensions!");
  return c.op.name == "vsplit" || nd == 1 ? 0 : c.op.name == "hsplit" ? 1 : 2;
}
template <int64_t least> void split_equally(Call& c) {
  int64_t d = fixed_dim(c, least), n = c.in(0).size(d), sections = c.i(1);
  if (sections <= 0 || n % sections)
    throw runtime_error("torch.", c.op.name, " attempted to split along dimension ", d,
                        ", but the size of the dimension ", n, " is not divisible by the split_size ",
                        sections, "!");
  c.outs = equal_pieces(c.in(0), d, sections);
}
template <int64_t least> void split_at(Call& c) { c.outs = cut_at(c.in(0), fixed_dim(c, least), c.ints(1)); }

#define RL_SPLIT(NAME, LEAST, WHERE) \
  const Op& NAME##_sections = def({ \
      .sig = #NAME ".int(Tensor input, int sections) -> Tensor[]", \
      .doc = "Views of equal pieces along the " WHERE " dimension.", \
      .forms = function | method, \
      .cpu = split_equally<LEAST>, \
      .composite = true, \
      .samples = {"x(2,4,6), 2"}, \
  }); \
  const Op& NAME##_indices = def({ \
      .sig = #NAME ".array(Tensor input, int[] indices) -> Tensor[]", \
      .doc = "Views of the pieces between the given positions along the " WHERE " dimension.", \
      .forms = function | method, \
      .cpu = split_at<LEAST>, \
      .composite = true, \
      .samples = {"x(2,4,6), (1,)"}, \
  });
RL_SPLIT(hsplit, 1, "second (of vectors the first)")
RL_SPLIT(vsplit, 2, "first")
RL_SPLIT(dsplit, 3, "third")

}  // namespace

}  // namespace rushlight::ops

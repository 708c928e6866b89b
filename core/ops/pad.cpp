// Padding with the tensor's own values: mirrored (reflection_pad) or repeated (replication_pad) at the border, over the last
// one, two or three dimensions. Each padded dimension is a map from output positions to input positions.
#include <vector>

#include "kernels/copy.h"
#include "kernels/cpu/index.h"
#include "kernels/parallel.h"
#include "ops/index.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

int64_t padded_dims(const Call& c) { return c.op.name[c.op.name.size() - 2] - '0'; }  // reflection_pad2d
bool reflects(const Call& c) { return c.op.name[2] == 'f'; }

// Sizes after padding the last pad.size() / 2 dimensions, none of which is empty; raises where the padding does not fit.
Dims padded_sizes(const std::string& name, IntSpan from, IntSpan pad, bool mirror) {
  Dims sizes(from);
  int64_t n = pad.size() / 2, nd = from.size();
  for (int64_t k = 0; k < n; ++k) {
    int64_t d = nd - 1 - k, before = pad[2 * k], after = pad[2 * k + 1], old = from[d];
    if (mirror && (before >= old || after >= old))
      throw runtime_error(
          "Argument #", 2 * k + 4,
          ": Padding size should be less than the corresponding input dimension, but got: padding (", before,
          ", ", after, ") at dimension ", d, " of input ", show(from));
    if (__builtin_add_overflow(old, before, &sizes[d]) || __builtin_add_overflow(sizes[d], after, &sizes[d]))
      throw runtime_error(name, ": the padded size is too large");
    if (sizes[d] < 1)
      throw runtime_error("input (", "WHD"[k], ": ", old, ") is too small. Calculated output ", "WHD"[k],
                          ": ", sizes[d]);
  }
  return sizes;
}

void check_padding(Call& c) {
  const Tensor& t = c.in(0);
  IntSpan pad = c.ints(1);
  int64_t n = padded_dims(c);
  if (int64_t(pad.size()) != 2 * n)
    throw runtime_error("padding size is expected to be ", 2 * n, ", but got: ", pad.size());
  bool shaped = t.ndim() == n + 1 || t.ndim() == n + 2;
  for (int64_t d = t.ndim() - n - 1; shaped && d < t.ndim(); ++d) shaped = t.size(d) != 0;
  if (!shaped)
    throw runtime_error(
        "Expected ", n + 1, "D or ", n + 2,
        "D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: ",
        show(t.sizes()));
  if (t.dtype() == Dtype::boolean) throw_unsupported(c.op.name.c_str(), t.dtype());
  c.out_meta(0, t.dtype(), padded_sizes(c.op.name, t.sizes(), pad, reflects(c)));
}

int64_t source_of(int64_t place, int64_t size, bool mirror) {
  if (!mirror) return std::clamp<int64_t>(place, 0, size - 1);
  place = place < 0 ? -place : place;
  return place < size ? place : 2 * (size - 1) - place;
}

// Offsets in one contiguous block of the padded dimensions: the input element behind each output element, row by row.
struct PadMap {
  std::vector<int64_t> rows, columns;  // offset of the row, offset in the row
  int64_t in_block = 1, out_block = 1, blocks = 1;
  PadMap(IntSpan in_sizes, IntSpan pad, bool mirror) {
    int64_t n = pad.size() / 2, nd = in_sizes.size();
    for (int64_t d = 0; d < nd - n; ++d) blocks *= in_sizes[d];
    rows = {0};
    for (int64_t d = nd - n; d < nd; ++d) {
      int64_t k = nd - 1 - d, size = in_sizes[d], length = pad[2 * k] + size + pad[2 * k + 1];
      in_block *= size;
      out_block *= length;
      std::vector<int64_t> line(length);
      for (int64_t i = 0; i < length; ++i) line[i] = source_of(i - pad[2 * k], size, mirror);
      if (k == 0) {
        for (auto& r : rows) r *= size;
        columns = std::move(line);
        break;
      }
      std::vector<int64_t> next;
      for (auto r : rows)
        for (auto i : line) next.push_back(r * size + i);
      rows = std::move(next);
    }
  }
};

void pad_kernel(Call& c) {
  Tensor in = packed(c.in(0));
  if (!in.numel()) return;
  PadMap map(in.sizes(), c.ints(1), reflects(c));
  int64_t width = map.columns.size(), per_block = map.rows.size();
  visit_size(in.itemsize(), [&]<class T>() {
    const T* from = in.data<T>();
    T* to = c.out().data<T>();
    parallel_for(map.blocks * per_block, std::max<int64_t>(1, 32768 / width),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t r = begin; r < end; ++r) {
                     const T* row = from + r / per_block * map.in_block + map.rows[r % per_block];
                     for (int64_t i = 0; i < width; ++i) to[r * width + i] = row[map.columns[i]];
                   }
                 });
  });
}

const Op& pad_backward = def({
    .sig = "_pad_backward(Tensor grad_output, int[] input_sizes, int[] padding, str mode) -> Tensor",
    .doc = "The gradient of reflection and replication padding: border elements are added to where they came "
           "from.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          IntSpan sizes = c.ints(1), pad = c.ints(2);
          bool fits = pad.size() % 2 == 0 && pad.size() <= 6 && pad.size() / 2 <= sizes.size();
          for (size_t d = fits ? sizes.size() - pad.size() / 2 : 0; fits && d < sizes.size(); ++d)
            fits = sizes[d] > 0;
          if (!fits || !same(padded_sizes(c.op.name, sizes, pad, c.s(3) == "reflect"), c.in(0).sizes()))
            throw runtime_error("_pad_backward: grad_output of shape ", show(c.in(0).sizes()),
                                " does not fit an input of shape ", show(sizes), " padded by ", show(pad));
          c.out_meta(0, c.in(0).dtype(), Dims(c.ints(1)));
        },
    .cpu =
        [](Call& c) {
          Tensor g = packed(c.in(0));
          if (!g.numel()) return;
          PadMap map(c.ints(1), c.ints(2), c.s(3) == "reflect");
          int64_t width = map.columns.size(), per_block = map.rows.size();
          rushlight::fill(c.out(), Value(0));
          visit(g.dtype(), [&]<class T>() {
            const T* from = g.data<T>();
            T* to = c.out().data<T>();
            parallel_for(map.blocks, std::max<int64_t>(1, 32768 / map.out_block),
                         [&](int64_t begin, int64_t end) {
                           for (int64_t r = begin * per_block; r < end * per_block; ++r) {
                             T* row = to + r / per_block * map.in_block + map.rows[r % per_block];
                             for (int64_t i = 0; i < width; ++i)
                               cpu::add_to(row[map.columns[i]], load(from + r * width + i));
                           }
                         });
          });
        },
    .grad =
        [](const Call& c, const Tensor& g) {
          std::string name = c.s(3) == "reflect" ? "reflection_pad" : "replication_pad";
          return Grads{find_op(name + std::to_string(c.ints(2).size() / 2) + "d").call({g, c.ints(2)})};
        },
});

Grads pad_grad(const Call& c, const Tensor& g) {
  return {pad_backward.call({g, c.in_sizes(0), c.ints(1), reflects(c) ? "reflect" : "replicate"})};
}

constexpr const char* numpy_pairs =
    "np.pad(input, [(0, 0)] * (input.ndim - len(padding) // 2) + "
    "[(padding[k], padding[k + 1]) for k in range(len(padding) - 2, -1, -2)], mode=";
const std::string reflect_ref = std::string(numpy_pairs) + "'reflect')",
                  replicate_ref = std::string(numpy_pairs) + "'edge')";

Spec pad_spec(const char* sig, const char* doc, const char* grad_name, std::vector<const char*> samples,
              Autocast autocast) {
  return {.sig = sig,
          .doc = doc,
          .forms = function,
          .autocast = autocast,
          .rule = check_padding,
          .cpu = pad_kernel,
          .grad = pad_grad,
          .grad_name = grad_name,
          .ref = sig[2] == 'f' ? reflect_ref.c_str() : replicate_ref.c_str(),
          .samples = std::move(samples),
          .modules = "nn"};
}
constexpr const char* mirrored =
    "Pads the last dimensions with the values mirrored at the border, which is not repeated.";
constexpr const char* repeated = "Pads the last dimensions with the values at the border.";

const Op& reflection_pad1d = def(pad_spec("reflection_pad1d(Tensor input, int[] padding) -> Tensor", mirrored,
                                          "ReflectionPad1DBackward0", {"x(2,5), (2,1)"}, Autocast::full));
const Op& reflection_pad2d =
    def(pad_spec("reflection_pad2d(Tensor input, int[] padding) -> Tensor", mirrored,
                 "ReflectionPad2DBackward0", {"x(1,4,5), (2,1,3,0)"}, Autocast::full));
const Op& reflection_pad3d =
    def(pad_spec("reflection_pad3d(Tensor input, int[] padding) -> Tensor", mirrored,
                 "ReflectionPad3DBackward0", {"x(2,1,3,3,2), (1,1,2,0,0,1)"}, Autocast::none));
const Op& replication_pad1d =
    def(pad_spec("replication_pad1d(Tensor input, int[] padding) -> Tensor", repeated,
                 "ReplicationPad1DBackward0", {"x(2,3), (2,4)"}, Autocast::full));
const Op& replication_pad2d =
    def(pad_spec("replication_pad2d(Tensor input, int[] padding) -> Tensor", repeated,
                 "ReplicationPad2DBackward0", {"x(1,2,3), (2,1,3,0)"}, Autocast::full));
const Op& replication_pad3d =
    def(pad_spec("replication_pad3d(Tensor input, int[] padding) -> Tensor", repeated,
                 "ReplicationPad3DBackward0", {"x(2,1,3,3,2), (1,1,2,0,0,1)"}, Autocast::full));

}  // namespace

}  // namespace rushlight::ops

// Reading by index: x[indices], index_select, take, masks and their positions, and the gradients of views of one position or
// a range. Writing by index: index_put.
#include "ops/index.h"

#include <bit>
#include <cstring>

#include "autograd/node.h"
#include "kernels/copy.h"
#include "kernels/cpu/index.h"
#include "kernels/parallel.h"
#include "kernels/with_isa.h"
#include "ops/both.h"
#include "ops/create.h"
#include "ops/ops.h"
#include "ops/view.h"

namespace rushlight::ops {

Tensor packed(const Tensor& t, Dtype dtype, IntSpan sizes) {
  if (t.contiguous() && t.dtype() == dtype && same(t.sizes(), sizes)) return t;
  Tensor out = empty(sizes, dtype);
  rushlight::copy(out, t);
  return out;
}

Tensor spread_zero(IntSpan sizes, Dtype dtype) { return expand(full(IntSpan{}, dtype, 0), sizes); }
bool is_spread_zero(const Tensor& t) {
  if (t.numel() < 2) return false;
  for (int64_t d = 0; d < t.ndim(); ++d)
    if (t.size(d) != 1 && t.stride(d) != 0) return false;
  return std::all_of(t.raw(), t.raw() + t.itemsize(), [](char byte) { return byte == 0; });
}

namespace {

// Outputs whose size depends on values are made by the kernel.
Tensor fresh(const Call& c, IntSpan sizes, Dtype dtype) {
  Tensor t = empty(sizes, dtype);
  t->inference = modes().inference;
  return t;
}
void check_data(const Call& c) {
  for (auto& v : c.args)
    if (v.tag == Value::tensor && v.as_tensor().is_meta())
      throw not_implemented(c.op.name,
                            ": the size of the result depends on values, which a meta tensor does not have");
}

// ---- masks ----
constexpr int64_t mask_chunk = 65536;

// Numbers of true elements before each chunk of a contiguous mask, and their total at the end.
std::vector<int64_t> mask_starts(const bool* mask, int64_t n) {
  std::vector<int64_t> starts((n + mask_chunk - 1) / mask_chunk + 1);
  auto* bytes =
      reinterpret_cast<const unsigned char*>(mask);  // a view of other memory may hold more than 0 and 1
  parallel_for(n, mask_chunk, [&](int64_t begin, int64_t end) {
    with_isa([bytes, begin, end, sum = &starts[begin / mask_chunk + 1]] {
      int64_t all = 0;
      for (int64_t at = begin; at < end; at += 128) {  // as many as surely fit a byte
        uint8_t some = 0;
        for (int64_t i = at; i < std::min(at + 128, end); ++i) some += bytes[i] != 0;
        all += some;
      }
      *sum = all;
    });
  });
  for (size_t k = 1; k < starts.size(); ++k) starts[k] += starts[k - 1];
  return starts;
}
// f(position, how many true ones came before) for each true element, in parallel chunks.
template <class F> void each_true(const bool* mask, int64_t n, const std::vector<int64_t>& starts, F&& f) {
  parallel_for(n, mask_chunk, [&](int64_t begin, int64_t end) {
    int64_t rank = starts[begin / mask_chunk], i = begin;
    for (; i + 8 <= end; i += 8) {  // eight bytes at a time: each true one is a set bit
      uint64_t word;
      std::memcpy(&word, mask + i, 8);
      constexpr uint64_t low = 0x7f7f7f7f7f7f7f7f;
      word = (((word & low) + low) | word) & ~low;  // the top bit of each byte that is not 0
      if constexpr (std::endian::native == std::endian::little) {
        for (; word; word &= word - 1) f(i + std::countr_zero(word) / 8, rank++);
      } else {
        for (int64_t k = 0; k < 8; ++k)
          if (mask[i + k]) f(i + k, rank++);
      }
    }
    for (; i < end; ++i)
      if (reinterpret_cast<const unsigned char*>(mask)[i]) f(i, rank++);
  });
}

// put(position, how many true ones came before) for elements [begin, end), of which the first true one has the number `rank` and
// `stop` is the number behind the chunk's last. It is called for false ones, too, and what it wrote then is written again at the
// next: there is no branch to mispredict. Returns the number of the next true one.
template <class F>
RL_INLINE int64_t pack_true(const uint8_t* mask, int64_t begin, int64_t end, int64_t rank, int64_t stop,
                            F&& put) {
  int64_t i = begin;
  for (; i + 8 <= end && rank + 8 <= stop; i += 8) {
    uint64_t word;
    std::memcpy(&word, mask + i, 8);
    if (!word) continue;
    for (int64_t k = 0; k < 8; ++k) {
      put(i + k, rank);
      rank += mask[i + k] != 0;
    }
  }
  for (; i < end && rank < stop; ++i) {
    put(i, rank);
    rank += mask[i] != 0;
  }
  return rank;
}

// Positions of the true elements of a mask, a number for each of its dimensions. Dim: how many there are, 0 where only `sizes`
// says so.
template <int Dim>
void write_positions(const bool* mask, IntSpan sizes, const std::vector<int64_t>& starts, int64_t* to) {
  const int64_t dims = Dim ? Dim : int64_t(sizes.size()), row = sizes[dims - 1];
  auto* bytes = reinterpret_cast<const uint8_t*>(mask);
  parallel_for(count(sizes), mask_chunk, [=, &starts](int64_t begin, int64_t end) {
    int64_t place[max_ndim], rest = begin;
    for (int64_t d = dims; d-- > 0; rest /= sizes[d]) place[d] = rest % sizes[d];
    int64_t rank = starts[begin / mask_chunk], stop = starts[begin / mask_chunk + 1];
    for (int64_t at = begin; at < end && rank < stop;) {  // row by row: only the last number changes
      const int64_t first = at - place[dims - 1], after = std::min(end, first + row);
      rank = pack_true(bytes, at, after, rank, stop, [&](int64_t i, int64_t k) {
        for (int64_t d = 0; d + 1 < dims; ++d) to[k * dims + d] = place[d];
        to[k * dims + dims - 1] = i - first;
      });
      at = after;
      place[dims - 1] = 0;
      for (int64_t d = dims - 1; d-- > 0;) {
        if (++place[d] < sizes[d]) break;
        place[d] = 0;
      }
    }
  });
}

}  // namespace

Tensor nonzero_positions(const Tensor& t) {
  Tensor mask = packed(t, Dtype::boolean, t.sizes());
  const bool* m = mask.data<bool>();
  int64_t n = t.numel(), dims = t.ndim();
  auto starts = mask_starts(m, n);
  Tensor out = empty(Dims{starts.back(), dims}, Dtype::i64);
  if (dims == 0 || starts.back() == 0) return out;
  auto* write = dims == 1 ? write_positions<1> : dims == 2 ? write_positions<2> : write_positions<0>;
  write(m, t.sizes(), starts, out.data<int64_t>());
  return out;
}

TensorList plain_indices(const Tensor& t, std::span<const Tensor> indices) {
  static const Op& as_int64 = to_dtype;
  TensorList out;
  for (auto& i : indices) {
    if (!i) {
      out.push_back({});
    } else if (i.dtype() == Dtype::boolean || i.dtype() == Dtype::u8) {
      for (int64_t d = 0; d < i.ndim(); ++d)
        if (int64_t(out.size()) + d >= t.ndim() || i.size(d) != t.size(out.size() + d))
          throw index_error("The shape of the mask ", show(i.sizes()), " at index ", d,
                            " does not match the shape of the indexed tensor ", show(t.sizes()), " at index ",
                            out.size() + d);
      Tensor where = nonzero_positions(i);
      for (int64_t d = 0; d < i.ndim(); ++d) out.push_back(select(where, 1, d));
      if (i.ndim() == 0) throw not_implemented("index_put with a 0-d mask");
    } else if (i.dtype() == Dtype::i64) {
      out.push_back(i);
    } else if (i.dtype() == Dtype::i32) {
      out.push_back(as_int64(i, Dtype::i64));
    } else {
      throw index_error("tensors used as indices must be long, int, byte or bool tensors");
    }
  }
  if (int64_t(out.size()) > t.ndim())
    throw index_error("too many indices for tensor of dimension ", t.ndim(), " (got ", out.size(), ")");
  return out;
}

// ---- x[indices] ----
const Op& index = def({
    .sig = "index(Tensor input, Tensor?[] indices) -> Tensor",
    .doc = "The elements that int64 index tensors name, one index for each dimension or none for all of it.",
    .forms = no_forms,
    .rule = [](Call& c) { c.out_meta(0, c.in(0).dtype(), cpu::IndexShape(c.in(0), c.tensors(1)).sizes); },
    .cpu = [](Call& c) { cpu::take_elements(c.out(), c.in(0), cpu::Selection(c.in(0), c.tensors(1))); },
    .saves = save(In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads out(c.slots());
          out[0] = zeros_with(c.in_sizes(0), c.arg(1), g);
          return out;
        },
});

namespace {

void put_rule(Call& c) {
  const Tensor &t = c.in(0), &values = c.in(2);
  if (values.dtype() != t.dtype())
    throw runtime_error("Index put requires the source and destination dtypes match, got ",
                        info(t.dtype()).scalar_name, " for the destination and ",
                        info(values.dtype()).scalar_name, " for the source.");
  cpu::IndexShape shape(t, c.tensors(1));
  // leading dimensions of size one are dropped
  Dims sizes(values.sizes());
  while (sizes.size() > shape.sizes.size() && sizes[0] == 1) sizes.erase(0);
  bool fits = sizes.size() <= shape.sizes.size();
  for (size_t d = 0; fits && d < sizes.size(); ++d) {
    int64_t want = shape.sizes[shape.sizes.size() - sizes.size() + d];
    fits = sizes[d] == want || sizes[d] == 1;
  }
  if (!fits)
    throw runtime_error("shape mismatch: value tensor of shape ", show(values.sizes()),
                        " cannot be broadcast to indexing result of shape ", show(shape.sizes));
  c.out_meta(0, t.dtype(), Dims(t.sizes()));
}

const Both index_put_plain = def_both(
    {
        .sig = "_index_put(Tensor input, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
        .doc = "A copy with values at the elements that int64 index tensors name.",
        .forms = no_forms,
        .rule = put_rule,
        .saves = save(In1),
        .grad =
            [](const Call& c, const Tensor& g) {
              Grads out(c.slots());
              int last = c.slots() - 1;
              if (c.wants(0)) {
                Tensor zero = scalar_tensor(0.0, g.dtype());
                out[0] = c.b(3) ? g : find_op("_index_put").call({g, c.arg(1), zero});
              }
              if (c.wants(last)) {
                Tensor values = index.call({g, c.arg(1)});
                IntSpan sizes = c.in_sizes(last);
                if (int64_t(sizes.size()) > values.ndim()) {  // leading dimensions of size one were dropped
                  Dims padded(sizes.size() - values.ndim(), 1);
                  for (auto n : values.sizes()) padded.push_back(n);
                  values = reshape(values, padded);
                }
                out[last] = values;
              }
              return out;
            },
        .grad_name = "IndexPutBackward0",
    },
    [](Call& c) {
      const Tensor &t = c.out(), &given = c.in(2);
      cpu::Selection s(t, c.tensors(1));
      if (count(s.sizes) == 0) {
        if (!c.in_place) rushlight::copy(t, c.in(0));
        return;
      }
      if (overlap(t, given) != Overlap::none)
        throw runtime_error(
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
            "single memory location. Please clone() the tensor before performing the operation.");
      Tensor values = given;
      if (values.numel() != 1) {
        while (values.ndim() > int64_t(s.sizes.size()))
          values = alias(values, values.sizes().subspan(1), values.strides().subspan(1), values.offset());
        values = packed(values, t.dtype(), s.sizes);
      }
      const bool adds = c.b(3), whole_rows = s.before.size() == 1 && s.after.size() == 1 && t.ndim() > 1 &&
                                             s.run > 1 && s.run == t.stride(0) && t.contiguous();
      const int64_t rows = t.size(0), named = s.index.size();
      if (!c.in_place && adds && whole_rows && values.numel() > 1 && cpu::adds_by_rows(rows, s.run, named)) {
        for (int64_t& at : s.index) at /= s.run;
        Tensor base = is_spread_zero(c.in(0)) ? Tensor() : packed(c.in(0));
        return cpu::add_rows(t.dtype(), t.raw(), base ? base.raw() : nullptr, rows, s.run, s.index.data(),
                             named, values.raw());
      }
      if (!c.in_place) rushlight::copy(t, c.in(0));
      cpu::put_elements(t, s, values, adds);
    },
    Starts::empty);

}  // namespace

Tensor zeros_with(IntSpan sizes, const Value& indices, const Tensor& values) {
  return index_put_plain.made.call({spread_zero(sizes, values.dtype()), indices, values, true});
}

namespace {

const Op& index_put = def({
    .sig = "index_put(Tensor input, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
    .doc = "A copy with values (broadcast) written to input[indices], or added to it.",
    .forms = function | method,
    .cpu =
        [](Call& c) {
          TensorList indices = plain_indices(c.in(0), c.tensors(1));
          c.outs = TensorList{index_put_plain.made.call({c.in(0), indices, c.arg(2), c.arg(3)})};
        },
    .composite = true,
});
const Op& index_put_ = def({
    .sig = "index_put_(Tensor! input, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
    .doc = "Writes values (broadcast) to input[indices], or adds them to it.",
    .cpu =
        [](Call& c) {
          TensorList indices = plain_indices(c.in(0), c.tensors(1));
          c.outs = TensorList{index_put_plain.written.call_inplace({c.in(0), indices, c.arg(2), c.arg(3)})};
        },
    .composite = true,
});

// ---- one dimension ----
void check_index_dtype(const Tensor& index, const char* text) {
  if (index.dtype() != Dtype::i64 && index.dtype() != Dtype::i32) throw runtime_error(text);
}

const Op& index_select = def({
    .sig = "index_select(Tensor input, int dim, Tensor index) -> Tensor",
    .doc = "The positions along dim that a vector of indices names, as a new tensor.",
    .rule =
        [](Call& c) {
          const Tensor &t = c.in(0), &i = c.in(2);
          int64_t d = wrap_dim(c.i(1), t.ndim());
          if (i.ndim() > 1) throw index_error("index_select(): Index is supposed to be a vector");
          check_index_dtype(i, "index_select(): Expected dtype int32 or int64 for index");
          if (t.ndim() == 0 && i.numel() != 1)
            throw runtime_error("index_select(): Index to scalar can have only 1 value, got ", i.numel(),
                                " value(s)");
          Dims sizes(t.sizes());
          if (t.ndim()) sizes[d] = i.numel();
          c.out_meta(0, t.dtype(), std::move(sizes));
        },
    .cpu =
        [](Call& c) {
          const Tensor& t = c.in(0);
          int64_t d = wrap_dim(c.i(1), t.ndim()), size = t.ndim() ? t.size(d) : 1;
          Tensor numbers = packed(c.in(2), Dtype::i64, c.in(2).sizes());
          const int64_t* from = numbers.data<int64_t>();
          if (cpu::first_outside(from, numbers.numel(), 0, size) >= 0)
            throw index_error("index out of range in self");
          cpu::take_elements(c.out(), t, cpu::Selection(t, d, from, numbers.numel()));
        },
    .saves = save(In2),
    .grad =
        [](const Call& c, const Tensor& g) {
          if (c.in_sizes(0).empty()) return Grads{g};
          return Grads{index_add.call({spread_zero(c.in_sizes(0), g.dtype()), c.i(1), c.in(2), g})};
        },
    .ref = "np.take(input, index, axis=dim)",
    .samples = {"x(3,4), 0, i(5; 0, 3)", "x(2,3,4), -1, i(2; 0, 4)", "x(3,4), 1, i(0; 0, 4)"},
});

const Op& take = def({
    .sig = "take(Tensor input, Tensor index) -> Tensor",
    .doc = "The elements at positions of the flattened input, in the shape of index.",
    .rule =
        [](Call& c) {
          if (c.in(1).dtype() != Dtype::i64)
            throw runtime_error("take(): Expected a long tensor for index, but got ",
                                info(c.in(1).dtype()).scalar_name);
          if (c.in(0).numel() == 0 && c.in(1).numel())
            throw index_error("take(): tried to take from an empty tensor");
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(1).sizes()));
        },
    .cpu =
        [](Call& c) {
          Tensor flat = packed(c.in(0)), numbers = packed(c.in(1));
          int64_t n = flat.numel();
          const int64_t* from = numbers.data<int64_t>();
          if (int64_t at = cpu::first_outside(from, numbers.numel(), -n, n); at >= 0)
            throw index_error("out of range: tried to access index ", from[at], " on a tensor of ", n,
                              " elements.");
          Tensor line = alias(flat, Dims{n}, Dims{1}, flat.offset());
          cpu::take_elements(c.out(), line, cpu::Selection(line, 0, from, numbers.numel()));
        },
    .saves = save(In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          TensorList flat{reshape(c.in(1), Dims{-1})};
          Tensor line = zeros_with(Dims{count(c.in_sizes(0))}, flat, reshape(g, Dims{-1}));
          return Grads{reshape(line, c.in_sizes(0))};
        },
    .ref = "np.take(input, index)",
    .samples = {"x(3,4), i(2,5; 0, 12)", "x(3,4), i(3; -12, 0)", "x(), i(2; 0, 1)"},
});

const Both put = def_both(
    {
        .sig = "put(Tensor input, Tensor index, Tensor source, bool accumulate=False) -> Tensor",
        .doc = "A copy with the elements of source at positions of the flattened input, or added there.",
        .forms = function | method,
        .rule =
            [](Call& c) {
              if (c.in(1).dtype() != Dtype::i64)
                throw runtime_error("put_(): Expected a long tensor for index, but got ",
                                    info(c.in(1).dtype()).scalar_name);
              if (c.in(0).dtype() != c.in(2).dtype())
                throw runtime_error(
                    "put_(): self and source expected to have the same dtype, but got self.dtype = ",
                    info(c.in(0).dtype()).scalar_name,
                    " and source.dtype = ", info(c.in(2).dtype()).scalar_name);
              if (c.in(1).numel() != c.in(2).numel())
                throw runtime_error(
                    "put_(): Expected source and index to have the same number of elements, but got "
                    "source.numel() = ",
                    c.in(2).numel(), ", index.numel() = ", c.in(1).numel());
              if (c.in(0).numel() == 0 && c.in(1).numel())
                throw index_error("put_(): tried to put elements into an empty tensor");
              c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
            },
        .saves = save(In1),
        .grad =
            [](const Call& c, const Tensor& g) {
              static const Op& put_zeros = find_op("put");
              Tensor zeros = c.wants(0) && !c.b(3) ? full(c.in_sizes(2), g.dtype(), 0) : Tensor();
              return Grads{!c.wants(0) ? Tensor()
                           : c.b(3)    ? g
                                       : put_zeros.call({g, c.in(1), zeros, false}),
                           Tensor(), c.wants(2) ? reshape(take(g, c.in(1)), c.in_sizes(2)) : Tensor()};
            },
        .samples = {"x(3,4), i(3; 0, 12), x(3), accumulate=True"},
    },
    [](Call& c) {
      Tensor t = c.out(), flat = packed(t), numbers = packed(c.in(1)), source = packed(c.in(2));
      int64_t n = t.numel(), k = numbers.numel();
      const int64_t* from = numbers.data<int64_t>();
      if (int64_t at = cpu::first_outside(from, k, -n, n); at >= 0)
        throw index_error("out of range: tried to access index ", from[at], " on a tensor of ", n,
                          " elements.");
      Tensor line = alias(flat, Dims{n}, Dims{1}, flat.offset());
      cpu::put_elements(line, cpu::Selection(line, 0, from, k), source, c.b(3));
      if (!flat.is(t)) rushlight::copy(t, flat);
    });

const Op& take_along_dim = def({
    .sig = "take_along_dim(Tensor input, Tensor indices, int? dim=None) -> Tensor",
    .doc =
        "gather with broadcast indices: what argmax and argsort name. Without dim over the flattened input.",
    .forms = function | method | out_form,
    .cpu =
        [](Call& c) {
          Tensor t = c.in(0), places = c.in(1);
          if (places.dtype() != Dtype::i64)
            throw runtime_error("torch.take_along_dim(): dtype of indices should be Long but got ",
                                info(places.dtype()).scalar_name);
          if (!c.has(2)) {
            c.outs = TensorList{gather(reshape(t, Dims{-1}), 0, reshape(places, Dims{-1}))};
            return;
          }
          if (t.ndim() != places.ndim())
            throw runtime_error(
                "torch.take_along_dim(): input and indices should have the same number of dimensions, but "
                "got ",
                t.ndim(), " dimensions for input, and ", places.ndim(), " dimensions for indices");
          int64_t d = wrap_dim(c.i(2), t.ndim());
          auto without = [&](const Tensor& x) {
            Dims sizes(x.sizes());
            if (x.ndim()) sizes[d] = 1;
            return sizes;
          };
          Dims sizes = rushlight::broadcast(without(t), without(places)), of_t = sizes, of_places = sizes;
          if (t.ndim()) of_t[d] = t.size(d), of_places[d] = places.size(d);
          c.outs = TensorList{gather(expand(t, of_t), d, expand(places, of_places))};
        },
    .composite = true,
    .ref = "np.take_along_axis(input, indices, dim)",
    .samples = {"x(3,4), i(3,2; 0, 4), 1", "x(3,4), i(1,4; 0, 3), 0"},
});

// ---- masks ----
const Op& nonzero = def({
    .sig = "nonzero(Tensor input) -> Tensor",
    .doc = "Positions of the elements that are not zero, one row for each.",
    .cpu =
        [](Call& c) {
          check_data(c);
          c.outs[0] = nonzero_positions(c.in(0));
          c.outs[0]->inference = modes().inference;
        },
    .ref = "np.argwhere(input)",
    .samples = {"i(3,4; 0, 2)", "b(5)", "x(0,3)"},
    .aliases = {"argwhere"},
});

const Op& where_true = def({
    .sig = "where.condition(Tensor condition) -> Tensor[]",
    .doc = "Positions of the elements that are not zero, one index tensor per dimension.",
    .forms = function,
    .cpu =
        [](Call& c) {
          check_data(c);
          Tensor t = c.in(0).ndim() ? c.in(0) : reshape(c.in(0), Dims{1});
          Tensor rows = nonzero(t);
          for (int64_t d = 0; d < t.ndim(); ++d) c.outs.push_back(select(rows, 1, d));
        },
    .composite = true,
    .samples = {"b(3,4)"},
});

const Op& masked_select = def({
    .sig = "masked_select(Tensor input, Tensor mask) -> Tensor",
    .doc = "The elements where mask (broadcast with input) is true, in one dimension.",
    .cpu =
        [](Call& c) {
          check_data(c);
          const Tensor &t = c.in(0), &mask = c.in(1);
          if (mask.dtype() != Dtype::boolean)
            throw runtime_error("masked_select: expected BoolTensor for mask");
          Dims sizes = rushlight::broadcast(mask.sizes(), t.sizes());
          Tensor where = packed(mask, Dtype::boolean, sizes), values = packed(t, t.dtype(), sizes);
          auto starts = mask_starts(where.data<bool>(), where.numel());
          Tensor out = fresh(c, Dims{starts.back()}, t.dtype());
          visit_size(t.itemsize(), [&]<class T>() {
            T *to = out.data<T>(), *from = values.data<T>();
            auto* bytes = reinterpret_cast<const uint8_t*>(where.data<bool>());
            parallel_for(where.numel(), mask_chunk, [=, &starts](int64_t begin, int64_t end) {
              const int64_t chunk = begin / mask_chunk;
              pack_true(bytes, begin, end, starts[chunk], starts[chunk + 1],
                        [=](int64_t i, int64_t rank) { to[rank] = from[i]; });
            });
          });
          c.outs[0] = out;
        },
    .saves = save(In1),
    .grad =
        [](const Call& c, const Tensor& g) {
          static const Op& scatter_into = find_op("masked_scatter_");
          Dims sizes = rushlight::broadcast(c.in_sizes(0), c.in(1).sizes());
          return Grads{scatter_into.call_inplace({full(sizes, g.dtype(), 0), c.in(1), g})};
        },
    .ref = "input[mask]",
    .samples = {"x(3,4), b(3,4)", "x(0,3), b(0,3)"},
});

const Both masked_scatter = def_both(
    {
        .sig = "masked_scatter(Tensor input, Tensor mask, Tensor source) -> Tensor",
        .doc = "A copy in which the elements where mask is true are, in order, the first ones of source.",
        .forms = function | method,
        .rule =
            [](Call& c) {
              const Tensor &t = c.in(0), &mask = c.in(1), &source = c.in(2);
              if (t.dtype() != source.dtype())
                throw runtime_error("masked_scatter: expected self and source to have same dtypes but got",
                                    info(t.dtype()).scalar_name, " and ", info(source.dtype()).scalar_name);
              if (mask.dtype() != Dtype::boolean)
                throw runtime_error("masked_scatter_ only supports boolean masks, but got mask with dtype ",
                                    info(mask.dtype()).scalar_name);
              Dims sizes = rushlight::broadcast(mask.sizes(), t.sizes());
              c.out_meta(0, t.dtype(), std::move(sizes));
            },
        .saves = save(In1),
        .grad =
            [](const Call& c, const Tensor& g) {
              Tensor source;
              if (c.wants(2)) {  // the elements that were taken, then zeros
                Tensor taken = masked_select(g, c.in(1));
                Tensor all = full(Dims{count(c.in_sizes(2))}, g.dtype(), 0);
                Tensor part = slice(all, 0, 0, taken.numel());
                copy_.call_inplace({part, taken});
                source = reshape(all, c.in_sizes(2));
              }
              return Grads{c.wants(0) ? masked_fill(g, c.in(1), 0) : Tensor(), Tensor(), source};
            },
        .samples = {"x(3,4), b(3,4), x(12)"},
    },
    [](Call& c) {
      const Tensor& t = c.out();
      Tensor where = packed(c.in(1), Dtype::boolean, t.sizes()), source = packed(c.in(2)), dense = packed(t);
      auto starts = mask_starts(where.data<bool>(), where.numel());
      if (starts.back() > source.numel())
        throw runtime_error("Number of elements of source < number of ones in mask");
      visit_size(t.itemsize(), [&]<class T>() {
        T *to = dense.data<T>(), *from = source.data<T>();
        each_true(where.data<bool>(), where.numel(), starts,
                  [=](int64_t i, int64_t rank) { to[i] = from[rank]; });
      });
      if (!dense.is(t)) rushlight::copy(t, dense);
    });

// ---- gradients of views ----
void write_part(const Call& c, const Tensor& part) {
  if (!same(part.sizes(), c.in(0).sizes()))
    throw runtime_error(c.op.name, ": grad_output of shape ", show(c.in(0).sizes()), " does not fit ",
                        show(part.sizes()));
  rushlight::copy(part, c.in(0));
}
const Op& select_backward = def({
    .sig = "select_backward(Tensor grad_output, int[] input_sizes, int dim, int index) -> Tensor",
    .doc = "Zeros with grad_output at one position along dim: the gradient of select.",
    .forms = no_forms,
    .rule = [](Call& c) { c.out_meta(0, c.in(0).dtype(), Dims(c.ints(1))); },
    .cpu =
        [](Call& c) {
          GradMode off(false);
          rushlight::fill(c.out(), Value(0));
          write_part(c, select(c.out(), c.i(2), c.i(3)));
        },
    .grad = [](const Call& c, const Tensor& g) { return Grads{select(g, c.i(2), c.i(3))}; },
});
const Op& slice_backward = def({
    .sig = "slice_backward(Tensor grad_output, int[] input_sizes, int dim, int? start, int? end, int step) "
           "-> Tensor",
    .doc = "Zeros with grad_output at a range of positions along dim: the gradient of slice.",
    .forms = no_forms,
    .rule = [](Call& c) { c.out_meta(0, c.in(0).dtype(), Dims(c.ints(1))); },
    .cpu =
        [](Call& c) {
          GradMode off(false);
          rushlight::fill(c.out(), Value(0));
          write_part(c, slice.call({c.out(), c.i(2), c.arg(3), c.arg(4), c.i(5)}));
        },
    .grad = [](const Call& c,
               const Tensor& g) { return Grads{slice.call({g, c.i(2), c.arg(3), c.arg(4), c.i(5)})}; },
});

}  // namespace

}  // namespace rushlight::ops

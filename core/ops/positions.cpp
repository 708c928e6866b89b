// Operators that write whole positions along one dimension: index_add, index_copy, index_fill.
#include "kernels/copy.h"
#include "kernels/cpu/index.h"
#include "ops/both.h"
#include "ops/index.h"
#include "ops/ops.h"
#include "ops/scatter.h"
#include "ops/view.h"

namespace rushlight::ops {

namespace {

void position_rule(Call& c) { c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes())); }

// input, dim, index, source
struct Positions {
  int64_t d;
  Tensor numbers;
  Positions(const Call& c, bool negative, const char* prefix = "", bool as_index_error = false) {
    const Tensor &t = c.in(0), &index = c.in(2);
    d = wrap_dim(c.i(1), t.ndim());
    numbers = packed(index, Dtype::i64, index.sizes());
    int64_t size = size_of(t, d);
    const int64_t* from = numbers.data<int64_t>();
    if (int64_t at = cpu::first_outside(from, numbers.numel(), negative ? -size : 0, size); at >= 0) {
      std::string text =
          cat_text(prefix, "index ", from[at], " is out of bounds for dimension ", d, " with size ", size);
      throw as_index_error ? index_error(text) : runtime_error(text);
    }
  }
  cpu::Selection selection(const Tensor& t) const { return {t, d, numbers.data<int64_t>(), numbers.numel()}; }
};

void index_add_rule(Call& c) {
  const Tensor &t = c.in(0), &index = c.in(2), &source = c.in(3);
  int64_t d = wrap_dim(c.i(1), t.ndim());
  if (index.ndim() > 1)
    throw index_error("index_add_(): Index is supposed to be a vector, but got dim: ", index.ndim(),
                      " with type: ", info(index.dtype()).scalar_name, " and size: ", show(index.sizes()));
  if (index.dtype() != Dtype::i64 && index.dtype() != Dtype::i32)
    throw runtime_error("index_add_(): Expected dtype int32/int64 for index but got: ",
                        info(index.dtype()).scalar_name);
  if (t.dtype() != source.dtype())
    throw runtime_error("index_add_(): self (", info(t.dtype()).scalar_name, ") and source (",
                        info(source.dtype()).scalar_name, ") must have the same scalar type");
  if (source.ndim() && d >= source.ndim())
    throw runtime_error("index_add_(): Indexing dim ", d, " is out of bounds of the source tensor with dim ",
                        source.ndim());
  if (index.numel() != size_of(source, d))
    throw runtime_error("index_add_(): Number of indices (", index.numel(),
                        ") should be equal to source.size(dim): (", size_of(source, d), "), for dim: ", d);
  Dims want(t.sizes());
  if (t.ndim()) want[d] = index.numel();
  Dims have(source.sizes());
  if (t.ndim() ? !(have == want) : source.numel() != 1)
    throw runtime_error(
        "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape "
        "= ",
        show(t.sizes()), " source.shape = ", show(source.sizes()));
  position_rule(c);
}
const Both index_add_both = def_both(
    {
        .sig = "index_add(Tensor input, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor",
        .doc = "A copy with alpha times the positions of source added to the positions along dim that index "
               "names.",
        .rule = index_add_rule,
        .saves = save(In2),
        .grad =
            [](const Call& c, const Tensor& g) {
              static const Op& pick = find_op("index_select");
              Tensor source;
              if (c.wants(2)) {
                source = pick(g, c.i(1), c.in(2));
                if (c.d(4) != 1 || c.arg(4).tag == Value::complex) source = source * c.arg(4);
                source = reshape(source, c.in_sizes(2));
              }
              return Grads{c.wants(0) ? g : Tensor(), Tensor(), source};
            },
        .samples = {"x(3,4), 0, i(5; 0, 3), x(5,4)", "x(2,3,4), -1, i(2; 0, 4), x(2,3,2), alpha=2"},
    },
    [](Call& c) {
      const Tensor& t = c.out();
      Positions p(c, false);
      if (c.in(3).numel() == 0) {
        if (!c.in_place) rushlight::copy(t, c.in(0));
        return;
      }
      Tensor source = packed(apart(c.in(3), t));
      if (c.d(4) != 1 || c.arg(4).tag == Value::complex) {
        Tensor by = number_element(c.arg(4), t.dtype()), scaled_source = empty(source.sizes(), t.dtype());
        visit(t.dtype(), [&]<class T>() {
          T factor = *by.data<T>(), *from = source.data<T>(), *to = scaled_source.data<T>();
          for (int64_t i = 0; i < source.numel(); ++i) to[i] = scaled(from[i], factor);
        });
        source = scaled_source;
      }
      const int64_t n = p.numbers.numel(), rows = size_of(t, p.d), row = t.numel() / rows;
      if (!c.in_place && p.d == 0 && cpu::adds_by_rows(rows, row, n)) {
        Tensor base = is_spread_zero(c.in(0)) ? Tensor() : packed(c.in(0));
        return cpu::add_rows(t.dtype(), t.raw(), base ? base.raw() : nullptr, rows, row,
                             p.numbers.data<int64_t>(), n, source.raw());
      }
      if (!c.in_place) rushlight::copy(t, c.in(0));
      cpu::put_elements(t, p.selection(t), source, true);
    },
    Starts::empty);

void index_copy_rule(Call& c) {
  const Tensor &t = c.in(0), &index = c.in(2), &source = c.in(3);
  int64_t d = wrap_dim(c.i(1), t.ndim());
  if (index.ndim() > 1)
    throw index_error("index_copy_(): Index should have dimension 1 or 0 (got ", index.ndim(), ")");
  if (index.dtype() != Dtype::i64)
    throw runtime_error("index_copy_(): Expected a long tensor for index, but got ",
                        info(index.dtype()).scalar_name);
  if (t.dtype() != source.dtype())
    throw runtime_error("index_copy_(): self and source expected to have the same dtype, but got (self) ",
                        info(t.dtype()).scalar_name, " and (source) ", info(source.dtype()).scalar_name);
  if (source.ndim() && t.ndim() && source.ndim() != t.ndim())
    throw index_error(
        "index_copy_(): When source and destination are not scalars, their dimensionality must match. Source "
        "dimensionality (",
        source.ndim(), "), destination dimensionality (", t.ndim(), ")");
  if (source.ndim() == 0 && index.numel() != 1)
    throw index_error("index_copy_(): When source is scalar, index should have one element (got ",
                      index.numel(), ")");
  for (int64_t k = 0; k < source.ndim(); ++k)
    if (k != d && source.size(k) != size_of(t, k)) {
      Dims a(t.sizes()), b(source.sizes());
      a.erase(d);
      b.erase(d);
      auto joined = [](const Dims& v) {
        std::string s;
        for (size_t i = 0; i < v.size(); ++i) s += (i ? " " : "") + std::to_string(v[i]);
        return s;
      };
      throw runtime_error(
          "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: ",
          joined(a), " at dimension ", d, " and source slice shape: ", joined(b), " at dimension 0.");
    }
  if (source.ndim() && index.numel() != source.size(d))
    throw index_error("index_copy_(): Number of indices (", index.numel(),
                      ") should be equal to source.size(dim) (", source.size(d), ")");
  if (source.ndim() == 0 && t.ndim() > 1)
    throw runtime_error("index_copy_(): Source/destination tensor must have same slice shapes.");
  position_rule(c);
}
const Both index_copy = def_both(
    {
        .sig = "index_copy(Tensor input, int dim, Tensor index, Tensor source) -> Tensor",
        .doc = "A copy with the positions of source written to the positions along dim that index names.",
        .autocast = Autocast::widest,
        .rule = index_copy_rule,
        .saves = save(In2),
        .grad =
            [](const Call& c, const Tensor& g) {
              static const Op &fill = find_op("index_fill"), &pick = find_op("index_select");
              return Grads{c.wants(0) ? fill.call({g, c.i(1), c.in(2), 0}) : Tensor(), Tensor(),
                           c.wants(2) ? reshape(pick(g, c.i(1), c.in(2)), c.in_sizes(2)) : Tensor()};
            },
        .samples = {"x(3,4), 1, perm(2), x(3,2)"},
    },
    [](Call& c) {
      const Tensor& t = c.out();
      Positions p(c, false, "index_copy_(): ", true);
      if (c.in(3).numel() == 0) return;
      cpu::put_elements(t, p.selection(t), packed(apart(c.in(3), t)), false);
    });

void index_fill_rule(Call& c) {
  if (c.in(2).dtype() != Dtype::i64) throw index_error("index_fill_(): Expected dtype int64 for index.");
  if (c.in(2).ndim() > 1) throw index_error("Index has to be a vector/scalar");
  if (c.arg(3).tag == Value::tensor && c.in(3).ndim())
    throw runtime_error("index_fill_ only supports a 0-dimensional value tensor, but got tensor with ",
                        c.in(3).ndim(), " dimension(s).");
  if (c.arg(3).tag == Value::complex && !is_complex(c.in(0).dtype()))
    throw runtime_error("index_fill_(): Converting complex Scalar to non-complex type is not supported");
  position_rule(c);
}
void index_fill_into(Call& c) {
  const Tensor& t = c.out();
  Positions p(c, true, "", true);
  Tensor value = c.arg(3).tag == Value::tensor ? packed(c.in(3), t.dtype(), {})
                                               : number_element(c.arg(3), t.dtype());
  cpu::put_elements(t, p.selection(t), value, false);
}
Grads index_fill_grad(const Call& c, const Tensor& g) {
  static const Op &fill = find_op("index_fill"), &pick = find_op("index_select");
  Grads out{c.wants(0) ? fill.call({g, c.i(1), c.in(2), 0}) : Tensor(), Tensor(), Tensor()};
  if (c.slots() > 2 && c.wants(2)) {
    int64_t n = c.in_sizes(0).empty() ? 1 : c.in_sizes(0)[wrap_dim(c.i(1), c.in_sizes(0).size())];
    Tensor positive = where(lt(c.in(2), 0), c.in(2) + Value(n), c.in(2));
    out[2] = find_op("sum")(pick(g, c.i(1), positive));
  }
  return out;
}
const Both index_fill = def_both(
    {
        .sig = "index_fill(Tensor input, int dim, Tensor index, Scalar value) -> Tensor",
        .doc = "A copy with value at the positions along dim that index names.",
        .forms = function | method,
        .rule = index_fill_rule,
        .saves = save(In2),
        .grad = index_fill_grad,
        .samples = {"x(3,4), 1, i(2; 0, 4), 2.5"},
    },
    index_fill_into);
const Both index_fill_tensor = def_both(
    {
        .sig = "index_fill.Tensor(Tensor input, int dim, Tensor index, Tensor value) -> Tensor",
        .doc = "A copy with the value of a 0-d tensor at the positions along dim that index names.",
        .forms = function | method,
        .rule = index_fill_rule,
        .saves = save(In2),
        .grad = index_fill_grad,
        .grad_name = "IndexFillBackward1",
    },
    index_fill_into);

}  // namespace

const Op& index_add = index_add_both.made;

}  // namespace rushlight::ops

// Rules shared by the element-wise operators: promoted dtype, broadcast sizes, and the order of the output's strides.
#include "op/op.h"

namespace rushlight {

namespace {

// Wider wins, but a group of lower rank (0-d tensors, then numbers) matters only where its category is higher.
Dtype combine(Dtype strong, Dtype weak) {
  if (strong == Dtype::none || weak == Dtype::none) return strong == Dtype::none ? weak : strong;
  if (is_complex(strong)) return strong;
  if (is_any_float(strong)) return is_complex(weak) ? complex_of(strong) : strong;
  if (is_complex(weak)) return weak;
  return strong == Dtype::boolean || is_any_float(weak) ? promote(strong, weak) : strong;
}

struct Groups {
  Dtype tensors = Dtype::none, scalars = Dtype::none, numbers = Dtype::none;
  static void join(Dtype& group, Dtype d) {
    group = group == Dtype::none || group == d ? d : promote(group, d);
  }
  void add(const Value& v) {
    switch (v.tag) {
      case Value::tensor: {
        TensorObject* t = v.t;
        if (t->ndim) join(tensors, t->dtype);
        else if (!t->wrapped_number) join(scalars, t->dtype);
        else
          join(numbers, is_complex(t->dtype)     ? default_complex()
                        : is_any_float(t->dtype) ? default_dtype()
                                                 : t->dtype);
        break;
      }
      case Value::tensors:
        for (auto& t : v.as_tensors())
          if (t) add(Value(t));
        break;
      case Value::boolean: join(numbers, Dtype::boolean); break;
      case Value::integer: join(numbers, Dtype::i64); break;
      case Value::real: join(numbers, default_dtype()); break;
      case Value::complex: join(numbers, default_complex()); break;
      default: break;
    }
  }
  Dtype result() const { return combine(combine(tensors, scalars), numbers); }
};

bool is_operand(const Call& c, size_t i) {
  Type t = c.op.params[i].type;
  return t == Type::tensor || t == Type::operand;
}

// Dtype and sizes over the tensor and operand arguments. The common case (same dtype, same sizes) costs one pass.
Dtype promoted(const Call& c) {
  Dtype first = Dtype::none;
  bool uniform = true;
  for (size_t i = 0; i < c.args.size(); ++i) {
    const Value& v = c.args[i];
    if (v.tag != Value::tensor) {
      if (v.tag == Value::none || !is_operand(c, i)) continue;
      if (v.tag == Value::real && is_any_float(first)) continue;  // a number of no higher category
      if (v.tag <= Value::integer && first != Dtype::none && first != Dtype::boolean) continue;
      uniform = false;
      break;
    }
    if (first == Dtype::none && !v.t->wrapped_number) first = v.t->dtype;
    else if (first != v.t->dtype) {
      uniform = false;
      break;
    }
  }
  if (uniform && first != Dtype::none) return first;
  Groups g;
  for (size_t i = 0; i < c.args.size(); ++i)
    if (is_operand(c, i)) g.add(c.args[i]);
  return g.result();
}

// Fills sizes and, where inputs are not contiguous, strides of output 0.
void shape(Call& c, Dtype dtype) {
  const Tensor* first = nullptr;
  bool same_sizes = true;
  for (auto& v : c.args) {
    if (v.tag != Value::tensor) continue;
    if (!first) first = &v.as_tensor();
    else if (!same(first->sizes(), v.as_tensor().sizes())) same_sizes = false;
  }
  if (!first) {
    c.out_meta(0, dtype, Dims());
    return;
  }
  Dims sizes(first->sizes());
  if (!same_sizes)
    for (auto& v : c.args)
      if (v.tag == Value::tensor) sizes = broadcast(sizes, v.as_tensor().sizes());
  c.out_meta(0, dtype, std::move(sizes));
  pointwise_layout(c, c.meta0);
}

Dtype floating(Dtype d) { return differentiable(d) ? d : default_dtype(); }

// Sets c.alike where it holds, in one pass over the arguments.
bool find_alike(Call& c) {
  const Tensor* first = nullptr;
  const TensorObject* f = nullptr;
  for (size_t i = 0; i < c.args.size(); ++i) {
    const Value& v = c.args[i];
    if (v.tag == Value::tensor) {
      const TensorObject* t = v.t;
      if (!f) {
        if (!t->contiguous || t->wrapped_number) return false;
        first = &v.as_tensor();
        f = t;
        continue;
      }
      if (t->kind() != f->kind()) return false;
      for (int d = 0; d < f->ndim; ++d)
        if (t->dims[d] != f->dims[d]) return false;
    } else if (v.tag != Value::none && is_operand(c, i)) {  // a number must not be of a higher category
      if (!f) return false;
      bool stays = v.tag == Value::real ? is_float(f->dtype)
                                        : v.tag < Value::real && f->dtype != Dtype::boolean;
      if (!stays) return false;
    }
  }
  if (!f) return false;
  c.alike = first;
  c.compute = f->dtype;
  return true;
}
// Output 0 like c.alike, but for the dtype.
void describe_alike(Call& c, Dtype dtype) {
  c.meta0.dtype = dtype;
  c.meta0.device = c.alike->device();
}

}  // namespace

Dtype result_type(std::span<const Value> args) {
  Groups g;
  for (auto& v : args) g.add(v);
  return g.result();
}

void pointwise_layout(Call& c, OutMeta& m) {
  const Tensor* inputs[16];
  int n = 0;
  bool contiguous = true;
  for (auto& v : c.args)
    if (v.tag == Value::tensor && n < 16) {
      inputs[n++] = &v.as_tensor();
      contiguous &= v.t->contiguous;
    }
  if (contiguous || c.in_place) return;
  int nd = m.sizes.size();
  // Strides of all inputs alike and dense: keep them.
  const Tensor& a = *inputs[0];
  bool alike = is_dense(a.sizes(), a.strides());
  for (int k = 0; k < n && alike; ++k)
    alike = same(inputs[k]->sizes(), m.sizes) && same(inputs[k]->strides(), a.strides());
  if (alike) {
    m.strides = Dims(a.strides());
    m.strided = true;
    return;
  }
  // Otherwise sort the dimensions by stride, the first input that has an opinion decides (0 strides have none).
  auto stride = [&](const Tensor& t, int d) -> int64_t {
    int k = d - (nd - int(t.ndim()));
    return k < 0 || t.size(k) == 1 ? 0 : t.stride(k);
  };
  auto order = [&](int inner, int outer) {
    for (int k = 0; k < n; ++k) {
      int64_t si = stride(*inputs[k], inner), so = stride(*inputs[k], outer);
      if (si == 0 || so == 0) continue;
      if (si != so) return si < so ? -1 : 1;
      if (m.sizes[inner] > m.sizes[outer]) return 1;
    }
    return 0;
  };
  int perm[max_ndim];  // innermost first
  for (int i = 0; i < nd; ++i) perm[i] = nd - 1 - i;
  for (int i = 1; i < nd; ++i) {
    int moving = i;
    for (int j = i - 1; j >= 0; --j) {
      int o = order(perm[j], perm[moving]);
      if (o > 0) std::swap(perm[j], perm[moving]), moving = j;
      else if (o < 0) break;
    }
  }
  bool sorted = true;
  for (int i = 0; i < nd; ++i) sorted &= perm[i] == nd - 1 - i;
  if (sorted) return;
  m.strides.resize(nd);
  int64_t step = 1;
  for (int i = 0; i < nd; ++i) {
    m.strides[perm[i]] = step;
    step *= std::max<int64_t>(m.sizes[perm[i]], 1);
  }
  m.strided = true;
}

namespace rule {

void same(Call& c) {
  if (find_alike(c)) return describe_alike(c, c.compute);
  c.compute = c.in(0).dtype();
  shape(c, c.compute);
}
void broadcast(Call& c) {
  if (find_alike(c)) return describe_alike(c, c.compute);
  c.compute = promoted(c);
  shape(c, c.compute);
}
void to_float(Call& c) {
  if (find_alike(c) && differentiable(c.compute)) return describe_alike(c, c.compute);
  c.compute = floating(promoted(c));
  shape(c, c.compute);
}
void compare(Call& c) {
  if (find_alike(c)) return describe_alike(c, Dtype::boolean);
  c.compute = promoted(c);
  shape(c, Dtype::boolean);
}
void to_bool(Call& c) { compare(c); }
void to_real(Call& c) {
  c.compute = c.in(0).dtype();
  shape(c, real_of(c.compute));
}

}  // namespace rule

}  // namespace rushlight

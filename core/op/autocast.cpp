// The casts of autocast. Which operator wants which stands in its block; functions that are written in Python name theirs
// where they are defined (rushlight/_composite.py).
#include "op/autocast.h"

#include <unordered_map>

#include "autograd/node.h"
#include "ops/ops.h"

namespace rushlight {

namespace {

// The cast of a leaf that requires grad, kept so that a weight that is used several times is cast once.
struct Cached {
  Tensor weight, cast;
  uint32_t version;
};
using Cache = std::unordered_map<const TensorObject*, Cached>;
Cache& cache() {
  static thread_local auto* c = new Cache;
  return *c;
}

bool concerned(const Tensor& t) {
  Dtype d = t.dtype();
  return t.device().type == Device::cpu && (d == Dtype::f32 || d == Dtype::f16 || d == Dtype::bf16);
}

Tensor cast(const Tensor& t, Dtype to) {
  bool keep = t.dtype() == Dtype::f32 && autocast_state().caching && autocast_state().nesting &&
              t->requires_grad && !t->grad_fn && !t->is_view && !t->delegate && grad_enabled();
  if (!keep) return ops::to_dtype(t, to);
  auto& [weight, result, version] = cache()[t.get()];
  if (!result || result.dtype() != to || version != t.version()) {
    weight = t;
    version = t.version();
    result = ops::to_dtype(t, to);
  }
  return result;
}

// The arguments of a call, cast. They take the call's place while it runs.
class CastArguments {
 public:
  CastArguments(Call& c, Dtype to) : call_(c), before_(c.args), values_(c.args.begin(), c.args.end()) {
    for (auto& v : values_) {
      if (v.tag == Value::tensor) {
        const Tensor& t = v.as_tensor();
        if (differs(t, to)) v = Value(kept_.emplace_back(cast(t, to)));
      } else if (v.tag == Value::tensors) {
        auto& list = lists_.emplace_back();
        for (auto& t : v.as_tensors())
          list.push_back(t && differs(t, to) ? kept_.emplace_back(cast(t, to)).get() : t.get());
        v.tensor_list = list.data();
      }
    }
    call_.args = values_;
  }
  ~CastArguments() { call_.args = before_; }
  CastArguments(const CastArguments&) = delete;
  CastArguments& operator=(const CastArguments&) = delete;

 private:
  static bool differs(const Tensor& t, Dtype to) { return concerned(t) && t.dtype() != to; }

  Call& call_;
  std::span<Value> before_;
  std::vector<Value> values_;
  std::vector<Tensor> kept_;
  std::vector<std::vector<TensorObject*>> lists_;
};

struct Paused {
  Paused() { modes().autocast = false; }
  ~Paused() { modes().autocast = true; }
};

Dtype widest_of(const Call& c) {
  Dtype found = autocast_state().dtype;
  auto add = [&](const Tensor& t) {
    if (t && concerned(t)) found = promote(found, t.dtype());
  };
  for (auto& v : c.args) {
    if (v.tag == Value::tensor) add(v.as_tensor());
    else if (v.tag == Value::tensors)
      for (auto& t : v.as_tensors()) add(t);
  }
  return found;
}

}  // namespace

AutocastState& autocast_state() {
  static thread_local AutocastState state;
  return state;
}
void clear_autocast_cache() { cache().clear(); }

void run_autocast(Call& c, void (*rest)(Call&)) {
  Autocast policy = c.in_place ? Autocast::none : c.op.spec.autocast;
  // a composite is what its parts are; within any other operator nothing is cast
  if (policy == Autocast::none && c.op.spec.composite) return rest(c);
  Paused inside;
  if (policy == Autocast::none) return rest(c);
  Dtype to = policy == Autocast::lower  ? autocast_state().dtype
             : policy == Autocast::full ? Dtype::f32
                                        : widest_of(c);
  CastArguments arguments(c, to);
  rest(c);
}

}  // namespace rushlight

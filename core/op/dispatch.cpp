// The one road that every call takes: device check, rule, allocation, kernel, record. What every op needs (autocast,
// profiling, anomaly mode) belongs here, once.
#include <algorithm>

#include "autograd/forward.h"
#include "autograd/node.h"
#include "kernels/copy.h"
#include "op/autocast.h"
#include "op/batching.h"
#include "op/op.h"
#include "op/profile.h"

namespace rushlight {

namespace {

// Calls f on every tensor among the arguments.
template <class F> void each_tensor(const Call& c, F&& f) {
  for (auto& v : c.args) {
    if (v.tag == Value::tensor) f(v.as_tensor());
    else if (v.tag == Value::tensors)
      for (auto& t : v.as_tensors())
        if (t) f(t);
  }
}

// What the tensors among the arguments ask of the road, found in one pass.
struct Survey {
  bool delegated = false;  // Note [Delegates]
  bool history = false;    // some gradient is asked for
  uint32_t devices = 0;    // a bit for each type
  explicit Survey(const Call& c) {
    Survey found;  // a local one stays in registers
    for (auto& v : c.args) {
      if (v.tag == Value::tensor) found.look_at(v.as_tensor());
      else if (v.tag == Value::tensors)
        for (auto& t : v.as_tensors())
          if (t) found.look_at(t);
    }
    *this = found;
  }
  Survey() = default;
  [[gnu::always_inline]] void look_at(const Tensor& t) {
    delegated |= t->delegate != nullptr;
    history |= t.needs_grad();
    devices |= 1u << t.device().type;
  }
};

void check_devices(const Call& c, Device expected) {
  each_tensor(c, [&](const Tensor& t) {
    if (t.device().type == expected.type) [[likely]]
      return;
    if (t.ndim() == 0 && t.device().type == Device::cpu) return;  // a number in tensor's clothes
    static const char* names[] = {"cpu", "cuda", "meta"};
    throw runtime_error("Tensor on device ", names[t.device().type], " is not on the expected device ",
                        names[expected.type], "!");
  });
}

IntSpan out_sizes(const Call& c) { return c.alike ? c.alike->sizes() : IntSpan(c.meta0.sizes); }

void allocate_outputs(Call& c) {
  if (c.alike && c.op.nouts == 1 && c.outs.empty()) [[likely]] {
    c.outs.push_back(contiguous_like(*c.alike, c.meta0.dtype));
    return;
  }
  auto make = [](const OutMeta& m) {
    return m.strided ? empty_strided(m.sizes, m.strides, m.dtype, m.device)
                     : empty(m.sizes, m.dtype, m.device);
  };
  if (c.op.nouts == 1 && !c.op.list_out && c.outs.empty() && c.meta0.dtype != Dtype::none) [[likely]] {
    c.outs.push_back(make(c.meta0));
    return;
  }
  size_t n = c.op.list_out ? c.more.size() + (c.meta0.dtype != Dtype::none) : c.op.nouts;
  c.outs.resize(std::max(n, c.outs.size()));
  for (size_t k = 0; k < n; ++k) {
    if (c.outs[k]) continue;
    OutMeta& m = c.meta(k);
    if (m.dtype == Dtype::none) continue;  // an output that this call does not have
    c.outs[k] = k == 0 && c.alike ? contiguous_like(*c.alike, m.dtype) : make(m);
  }
}

void run_kernel(Call& c) {
  const Kernel& k = c.op.spec.cpu;
  if (!k) {
    if (c.op.spec.family == view) return;
    throw not_implemented(c.op.name, " has no kernel for the CPU");
  }
  k.fn(c, k.data);
}

bool on_meta(const Call& c) { return !c.outs.empty() && c.outs[0] && c.outs[0].is_meta(); }

// What every write into an existing tensor must rule out: in place and out= ask the same three questions.
void check_self_overlap(const Tensor& target) {
  if (!target.contiguous() && overlaps_itself(target.sizes(), target.strides()))
    throw runtime_error(
        "unsupported operation: more than one element of the written-to tensor refers to a single memory "
        "location. Please clone() the tensor before performing the operation.");
}
void check_partial_overlap(const Tensor& input, const Tensor& target) {
  const Storage *a = input->storage, *b = target->storage;
  if (a != b && a && b && !a->parent && !b->parent) return;
  if (!input.is(target) && overlap(input, target) == Overlap::partial)
    throw runtime_error(
        "unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
        "single memory location. Please clone() the tensor before performing the operation.");
}
void check_castable(Dtype result, const Tensor& target) {
  if (!can_cast(result, target.dtype()))
    throw runtime_error("result type ", info(result).scalar_name,
                        " can't be cast to the desired output type ", info(target.dtype()).scalar_name);
}

// Storages whose bytes nobody else can see: different ones never overlap.
bool owns_memory(const Storage* s) { return s && !s->parent && !s->free_fn; }

// The rule's output must fit a tensor that exists already.
void check_target(const Call& c, const Tensor& target) {
  const OutMeta& m = c.meta0;
  if (m.dtype == Dtype::none) return;
  if (c.alike && c.alike->is(target)) return check_castable(m.dtype, target);
  if (!same(out_sizes(c), target.sizes()))
    throw runtime_error("output with shape ", show(target.sizes()), " doesn't match the broadcast shape ",
                        show(out_sizes(c)));
  check_castable(m.dtype, target);
}

void run_functional(Call& c) {
  const Spec& spec = c.op.spec;
  const Survey asked(c);
  if (asked.delegated) [[unlikely]]
    return run_delegated(c);
  const bool special = modes().special();
  if (special && modes().batching && drawn_by_vmap(c)) [[unlikely]]
    return;
  if (spec.composite) {
    spec.cpu.fn(c, spec.cpu.data);
    return;
  }
  const bool recording = asked.history && spec.grad && grad_enabled();
  if (spec.rule) spec.rule(c);
  if (spec.family == view) {
    for (auto& out : c.outs) make_view(out, c.in(0), c.op);
  } else {
    if (asked.devices & ~(1u << c.meta0.device.type) && spec.family != create) [[unlikely]]
      check_devices(c, c.meta0.device);
    allocate_outputs(c);
    if (special && modes().inference) [[unlikely]]
      for (auto& out : c.outs)
        if (out) out->inference = true;
    if (!on_meta(c)) run_kernel(c);
  }
  if (special && modes().forward && carries_tangents(c)) [[unlikely]]
    push_tangents(c);
  if (recording) record(c);
}

void run_writing(Call& c) {
  const Op& op = c.op;
  const Tensor target = c.in(0);
  const Survey asked(c);
  if (asked.delegated) [[unlikely]]
    return run_delegated(c);
  if (modes().batching && drawn_by_vmap(c)) [[unlikely]]
    return;
  // without a derivative the target's history ends here
  const bool recording = asked.history && grad_enabled() && (op.spec.grad || target.needs_grad());
  if (op.mutates && op.spec.composite) {
    op.spec.cpu.fn(c, op.spec.cpu.data);
    return;
  }
  check_inplace(target, recording);
  if (op.spec.rule) op.spec.rule(c);  // checks the arguments; may give a broadcast shape
  check_target(c, target);
  if (asked.devices & ~(1u << target.device().type)) [[unlikely]]
    check_devices(c, target.device());
  check_self_overlap(target);
  for (auto& v : c.args)
    if (v.tag == Value::tensor) check_partial_overlap(v.as_tensor(), target);
  c.outs.clear();
  c.outs.push_back(target);
  c.version_before = target.version();
  bool tangents = modes().forward && carries_tangents(c);
  if (recording || tangents) keep_original(c, tangents);
  if (!target.is_meta()) run_kernel(c);
  wrote(target);
  if (tangents) [[unlikely]]
    push_tangents(c);
  if (recording) record(c);
}

// Element-wise kernels write straight into an out= of the right dtype and sizes, unless that would overwrite elements
// that they still read.
bool writes_straight(Call& c, std::span<const Tensor> given) {
  const Spec& spec = c.op.spec;
  if (spec.family != pointwise || spec.composite || !spec.rule || c.op.nouts != 1 || given.size() != 1)
    return false;
  const Tensor& out = given[0];
  spec.rule(c);
  if (out.dtype() != c.meta0.dtype || out.device() != c.meta0.device || !same(out.sizes(), out_sizes(c)))
    return false;
  auto [first, last] = memory_range(out);
  bool apart = true;
  each_tensor(c, [&, first = first, last = last](const Tensor& t) {
    if (t->storage != out->storage && owns_memory(t->storage) && owns_memory(out->storage)) return;
    auto [begin, end] = memory_range(t);
    apart &= end <= first || last <= begin || overlap(t, out) == Overlap::full;
  });
  return apart;
}
}  // namespace

namespace {

template <void (*body)(Call&)> void run_timed(Call& c) {
  ProfileScope timed(c);
  body(c);
}
void select_functional(Call& c) { run_selected(c, run_functional); }
// Where a profiler, autocast or a selective checkpoint is on.
template <void (*body)(Call&)> [[gnu::noinline]] void run_watched(Call& c) {
  auto* rest = modes().profile ? run_timed<body> : body;
  if (modes().selecting && body == run_functional)
    rest = modes().profile ? run_timed<select_functional> : select_functional;
  if (modes().autocast) run_autocast(c, rest);
  else rest(c);
}
bool watched() {
  const Modes& m = modes();
  return m.special() && (m.profile | m.autocast | m.selecting);
}

// Nothing is cast meanwhile.
struct NoAutocast {
  bool before = std::exchange(modes().autocast, false);
  ~NoAutocast() { modes().autocast = before; }
};

}  // namespace

void run(Call& c) {
  if (c.op.mutates) return run_inplace(c);
  if (watched()) [[unlikely]]
    return run_watched<run_functional>(c);
  run_functional(c);
}

void run_inplace(Call& c) {
  c.in_place = true;
  if (watched()) [[unlikely]]
    return run_watched<run_writing>(c);
  run_writing(c);
}

void run_out(Call& c, std::span<const Tensor> given) {
  NoAutocast results_have_the_dtype_given;
  if (modes().special() && modes().forward && carries_tangents(c)) [[unlikely]]
    throw not_implemented("Trying to use forward AD with ", c.op.name,
                          "_out that does not support it because it is an out= function");
  Survey asked(c);
  for (auto& t : given)
    if (t) asked.look_at(t);
  if (asked.delegated)
    throw not_implemented(c.op.name, "(): out= is not implemented for sparse and quantised tensors");
  if (asked.history && grad_enabled())
    throw runtime_error(
        c.op.name,
        "(): functions with out=... arguments don't support automatic differentiation, but one "
        "of the arguments requires grad.");
  for (auto& out : given)
    if (out) each_tensor(c, [&](const Tensor& t) { check_partial_overlap(t, out); });
  if (writes_straight(c, given)) {
    if (!c.alike) check_devices(c, c.meta0.device);
    check_self_overlap(given[0]);
    c.outs.push_back(given[0]);
    if (!given[0].is_meta()) run_kernel(c);
    wrote(given[0]);
    return;
  }
  bool was = modes().inference;
  modes().inference = false;
  try {
    run(c);
  } catch (...) {
    modes().inference = was;
    throw;
  }
  modes().inference = was;
  // every output is checked before the first one is written
  for (size_t k = 0; k < given.size() && k < c.outs.size(); ++k) {
    const Tensor& out = given[k];
    const Tensor& result = c.outs[k];
    check_castable(result.dtype(), out);
    if (out.device().type != result.device().type)
      throw runtime_error("Expected out tensor to have the device of the result");
    bool fits = same(out.sizes(), result.sizes());
    if (fits) check_self_overlap(out);
    if (!fits && out->storage && result.numel()) {
      const Storage& s = *out->storage;
      bool room = size_t((result.numel() + out.offset()) * out.itemsize()) <= s.capacity;
      if (!room && (!s.resizable || s.parent || s.aliases))
        throw runtime_error("Trying to resize storage that is not resizable");
    }
  }
  for (size_t k = 0; k < given.size() && k < c.outs.size(); ++k) {
    const Tensor& out = given[k];
    const Tensor result = c.outs[k];
    if (!same(out.sizes(), result.sizes())) {
      if (out.numel()) {
        std::string text =
            cat_text("An output with one or more elements was resized since it had shape ", show(out.sizes()),
                     ", which does not match the required output shape ", show(result.sizes()),
                     ". This behavior is deprecated, and in a future PyTorch release "
                     "outputs will not be resized unless they have zero elements. You can explicitly reuse "
                     "an out tensor t by resizing it, inplace, to zero elements with t.resize_(0).");
        if (PyErr_WarnEx(PyExc_UserWarning, text.c_str(), 1) < 0) throw PythonError();
      }
      resize(out, result.sizes());
    }
    if (!out.is_meta()) copy(out, result);
    wrote(out);
    c.outs[k] = out;
  }
}

void resize(const Tensor& t, IntSpan sizes) {
  int64_t n = count(sizes);
  int64_t bytes;
  if (__builtin_mul_overflow(n + t.offset(), int64_t(t.itemsize()), &bytes))
    throw runtime_error("Storage size calculation overflowed with sizes=", show(sizes));
  if (t->storage && n && size_t(bytes) > t->storage->nbytes) t->storage->grow(bytes);
  set_layout(t, sizes, contiguous_strides(sizes), t.offset());
}

}  // namespace rushlight

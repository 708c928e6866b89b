// Collection of profiler events on the calling thread.
#include "op/profile.h"

#include <chrono>

#include "autograd/node.h"
#include "device/allocator.h"

namespace rushlight {

namespace {

struct Collector {
  std::vector<ProfileEvent> events;
  bool shapes = false, memory = false, stack = false;
  uint32_t session = 0;  // an event that outlives its session is dropped
};
Collector& collector() {
  static thread_local auto* c = new Collector;
  return *c;
}

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
int64_t bytes_in_use(const Collector& c) { return c.memory ? int64_t(memory_stats().allocated) : 0; }

std::string event_name(const Call& c) {
  std::string name = "aten::" + c.op.name;
  if (c.in_place && !c.op.mutates) name += "_";
  return name;
}

}  // namespace

void profile_start(bool shapes, bool memory, bool stack) {
  Collector& c = collector();
  c.events.clear();
  c.shapes = shapes;
  c.memory = memory;
  c.stack = stack;
  ++c.session;
  modes().profile = true;
}

std::vector<ProfileEvent> profile_stop() {
  modes().profile = false;
  ++collector().session;
  return std::move(collector().events);
}

int64_t profile_begin(std::string name, ProfileEvent::Kind kind) {
  if (!modes().profile) return -1;
  Collector& c = collector();
  ProfileEvent e;
  e.name = std::move(name);
  e.kind = kind;
  if (c.stack) e.stack = current_stack();
  e.memory = -bytes_in_use(c);
  e.start = now();
  c.events.push_back(std::move(e));
  return int64_t(c.session) << 32 | int64_t(c.events.size() - 1);
}

void profile_end(int64_t event) {
  Collector& c = collector();
  size_t index = uint32_t(event);
  if (event < 0 || event >> 32 != c.session || index >= c.events.size()) return;
  ProfileEvent& e = c.events[index];
  e.end = now();
  e.memory += bytes_in_use(c);
}

ProfileScope::ProfileScope(const Call& call) {
  event_ = profile_begin(event_name(call), ProfileEvent::op);
  Collector& c = collector();
  if (event_ < 0 || !c.shapes) return;
  call_ = &call;
  for (auto& v : call.args)
    if (v.tag == Value::tensor) c.events.back().shapes.emplace_back(v.as_tensor().sizes());
}

ProfileScope::~ProfileScope() {
  Collector& c = collector();
  size_t index = uint32_t(event_);
  if (call_ && event_ >> 32 == c.session && index < c.events.size() && !call_->outs.empty() && call_->outs[0])
    c.events[index].result = Dims(call_->outs[0].sizes());
  profile_end(event_);
}

ProfileScope::ProfileScope(const Node& n) {
  event_ = profile_begin(std::string("autograd::engine::evaluate_function: ") + n.name(), ProfileEvent::node);
  if (event_ >= 0) collector().events.back().sequence = n.seq;
}

}  // namespace rushlight

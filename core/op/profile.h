// The profiler's collector: what ran when on this thread, while modes().profile is set. Tables and traces are made of it
// in Python (rushlight/autograd/profiler.py).
#pragma once
#include <string>
#include <vector>

#include "op/op.h"

namespace rushlight {

struct ProfileEvent {
  enum Kind : uint8_t { op, node, user };
  std::string name;
  Kind kind = op;
  int64_t start = 0, end = 0;  // ns on the monotonic clock; end is 0 while it runs
  int64_t memory = 0;          // bytes allocated minus bytes released meanwhile
  uint64_t sequence = 0;       // of the node, which is also known when the forward call ends
  // where asked for:
  std::vector<Dims> shapes;        // of the tensor arguments
  Dims result;                     // sizes of the first output
  std::vector<std::string> stack;  // "file.py(12): function", innermost first, without the package's own
};

void profile_start(bool shapes, bool memory, bool stack);
std::vector<ProfileEvent> profile_stop();
// -1 where nothing is collected; profile_end accepts that.
int64_t profile_begin(std::string name, ProfileEvent::Kind kind);
void profile_end(int64_t event);

std::vector<std::string> current_stack();  // autograd/site.cpp

class ProfileScope {
 public:
  explicit ProfileScope(const Call& c);
  explicit ProfileScope(const Node& n);
  ~ProfileScope();
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  int64_t event_;
  const Call* call_ = nullptr;
};

}  // namespace rushlight

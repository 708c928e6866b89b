// def_both: one block, two operators.
#include "ops/both.h"

#include <cstring>

#include "kernels/copy.h"

namespace rushlight::ops {

namespace {
void like_input(Call& c) { c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes())); }

void write(Call& c, const void* body) { reinterpret_cast<void (*)(Call&)>(const_cast<void*>(body))(c); }
void copy_then_write(Call& c, const void* body) {
  if (!c.in_place) rushlight::copy(c.out(), c.in(0));
  write(c, body);
}
}  // namespace

Both def_both(Spec spec, void (*body)(Call&), Starts starts) {
  spec.cpu = Kernel(starts == Starts::copied ? copy_then_write : write, reinterpret_cast<const void*>(body));
  if (!spec.rule) spec.rule = like_input;
  const Op& made = def(spec);
  // "scatter.src(Tensor input, ...": an underscore behind the name, and the first parameter is written
  std::string sig = spec.sig;
  sig.insert(sig.find_first_of(".("), "_");
  sig.insert(sig.find("Tensor ") + 6, "!");
  spec.sig = strdup(sig.c_str());  // lives as long as the op table
  spec.doc = strdup((std::string("In place: ") + spec.doc).c_str());
  spec.ref = "";
  spec.samples = {};
  spec.forms = default_forms;
  spec.autocast = Autocast::none;  // what is written keeps its dtype
  return {made, def(spec)};
}

}  // namespace rushlight::ops

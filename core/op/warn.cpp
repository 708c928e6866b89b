// Warnings: said through Python's machinery, some of them once per program.
#include "op/warn.h"

#include <mutex>
#include <unordered_set>

#include "op/op.h"

namespace rushlight {

namespace {
bool always = false;
std::mutex once_mutex;

bool first_time(const std::string& text) {
  static auto* said = new std::unordered_set<std::string>;
  std::lock_guard lock(once_mutex);
  return said->insert(text).second;
}
}  // namespace

void warn(const std::string& text, int stack_level) {
  if (PyErr_WarnEx(PyExc_UserWarning, text.c_str(), stack_level) < 0) throw PythonError();
}

void warn_once(const std::string& text, int stack_level) {
  if (first_time(text) || always) warn(text, stack_level);
}

void set_warn_always(bool on) { always = on; }

void warn_if_imaginary_is_lost(Dtype from, Dtype to) {
  if (!is_complex(from) || is_complex(to) || to == Dtype::boolean) [[likely]]
    return;
  static const std::string text = "Casting complex values to real discards the imaginary part";
  warn_once(text);
}

}  // namespace rushlight

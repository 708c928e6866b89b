// Exceptions that become Python exceptions, and the helper that writes their text.
#pragma once
#include <cstdint>
#include <exception>
#include <span>
#include <sstream>
#include <string>

namespace rushlight {

enum class ErrorKind { runtime, type, value, index, not_implemented, memory, assertion, attribute, linalg };

struct Error : std::exception {
  ErrorKind kind;
  std::string text;
  Error(ErrorKind k, std::string t) : kind(k), text(std::move(t)) {}
  const char* what() const noexcept override { return text.c_str(); }
};
// A Python exception is already set on this thread; unwinding only has to carry it.
struct PythonError : std::exception {
  const char* what() const noexcept override { return "python error"; }
};

// "[2, 3]", the way sizes appear in messages
std::string show(std::span<const int64_t> sizes);

template <class... A> std::string cat_text(const A&... a) {
  std::ostringstream s;
  (s << ... << a);
  return s.str();
}
template <class... A> Error runtime_error(const A&... a) { return {ErrorKind::runtime, cat_text(a...)}; }
template <class... A> Error type_error(const A&... a) { return {ErrorKind::type, cat_text(a...)}; }
template <class... A> Error value_error(const A&... a) { return {ErrorKind::value, cat_text(a...)}; }
template <class... A> Error index_error(const A&... a) { return {ErrorKind::index, cat_text(a...)}; }
template <class... A> Error not_implemented(const A&... a) {
  return {ErrorKind::not_implemented, cat_text(a...)};
}
// check(cond, "text ", 3): RuntimeError unless cond
template <class... A> inline void check(bool ok, const A&... a) {
  if (!ok) [[unlikely]]
    throw runtime_error(a...);
}

}  // namespace rushlight

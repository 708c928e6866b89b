// Sites: taking the user's line cheaply (code object and offset), and finding file, line and text when an
// error needs them.
#include <string>
#include <string_view>

#include "autograd/node.h"
#include "op/profile.h"

#if PY_VERSION_HEX < 0x030B0000
#include <frameobject.h>  // 3.10 keeps the frame functions there
#endif

namespace rushlight {

constinit thread_local Modes thread_modes;

namespace {

std::string package_prefix;

// Is this code the package's own? Asked for each recorded call, so answers are remembered by address; a stale
// answer after a code object died only shows another line of the same stack.
bool is_ours(PyCodeObject* code) {
  struct Answer {
    PyCodeObject* code;
    bool ours;
  };
  static Answer answers[512];
  Answer& a = answers[(reinterpret_cast<uintptr_t>(code) >> 5) % 512];
  if (a.code == code) return a.ours;
  Py_ssize_t n = 0;
  const char* file = PyUnicode_AsUTF8AndSize(code->co_filename, &n);
  if (!file) PyErr_Clear();
  a = {code, file && !package_prefix.empty() && std::string_view(file, n).starts_with(package_prefix)};
  return a.ours;
}

int last_instruction(PyFrameObject* f) {
#if PY_VERSION_HEX >= 0x030B0000
  return PyFrame_GetLasti(f);
#else
  return f->f_lasti * 2;  // 3.10 counts instructions, the line table bytes
#endif
}

}  // namespace

void set_package_prefix(std::string path) { package_prefix = std::move(path); }

Site current_site() {
  Site site;
  PyFrameObject* f = PyEval_GetFrame();  // borrowed
  if (!f) return site;
  PyCodeObject* code = PyFrame_GetCode(f);
  if (!is_ours(code)) [[likely]] {
    site.code = reinterpret_cast<PyObject*>(code);
    site.instruction = last_instruction(f);
    return site;
  }
  Py_INCREF(f);
  while (true) {
    PyFrameObject* caller = PyFrame_GetBack(f);
    Py_DECREF(f);
    if (!caller) break;  // nothing but our own frames: keep the outermost
    f = caller;
    Py_DECREF(code);
    code = PyFrame_GetCode(f);
    if (!is_ours(code)) {
      site.instruction = last_instruction(f);
      site.code = reinterpret_cast<PyObject*>(code);
      Py_DECREF(f);
      return site;
    }
  }
  Py_DECREF(code);
  return site;
}

std::vector<std::string> current_stack() {
  std::vector<std::string> stack;
  PyFrameObject* f = PyEval_GetFrame();
  Py_XINCREF(f);
  while (f) {
    PyCodeObject* code = PyFrame_GetCode(f);
    if (!is_ours(code)) {
      const char *file = PyUnicode_AsUTF8(code->co_filename), *name = PyUnicode_AsUTF8(code->co_name);
      if (file && name) stack.push_back(cat_text(file, "(", PyFrame_GetLineNumber(f), "): ", name));
      else PyErr_Clear();
    }
    Py_DECREF(code);
    PyFrameObject* caller = PyFrame_GetBack(f);
    Py_DECREF(f);
    f = caller;
  }
  return stack;
}

std::string describe(const Site& site) {
  if (!site) return "";
  auto* code = reinterpret_cast<PyCodeObject*>(site.code);
  int line = PyCode_Addr2Line(code, site.instruction);
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value,
              &trace);  // the text is for an error message: looking it up must not disturb another error
  auto utf8 = [](PyObject* o) {
    const char* s = o ? PyUnicode_AsUTF8(o) : nullptr;
    if (!s) PyErr_Clear();
    return std::string(s ? s : "?");
  };
  std::string text =
      cat_text("  File \"", utf8(code->co_filename), "\", line ", line, ", in ", utf8(code->co_name));
  if (PyObject* linecache = PyImport_ImportModule("linecache")) {
    PyObject* source = PyObject_CallMethod(linecache, "getline", "Oi", code->co_filename, line);
    if (source) {
      std::string s = utf8(source);
      size_t first = s.find_first_not_of(" \t"), last = s.find_last_not_of(" \t\r\n");
      if (first != std::string::npos && last != std::string::npos)
        text += "\n    " + s.substr(first, last - first + 1);
      Py_DECREF(source);
    }
    Py_DECREF(linecache);
  }
  PyErr_Clear();
  PyErr_Restore(type, value, trace);
  return text;
}

}  // namespace rushlight

// Saved tensors: keeping, the version check when they are read again, saved_tensors_hooks, and the error that
// names both the line that saved a tensor and the line that changed it.
#include "autograd/saved.h"

#include "autograd/forward.h"

#include <string>

#include "python/python.h"

namespace rushlight {

namespace {

struct HookPair {
  Py pack, unpack;
};
struct HookStack {
  std::vector<HookPair> pairs;
  std::string disabled;  // why hooks may not be used now
};
HookStack& hook_stack() {
  static thread_local auto* stack =
      new HookStack;  // never destroyed: Python objects outlive the interpreter badly
  return *stack;
}

// One recent in-place write per slot; a slot is found from the storage and the version that the write
// produced.
struct Write {
  Storage* storage = nullptr;  // compared, never followed
  uint32_t version = 0;
  Site site;
};
constexpr size_t remembered_writes = 1024;
Write& write_slot(Storage* s, uint32_t version) {
  static auto* writes = new Write[remembered_writes];
  return writes[((reinterpret_cast<uintptr_t>(s) >> 4) + version) % remembered_writes];
}

std::string op_name(const char* node_name) {
  std::string s = node_name;
  size_t at = s.rfind("Backward");
  return at == std::string::npos ? s : s.substr(0, at);
}

[[noreturn]] void throw_modified(const Saved& s, const Tensor& t, Node* reader) {
  std::string text = cat_text(
      "one of the variables needed for gradient computation has been modified by an inplace operation: "
      "[torch.",
      info(t.dtype()).type_name, " ", show(t.sizes()), "]");
  Node* producer = s.output >= 0 ? reader : t->grad_fn;
  uint32_t nr = s.output >= 0 ? s.output : t->output_nr;
  if (producer) text += cat_text(", which is output ", nr, " of ", op_name(producer->name()), ",");
  text += cat_text(" is at version ", t.version(), "; expected version ", s.version, " instead. ");
  if (modes().anomaly)
    text +=
        "Hint: the backtrace further above shows the operation that failed to compute its gradient. The "
        "variable in "
        "question was changed in there or anywhere later. Good luck!";
  else
    text +=
        "Hint: enable anomaly detection to find the operation that failed to compute its gradient, with "
        "torch.autograd.set_detect_anomaly(True, check_nan=False).";
  std::string note;
  if (reader->site) note = cat_text("It was saved for ", reader->name(), " here:\n", describe(reader->site));
  for (uint32_t version : {s.version + 1, t.version()}) {  // the first write after saving, or else the last
    Write& w = write_slot(t->storage, version);
    if (w.storage != t->storage || w.version != version || !w.site) continue;
    note += cat_text(note.empty() ? "It was " : "\nand ", version == s.version + 1 ? "first" : "last",
                     " changed in place here:\n", describe(w.site));
    break;
  }
  Error e(ErrorKind::runtime, text);
  if (note.empty()) throw e;
  throw_with_note(e, note);
}

}  // namespace

void throw_with_note(const Error& e, const std::string& note) {
  try {
    throw e;
  } catch (...) { set_python_error(); }
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  Py notes(Py_BuildValue("[s]", note.c_str()));
  if (!notes || PyObject_SetAttrString(value, "__notes__", notes.get()) < 0) PyErr_Clear();
  PyErr_Restore(type, value, trace);
  throw PythonError();
}

void remember_write(Storage* storage, const Site& site) {
  Write& w = write_slot(storage, storage->version);
  w.storage = storage;
  w.version = storage->version;
  if (w.site.code != site.code) Py_XSETREF(w.site.code, Py_XNewRef(site.code));
  w.site.instruction = site.instruction;
}

void throw_already_released() {
  throw runtime_error(
      "Trying to backward through the graph a second time (or directly access saved tensors after they have "
      "already been "
      "freed). Saved intermediate values of the graph are freed when you call .backward() or "
      "autograd.grad(). Specify "
      "retain_graph=True if you need to backward through the graph a second time or if you need to access "
      "saved tensors after "
      "calling backward.");
}

Packed::~Packed() {
  Py_XDECREF(object);
  Py_XDECREF(unpack);
}

namespace {
Packed* pack(const Tensor& t) {
  HookPair hooks = hook_stack().pairs.back();  // a copy: the hook itself may push or pop
  auto p = std::make_unique<Packed>();
  p->edge = gradient_edge(t);
  p->object = checked(PyObject_CallOneArg(hooks.pack.get(), reinterpret_cast<PyObject*>(t.get())));
  p->unpack = hooks.unpack.release();
  return p.release();
}

void refuse_inference(const Tensor& t) {
  if (t->inference) [[unlikely]]
    throw runtime_error(
        "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode "
        "in computation "
        "tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it in "
        "autograd, or use "
        "`torch.no_grad()` instead of `torch.inference_mode()`.");
}
// False for the node of a call without inputs that require grad (forward mode makes such nodes).
bool leads_anywhere(const Node& n) {
  for (uint32_t k = 0; k < n.nedges; ++k)
    if (n.edges[k].node) return true;
  return false;
}
bool hooked() { return modes().saved_hooks; }
}  // namespace

void Saved::keep_input(const Tensor& t, uint32_t at_version) {
  refuse_inference(t);
  if (hooked()) [[unlikely]] {
    packed = pack(t);
    return;
  }
  tensor = Tensor(t).release();
  version = at_version;
}

void Saved::keep_output(const Tensor& t, uint32_t nr) {
  refuse_inference(t);
  output = nr;
  Tensor bare = alias(t);
  if (modes().forward) [[unlikely]]
    copy_tangents(t, bare);
  if (hooked()) [[unlikely]] {
    packed = pack(bare);
    return;
  }
  tensor = bare.release();
  version = t.version();
}

Tensor Saved::unpack(Node* node) const {
  if (packed) [[unlikely]] {
    Py result(checked(PyObject_CallOneArg(packed->unpack, packed->object)));
    if (!is_tensor(result.get()))
      throw type_error("Output of saved tensor unpack_hook expected to be a Tensor but got result of type ",
                       Py_TYPE(result.get())->tp_name);
    Tensor t = as_tensor(result.get());
    Edge edge = output >= 0 ? Edge{NodeRef::share(node), uint32_t(output)} : packed->edge;
    if (!grad_enabled() || !edge.node) return t;
    t = alias(t);
    set_history(t, std::move(edge.node), edge.nr);
    return t;
  }
  const Tensor& t = reinterpret_cast<const Tensor&>(tensor);
  if (t.version() != version) [[unlikely]]
    throw_modified(*this, t, node);
  if (output < 0 || !grad_enabled() || !leads_anywhere(*node)) return t;
  Tensor with_history = alias(t);
  if (modes().forward) [[unlikely]]
    copy_tangents(t, with_history);
  set_history(with_history, NodeRef::share(node), output);
  return with_history;
}

void Saved::drop() {
  if (TensorObject* t = std::exchange(tensor, nullptr)) Py_DECREF(t);
  if (packed) [[unlikely]]
    delete std::exchange(packed, nullptr);
}

int Saved::traverse(visitproc visit, void* arg) const {
  Py_VISIT(tensor);
  if (packed) {
    Py_VISIT(packed->object);
    Py_VISIT(packed->unpack);
  }
  return 0;
}

void push_saved_hooks(PyObject* pack, PyObject* unpack) {
  if (!hook_stack().disabled.empty()) throw Error(ErrorKind::runtime, hook_stack().disabled);
  hook_stack().pairs.push_back({Py::share(pack), Py::share(unpack)});
  modes().saved_hooks = true;
}
void pop_saved_hooks() {
  if (!hook_stack().pairs.empty()) hook_stack().pairs.pop_back();
  modes().saved_hooks = !hook_stack().pairs.empty();
}
void disable_saved_hooks(const char* message) { hook_stack().disabled = message ? message : ""; }

}  // namespace rushlight

// The op table: parsing of signatures, registration, lookup, and calls from C++.
#include "op/op.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <new>

namespace rushlight {

// ---- TensorList ----
void TensorList::grow(size_t n) {
  n = std::max<size_t>(n, capacity_ * 2);
  auto* fresh = static_cast<Tensor*>(::operator new(n * sizeof(Tensor)));
  // A Tensor is one pointer: moving the bytes moves the reference.
  std::memcpy(static_cast<void*>(fresh), static_cast<const void*>(data()), size_ * sizeof(Tensor));
  if (heap_) ::operator delete(heap_);
  heap_ = fresh;
  capacity_ = n;
}
TensorList& TensorList::operator=(TensorList&& o) noexcept {
  if (this == &o) return *this;
  clear();
  if (heap_) ::operator delete(heap_);
  heap_ = std::exchange(o.heap_, nullptr);
  size_ = std::exchange(o.size_, 0);
  capacity_ = std::exchange(o.capacity_, 4);
  std::memcpy(inline_, o.inline_, sizeof inline_);
  return *this;
}

// ---- Call ----
OutMeta& Call::meta(int k) {
  if (k == 0) return meta0;
  if (more.size() < size_t(k)) more.resize(k);
  return more[k - 1];
}
void Call::out_meta(int k, Dtype dtype, Dims sizes) {
  if (k == 0) alike = nullptr;
  OutMeta& m = k ? meta(k) : meta0;
  m.dtype = dtype;
  m.sizes = std::move(sizes);
  m.device = device();
  m.strided = false;
}
void Call::out_meta(int k, Dtype dtype, Dims sizes, Dims strides) {
  out_meta(k, dtype, std::move(sizes));
  meta(k).strides = std::move(strides);
  meta(k).strided = true;
}
void Call::out_view(int k, Tensor t) {
  if (outs.size() <= size_t(k)) outs.resize(k + 1);
  outs[k] = std::move(t);
}
Device Call::device() const {
  Device found;
  for (auto& v : args) {
    if (v.tag == Value::tensor) {
      if (v.t->ndim) return v.t->device;
      found = v.as_tensor().device();
    } else if (v.tag == Value::tensors) {
      for (auto& t : v.as_tensors())
        if (t) return t.device();
    } else if (v.tag == Value::device) {
      return v.dev;
    }
  }
  return found;
}

void throw_unsupported(const Call& c, Dtype d) {
  const char* name = c.op.spec.kernel_name;
  throw_unsupported(name ? name : (c.op.name + "_cpu").c_str(), d);
}

// ---- signatures ----
namespace {

std::vector<const Op*>& table() {
  static std::vector<const Op*> ops;
  return ops;
}
std::map<std::string, const Op*, std::less<>>& by_name() {
  static std::map<std::string, const Op*, std::less<>> names;
  return names;
}

std::string trim(std::string s) {
  while (!s.empty() && s.front() == ' ') s.erase(0, 1);
  while (!s.empty() && s.back() == ' ') s.pop_back();
  return s;
}

// Splits on commas that are not inside brackets.
std::vector<std::string> split(const std::string& s) {
  std::vector<std::string> parts;
  std::string part;
  int depth = 0;
  for (char ch : s) {
    if (ch == '[' || ch == '(') ++depth;
    if (ch == ']' || ch == ')') --depth;
    if (ch == ',' && depth == 0) parts.push_back(trim(part)), part.clear();
    else part += ch;
  }
  if (!trim(part).empty()) parts.push_back(trim(part));
  return parts;
}

[[noreturn]] void bad(const char* sig, const std::string& what) {
  std::fprintf(stderr, "rushlight: bad signature %s: %s\n", sig, what.c_str());
  std::abort();  // a mistake in the source, found by the first import
}

Param parse_param(const char* sig, const std::string& text) {
  Param p;
  auto eq = text.find('=');
  std::string head = trim(text.substr(0, eq)),
              fallback = eq == std::string::npos ? "" : trim(text.substr(eq + 1));
  auto space = head.find(' ');
  if (space == std::string::npos) bad(sig, "parameter '" + text + "' has no type");
  std::string type = head.substr(0, space);
  p.name = trim(head.substr(space + 1));
  if (type.size() > 3 && type.ends_with("..."))
    p.varargs = true, type = type.substr(0, type.size() - 3) + "[]";
  if (type.ends_with("?")) p.optional = true, type.pop_back();
  if (type.ends_with("!")) p.written = true, type.pop_back();
  if (auto b = type.find('['); b != std::string::npos && type[b + 1] != ']') {
    p.fixed = std::atoi(type.c_str() + b + 1);
    type = type.substr(0, b) + "[]";
  }
  static const std::map<std::string, std::pair<Type, const char*>> types = {
      {"Tensor", {Type::tensor, "Tensor"}},
      {"Tensor[]", {Type::tensor_list, "tuple of Tensors"}},
      {"Tensor?[]", {Type::tensor_list, "tuple of Tensors"}},
      {"Operand", {Type::operand, "Tensor"}},
      {"Scalar", {Type::scalar, "Number"}},
      {"int", {Type::integer, "int"}},
      {"float", {Type::real, "float"}},
      {"bool", {Type::boolean, "bool"}},
      {"int[]", {Type::ints, "tuple of ints"}},
      {"float[]", {Type::reals, "tuple of floats"}},
      {"dtype", {Type::dtype, "torch.dtype"}},
      {"device", {Type::device, "torch.device"}},
      {"str", {Type::text, "str"}},
      {"Generator", {Type::generator, "torch.Generator"}},
      {"any", {Type::object, "object"}}};
  auto it = types.find(type);
  if (it == types.end()) bad(sig, "unknown type " + type);
  p.type = it->second.first;
  p.type_text = it->second.second;
  if (eq != std::string::npos) {
    p.has_default = true;
    if (fallback == "None") p.optional = true;
    else if (fallback == "True" || fallback == "False") p.fallback = Value(fallback == "True");
    else if (fallback[0] == '[') {
      for (auto& x : split(fallback.substr(1, fallback.size() - 2)))
        p.fallback_ints.push_back(std::atoll(x.c_str()));
      p.fallback.tag = Value::ints;
    } else if (fallback[0] == '\'' || fallback[0] == '"') {
      p.fallback = Value(static_cast<const char*>(strdup(fallback.substr(1, fallback.size() - 2).c_str())));
    } else if (p.type == Type::ints) {
      p.fallback_ints.assign(std::max(p.fixed, 1), std::atoll(fallback.c_str()));
      p.fallback.tag = Value::ints;
    } else if (p.type == Type::real || fallback.find_first_of(".en") != std::string::npos) {
      p.fallback = Value(std::strtod(fallback.c_str(), nullptr));
    } else {
      p.fallback = Value(int64_t(std::atoll(fallback.c_str())));
    }
  }
  return p;
}

std::string camel(std::string_view name) {
  std::string out;
  bool up = true;
  for (char ch : name) {
    if (ch == '_') up = true;
    else out += up ? char(std::toupper(ch)) : ch, up = false;
  }
  return out;
}

Forms forms_of(const Op& op) {
  if (op.spec.forms != default_forms) return op.spec.forms;
  if (op.mutates) return function | method;
  switch (op.spec.family) {
    case pointwise: return function | method | inplace | out_form;
    case view: return function | method;
    case create: return function | out_form;
    default: return function | method | out_form;
  }
}

}  // namespace

const Op& def(Spec spec) {
  auto* op = new Op{};
  op->spec = std::move(spec);
  std::string sig = op->spec.sig;
  size_t open = sig.find('('), arrow = sig.rfind("->");
  if (open == std::string::npos || arrow == std::string::npos)
    bad(op->spec.sig, "expected name(...) -> result");
  size_t close = sig.rfind(')', arrow);
  op->name = sig.substr(0, open);
  if (auto dot = op->name.find('.'); dot != std::string::npos) {
    op->overload = op->name.substr(dot + 1);
    op->name.resize(dot);
  }
  bool keyword_only = false;
  for (auto& text : split(sig.substr(open + 1, close - open - 1))) {
    if (text == "*") {
      keyword_only = true;
      continue;
    }
    op->params.push_back(parse_param(op->spec.sig, text));
    op->params.back().keyword_only = keyword_only;
  }
  for (auto& p : op->params)
    if (p.fallback.tag == Value::ints) {  // the vector's storage is stable once params is complete
      p.fallback.int_list = p.fallback_ints.data();
      p.fallback.count = p.fallback_ints.size();
    }
  for (size_t i = 0; i < op->params.size(); ++i) {
    const Param& p = op->params[i];
    op->defaults.push_back(p.fallback);
    if (!p.has_default && !(p.optional && (p.varargs || p.keyword_only))) op->required |= 1u << i;
    if (p.type == Type::operand && op->first_operand < 0) op->first_operand = i;
    const bool in_kernel = p.type <= Type::real && p.type != Type::tensor_list && p.type != Type::integer;
    if (in_kernel && op->noperands < Op::max_operands) op->operands[op->noperands++] = i;
  }
  op->mutates = !op->params.empty() && op->params[0].written;
  std::string result = trim(sig.substr(arrow + 2));
  if (result == "Tensor[]") op->list_out = true;
  else if (result[0] == '(') {
    for (auto& r : split(result.substr(1, result.size() - 2))) {
      auto space = r.find(' ');
      if (space != std::string::npos) op->out_names.push_back(trim(r.substr(space + 1)));
      else op->out_names.push_back("");
    }
    op->nouts = op->out_names.size();
    if (op->out_names[0].empty()) op->out_names.clear();
  } else if (result != "Tensor" && result != "any") {
    bad(op->spec.sig, "unknown result " + result);
  }
  std::string base = op->name;
  if (base.ends_with("_") && op->mutates) base.pop_back();
  op->grad_name = op->spec.grad_name ? op->spec.grad_name : camel(base) + "Backward0";
  op->forms = forms_of(*op);
  std::string full = op->overload.empty() ? op->name : op->name + "." + op->overload;
  if (!by_name().emplace(full, op).second) bad(op->spec.sig, "defined twice");
  table().push_back(op);
  return *op;
}

const std::vector<const Op*>& registry() { return table(); }

const Op& find_op(std::string_view name, std::string_view overload) {
  std::string full(name);
  if (!overload.empty()) full += "." + std::string(overload);
  auto it = by_name().find(full);
  if (it == by_name().end()) throw not_implemented("operator ", full, " is not implemented");
  return *it->second;
}

int Op::position(std::string_view param) const {
  for (size_t i = 0; i < params.size(); ++i)
    if (params[i].name == param) return i;
  return -1;
}

// ---- calls from C++ ----
namespace {
constexpr size_t max_params = 24;
struct Arguments {
  union {  // fill() sets those that the signature has
    Value values[max_params];
  };
  Arguments() {}
  std::span<Value> fill(const Op& op, std::initializer_list<Value> given) {
    size_t n = op.params.size();
    if (given.size() > n) throw runtime_error(op.name, ": too many arguments in an internal call");
    size_t i = 0;
    for (auto& v : given) values[i++] = v;
    for (; i < n; ++i) {
      if ((op.required >> i & 1) && !op.params[i].optional)
        throw runtime_error(op.name, ": argument ", op.params[i].name, " is missing in an internal call");
      values[i] = op.defaults[i];
    }
    return {values, n};
  }
};
}  // namespace

Tensor Op::call(std::initializer_list<Value> given) const {
  Arguments a;
  Call c(*this, a.fill(*this, given));
  run(c);
  return std::move(c.outs[0]);
}
TensorList Op::call_list(std::initializer_list<Value> given) const {
  Arguments a;
  Call c(*this, a.fill(*this, given));
  run(c);
  return std::move(c.outs);
}
Tensor Op::call_inplace(std::initializer_list<Value> given) const {
  Arguments a;
  Call c(*this, a.fill(*this, given));
  run_inplace(c);
  return c.outs[0];
}
Tensor Op::call_out(const Tensor& out, std::initializer_list<Value> given) const {
  Arguments a;
  Call c(*this, a.fill(*this, given));
  run_out(c, {&out, 1});
  return out;
}
Tensor Op::operator()(std::initializer_list<Value> given) const { return call(given); }

}  // namespace rushlight

// Op: one block of the op table. Call: one application of an op. def() registers a block; everything that is generic about
// operators (binding, forms, tests, docs, coverage) is a loop over registry().
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "op/value.h"

namespace rushlight {

struct Op;
struct Node;
using Grads = TensorList;

// ---- signature grammar ----
// "name.overload(Type name=default, *, Type name=default) -> Tensor" or "-> (Tensor values, Tensor indices)" or "-> Tensor[]".
// Types: Tensor, Tensor? (None allowed), Tensor! (written in place), Tensor[] , Tensor?[] (indices),
//        Operand (tensor or Python number), Scalar (Python number or 0-d tensor read out), Scalar?, int, int?, float, float?,
//        bool, bool?, int[] (one int is a list of one), int[]?, int[2] (one int is repeated), int... (list or varargs),
//        float[]?, dtype?, device?, str, str?, Generator?, any (a Python object).
// Dimension arguments are checked by the rule (wrap_dim), not by the binder.
enum class Type : uint8_t {
  tensor,
  tensor_list,
  operand,
  scalar,
  integer,
  real,
  boolean,
  ints,
  reals,
  dtype,
  device,
  text,
  generator,
  object
};
struct Param {
  Type type;
  bool optional = false;  // None is accepted
  bool written = false;   // Tensor!
  bool varargs = false;   // int...
  bool keyword_only = false;
  bool has_default = false;
  int fixed = 0;  // int[2]: a single int is repeated
  std::string name;
  std::string type_text;  // as in torch's error texts: "Tensor", "tuple of ints", "int", ...
  Value fallback;
  std::vector<int64_t> fallback_ints;
};

// ---- families and forms ----
enum Family : uint8_t { pointwise, reduction, view, create, random_fill, other };
enum Forms : uint8_t {
  no_forms = 0,
  function = 1,
  method = 2,
  inplace = 4,
  out_form = 8,
  default_forms = 255
};
constexpr Forms operator|(Forms a, Forms b) { return Forms(uint8_t(a) | uint8_t(b)); }
// default: pointwise function|method|inplace|out; reduction and other function|method|out; view function|method; create function|out;
// an op whose first parameter is Tensor! (name ends in _) is a method (and a function).

// ---- what backward may read ----
// A mask of arguments (by position) and outputs. {.for0 = In1, .for1 = In0}: argument 1 is kept only when gradient
// slot 0 is wanted, and so on. Sizes and dtypes of all tensor arguments are always kept.
enum Save : uint32_t {
  Nothing = 0,
  In0 = 1,
  In1 = 2,
  In2 = 4,
  In3 = 8,
  In4 = 16,
  In5 = 32,
  In6 = 64,
  In7 = 128,
  Out0 = 1u << 16,
  Out1 = 1u << 17,
  Out2 = 1u << 18,
  Out = Out0
};
struct Saves {
  uint32_t always = 0, for0 = 0, for1 = 0, for2 = 0;
};
constexpr Saves save(uint32_t mask) { return {.always = mask}; }

// ---- one application ----
struct OutMeta {
  Dtype dtype = Dtype::none;
  Device device;
  Dims sizes, strides;
  bool strided = false;  // strides are given; otherwise contiguous
};

struct Call {
  const Op& op;
  std::span<Value> args;
  TensorList outs;            // after allocation: the outputs (in-place: the target)
  std::vector<OutMeta> more;  // metas of outputs 1.. (output 0 is meta0)
  OutMeta meta0;
  Dtype compute = Dtype::none;  // the common dtype a pointwise op computes in (set by its rule)
  // Set by the shared rules where every tensor argument is contiguous and has the dtype, sizes and device of this one,
  // and no number raises the dtype: output 0 gets these sizes (meta0 has none) and nothing else needs to be compared.
  const Tensor* alike = nullptr;
  bool in_place = false;        // output 0 is args[0]
  uint32_t version_before = 0;  // of the target, before an in-place kernel ran
  Tensor original;              // in-place and recorded: the target's old value, where backward reads it
  // backward only
  const Node* node = nullptr;
  const TensorList* grads = nullptr;
  uint64_t wanted = 0;

  explicit Call(const Op& o, std::span<Value> a) : op(o), args(a) {}

  // arguments
  const Value& arg(int i) const { return args[i]; }
  const Tensor& in(int i) const { return args[i].as_tensor(); }
  bool has(int i) const { return args[i].tag != Value::none; }
  int64_t i(int k) const { return args[k].as_int(); }
  double d(int k) const { return args[k].as_double(); }
  bool b(int k) const { return args[k].as_int() != 0; }
  IntSpan ints(int k) const { return args[k].as_ints(); }
  std::string_view s(int k) const { return args[k].s; }
  Dtype dtype(int k, Dtype fallback) const { return args[k].tag == Value::dtype ? args[k].dt : fallback; }
  std::span<const Tensor> tensors(int k) const { return args[k].as_tensors(); }

  // rules describe the outputs: dtype, sizes, (strides), device of the first tensor argument by default
  void out_meta(int k, Dtype dtype, Dims sizes);
  void out_meta(int k, Dtype dtype, Dims sizes, Dims strides);
  OutMeta& meta(int k = 0);
  // view rules give the output itself
  void out_view(int k, Tensor t);
  const Tensor& out(int k = 0) const { return outs[k]; }
  Device device() const;  // of the first tensor argument, else of the device argument, else the CPU

  // backward: which gradient slots are wanted (one slot per tensor argument in order; a Tensor[] takes one per element)
  bool wants(int slot) const { return wanted >> slot & 1 || slot > 63; }
  const Tensor& g(int k) const { return (*grads)[k]; }  // gradient of output k, may be an empty handle
  IntSpan in_sizes(int slot) const;  // of the tensor in that slot, as it was in the forward call
  Dtype in_dtype(int slot) const;
  IntSpan in_strides(int slot) const;
  int slots() const;
};

[[noreturn]] void throw_unsupported(const Call& c, Dtype d);  // under the op's kernel name

// visit(dtype, f), whose error names the op's kernel.
template <class F> decltype(auto) visit(const Call& c, Dtype d, F&& f) {
  if (!has_kernels(d)) throw_unsupported(c, d);
  return visit(d, f);
}

using Rule = void (*)(Call&);
struct Kernel {
  void (*fn)(Call&, const void* data) = nullptr;
  const void* data = nullptr;
  constexpr Kernel() = default;
  constexpr Kernel(void (*f)(Call&, const void*), const void* d) : fn(f), data(d) {}
  // from a captureless lambda or function void(Call&)
  template <class F>
    requires std::is_convertible_v<F, void (*)(Call&)>
  constexpr Kernel(F f)
      : fn([](Call& c, const void* p) { reinterpret_cast<void (*)(Call&)>(const_cast<void*>(p))(c); }),
        data(reinterpret_cast<const void*>(static_cast<void (*)(Call&)>(f))) {}
  explicit operator bool() const { return fn; }
};
using GradFn = Grads (*)(const Call& c, const Tensor& g);  // g: gradient of output 0

// What autocast does to the floating-point arguments: nothing; casts them to bfloat16 or float16, whichever its context
// names; to float32; to the widest dtype among them.
enum class Autocast : uint8_t { none, lower, full, widest };

struct Spec {
  const char* sig;
  const char* doc = "";
  Family family = other;
  Forms forms = default_forms;
  Autocast autocast = Autocast::none;  // the policy that PyTorch documents for the CPU
  Rule rule = nullptr;
  const char* kernel_name = nullptr;  // in errors about dtypes; default name + "_cpu"
  Kernel cpu = {};
  bool composite = false;  // the kernel calls other ops and sets c.outs itself; nothing is recorded for it
  Saves saves = {};
  GradFn grad = nullptr;            // null: outputs never require grad
  const char* grad_name = nullptr;  // "AddBackward0"; default CamelCase(name) + "Backward0"
  const char* ref = "";             // NumPy expression over the parameter names, for tests
  std::vector<const char*> samples = {};
  std::vector<const char*> aliases = {};  // further names: absolute for abs
  const char* modules =
      "";  // where the function form lives besides rushlight: "special", "linalg", "nn" (only _C)
};

struct Op {
  Spec spec;
  std::string name;      // "max"
  std::string overload;  // "dim"
  std::string grad_name;
  std::vector<Param> params;
  std::vector<std::string> out_names;  // named results: {"values", "indices"}; empty for one unnamed
  bool list_out = false;               // -> Tensor[] (number of outputs set by the rule)
  bool mutates = false;                // first parameter is Tensor!
  Forms forms;
  int nouts = 1;
  // From the signature, for every call: defaults by position, a bit for each parameter without one, the first
  // Operand (or -1), and the parameters that element-wise kernels read: tensors and numbers.
  static constexpr int max_operands = 8;
  std::vector<Value> defaults;
  uint32_t required = 0;
  int8_t first_operand = -1;
  uint8_t noperands = 0, operands[max_operands] = {};
  int position(std::string_view param) const;  // index of a parameter, -1 if none

  // C++ call: a prefix of positional arguments, the rest take their defaults.
  Tensor operator()(std::initializer_list<Value> args) const;
  template <class... A> Tensor operator()(const A&... a) const {
    if constexpr (sizeof...(A) == 1 && (std::is_same_v<A, std::initializer_list<Value>> && ...))
      return call({a...});
    else return call({Value(a)...});
  }
  Tensor call(std::initializer_list<Value> args) const;           // single output
  TensorList call_list(std::initializer_list<Value> args) const;  // all outputs
  Tensor call_inplace(std::initializer_list<Value> args) const;   // add_ for op add: writes args[0]
  Tensor call_out(const Tensor& out, std::initializer_list<Value> args) const;
};

const Op& def(Spec spec);
const std::vector<const Op*>& registry();
const Op& find_op(std::string_view name, std::string_view overload = "");  // throws if absent

// ---- the one road (dispatch.cpp): rule, allocate, kernel, record ----
void run(Call& c);                                    // fills c.outs
void run_inplace(Call& c);                            // out is args[0] (pointwise family, or Tensor! ops)
void run_out(Call& c, std::span<const Tensor> outs);  // out=

// A call with an argument that has a delegate (Note [Delegates]); python/delegate.cpp.
void run_delegated(Call& c);
// A call inside a selective checkpoint, whose outputs Python may keep, or give in place of running body(c);
// python/delegate.cpp.
void run_selected(Call& c, void (*body)(Call&));
// sparse_coo_tensor(indices, values, size), recorded where values has a history; python/delegate.cpp
Tensor sparse_coo(const Tensor& indices, const Tensor& values, IntSpan size);

void resize(const Tensor& t,
            IntSpan sizes);  // resize_: grows the storage when needed, keeps the leading bytes

// ---- rules shared by families (rules.cpp) ----
namespace rule {
void same(Call&);       // output as argument 0
void broadcast(Call&);  // promoted dtype, broadcast sizes of all tensor/operand arguments
void to_float(Call&);   // ... integers become the default float
void compare(Call&);    // ... output bool, computes in the promoted dtype
void to_bool(Call&);    // output bool, computes in the promoted dtype (same as compare; unary ops)
void to_real(Call&);    // complex -> real output (abs, angle, real part)
}  // namespace rule
// Promoted dtype of tensor, operand and scalar arguments by PyTorch's three groups.
Dtype result_type(std::span<const Value> args);
// Sizes and strides for an element-wise output over these arguments: contiguous, or the dense stride order of the inputs.
void pointwise_layout(Call& c, OutMeta& m);

// Operators for formulas. Numbers stay numbers (no tensor is made).
Tensor operator+(const Value& a, const Value& b);
Tensor operator-(const Value& a, const Value& b);
Tensor operator*(const Value& a, const Value& b);
Tensor operator/(const Value& a, const Value& b);
Tensor operator-(const Tensor& a);

}  // namespace rushlight

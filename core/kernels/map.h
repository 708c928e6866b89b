// map(lambda): turns a scalar function into the kernel of a pointwise op. The lambda is instantiated per dtype and
// instruction set as a loop over contiguous rows; strides, broadcasting, conversion and threads are the driver's
// (cpu/pointwise.cpp).
//
//   .cpu = map<Floats>([](auto x) { return fn::tanh(x); })
//   .cpu = map<All>([](auto a, auto b) { return a == b; })             // the result is bool where the lambda says so
//   .cpu = map_mask<All>([](bool m, auto a, auto b) { return m ? a : b; })   // the first operand stays bool
//
// A kernel that chooses between tables calls run_map itself: static_table<Floats>(lambda), then run_map(c, table).
#pragma once
#include <algorithm>
#include <concepts>
#include <utility>

#include "kernels/mathfn.h"
#include "kernels/target.h"
#include "op/op.h"

namespace rushlight {

// Rows are contiguous arrays of the compute dtype. out may be one of the inputs.
using RowFn = void (*)(char* out, const char* const* in, int64_t n);

struct MapTable {
  RowFn rows[kernel_dtypes][3];  // v2, v3, v4; null where the dtype is not supported
  Dtype result[kernel_dtypes];
  int nin;
  bool mask;
  bool float8;  // the 8-bit floats are taken, too
};

// ---- type lists. The 16-bit floats and complex32 have no entries: the driver
// computes them in float32 and complex64 wherever these are there. ----
template <class... T> struct Types {};
template <class A, class B> struct JoinTypes;
template <class... A, class... B> struct JoinTypes<Types<A...>, Types<B...>> {
  using type = Types<A..., B...>;
};
template <class A, class B> using Join = typename JoinTypes<A, B>::type;

// Put into a list, it lets the 8-bit floats in, which are computed in float32 as well.
struct AnyFloat8 {};

using Bools = Types<bool>;
using Integers = Types<uint8_t, int8_t, int16_t, int32_t, int64_t>;
using Floats = Types<float, double>;
using Complexes = Types<c64, c128>;
using IntegersAndBool = Join<Bools, Integers>;
using FloatsAndComplex = Join<Floats, Complexes>;
using Real = Join<Integers, Floats>;
using RealAndBool = Join<Bools, Real>;
using Numeric = Join<Real, Complexes>;
using All = Join<Bools, Numeric>;
using AllAndFloat8 = Join<All, Types<AnyFloat8>>;

template <class T> constexpr bool is_complex_type = std::same_as<T, c64> || std::same_as<T, c128>;

// Runs a table over the call's output 0 and operands. Without operands: the first nin tensor or number arguments.
void run_map(Call& c, const MapTable& t);
void run_map(Call& c, const MapTable& t, std::initializer_list<Value> operands, const char* kernel = nullptr);

namespace detail {

template <class F, class T, bool Mask, size_t... I> constexpr bool takes(std::index_sequence<I...>) {
  if constexpr (Mask) return std::is_invocable_v<F, bool, decltype(I, T())...>;
  else return std::is_invocable_v<F, decltype(I, T())...>;
}
template <class F, class T, bool Mask, size_t N = 0> constexpr size_t arity() {
  if constexpr (takes<F, T, Mask>(std::make_index_sequence<N>())) return N + Mask;
  else return arity<F, T, Mask, N + 1>();
}

template <class T, class R> struct RowResult {
  using type = T;
};  // integer arithmetic promotes to int: back to T
template <class T> struct RowResult<T, bool> {
  using type = bool;
};
template <std::floating_point T> struct RowResult<T, std::complex<T>> {
  using type = std::complex<T>;
};
template <std::floating_point T> struct RowResult<std::complex<T>, T> {
  using type = T;
};

// Functions with a short form for most arguments, see Note [Short forms] in mathfn_short.h.
template <class F, class R, class... P>
concept HasShortForm = (std::same_as<P, R> && ...) && requires(R x) { F::allows(F::measure(x)); };

template <class F, class T> RL_INLINE void short_form_loop(T* to, int64_t n, const T* from) {
  constexpr int64_t block = 512;  // stays in L1 between the two passes
  constexpr F f{};
  for (int64_t at = 0; at < n; at += block, to += block, from += block) {
    int64_t m = std::min(block, n - at);
    decltype(F::measure(T())) most = 0;
    for (int64_t i = 0; i < m; ++i) most = std::max(most, F::measure(from[i]));
    for (int64_t i = m; i < n - at && i < m + block; i += 64 / sizeof(T)) __builtin_prefetch(from + i);
    if (F::allows(most)) {
      RL_INDEPENDENT
      for (int64_t i = 0; i < m; ++i) to[i] = F::short_form(from[i]);
    } else {
      RL_INDEPENDENT
      for (int64_t i = 0; i < m; ++i) to[i] = f(from[i]);
    }
  }
}

// The mask is read as bytes: GCC vectorises comparisons of those, but not loads of bool.
template <class F, class R, class... P> RL_INLINE void element_loop(R* to, int64_t n, const P*... from) {
  if constexpr (HasShortForm<F, R, P...>) {
    short_form_loop<F>(to, n, from...);
  } else {
    constexpr F f{};
    RL_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<R>(f(load(from + i)...));
  }
}
template <class F, class R, class... P>
RL_INLINE void masked_loop(R* to, int64_t n, const uint8_t* mask, const P*... from) {
  constexpr F f{};
  RL_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<R>(f(mask[i] != 0, load(from + i)...));
}
template <class F, class T, bool Mask, size_t... I>
RL_INLINE void row_loop(char* out, const char* const* in, int64_t n, std::index_sequence<I...>) {
  if constexpr (Mask) {
    using R = typename RowResult<T, decltype(F{}(true, (void(I), T())...))>::type;
    masked_loop<F>(reinterpret_cast<R*>(out), n, reinterpret_cast<const uint8_t*>(in[0]),
                   reinterpret_cast<const T*>(in[I + 1])...);
  } else {
    using R = typename RowResult<T, decltype(F{}((void(I), T())...))>::type;
    element_loop<F>(reinterpret_cast<R*>(out), n, reinterpret_cast<const T*>(in[I])...);
  }
}

template <class F, class T, bool Mask> struct Rows {
  static constexpr size_t nin = arity<F, T, Mask>();
  using Index = std::make_index_sequence<nin - Mask>;
  RL_TARGET_V2 static void v2(char* out, const char* const* in, int64_t n) {
    row_loop<F, T, Mask>(out, in, n, Index());
  }
#if defined(__x86_64__)
  RL_TARGET_V3 static void v3(char* out, const char* const* in, int64_t n) {
    row_loop<F, T, Mask>(out, in, n, Index());
  }
  RL_TARGET_V4 static void v4(char* out, const char* const* in, int64_t n) {
    row_loop<F, T, Mask>(out, in, n, Index());
  }
#else
  static constexpr RowFn v3 = v2, v4 = v2;
#endif
  template <size_t... I> static auto result(std::index_sequence<I...>) {
    if constexpr (Mask) return typename RowResult<T, decltype(F{}(true, (void(I), T())...))>::type();
    else return typename RowResult<T, decltype(F{}((void(I), T())...))>::type();
  }
  static constexpr Dtype out = dtype_of<decltype(result(Index()))>;
};

template <class F, bool Mask, class T> constexpr void add_type(MapTable& t) {
  if constexpr (std::same_as<T, AnyFloat8>) t.float8 = true;
  else {
    using R = Rows<F, T, Mask>;
    constexpr int d = int(dtype_of<T>);
    t.rows[d][0] = R::v2, t.rows[d][1] = R::v3, t.rows[d][2] = R::v4;
    t.result[d] = R::out;
    t.nin = R::nin;
  }
}
template <class F, bool Mask, class... T> constexpr MapTable make_table(Types<T...>) {
  MapTable t{};
  (add_type<F, Mask, T>(t), ...);
  t.mask = Mask;
  return t;
}
template <class List, class F, bool Mask> inline constexpr MapTable table_of = make_table<F, Mask>(List());

inline void run_whole_map(Call& c, const void* table) { run_map(c, *static_cast<const MapTable*>(table)); }

}  // namespace detail

template <class List, class F> constexpr const MapTable& static_table(F) {
  return detail::table_of<List, F, false>;
}
template <class List, class F> constexpr const MapTable& static_mask_table(F) {
  return detail::table_of<List, F, true>;
}
template <class List, class F> constexpr Kernel map(F) {
  return {detail::run_whole_map, &detail::table_of<List, F, false>};
}
template <class List, class F> constexpr Kernel map_mask(F) {
  return {detail::run_whole_map, &detail::table_of<List, F, true>};
}

}  // namespace rushlight

// Functions that are quicker where no argument is extreme. Included by mathfn.h.
#pragma once

namespace rushlight::fn {

// Note [Short forms]
// Functions whose rare arguments (far ones, subnormals, infinities, nan) cost more than all others have a short form. It gives the same
// bits for every x whose measure it allows. Loops (kernels/map.h) take the largest measure of a block of arguments and
// choose.
struct Exp {
  template <class T>
  RUSHLIGHT_INLINE T operator()(T x) const {
    return fn::exp(x);
  }
  template <std::same_as<float> T>
  static RUSHLIGHT_INLINE T short_form(T x) {
    return detail::exp_plain(x);
  }
  template <std::same_as<float> T>
  static RUSHLIGHT_INLINE uint32_t measure(T x) {
    return detail::bits(fn::abs(x));
  }
  static constexpr bool allows(uint32_t measured) { return measured < std::bit_cast<uint32_t>(87.0f); }
};
struct Sigmoid : Exp {
  template <class T>
  RUSHLIGHT_INLINE T operator()(T x) const {
    return fn::sigmoid(x);
  }
  template <std::same_as<float> T>
  static RUSHLIGHT_INLINE T short_form(T x) {
    return detail::sigmoid_of(x, detail::exp_plain(-fn::abs(x)));
  }
};
struct Silu : Exp {
  template <class T>
  RUSHLIGHT_INLINE T operator()(T x) const {
    return x * fn::sigmoid(x);
  }
  template <std::same_as<float> T>
  static RUSHLIGHT_INLINE T short_form(T x) {
    return x * Sigmoid::short_form(x);
  }
};
struct Erfc : Exp {
  template <class T>
  RUSHLIGHT_INLINE T operator()(T x) const {
    return fn::erfc(x);
  }
  template <std::same_as<float> T>
  static RUSHLIGHT_INLINE T short_form(T x) {
    return detail::erfc_plain(x);
  }
  static constexpr bool allows(uint32_t measured) { return measured < std::bit_cast<uint32_t>(9.0f); }
};
struct Log {
  template <class T>
  RUSHLIGHT_INLINE T operator()(T x) const {
    return fn::log(x);
  }
  template <std::same_as<float> T>
  static RUSHLIGHT_INLINE T short_form(T x) {
    return detail::log_shifted(x, 0.0f);
  }
  template <std::same_as<float> T>
  static RUSHLIGHT_INLINE uint32_t measure(T x) {
    return detail::bits(x) - 0x00800000u;
  }
  static constexpr bool allows(uint32_t measured) {
    return measured < 0x7f000000u;
  }  // positive, normal, finite
};
struct Sin {
  template <class T>
  RUSHLIGHT_INLINE T operator()(T x) const {
    return fn::sin(x);
  }
  template <class T>
  static RUSHLIGHT_INLINE T short_form(T x) {
    return fn::sin_near(x);
  }
  static RUSHLIGHT_INLINE uint32_t measure(float x) { return detail::bits(fn::abs(x)); }
  static RUSHLIGHT_INLINE int64_t measure(double x) { return std::bit_cast<int64_t>(fn::abs(x)); }
  static constexpr bool allows(uint32_t measured) { return measured < std::bit_cast<uint32_t>(0x1p+16f); }
  static constexpr bool allows(int64_t measured) { return measured < std::bit_cast<int64_t>(kTrigNearD); }
};
struct Cos {
  template <class T>
  RUSHLIGHT_INLINE T operator()(T x) const {
    return fn::cos(x);
  }
  template <class T>
  static RUSHLIGHT_INLINE T short_form(T x) {
    return fn::cos_near(x);
  }
  static RUSHLIGHT_INLINE uint32_t measure(float x) { return detail::bits(fn::abs(x)); }
  static RUSHLIGHT_INLINE int64_t measure(double x) { return std::bit_cast<int64_t>(fn::abs(x)); }
  static constexpr bool allows(uint32_t measured) { return measured < std::bit_cast<uint32_t>(0x1p+16f); }
  static constexpr bool allows(int64_t measured) { return measured < std::bit_cast<int64_t>(kTrigNearD); }
};

}  // namespace rushlight::fn

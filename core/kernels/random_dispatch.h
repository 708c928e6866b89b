// Shared by the random sampler files: from RandomDtype to a C++ type, and the stores that round as the
// contract says (double to float to 16 bits). Not for use elsewhere.
#pragma once

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "half.h"
#include "random.h"

namespace rushlight::random_detail {

// Builds the message from its parts; numbers print as C++ streams print them.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw std::runtime_error(text.str());
}

// Calls body with a null pointer of the element type.
template <class Body>
void visit(RandomDtype dtype, Body body) {
  switch (dtype) {
    case RandomDtype::u8: return body(static_cast<uint8_t*>(nullptr));
    case RandomDtype::i8: return body(static_cast<int8_t*>(nullptr));
    case RandomDtype::i16: return body(static_cast<int16_t*>(nullptr));
    case RandomDtype::i32: return body(static_cast<int32_t*>(nullptr));
    case RandomDtype::i64: return body(static_cast<int64_t*>(nullptr));
    case RandomDtype::f16: return body(static_cast<half*>(nullptr));
    case RandomDtype::bf16: return body(static_cast<bfloat16*>(nullptr));
    case RandomDtype::f32: return body(static_cast<float*>(nullptr));
    case RandomDtype::f64: return body(static_cast<double*>(nullptr));
    case RandomDtype::boolean: return body(static_cast<bool*>(nullptr));
  }
}

// Scalar type names as PyTorch spells them in errors.
inline const char* scalar_name(RandomDtype dtype) {
  constexpr const char* names[] = {"Byte", "Char",     "Short", "Int",    "Long",
                                   "Half", "BFloat16", "Float", "Double", "Bool"};
  return names[static_cast<int>(dtype)];
}

[[noreturn]] inline void not_implemented(const char* kernel, RandomDtype dtype) {
  throw RandomNotImplemented(std::string("\"") + kernel + "\" not implemented for '" + scalar_name(dtype) +
                             "'");
}

template <class T>
inline constexpr bool is_floating = std::is_floating_point_v<T> || HalfPrecision<T>;

// For samplers of floating-point types only; others get the error of a missing kernel.
template <class Body>
void visit_floating(const char* kernel, RandomDtype dtype, Body body) {
  visit(dtype, [&]<class T>(T* type) {
    if constexpr (is_floating<T>) {
      body(type);
    } else {
      not_implemented(kernel, dtype);
    }
  });
}
template <class Body>
void visit_float_double(const char* kernel, RandomDtype dtype, Body body) {
  visit(dtype, [&]<class T>(T* type) {
    if constexpr (std::is_floating_point_v<T>) {
      body(type);
    } else {
      not_implemented(kernel, dtype);
    }
  });
}

// A buffer's worth of draws at a time: body(numbers, how many, position).
template <class T, class Body>
void in_chunks(Generator& g, size_t count, Body body) {
  constexpr size_t chunk = 512;
  T buffer[chunk];
  for (size_t done = 0; done < count;) {
    const size_t n = std::min(chunk, count - done);
    if constexpr (std::is_same_v<T, double>) {
      g.fill_u53(buffer, n);
    } else if constexpr (std::is_same_v<T, float>) {
      g.fill_u24(buffer, n);
    } else {
      g.fill_u32(buffer, n);
    }
    body(buffer, n, done);
    done += n;
  }
}

}  // namespace rushlight::random_detail

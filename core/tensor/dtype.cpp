// The table of element types, and promotion between them (PyTorch's rules).
#include "tensor/dtype.h"

#include "tensor/error.h"

namespace rushlight {

namespace {

constexpr DtypeInfo table[] = {
    {"bool", "Bool", "BoolTensor", "bool", "|b1", 1, bool_category},
    {"uint8", "Byte", "ByteTensor", "unsigned char", "|u1", 1, integer_category},
    {"int8", "Char", "CharTensor", "signed char", "|i1", 1, integer_category},
    {"int16", "Short", "ShortTensor", "short int", "<i2", 2, integer_category},
    {"int32", "Int", "IntTensor", "int", "<i4", 4, integer_category},
    {"int64", "Long", "LongTensor", "long int", "<i8", 8, integer_category},
    {"float16", "Half", "HalfTensor", "c10::Half", "<f2", 2, float_category},
    {"bfloat16", "BFloat16", "BFloat16Tensor", "c10::BFloat16", nullptr, 2, float_category},
    {"float32", "Float", "FloatTensor", "float", "<f4", 4, float_category},
    {"float64", "Double", "DoubleTensor", "double", "<f8", 8, float_category},
    {"complex64", "ComplexFloat", "ComplexFloatTensor", "c10::complex<float>", "<c8", 8, complex_category},
    {"complex128", "ComplexDouble", "ComplexDoubleTensor", "c10::complex<double>", "<c16", 16,
     complex_category},
    {"uint16", "UInt16", "UInt16Tensor", "short unsigned int", "<u2", 2, integer_category},
    {"uint32", "UInt32", "UInt32Tensor", "unsigned int", "<u4", 4, integer_category},
    {"uint64", "UInt64", "UInt64Tensor", "long unsigned int", "<u8", 8, integer_category},
    {"undefined", "Undefined", "UndefinedTensor", "void", nullptr, 0, bool_category},
};
static_assert(std::size(table) == dtype_count + 1);

Dtype default_dtype_ = Dtype::f32;

bool is_wide_unsigned(Dtype d) { return d == Dtype::u16 || d == Dtype::u32 || d == Dtype::u64; }

}  // namespace

const DtypeInfo& info(Dtype d) { return table[int(d)]; }

Dtype promote(Dtype a, Dtype b) {
  if (a == b) return a;
  if (is_wide_unsigned(a) || is_wide_unsigned(b)) {
    if (is_float(a)) return a;
    if (is_float(b)) return b;
    throw runtime_error("Promotion for uint16, uint32, uint64 types is not supported, attempted to promote ",
                        info(a).scalar_name, " and ", info(b).scalar_name);
  }
  Dtype low = a < b ? a : b, high = a < b ? b : a;
  Category low_category = category(low), high_category = category(high);
  if (high_category == complex_category) return low == Dtype::f64 ? Dtype::c128 : high;
  if (low_category != high_category) return high;
  if (low == Dtype::u8) return high == Dtype::i8 ? Dtype::i16 : high;  // both integers
  if (low == Dtype::f16 && high == Dtype::bf16) return Dtype::f32;     // neither holds the other
  return high;
}

bool can_cast(Dtype from, Dtype to) {
  if (is_complex(from) && !is_complex(to)) return false;
  if (is_float(from) && is_integral(to)) return false;
  return to != Dtype::boolean || from == Dtype::boolean;
}

Dtype real_of(Dtype d) { return d == Dtype::c64 ? Dtype::f32 : d == Dtype::c128 ? Dtype::f64 : d; }
// There is no 32-bit complex type: the 16-bit floats go with complex64.
Dtype complex_of(Dtype d) { return d == Dtype::f64 || d == Dtype::c128 ? Dtype::c128 : Dtype::c64; }

Dtype default_dtype() { return default_dtype_; }
void set_default_dtype(Dtype d) {
  if (!is_float(d)) throw type_error("only floating-point types are supported as the default type");
  default_dtype_ = d;
}

void throw_unsupported(const char* kernel, Dtype d) {
  throw not_implemented('"', kernel, "\" not implemented for '", info(d).scalar_name, "'");
}

}  // namespace rushlight

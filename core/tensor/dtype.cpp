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
    {"float8_e4m3fn", "Float8_e4m3fn", "Float8_e4m3fnTensor", "c10::Float8_e4m3fn", nullptr, 1,
     float_category},
    {"float8_e5m2", "Float8_e5m2", "Float8_e5m2Tensor", "c10::Float8_e5m2", nullptr, 1, float_category},
    {"float8_e4m3fnuz", "Float8_e4m3fnuz", "Float8_e4m3fnuzTensor", "c10::Float8_e4m3fnuz", nullptr, 1,
     float_category},
    {"float8_e5m2fnuz", "Float8_e5m2fnuz", "Float8_e5m2fnuzTensor", "c10::Float8_e5m2fnuz", nullptr, 1,
     float_category},
    {"float8_e8m0fnu", "Float8_e8m0fnu", "Float8_e8m0fnuTensor", "c10::Float8_e8m0fnu", nullptr, 1,
     float_category},
    {"complex32", "ComplexHalf", "ComplexHalfTensor", "c10::complex<c10::Half>", nullptr, 4,
     complex_category},
    {"qint8", "QInt8", "quantized.QInt8Tensor", "c10::qint8", nullptr, 1, integer_category},
    {"quint8", "QUInt8", "quantized.QUInt8Tensor", "c10::quint8", nullptr, 1, integer_category},
    {"qint32", "QInt32", "quantized.QInt32Tensor", "c10::qint32", nullptr, 4, integer_category},
    {"quint4x2", "QUInt4x2", "quantized.QUInt4x2Tensor", "c10::quint4x2", nullptr, 1, integer_category},
    {"quint2x4", "QUInt2x4", "quantized.QUInt2x4Tensor", "c10::quint2x4", nullptr, 1, integer_category},
    {"undefined", "Undefined", "UndefinedTensor", "void", nullptr, 0, bool_category},
};
static_assert(std::size(table) == dtype_count + 1);

Dtype default_dtype_ = Dtype::f32;

}  // namespace

const DtypeInfo& info(Dtype d) { return table[int(d)]; }

Dtype promote(Dtype a, Dtype b) {
  if (a == b) return a;
  if (is_quantized(a) || is_quantized(b))
    throw runtime_error(
        "promoteTypes with quantized numbers is not handled yet; figure out what the correct rules should "
        "be, "
        "offending types: ",
        info(a).scalar_name, " ", info(b).scalar_name);
  if (is_float8(a) || is_float8(b))
    throw runtime_error("Promotion for Float8 Types is not supported, attempted to promote ",
                        info(a).scalar_name, " and ", info(b).scalar_name);
  if (is_wide_unsigned(a) || is_wide_unsigned(b)) {
    if (is_float(a)) return a;
    if (is_float(b)) return b;
    throw runtime_error("Promotion for uint16, uint32, uint64 types is not supported, attempted to promote ",
                        info(a).scalar_name, " and ", info(b).scalar_name);
  }
  if (a == Dtype::c32 || b == Dtype::c32) {
    const Dtype other = a == Dtype::c32 ? b : a;
    if (is_complex(other)) return other;
    return other == Dtype::f64                           ? Dtype::c128
           : other == Dtype::f32 || other == Dtype::bf16 ? Dtype::c64
                                                         : Dtype::c32;
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
  if (is_any_float(from) && is_integral(to)) return false;
  return to != Dtype::boolean || from == Dtype::boolean;
}

Dtype real_of(Dtype d) {
  return d == Dtype::c64 ? Dtype::f32 : d == Dtype::c128 ? Dtype::f64 : d == Dtype::c32 ? Dtype::f16 : d;
}
Dtype complex_of(Dtype d) {
  if (is_float8(d)) throw runtime_error("Unknown Complex ScalarType for ", info(d).scalar_name);
  if (d == Dtype::f16 || d == Dtype::c32) return Dtype::c32;
  return d == Dtype::f64 || d == Dtype::c128 ? Dtype::c128 : Dtype::c64;
}

void check_storable(Dtype d) {
  if (d == Dtype::qu4x2 || d == Dtype::qu2x4)
    throw not_implemented("tensors of ", info(d).name, ", whose elements share bytes, are not implemented");
  if (is_quantized(d))
    throw not_implemented("a tensor of ", info(d).name, " needs a scale: quantize_per_tensor() and ",
                          "quantize_per_channel() make such tensors");
}

Dtype default_dtype() { return default_dtype_; }
void set_default_dtype(Dtype d) {
  if (is_float8(d)) throw type_error("couldn't find storage object ", info(d).scalar_name, "Storage");
  if (!is_float(d)) throw type_error("only floating-point types are supported as the default type");
  default_dtype_ = d;
}

void throw_unsupported(const char* kernel, Dtype d) {
  throw not_implemented('"', kernel, "\" not implemented for '", info(d).scalar_name, "'");
}

}  // namespace rushlight

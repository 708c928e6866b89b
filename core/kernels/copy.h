// Copying and filling of tensors of any dtype and layout, and the row conversions that other kernels share.
#pragma once
#include "op/value.h"

namespace rushlight {

// dst[...] = src, broadcast and converted. The two may be the same memory in the same layout, but not overlap otherwise.
void copy(const Tensor& dst, const Tensor& src);
// dst[...] = number
void fill(const Tensor& dst, const Value& number);

// Converts n contiguous elements. Never null for two dtypes that have storage.
using ConvertRow = void (*)(char* to, const char* from, int64_t n);
ConvertRow convert_row(Dtype from, Dtype to);

// The number as an element of dtype d, with conversion as by convert<>.
void write_number(char* to, Dtype d, const Value& number);
// n copies of one element
void fill_row(char* to, const char* element, size_t itemsize, int64_t n);
// strided -> contiguous and back; the stride is in bytes
void gather_row(char* to, const char* from, int64_t stride, size_t itemsize, int64_t n);
void scatter_row(char* to, int64_t stride, const char* from, size_t itemsize, int64_t n);

}  // namespace rushlight

// Matrix product C (+)= A * B on raw pointers. Any element strides on A and B, also 0 (broadcast) or
// negative; rows of C are contiguous. Results do not depend on the number of threads, nor on AVX2 against
// AVX-512: see Note [Order of summation] in gemm_core.h.
#pragma once

#include <cstdint>

namespace rushlight::cpu {

// bf16 and f16 are accumulated in float and rounded once; integers wrap around in their own type.
enum class Kind { f32, f64, bf16, f16, c64, c128, i8, i16, i32, i64, u8 };

// Strides count elements. A is (m, k), B is (k, n), C is (m, n) with column stride 1 and must not overlap A
// or B. With `accumulate` the product is added to what C holds. k == 0 gives zeros (or leaves C as it is).
void gemm(Kind kind, int64_t m, int64_t n, int64_t k,                 //
          const void* a, int64_t a_row_stride, int64_t a_col_stride,  //
          const void* b, int64_t b_row_stride, int64_t b_col_stride,  //
          void* c, int64_t c_row_stride, bool accumulate = false);

// The same for `batch` products whose operands lie a fixed number of elements apart (0 repeats one).
void gemm_batched(Kind kind, int64_t batch, int64_t m, int64_t n, int64_t k,                          //
                  const void* a, int64_t a_batch_stride, int64_t a_row_stride, int64_t a_col_stride,  //
                  const void* b, int64_t b_batch_stride, int64_t b_row_stride, int64_t b_col_stride,  //
                  void* c, int64_t c_batch_stride, int64_t c_row_stride, bool accumulate = false);

// How many bfloat16 parts of each number float32 products take to the matrix unit, where the machine has one: 3 (as accurate
// as float32), 2 or 1; see Note [Split products] in split_products.h. With 0 they stay with the fused
// multiply-adds, whose bits are the same on every machine.
int float32_parts();
void set_float32_parts(int count);

// Sum of a[i] * b[i], in a fixed number of lanes over fixed-size chunks combined in order.
float dot_f32(int64_t n, const float* a, int64_t a_stride, const float* b, int64_t b_stride);
double dot_f64(int64_t n, const double* a, int64_t a_stride, const double* b, int64_t b_stride);

}  // namespace rushlight::cpu

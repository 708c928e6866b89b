// The arguments of one matrix product, as gemm.cpp hands them to the code of an instruction set.
#pragma once

#include <cstdint>

namespace rushlight::cpu {

struct Product {
  int64_t m, n, k;
  const void* a;
  int64_t a_row, a_col;
  const void* b;
  int64_t b_row, b_col;
  void* c;
  int64_t c_row;
  bool add;
};

// The kernel of multiply-adds, for what kernels on the matrix unit leave to it.
namespace v4 {
void gemm_f32(const Product&);
}

}  // namespace rushlight::cpu

// The two arithmetic kernels inside uniform and normal: a fused multiply-add over an array, and the
// Box-Muller transform of blocks of 16 uniforms. Compiled for several instruction sets with the same bits.
#pragma once

#include <cstddef>

namespace rushlight::random_detail {

void scale_add(float* values, size_t count, float factor, float summand);  // fma(value, factor, summand)
void scale_add(double* values, size_t count, double factor, double summand);

// Each block: the first 8 uniforms give radii, the last 8 angles; 16 normals replace them.
void normal_blocks(float* values, size_t blocks, float mean, float std);
void normal_blocks(double* values, size_t blocks, double mean, double std);

}  // namespace rushlight::random_detail

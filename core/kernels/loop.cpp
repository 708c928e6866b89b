// Loop's preparation: broadcasting, ordering and merging of dimensions.
#include "kernels/loop.h"

namespace rushlight {

Loop::Loop(IntSpan shape) : ndim(shape.size()) {
  for (int d = 0; d < ndim; ++d) {
    sizes[d] = shape[ndim - 1 - d];
    numel *= sizes[d];
  }
}

int Loop::add(char* data, IntSpan operand_sizes, IntSpan operand_strides, int64_t itemsize) {
  int k = nops++, n = operand_sizes.size();
  base[k] = data;
  for (int d = 0; d < ndim; ++d) {
    int from = n - 1 - d;
    strides[k][d] = from < 0 || operand_sizes[from] == 1 ? 0 : operand_strides[from] * itemsize;
  }
  return k;
}

void Loop::finish() {
  // drop
  int n = 0;
  for (int d = 0; d < ndim; ++d) {
    if (sizes[d] == 1) continue;
    if (n != d) {
      sizes[n] = sizes[d];
      for (int k = 0; k < nops; ++k) strides[k][n] = strides[k][d];
    }
    ++n;
  }
  // sort: the first operand that distinguishes two dimensions decides; a broadcast dimension says nothing
  auto outer_first = [&](int inner, int outer) {
    for (int k = 0; k < nops; ++k) {
      int64_t a = std::abs(strides[k][inner]), b = std::abs(strides[k][outer]);
      if (a == 0 || b == 0 || a == b) continue;
      return a > b;
    }
    return false;
  };
  for (int i = 1; i < n; ++i)
    for (int j = i; j > 0 && outer_first(j - 1, j); --j) {
      std::swap(sizes[j - 1], sizes[j]);
      for (int k = 0; k < nops; ++k) std::swap(strides[k][j - 1], strides[k][j]);
    }
  // merge
  int kept = 0;
  for (int d = 1; d < n; ++d) {
    bool joins = true;
    for (int k = 0; k < nops; ++k) joins &= strides[k][d] == strides[k][kept] * sizes[kept];
    if (joins) {
      sizes[kept] *= sizes[d];
    } else {
      ++kept;
      sizes[kept] = sizes[d];
      for (int k = 0; k < nops; ++k) strides[k][kept] = strides[k][d];
    }
  }
  ndim = n ? kept + 1 : 1;
  if (n == 0) {  // a single element: one row of one
    sizes[0] = 1;
    for (int k = 0; k < nops; ++k) strides[k][0] = 0;
  }
  // nothing to visit, but positions are still divided by the sizes
  if (numel == 0)
    for (int d = 0; d < ndim; ++d) sizes[d] = std::max<int64_t>(sizes[d], 1);
}

bool Loop::contiguous(int operand, int64_t itemsize) const {
  int64_t expected = itemsize;
  for (int d = 0; d < ndim; ++d) {
    if (sizes[d] != 1 && strides[operand][d] != expected) return false;
    expected *= sizes[d];
  }
  return true;
}

}  // namespace rushlight

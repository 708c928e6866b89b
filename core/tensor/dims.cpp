// Arithmetic on sizes and strides: contiguity, density, broadcasting, dimension wrapping.
#include "tensor/dims.h"

#include "tensor/error.h"

namespace rushlight {

std::string show(std::span<const int64_t> sizes) {
  std::string s = "[";
  for (size_t i = 0; i < sizes.size(); ++i) s += (i ? ", " : "") + std::to_string(sizes[i]);
  return s + "]";
}

Dims contiguous_strides(IntSpan sizes) {
  Dims st(sizes.size());
  int64_t n = 1;
  for (size_t d = sizes.size(); d-- > 0;) {
    st[d] = n;
    // The product of all sizes was checked against overflow; empty dimensions count as one here.
    if (__builtin_mul_overflow(n, std::max<int64_t>(sizes[d], 1), &n))
      throw runtime_error("Stride calculation overflowed");
  }
  return st;
}

int64_t count(IntSpan sizes) {
  int64_t n = 1;
  bool unusual = false;
  for (auto s : sizes) unusual |= (s <= 0) | __builtin_mul_overflow(n, s, &n);
  if (!unusual) [[likely]]
    return n;
  n = 1;
  bool empty = false, overflow = false;
  for (auto s : sizes) {
    if (s < 0) throw runtime_error("Trying to create tensor with negative dimension ", s, ": ", show(sizes));
    if (s == 0) empty = true;
    else overflow |= __builtin_mul_overflow(n, s, &n);
  }
  if (empty) return 0;
  if (overflow) throw runtime_error("numel: integer multiplication overflow for sizes ", show(sizes));
  return n;
}

Dims broadcast(IntSpan a, IntSpan b) {
  size_t n = std::max(a.size(), b.size());
  Dims out(n);
  for (size_t i = 0; i < n; ++i) {  // from the right
    int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1, y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1)
      throw runtime_error("The size of tensor a (", x, ") must match the size of tensor b (", y,
                          ") at non-singleton dimension ", n - 1 - i);
    out[n - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

bool is_contiguous(IntSpan sizes, IntSpan strides) {
  int64_t expected = 1;
  for (auto s : sizes)
    if (s == 0) return true;
  for (size_t d = sizes.size(); d-- > 0;) {
    if (sizes[d] == 1) continue;
    if (strides[d] != expected) return false;
    expected *= sizes[d];
  }
  return true;
}

// Dimensions with more than one element, smallest stride first.
static Dims by_stride(IntSpan sizes, IntSpan strides) {
  Dims order;
  for (size_t d = 0; d < sizes.size(); ++d)
    if (sizes[d] != 1) order.push_back(d);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return strides[a] < strides[b]; });
  return order;
}

bool is_dense(IntSpan sizes, IntSpan strides) {
  for (auto s : sizes)
    if (s == 0) return true;
  int64_t expected = 1;
  for (auto d : by_stride(sizes, strides)) {
    if (strides[d] != expected) return false;
    expected *= sizes[d];
  }
  return true;
}

bool overlaps_itself(IntSpan sizes, IntSpan strides) {
  for (auto s : sizes)
    if (s == 0) return false;
  int64_t reach = 0;  // last element that the faster dimensions touch
  for (auto d : by_stride(sizes, strides)) {
    if (strides[d] <= reach) return true;
    reach += (sizes[d] - 1) * strides[d];
  }
  return false;
}

int64_t wrap_dim(int64_t dim, int64_t ndim) {
  int64_t n = ndim ? ndim : 1;
  if (dim < -n || dim >= n)
    throw index_error("Dimension out of range (expected to be in range of [", -n, ", ", n - 1, "], but got ",
                      dim, ")");
  return dim < 0 ? dim + n : dim;
}

}  // namespace rushlight

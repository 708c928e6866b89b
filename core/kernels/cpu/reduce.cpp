// Planning of reductions: which dimensions are merged, and when a copy is worth its cost.
#include "kernels/reduce.h"

namespace rushlight {

namespace {
// Merges neighbours of a list of dimensions (outer to inner) where strides allow it; sizes of one disappear.
void merge(Dims& sizes, Dims& strides) {
  size_t n = 0;
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 1) continue;
    if (n && strides[n - 1] == strides[d] * sizes[d]) sizes[n - 1] *= sizes[d], strides[n - 1] = strides[d];
    else sizes[n] = sizes[d], strides[n] = strides[d], ++n;
  }
  sizes.resize(n);
  strides.resize(n);
}
}  // namespace

ReducePlan plan_reduction(const Tensor& in, const Dims& dims, bool rows_only) {
  ReducePlan p;
  if (in.contiguous() && dims.size() == size_t(in.ndim())) {  // everything: one row
    p.reduced = in.numel();
    p.data = in.raw();
    return p;
  }
  if (in.contiguous() && dims.size() == 1 && in.numel()) {  // one dimension: rows, or columns side by side
    int64_t outer = 1, inner = 1;
    for (int64_t d = 0; d < dims[0]; ++d) outer *= in.size(d);
    for (int64_t d = dims[0] + 1; d < in.ndim(); ++d) inner *= in.size(d);
    const int64_t n = in.size(dims[0]);
    if (n > 1 && (inner == 1 || !rows_only)) {
      p.kept = outer * inner;
      p.reduced = n;
      p.stride = p.inner = inner;
      p.data = in.raw();
      if (outer > 1) p.kept_sizes.push_back(outer), p.kept_strides.push_back(n * inner);
      if (inner > 1) p.kept_sizes.push_back(inner), p.kept_strides.push_back(1);
      return p;
    }
  }
  Dims reduced_sizes, reduced_strides;
  auto is_reduced = [&](int64_t d) { return std::find(dims.begin(), dims.end(), d) != dims.end(); };
  for (int64_t d = 0; d < in.ndim(); ++d) {
    if (is_reduced(d)) reduced_sizes.push_back(in.size(d)), reduced_strides.push_back(in.stride(d));
    else p.kept_sizes.push_back(in.size(d)), p.kept_strides.push_back(in.stride(d));
  }
  p.kept = count(p.kept_sizes);
  p.reduced = count(reduced_sizes);
  p.data = in.raw();
  if (!p.kept || !p.reduced) return p;
  merge(reduced_sizes, reduced_strides);
  Dims sizes = p.kept_sizes, strides = p.kept_strides;
  merge(sizes, strides);
  if (reduced_sizes.size() <= 1) {
    p.stride = reduced_sizes.empty() ? 1 : reduced_strides[0];
    bool rows = p.stride == 1 || p.reduced == 1;
    bool columns = !rows_only && !sizes.empty() && strides.back() == 1 && p.stride >= sizes.back();
    if (rows || columns) {
      p.kept_sizes = sizes;
      p.kept_strides = strides;
      p.inner = rows || sizes.empty() ? 1 : sizes.back();
      return p;
    }
  }
  // Any other layout: one copy into rows.
  Dims order_sizes, order_strides;
  for (int64_t d = 0; d < in.ndim(); ++d)
    if (!is_reduced(d)) order_sizes.push_back(in.size(d)), order_strides.push_back(in.stride(d));
  for (int64_t d = 0; d < in.ndim(); ++d)
    if (is_reduced(d)) order_sizes.push_back(in.size(d)), order_strides.push_back(in.stride(d));
  Tensor permuted = alias(in, order_sizes, order_strides, in.offset());
  p.owned = empty(order_sizes, in.dtype());
  copy(p.owned, permuted);
  p.data = p.owned.raw();
  p.kept_sizes = Dims{p.kept};
  p.kept_strides = Dims{p.reduced};
  p.stride = 1;
  p.inner = 1;
  return p;
}

}  // namespace rushlight

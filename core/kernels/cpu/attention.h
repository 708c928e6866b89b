// Scaled dot-product attention of (batch, heads, length, size) arrays, block by block: the scores of a few queries and a few
// hundred keys exist at a time, never all of them. T is float or double. Results do not depend on threads or on the instruction set.
#pragma once

#include <cstdint>

namespace rushlight::cpu {

// Where the rows of an array begin, in elements; their columns lie side by side.
struct RowStrides {
  int64_t batch, head, row;
};

struct AttentionShape {
  int64_t batch, heads, queries, keys, size, value_size;
  RowStrides q, k, v, out;
  int64_t mask_stride[4];
  const void* mask;  // T (added to the scores) or bool (false hides a key); may be null
  bool bool_mask, causal;
  double scale;
};

// logsumexp (batch, heads, queries) is contiguous. A query that sees no key gets zeros.
template <class T>
void attention(const AttentionShape& s, const T* q, const T* k, const T* v, T* out, T* logsumexp);

// Where the rows of the output's gradient and of the others lie.
struct GradientStrides {
  RowStrides g, q, k, v;
};
template <class T>
void attention_backward(const AttentionShape& s, const GradientStrides& by, const T* g, const T* q,
                        const T* k, const T* v, const T* out, const T* logsumexp, T* gq, T* gk, T* gv);

}  // namespace rushlight::cpu

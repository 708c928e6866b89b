// Scaled dot-product attention of (batch, heads, length, size) arrays, block of queries by block of queries: the scores of one block
// exist at a time, never all of them. T is float or double. Results do not depend on threads or on the instruction set.
#pragma once

#include <cstdint>

namespace rushlight::cpu {

// Strides count elements: batch, head, row, column.
struct AttentionShape {
  int64_t batch, heads, queries, keys, size, value_size;
  int64_t q[4], k[4], v[4], mask_stride[4];
  const void* mask;  // T (added to the scores) or bool (false hides a key); may be null
  bool bool_mask, causal;
  double scale;
};

// out (batch, heads, queries, value_size) and logsumexp (batch, heads, queries) are contiguous. A query that sees no key gets zeros.
template <class T>
void attention(const AttentionShape& s, const T* q, const T* k, const T* v, T* out, T* logsumexp);
// g and out are contiguous, and so are the gradients gq, gk, gv.
template <class T>
void attention_backward(const AttentionShape& s, const T* g, const T* q, const T* k, const T* v, const T* out,
                        const T* logsumexp, T* gq, T* gk, T* gv);

}  // namespace rushlight::cpu

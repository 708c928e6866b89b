// One piece of attention's work, as attention.cpp hands it to the code of an instruction set.
#pragma once

#include "attention.h"

namespace rushlight::cpu {

// Queries [begin, end) of one head. q, k, v and mask point to the head's first rows.
template <class T>
struct AttentionPiece {
  const AttentionShape& s;
  int64_t begin, end;
  const T *q, *k, *v;
  const char* mask;
};

// `out` points to the head's first row; top and total get, per query of the piece, the largest score and the sum of
// exp(score - largest).
template <class T>
struct AttentionResult {
  T *out, *top, *total;
};

// All pointers are to the head's first rows.
template <class T>
struct AttentionGradient {
  const T *g, *out, *logsumexp;
  T *gq, *gk, *gv;
  GradientStrides by;
};

}  // namespace rushlight::cpu

// Which part of a plane a pooling window covers. Internal linkage: the header is part of files built for several
// instruction sets.
#pragma once

#include "pool.h"

namespace rushlight::cpu {
namespace {

// Part of one axis: begin, begin + step, ... below end; `size` is what a mean divides by along this axis.
struct Window {
  int64_t begin, end, size;
};

[[maybe_unused]] Window sliding(int64_t out, int64_t in, int64_t kernel, int64_t stride, int64_t pad,
                                int64_t dilation, bool count_include_pad) {
  const int64_t start = out * stride - pad, reach = start + (kernel - 1) * dilation + 1;
  const int64_t stop = reach < in + pad ? reach : in + pad;
  int64_t begin = start;
  if (begin < 0) begin += (-begin + dilation - 1) / dilation * dilation;  // first tap inside
  const int64_t end = stop < in ? stop : in;
  return {begin, end, count_include_pad ? stop - start : end - begin};
}

}  // namespace
}  // namespace rushlight::cpu

// Images as the matrix unit reads them. Include only from conv_split*.amx.cpp.
//
// Note [Split planes]
// The planes of Note [Padded planes], of which each entry is a word that holds the same place of two channels as bfloat16,
// three times over: all high parts, all middle parts, all low ones. So 16 pairs of channels at 16 positions are a right tile
// in place, whichever tap reads it: its rows lie one plane apart. A step takes `chunk` pairs, of channels `chunk` apart.
#pragma once

#include "../parallel.h"
#include "conv_axes.h"
#include "gemm_scratch.h"
#include "split_products.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// Where the channels of a source lie that is read as planes; a virtual channel is one channel seen from one row of taps.
struct Image {
  int64_t channels, h, w;
  int64_t rows = 1, dilation = 0;  // of taps that make virtual channels
};

struct SplitPlanes {
  Axis y, x;
  int64_t channels, chunks, chunk, spacing,
      part;  // the last two in words: from pair to pair, from part to part

  SplitPlanes(const Image& image, const Axis& of_y, const Axis& of_x)
      : y(of_y), x(of_x), channels(image.channels * image.rows) {
    const int64_t pairs = ceil_div(channels, 2);
    chunks = ceil_div(pairs, tile_edge);
    chunk = ceil_div(pairs, chunks);
    spacing = (ceil_div(plane_size(y, x), 16) | 1) * 16;  // rows of a tile in different sets of the cache
    part = chunks * chunk * spacing;
  }
  int64_t bytes() const { return (parts * part + 2 * tile_edge) * 4; }
};

// Element i of the lanes chosen: from[i * distance].
RL_INLINE Vec<float> gather(const float* from, int64_t distance, __mmask16 lanes) {
  typedef int Index __attribute__((vector_size(64)));
  const Index at = Index{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} * static_cast<int>(distance);
  return (Vec<float>)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, (__m512i)at, from, 4);
}

RL_INLINE __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
}

// Every step-th of the first numbers of a row, 16 at most; a null row is zero.
template <int step>
RL_INLINE Vec<float> take(const float* from, int64_t count, int64_t distance) {
  if (step == 1) return (Vec<float>)_mm512_maskz_loadu_ps(first_lanes(count), from);
  if (step == 2) {
    const auto a = (Vec<float>)_mm512_maskz_loadu_ps(first_lanes(2 * count - 1), from);
    const auto b = (Vec<float>)_mm512_maskz_loadu_ps(first_lanes(2 * count - 17), from + 16);
    return every_second<0, float>(a, b);
  }
  return gather(from, distance, first_lanes(count));
}

// `count` words of two rows, either of which may be null. What lies `ahead`, the rows of the next pair, moves closer.
template <int step>
RL_INLINE void split_row(const float* a, const float* b, int64_t count, int64_t distance, int64_t ahead,
                         uint32_t* out, int64_t part, Seen& seen) {
  for (int64_t q = 0; q < count; q += 16) {
    Vec<float> taken[2];
    const float* rows[] = {a, b};
    for (int k = 0; k < 2; k++) {
      taken[k] = Vec<float>{};
      if (!rows[k]) continue;
      const float* from = rows[k] + q * distance;
      __builtin_prefetch(from + ahead);
      if (step == 2) __builtin_prefetch(from + ahead + 16);
      taken[k] = take<step>(from, count - q, distance);
      seen.see(taken[k]);
    }
    Words words[parts];
    split(taken[0], taken[1], words);
    for (int p = 0; p < parts; p++)
      _mm512_mask_storeu_epi32(out + p * part + q, first_lanes(count - q), (__m512i)words[p]);
  }
}

[[maybe_unused]] void zero_words(uint32_t* out, int64_t count, int64_t part) {
  for (int p = 0; p < parts; p++)
    for (int64_t q = 0; q < count; q += 16)
      _mm512_mask_storeu_epi32(out + p * part + q, first_lanes(count - q), (__m512i)Words{});
}

// Fills the planes of one pair of channels, from row `first` of results on.
[[maybe_unused]] void split_pair(const Image& image, const float* source, const SplitPlanes& to,
                                 int64_t first, int64_t pair, uint32_t* out, Seen& seen) {
  const Axis y = to.y, x = to.x;  // copies: stores of vectors might change what a reference names
  const int64_t part = to.part, h = image.h, w = image.w;
  const int64_t of_pair = pair / to.chunk * 2 * to.chunk + pair % to.chunk;
  const int64_t channel[] = {of_pair, of_pair + to.chunk};
  each_phase(y, x, [&](int64_t ry, int64_t rx, int64_t offset) {
    uint32_t* row = out + pair * to.spacing + offset;
    const auto [left, right] = inside(x, rx, w);
    const int64_t column = left * x.stride + rx - x.before;  // of the first entry inside
    for (int64_t q = 0; q < y.length; q++, row += x.length) {
      const float* line[2];
      for (int k = 0; k < 2; k++) {
        const int64_t at = (first + q) * y.stride + ry - y.before + channel[k] % image.rows * image.dilation;
        line[k] = channel[k] < to.channels && at >= 0 && at < h
                      ? source + (channel[k] / image.rows * h + at) * w + column
                      : nullptr;
      }
      if (!line[0] && !line[1]) {
        zero_words(row, x.length, part);
        continue;
      }
      zero_words(row, left, part);
      if (x.stride == 1) split_row<1>(line[0], line[1], right - left, 1, h * w, row + left, part, seen);
      else if (x.stride == 2) split_row<2>(line[0], line[1], right - left, 2, h * w, row + left, part, seen);
      else split_row<0>(line[0], line[1], right - left, x.stride, h * w, row + left, part, seen);
      zero_words(row + right, x.length - right, part);
    }
  });
}

// All of them, and the range of the numbers of each pair.
[[maybe_unused]] void split_image(const Image& image, const float* source, const SplitPlanes& to,
                                  int64_t first, uint32_t* out, Range* ranges) {
  parallel_for(to.chunks * to.chunk, most(1, 16384 / to.spacing), [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin; pair < end; pair++) {
      Seen seen;
      split_pair(image, source, to, first, pair, out, seen);
      ranges[pair] = seen.range();
    }
  });
}

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

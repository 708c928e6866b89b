// What the convolutions share: image planes copied with their padding, so that every tap of the kernel is a
// plain offset, and the loop that correlates such planes with packed weights. Include only from
// conv*.isa.cpp.
//
// Note [Padded planes]
// A plane is copied once, with zeros around it, and for a stride s split into s x s phases (phase p holds
// every s-th row or column from p on). Output position (oy, ox) is then the single number oy * pitch + ox,
// and tap (i, j) of channel c reads at that position plus a constant. Rows of B need no packing: the register
// tile loads them in place, unaligned. Positions with ox >= the output's width are computed too and thrown
// away.
#pragma once

#include "../parallel.h"
#include "conv_axes.h"
#include "gemm_core.h"
#include "gemm_scratch.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// Elements to allocate for `channels` planes: the tile may read a whole vector row beyond the last position.
template <class T>
int64_t planes_room(int64_t channels, const Axis& y, const Axis& x) {
  return channels * plane_size(y, x) + tile_columns<T>;
}

// to[i] = f(from[i]), vector by vector: rows are short.
template <class T, class F>
RL_INLINE void each_vector(const T* from, int64_t n, T* to, F f) {
  constexpr int w = width<T>;
  int64_t i = 0;
  for (; i + w <= n; i += w) store(to + i, f(load(from + i)));
  const int rest = static_cast<int>(n - i);
  if (rest > 0) store_tail(to + i, f(load_tail(from + i, rest)), rest);
}

// to[i] = from[2 * i]
template <class T>
RL_INLINE void take_every_second(const T* from, int64_t n, T* to) {
  constexpr int w = width<T>;
  int64_t i = 0;
  for (; i + w < n; i += w) store(to + i, every_second<0, T>(load(from + 2 * i), load(from + 2 * i + w)));
  const int rest = static_cast<int>(n - i);
  if (rest <= 0) return;
  const int numbers = 2 * rest - 1;  // the last one taken may be the last there is
  const Vec<T> a = numbers < w ? load_tail(from + 2 * i, numbers) : load(from + 2 * i);
  const Vec<T> b = numbers <= w ? Vec<T>{} : load_tail(from + 2 * i + w, numbers - w);
  store_tail(to + i, every_second<0, T>(a, b), rest);
}

// to[2 * i] = from[i]
template <class T>
RL_INLINE void put_every_second(const T* from, int64_t n, T* to) {
  constexpr int w = width<T>;
  int64_t i = 0;
  for (; i + w < n; i += w) {
    const Vec<T> v = load(from + i), a = load(to + 2 * i), b = load(to + 2 * i + w);
    store(to + 2 * i, interleaved<0, T>(v, every_second<1, T>(a, b)));
    store(to + 2 * i + w, interleaved<1, T>(v, every_second<1, T>(a, b)));
  }
  for (; i < n; i++) to[2 * i] = from[i];
}

// Copies channels of h x w into padded planes. Zeros are already around them where planes of this shape were filled
// there before (`again`).
template <class T>
void fill_planes(const T* source, int64_t channels, int64_t h, int64_t w, const Axis& of_y, const Axis& of_x,
                 T* out, bool again = false) {
  const Axis y = of_y, x = of_x;  // copies: stores of vectors might change what a reference names
  const int64_t size = plane_size(y, x);
  if (!again)
    for (int i = 0; i < tile_columns<T>; i++) out[channels * size + i] = 0;
  parallel_for(channels, 16384 / most(1, size), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++)
      each_phase(y, x, [&](int64_t ry, int64_t rx, int64_t offset) {
        T* phase = out + c * size + offset;
        const auto [top, bottom] = inside(y, ry, h);
        const auto [left, right] = inside(x, rx, w);
        const T* from = source + (c * h + top * y.stride + ry - y.before) * w + left * x.stride + rx -
                        x.before;
        T* row = phase + top * x.length;
        if (!again) {
          __builtin_memset(phase, 0, sizeof(T) * top * x.length);
          __builtin_memset(phase + bottom * x.length, 0, sizeof(T) * (y.length - bottom) * x.length);
        }
        for (int64_t q = top; q < bottom; q++, row += x.length, from += y.stride * w) {
          if (!again) {
            for (int64_t i = 0; i < left; i++) row[i] = 0;
            for (int64_t i = right; i < x.length; i++) row[i] = 0;
          }
          if (x.stride == 1) each_vector<T>(from, right - left, row + left, [](Vec<T> v) { return v; });
          else if (x.stride == 2) take_every_second<T>(from, right - left, row + left);
          else
            for (int64_t i = left; i < right; i++) row[i] = from[(i - left) * x.stride];
        }
      });
  });
}

// Weights for m outputs over k terms, and where each term reads. Packed: k-block by k-block, each as pack_a
// leaves it; else m rows.
template <class T>
struct Taps {
  int64_t m, k;
  const T* weight;
  const int64_t* offset;
  bool packed;
};

template <class T>
void pack_taps(const T* weight, int64_t row_stride, int64_t m, int64_t k, T* packed) {
  parallel_for(ceil_div(k, k_block), most(1, 16384 / (m * k_block)), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin * k_block; p < least(k, end * k_block); p += k_block)
      pack_a(weight + p, row_stride, 1, m, least(k_block, k - p), rows_per_tile(m, tile_rows),
             packed + p * m);
  });
}

// Where the results go: element (channel, row, column) at base + channel * channel_stride + ...
template <class T>
struct Destination {
  T* base;
  int64_t channel_stride, row_stride, column_stride;
  const T* bias;  // one per channel, or null
};

// Brings sums[i * line + q], of channels [first, last) at `count` positions from `start` on, to where they belong, row by row,
// leaving out the gaps.
template <class T>
void put_positions(const T* sums, int64_t line, int64_t first, int64_t last, int64_t start, int64_t count,
                   int64_t pitch, int64_t columns, const Destination<T>& to) {
  for (int64_t position = start; position < start + count;) {
    const int64_t row = position / pitch, column = position % pitch;
    const int64_t run = least(start + count - position, pitch - column), valid = least(run, columns - column);
    for (int64_t i = first; i < last && valid > 0; i++) {
      const T* from = sums + i * line + (position - start);
      T* out = to.base + i * to.channel_stride + row * to.row_stride + column * to.column_stride;
      const T add = to.bias ? to.bias[i] : T(0);
      if (to.column_stride == 2) put_every_second<T>(from, valid, out);
      else if (to.column_stride != 1)
        for (int64_t q = 0; q < valid; q++) out[q * to.column_stride] = from[q];
      else if (to.bias) each_vector<T>(from, valid, out, [add](Vec<T> v) { return v + splat(add); });
      else each_vector<T>(from, valid, out, [](Vec<T> v) { return v; });
    }
    position += run;
  }
}

// Correlates padded planes with the taps over an output grid of rows x columns, whose rows lie `pitch` apart.
template <class T>
void correlate(const Taps<T>& taps, const T* planes, int64_t rows, int64_t columns, int64_t pitch,
               const Destination<T>& to) {
  constexpr int nr = tile_columns<T>;
  constexpr int64_t group = 4;  // panels of nr positions that go through a k-block together
  const int64_t positions = (rows - 1) * pitch + columns, panels = ceil_div(positions, nr);
  const int tile = rows_per_tile(taps.m, tile_rows);
  // Few positions: several jobs share a group of panels, each with its part of the channels.
  const int64_t groups = ceil_div(panels, group), tiles = ceil_div(taps.m, tile);
  const int64_t parts = in_parallel() ? 1 : least(tiles, ceil_div(2 * num_threads(), groups));
  const int64_t jobs = groups * parts;
  // Where the result at a position goes, in its channel; gaps go to the end of their row.
  constexpr int64_t line = 64 / sizeof(T);
  const auto place = [&](int64_t position) {
    return position / pitch * to.row_stride + least(position % pitch, columns - 1) * to.column_stride;
  };
  const double job_work = 2.0 * static_cast<double>(taps.m) * taps.k * nr * group /
                          static_cast<double>(parts);
  parallel_for(jobs, most(1, static_cast<int64_t>(2.5e5 / job_work)), [&](int64_t begin, int64_t end) {
    Scratch scratch(Use::panel_c, sizeof(T) * taps.m * group * nr);
    T* sums = scratch.as<T>();
    for (int64_t job = begin; job < end; job++) {
      const int64_t start = job / parts * group * nr, count = least(group * nr, positions - start);
      const int64_t first = tiles * (job % parts) / parts * tile;
      const int64_t last = least(taps.m, tiles * (job % parts + 1) / parts * tile);
      for (int64_t p = 0; p < taps.k; p += k_block) {
        const int64_t depth = least(k_block, taps.k - p);
        TileArgs<T> t{
            depth, nullptr, taps.packed ? 0 : taps.k, 1, nullptr, 0, taps.offset + p, nullptr, group * nr,
            0,     p > 0};
        const bool done = p + depth == taps.k;
        for (int64_t q = 0; q < count; q += nr) {
          t.b = planes + start + q;
          t.columns = static_cast<int>(ceil_div(least(nr, count - q), width<T>)) * width<T>;
          const int64_t begin = place(start + q), end = place(start + least(count, q + nr) - 1) + 1;
          for (int64_t i = first; i < last; i += tile) {
            if (done)  // the results' places, on their way into the cache while the tile runs
              for (int64_t r = i; r < least(last, i + tile); r++)
                for (int64_t at = begin; at < end; at += line)
                  __builtin_prefetch(to.base + r * to.channel_stride + at, 1);
            t.a = taps.weight + (taps.packed ? p * taps.m + i * depth : i * taps.k + p);
            t.c = sums + i * group * nr + q;
            tile_offsets(static_cast<int>(least(tile, taps.m - i)), t);
          }
        }
      }
      put_positions(sums, group * nr, first, last, start, count, pitch, columns, to);
    }
  });
}

// Runs f(item) for all items: in parallel over them when there are enough, else one after another with the
// parallelism left to f. The results are the same.
template <class F>
void over_items(int64_t items, double work, F&& f) {
  if (items >= 2 * num_threads() || work < 5e5)
    parallel_for(items, most(1, least(items, static_cast<int64_t>(2.5e5 / (work + 1)))),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; i++) f(i);
                 });
  else
    for (int64_t i = 0; i < items; i++) f(i);
}

// A 1x1 kernel that reads every element once: a matrix product on the planes as they are.
[[maybe_unused]] bool pointwise(const Conv2dShape& s) {
  return s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 && s.pad_w == 0 &&
         s.h == s.hout && s.w == s.wout;
}

[[maybe_unused]] double work_per_item(const Conv2dShape& s) {
  return 2.0 * static_cast<double>(s.cout / s.groups) * (s.cin / s.groups) * s.kh * s.kw * s.hout * s.wout;
}

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

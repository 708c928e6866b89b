// The gradient of a convolution for its weight by Winograd's algorithm, the transpose of what conv_winograd.isa.cpp
// computes: with e the 2 x 2 gradients of a tile's outputs and d its patch, the tiles' sum of
//     G' ((A e A') * (B' d B)) G
// for each output and input channel. The 16 places are 16 matrix products over the tiles.
//
// The tiles are gone through in blocks. For each block the transformed patches and gradients are written down, with
// the channels next to each other as the register tile reads them, and the products are added to what the blocks
// before have given. The size of the blocks follows from the shape alone, and each product is summed by one thread:
// results do not depend on the number of threads.
#include "../parallel.h"
#include "conv_winograd_tiles.h"
#include "gemm_scratch.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// One row of pixels of `channels` planes with their channels next to each other: out[x * pitch + channel], for the
// columns from x0 on; zero outside of the planes.
void fill_row(const float* planes, int64_t channels, int64_t height, int64_t width, int64_t y, int64_t x0,
              int64_t columns, float* out, int64_t pitch) {
  const bool inside = y >= 0 && y < height;
  const int64_t first = inside ? most(0, least(columns, -x0)) : columns;
  const int64_t last = most(first, least(columns, width - x0));
  for (int64_t i = 0; i < first * pitch; i++) out[i] = 0;
  if (!inside) return;
  transpose_into(planes + y * width + x0 + first, height * width, channels, last - first, out + first * pitch,
                 pitch);
  for (int64_t i = last * pitch; i < columns * pitch; i++) out[i] = 0;
}

// to[u][tile][nr] = B' d B for the nr channels from `channel` on.
void transform_patches(const Conv2dShape& s, const float* x, const Tiles& tiles, int64_t channel,
                       float* lines, float* to, int64_t place) {
  const int64_t channels = least(nr, s.cin - channel), size = s.h * s.w;
  const int64_t line = (2 * least(tiles.count, tiles.columns) + 2) * nr;
  if (channels < nr)
    for (int64_t i = 0; i < 4 * line; i++) lines[i] = 0;
  int64_t held[4] = {-1, -1, -1, -1}, held_column = -1,
          held_number = -1;  // what the lines hold: two rows serve twice
  each_run(tiles, [&](int64_t image, int64_t row, int64_t column, int64_t at, int64_t number) {
    const float* rows[4];
    for (int i = 0; i < 4; i++) {
      const int64_t slot = (2 * row + i) % 4, key = image * (2 * tiles.rows + 2) + 2 * row + i;
      float* out = lines + slot * line;
      rows[i] = out;
      if (held[slot] == key && held_column == column && held_number == number) continue;
      held[slot] = key;
      fill_row(x + (image * s.cin + channel) * size, channels, s.h, s.w, 2 * row + i - s.pad_h,
               2 * column - s.pad_w, 2 * number + 2, out, nr);
    }
    held_column = column;
    held_number = number;
    for (int64_t q = 0; q < number; q++)
      for (int lane = 0; lane < nr; lane += w) {
        V d[4][4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
          const int64_t from = (2 * q + j) * nr + lane;
          const V d0 = load(rows[0] + from), d1 = load(rows[1] + from), d2 = load(rows[2] + from),
                  d3 = load(rows[3] + from);
          d[0][j] = d0 - d2;
          d[1][j] = d1 + d2;
          d[2][j] = d2 - d1;
          d[3][j] = d1 - d3;
        }
        float* out = to + (at + q) * nr + lane;
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++, out += 4 * place) {
          store(out, d[i][0] - d[i][2]);
          store(out + place, d[i][1] + d[i][2]);
          store(out + 2 * place, d[i][2] - d[i][1]);
          store(out + 3 * place, d[i][1] - d[i][3]);
        }
      }
  });
}

// to[u][tile][count] = A e A' for `count` outputs from `output` on.
void transform_gradients(const Conv2dShape& s, const float* gy, const Tiles& tiles, int64_t output,
                         int64_t count, float* lines, float* to, int64_t place) {
  const int64_t size = s.hout * s.wout, line = 2 * least(tiles.count, tiles.columns) * nr;
  for (int64_t i = 0; i < 2 * line; i++)
    lines[i] = 0;  // lanes without an output: denormal numbers would be slow
  each_run(tiles, [&](int64_t image, int64_t row, int64_t column, int64_t at, int64_t number) {
    for (int i = 0; i < 2; i++)
      fill_row(gy + (image * s.cout + output) * size, count, s.hout, s.wout, 2 * row + i, 2 * column,
               2 * number, lines + i * line, nr);
    for (int64_t q = 0; q < number; q++)
      for (int64_t lane = 0; lane < count; lane += w) {
        const float *upper = lines + 2 * q * nr + lane, *lower = upper + line;
        const V a = load(upper), b = load(upper + nr), c = load(lower), d = load(lower + nr);
        const V left[4] = {a, a + c, a - c, -c}, right[4] = {b, b + d, b - d, -d};
        const int64_t left_over = (tiles.count - at - q) * count -
                                  lane;  // of what this call writes per place
        float* out = to + (at + q) * count + lane;
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++, out += 4 * place) {
          const V places[4] = {left[i], left[i] + right[i], left[i] - right[i], -right[i]};
#pragma GCC unroll 4
          for (int j = 0; j < 4; j++)
            if (left_over >= w) store(out + j * place, places[j]);  // what is too much is written again
            else store_tail(out + j * place, places[j], static_cast<int>(count - lane));
        }
      }
  });
}

// sums[output][channel] (+)= gradients * patches for the outputs of one register tile and a block of tiles.
void multiply(const float* gradients, int outputs, const float* patches, int64_t block_size, int64_t tiles,
              int64_t channels, float* sums, bool add) {
  TileArgs<float> t{};
  t.ldb = nr;
  t.ldc = channels;
  for (int64_t channel = 0; channel < channels; channel += nr, patches += block_size * nr) {
    t.c = sums + channel;
    t.columns = static_cast<int>(least(nr, channels - channel));
    for (int64_t p = 0; p < tiles; p += term_block) {
      t.k = least(term_block, tiles - p);
      t.a = gradients + p * outputs;
      t.b = patches + p * nr;
      t.add = add || p > 0;
      tile_packed(outputs, t);
    }
  }
}

// G' m G of the sums for one output, to gw (cin, 3, 3). Returns a vector of zeros, or with NaN where one is not finite.
V transform_sums(const float* sums, int64_t place, int64_t channels, float* gw) {
  const V half = splat(0.5f), zero{};
  const auto transformed = [&](V m0, V m1, V m2, V m3, V& g0, V& g1, V& g2) {
    const V even = (m1 + m2) * half;
    g0 = m0 + even;
    g1 = (m1 - m2) * half;
    g2 = even + m3;
  };
  alignas(64) float taps[9 * w];
  V wrong{};
  for (int64_t channel = 0; channel < channels; channel += w) {
    const int count = static_cast<int>(least(w, channels - channel));
    V t[3][4], g[9];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const float* m = sums + j * place + channel;
      transformed(load_tail(m, count), load_tail(m + 4 * place, count), load_tail(m + 8 * place, count),
                  load_tail(m + 12 * place, count), t[0][j], t[1][j], t[2][j]);
    }
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++)
      transformed(t[i][0], t[i][1], t[i][2], t[i][3], g[3 * i], g[3 * i + 1], g[3 * i + 2]);
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++) {
      wrong = fma(g[k], zero, wrong);
      store(taps + k * w, g[k]);
    }
    transpose_into(taps, w, 9, count, gw + channel * 9, 9);
  }
  return wrong;
}

}  // namespace

// False when a result is not finite.
bool conv_winograd_weight(const Conv2dShape& s, const float* x, const float* gy, float* gw) {
  constexpr int64_t most_sums = 4 << 20, most_patches = 1 << 20;  // floats
  constexpr int64_t most_block = 256;                             // tiles
  constexpr int64_t part = 64;                                    // tiles that one job transforms
  const int64_t rows_of_tiles = ceil_div(s.hout, 2), columns_of_tiles = ceil_div(s.wout, 2);
  const int64_t tiles = s.n * rows_of_tiles * columns_of_tiles;
  const int64_t panels = ceil_div(s.cin, nr);
  const int64_t block_size = most(1, least(most_block, most_patches / (16 * s.cin)) / part) * part;
  const int64_t patch_place = panels * block_size * nr + spare;

  // As many outputs at a time as their sums have room.
  const int rows = rows_per_tile(s.cout, tile_rows);
  const int64_t at_once = least(ceil_div(s.cout, rows), most(1, most_sums / (16 * s.cin * rows))) * rows;
  const int64_t sum_place = at_once * s.cin + spare, gradient_place = at_once * block_size + spare;
  Scratch patch_room(Use::panels, sizeof(float) * 16 * patch_place);
  Scratch gradient_room(Use::gradient, sizeof(float) * (16 * gradient_place + w));
  Scratch sum_room(Use::weight, sizeof(float) * (16 * sum_place));
  float *patches = patch_room.as<float>(), *gradients = gradient_room.as<float>(),
        *sums = sum_room.as<float>();
  bool all_finite = true;
  for (int64_t first = 0; first < s.cout; first += at_once) {
    const int64_t last = least(s.cout, first + at_once), register_tiles = ceil_div(last - first, rows);
    for (int64_t start = 0; start < tiles; start += block_size) {
      const int64_t count = least(block_size, tiles - start), parts = ceil_div(count, part);
      parallel_for((panels + register_tiles) * parts, 1, [&](int64_t begin, int64_t end) {
        const int64_t line = (2 * least(part, columns_of_tiles) + 2) * nr;
        Scratch line_room(Use::image, sizeof(float) * (4 * line + w));
        for (int64_t job = begin; job < end; job++) {
          const int64_t which = job / parts, at = job % parts * part;
          const Tiles t{rows_of_tiles, columns_of_tiles, start + at, least(part, count - at)};
          if (which < panels) {
            transform_patches(s, x, t, which * nr, line_room.as<float>(),
                              patches + which * block_size * nr + at * nr, patch_place);
          } else {
            const int64_t output = first + (which - panels) * rows, outputs = least(rows, last - output);
            transform_gradients(s, gy, t, output, outputs, line_room.as<float>(),
                                gradients + (output - first) * block_size + at * outputs, gradient_place);
          }
        }
      });
      const double work = 2.0 * static_cast<double>(rows) * s.cin * count;
      const int64_t jobs_at_once = most(1, static_cast<int64_t>(1e6 / work));
      parallel_for(16 * register_tiles, jobs_at_once, [&](int64_t begin, int64_t end) {
        for (int64_t job = begin; job < end; job++) {
          const int64_t u = job / register_tiles, o = job % register_tiles * rows;
          multiply(gradients + u * gradient_place + o * block_size,
                   static_cast<int>(least(rows, last - first - o)), patches + u * patch_place, block_size,
                   count, s.cin, sums + u * sum_place + o * s.cin, start > 0);
        }
      });
    }
    parallel_for(last - first, most(1, 8192 / s.cin), [&](int64_t begin, int64_t end) {
      V wrong{};
      for (int64_t o = begin; o < end; o++)
        wrong += transform_sums(sums + o * s.cin, sum_place, s.cin, gw + (first + o) * s.cin * 9);
      for (int i = 0; i < w; i++)
        if (wrong[i] != 0) __atomic_store_n(&all_finite, false, __ATOMIC_RELAXED);
    });
  }
  return all_finite;
}

}  // namespace rushlight::cpu::RL_ISA

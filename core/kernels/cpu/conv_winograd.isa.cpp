// Winograd's algorithm F(2x2, 3x3) for convolutions with stride 1 (Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2016).
//
// The output is cut into tiles of 2 x 2, numbered over images, rows and columns. Tile t reads a patch d of 4 x 4
// inputs per channel; with g the kernel of 3 x 3, its outputs are
//     A' ((G g G') * (B' d B)) A        (* element by element, summed over the channels)
//     B' = 1  0 -1  0      G = 1    0    0       A' = 1  1  1  0
//          0  1  1  0          1/2  1/2  1/2          0  1 -1 -1
//          0 -1  1  0          1/2 -1/2  1/2
//          0  1  0 -1          0    0    1
// The 16 places of the transformed patch are 16 matrix products over the channels. A thread takes a block of
// tiles through all three steps, so that everything but the weights stays in its second-level cache. The
// channels are summed in blocks of `term_block`, each as in Note [Order of summation] in gemm_core.h: the
// results do not depend on how tiles are put into blocks, nor on the number of threads.
#include "../parallel.h"
#include "conv_winograd_tiles.h"
#include "gemm_scratch.h"

namespace rushlight::cpu::RL_ISA {
namespace {

constexpr int lanes = (tile_rows + w - 1) / w * w;  // room for the outputs of one register tile

// A choice of lanes [first, last) to load; nothing beyond them is accessed, the others are zero.
#if defined(__AVX512F__)
using Mask = __mmask16;
RL_INLINE Mask between(int64_t first, int64_t last) {
  return static_cast<Mask>(((1u << last) - 1) & ~((1u << first) - 1));
}
RL_INLINE V load_some(const float* p, Mask mask) { return (V)_mm512_maskz_loadu_ps(mask, p); }
#elif defined(__AVX2__) && defined(__FMA__)
using Mask = __m256i;
RL_INLINE Mask between(int64_t first, int64_t last) {
  return _mm256_andnot_si256(first_lanes32(static_cast<int>(first)), first_lanes32(static_cast<int>(last)));
}
RL_INLINE V load_some(const float* p, Mask mask) { return (V)_mm256_maskload_ps(p, mask); }
#else
struct Mask {
  int64_t first, last;
};
RL_INLINE Mask between(int64_t first, int64_t last) { return {first, last}; }
RL_INLINE V load_some(const float* p, Mask mask) {
  V v = {};
  for (int64_t i = mask.first; i < mask.last; i++) v[i] = p[i];
  return v;
}
#endif

template <int... i>
RL_INLINE void split_pairs(V a, V b, V& even, V& odd, std::integer_sequence<int, i...>) {
  even = __builtin_shufflevector(a, b, (2 * i)...);
  odd = __builtin_shufflevector(a, b, (2 * i + 1)...);
}
template <int... i>
RL_INLINE void join_pairs(V even, V odd, V& a, V& b, std::integer_sequence<int, i...>) {
  a = __builtin_shufflevector(even, odd, (i / 2 + i % 2 * w)...);
  b = __builtin_shufflevector(even, odd, ((i + w) / 2 + i % 2 * w)...);
}
using Lanes = std::make_integer_sequence<int, w>;

// Up to w tiles next to each other, and what their patches read of a plane.
struct Strip {
  int64_t at;                   // place of its first tile in the block
  int64_t from;                 // where the first patch begins, counted from the first plane of x
  int64_t first_row, last_row;  // those of the four rows that lie in the plane
  Mask even[2], odd[2];         // of the vectors at 0, w and 2, w + 2 from there: lanes that lie in the plane
};

int64_t cut_strips(const WinogradConv& c, const Tiles& tiles, Strip* strips) {
  int64_t count = 0;
  each_run(tiles, [&](int64_t image, int64_t row, int64_t column, int64_t at, int64_t number) {
    const int64_t y = 2 * row - c.pad_h;
    for (int64_t q = 0; q < number; q += w) {
      const int64_t x = 2 * (column + q) - c.pad_w;
      const auto inside = [&](int64_t shift) {
        const int64_t first = most(0, least(w, -x - shift));
        return between(first, most(first, least(w, c.w - x - shift)));
      };
      strips[count++] = {at + q,
                         (image * c.cin * c.h + y) * c.w + x,
                         most(0, -y),
                         least(4, c.h - y),
                         {inside(0), inside(w)},
                         {inside(2), inside(w + 2)}};
    }
  });
  return count;
}

// to[u][panel][channel][nr] = B' d B for the tiles of a block, u running over the 16 places. `half` holds
// 16 x half_row floats.
void transform_input(const WinogradConv& c, const Tiles& tiles, const Strip* strips, int64_t strip_count,
                     float* half, int64_t half_row, float* to, int64_t place) {
  for (int64_t i = 0; i < 16 * half_row; i++) half[i] = 0;
  for (int64_t channel = 0; channel < c.cin; channel++) {
    const float* plane = c.x + channel * c.h * c.w;
    // along the rows: half[4 * i + j] is place j of the patches' row i
    for (int64_t k = 0; k < strip_count; k++) {
      const Strip& strip = strips[k];
      for (int i = 0; i < 4; i++) {
        float* out = half + 4 * i * half_row + strip.at;
        V even{}, odd{}, next_even{}, next_odd{};
        if (i >= strip.first_row && i < strip.last_row) {
          const float* p = plane + strip.from + i * c.w;
          __builtin_prefetch(p + c.h * c.w);
          __builtin_prefetch(p + c.h * c.w + w);
          split_pairs(load_some(p, strip.even[0]), load_some(p + w, strip.even[1]), even, odd, Lanes());
          split_pairs(load_some(p + 2, strip.odd[0]), load_some(p + w + 2, strip.odd[1]), next_even, next_odd,
                      Lanes());
        }
        store(out, even - next_even);  // lanes beyond the run are the next one's, written after it
        store(out + half_row, odd + next_even);
        store(out + 2 * half_row, next_even - odd);
        store(out + 3 * half_row, odd - next_odd);
      }
    }
    for (int64_t q = 0; q < tiles.count; q += w) {
      float* out = to + (q / nr * c.cin + channel) * nr + q % nr;
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) {
        const float* from = half + j * half_row + q;
        const V d0 = load(from), d1 = load(from + 4 * half_row), d2 = load(from + 8 * half_row),
                d3 = load(from + 12 * half_row);
        store(out + j * place, d0 - d2);
        store(out + (4 + j) * place, d1 + d2);
        store(out + (8 + j) * place, d2 - d1);
        store(out + (12 + j) * place, d1 - d3);
      }
    }
  }
}

// The four sums of one side of A' m A.
RL_INLINE void sums(V m0, V m1, V m2, V m3, V& a, V& b) {
  a = m0 + m1 + m2;
  b = m1 - m2 - m3;
}

// Outputs of one channel from its products[u][tile]. `lines` holds two rows of outputs of all tiles of the
// block, 2 * half_row floats each. Returns a vector of zeros, or with NaN where an output is not finite.
V transform_output(const WinogradConv& c, const Tiles& tiles, int64_t channel, const float* products,
                   int64_t place, float* lines, int64_t half_row) {
  const V bias = splat(c.bias ? c.bias[channel] : 0.0f), zero{};
  V wrong{};
  float *upper = lines, *lower = lines + 2 * half_row;
  for (int64_t q = 0; q < tiles.count; q += w) {
    V a[4], b[4], left, right, one, two;
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const float* m = products + j * place + q;
      sums(load(m), load(m + 4 * place), load(m + 8 * place), load(m + 12 * place), a[j], b[j]);
    }
    for (int row = 0; row < 2; row++) {
      const V* m = row ? b : a;
      sums(m[0], m[1], m[2], m[3], left, right);
      if (c.bias) {
        left += bias;
        right += bias;
      }
      wrong = fma(left, zero, fma(right, zero, wrong));
      join_pairs(left, right, one, two, Lanes());
      float* line = row ? lower : upper;
      store(line + 2 * q, one);
      store(line + 2 * q + w, two);
    }
  }
  each_run(tiles, [&](int64_t image, int64_t row, int64_t column, int64_t at, int64_t number) {
    const int64_t length = least(2 * number, c.wout - 2 * column);
    float* out = c.y + ((image * c.cout + channel) * c.hout + 2 * row) * c.wout + 2 * column;
    for (int i = 0; i < 2 && 2 * row + i < c.hout; i++) {
      const float* from = lines + i * 2 * half_row + 2 * at;
      float* line = out + i * c.wout;
      int64_t q = 0;
      for (; q + w <= length; q += w) store(line + q, load(from + q));
      if (q < length) store_tail(line + q, load(from + q), static_cast<int>(length - q));
    }
  });
  return wrong;
}

// Floats that the transformed weights of one register tile take.
int64_t weight_room(const WinogradConv& c, int rows) { return 16 * (c.cin * rows + spare); }

// Outputs [first, last) of the weights, transformed and packed: register tile by register tile, each [u][cin][rows].
void transform_weight(const WinogradConv& c, int64_t first, int64_t last, int rows, float* packed) {
  constexpr int64_t some = 64;  // channels at a time
  const int64_t tiles = ceil_div(last - first, rows), parts = ceil_div(c.cin, some);
  parallel_for(tiles * parts, most(1, 1024 / (rows * least(some, c.cin))), [&](int64_t begin, int64_t end) {
    alignas(64) float taps[some * 9 * lanes];
    for (int64_t job = begin; job < end; job++) {
      const int64_t o = first + job / parts * rows, channel = job % parts * some;
      const int64_t count = least(rows, last - o), channels = least(some, c.cin - channel);
      const float* from = c.weight + o * c.w_out + channel * c.w_in;
      if (c.w_in == 9) {
        transpose_into(from, c.w_out, count, 9 * channels, taps, lanes);
      } else {
        for (int64_t i = 0; i < channels; i++)
          transpose_into(from + i * c.w_in, c.w_out, count, 9, taps + i * 9 * lanes, lanes);
      }
      float* out = packed + (o - first) / rows * weight_room(c, rows) + channel * count;
      const int64_t place = c.cin * count + spare;
      for (int64_t i = 0; i < channels; i++, out += count)
        for (int64_t lane = 0; lane < count; lane += w) {
          const float* tap = taps + i * 9 * lanes + lane;
          const int64_t left = (channels - i) * count - lane;  // of what this job writes per place
          const V half = splat(0.5f);
          V g[9], t[4][3], u[4];
#pragma GCC unroll 9
          for (int k = 0; k < 9; k++) g[k] = load(tap + (c.flipped ? 8 - k : k) * lanes);
          const auto transformed = [&](V g0, V g1, V g2, V& t0, V& t1, V& t2, V& t3) {
            const V even = (g0 + g2) * half, odd = g1 * half;
            t0 = g0;
            t1 = even + odd;
            t2 = even - odd;
            t3 = g2;
          };
#pragma GCC unroll 3
          for (int k = 0; k < 3; k++)
            transformed(g[k], g[3 + k], g[6 + k], t[0][k], t[1][k], t[2][k], t[3][k]);
#pragma GCC unroll 4
          for (int k = 0; k < 4; k++) {
            transformed(t[k][0], t[k][1], t[k][2], u[0], u[1], u[2], u[3]);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++)
              if (left >= w)
                store(out + (4 * k + j) * place + lane, u[j]);  // what is too much is written again
              else store_tail(out + (4 * k + j) * place + lane, u[j], static_cast<int>(count - lane));
          }
        }
    }
  });
}

// product[u][output][tile] = weight[u] * input[u] for the `outputs` of one register tile and a block of tiles.
void multiply(const float* weight, int outputs, const float* input, int64_t input_place, int64_t tiles,
              int64_t channels, float* product, int64_t product_place, int64_t product_row) {
  for (int u = 0; u < 16; u++)
    for (int64_t q = 0; q < tiles; q += nr) {
      TileArgs<float> t{};
      t.ldb = nr;
      t.c = product + u * product_place + q;
      t.ldc = product_row;
      t.columns = static_cast<int>(ceil_div(least(nr, tiles - q), w)) * w;
      for (int64_t p = 0; p < channels; p += term_block) {
        t.k = least(term_block, channels - p);
        t.a = weight + u * (channels * outputs + spare) + p * outputs;
        t.b = input + u * input_place + q * channels + p * nr;
        t.add = p > 0;
        tile_packed(outputs, t);
      }
    }
}

}  // namespace

// False when an output is not finite.
bool conv_winograd(const WinogradConv& c) {
  constexpr int64_t most_weights = 5 << 20, most_inputs = 1 << 18;  // floats
  const int64_t rows_of_tiles = ceil_div(c.hout, 2), columns_of_tiles = ceil_div(c.wout, 2);
  const int64_t tiles = c.n * rows_of_tiles * columns_of_tiles;
  const int rows = rows_per_tile(c.cout, tile_rows);

  // Blocks of equal size in whole vectors, as many for each thread.
  const int64_t threads = in_parallel() ? 1 : num_threads();
  const int64_t limit = most(64, least(256, most_inputs / (16 * c.cin))) / w;  // vectors per block
  const int64_t vectors = ceil_div(tiles, w);
  const int64_t blocks = least(vectors, ceil_div(ceil_div(vectors, limit), threads) * threads);
  const int64_t width_of_block = ceil_div(ceil_div(vectors, blocks) * w, nr) * nr;  // room, in tiles

  // As many outputs at a time as weights have room.
  const int64_t register_tiles = ceil_div(c.cout, rows);
  const int64_t at_once = least(register_tiles, most(1, most_weights / weight_room(c, rows)));
  Scratch weights(Use::weight, sizeof(float) * at_once * weight_room(c, rows));
  float* packed = weights.as<float>();
  bool all_finite = true;
  for (int64_t first = 0; first < c.cout; first += at_once * rows) {
    const int64_t last = least(c.cout, first + at_once * rows);
    transform_weight(c, first, last, rows, packed);
    // Few blocks: several jobs share one, each with its part of the outputs.
    const int64_t outputs = ceil_div(last - first, rows), parts = least(outputs, ceil_div(threads, blocks));
    parallel_for(blocks * parts, 1, [&](int64_t begin, int64_t end) {
      const int64_t half_row = width_of_block + w + spare, input_place = c.cin * width_of_block + spare,
                    product_place = rows * width_of_block + spare;
      Scratch cuts(Use::gradient, sizeof(Strip) * width_of_block);  // a strip holds a tile at least
      Scratch inputs(Use::image, sizeof(float) * 16 * input_place);
      Scratch sums(Use::panel_c, sizeof(float) * 16 * (product_place + half_row));
      auto* strips = cuts.as<Strip>();
      float *input = inputs.as<float>(), *product = sums.as<float>(), *half = product + 16 * product_place;
      V wrong{};
      for (int64_t job = begin; job < end; job++) {
        const int64_t block = job / parts, part = job % parts;
        Tiles t{rows_of_tiles, columns_of_tiles, vectors * block / blocks * w, 0};
        t.count = least(tiles, vectors * (block + 1) / blocks * w) - t.first;
        transform_input(c, t, strips, cut_strips(c, t, strips), half, half_row, input, input_place);
        const int64_t begin_output = first + outputs * part / parts * rows,
                      end_output = least(last, first + outputs * (part + 1) / parts * rows);
        for (int64_t o = begin_output; o < end_output; o += rows) {
          const int count = static_cast<int>(least(rows, end_output - o));
          multiply(packed + (o - first) / rows * weight_room(c, rows), count, input, input_place, t.count,
                   c.cin, product, product_place, width_of_block);
          for (int r = 0; r < count; r++)
            wrong +=
                transform_output(c, t, o + r, product + r * width_of_block, product_place, half, half_row);
        }
      }
      for (int i = 0; i < w; i++)
        if (wrong[i] != 0) __atomic_store_n(&all_finite, false, __ATOMIC_RELAXED);
    });
  }
  return all_finite;
}

}  // namespace rushlight::cpu::RL_ISA

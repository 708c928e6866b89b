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

// How much room the steps take for a number of tiles, in floats.
struct Room {
  int64_t tiles;           // whole panels
  int64_t half_row;        // one of 16 rows of half-transformed tiles
  int64_t input, product;  // one of the 16 places

  Room(const WinogradConv& c, int64_t count, int rows)
      : tiles(ceil_div(count, nr) * nr),
        half_row(tiles + w + spare),
        input(c.cin * tiles + spare),
        product(rows * tiles + spare) {}
  size_t strips() const { return sizeof(Strip) * tiles; }  // a strip holds a tile at least
};

// to[u][panel][channel][nr] = B' d B for the tiles of a block and channels [first, last), u running over the 16
// places. `half` holds 16 rows.
void transform_input(const WinogradConv& c, const Tiles& tiles, int64_t first, int64_t last, const Room& room,
                     Strip* strips, float* half, float* to) {
  const int64_t strip_count = cut_strips(c, tiles, strips), half_row = room.half_row, place = room.input;
  for (int64_t i = 0; i < 16 * half_row; i++) half[i] = 0;
  for (int64_t channel = first; channel < last; channel++) {
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
  constexpr int64_t some = 16;  // channels at a time
  const int64_t tiles = ceil_div(last - first, rows), parts = ceil_div(c.cin, some);
  parallel_for(tiles * parts, most(1, 1024 / (rows * least(some, c.cin))), [&](int64_t begin, int64_t end) {
    alignas(64) float taps[some * 9 * lanes] = {};  // lanes without an output: denormal numbers would be slow
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
void multiply(const float* weight, int outputs, const float* input, int64_t tiles, int64_t channels,
              const Room& room, float* product) {
  for (int u = 0; u < 16; u++)
    for (int64_t q = 0; q < tiles; q += nr) {
      TileArgs<float> t{};
      t.ldb = nr;
      t.c = product + u * room.product + q;
      t.ldc = room.tiles;
      t.columns = static_cast<int>(ceil_div(least(nr, tiles - q), w)) * w;
      for (int64_t p = 0; p < channels; p += term_block) {
        t.k = least(term_block, channels - p);
        t.a = weight + u * (channels * outputs + spare) + p * outputs;
        t.b = input + u * room.input + q * channels + p * nr;
        t.add = p > 0;
        tile_packed(outputs, t);
      }
    }
}

// The results of one register tile, from its weights and the tiles' inputs. `product` has room for the 16 places, `half`
// for 16 rows. Returns a vector of zeros, or with NaN where an output is not finite.
V finish(const WinogradConv& c, const Tiles& tiles, int64_t output, int count, const float* weight,
         const float* input, const Room& room, float* product, float* half) {
  V wrong{};
  multiply(weight, count, input, tiles.count, c.cin, room, product);
  for (int r = 0; r < count; r++)
    wrong +=
        transform_output(c, tiles, output + r, product + r * room.tiles, room.product, half, room.half_row);
  return wrong;
}

void note(V wrong, bool* finite) {
  for (int i = 0; i < w; i++)
    if (wrong[i] != 0) __atomic_store_n(finite, false, __ATOMIC_RELAXED);
}

// Few tiles: all their inputs stay in the cache, and each thread takes register tiles of weights through all steps, so
// that they need not leave the cache either.
bool by_outputs(const WinogradConv& c, const Tiles& all, int rows) {
  constexpr int64_t some = 16;  // channels at a time
  const Room room(c, all.count, rows);
  Scratch inputs(Use::panels, sizeof(float) * 16 * room.input);
  float* input = inputs.as<float>();
  bool finite = true;
  parallel_for(ceil_div(c.cin, some), most(1, 512 / all.count), [&](int64_t begin, int64_t end) {
    Scratch cuts(Use::gradient, room.strips());
    Scratch halves(Use::panel_c, sizeof(float) * 16 * room.half_row);
    transform_input(c, all, begin * some, least(c.cin, end * some), room, cuts.as<Strip>(),
                    halves.as<float>(), input);
  });
  parallel_for(ceil_div(c.cout, rows), 1, [&](int64_t begin, int64_t end) {
    Scratch weights(Use::weight, sizeof(float) * weight_room(c, rows));
    Scratch products(Use::panel_c, sizeof(float) * 16 * (room.product + room.half_row));
    float *weight = weights.as<float>(), *product = products.as<float>();
    V wrong{};
    for (int64_t o = begin * rows; o < least(c.cout, end * rows); o += rows) {
      const int count = static_cast<int>(least(rows, c.cout - o));
      transform_weight(c, o, o + count, rows, weight);
      wrong += finish(c, all, o, count, weight, input, room, product, product + 16 * room.product);
    }
    note(wrong, &finite);
  });
  return finite;
}

// Many tiles: the weights are transformed first, then each thread takes blocks of tiles through all steps.
bool by_tiles(const WinogradConv& c, const Tiles& all, int64_t most_tiles, int rows) {
  constexpr int64_t most_weights = 5 << 20;  // floats: as many outputs at a time as have room
  const int64_t at_once = most(1, most_weights / weight_room(c, rows)) * rows;
  // blocks of equal size in whole vectors, as many for each thread
  const int64_t threads = in_parallel() ? 1 : num_threads(), vectors = ceil_div(all.count, w);
  const int64_t blocks = least(vectors, ceil_div(ceil_div(vectors * w, most_tiles), threads) * threads);
  const Room room(c, ceil_div(vectors, blocks) * w, rows);
  Scratch weights(Use::weight, sizeof(float) * ceil_div(least(c.cout, at_once), rows) * weight_room(c, rows));
  float* packed = weights.as<float>();
  bool finite = true;
  for (int64_t first = 0; first < c.cout; first += at_once) {
    const int64_t last = least(c.cout, first + at_once);
    transform_weight(c, first, last, rows, packed);
    parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
      Scratch cuts(Use::gradient, room.strips());
      Scratch inputs(Use::image, sizeof(float) * 16 * room.input);
      Scratch products(Use::panel_c, sizeof(float) * 16 * (room.product + room.half_row));
      float *input = inputs.as<float>(), *product = products.as<float>(), *half = product + 16 * room.product;
      V wrong{};
      for (int64_t block = begin; block < end; block++) {
        Tiles t = all;
        t.first = vectors * block / blocks * w;
        t.count = least(all.count, vectors * (block + 1) / blocks * w) - t.first;
        transform_input(c, t, 0, c.cin, room, cuts.as<Strip>(), half, input);
        for (int64_t o = first; o < last; o += rows)
          wrong += finish(c, t, o, static_cast<int>(least(rows, last - o)),
                          packed + (o - first) / rows * weight_room(c, rows), input, room, product, half);
      }
      note(wrong, &finite);
    });
  }
  return finite;
}

}  // namespace

// False when an output is not finite.
bool conv_winograd(const WinogradConv& c) {
  constexpr int64_t most_inputs =
      1 << 18;  // floats; with what else is in use they stay in the second-level cache
  const int64_t rows_of_tiles = ceil_div(c.hout, 2), columns_of_tiles = ceil_div(c.wout, 2);
  const Tiles all{rows_of_tiles, columns_of_tiles, 0, c.n * rows_of_tiles * columns_of_tiles};
  const int rows = rows_per_tile(c.cout, tile_rows);
  if (all.count <= c.cout && 16 * c.cin * all.count <= 2 * most_inputs) return by_outputs(c, all, rows);
  return by_tiles(c, all, most(64, least(256, most_inputs / (16 * c.cin))), rows);
}

}  // namespace rushlight::cpu::RL_ISA

// The gradient of a convolution for its weight on the matrix unit: for each tap the product of the image (channels x positions)
// with the gradients of the results (positions x outputs), whose gaps between rows are zeros.
//
// Note [Split lines]
// The planes of Note [Padded planes] as bfloat16, all high parts, all middle parts, all low ones. So 32 positions of 16
// channels are a left tile in place, whichever tap reads it.
#include "../parallel.h"
#include "conv_planes.h"
#include "conv_split_planes.h"

namespace rushlight::cpu::RL_ISA {
namespace {

constexpr int64_t edge = 2 * tile_edge;

typedef int16_t Halves __attribute__((vector_size(64)));

RL_INLINE __mmask32 first_halves(int64_t count) {
  return count >= 32 ? ~0u : count <= 0 ? 0 : (1u << count) - 1;
}

struct SplitLines {
  Axis y, x;
  int64_t channels, spacing,
      part;  // the last two in numbers of 16 bits: from channel to channel, from part to part

  SplitLines(const Image& image, const Axis& of_y, const Axis& of_x)
      : y(of_y), x(of_x), channels(image.channels * image.rows) {
    spacing = (ceil_div(plane_size(y, x), tile_terms) | 1) *
              tile_terms;  // rows of a tile in different sets of the cache
    part = ceil_div(channels, tile_edge) * tile_edge * spacing + 2 * tile_terms;
  }
  int64_t bytes() const { return parts * part * 2; }
};

void zero_halves(uint16_t* out, int64_t count, int64_t part) {
  for (int p = 0; p < parts; p++)
    for (int64_t q = 0; q < count; q += tile_terms)
      _mm512_mask_storeu_epi16(out + p * part + q, first_halves(count - q), (__m512i)Halves{});
}

// `count` numbers of a row, step by step; what lies `ahead` moves closer.
template <int step>
RL_INLINE void split_line(const float* row, int64_t count, int64_t distance, int64_t ahead, uint16_t* out,
                          int64_t part, Seen& seen) {
  for (int64_t q = 0; q < count; q += tile_terms) {
    const float *from = row + q * distance, *on = from + tile_edge * distance;
    for (int i = 0; i < 2 * (step == 2 ? 2 : 1); i++) __builtin_prefetch(from + ahead + i * 16);
    const Vec<float> a = take<step>(from, count - q, distance),
                     b = count - q > tile_edge ? take<step>(on, count - q - tile_edge, distance)
                                               : Vec<float>{};
    seen.see(a);
    seen.see(b);
    Words words[parts];
    split(every_second<0, float>(a, b), every_second<1, float>(a, b), words);
    for (int p = 0; p < parts; p++)
      _mm512_mask_storeu_epi16(out + p * part + q, first_halves(count - q), (__m512i)words[p]);
  }
}

// Fills the planes of one channel, from row `first` of results on.
void split_channel(const Image& image, const float* source, const SplitLines& to, int64_t first,
                   int64_t channel, uint16_t* out, Seen& seen) {
  const Axis y = to.y, x = to.x;  // copies: stores of vectors might change what a reference names
  const int64_t part = to.part, h = image.h, w = image.w;
  const float* plane = source + channel / image.rows * h * w;
  zero_halves(out + channel * to.spacing + plane_size(y, x), to.spacing - plane_size(y, x),
              part);  // tiles may read them
  each_phase(y, x, [&](int64_t ry, int64_t rx, int64_t offset) {
    uint16_t* row = out + channel * to.spacing + offset;
    const auto [left, right] = inside(x, rx, w);
    const int64_t column = left * x.stride + rx - x.before;  // of the first entry inside
    for (int64_t q = 0; q < y.length; q++, row += x.length) {
      const int64_t at = (first + q) * y.stride + ry - y.before + channel % image.rows * image.dilation;
      if (at < 0 || at >= h) {
        zero_halves(row, x.length, part);
        continue;
      }
      const float* from = plane + at * w + column;
      zero_halves(row, left, part);
      if (x.stride == 1) split_line<1>(from, right - left, 1, h * w, row + left, part, seen);
      else if (x.stride == 2) split_line<2>(from, right - left, 2, h * w, row + left, part, seen);
      else split_line<0>(from, right - left, x.stride, h * w, row + left, part, seen);
      zero_halves(row + right, x.length - right, part);
    }
  });
}

// 16 outputs' gradients at positions row * pitch + column, gaps and what lies beyond the last row zero, as right tiles: for
// each step of 32 positions the three parts.
void pack_outputs(const float* gy, int64_t plane, int64_t outputs, int64_t rows, int64_t columns,
                  int64_t pitch, int64_t steps, char* to, int64_t step_bytes, int64_t part_bytes,
                  Seen& seen) {
  Scratch room(Use::panel_c, sizeof(float) * tile_edge * steps * tile_terms);
  float* lines = room.as<float>();
  const int64_t length = steps * tile_terms;
  for (int64_t o = 0; o < tile_edge; o++) {
    float* line = lines + o * length;
    int64_t at = 0;
    for (int64_t r = 0; r < (o < outputs ? rows : 0); r++) {
      const float* from = gy + o * plane + r * columns;
      for (int64_t q = 0; q < columns; q += 16) __builtin_prefetch(from + tile_edge * plane + q);
      each_vector<float>(from, columns, line + at, [&](Vec<float> v) {
        seen.see(v);
        return v;
      });
      at += columns;
      for (const int64_t next = least(length, (r + 1) * pitch); at < next; at++) line[at] = 0;
    }
    for (; at < length; at++) line[at] = 0;
  }
  for (int64_t s = 0; s < steps; s++, to += step_bytes) {
    Vec<float> terms[2][tile_edge];
    for (int half = 0; half < 2; half++) {
#pragma GCC unroll 16
      for (int o = 0; o < tile_edge; o++)
        terms[half][o] = load(lines + o * length + s * tile_terms + half * tile_edge);
      transpose<float>(terms[half]);
    }
    for (int pair = 0; pair < tile_edge; pair++) {
      Words words[parts];
      split(terms[pair / 8][pair % 8 * 2], terms[pair / 8][pair % 8 * 2 + 1], words);
      for (int p = 0; p < parts; p++) *reinterpret_cast<Words*>(to + p * part_bytes + pair * 64) = words[p];
    }
  }
}

}  // namespace

bool conv_split_backward_weight(const Conv2dShape& s, const float* x, const float* gy, float* gw) {
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, k = cin * s.kh * s.kw, size = s.cout * k;
  const int64_t in_plane = s.h * s.w, out_plane = s.hout * s.wout;
  const bool rows_apart = cin < 8;  // few channels: each row of taps makes one
  const Image image{cin, s.h, s.w, rows_apart ? s.kh : 1, rows_apart ? s.dil_h : 0};
  const int64_t kernel_rows = rows_apart ? 1 : s.kh, taps = kernel_rows * s.kw;
  Scratch numbers(Use::offsets, sizeof(int64_t) * (s.stride_h + s.stride_w + taps));
  auto* offset = numbers.as<int64_t>();
  Axis ay = forward_axis(s.hout, kernel_rows, s.stride_h, s.pad_h, s.dil_h, offset);
  const Axis ax = forward_axis(s.wout, s.kw, s.stride_w, s.pad_w, s.dil_w, offset + s.stride_h);
  const int64_t pitch = ax.length;

  // Bands of rows and images together as for the results (Bands in conv_split.amx.cpp), but by the shape alone.
  constexpr int64_t room = 768 << 10;
  const int64_t row_bytes = 6 * pitch * (image.channels * image.rows * ay.phases * ax.phases + cout);
  const int64_t least_rows = most(ceil_div(512, pitch), 2 * (ay.length - s.hout));
  int64_t bands = ceil_div(s.hout, most(least(s.hout, most(1, least_rows)), room / row_bytes));
  const int64_t band = ceil_div(s.hout, bands);
  bands = ceil_div(s.hout, band);
  ay.length += band - s.hout;
  const SplitLines planes(image, ay, ax);
  const int64_t steps = ceil_div((band - 1) * pitch + s.wout, tile_terms);
  const int64_t wanted = bands > 1 ? 1 : ceil_div(16, steps);

  // Partial sums (tap, channel, output), as many as the shape says.
  const int64_t lines = ceil_div(planes.channels, tile_edge) * tile_edge,
                columns = ceil_div(cout, tile_edge) * tile_edge;
  const int64_t sums_size = taps * lines * columns, group_sums = s.groups * sums_size;
  const int64_t sharing =
      most(1, least(least(s.n, 16), least((int64_t{4} << 20) / size, s.n * out_plane / 2048)));
  Scratch partials(Use::gradient, sizeof(float) * sharing * group_sums);
  float* partial = partials.as<float>();

  const int64_t line_tiles = lines / tile_edge, column_tiles = columns / tile_edge;
  const int64_t line_blocks = ceil_div(lines, edge), column_blocks = ceil_div(columns, edge);
  const int64_t right_bytes = steps * column_tiles * parts * tile_bytes;  // of one image
  bool failed = false;
  const auto run_part = [&](int64_t part) {
    const int64_t begin = s.n * part / sharing, end = s.n * (part + 1) / sharing;
    const int64_t together = least(wanted, end - begin);
    Scratch left_room(Use::image, together * planes.bytes()), right_room(Use::panels, together * right_bytes),
        range_room(Use::result, sizeof(Range) * (line_tiles * tile_edge + column_tiles));
    auto* left = left_room.as<uint16_t>();
    auto* right = right_room.as<char>();
    auto* ranges = range_room.as<Range>();
    for (int64_t g = 0; g < s.groups; g++)
      for (int64_t first = begin; first < end; first += together)
        for (int64_t row = 0; row < s.hout; row += band) {
          if (__atomic_load_n(&failed, __ATOMIC_RELAXED)) return;
          const int64_t images = least(together, end - first), rows = least(band, s.hout - row);
          for (int64_t i = 0; i < images; i++) {
            uint16_t* to = left + i * planes.bytes() / 2;
            for (int p = 0; p < parts; p++)  // the last tile reads beyond the last plane
              zero_halves(to + p * planes.part + planes.channels * planes.spacing,
                          least(2 * tile_terms, planes.part - planes.channels * planes.spacing), 0);
            parallel_for(planes.channels, most(1, 8192 / planes.spacing), [&](int64_t from, int64_t stop) {
              for (int64_t c = from; c < stop; c++) {
                Seen seen;
                split_channel(image, x + ((first + i) * s.groups + g) * cin * in_plane, planes, row, c, to,
                              seen);
                ranges[c] = seen.range();
              }
            });
            parallel_for(column_tiles, most(1, 512 / (steps * tile_terms)), [&](int64_t from, int64_t stop) {
              for (int64_t t = from; t < stop; t++) {
                Seen seen;
                const int64_t o = t * tile_edge, block = t / 2, two = least(2, column_tiles - 2 * block);
                pack_outputs(gy + (((first + i) * s.groups + g) * cout + o) * out_plane + row * s.wout,
                             out_plane, least(tile_edge, cout - o), rows, s.wout, pitch, steps,
                             right + i * right_bytes + (2 * block * steps * parts + t % 2) * tile_bytes,
                             two * parts * tile_bytes, two * tile_bytes, seen);
                ranges[planes.channels + t] = seen.range();
              }
            });
            Range of_x, of_gy;
            for (int64_t c = 0; c < planes.channels; c++) of_x.widen(ranges[c]);
            for (int64_t t = 0; t < column_tiles; t++) of_gy.widen(ranges[planes.channels + t]);
            if (!Range::fits(of_x, of_gy, s.n * out_plane)) {
              __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
              return;
            }
          }
          const bool add = first > begin || row > 0;
          float* to = partial + part * group_sums + g * sums_size;
          parallel_for(line_blocks * column_blocks, 1, [&](int64_t from, int64_t stop) {
            const TileShape shape(tile_edge);
            alignas(64) float sums[edge * edge];
            for (int64_t job = from; job < stop; job++) {
              const int64_t c = job / column_blocks * 2, o = job % column_blocks * 2;
              const int64_t two = least(2, column_tiles - o), high = least(2, line_tiles - c);
              for (int64_t t = 0; t < taps; t++) {
                const uint16_t* at = left + c * tile_edge * planes.spacing +
                                     tap_offset(ay, ax, t / s.kw * s.dil_h, t % s.kw * s.dil_w);
                const char* with = right + o * steps * parts * tile_bytes;
                run_split(high > 1, two > 1, images * steps,
                          {planes.spacing * 2, planes.part * 2, tile_edge * planes.spacing * 2},
                          {64, two * tile_bytes, tile_bytes}, sums, false,
                          [&](int64_t step, const char*& l, const char*& r) {
                            const int64_t i = step / steps, q = step % steps;
                            l = reinterpret_cast<const char*>(at + i * planes.bytes() / 2 + q * tile_terms);
                            r = with + i * right_bytes + q * two * parts * tile_bytes;
                          });
                for (int64_t i = 0; i < high * tile_edge; i++) {
                  float* line = to + ((t * lines) + c * tile_edge + i) * columns + o * tile_edge;
                  for (int64_t q = 0; q < two * tile_edge; q += tile_edge)
                    store(line + q,
                          add ? load(line + q) + load(sums + i * edge + q) : load(sums + i * edge + q));
                }
              }
            }
          });
        }
  };
  over_items(sharing, work_per_item(s) * s.groups * ceil_div(s.n, sharing), run_part);
  if (failed) return false;

  // The partial sums added up in order, and brought to (output, channel, tap).
  parallel_for(s.groups * taps * lines, most(1, 16384 / (columns * sharing)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin * columns; i < end * columns; i += tile_edge) {
                   Vec<float> sum = load(partial + i);
                   for (int64_t part = 1; part < sharing; part++)
                     sum += load(partial + part * group_sums + i);
                   store(partial + i, sum);
                 }
               });
  parallel_for(s.groups * column_tiles, most(1, 1024 / k), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t g = i / column_tiles, o = i % column_tiles * tile_edge;
      for (int64_t c = 0; c < planes.channels; c++)
        transpose_into(partial + g * sums_size + c * columns + o, lines * columns, taps,
                       least(tile_edge, cout - o), gw + (g * cout + o) * k + c * taps, k);
    }
  });
  return true;
}

}  // namespace rushlight::cpu::RL_ISA

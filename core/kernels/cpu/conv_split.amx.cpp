// Convolution forward and its gradient for the input on the matrix unit: weights as the left operand, packed once per call,
// images as the right one, read in place (Note [Split planes] in conv_split_planes.h).
#include "conv_planes.h"
#include "conv_split_planes.h"

namespace rushlight::cpu::RL_ISA {
namespace {

constexpr int64_t edge = 2 * tile_edge;

// The weights of `lines` outputs: that of output i, channel c and tap t at weight[i * line + c * term + tap[t]].
struct Weights {
  const float* weight;
  int64_t line, term, lines, taps;
  const int64_t* tap;  // null: they follow each other
};

int64_t packed_bytes(int64_t lines, int64_t steps) {
  return ceil_div(lines, tile_edge) * steps * parts * tile_bytes;
}

// Packs them by blocks of 32 outputs; in each, for each chunk of channels and each tap, the tiles of the high, middle and
// low parts.
void pack_weights(const Weights& from, const SplitPlanes& planes, char* to, Range* ranges) {
  const int64_t steps = planes.chunks * from.taps, chunk = planes.chunk;
  const int64_t jobs = ceil_div(from.lines, edge) * planes.chunks;
  parallel_for(jobs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; job++) {
      const int64_t first = job / planes.chunks * edge, k = job % planes.chunks;
      const int64_t count = least(edge, from.lines - first), tiles = ceil_div(count, tile_edge);
      char* out = to + (first / tile_edge * steps + k * from.taps * tiles) * parts * tile_bytes;
      const int64_t c = k * 2 * chunk, here = planes.channels - c;
      const __mmask16 upper = first_lanes(least(chunk, here)),
                      lower = first_lanes(least(chunk, here - chunk));
      Seen seen;
      for (int64_t i = 0; i < tiles * tile_edge; i++) {
        const float* line = from.weight + (first + i) * from.line + c * from.term;
        char* row = out + i * 64;
        for (int64_t t = 0; t < from.taps; t++, row += parts * tiles * tile_bytes) {
          Words words[parts] = {};
          if (i < count) {
            const float* at = line + (from.tap ? from.tap[t] : t);
            const auto take = [&](const float* first, __mmask16 these) {
              return from.term == 1 ? (Vec<float>)_mm512_maskz_loadu_ps(these, first)
                                    : gather(first, from.term, these);
            };
            const Vec<float> a = take(at, upper), b = take(at + chunk * from.term, lower);
            seen.see(a);
            seen.see(b);
            split(a, b, words);
          }
          for (int p = 0; p < parts; p++)
            _mm512_storeu_si512(row + p * tiles * tile_bytes, (__m512i)words[p]);
        }
      }
      ranges[job] = seen.range();
    }
  });
}

// One correlation of images with packed weights: step s reads at at[s] words from a position.
struct Correlation {
  const char* left;
  int64_t lines, steps;
  const int64_t* at;
  int64_t rows, columns;  // of results, at positions row * pitch + column
};

// `count` images, whose planes and results lie at equal distances.
struct Images {
  const uint32_t* planes;
  int64_t count, distance, result_distance;
};

void correlate_split(const Correlation& c, const SplitPlanes& planes, const Images& images,
                     const Destination<float>& to) {
  const int64_t pitch = planes.x.length, positions = (c.rows - 1) * pitch + c.columns;
  const int64_t blocks = ceil_div(positions, edge), places = images.count * blocks,
                line_blocks = ceil_div(c.lines, edge);
  // So many blocks of positions meet the weights together.
  constexpr int64_t together = 8;
  const int64_t groups = ceil_div(places, together);
  const int64_t divided = in_parallel() ? 1 : least(line_blocks, ceil_div(2 * num_threads(), groups));
  const double work = 2.0 * static_cast<double>(c.lines) * c.steps * tile_terms * edge * together /
                      static_cast<double>(divided);
  parallel_for(groups * divided, most(1, static_cast<int64_t>(5e5 / work)), [&](int64_t begin, int64_t end) {
    const TileShape shape(static_cast<int>(planes.chunk));
    alignas(64) float sums[edge * edge];
    for (int64_t job = begin; job < end; job++) {
      const int64_t group = job / divided, part = job % divided;
      for (int64_t b = line_blocks * part / divided; b < line_blocks * (part + 1) / divided; b++) {
        const int64_t first = b * edge, lines = least(edge, c.lines - first),
                      tiles = ceil_div(lines, tile_edge);
        const int64_t step_bytes = parts * tiles * tile_bytes;
        const char* left = c.left + first / tile_edge * c.steps * parts * tile_bytes;
        for (int64_t place = group * together; place < least(places, (group + 1) * together); place++) {
          const int64_t image = place / blocks, start = place % blocks * edge,
                        count = least(edge, positions - start);
          const uint32_t* right = images.planes + image * images.distance + start;
          // Meanwhile the results' places move closer, some lines at each step.
          const auto result_at = [&](int64_t position) {
            return position / pitch * to.row_stride +
                   least(position % pitch, c.columns - 1) * to.column_stride;
          };
          const int64_t begin_at = result_at(start), end_at = result_at(start + count - 1) + 1,
                        share = ceil_div(lines, c.steps);
          const float* result = to.base + image * images.result_distance + first * to.channel_stride;
          run_split(tiles > 1, count > tile_edge, c.steps, {64, tiles * tile_bytes, tile_bytes},
                    {planes.spacing * 4, planes.part * 4, 64}, sums, false,
                    [&](int64_t s, const char*& l, const char*& r) {
                      for (int64_t i = s * share; i < least(lines, (s + 1) * share); i++)
                        for (int64_t q = begin_at; q < end_at; q += 16)
                          __builtin_prefetch(result + i * to.channel_stride + q, 1);
                      l = left + s * step_bytes;
                      r = reinterpret_cast<const char*>(right + c.at[s]);
                    });
          Destination<float> out = to;
          out.base += image * images.result_distance + first * to.channel_stride;
          if (to.bias) out.bias += first;
          put_positions<float>(sums, edge, 0, lines, start, count, pitch, c.columns, out);
        }
      }
    }
  });
}

// How the images are gone through: in bands of so many rows of results, whose planes fit the second-level cache beside the
// weights, or where they are small several images together, so that the weights are read less often.
struct Bands {
  int64_t rows, count, together;

  Bands(const Conv2dShape& s, const Image& image, int64_t all_rows, const Axis& y, const Axis& x) {
    const int64_t row = ceil_div(image.channels * image.rows, 2) * parts * 4 * y.phases * x.phases * x.length;
    constexpr int64_t room = 384 << 10;
    count = ceil_div(all_rows, most(least(all_rows, most(1, 2 * (y.length - all_rows))), room / row));
    const int64_t for_threads =
        ceil_div(2 * num_threads(), s.n * s.groups);  // each with 128 positions or more
    count = most(count, least(for_threads, all_rows * x.length / 128));
    rows = ceil_div(all_rows, count);
    count = ceil_div(all_rows, rows);
    const int64_t positions = rows * x.length, fit = 4 * room / (row * y.length);
    together = count > 1 || s.groups > 1
                   ? 1
                   : most(1, least(least(fit, ceil_div(256, positions)), s.n / (2 * num_threads())));
  }
};

// f(group of an image, first row, planes of as many images) for all, until the numbers turn out not to split.
template <class F>
bool each_band(const Conv2dShape& s, const Image& image, const float* source, const SplitPlanes& planes,
               const Bands& bands, const Range& weights, F&& f) {
  const int64_t groups = s.n * s.groups, size = image.channels * image.h * image.w,
                distance = planes.bytes() / 4;
  const int64_t items = ceil_div(groups, bands.together) * bands.count, pairs = planes.chunks * planes.chunk;
  bool failed = false;
  over_items(items, work_per_item(s) * static_cast<double>(bands.together) / static_cast<double>(bands.count),
             [&](int64_t item) {
               if (__atomic_load_n(&failed, __ATOMIC_RELAXED)) return;
               const int64_t first = item / bands.count * bands.together,
                             count = least(bands.together, groups - first);
               const int64_t row = item % bands.count * bands.rows;
               Scratch room(Use::image, bands.together * planes.bytes()),
                   ranges(Use::result, sizeof(Range) * pairs);

               for (int64_t i = 0; i < count; i++) {
                 split_image(image, source + (first + i) * size, planes, row,
                             room.as<uint32_t>() + i * distance, ranges.as<Range>());
                 Range all;
                 for (int64_t p = 0; p < pairs; p++) all.widen(ranges.as<Range>()[p]);
                 if (!Range::fits(weights, all, planes.channels * s.kh * s.kw)) {
                   __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
                   return;
                 }
               }
               f(first, row, Images{room.as<uint32_t>(), count, distance, 0});
             });
  return !failed;
}

// Packs the weights of all groups; false where they do not split.
bool pack_groups(Weights from, int64_t groups, int64_t distance, const SplitPlanes& planes, char* to,
                 Range& all) {
  const int64_t jobs = ceil_div(from.lines, edge) * planes.chunks;
  Scratch ranges(Use::result, sizeof(Range) * jobs);
  for (int64_t g = 0; g < groups; g++) {
    pack_weights(from, planes, to + g * packed_bytes(from.lines, planes.chunks * from.taps),
                 ranges.as<Range>());
    for (int64_t i = 0; i < jobs; i++) all.widen(ranges.as<Range>()[i]);
    from.weight += distance;
  }
  return Range::fits(all, Range{127, 127}, 1);
}

// Where the steps over chunks of channels and taps read.
void fill_steps(const SplitPlanes& planes, const int64_t* tap_at, int64_t taps, int64_t* at) {
  for (int64_t k = 0; k < planes.chunks; k++)
    for (int64_t t = 0; t < taps; t++) *at++ = k * planes.chunk * planes.spacing + tap_at[t];
}

// Where a 1x1 kernel reads every element once, a plane may be seen as rows of another length: long ones are quicker to split.
Conv2dShape with_long_rows(Conv2dShape s) {
  if (!pointwise(s)) return s;
  const int64_t plane = s.h * s.w;
  for (int64_t w = least(256, plane); w > s.w; w--)
    if (plane % w == 0) {
      s.w = s.wout = w;
      s.h = s.hout = plane / w;
    }
  return s;
}

}  // namespace

bool conv_split_forward(const Conv2dShape& shape, const float* x, const float* weight, const float* bias,
                        float* y) {
  const Conv2dShape s = with_long_rows(shape);
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, k = cin * s.kh * s.kw;
  const bool rows_apart = cin < 8;  // few channels: each row of taps makes one
  const Image image{cin, s.h, s.w, rows_apart ? s.kh : 1, rows_apart ? s.dil_h : 0};
  const int64_t kernel_rows = rows_apart ? 1 : s.kh, taps = kernel_rows * s.kw;
  Scratch numbers(Use::offsets, sizeof(int64_t) * (s.stride_h + s.stride_w + taps + k));
  auto* offset = numbers.as<int64_t>();
  Axis ay = forward_axis(s.hout, kernel_rows, s.stride_h, s.pad_h, s.dil_h, offset);
  const Axis ax = forward_axis(s.wout, s.kw, s.stride_w, s.pad_w, s.dil_w, offset + s.stride_h);
  const Bands bands(s, image, s.hout, ay, ax);
  ay.length += bands.rows - s.hout;
  const SplitPlanes planes(image, ay, ax);
  int64_t *tap_at = offset + s.stride_h + s.stride_w, *at = tap_at + taps;
  for (int64_t t = 0; t < taps; t++) tap_at[t] = tap_offset(ay, ax, t / s.kw * s.dil_h, t % s.kw * s.dil_w);
  fill_steps(planes, tap_at, taps, at);
  const int64_t steps = planes.chunks * taps, group_bytes = packed_bytes(cout, steps);
  Scratch packing(Use::weight, s.groups * group_bytes);
  Range of_weights;
  if (!pack_groups({weight, k, taps, cout, taps, nullptr}, s.groups, cout * k, planes, packing.as<char>(),
                   of_weights))
    return false;
  const int64_t out_plane = s.hout * s.wout;
  return each_band(s, image, x, planes, bands, of_weights, [&](int64_t item, int64_t row, Images images) {
    const int64_t g = item % s.groups;
    images.result_distance = cout * out_plane;
    correlate_split(
        {packing.as<char>() + g * group_bytes, cout, steps, at, least(bands.rows, s.hout - row), s.wout},
        planes, images,
        {y + item * cout * out_plane + row * s.wout, out_plane, s.wout, 1, bias ? bias + g * cout : nullptr});
  });
}

bool conv_split_backward_data(const Conv2dShape& shape, const float* gy, const float* weight, float* gx) {
  const Conv2dShape s = with_long_rows(shape);
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, taps = s.kh * s.kw;
  const int64_t phases = s.stride_h * s.stride_w, in_plane = s.h * s.w;
  const Image image{cout, s.hout, s.wout};
  Scratch numbers(Use::offsets, sizeof(int64_t) * (2 + 2 * taps + phases + 1 + cout * taps));
  auto* unit = numbers.as<int64_t>();
  int64_t *met = unit + 2, *tap_at = met + taps, *starts = tap_at + taps, *at = starts + phases + 1;
  Axis ay = backward_axis(s.h, s.kh, s.stride_h, s.pad_h, s.dil_h, unit);
  const Axis ax = backward_axis(s.w, s.kw, s.stride_w, s.pad_w, s.dil_w, unit + 1);
  const int64_t all_rows = ceil_div(s.h, s.stride_h);
  const Bands bands(s, image, all_rows, ay, ax);
  ay.length += bands.rows - all_rows;
  const SplitPlanes planes(image, ay, ax);
  starts[0] = 0;
  Scratch packing(Use::weight, s.groups * packed_bytes(cin, planes.chunks * taps));
  Range of_weights;
  // `starts` counts the steps of the phases; their weights lie in that order.
  for (int64_t phase = 0; phase < phases; phase++) {
    const int64_t count = taps_of_phase(s, ay, ax, phase, met, tap_at);
    starts[phase + 1] = starts[phase] + planes.chunks * count;
    if (count == 0) continue;
    fill_steps(planes, tap_at, count, at + starts[phase]);
    if (!pack_groups({weight, taps, cin * taps, cin, count, met}, s.groups, cout * cin * taps, planes,
                     packing.as<char>() + s.groups * packed_bytes(cin, starts[phase]), of_weights))
      return false;
  }
  return each_band(s, image, gy, planes, bands, of_weights, [&](int64_t item, int64_t row, Images images) {
    images.result_distance = cin * in_plane;
    for (int64_t phase = 0; phase < phases; phase++) {
      const int64_t py = phase / s.stride_w, px = phase % s.stride_w;
      if (py >= s.h || px >= s.w) continue;
      const int64_t rows = least(bands.rows, ceil_div(s.h - py, s.stride_h) - row),
                    columns = ceil_div(s.w - px, s.stride_w);
      if (rows <= 0) continue;
      const int64_t steps = starts[phase + 1] - starts[phase];
      float* to = gx + item * cin * in_plane + (row * s.stride_h + py) * s.w + px;
      if (steps == 0) {
        for (int64_t c = 0; c < images.count * cin; c++)
          for (int64_t q = 0; q < rows; q++)
            for (int64_t r = 0; r < columns; r++)
              to[c * in_plane + q * s.stride_h * s.w + r * s.stride_w] = 0;
        continue;
      }
      const char* left = packing.as<char>() + s.groups * packed_bytes(cin, starts[phase]) +
                         item % s.groups * packed_bytes(cin, steps);
      correlate_split({left, cin, steps, at + starts[phase], rows, columns}, planes, images,
                      {to, in_plane, s.stride_h * s.w, s.stride_w, nullptr});
    }
  });
}

}  // namespace rushlight::cpu::RL_ISA

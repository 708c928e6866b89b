// The gradient of a convolution for its weight: for each image the product of gy (outputs x positions) with
// the transposed matrix of what each tap read (positions x taps).
//
// Note [Channels last]
// The image is transposed once, to padded rows of (column, channel). What the taps of one kernel row read at a
// position is then one run of kw * cin numbers: a row of B, in place. Where that run is shorter than a vector
// the columns of B are gathered from padded planes instead.
#include "conv_depthwise.h"
#include "conv_planes.h"
#include "gemm_product.h"

namespace rushlight::cpu::RL_ISA {

void gemm_f32(const Product& g);
void gemm_f64(const Product& g);

namespace {

void product(const Product& g, float) { gemm_f32(g); }
void product(const Product& g, double) { gemm_f64(g); }

// gw[cout, k] (+)= sum over positions of gy[cout, position] * planes[offset[k] + position], for one image.
template <class T>
void weight_of_image(int64_t cout, int64_t k, int64_t hout, int64_t wout, const T* gy, const T* planes,
                     const int64_t* offset, int64_t pitch, T* gw, bool add) {
  constexpr int nr = tile_columns<T>;
  const int64_t positions = hout * wout, panels = ceil_div(k, nr);
  const int rows = rows_per_tile(cout, tile_rows);
  for (int64_t p = 0; p < positions; p += k_block) {
    const int64_t depth = least(k_block, positions - p);
    Scratch a_scratch(Use::panel_a, sizeof(T) * cout * depth);
    T* a_packed = a_scratch.as<T>();
    pack_a(gy + p, positions, 1, cout, depth, rows, a_packed);
    const double panel_work = 2.0 * static_cast<double>(cout) * depth * nr;
    parallel_for(panels, most(1, static_cast<int64_t>(2.5e5 / panel_work)), [&](int64_t begin, int64_t end) {
      Scratch b_scratch(Use::panel_b, sizeof(T) * nr * k_block);
      Scratch lines(Use::panel_c, sizeof(T) * nr * k_block);
      T *b_packed = b_scratch.as<T>(), *line = lines.as<T>();
      for (int64_t q = begin; q < end; q++) {
        const int64_t first = q * nr, columns = least(nr, k - first);
        for (int64_t c = 0; c < columns; c++)
          for (int64_t i = p, row = p / wout; i < p + depth; row++) {
            const int64_t stop = least(p + depth, (row + 1) * wout);
            const T* from = planes + offset[first + c] + row * (pitch - wout);
            T* out = line + c * k_block - p;
            for (; i < stop; i++) out[i] = from[i];
          }
        pack_columns<T, T>([=](int64_t c) { return line + c * k_block; }, depth, columns, b_packed);
        TileArgs<T> t{
            depth, nullptr, 0, 0, b_packed, nr, nullptr, nullptr, k, static_cast<int>(columns), add || p > 0};
        for (int64_t i = 0; i < cout; i += rows) {
          t.a = a_packed + i * depth;
          t.c = gw + i * k + first;
          tile_packed(static_cast<int>(least(rows, cout - i)), t);
        }
      }
    });
  }
}

// The channels-last image of Note [Channels last], and where it is read.
struct ChannelsLast {
  int64_t cin, rows, columns;        // of the padded image
  int64_t run, runs, run_step;       // numbers in a run, runs per kernel row, distance from run to run
  int64_t kernel_rows, kernel_step;  // distance from kernel row to kernel row

  explicit ChannelsLast(const Conv2dShape& s) : cin(s.cin / s.groups) {
    rows = (s.hout - 1) * s.stride_h + (s.kh - 1) * s.dil_h + 1;
    columns = (s.wout - 1) * s.stride_w + (s.kw - 1) * s.dil_w + 1;
    runs = s.dil_w == 1 ? 1 : s.kw;
    run = s.kw / runs * cin;
    run_step = s.dil_w * cin;
    kernel_rows = s.kh;
    kernel_step = s.dil_h * columns * cin;
  }
  int64_t size() const { return rows * columns * cin; }
};

template <class T>
void fill_channels_last(const Conv2dShape& s, const ChannelsLast& to, const T* source, T* out) {
  const int64_t first = least(to.columns, s.pad_w), last = most(first, least(to.columns, s.pad_w + s.w));
  parallel_for(to.rows, most(1, 16384 / (to.columns * to.cin)), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; y++) {
      T* row = out + y * to.columns * to.cin;
      const bool inside = y >= s.pad_h && y < s.pad_h + s.h;
      const int64_t left = inside ? first : to.columns;
      for (int64_t i = 0; i < left * to.cin; i++) row[i] = 0;
      if (!inside) continue;
      transpose_into(source + (y - s.pad_h) * s.w, s.h * s.w, to.cin, last - first, row + first * to.cin,
                     to.cin);
      for (int64_t i = last * to.cin; i < to.columns * to.cin; i++) row[i] = 0;
    }
  });
  for (int i = 0; i < tile_columns<T>; i++) out[to.size() + i] = 0;
}

// gw[cout, kh, kw, cin] (+)= sum over positions of gy[cout, position] * image[offset[position] + ...].
template <class T>
void weight_by_channels(int64_t cout, int64_t positions, const T* gy, const ChannelsLast& from,
                        const T* image, const int64_t* offset, T* gw, bool add) {
  constexpr int nr = tile_columns<T>;
  const int64_t panels = ceil_div(from.run, nr), jobs = from.kernel_rows * from.runs * panels;
  const int64_t k = from.kernel_rows * from.runs * from.run;
  const int rows = rows_per_tile(cout, tile_rows);
  for (int64_t p = 0; p < positions; p += k_block) {
    const int64_t depth = least(k_block, positions - p);
    Scratch scratch(Use::panel_a, sizeof(T) * cout * depth);
    T* packed = scratch.as<T>();
    pack_a(gy + p, positions, 1, cout, depth, rows, packed);
    const double work = 2.0 * static_cast<double>(cout) * depth * nr;
    parallel_for(jobs, most(1, static_cast<int64_t>(2.5e5 / work)), [&](int64_t begin, int64_t end) {
      for (int64_t job = begin; job < end; job++) {
        const int64_t run = job / panels, at = job % panels * nr;
        TileArgs<T> t{depth, nullptr, 0, 0, nullptr, 0, offset + p, nullptr, k, 0, add || p > 0};
        t.columns = static_cast<int>(least(nr, from.run - at));
        t.b = image + run / from.runs * from.kernel_step + run % from.runs * from.run_step + at;
        for (int64_t i = 0; i < cout; i += rows) {
          t.a = packed + i * depth;
          t.c = gw + i * k + run * from.run + at;
          tile_offsets(static_cast<int>(least(rows, cout - i)), t);
        }
      }
    });
  }
}

// The same for one input channel and few outputs (depthwise): a dot product per output and tap, in 16 virtual
// lanes that run along the rows and are folded in halves.
template <class T>
void weight_of_plane(int64_t cout, int64_t k, int64_t hout, int64_t wout, const T* gy, const T* planes,
                     const int64_t* offset, int64_t pitch, T* gw, bool add) {
  constexpr int w = width<T>, lanes = 16, vectors = lanes / w, together = 4;
  for (int64_t o = 0; o < cout; o++)
    for (int64_t first = 0; first < k; first += together) {
      const T* tap[together];
      for (int t = 0; t < together; t++) tap[t] = planes + offset[least(first + t, k - 1)];
      Vec<T> sum[together][vectors] = {};
      for (int64_t row = 0; row < hout; row++)
        for (int64_t x = 0; x < wout; x += lanes) {
          const T* g = gy + (o * hout + row) * wout + x;
#pragma GCC unroll 16
          for (int v = 0; v < vectors; v++) {
            const int count = static_cast<int>(least(w, wout - x - v * w));
            if (count <= 0) break;
            const Vec<T> gv = count == w ? load(g + v * w) : load_tail(g + v * w, count);
#pragma GCC unroll 4
            for (int t = 0; t < together; t++) {
              const T* p = tap[t] + row * pitch + x + v * w;
              sum[t][v] = fma(gv, count == w ? load(p) : load_tail(p, count), sum[t][v]);
            }
          }
        }
      for (int t = 0; t < together && first + t < k; t++) {
        T fold[lanes];
        for (int v = 0; v < vectors; v++) store(fold + v * w, sum[t][v]);
        for (int half = lanes / 2; half > 0; half /= 2)
          for (int q = 0; q < half; q++) fold[q] += fold[q + half];
        T& out = gw[o * k + first + t];
        out = add ? out + fold[0] : fold[0];
      }
    }
}

// Where term p of a weight row reads in the padded planes.
void tap_offsets(const Conv2dShape& s, const Axis& y, const Axis& x, int64_t* offset) {
  for (int64_t c = 0, p = 0; c < s.cin / s.groups; c++)
    for (int64_t i = 0; i < s.kh; i++)
      for (int64_t j = 0; j < s.kw; j++, p++)
        offset[p] = c * plane_size(y, x) + tap_offset(y, x, i * s.dil_h, j * s.dil_w);
}

}  // namespace

template <class T>
void conv_backward_weight(const Conv2dShape& s, const T* x, const T* gy, T* gw) {
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, taps = s.kh * s.kw;
  const int64_t k = cin * taps, in_plane = s.h * s.w, out_plane = s.hout * s.wout, size = s.cout * k;
  const bool direct = pointwise(s);
  const ChannelsLast last(s);
  const bool channels_last = !direct && last.run >= 16 && cout > 4;

  Scratch offsets(Use::offsets, sizeof(int64_t) * (most(k, out_plane) + s.stride_h + s.stride_w));
  auto* offset = offsets.as<int64_t>();
  const Axis ay = forward_axis(s.hout, s.kh, s.stride_h, s.pad_h, s.dil_h, offset + k);
  const Axis ax = forward_axis(s.wout, s.kw, s.stride_w, s.pad_w, s.dil_w, offset + k + s.stride_h);
  if (channels_last)
    for (int64_t p = 0; p < out_plane; p++)
      offset[p] = (p / s.wout * s.stride_h * last.columns + p % s.wout * s.stride_w) * cin;
  else tap_offsets(s, ay, ax, offset);

  // Images are shared out among a number of partial sums that depends on the shape alone; each stands for enough
  // positions to be worth its addition at the end.
  const int64_t parts =
      most(1, least(least(s.n, 64), least((int64_t{4} << 20) / size, s.n * out_plane / 2048)));
  const bool apart = parts > 1 || channels_last;
  Scratch partials(Use::gradient, apart ? sizeof(T) * parts * size : 0);
  T* partial = partials.as<T>();
  const auto run_part = [&](int64_t part) {
    T* sum = apart ? partial + part * size : gw;
    const int64_t begin = s.n * part / parts, end = s.n * (part + 1) / parts;
    for (int64_t image = begin; image < end; image++)
      over_items(s.groups, work_per_item(s), [&](int64_t g) {
        const T* xg = x + (image * s.cin + g * cin) * in_plane;
        const T* gyg = gy + (image * s.cout + g * cout) * out_plane;
        T* to = sum + g * cout * k;
        if (direct) {
          product({cout, cin, out_plane, gyg, out_plane, 1, xg, 1, in_plane, to, k, image > begin}, T());
          return;
        }
        if (is_depthwise(s) && steps_by_one(s)) {
          for (int64_t o = 0; o < cout; o++)
            depthwise_weight(s, xg, gyg + o * out_plane, to + o * k, image > begin);
          return;
        }
        const int64_t room = channels_last ? last.size() + tile_columns<T> : planes_room<T>(cin, ay, ax);
        Scratch scratch(Use::image, sizeof(T) * room);
        T* planes = scratch.as<T>();
        if (channels_last) {
          fill_channels_last(s, last, xg, planes);
          weight_by_channels(cout, out_plane, gyg, last, planes, offset, to, image > begin);
          return;
        }
        fill_planes(xg, cin, s.h, s.w, ay, ax, planes);
        const auto accumulate = cin == 1 && cout <= 4 ? weight_of_plane<T> : weight_of_image<T>;
        accumulate(cout, k, s.hout, s.wout, gyg, planes, offset, ax.length, to, image > begin);
      });
  };
  over_items(parts, work_per_item(s) * s.groups * ceil_div(s.n, parts), run_part);
  if (!apart) return;
  // The partial sums added up in order, row by row of weights, and taps brought behind channels.
  parallel_for(s.cout, most(1, 4096 / k), [&](int64_t begin, int64_t end) {
    Scratch row(Use::result, channels_last && parts > 1 ? sizeof(T) * k : 0);
    for (int64_t o = begin; o < end; o++) {
      const T* total = partial + o * k;
      if (parts > 1) {
        T* to = channels_last ? row.as<T>() : gw + o * k;
        for (int64_t i = 0; i < k; i++) to[i] = total[i] + total[size + i];
        for (int64_t part = 2; part < parts; part++)
          for (int64_t i = 0; i < k; i++) to[i] += total[part * size + i];
        total = to;
      }
      if (channels_last) transpose_into(total, cin, taps, cin, gw + o * k, taps);
    }
  });
}

template void conv_backward_weight(const Conv2dShape&, const float*, const float*, float*);
template void conv_backward_weight(const Conv2dShape&, const double*, const double*, double*);

}  // namespace rushlight::cpu::RL_ISA

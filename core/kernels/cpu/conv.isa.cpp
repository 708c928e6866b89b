// Convolution forward and its gradient for the input, on padded planes (Note [Padded planes] in
// conv_planes.h). The gradient for the input is a convolution itself: for each phase of the stride, with the
// taps that meet it.
#include "conv_depthwise.h"
#include "conv_planes.h"
#include "gemm_product.h"

namespace rushlight::cpu::RL_ISA {

void gemm_f32(const Product& g);
void gemm_f64(const Product& g);

namespace {

void product(const Product& g, float) { gemm_f32(g); }
void product(const Product& g, double) { gemm_f64(g); }

}  // namespace

template <class T>
void conv_forward(const Conv2dShape& s, const T* x, const T* weight, const T* bias, T* y) {
  if (is_depthwise(s)) return depthwise_forward(s, x, weight, bias, y);
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups;  // per group
  const int64_t k = cin * s.kh * s.kw, in_plane = s.h * s.w, out_plane = s.hout * s.wout;
  const double work = work_per_item(s);

  const bool whole = s.groups == 1 && out_plane == 1 && s.kh == s.h && s.kw == s.w && s.pad_h == 0 &&
                     s.pad_w == 0;
  if (whole || pointwise(s)) {
    if (bias)
      parallel_for(s.n * s.cout, most(1, 16384 / out_plane), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++)
          for (int64_t q = 0; q < out_plane; q++) y[i * out_plane + q] = bias[i % s.cout];
      });
    if (whole) {  // each image meets the kernel once: a linear layer
      product({s.n, cout, k, x, k, 1, weight, 1, k, y, cout, bias != nullptr}, T());
      return;
    }
    over_items(s.n * s.groups, work, [&](int64_t item) {
      product({cout, out_plane, cin, weight + item % s.groups * cout * cin, cin, 1, x + item * cin * in_plane,
               in_plane, 1, y + item * cout * out_plane, out_plane, bias != nullptr},
              T());
    });
    return;
  }

  Scratch offsets(Use::offsets, sizeof(int64_t) * (k + s.stride_h + s.stride_w));
  auto* offset = offsets.as<int64_t>();
  const Axis ay = forward_axis(s.hout, s.kh, s.stride_h, s.pad_h, s.dil_h, offset + k);
  const Axis ax = forward_axis(s.wout, s.kw, s.stride_w, s.pad_w, s.dil_w, offset + k + s.stride_h);
  for (int64_t c = 0, p = 0; c < cin; c++)
    for (int64_t i = 0; i < s.kh; i++)
      for (int64_t j = 0; j < s.kw; j++, p++)
        offset[p] = c * plane_size(ay, ax) + tap_offset(ay, ax, i * s.dil_h, j * s.dil_w);

  // Weights that meet few positions are not worth packing.
  const bool in_place = s.n * ceil_div((s.hout - 1) * ax.length + s.wout, tile_columns<T>) <= 8;
  Scratch packing(Use::weight, in_place ? 0 : sizeof(T) * s.cout * k);
  T* packed = packing.as<T>();
  if (!in_place)
    parallel_for(s.groups, most(1, 16384 / (cout * k)), [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; g++)
        pack_taps(weight + g * cout * k, k, cout, k, packed + g * cout * k);
    });

  over_items(s.n * s.groups, work, [&](int64_t item) {
    const int64_t g = item % s.groups;
    Scratch image(Use::image, sizeof(T) * planes_room<T>(cin, ay, ax));
    T* planes = image.as<T>();
    fill_planes(x + item * cin * in_plane, cin, s.h, s.w, ay, ax, planes);
    correlate<T>({cout, k, in_place ? weight + g * cout * k : packed + g * cout * k, offset, !in_place},
                 planes, s.hout, s.wout, ax.length,
                 {y + item * cout * out_plane, out_plane, s.wout, 1, bias ? bias + g * cout : nullptr});
  });
}

namespace {

// What pack_taps would leave of the rows of one input channel each: its weights for all outputs and the taps met.
template <class T>
void pack_backward_taps(const T* weight, int64_t cin, int64_t cout, int64_t taps, const int64_t* met,
                        int64_t count, T* packed) {
  const int64_t k = cout * count, tile = rows_per_tile(cin, tile_rows);
  parallel_for(cout, most(1, 16384 / (cin * count)), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++)  // the weights of an output are read in one sweep
      for (int64_t i = 0; i < cin; i += tile) {
        const T* from = weight + (o * cin + i) * taps;
        const int64_t rows = least(tile, cin - i);
        for (int64_t t = 0; t < count;) {
          const int64_t q = o * count + t, p = q / k_block * k_block, depth = least(k_block, k - p);
          const int64_t stop = least(count, t + p + depth - q);
          T* out = packed + p * cin + i * depth + (q - p) * rows;
          if (count == taps) transpose_into(from + t, taps, rows, stop - t, out, rows);
          else
            for (int64_t at = t; at < stop; at++, out += rows)
              for (int64_t r = 0; r < rows; r++) out[r] = from[r * taps + met[at]];
          t = stop;
        }
      }
  });
}

}  // namespace

template <class T>
void conv_backward_data(const Conv2dShape& s, const T* gy, const T* weight, T* gx) {
  if (is_depthwise(s) && s.cout == s.groups && steps_by_one(s) && s.pad_h < s.kh && s.pad_w < s.kw)
    return depthwise_backward_data(s, gy, weight, gx);
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, taps = s.kh * s.kw;
  const int64_t in_plane = s.h * s.w, out_plane = s.hout * s.wout;
  const double work = work_per_item(s);
  if (pointwise(s)) {
    over_items(s.n * s.groups, work, [&](int64_t item) {
      product({cin, in_plane, cout, weight + item % s.groups * cout * cin, 1, cin,
               gy + item * cout * out_plane, out_plane, 1, gx + item * cin * in_plane, in_plane, false},
              T());
    });
    return;
  }

  // Phase (py, px) of the stride is a convolution of gy with the taps that meet it; together the phases use
  // each tap once. `starts` holds the index of each phase's first term per output channel.
  const int64_t phases = s.stride_h * s.stride_w;
  Scratch offsets(Use::offsets, sizeof(int64_t) * (cout * taps + phases + 3 + taps));
  auto* offset = offsets.as<int64_t>();
  int64_t* starts = offset + cout * taps;
  int64_t* unit = starts + phases + 1;
  int64_t* met = unit + 2;  // the taps of the phase at hand
  const Axis ay = backward_axis(s.h, s.kh, s.stride_h, s.pad_h, s.dil_h, unit);
  const Axis ax = backward_axis(s.w, s.kw, s.stride_w, s.pad_w, s.dil_w, unit + 1);
  Scratch packing(Use::weight, sizeof(T) * s.cout * cin * taps);
  T* packed = packing.as<T>();
  starts[0] = 0;
  for (int64_t phase = 0; phase < phases; phase++) {
    int64_t* at = offset + starts[phase] * cout;
    const int64_t count = taps_of_phase(s, ay, ax, phase, met, at);
    starts[phase + 1] = starts[phase] + count;
    if (count == 0) continue;
    for (int64_t o = 1; o < cout; o++)
      for (int64_t t = 0; t < count; t++) at[o * count + t] = o * plane_size(ay, ax) + at[t];
    for (int64_t g = 0; g < s.groups; g++)
      pack_backward_taps(weight + g * cout * cin * taps, cin, cout, taps, met, count,
                         packed + g * cin * cout * taps + starts[phase] * cin * cout);
  }

  over_items(s.n * s.groups, work, [&](int64_t item) {
    const int64_t g = item % s.groups;
    Scratch image(Use::image, sizeof(T) * planes_room<T>(cout, ay, ax));
    T* planes = image.as<T>();
    fill_planes(gy + item * cout * out_plane, cout, s.hout, s.wout, ay, ax, planes);
    for (int64_t phase = 0; phase < phases; phase++) {
      const int64_t py = phase / s.stride_w, px = phase % s.stride_w;
      if (py >= s.h || px >= s.w) continue;
      const int64_t rows = ceil_div(s.h - py, s.stride_h), columns = ceil_div(s.w - px, s.stride_w);
      T* to = gx + item * cin * in_plane + py * s.w + px;
      const int64_t k = cout * (starts[phase + 1] - starts[phase]);
      if (k == 0) {
        for (int64_t c = 0; c < cin; c++)
          for (int64_t q = 0; q < rows; q++)
            for (int64_t r = 0; r < columns; r++)
              to[c * in_plane + q * s.stride_h * s.w + r * s.stride_w] = 0;
        continue;
      }
      correlate<T>({cin, k, packed + g * cin * cout * taps + starts[phase] * cin * cout,
                    offset + starts[phase] * cout, true},
                   planes, rows, columns, ax.length, {to, in_plane, s.stride_h * s.w, s.stride_w, nullptr});
    }
  });
}

template void conv_forward(const Conv2dShape&, const float*, const float*, const float*, float*);
template void conv_forward(const Conv2dShape&, const double*, const double*, const double*, double*);
template void conv_backward_data(const Conv2dShape&, const float*, const float*, float*);
template void conv_backward_data(const Conv2dShape&, const double*, const double*, double*);

}  // namespace rushlight::cpu::RL_ISA

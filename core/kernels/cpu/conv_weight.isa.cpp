// The gradient of a convolution for its weight: for each image the product of gy (outputs x positions) with
// the transposed matrix of what each tap read (positions x taps), gathered panel by panel from padded planes.
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

}  // namespace

template <class T>
void conv_backward_weight(const Conv2dShape& s, const T* x, const T* gy, T* gw) {
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups;
  const int64_t k = cin * s.kh * s.kw, in_plane = s.h * s.w, out_plane = s.hout * s.wout, size = s.cout * k;
  const bool direct = pointwise(s);

  Scratch offsets(Use::offsets, sizeof(int64_t) * (k + s.stride_h + s.stride_w));
  auto* offset = offsets.as<int64_t>();
  const Axis ay = forward_axis(s.hout, s.kh, s.stride_h, s.pad_h, s.dil_h, offset + k);
  const Axis ax = forward_axis(s.wout, s.kw, s.stride_w, s.pad_w, s.dil_w, offset + k + s.stride_h);
  for (int64_t c = 0, p = 0; c < cin; c++)
    for (int64_t i = 0; i < s.kh; i++)
      for (int64_t j = 0; j < s.kw; j++, p++)
        offset[p] = c * plane_size(ay, ax) + tap_offset(ay, ax, i * s.dil_h, j * s.dil_w);

  // Images are shared out among a number of partial sums that depends on the shape alone.
  const int64_t parts = most(1, least(least(s.n, 64), (int64_t{4} << 20) / size));
  Scratch partials(Use::gradient, parts > 1 ? sizeof(T) * parts * size : 0);
  const auto run_part = [&](int64_t part) {
    T* sum = parts > 1 ? partials.as<T>() + part * size : gw;
    const int64_t first = s.n * part / parts, last = s.n * (part + 1) / parts;
    for (int64_t image = first; image < last; image++)
      over_items(s.groups, work_per_item(s), [&](int64_t g) {
        const T* xg = x + (image * s.cin + g * cin) * in_plane;
        const T* gyg = gy + (image * s.cout + g * cout) * out_plane;
        T* to = sum + g * cout * k;
        if (direct) {
          product({cout, cin, out_plane, gyg, out_plane, 1, xg, 1, in_plane, to, k, image > first}, T());
          return;
        }
        Scratch scratch(Use::image, sizeof(T) * planes_room<T>(cin, ay, ax));
        T* planes = scratch.as<T>();
        fill_planes(xg, cin, s.h, s.w, ay, ax, planes);
        const auto accumulate = cin == 1 && cout <= 4 ? weight_of_plane<T> : weight_of_image<T>;
        accumulate(cout, k, s.hout, s.wout, gyg, planes, offset, ax.length, to, image > first);
      });
  };
  over_items(parts, work_per_item(s) * s.groups * ceil_div(s.n, parts), run_part);
  if (parts == 1) return;
  const T* partial = partials.as<T>();
  parallel_for(size, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) gw[i] = partial[i];
    for (int64_t part = 1; part < parts; part++)
      for (int64_t i = begin; i < end; i++) gw[i] += partial[part * size + i];
  });
}

template void conv_backward_weight(const Conv2dShape&, const float*, const float*, float*);
template void conv_backward_weight(const Conv2dShape&, const double*, const double*, double*);

}  // namespace rushlight::cpu::RL_ISA

// The places of a convolution's taps in padded planes: Note [Padded planes] in conv_planes.h. Include only from conv*.isa.cpp
// and conv*.amx.cpp.
#pragma once

#include "conv.h"
#include "gemm_vec.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// One axis of the padded planes: entry q of the phase with remainder r stands for source index
// q * stride + r - before.
struct Axis {
  int64_t stride, before, length;
  int64_t phases;     // of the `stride` possible ones, those that some tap reads
  int64_t* phase_of;  // remainder -> number of its phase, or -1
};

// The forward direction: tap i reads source index o * stride - pad + i * dilation.
[[maybe_unused]] Axis forward_axis(int64_t out, int64_t taps, int64_t stride, int64_t pad, int64_t dilation,
                                   int64_t* phase_of) {
  Axis axis{stride, pad, out + (taps - 1) * dilation / stride, 0, phase_of};
  for (int64_t r = 0; r < stride; r++) phase_of[r] = -1;
  for (int64_t i = 0; i < taps; i++)
    if (int64_t& phase = phase_of[i * dilation % stride]; phase < 0) phase = axis.phases++;
  return axis;
}

// f(ry, rx, offset) for the remainders of each phase of a plane, which lies at that offset.
template <class F>
RL_INLINE void each_phase(const Axis& y, const Axis& x, F&& f) {
  for (int64_t ry = 0; ry < y.stride; ry++)
    for (int64_t rx = 0; rx < x.stride; rx++)
      if (y.phase_of[ry] >= 0 && x.phase_of[rx] >= 0)
        f(ry, rx, (y.phase_of[ry] * x.phases + x.phase_of[rx]) * y.length * x.length);
}

// The entries [first, last) of the phase with remainder r that lie inside, of a source of length n.
struct Entries {
  int64_t first, last;
};
[[maybe_unused]] Entries inside(const Axis& axis, int64_t r, int64_t n) {
  const int64_t shift = r - axis.before;
  const int64_t first = least(axis.length, shift < 0 ? ceil_div(-shift, axis.stride) : 0);
  return {first, most(first, least(axis.length, n > shift ? ceil_div(n - shift, axis.stride) : 0))};
}

int64_t plane_size(const Axis& y, const Axis& x) { return y.phases * x.phases * y.length * x.length; }

int64_t tap_offset(const Axis& y, const Axis& x, int64_t dy, int64_t dx) {
  const int64_t phase = y.phase_of[dy % y.stride] * x.phases + x.phase_of[dx % x.stride];
  return (phase * y.length + dy / y.stride) * x.length + dx / x.stride;
}

// The taps of one axis that meet the inputs y = first, first + stride, ...: tap i adds gy at q + shift(i) to
// the q-th of them, where first + pad - i * dilation == shift(i) * stride.
struct AxisPhase {
  int64_t first, count;
  bool meets(int64_t tap, int64_t stride, int64_t pad, int64_t dilation) const {
    return (first + pad - tap * dilation) % stride == 0;
  }
};

int64_t shift_of(int64_t first, int64_t tap, int64_t stride, int64_t pad, int64_t dilation) {
  return (first + pad - tap * dilation) / stride;
}

// gy padded so that every phase's taps stay inside.
[[maybe_unused]] Axis backward_axis(int64_t in, int64_t taps, int64_t stride, int64_t pad, int64_t dilation,
                                    int64_t* phase_of) {
  int64_t low = INT64_MAX, high = INT64_MIN;
  for (int64_t first = 0; first < least(stride, in); first++)
    for (int64_t i = 0; i < taps; i++) {
      const AxisPhase phase{first, ceil_div(in - first, stride)};
      if (!phase.meets(i, stride, pad, dilation)) continue;
      const int64_t shift = shift_of(first, i, stride, pad, dilation);
      low = least(low, shift);
      high = most(high, shift + phase.count);
    }
  phase_of[0] = 0;
  if (low > high) low = high = 0;  // no tap meets any input
  return {1, -low, high - low, 1, phase_of};
}

// The taps that meet phase `phase` of the inputs, and where each reads in the planes of the outputs' gradients.
[[maybe_unused]] int64_t taps_of_phase(const Conv2dShape& s, const Axis& ay, const Axis& ax, int64_t phase,
                                       int64_t* met, int64_t* at) {
  const AxisPhase py{phase / s.stride_w, 0}, px{phase % s.stride_w, 0};
  int64_t count = 0;
  if (py.first >= s.h || px.first >= s.w) return 0;
  for (int64_t i = 0; i < s.kh; i++)
    for (int64_t j = 0; j < s.kw; j++) {
      if (!py.meets(i, s.stride_h, s.pad_h, s.dil_h) || !px.meets(j, s.stride_w, s.pad_w, s.dil_w)) continue;
      const int64_t dy = shift_of(py.first, i, s.stride_h, s.pad_h, s.dil_h) + ay.before;
      const int64_t dx = shift_of(px.first, j, s.stride_w, s.pad_w, s.dil_w) + ax.before;
      at[count] = tap_offset(ay, ax, dy, dx);
      met[count++] = i * s.kw + j;
    }
  return count;
}

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

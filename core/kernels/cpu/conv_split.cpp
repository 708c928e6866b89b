// Which convolutions run on the matrix unit.
//
// Note [Choice of split products]
// The unit takes tiles of 16 x 16 results and 32 terms whole, at two to three times the speed of the vectors, so it pays
// where the tiles are filled to a half or so and the numbers are used often enough to be worth splitting. The shape
// decides, then the numbers: products of very small numbers, numbers close to overflow, infinities and NaN are left to
// the other kernels, which then compute the whole call. 3x3 kernels with stride 1 and many channels stay with Winograd's
// algorithm: a tenth to a third faster still on 16 images of 64 to 512 channels, as splitting costs what it saves.
//
// Errors against float64, root mean square in relation to that of the results (forward, by the input, by the weight), x of
// the variance 1 unless said otherwise, two images, 3x3 with stride 2:
//                                  matrix unit              direct                   PyTorch 2.13
//   64 to 128 channels, 56 x 56    1.4e-7, 1.3e-7, 1.3e-7   2.8e-7, 2.8e-7, 2.9e-7   2.2e-7, 2.6e-7, 7.0e-7
//   the same between 0 and 1       0.9e-7, 1.3e-7, 1.3e-7   1.4e-7, 2.7e-7, 2.7e-7   1.0e-7, 2.6e-7, 7.0e-7
//   256 to 512 channels, 14 x 14   2.2e-7, 1.9e-7, direct   2.8e-7, 2.8e-7, 1.3e-7   2.2e-7, 5.1e-7, 1.7e-7
#include "conv_split.h"

#include "gemm.h"
#include "isa.h"

namespace rushlight::cpu {

#if defined(__x86_64__)
namespace amx {
bool conv_split_forward(const Conv2dShape&, const float*, const float*, const float*, float*);
bool conv_split_backward_data(const Conv2dShape&, const float*, const float*, float*);
bool conv_split_backward_weight(const Conv2dShape&, const float*, const float*, float*);
}  // namespace amx

namespace {

bool wanted() { return float32_parts() != 0 && has_amx(); }

// Whether a product of `lines` x `columns` results, of which each sums `terms` terms in `steps` steps, is faster on the unit:
// `images` times, with so many numbers of an image split each time, each of which should meet `uses` others.
bool pays(int64_t images, int64_t numbers, int64_t uses, int64_t lines, int64_t columns, int64_t terms,
          int64_t steps) {
  const auto tiles = [](int64_t count) { return (count + 15) / 16 * 16; };
  const double products = static_cast<double>(lines) * columns * terms;
  const double room = static_cast<double>(tiles(lines)) * tiles(columns) * steps * 32;
  return 2 * products > room && products > static_cast<double>(uses) * numbers && images * columns >= 64 &&
         static_cast<double>(images) * products > 1e6;
}
constexpr int64_t uses = 60,
                  uses_by_weight = 112;  // the latter with what bringing gradients of results to tiles takes

bool small_enough(const Conv2dShape& s) {  // for offsets of 32 bits
  constexpr int64_t limit = int64_t{1} << 26;
  return s.stride_w <= 64 && s.cin / s.groups * s.cout * s.kh * s.kw < limit && s.cin * s.h * s.w < limit;
}

}  // namespace

bool split_forward(const Conv2dShape& s, const float* x, const float* weight, const float* bias, float* y) {
  if (!wanted() || !small_enough(s)) return false;
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, taps = s.kh * s.kw;
  const int64_t channels = cin < 8 ? cin * s.kh : cin, steps = (channels + 31) / 32 * (cin < 8 ? s.kw : taps);
  if (!pays(s.n * s.groups, cin * s.h * s.w, uses, cout, s.hout * s.wout, cin * taps, steps)) return false;
  return amx::conv_split_forward(s, x, weight, bias, y);
}
bool split_backward_data(const Conv2dShape& s, const float* gy, const float* weight, float* gx) {
  if (!wanted() || !small_enough(s)) return false;
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, taps = s.kh * s.kw,
                phases = s.stride_h * s.stride_w;
  if (!pays(s.n * s.groups, cout * s.hout * s.wout, uses, cin, s.hout * s.wout * phases, cout * taps / phases,
            (cout + 31) / 32 * taps / phases))
    return false;
  return amx::conv_split_backward_data(s, gy, weight, gx);
}
bool split_backward_weight(const Conv2dShape& s, const float* x, const float* gy, float* gw) {
  if (!wanted() || !small_enough(s)) return false;
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, taps = s.kh * s.kw,
                positions = s.hout * s.wout;
  const int64_t channels = cin < 8 ? cin * s.kh : cin;
  const int64_t steps = (s.hout * (s.wout + (s.kw - 1) * s.dil_w / s.stride_w) + 31) / 32;
  if (!pays(s.n * s.groups, (cin * s.h * s.w + cout * positions) * channels / (cin * taps), uses_by_weight,
            channels, cout, positions, steps) ||
      s.n * positions < 512)
    return false;
  return amx::conv_split_backward_weight(s, x, gy, gw);
}
#else
bool split_forward(const Conv2dShape&, const float*, const float*, const float*, float*) { return false; }
bool split_backward_data(const Conv2dShape&, const float*, const float*, float*) { return false; }
bool split_backward_weight(const Conv2dShape&, const float*, const float*, float*) { return false; }
#endif

}  // namespace rushlight::cpu

// Which convolutions are computed by Winograd's algorithm, and the switch that turns it off.
//
// Note [Choice of Winograd]
// F(2x2, 3x3) takes 16 multiplications for four outputs instead of 36. The transformations around the products
// cost a fixed time per channel of a tile, and per weight, so they pay with many channels on both sides and
// many tiles. F(4x4, 3x3) would take a quarter of the multiplications, but its errors are 3.6 times those of
// PyTorch's direct kernels even with the best points (0, +-3/4, +-3/2), and 7 times with the usual ones.
// A result that is not finite is computed again directly: an infinity in the input would become NaN in the
// outputs that do not read it but share its tile, too.
#include "conv_winograd.h"

#include <atomic>

#include "isa.h"

namespace rushlight::cpu {

RL_FOR_EACH_ISA(bool conv_winograd(const WinogradConv&);
                bool conv_winograd_weight(const Conv2dShape&, const float*, const float*, float*);)

namespace {

std::atomic<bool> enabled{true};

bool pays(const Conv2dShape& s, int64_t rows, int64_t columns) {  // of the output
  constexpr int64_t least_channels = 24, most_channels = 2048, least_tiles = 24;
  if (s.kh != 3 || s.kw != 3 || s.stride_h != 1 || s.stride_w != 1 || s.dil_h != 1 || s.dil_w != 1)
    return false;
  const int64_t few = s.cin < s.cout ? s.cin : s.cout, many = s.cin < s.cout ? s.cout : s.cin;
  if (s.groups != 1 || few < least_channels || many > most_channels) return false;
  const int64_t tiles = ((rows + 1) / 2) * ((columns + 1) / 2);
  return s.n * tiles >= least_tiles && 5 * rows * columns >= 4 * 3 * tiles;  // tiles filled to 3/5 at least
}

bool run(const WinogradConv& c) {
  static const auto fn = RL_PICK(conv_winograd);
  return fn(c);
}

}  // namespace

bool winograd_enabled() { return enabled.load(std::memory_order_relaxed); }
void set_winograd_enabled(bool on) { enabled.store(on, std::memory_order_relaxed); }

bool winograd_forward(const Conv2dShape& s, const float* x, const float* weight, const float* bias,
                      float* y) {
  if (!winograd_enabled() || !pays(s, s.hout, s.wout)) return false;
  return run({s.n, s.cin, s.h, s.w, s.cout, s.hout, s.wout, s.pad_h, s.pad_w, x, weight, 9 * s.cin, 9, false,
              bias, y});
}

// The convolution of gy with the kernels turned round.
bool winograd_backward_data(const Conv2dShape& s, const float* gy, const float* weight, float* gx) {
  if (!winograd_enabled() || !pays(s, s.h, s.w)) return false;
  return run({s.n, s.cout, s.hout, s.wout, s.cin, s.h, s.w, 2 - s.pad_h, 2 - s.pad_w, gy, weight, 9,
              9 * s.cin, true, nullptr, gx});
}

bool winograd_backward_weight(const Conv2dShape& s, const float* x, const float* gy, float* gw) {
  if (!winograd_enabled() || !pays(s, s.hout, s.wout)) return false;
  static const auto fn = RL_PICK(conv_winograd_weight);
  return fn(s, x, gy, gw);
}

}  // namespace rushlight::cpu

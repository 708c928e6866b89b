// What the poolings of rows share: the lines that windows read, the order in which gradients are written. Include only
// from pool_*.isa.cpp.
//
// Note [Pooling by rows]
// A vector holds outputs that follow each other in a row. What one tap reads for them lies `stride` apart; so each row
// is copied first to a line that keeps the phases of the stride apart (phase p holds every stride-th column from p on,
// counted from the left edge of the padding) with padding around them. What a tap reads is then one load, wherever the
// window lies. The gradients go the same way back: the taps that meet a phase write its elements, and the phases are
// interleaved to a row. So each element is written once, with its windows in order.
#pragma once

#include <type_traits>

#include "../stream.h"
#include "gemm_scratch.h"
#include "gemm_vec.h"
#include "pool_windows.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// Numbers as wide as T, one per lane: places of taps, columns.
template <class T>
using Word = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
template <class T>
using Words = Vec<Word<T>>;

template <class T>
struct BytesOf {
  typedef uint8_t type __attribute__((vector_size(width<T>)));
};
template <class T>
using Bytes = typename BytesOf<T>::type;

template <class T, int... lane>
RL_INLINE Words<T> iota(std::integer_sequence<int, lane...>) {
  return Words<T>{lane...};
}
template <class T>
RL_INLINE Words<T> iota() {
  return iota<T>(std::make_integer_sequence<int, width<T>>{});
}

template <class T>
RL_INLINE void store_first(T* p, Vec<T> v, int64_t count) {
  if (count >= width<T>) store(p, v);
  else store_tail(p, v, static_cast<int>(count));
}
template <class T>
RL_INLINE Vec<T> load_first(const T* p, int64_t count) {
  return count >= width<T> ? load(p) : load_tail(p, static_cast<int>(count));
}

// ---- lines: rows with their phases apart ----

// Where a phase of a row begins: its first column inside, which is entry `entry`, and how many there are.
struct Phase {
  int64_t column, entry, count;
};

Phase phase_of(const Pool2dShape& s, int64_t p) {
  const int64_t entry = p < s.pad_w ? ceil_div(s.pad_w - p, s.stride_w) : 0;
  const int64_t column = entry * s.stride_w + p - s.pad_w;
  return {column, entry, column < s.w ? ceil_div(s.w - column, s.stride_w) : 0};
}

// The lines of the rows that the windows of two rows of outputs cover: those at hand, and the next, whose lines are
// filled early because what was just stored cannot be loaded at another alignment at once.
template <class T>
class Lines {
 public:
  Lines(const Pool2dShape& s, T padding)
      : s_(s),
        padding_(padding),
        slots_(least(s.h, (s.kh - 1) * s.dil_h + 1 + s.stride_h)),
        length_(most(s.wout + (s.kw - 1) * s.dil_w / s.stride_w, (s.w + s.pad_w) / s.stride_w + 1) +
                width<T>),
        lines_(Use::image, sizeof(T) * slots_ * s.stride_w * length_),
        numbers_(Use::offsets, sizeof(int64_t) * (s.kw + slots_)) {
    const int64_t size = slots_ * s.stride_w * length_;
    T* line = lines_.template as<T>();
    for (int64_t i = 0; i < size; i += width<T>) store_first(line + i, splat(padding), size - i);
    auto* offset = numbers_.as<int64_t>();
    for (int64_t j = 0; j < s.kw; j++)
      offset[j] = j * s.dil_w % s.stride_w * length_ + j * s.dil_w / s.stride_w;
  }

  // Tap j of output o is element o + offset()[j] of a line.
  const int64_t* offset() const { return numbers_.as<int64_t>(); }
  const T* line(int64_t y) const { return lines_.template as<T>() + slot_of(y) * s_.stride_w * length_; }

  void begin_plane() {
    for (int64_t i = 0; i < slots_; i++) held()[i] = -1;
  }
  template <int stride>
  RL_INLINE void fill_rows(const T* plane, const Window& rows) {
    for (int64_t y = rows.begin; y < rows.end; y += s_.dil_h) {
      const int64_t slot = slot_of(y);
      if (held()[slot] == y) continue;
      held()[slot] = y;
      fill<stride>(plane + y * s_.w, lines_.template as<T>() + slot * s_.stride_w * length_);
    }
  }

 private:
  template <int stride>
  RL_INLINE void fill(const T* from, T* line) const {
    constexpr int w = width<T>;
    constexpr int64_t ahead = 4096 / sizeof(T);  // the processor itself fetches ahead within a page only
    const int64_t columns = s_.w, pad = s_.pad_w;
    const Vec<T> padding = splat(padding_);
    // Planes come from memory: between the steps of the work they are asked for some rows ahead.
    for (int64_t i = 0; i < columns; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(from + fetch_ahead + i);
    if constexpr (stride == 1) {
      for (int64_t i = 0; i < columns; i += w) {
        __builtin_prefetch(from + i + ahead);
        store(line + pad + i, load_padded(from + i, columns - i, padding));
      }
    } else if constexpr (stride == 2) {
      // column 0 is entry pad / 2 of phase pad % 2
      T *even = line + pad % 2 * length_ + pad / 2, *odd = line + (pad + 1) % 2 * length_ + (pad + 1) / 2;
      int64_t left = columns;
      for (; left >= 2 * w; left -= 2 * w, from += 2 * w, even += w, odd += w) {
        __builtin_prefetch(from + ahead);
        __builtin_prefetch(from + ahead + w);
        const Vec<T> a = load(from), b = load(from + w);
        store(even, every_second<0, T>(a, b));
        store(odd, every_second<1, T>(a, b));
      }
      if (left > 0) {
        const Vec<T> a = load_padded(from, left, padding), b = load_padded(from + w, left - w, padding);
        store(even, every_second<0, T>(a, b));
        store(odd, every_second<1, T>(a, b));
      }
    } else {
      for (int64_t p = 0; p < s_.stride_w; p++) {
        const Phase phase = phase_of(s_, p);
        T* to = line + p * length_ + phase.entry;
        for (int64_t q = 0; q < phase.count; q++) to[q] = from[phase.column + q * s_.stride_w];
      }
    }
  }
  // the first `count` lanes of p, then padding
  static RL_INLINE Vec<T> load_padded(const T* p, int64_t count, Vec<T> padding) {
    if (count >= width<T>) return load(p);
    if (count <= 0) return padding;
    return iota<T>() < static_cast<Word<T>>(count) ? load_tail(p, static_cast<int>(count)) : padding;
  }
  int64_t slot_of(int64_t y) const {  // narrow divisions are quicker
    return y <= UINT32_MAX ? static_cast<uint32_t>(y) % static_cast<uint32_t>(slots_) : y % slots_;
  }
  int64_t* held() const { return numbers_.as<int64_t>() + s_.kw; }  // which row each slot holds

  static constexpr int64_t fetch_ahead = 4096 / sizeof(T);
  const Pool2dShape s_;
  T padding_;
  int64_t slots_, length_;
  Scratch lines_, numbers_;
};

// ---- gradients ----

// The taps by the phase that they meet: tap j of output q - shift meets entry q.
struct PhaseTap {
  int64_t tap, shift;
};

class Phases {
 public:
  explicit Phases(const Pool2dShape& s)
      : taps_(Use::offsets, sizeof(PhaseTap) * s.kw + sizeof(int64_t) * (s.stride_w + 1)) {
    auto* tap = taps_.as<PhaseTap>();
    auto* start = reinterpret_cast<int64_t*>(tap + s.kw);
    int64_t count = 0;
    for (int64_t p = 0; p < s.stride_w; p++) {
      start[p] = count;
      for (int64_t j = 0; j < s.kw; j++)
        if (j * s.dil_w % s.stride_w == p) tap[count++] = {j, j * s.dil_w / s.stride_w};
    }
    start[s.stride_w] = count;
    tap_ = tap;
    start_ = start;
  }
  template <class F>
  RL_INLINE void each(int64_t phase, F f) const {
    for (int64_t k = start_[phase]; k < start_[phase + 1]; k++) f(tap_[k].tap, tap_[k].shift);
  }

 private:
  Scratch taps_;
  const PhaseTap* tap_;
  const int64_t* start_;
};

// Lines of gradients: zeros before and behind a row of outputs, so that every shift of every vector stays inside.
struct Margins {
  int64_t before, length;
  template <class T>
  static Margins of(const Pool2dShape& s) {
    const int64_t before = (s.kw - 1) * s.dil_w / s.stride_w;
    return {before, before + most(s.wout, (s.w + s.pad_w) / s.stride_w + 1) + width<T>};
  }
};

// Writes a row of the plane: value(p, q) is the vector of entries q and following of phase p.
template <int stride, class T, class F>
RL_INLINE void write_row(const Pool2dShape& s, T* row, F value) {
  constexpr int w = width<T>;
  if constexpr (stride == 1) {
    for (int64_t c = 0; c < s.w; c += w) store_first(row + c, value(0, c + s.pad_w), s.w - c);
  } else if constexpr (stride == 2) {
    const int64_t pad = s.pad_w;
    for (int64_t c = 0; c < s.w; c += 2 * w) {
      const int64_t left = s.w - c;
      const Vec<T> a = value(pad % 2, (c + pad) / 2), b = value((pad + 1) % 2, (c + pad + 1) / 2);
      store_first(row + c, interleaved<0, T>(a, b), left);
      if (left > w) store_first(row + c + w, interleaved<1, T>(a, b), left - w);
    }
  } else {
    for (int64_t p = 0; p < s.stride_w; p++) {
      const Phase phase = phase_of(s, p);
      for (int64_t k = 0; k < phase.count; k += w) {
        const Vec<T> v = value(p, phase.entry + k);
        for (int64_t l = 0; l < least(w, phase.count - k); l++)
          row[phase.column + (k + l) * s.stride_w] = v[l];
      }
    }
  }
}

// Where a row of gradients is computed, see kernels/stream.h: in its place, or in a buffer.
template <class T>
class GradientRows {
 public:
  explicit GradientRows(const Pool2dShape& s)
      : past_(streams(sizeof(T) * s.planes * (s.h * s.w + s.hout * s.wout))),
        length_(s.w),
        row_(Use::result, past_ ? sizeof(T) * s.w : 0) {}
  ~GradientRows() {
    if (past_) stream_end();
  }
  RL_INLINE T* begin(T* target) const { return past_ ? row_.as<T>() : target; }
  RL_INLINE void finish(T* target) const {
    if (past_) stream_copy(target, row_.as<T>(), sizeof(T) * length_);
  }
  // The row above once more.
  RL_INLINE void repeat(T* target) const {
    if (past_) finish(target);
    else __builtin_memcpy(target, target - length_, sizeof(T) * length_);
  }

 private:
  bool past_;
  int64_t length_;
  Scratch row_;
};

// f<stride>() with the usual strides as constants, 0 for others.
template <class F>
RL_INLINE void with_stride(const Pool2dShape& s, F f) {
  if (s.stride_w == 1) f.template operator()<1>();
  else if (s.stride_w == 2) f.template operator()<2>();
  else f.template operator()<0>();
}
// f<stride, side of a square window>(), likewise.
template <class F>
RL_INLINE void with_window(const Pool2dShape& s, F f) {
  if (s.stride_w == 2 && s.kw == 2 && s.kh == 2) f.template operator()<2, 2>();
  else if (s.stride_w == 2 && s.kw == 3 && s.kh == 3) f.template operator()<2, 3>();
  else with_stride(s, [&]<int stride>() { f.template operator()<stride, 0>(); });
}

}  // namespace
}  // namespace rushlight::cpu::RL_ISA

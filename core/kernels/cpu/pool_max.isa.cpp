// Maxima of sliding windows, and the gradient by the taps that won: Note [Pooling by rows] in pool_rows.h.
#include "pool_rows.h"

namespace rushlight::cpu::RL_ISA {
namespace {

// a > b ? a : b
template <class T>
RL_INLINE Vec<T> greater(Vec<T> a, Vec<T> b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
  else return (Vec<T>)_mm512_maskz_max_pd(0xff, (__m512d)a, (__m512d)b);
#else
  return a > b ? a : b;
#endif
}

template <class T>
RL_INLINE bool any_nan(Vec<T> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q);
  else return _mm512_cmp_pd_mask((__m512d)v, (__m512d)v, _CMP_UNORD_Q);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return _mm256_movemask_ps(_mm256_cmp_ps((__m256)v, (__m256)v, _CMP_UNORD_Q));
  else return _mm256_movemask_pd(_mm256_cmp_pd((__m256d)v, (__m256d)v, _CMP_UNORD_Q));
#else
  bool any = false;
  for (int l = 0; l < width<T>; l++) any |= v[l] != v[l];
  return any;
#endif
}

// What marks a tap (i, j): i * row + j * column; -1 marks none.
struct Marks {
  int64_t row, column;
};
enum class Keep { values, taps, indices };

// The rows of a row of windows that lie inside the plane, and what marks the first of their taps.
template <class T>
struct Block {
  const T* const* lines;
  int64_t rows, taps;
  const int64_t* offset;
  int64_t first_mark;
  Marks marks;
};

template <class T>
struct Best {
  Vec<T> value;
  Words<T> mark;
};

// The largest element of each window from output `at` on, the first of equals, the last NaN. In `numbers` there is none:
// false where there may be one.
template <int taps, bool marked, bool numbers, class T>
RL_INLINE bool best_of(const Block<T>& b, int64_t at, Words<T> now, Best<T>& best) {
  best = {splat(-static_cast<T>(__builtin_inf())), now};
  Vec<T> sum = {};  // is NaN if an element is (or if they are infinite, of both signs)
  now = Words<T>{} + static_cast<Word<T>>(b.first_mark);
  const Words<T> to_column = Words<T>{} + static_cast<Word<T>>(b.marks.column);
  const Words<T> to_row = Words<T>{} + static_cast<Word<T>>(b.marks.row - b.taps * b.marks.column);
  const int64_t rows = taps ? taps : b.rows, count = taps ? taps : b.taps;
#pragma GCC unroll 3
  for (int64_t k = 0; k < rows; k++) {
    const T* line = b.lines[k] + at;
#pragma GCC unroll 3
    for (int64_t j = 0; j < count; j++) {
      const Vec<T> v = load(line + b.offset[j]);
      if constexpr (numbers) {
        sum += v;
        if (marked) best.mark = v > best.value ? now : best.mark;
        best.value = greater<T>(v, best.value);
      } else {
        const auto better = (v > best.value) | (v != v);
        best.value = better ? v : best.value;
        best.mark = better ? now : best.mark;
      }
      if (marked) now += to_column;
    }
    if (marked) now += to_row;
  }
  return !numbers || !any_nan<T>(sum);
}

template <int stride, int taps, Keep keep, class T>
void max_planes(const Pool2dShape& shape, int64_t first, int64_t last, const T* x, T* y, uint8_t* tap,
                int64_t* index) {
  const Pool2dShape s = shape;  // a copy: stores of vectors might change what a reference names
  constexpr int w = width<T>;
  constexpr bool marked = keep != Keep::values;
  Lines<T> lines(s, -static_cast<T>(__builtin_inf()));
  Scratch pointers(Use::panels, sizeof(T*) * s.kh), marks(Use::result, sizeof(Word<T>) * (s.wout + w));
  const auto** line = pointers.as<const T*>();
  Block<T> block{line,           0, s.kw,
                 lines.offset(), 0, keep == Keep::indices ? Marks{s.dil_h * s.w, s.dil_w} : Marks{s.kw, 1}};
  // Where all elements are -inf, the first one inside the plane has won.
  auto* start = marks.as<Word<T>>();
  for (int64_t ox = 0; ox < s.wout; ox++) {
    const Window columns = sliding(ox, s.w, s.kw, s.stride_w, s.pad_w, s.dil_w, false);
    const int64_t j = (columns.begin - (ox * s.stride_w - s.pad_w)) / s.dil_w;
    start[ox] = static_cast<Word<T>>(columns.begin < columns.end ? j * block.marks.column : -1);
  }
  const auto rows_of = [&](int64_t oy) {
    return sliding(oy, s.h, s.kh, s.stride_h, s.pad_h, s.dil_h, false);
  };
  const auto fill = [&](int64_t p, int64_t oy) {
    if (oy < s.hout) lines.template fill_rows<stride>(x + p * s.h * s.w, rows_of(oy));
  };
  for (int64_t p = first; p < last; p++) {
    lines.begin_plane();
    fill(p, 0);
    for (int64_t oy = 0; oy < s.hout; oy++) {
      const Window rows = rows_of(oy);
      fill(p, oy + 1);
      block.rows = 0;
      for (int64_t r = rows.begin; r < rows.end; r += s.dil_h) line[block.rows++] = lines.line(r);
      block.first_mark = (rows.begin - (oy * s.stride_h - s.pad_h)) / s.dil_h * block.marks.row;
      const int64_t to = (p * s.hout + oy) * s.wout;
      for (int64_t ox = 0; ox < s.wout; ox += w) {
        Words<T> none = {};
        if (marked) {
          const Words<T> column = load(start + ox);
          none = column < 0 || block.rows == 0 ? Words<T>{} - 1
                                               : column + static_cast<Word<T>>(block.first_mark);
        }
        Best<T> best;
        const bool whole = taps && block.rows == taps;
        if (!(whole ? best_of<taps, marked, true>(block, ox, none, best)
                    : best_of<0, marked, true>(block, ox, none, best)))
          best_of<0, true, false>(block, ox, none, best);
        const int64_t count = s.wout - ox;
        store_first(y + to + ox, best.value, count);
        if constexpr (keep == Keep::taps) {
          const Bytes<T> bytes = __builtin_convertvector(best.mark, Bytes<T>);
          if (count >= w) __builtin_memcpy(tap + to + ox, &bytes, w);
          else
            for (int l = 0; l < count; l++) tap[to + ox + l] = bytes[l];
        }
        if constexpr (keep == Keep::indices) {
          const int64_t origin = (oy * s.stride_h - s.pad_h) * s.w + ox * s.stride_w - s.pad_w;
          for (int l = 0; l < least(w, count); l++)
            index[to + ox + l] = best.mark[l] < 0 ? -1 : origin + l * s.stride_w + best.mark[l];
        }
      }
    }
  }
}

template <int stride, class T>
void max_planes_backward(const Pool2dShape& shape, int64_t first, int64_t last, const T* gy,
                         const uint8_t* taps, T* gx) {
  const Pool2dShape s = shape;  // a copy: stores of vectors might change what a reference names
  constexpr int w = width<T>;
  const Phases phases(s);
  const Margins m = Margins::of<T>(s);
  const int64_t slots = least(s.hout, (s.kh - 1) * s.dil_h / s.stride_h + 1);
  // Lines of gradients, and of their taps, of the rows of outputs that one row of the plane meets.
  Scratch of_lines(Use::image, (sizeof(T) + sizeof(Word<T>)) * slots * m.length);
  T* gradient = of_lines.as<T>();
  auto* tap = reinterpret_cast<Word<T>*>(gradient + slots * m.length);
  for (int64_t i = 0; i < slots * m.length; i++) gradient[i] = 0, tap[i] = -1;
  struct Meeting {
    int64_t line;
    Word<T> tap;  // the first of the row of taps that meets
  };
  Scratch scratch(Use::panels, sizeof(Meeting) * s.kh);
  const GradientRows<T> output(s);
  auto* meetings = scratch.as<Meeting>();
  for (int64_t p = first; p < last; p++) {
    int64_t next = 0;  // row of outputs to come
    for (int64_t y = 0; y < s.h; y++) {
      for (; next < s.hout && next * s.stride_h <= y + s.pad_h; next++) {
        const int64_t from = (p * s.hout + next) * s.wout, to = next % slots * m.length + m.before;
        for (int64_t o = 0; o < s.wout; o += w) {
          const int64_t count = s.wout - o;
          Bytes<T> bytes;
          if (count >= w) __builtin_memcpy(&bytes, taps + from + o, w);
          else
            for (int l = 0; l < w; l++) bytes[l] = l < count ? taps[from + o + l] : 0;
          store_first(gradient + to + o, load_first(gy + from + o, count), count);
          store(tap + to + o,
                __builtin_convertvector(bytes, Words<T>));  // zero gradients follow: any tap will do
        }
      }
      int64_t count = 0;
      for (int64_t i = s.kh - 1; i >= 0; i--) {
        const int64_t t = y + s.pad_h - i * s.dil_h;
        if (t >= 0 && t % s.stride_h == 0 && t / s.stride_h < s.hout)
          meetings[count++] = {t / s.stride_h % slots * m.length + m.before, static_cast<Word<T>>(i * s.kw)};
      }
      T* const row = gx + (p * s.h + y) * s.w;
      write_row<stride>(s, output.begin(row), [&](int64_t phase, int64_t q) {
        Vec<T> sum = {};
        for (int64_t k = 0; k < count; k++)
          phases.each(phase, [&](int64_t j, int64_t shift) {
            const int64_t at = meetings[k].line + q - shift;
            const auto hit = load(tap + at) == static_cast<Word<T>>(meetings[k].tap + j);
            sum += hit ? load(gradient + at) : Vec<T>{};
          });
        return sum;
      });
      output.finish(row);
    }
  }
}

}  // namespace

template <class T>
void max_pool_planes(const Pool2dShape& s, int64_t first, int64_t last, const T* x, T* y, uint8_t* taps,
                     int64_t* index) {
  with_window(s, [&]<int stride, int side>() {
    if (index) max_planes<stride, side, Keep::indices>(s, first, last, x, y, taps, index);
    else if (taps) max_planes<stride, side, Keep::taps>(s, first, last, x, y, taps, index);
    else max_planes<stride, side, Keep::values>(s, first, last, x, y, taps, index);
  });
}

template <class T>
void max_pool_planes_backward(const Pool2dShape& s, int64_t first, int64_t last, const T* gy,
                              const uint8_t* taps, T* gx) {
  with_stride(s, [&]<int stride>() { max_planes_backward<stride>(s, first, last, gy, taps, gx); });
}

#define INSTANTIATE(T) \
  template void max_pool_planes(const Pool2dShape&, int64_t, int64_t, const T*, T*, uint8_t*, int64_t*); \
  template void max_pool_planes_backward(const Pool2dShape&, int64_t, int64_t, const T*, const uint8_t*, T*);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace rushlight::cpu::RL_ISA

// Sorting and selection of rows. Elements become unsigned keys in the same order (nan last, -0 equal to 0), keys and
// positions become one number, and those are sorted by digits: stable, and without comparisons that would be mispredicted.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>

#include "device/allocator.h"
#include "kernels/target.h"
#include "kernels/with_isa.h"

namespace rushlight::cpu {

// ---- keys ----
template <class T> struct key_of {
  using type = std::make_unsigned_t<T>;
};
template <> struct key_of<float> {
  using type = uint32_t;
};
template <> struct key_of<double> {
  using type = uint64_t;
};
template <class T> using Key = typename key_of<T>::type;

template <class T> RL_INLINE Key<T> ascending_key(T x) {
  constexpr Key<T> top = Key<T>(1) << (8 * sizeof(T) - 1);
  if constexpr (std::is_floating_point_v<T>) {
    const Key<T> bits = std::bit_cast<Key<T>>(x == T(0) ? T(0) : x);
    const Key<T> ordered = bits ^ (bits & top ? ~Key<T>(0) : top);
    return x != x ? ~Key<T>(0) : ordered;
  } else if constexpr (std::is_signed_v<T>) {
    return Key<T>(Key<T>(x) ^ top);
  } else {
    return x;
  }
}

// A key above the element's position; fewer than 2^32 elements. No two are equal, and their order is that of a stable sort.
template <class T> using Ranked = std::conditional_t<sizeof(T) <= 4, uint64_t, unsigned __int128>;
constexpr int position_bits = 32;
constexpr int64_t most_ranked = int64_t(UINT32_MAX);

template <class T> RL_INLINE Ranked<T> ranked(T x, int64_t i, bool descending) {
  const Key<T> key = ascending_key(x);
  return Ranked<T>(descending ? Key<T>(~key) : key) << position_bits | uint32_t(i);
}
// Loops that with_isa compiles take values: what a lambda holds would be read anew after each store.
template <class T> RL_INLINE void rank_loop(const T* row, int64_t n, bool descending, Ranked<T>* out) {
  RL_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) out[i] = ranked(row[i], i, descending);
}
template <class T> void rank_row(const T* row, int64_t n, bool descending, Ranked<T>* out) {
  with_isa([=] { rank_loop(row, n, descending, out); });
}

// Memory that is written before it is read; from the cache of blocks, where pages are large.
struct GiveBack {
  size_t bytes;
  void operator()(void* p) const { release(p, bytes); }
};
template <class T> std::unique_ptr<T[], GiveBack> scratch(int64_t n) {
  const size_t bytes = size_t(n) * sizeof(T);
  return {static_cast<T*>(allocate(bytes)), GiveBack{bytes}};
}

// ---- sorting ----

// Sorts n numbers by their bits [position_bits, position_bits + key_bits); equal keys keep their order. The result is in x or
// in room; the pointer to it is returned.
template <int digit_bits, class N> N* sort_by_digits(N* x, N* room, int64_t n, int key_bits) {
  constexpr int buckets = 1 << digit_bits;
  constexpr int most_digits = (64 + digit_bits - 1) / digit_bits;
  const int digits = (key_bits + digit_bits - 1) / digit_bits;
  uint32_t counts[most_digits][buckets];
  std::fill_n(&counts[0][0], digits * buckets, 0u);
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t key = uint64_t(x[i] >> position_bits);
    for (int d = 0; d < digits; ++d) ++counts[d][(key >> (d * digit_bits)) & (buckets - 1)];
  }
  for (int d = 0; d < digits; ++d) {
    const int shift = d * digit_bits;
    uint32_t* count = counts[d];
    if (count[(uint64_t(x[0] >> position_bits) >> shift) & (buckets - 1)] == uint32_t(n))
      continue;  // all alike
    uint32_t at = 0;
    for (int b = 0; b < buckets; ++b) {
      const uint32_t here = count[b];
      count[b] = at;
      at += here;
    }
    for (int64_t i = 0; i < n; ++i) {
      const N v = x[i];
      room[count[(uint64_t(v >> position_bits) >> shift) & (buckets - 1)]++] = v;
    }
    std::swap(x, room);
  }
  return x;
}

// Sorts ranked elements; the result is in x or in room.
template <class T> Ranked<T>* sort_ranked(Ranked<T>* x, Ranked<T>* room, int64_t n) {
  constexpr int key_bits = 8 * sizeof(T);
  if (n < 64) {
    std::sort(x, x + n);
    return x;
  }
  if (key_bits <= 16 || n < 4096) return sort_by_digits<8>(x, room, n, key_bits);
  return sort_by_digits<11>(x, room, n, key_bits);
}

// ---- selection ----

// The number that would stand at place k if x were sorted. Leaves x in disorder.
template <class T> Ranked<T> select_ranked(Ranked<T>* x, int64_t n, int64_t k) {
  constexpr int digit_bits = sizeof(T) == 1 ? 8 : 11, buckets = 1 << digit_bits;
  for (int shift = 8 * int(sizeof(T)) - digit_bits; n > 512; shift = std::max(0, shift - digit_bits)) {
    uint32_t counts[buckets] = {};
    auto digit = [shift](Ranked<T> v) { return int(uint64_t(v >> position_bits) >> shift) & (buckets - 1); };
    for (int64_t i = 0; i < n; ++i) ++counts[digit(x[i])];
    int b = 0;
    for (; k >= counts[b]; ++b) k -= counts[b];
    int64_t m = 0;  // keep the numbers of this bucket
    for (int64_t i = 0; i < n; ++i) {
      const Ranked<T> v = x[i];
      x[m] = v;
      m += digit(v) == b;
    }
    n = m;
    if (shift == 0) break;
  }
  std::nth_element(x, x + k, x + n);
  return x[k];
}

// The first block of some elements, from `at` on, in which one comes before a rank's key; n where there is none.
constexpr int64_t compared = 64;
template <class T> RL_INLINE int64_t next_before(const T* row, int64_t at, int64_t n, bool descending,
                                                 Key<T> last) {
  const Key<T> flip = descending ? ~Key<T>(0) : Key<T>(0);
  for (; at + compared <= n; at += compared) {
    int hits = 0;
    for (int64_t i = 0; i < compared; ++i) hits |= Key<T>(ascending_key(row[at + i]) ^ flip) < last;
    if (hits) return at;
  }
  return at;
}

// The first k ranks of a row in order, where k is far less than n: one pass that remembers what comes before the k-th
// best so far. `out` has room for first_ranked_room(k).
inline int64_t first_ranked_room(int64_t k) { return 2 * k + 2 * compared; }
template <class T> void first_ranked(const T* row, int64_t n, int64_t k, bool descending, Ranked<T>* out) {
  int64_t m = 0;
  const int64_t room = first_ranked_room(k);
  Key<T> last = std::numeric_limits<Key<T>>::max();  // key of the k-th best, once there are so many
  bool full = false;
  auto cut = [&] {
    std::nth_element(out, out + k - 1, out + m);
    m = k;
    last = Key<T>(out[k - 1] >> position_bits);
    full = true;
  };
  for (int64_t at = 0; at < n;) {
    if (full) {
      int64_t* found = &at;
      with_isa([=] { *found = next_before(row, *found, n, descending, last); });
    }
    const int64_t end = std::min(n, at + compared);
    for (; at < end; ++at) {
      const Ranked<T> v = ranked(row[at], at, descending);
      out[m] = v;
      m += !full || Key<T>(v >> position_bits) < last;
    }
    if (m > room - compared) cut();
  }
  cut();
  std::sort(out, out + k);  // not by digits, which would leave equal keys in the disorder that cutting makes
}

}  // namespace rushlight::cpu

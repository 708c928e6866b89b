// Writing past the caches. An ordinary store fetches the line that it is about to overwrite; where an output is so large that
// it has left the caches before anybody reads it, that is a third of a copy's traffic for nothing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace rushlight {

// Whether an operator that reads and writes so many bytes in all does without the caches for what it writes. Measured with
// sums of two arrays, one after the other: no difference at 48 MB, a quarter less time at 96 MB, a third at 192 MB.
// Not for outputs that are an input as well: their lines are there already.
inline __attribute__((always_inline)) bool streams(int64_t bytes) { return bytes >= int64_t{64} << 20; }

// memcpy past the caches; lines that the row does not fill are written as usual. For rows of 256 bytes and more.
void stream_copy(void* to, const void* from, size_t bytes);
// The same for `rows` short rows, whose lines must be their own: where they begin within a line, they are written as usual.
void stream_rows(char* to, int64_t to_apart, const char* from, int64_t from_apart, int64_t bytes,
                 int64_t rows);
// After the last of these in a chunk: other threads see what was written before they see that the chunk is done.
void stream_end();

// Memory that is read before long, on its way already; none of it need exist. For what the processor does not foresee, and while
// it writes past the caches.
template <class T> inline __attribute__((always_inline)) void prefetch(const T* from, int64_t n) {
  constexpr int64_t line = 64;
  auto* bytes = reinterpret_cast<const char*>(from);
  for (int64_t i = 0; i < n * int64_t(sizeof(T)); i += line) __builtin_prefetch(bytes + i);
}

// Where a chunk's rows of results are computed, one after the other: each where it belongs, or in a buffer from which it is
// written past the caches.
template <class T> class RowOutput {
 public:
  // No row is longer than `longest`; longer ones than `most` are not for buffers.
  RowOutput(bool past, int64_t longest) : room_(past ? new T[longest] : nullptr) {}
  ~RowOutput() {
    if (room_) stream_end();
  }
  static constexpr int64_t most = 65536;

  T* begin(T* target) const { return room_ ? room_.get() : target; }
  // Writes what begin() gave room for; meanwhile the next rows of inputs are fetched.
  template <class... Input> void finish(T* target, int64_t n, const Input*... next) const {
    constexpr int64_t piece = 256;
    if (!room_) return;
    for (int64_t i = 0; i < n; i += piece) {
      const int64_t m = n - i < piece ? n - i : piece;
      (prefetch(next + i, m), ...);
      stream_copy(target + i, room_.get() + i, m * sizeof(T));
    }
  }

 private:
  std::unique_ptr<T[]> room_;
};

}  // namespace rushlight

// Working memory of the matrix and convolution kernels. Small buffers stay with the thread between calls.
#pragma once

#include <cstddef>

namespace rushlight::cpu {

// What the buffer is for: at most one Scratch of a kind lives in a thread at a time.
enum class Use {
  panel_a,
  panel_b,
  panel_c,
  panels,
  tiles,
  more_tiles,
  result,
  image,
  weight,
  gradient,
  offsets,
  count
};

class Scratch {
 public:
  Scratch(Use use, size_t bytes);  // aligned to 64 bytes; throws std::bad_alloc
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  bool owned_;
};

}  // namespace rushlight::cpu

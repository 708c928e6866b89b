// Dims: a list of sizes, strides or other integers with inline room for eight.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>

namespace rushlight {

using IntSpan = std::span<const int64_t>;

class Dims {
 public:
  Dims() = default;
  explicit Dims(size_t n, int64_t value = 0) { resize(n, value); }
  Dims(std::initializer_list<int64_t> v) { assign(IntSpan(v.begin(), v.size())); }
  Dims(IntSpan v) { assign(v); }
  Dims(const Dims& o) { assign(o); }
  Dims(Dims&& o) noexcept { take(o); }
  Dims& operator=(const Dims& o) {
    if (this != &o) assign(o);
    return *this;
  }
  Dims& operator=(Dims&& o) noexcept {
    if (this != &o) {
      if (data_ != inline_) delete[] data_;
      take(o);
    }
    return *this;
  }
  ~Dims() {
    if (data_ != inline_) delete[] data_;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int64_t* data() { return data_; }
  const int64_t* data() const { return data_; }
  int64_t* begin() { return data_; }
  int64_t* end() { return data_ + size_; }
  const int64_t* begin() const { return data_; }
  const int64_t* end() const { return data_ + size_; }
  int64_t& operator[](size_t i) { return data_[i]; }
  int64_t operator[](size_t i) const { return data_[i]; }
  int64_t& back() { return data_[size_ - 1]; }
  int64_t back() const { return data_[size_ - 1]; }
  operator IntSpan() const { return {data_, size_}; }
  void clear() { size_ = 0; }
  void reserve(size_t n) {
    if (n <= capacity_) return;
    n = std::max<size_t>(n, capacity_ * 2);
    int64_t* p = new int64_t[n];
    std::memcpy(p, data_, size_ * sizeof(int64_t));
    if (data_ != inline_) delete[] data_;
    data_ = p;
    capacity_ = n;
  }
  void push_back(int64_t v) {
    reserve(size_ + 1);
    data_[size_++] = v;
  }
  void pop_back() { --size_; }
  void resize(size_t n, int64_t value = 0) {
    reserve(n);
    for (size_t i = size_; i < n; ++i) data_[i] = value;
    size_ = n;
  }
  void insert(size_t at, int64_t v) {
    push_back(v);
    std::rotate(begin() + at, end() - 1, end());
  }
  void erase(size_t at) {
    std::copy(begin() + at + 1, end(), begin() + at);
    --size_;
  }
  void assign(IntSpan v) {
    size_ = 0;
    reserve(v.size());
    if (v.size()) std::memmove(data_, v.data(), v.size() * sizeof(int64_t));
    size_ = v.size();
  }
  friend bool operator==(const Dims& a, const Dims& b) { return same(a, b); }
  static bool same(IntSpan a, IntSpan b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
  }

 private:
  void take(Dims& o) {
    size_ = o.size_;
    if (o.data_ == o.inline_) {
      data_ = inline_;
      capacity_ = 8;
      std::memcpy(inline_, o.inline_, sizeof(int64_t) * size_);
    } else {
      data_ = o.data_;
      capacity_ = o.capacity_;
      o.data_ = o.inline_;
      o.capacity_ = 8;
    }
    o.size_ = 0;
  }
  int64_t* data_ = inline_;
  size_t size_ = 0, capacity_ = 8;
  int64_t inline_[8];
};

inline bool same(IntSpan a, IntSpan b) { return Dims::same(a, b); }
Dims contiguous_strides(IntSpan sizes);  // PyTorch's: a size-1 or empty dimension counts as 1
int64_t count(IntSpan sizes);            // product; throws where it overflows int64 or a size is negative
Dims broadcast(IntSpan a, IntSpan b);    // throws PyTorch's "The size of tensor a (3) must match ..."
bool is_contiguous(IntSpan sizes, IntSpan strides);
bool is_dense(IntSpan sizes, IntSpan strides);  // non-overlapping and dense, in some order of dimensions
bool overlaps_itself(IntSpan sizes, IntSpan strides);  // two indices surely or possibly share an element
int64_t wrap_dim(int64_t dim, int64_t ndim);  // IndexError "Dimension out of range (...)"; ndim 0 counts as 1

}  // namespace rushlight

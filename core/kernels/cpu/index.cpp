// Advanced indexing: offsets of the named elements, and loops that read and write them.
#include "kernels/cpu/index.h"

#include <atomic>

#include "kernels/copy.h"
#include "kernels/loop.h"
#include "kernels/stream.h"
#include "kernels/with_isa.h"

namespace rushlight::cpu {

namespace {

constexpr int64_t grain = 32768;  // elements per parallel chunk

// Appends the offsets of all positions of a strided block, in row-major order.
void block_offsets(std::vector<int64_t>& out, IntSpan sizes, IntSpan strides) {
  out.assign(1, 0);
  for (size_t d = 0; d < sizes.size(); ++d) {
    std::vector<int64_t> next;
    next.reserve(out.size() * sizes[d]);
    for (int64_t base : out)
      for (int64_t i = 0; i < sizes[d]; ++i) next.push_back(base + i * strides[d]);
    out = std::move(next);
  }
}

// Splits dimensions into a run of neighbouring elements at the end and the offsets of the runs.
int64_t runs_of(std::vector<int64_t>& offsets, const Tensor& t, IntSpan dims) {
  int64_t run = 1;
  size_t n = dims.size();
  while (n && (t.size(dims[n - 1]) == 1 || t.stride(dims[n - 1]) == run)) run *= t.size(dims[--n]);
  Dims sizes, strides;
  for (size_t d = 0; d < n; ++d) sizes.push_back(t.size(dims[d])), strides.push_back(t.stride(dims[d]));
  block_offsets(offsets, sizes, strides);
  return run;
}

void strided_offsets(std::vector<int64_t>& offsets, const Tensor& t, IntSpan dims) {
  Dims sizes, strides;
  for (auto d : dims) sizes.push_back(t.size(d)), strides.push_back(t.stride(d));
  block_offsets(offsets, sizes, strides);
}

Tensor contiguous_index(const Tensor& index, IntSpan sizes) {
  if (index.dtype() == Dtype::i64 && index.contiguous() && same(index.sizes(), sizes)) return index;
  Tensor out = empty(sizes, Dtype::i64);
  copy(out, index);
  return out;
}

}  // namespace

int64_t first_outside(const int64_t* index, int64_t n, int64_t low, int64_t high) {
  std::atomic<bool> bad = false;
  uint64_t span = high - low;
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    uint64_t farthest = 0;
    with_isa([index, begin, end, low, &farthest] {
      uint64_t most = 0;
      for (int64_t i = begin; i < end; ++i) most = std::max(most, uint64_t(index[i]) - uint64_t(low));
      farthest = most;
    });
    if (farthest >= span && begin < end) bad = true;
  });
  if (!bad) return -1;
  for (int64_t i = 0; i < n; ++i)
    if (index[i] < low || index[i] >= high) return i;
  return -1;
}

IndexShape::IndexShape(const Tensor& t, std::span<const Tensor> indices) {
  if (int64_t(indices.size()) > t.ndim())
    throw index_error("too many indices for tensor of dimension ", t.ndim(), " (got ", indices.size(), ")");
  int64_t first = -1, last = -1, used = 0;
  for (size_t d = 0; d < indices.size(); ++d) {
    if (!indices[d]) continue;
    if (first < 0) first = d;
    last = d;
    ++used;
  }
  bool neighbours = used == 0 || last - first + 1 == used;
  try {
    for (auto& i : indices)
      if (i) index = broadcast(index, i.sizes());
  } catch (const Error&) {
    std::string shapes;
    for (auto& i : indices)
      if (i) shapes += (shapes.empty() ? "" : ", ") + show(i.sizes());
    throw index_error("shape mismatch: indexing tensors could not be broadcast together with shapes ",
                      shapes);
  }
  for (int64_t d = 0; d < t.ndim(); ++d) {
    if (d < int64_t(indices.size()) && indices[d]) {
      if (t.size(d) == 0 && count(index))
        throw index_error("index is out of bounds for dimension with size 0");
      continue;
    }
    (neighbours && d < first ? before : after).push_back(d);
  }
  for (auto d : before) sizes.push_back(t.size(d));
  for (auto n : index) sizes.push_back(n);
  for (auto d : after) sizes.push_back(t.size(d));
}

Selection::Selection(const Tensor& t, std::span<const Tensor> indices) {
  IndexShape shape(t, indices);
  sizes = shape.sizes;
  int64_t n = count(shape.index);
  index.assign(n, 0);
  for (size_t d = 0; d < indices.size(); ++d) {
    if (!indices[d] || n == 0) continue;
    Tensor numbers = contiguous_index(indices[d], shape.index);
    const int64_t* from = numbers.data<int64_t>();
    int64_t size = t.size(d), stride = t.stride(d);
    if (int64_t at = first_outside(from, n, -size, size); at >= 0)
      throw index_error("index ", from[at], " is out of bounds for dimension ", d, " with size ", size);
    int64_t* to = index.data();
    parallel_for(n, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] += (from[i] < 0 ? from[i] + size : from[i]) * stride;
    });
  }
  if (count(sizes) == 0) return;
  strided_offsets(before, t, shape.before);
  run = runs_of(after, t, shape.after);
}

Selection::Selection(const Tensor& t, int64_t dim, const int64_t* numbers, int64_t n) {
  sizes = Dims(t.sizes());
  Dims lead, rest;
  for (int64_t d = 0; d < t.ndim(); ++d)
    if (d != dim) (d < dim ? lead : rest).push_back(d);
  int64_t size = 1, stride = 1;
  if (t.ndim()) {
    sizes[dim] = n;
    size = t.size(dim);
    stride = t.stride(dim);
  }
  index.resize(n);
  for (int64_t i = 0; i < n; ++i) index[i] = (numbers[i] < 0 ? numbers[i] + size : numbers[i]) * stride;
  if (count(sizes) == 0) return;
  strided_offsets(before, t, lead);
  run = runs_of(after, t, rest);
}

void take_elements(const Tensor& out, const Tensor& t, const Selection& s) {
  if (out.numel() == 0) return;
  size_t item = t.itemsize();
  char* to = out.raw();
  const char* from = t.raw();
  int64_t named = s.index.size(), tails = s.after.size(), row = tails * s.run;
  auto copy_rows = [&]<class T>(int64_t begin, int64_t end) {
    const T* source = reinterpret_cast<const T*>(from);
    T* target = reinterpret_cast<T*>(to) + begin * row;
    int64_t b = begin / named, j = begin % named;
    for (int64_t r = begin; r < end; ++b, j = 0) {
      const T* lead = source + s.before[b];
      int64_t stop = std::min(named, j + end - r);
      r += stop - j;
      if (row == 1) {
        lead += s.after[0];
        for (const int64_t* at = s.index.data(); j < stop; ++j) *target++ = lead[at[j]];
        continue;
      }
      for (; j < stop; ++j)
        for (int64_t k = 0; k < tails; ++k, target += s.run)
          std::copy_n(lead + s.index[j] + s.after[k], s.run, target);
    }
  };
  int64_t rows = int64_t(s.before.size()) * named;
  const size_t bytes = s.run * item;
  const bool past = tails == 1 && bytes >= 256 && streams(2 * rows * int64_t(bytes));
  parallel_for(rows, std::max<int64_t>(1, grain / row), [&](int64_t begin, int64_t end) {
    if (tails == 1 && s.run > 1) {
      for (int64_t r = begin; r < end; ++r) {
        const char* source = from + (s.before[r / named] + s.index[r % named] + s.after[0]) * item;
        if (past) stream_copy(to + r * bytes, source, bytes);
        else std::memcpy(to + r * bytes, source, bytes);
      }
      if (past) stream_end();
    } else {
      visit_size(item, [&]<class T>() { copy_rows.template operator()<T>(begin, end); });
    }
  });
}

namespace {

// Calls body(before, first tail, last tail, first of run, last of run) so that no two chunks write to one element.
template <class F> void disjoint_chunks(const Selection& s, F&& body) {
  int64_t lead = s.before.size(), named = s.index.size(), tails = s.after.size();
  int64_t work = named * tails * s.run;
  if (lead > 1) {
    parallel_for(lead, std::max<int64_t>(1, grain / std::max<int64_t>(work, 1)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t b = begin; b < end; ++b) body(b, 0, tails, 0, s.run);
                 });
  } else if (tails > 1) {
    parallel_for(tails, std::max<int64_t>(1, grain / (named * s.run)),
                 [&](int64_t begin, int64_t end) { body(0, begin, end, 0, s.run); });
  } else {
    // pieces of the run wide enough to be read ahead
    parallel_for(s.run, std::max<int64_t>(256, grain / named),
                 [&](int64_t begin, int64_t end) { body(0, 0, tails, begin, end); });
  }
}

// The part [begin, end) of the runs [first, last) of every named position.
template <class T, class F>
RL_INLINE void put_runs(T* lead, const int64_t* index, const int64_t* after, const T* from, bool one,
                        int64_t named, int64_t row, int64_t run, int64_t first, int64_t last, int64_t begin,
                        int64_t end, F write) {
  for (int64_t j = 0; j < named; ++j)
    for (int64_t k = first; k < last; ++k) {
      T* target = lead + index[j] + after[k];
      if (one) {
        const T value = *from;
        for (int64_t i = begin; i < end; ++i) write(target[i], value);
      } else {
        const T* source = from + j * row + k * run;
        for (int64_t i = begin; i < end; ++i) write(target[i], source[i]);
      }
    }
}

template <class T, class F> void put_typed(const Tensor& t, const Selection& s, const Tensor& values,
                                           F&& write) {
  T* to = t.data<T>();
  const T* from = values.data<T>();
  bool one = values.numel() == 1;
  int64_t named = s.index.size(), tails = s.after.size(), row = tails * s.run;
  if (row == 1 && !one) {  // single elements
    disjoint_chunks(s, [&](int64_t b, int64_t, int64_t, int64_t, int64_t) {
      T* base = to + s.before[b] + s.after[0];
      const T* source = from + b * named;
      const int64_t* index = s.index.data();
      for (int64_t j = 0; j < named; ++j) write(base[index[j]], source[j]);
    });
    return;
  }
  const int64_t *index = s.index.data(), *after = s.after.data(), run = s.run;
  disjoint_chunks(s, [=, &s](int64_t b, int64_t first, int64_t last, int64_t begin, int64_t end) {
    T* lead = to + s.before[b];
    const T* source = one ? from : from + b * named * row;
    with_isa(
        [=] { put_runs(lead, index, after, source, one, named, row, run, first, last, begin, end, write); });
  });
}

}  // namespace

void put_elements(const Tensor& t, const Selection& s, const Tensor& values, bool accumulate) {
  if (count(s.sizes) == 0) return;
  if (accumulate)
    visit(
        t.dtype(),
        [&]<class T>() {
          put_typed<T>(t, s, values, [](T& a, const T& b) { add_to(a, rushlight::load(&b)); });
        },
        "index_put_");
  else
    visit_size(t.itemsize(), [&]<class T>() { put_typed<T>(t, s, values, [](T& a, const T& b) { a = b; }); });
}

namespace {

// The elements [0, n) of one output row.
template <class T>
RL_INLINE void sum_rows(T* to, const T* base, int64_t n, const T* values, int64_t row, const int64_t* first,
                        const int64_t* last) {
  auto add_all = [n](T* sum, const T* start, const T* add) {
    RL_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) {
      T value = start ? rushlight::load(start + j) : T();
      add_to(value, rushlight::load(add + j));
      sum[j] = value;
    }
  };
  if (base) prefetch(base + 2 * n, n);  // of a piece that comes soon
  if (first == last) {
    if (base) std::copy_n(base, n, to);
    else std::fill_n(to, n, T());
    return;
  }
  const T* add = values + *first * row;
  prefetch(add + 2 * n, n);
  if (base) add_all(to, base, add);
  else add_all(to, nullptr, add);
  while (++first < last) add_all(to, to, values + *first * row);
}

}  // namespace

void add_rows(Dtype dtype, char* to, const char* base, int64_t rows, int64_t row, const int64_t* index,
              int64_t n, const char* values, int64_t skipped) {
  // the sources of output row r, ascending: order[starts[r]] up to order[starts[r + 1]]
  std::vector<int64_t> starts(rows + 1), order(n);
  for (int64_t i = 0; i < n; ++i)
    if (index[i] != skipped) ++starts[index[i] + 1];
  for (int64_t r = 0; r < rows; ++r) starts[r + 1] += starts[r];
  std::vector<int64_t> next(starts.begin(), starts.end() - 1);
  for (int64_t i = 0; i < n; ++i)
    if (index[i] != skipped) order[next[index[i]]++] = i;

  const int64_t item = itemsize(dtype);
  const bool past = streams((2 * rows + n) * row * item);
  visit(
      dtype,
      [&]<class T>() {
        constexpr int64_t piece = 1024 / sizeof(T);
        parallel_for(rows, std::max<int64_t>(1, grain / row), [&](int64_t begin, int64_t end) {
          alignas(64) char buffer[piece * sizeof(T)];
          for (int64_t r = begin; r < end; ++r)
            for (int64_t at = 0; at < row; at += piece) {
              const int64_t m = std::min(piece, row - at), place = r * row + at;
              T* const target = reinterpret_cast<T*>(to) + place;
              T* const sum = past ? reinterpret_cast<T*>(buffer) : target;
              const T* start = base ? reinterpret_cast<const T*>(base) + place : nullptr;
              const T* from = reinterpret_cast<const T*>(values) + at;
              const int64_t *first = order.data() + starts[r], *last = order.data() + starts[r + 1];
              with_isa([=] { sum_rows(sum, start, m, from, row, first, last); });
              if (past) stream_copy(target, sum, m * sizeof(T));
            }
          if (past) stream_end();
        });
      },
      "index_add");
}

}  // namespace rushlight::cpu

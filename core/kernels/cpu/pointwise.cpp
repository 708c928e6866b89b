// The driver of all pointwise kernels (kernels/map.h): brings operands of any dtype, stride and broadcast shape to the
// contiguous rows of the compute dtype that row functions take, in blocks small enough to stay in L1.
#include <cstring>

#include "kernels/copy.h"
#include "kernels/cpu/isa.h"
#include "kernels/loop.h"
#include "kernels/map.h"
#include "kernels/stream.h"

namespace rushlight {

namespace {

constexpr int64_t block = 512;     // elements per buffer
constexpr int64_t short_row = 64;  // rows shorter than this are gathered several to a block
constexpr int max_inputs = 6;

struct Buffer {
  alignas(64) char bytes[block * 16];
};

// Where operands are too large for the caches: elements computed at a time, and how far ahead of them inputs are fetched, so that memory
// works while the processor computes.
constexpr int64_t stream_block = 256, stream_ahead = 2 * stream_block;

int isa_level() {
  static const int level = cpu::isa() == cpu::Isa::v4 ? 2 : cpu::isa() == cpu::Isa::v3 ? 1 : 0;
  return level;
}

struct Input {
  const Tensor* tensor = nullptr;  // null: a number, its buffer is filled once
  Dtype dtype = Dtype::none;       // that the row function reads
  size_t item = 0;                 // size of that
  ConvertRow convert = nullptr;    // null: the tensor has that dtype already
  int operand = -1;                // in the loop
};

// Elements that fit into a buffer: how many repeated numbers lie ready, and how many results wait to be written at once.
int64_t buffered(size_t item) { return int64_t(sizeof(Buffer) / item); }

struct Work {
  const Call& c;
  RowFn fn;
  Dtype result;
  int nin = 0;
  Input in[max_inputs];
  const char* constant[max_inputs] = {};  // blocks of one repeated number

  void run() const;
  bool outgrows_caches() const;
  bool writes_past_caches() const;
  void contiguous(int64_t n, bool has_constants) const;
  void strided() const;
  void short_rows(const Work& numbered, const Loop& loop) const;
};

bool Work::outgrows_caches() const {
  int64_t bytes = c.out().numel() * c.out().itemsize();
  for (int k = 0; k < nin; ++k)
    if (in[k].tensor) bytes += in[k].tensor->numel() * in[k].tensor->itemsize();
  return streams(bytes);
}
// Not where the output alone is small enough to be in the cache still when it is read, as those of comparisons are.
bool Work::writes_past_caches() const {
  bool in_place = false;
  for (int k = 0; k < nin; ++k) in_place |= in[k].tensor && in[k].tensor->raw() == c.out().raw();
  return !in_place && outgrows_caches() && streams(2 * c.out().numel() * c.out().itemsize());
}

// All tensors are contiguous, of the right dtype and of the output's size.
void Work::contiguous(int64_t n, bool has_constants) const {
  char* out = c.out().raw();
  const size_t out_item = itemsize(result);
  const bool large = outgrows_caches(), past = writes_past_caches();
  size_t widest = out_item;
  for (int k = 0; k < nin; ++k) widest = std::max(widest, in[k].item);
  const int64_t most = large ? stream_block : has_constants ? buffered(widest) : n;
  parallel_for(n, pointwise_grain, [&](int64_t begin, int64_t end) {
    Buffer results;
    for (int64_t at = begin; at < end; at += most) {
      const int64_t m = std::min(most, end - at);
      const char* p[max_inputs];
      for (int k = 0; k < nin; ++k) p[k] = in[k].tensor ? in[k].tensor->raw() + at * in[k].item : constant[k];
      char* const to = out + at * out_item;
      if (large)
        for (int k = 0; k < nin; ++k)
          if (in[k].tensor && at + stream_ahead < n)
            prefetch(p[k] + stream_ahead * in[k].item, m * in[k].item);
      fn(past ? results.bytes : to, p, m);
      if (past) stream_copy(to, results.bytes, m * out_item);
    }
    if (past) stream_end();
  });
}

// f(address) for elements [begin, begin + n) of one operand in the loop's order. Not vectorised: the rows are short.
template <class F>
__attribute__((noinline, optimize("no-tree-vectorize"))) void walk_tile(const Loop& loop, int operand,
                                                                        int64_t begin, int64_t n, F&& f) {
  const int64_t* stride = loop.strides[operand];
  int64_t index[max_ndim], rest = begin;
  char* p = loop.base[operand];
  for (int d = 0; d < loop.ndim; ++d) {
    index[d] = rest % loop.sizes[d];
    rest /= loop.sizes[d];
    p += index[d] * stride[d];
  }
  while (true) {
    int64_t m = std::min(loop.sizes[0] - index[0], n);
    for (int64_t i = 0; i < m; ++i) f(p + i * stride[0]);
    if ((n -= m) <= 0) return;
    p -= index[0] * stride[0];
    index[0] = 0;
    for (int d = 1; d < loop.ndim; ++d) {
      if (++index[d] < loop.sizes[d]) {
        p += stride[d];
        break;
      }
      p -= stride[d] * (loop.sizes[d] - 1);
      index[d] = 0;
    }
  }
}

// Chooses the way.
void Work::run() const {
  const Tensor& out = c.out();
  const int64_t n = out.numel();
  bool plain = out.contiguous() && out.dtype() == result, has_constants = false;
  for (int k = 0; k < nin; ++k) {
    has_constants |= !in[k].tensor;
    if (in[k].tensor) plain &= in[k].tensor->contiguous() && !in[k].convert && in[k].tensor->numel() == n;
  }
  if (!plain) return strided();
  contiguous(n, has_constants);
}

// One block: inputs from rows at p (p[0] is the output), m elements.
struct Blocks {
  const Work& w;
  const Loop& loop;
  Buffer buffers[max_inputs], raw, result;

  Blocks(const Work& work, const Loop& l)
      : w(work), loop(l) {}  // leaves the buffers alone: clearing them would cost more

  // Element `at` of the row on, m of them, ready for the row function; `keep` marks a broadcast input already filled.
  const char* load(int k, const char* from, int64_t at, int64_t m, bool keep) {
    const Input& in = w.in[k];
    int64_t stride = loop.stride(in.operand);
    int64_t item = in.tensor->itemsize();
    char* buffer = buffers[k].bytes;
    if (stride == 0) {
      if (keep) return buffer;
      alignas(16) char element[16];
      if (in.convert) in.convert(element, from, 1);
      else std::memcpy(element, from, item);
      fill_row(buffer, element, in.item, m);
      return buffer;
    }
    from += at * stride;
    if (stride == item) {
      if (!in.convert) return from;
      in.convert(buffer, from, m);
      return buffer;
    }
    if (!in.convert) {
      gather_row(buffer, from, stride, item, m);
      return buffer;
    }
    gather_row(raw.bytes, from, stride, item, m);
    in.convert(buffer, raw.bytes, m);
    return buffer;
  }
};

void Work::strided() const {
  const Tensor& out = c.out();
  Loop loop(out.sizes());
  loop.add(out);
  Work w = *this;
  for (int k = 0; k < nin; ++k)
    if (in[k].tensor) w.in[k].operand = loop.add(*in[k].tensor);
  loop.finish();

  // Inputs that run along another dimension than the output are brought into its order first: a transposing copy goes through
  // memory by tiles, rows of far-apart elements do not.
  if (out.contiguous() && out.numel() >= 1024) {
    Tensor turned[max_inputs];
    bool any = false;
    for (int k = 0; k < nin; ++k) {
      if (!in[k].tensor || in[k].tensor->numel() != out.numel()) continue;
      const int operand = w.in[k].operand;
      const int64_t item = in[k].tensor->itemsize();
      if (loop.stride(operand) == item || loop.row() < 8) continue;
      for (int d = 1; d < loop.ndim; ++d)
        if (loop.strides[operand][d] == item && loop.sizes[d] >= 8) {
          turned[k] = empty(out.sizes(), in[k].tensor->dtype());
          break;
        }
      if (!turned[k]) continue;
      copy(turned[k], *in[k].tensor);
      w.in[k].tensor = &turned[k];
      any = true;
    }
    if (any) return w.run();
  }

  int64_t out_item = out.itemsize(), out_stride = loop.stride(0);
  ConvertRow store = out.dtype() == result ? nullptr : convert_row(result, out.dtype());

  // m results from `buffer` to the output row
  auto put = [&](char* to, int64_t stride, const char* buffer, char* scratch, int64_t m) {
    if (store && stride == out_item) return store(to, buffer, m);
    if (store) {
      store(scratch, buffer, m);
      buffer = scratch;
    }
    scatter_row(to, stride, buffer, out_item, m);
  };

  if (loop.row() >= short_row || loop.ndim == 1) {
    const bool direct_out = !store && out_stride == out_item, past = direct_out && w.writes_past_caches();
    parallel_for(loop.numel, pointwise_grain, [&](int64_t begin, int64_t end) {
      Blocks blocks(w, loop);
      loop.each_row(begin, end, [&](char* const* p, int64_t n) {
        for (int64_t at = 0; at < n; at += block) {
          int64_t m = std::min(block, n - at);
          const char* from[max_inputs];
          for (int k = 0; k < nin; ++k)
            from[k] = in[k].tensor ? blocks.load(k, p[w.in[k].operand], at, m, at > 0) : constant[k];
          char* to = p[0] + at * out_stride;
          fn(direct_out && !past ? to : blocks.result.bytes, from, m);
          if (past) stream_copy(to, blocks.result.bytes, m * out_item);
          else if (!direct_out) put(to, out_stride, blocks.result.bytes, blocks.raw.bytes, m);
        }
      });
      if (past) stream_end();
    });
    return;
  }

  short_rows(w, loop);
}

// Rows too short to be worth a call each: whole rows are gathered to a block per input, computed at once, and scattered.
void Work::short_rows(const Work& w, const Loop& loop) const {
  const Tensor& out = c.out();
  int64_t row = loop.row(), tile = block / row * row, grain = pointwise_grain / row * row;
  size_t out_item = out.itemsize(), result_item = itemsize(result);
  ConvertRow store = out.dtype() == result ? nullptr : convert_row(result, out.dtype());
  bool out_run = loop.contiguous(0, out_item), run[max_inputs], periodic[max_inputs];
  for (int k = 0; k < nin; ++k) {
    if (!in[k].tensor) continue;
    int op = w.in[k].operand;
    run[k] = loop.contiguous(op, in[k].tensor->itemsize());
    periodic[k] = true;  // the same row again and again, as a bias has it: gathered once
    for (int d = 1; d < loop.ndim; ++d) periodic[k] &= loop.strides[op][d] == 0;
  }
  parallel_for(loop.numel, grain, [&](int64_t begin, int64_t end) {
    Blocks blocks(w, loop);
    for (int64_t at = begin; at < end; at += tile) {
      int64_t m = std::min(tile, end - at);
      const char* from[max_inputs];
      for (int k = 0; k < nin; ++k) {
        if (!in[k].tensor) {
          from[k] = constant[k];
          continue;
        }
        size_t item = in[k].tensor->itemsize();
        char* buffer = blocks.buffers[k].bytes;
        from[k] = buffer;
        if (periodic[k] && at > begin) continue;
        const char* source;
        if (run[k]) {
          source = loop.base[w.in[k].operand] + at * item;
        } else {
          char* target = in[k].convert ? blocks.raw.bytes : buffer;
          visit_size(item, [&]<class T>() {
            walk_tile(loop, w.in[k].operand, at, m, [&](char* p) {
              std::memcpy(target, p, sizeof(T));
              target += sizeof(T);
            });
          });
          source = in[k].convert ? blocks.raw.bytes : buffer;
        }
        if (in[k].convert) in[k].convert(buffer, source, m);
        else from[k] = source;
      }
      char* to = out_run ? loop.base[0] + at * out_item : blocks.result.bytes;
      if (out_run && !store) {
        fn(to, from, m);
        continue;
      }
      fn(blocks.result.bytes, from, m);
      const char* results = blocks.result.bytes;
      if (store) {
        char* stored = out_run ? to : blocks.raw.bytes;
        store(stored, results, m);
        results = stored;
      }
      if (!out_run)
        visit_size(store ? out_item : result_item, [&]<class T>() {
          walk_tile(loop, 0, at, m, [&](char* p) {
            std::memcpy(p, results, sizeof(T));
            results += sizeof(T);
          });
        });
    }
  });
}

// Few elements, and every operand lies in memory as the row function reads it: one call of that function.
bool run_short(const Tensor& out, const MapTable& t, Dtype entry, const Value* operands) {
  int64_t n = out.numel();
  if (n > block || !out.contiguous() || out.dtype() != t.result[int(entry)]) return false;
  Buffer numbers[max_inputs];  // touched only where there are numbers
  const char* from[max_inputs];
  for (int k = 0; k < t.nin; ++k) {
    const Value& v = operands[k];
    Dtype read = t.mask && k == 0 ? Dtype::boolean : entry;
    if (v.tag == Value::tensor) {
      const Tensor& x = v.as_tensor();
      if (x.dtype() != read || x.numel() != n || !x.contiguous()) return false;
      from[k] = x.raw();
    } else {
      alignas(16) char element[16];
      write_number(element, read, v);
      fill_row(numbers[k].bytes, element, itemsize(read), n);
      from[k] = numbers[k].bytes;
    }
  }
  t.rows[int(entry)][isa_level()](out.raw(), from, n);
  return true;
}

// The same where the rule has seen that all tensors are alike: next to nothing is left to ask.
bool run_alike(Call& c, const MapTable& t) {
  const Tensor& out = c.out();
  const int64_t n = out.numel();
  const Dtype d = c.compute;
  if (n == 0 || n > block || t.mask || d != c.alike->dtype() || !has_kernels(d) ||
      out.dtype() != t.result[int(d)] || !out.contiguous())
    return false;
  RowFn fn = t.rows[int(d)][isa_level()];
  if (!fn || t.nin > c.op.noperands) return false;
  Buffer numbers[max_inputs];  // touched only where there are numbers
  const char* from[max_inputs];
  for (int k = 0; k < t.nin; ++k) {
    const Value& v = c.arg(c.op.operands[k]);
    if (v.tag == Value::tensor) {
      from[k] = v.as_tensor().raw();
    } else if (v.is_number()) {
      alignas(16) char element[16];
      write_number(element, d, v);
      fill_row(numbers[k].bytes, element, itemsize(d), n);
      from[k] = numbers[k].bytes;
    } else {
      return false;
    }
  }
  fn(out.raw(), from, n);
  return true;
}

void run(Call& c, const MapTable& t, const Value* operands, const char* kernel) {
  const Tensor& out = c.out();
  Dtype compute = c.compute;
  bool narrow = compute == Dtype::f16 || compute == Dtype::bf16 || (t.float8 && is_float8(compute));
  Dtype entry = narrow ? Dtype::f32 : compute == Dtype::c32 ? Dtype::c64 : compute;
  if (!has_kernels(entry) || !t.rows[int(entry)][0]) {
    if (kernel) throw_unsupported(kernel, compute);
    throw_unsupported(c, compute);
  }
  int64_t n = out.numel();
  if (n == 0 || (entry == compute && run_short(out, t, entry, operands))) return;

  Work w{c, t.rows[int(entry)][isa_level()], t.result[int(entry)]};
  w.nin = t.nin;
  // Comparing narrow floats with a number: the number is rounded like them, so that bfloat16(0.1) == 0.1.
  bool rounds = entry != compute && w.result == Dtype::boolean;
  Buffer numbers[max_inputs];  // touched only where there are numbers
  for (int k = 0; k < t.nin; ++k) {
    const Value& v = operands[k];
    Input& in = w.in[k];
    in.dtype = t.mask && k == 0 ? Dtype::boolean : entry;
    in.item = itemsize(in.dtype);
    if (v.tag == Value::tensor) {
      const Tensor& x = v.as_tensor();
      if (x.numel() != 1 || n == 1) {
        in.tensor = &x;
        if (x.dtype() != in.dtype) in.convert = convert_row(x.dtype(), in.dtype);
        continue;
      }
      // a single element is a number, too
      alignas(16) char element[16], rounded[16];
      char* from = x.raw();
      Dtype dtype = x.dtype();
      if (rounds && dtype != compute) {
        convert_row(dtype, compute)(rounded, from, 1);
        from = rounded;
        dtype = compute;
      }
      convert_row(dtype, in.dtype)(element, from, 1);
      fill_row(numbers[k].bytes, element, in.item, std::min(n, buffered(in.item)));
    } else {
      alignas(16) char element[16];
      write_number(element, rounds ? compute : in.dtype, v);
      if (rounds) {
        alignas(16) char rounded[16];
        std::memcpy(rounded, element, 16);
        convert_row(compute, in.dtype)(element, rounded, 1);
      }
      fill_row(numbers[k].bytes, element, in.item, std::min(n, buffered(in.item)));
    }
    w.constant[k] = numbers[k].bytes;
  }
  w.run();
}

}  // namespace

void run_map(Call& c, const MapTable& t) {
  if (c.alike && run_alike(c, t)) return;
  Value operands[max_inputs];
  int n = 0;
  for (int k = 0; k < c.op.noperands && n < t.nin; ++k)
    if (const Value& v = c.arg(c.op.operands[k])) operands[n++] = v;
  if (n < t.nin)
    throw runtime_error(c.op.name, ": the kernel takes ", t.nin, " operands, the call gives ", n);
  run(c, t, operands, nullptr);
}

void run_map(Call& c, const MapTable& t, std::initializer_list<Value> operands, const char* kernel) {
  if (int(operands.size()) != t.nin)
    throw runtime_error(c.op.name, ": wrong number of operands for its kernel");
  run(c, t, operands.begin(), kernel);
}

}  // namespace rushlight

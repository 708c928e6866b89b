// Random operators: fills of existing tensors and factories. Numbers are drawn in the order of memory by the samplers of
// kernels/random.h; those with parameters per element are in samplers.cpp.
#include "ops/random.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/node.h"
#include "kernels/copy.h"
#include "kernels/loop.h"
#include "ops/create.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

// A tensor without gaps whose memory order is that of t: t itself, or a fresh one with the same order of strides.
Tensor staged(const Tensor& t) {
  if (t.contiguous() || is_dense(t.sizes(), t.strides())) return t;
  int order[max_ndim];
  std::iota(order, order + t.ndim(), 0);
  std::stable_sort(order, order + t.ndim(), [&](int a, int b) { return t.stride(a) > t.stride(b); });
  Dims strides(t.ndim());
  int64_t step = 1;
  for (int64_t k = t.ndim(); k-- > 0;) {
    strides[order[k]] = step;
    step *= t.size(order[k]);
  }
  return empty_strided(t.sizes(), strides, t.dtype(), t.device());
}
// Fills the target through f(memory, count), in the order of its memory.
template <class F> void fill_in_order(const Tensor& target, F&& f) {
  if (target.numel() == 0) {
    draw([&] { f(target.raw(), size_t(0)); });  // bad arguments still raise
    return;
  }
  Tensor dense = staged(target);
  draw([&] { f(dense.raw(), size_t(dense.numel())); });
  if (!dense.is(target)) rushlight::copy(target, dense);
}

void fill_uniform(const Tensor& out, double from, double to, const Value& generator) {
  Generator& g = generator_of(generator);
  int parts = is_complex(out.dtype()) ? 2 : 1;
  RandomDtype d = random_dtype(real_of(out.dtype()), "check_uniform_bounds");
  fill_in_order(out, [&](void* memory, size_t n) { uniform(g, d, memory, parts * n, from, to); });
}

}  // namespace

void fill_normal(const Tensor& out, double mean, double std, const Value& generator) {
  if (!(std >= 0)) throw runtime_error("normal expects std >= 0.0, but found std ", std);
  Generator& g = generator_of(generator);
  int parts = is_complex(out.dtype()) ? 2 : 1;
  RandomDtype d = random_dtype(real_of(out.dtype()), "normal_kernel_cpu");
  fill_in_order(out, [&](void* memory, size_t n) {
    normal(g, d, memory, parts * n, mean, parts == 2 ? std / std::sqrt(2.0) : std, out.contiguous());
  });
}

RandomDtype random_dtype(Dtype d, const char* kernel) {
  switch (d) {
    case Dtype::boolean: return RandomDtype::boolean;
    case Dtype::u8: return RandomDtype::u8;
    case Dtype::i8: return RandomDtype::i8;
    case Dtype::i16: return RandomDtype::i16;
    case Dtype::i32: return RandomDtype::i32;
    case Dtype::i64: return RandomDtype::i64;
    case Dtype::f16: return RandomDtype::f16;
    case Dtype::bf16: return RandomDtype::bf16;
    case Dtype::f32: return RandomDtype::f32;
    case Dtype::f64: return RandomDtype::f64;
    default: throw_unsupported(kernel, d);
  }
}

Grads zeros_for_inputs(const Call& c, const Tensor& g) {
  Grads out;
  for (int k = 0; k < c.slots(); ++k)
    out.push_back(c.wants(k)
                      ? full(c.in_sizes(k), differentiable(c.in_dtype(k)) ? c.in_dtype(k) : g.dtype(), 0)
                      : Tensor());
  return out;
}

namespace {

void fill_range(const Tensor& out, int64_t from, int64_t to, const Value& generator) {
  Generator& g = generator_of(generator);
  RandomDtype d = random_dtype(out.dtype(), "random_from_to");
  fill_in_order(out, [&](void* memory, size_t n) { random_range(g, d, memory, n, from, to); });
}
void check_range(int64_t from, int64_t to) {
  if (from >= to)
    throw runtime_error("random_ expects 'from' to be less than 'to', but got from=", from, " >= to=", to);
}

Grads zeros_for_target(const Call&, const Tensor& g) { return {fresh_zeros(g)}; }

// ---- fills ----
const Op& uniform_ = def({
    .sig = "uniform_(Tensor! input, float from=0.0, float to=1.0, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with numbers drawn evenly from [from, to).",
    .family = random_fill,
    .cpu = [](Call& c) { fill_uniform(c.out(), c.d(1), c.d(2), c.arg(3)); },
    .grad = zeros_for_target,
});
const Op& normal_ = def({
    .sig = "normal_(Tensor! input, float mean=0.0, float std=1.0, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with numbers drawn from the normal distribution.",
    .family = random_fill,
    .rule =
        [](Call& c) {
          if (!(c.d(2) >= 0)) throw runtime_error("normal expects std >= 0.0, but found std ", c.d(2));
        },
    .cpu = [](Call& c) { fill_normal(c.out(), c.d(1), c.d(2), c.arg(3)); },
    .grad = zeros_for_target,
});

const Op& random_whole = def({
    .sig = "random_(Tensor! input, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with integers drawn from the dtype's whole range, from 0.",
    .family = random_fill,
    .cpu =
        [](Call& c) {
          Generator& g = generator_of(c.arg(1));
          RandomDtype d = random_dtype(c.out().dtype(), "random_kernel_cpu");
          fill_in_order(c.out(), [&](void* memory, size_t n) { rushlight::random_(g, d, memory, n); });
        },
    .grad = zeros_for_target,
    .grad_name = "RandomBackward2",
});
const Op& random_to = def({
    .sig = "random_.to(Tensor! input, int to, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with integers drawn from [0, to).",
    .family = random_fill,
    .rule = [](Call& c) { check_range(0, c.i(1)); },
    .cpu = [](Call& c) { fill_range(c.out(), 0, c.i(1), c.arg(2)); },
    .grad = zeros_for_target,
    .grad_name = "RandomBackward1",
});
const Op& random_from = def({
    .sig = "random_.from(Tensor! input, int from, int? to, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with integers drawn from [from, to); to=None: up to the dtype's largest value.",
    .family = random_fill,
    .rule =
        [](Call& c) {
          if (c.has(2)) check_range(c.i(1), c.i(2));
        },
    .cpu =
        [](Call& c) {
          if (c.has(2)) return fill_range(c.out(), c.i(1), c.i(2), c.arg(3));
          Generator& g = generator_of(c.arg(3));
          RandomDtype d = random_dtype(c.out().dtype(), "random_update_from_to");
          fill_in_order(c.out(),
                        [&](void* memory, size_t n) { rushlight::random_from(g, d, memory, n, c.i(1)); });
        },
    .grad = zeros_for_target,
    .grad_name = "RandomBackward0",
});

void continuous(const Call& c, const char* name) {
  if (!is_float(c.in(0).dtype()))
    throw runtime_error(
        name,
        " distribution is a continuous probability distribution. dtype must be a floating point but you "
        "specified ",
        info(c.in(0).dtype()).scalar_name);
}
const Op& exponential_ = def({
    .sig = "exponential_(Tensor! input, float lambd=1.0, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with numbers drawn from the exponential distribution with rate lambd.",
    .family = random_fill,
    .rule =
        [](Call& c) {
          continuous(c, "Exponential");
          if (!(c.d(1) > 0))
            throw runtime_error("exponential_ expects lambda > 0.0, but found lambda=", c.d(1));
        },
    .cpu =
        [](Call& c) {
          Generator& g = generator_of(c.arg(2));
          RandomDtype d = random_dtype(c.out().dtype(), "exponential");
          fill_in_order(c.out(), [&](void* memory, size_t n) { exponential(g, d, memory, n, c.d(1)); });
        },
    .grad = zeros_for_target,
});
const Op& cauchy_ = def({
    .sig =
        "cauchy_(Tensor! input, float median=0.0, float sigma=1.0, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with numbers drawn from the Cauchy distribution.",
    .family = random_fill,
    .rule =
        [](Call& c) {
          if (!(c.d(2) > 0)) throw runtime_error("cauchy_ expects sigma > 0.0, but found sigma=", c.d(2));
          if (!is_float(c.in(0).dtype()))
            throw runtime_error(
                "Cauchy distribution is a continuous probability distribution. dtype must be a floating "
                "point but "
                "you specified ",
                info(c.in(0).dtype()).ctype_name);
        },
    .cpu =
        [](Call& c) {
          Generator& g = generator_of(c.arg(3));
          RandomDtype d = random_dtype(c.out().dtype(), "cauchy");
          fill_in_order(c.out(), [&](void* memory, size_t n) { cauchy(g, d, memory, n, c.d(1), c.d(2)); });
        },
    .grad = zeros_for_target,
});
const Op& log_normal_ = def({
    .sig =
        "log_normal_(Tensor! input, float mean=1.0, float std=2.0, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with the exponentials of numbers drawn from the normal distribution.",
    .family = random_fill,
    .rule =
        [](Call& c) {
          if (!(c.d(2) > 0)) throw runtime_error("log_normal_ expects std > 0.0, but found std=", c.d(2));
          if (!is_float(c.in(0).dtype())) throw_unsupported("log_normal_cpu", c.in(0).dtype());
        },
    .cpu =
        [](Call& c) {
          Generator& g = generator_of(c.arg(3));
          RandomDtype d = random_dtype(c.out().dtype(), "log_normal_cpu");
          fill_in_order(c.out(),
                        [&](void* memory, size_t n) { log_normal(g, d, memory, n, c.d(1), c.d(2)); });
        },
    .grad = zeros_for_target,
});
const Op& geometric_ = def({
    .sig = "geometric_(Tensor! input, float p, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with the numbers of trials until the first success of probability p.",
    .family = random_fill,
    .rule =
        [](Call& c) {
          if (!(c.d(1) > 0 && c.d(1) < 1))
            throw runtime_error("geometric_ expects p to be in (0, 1), but got p=", c.d(1));
        },
    .cpu =
        [](Call& c) {
          Generator& g = generator_of(c.arg(2));
          RandomDtype d = random_dtype(c.out().dtype(), "geometric_cpu");
          fill_in_order(c.out(), [&](void* memory, size_t n) { geometric(g, d, memory, n, c.d(1)); });
        },
    .grad = zeros_for_target,
});

// ---- bernoulli ----
// p has the target's sizes after broadcasting; its values follow the order of the target's memory.
void fill_bernoulli(const Tensor& target, const Tensor& p, const Value& generator) {
  Generator& g = generator_of(generator);
  if (target.numel() == 0) return;
  RandomDtype d = random_dtype(target.dtype(), "bernoulli_tensor_cpu_self_");
  Tensor dense = staged(target);
  const Dtype wide = p.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32;
  Tensor chances = p;
  if (p.dtype() != wide || !same(p.sizes(), dense.sizes()) || !same(p.strides(), dense.strides()) ||
      overlap(p, dense) != Overlap::none) {
    chances = empty_strided(dense.sizes(), dense.strides(), wide);
    rushlight::copy(chances, p);
  }
  draw([&] {
    if (p.dtype() == Dtype::f64) bernoulli(g, d, dense.raw(), dense.numel(), chances.data<double>());
    else bernoulli(g, d, dense.raw(), dense.numel(), chances.data<float>());
  });
  if (!dense.is(target)) rushlight::copy(target, dense);
}
void fill_bernoulli(const Tensor& target, double p, const Value& generator) {
  Generator& g = generator_of(generator);
  RandomDtype d = random_dtype(target.dtype(), "bernoulli_scalar_cpu_");
  fill_in_order(target, [&](void* memory, size_t n) { bernoulli(g, d, memory, n, p); });
}
void check_chance(double p) {
  if (!(p >= 0 && p <= 1)) throw runtime_error("bernoulli_ expects p to be in [0, 1], but got p=", p);
}
void check_chances(const Tensor& p) {
  if (!is_float(p.dtype())) throw_unsupported("bernoulli_tensor_cpu_p_", p.dtype());
}

const Op& bernoulli_tensor_ = def({
    .sig = "bernoulli_.Tensor(Tensor! input, Tensor p, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with 1 with the probabilities p, else 0.",
    .family = random_fill,
    .rule =
        [](Call& c) {
          check_chances(c.in(1));
          GradMode off(false);
          expand(c.in(1), c.in(0).sizes());  // raises where the sizes do not fit
        },
    .cpu = [](Call& c) { fill_bernoulli(c.out(), c.in(1), c.arg(2)); },
    .grad = zeros_for_inputs,
    .grad_name = "BernoulliBackward1",
});
const Op& bernoulli_ = def({
    .sig = "bernoulli_(Tensor! input, float p=0.5, *, Generator? generator=None) -> Tensor",
    .doc = "Fills with 1 with probability p, else 0.",
    .family = random_fill,
    .rule = [](Call& c) { check_chance(c.d(1)); },
    .cpu = [](Call& c) { fill_bernoulli(c.out(), c.d(1), c.arg(2)); },
    .grad = zeros_for_target,
    .grad_name = "BernoulliBackward2",
});
const Op& bernoulli_of = def({
    .sig = "bernoulli(Tensor input, *, Generator? generator=None) -> Tensor",
    .doc = "1 with the probabilities that input holds, else 0.",
    .family = random_fill,
    .rule =
        [](Call& c) {
          check_chances(c.in(0));
          rule::same(c);
        },
    .cpu = [](Call& c) { fill_bernoulli(c.out(), c.in(0), c.arg(1)); },
    .grad = zeros_for_inputs,
});
const Op& bernoulli_p = def({
    .sig = "bernoulli.p(Tensor input, float p, *, Generator? generator=None) -> Tensor",
    .doc = "1 with probability p, else 0, in the shape of input.",
    .family = random_fill,
    .rule =
        [](Call& c) {
          check_chance(c.d(1));
          rule::same(c);
        },
    .cpu = [](Call& c) { fill_bernoulli(c.out(), c.d(1), c.arg(2)); },
    .grad = zeros_for_inputs,
    .grad_name = "BernoulliBackward2",
});

// ---- factories ----
void sized(Call& c, Dims sizes, int dtype_at, Dtype fallback) {
  c.meta0.dtype = c.dtype(dtype_at, fallback);
  c.meta0.sizes = std::move(sizes);
  c.meta0.device = c.has(dtype_at + 1) ? c.arg(dtype_at + 1).dev : Device{};
  c.meta0.strided = false;
}
void sized_format(Call& c) {  // size, generator, dtype, device, memory_format
  sized(c, Dims(c.ints(0)), 2, default_dtype());
  c.meta0.strided = format_strides(format_of(c.arg(4)), c.meta0.sizes, c.meta0.strides);
}
#define RL_FACTORY "Generator? generator=None, dtype? dtype=None, device? device=None"
#define RL_LIKE \
  "dtype? dtype=None, device? device=None, any memory_format=None, Generator? generator=None) -> Tensor"

const Op& rand = def({
    .sig = "rand(int... size, *, " RL_FACTORY ", any memory_format=None) -> Tensor",
    .doc = "Numbers drawn evenly from [0, 1).",
    .family = create,
    .rule = sized_format,
    .cpu = [](Call& c) { fill_uniform(c.out(), 0, 1, c.arg(1)); },
});
const Op& randn = def({
    .sig = "randn(int... size, *, " RL_FACTORY ", any memory_format=None) -> Tensor",
    .doc = "Numbers drawn from the standard normal distribution.",
    .family = create,
    .rule = sized_format,
    .cpu = [](Call& c) { fill_normal(c.out(), 0, 1, c.arg(1)); },
});
const Op& randint = def({
    .sig = "randint(int high, int[] size, *, " RL_FACTORY ") -> Tensor",
    .doc = "Integers drawn from [0, high).",
    .family = create,
    .rule = [](Call& c) { sized(c, Dims(c.ints(1)), 3, Dtype::i64), check_range(0, c.i(0)); },
    .cpu = [](Call& c) { fill_range(c.out(), 0, c.i(0), c.arg(2)); },
});
const Op& randint_low = def({
    .sig = "randint.low(int low, int high, int[] size, *, " RL_FACTORY ") -> Tensor",
    .doc = "Integers drawn from [low, high).",
    .family = create,
    .rule = [](Call& c) { sized(c, Dims(c.ints(2)), 4, Dtype::i64), check_range(c.i(0), c.i(1)); },
    .cpu = [](Call& c) { fill_range(c.out(), c.i(0), c.i(1), c.arg(3)); },
});
const Op& randperm = def({
    .sig = "randperm(int n, *, " RL_FACTORY ") -> Tensor",
    .doc = "The numbers 0 .. n-1 in random order.",
    .family = create,
    .rule = [](Call& c) { sized(c, Dims{c.i(0)}, 2, Dtype::i64); },
    .cpu =
        [](Call& c) {
          Generator& g = generator_of(c.arg(1));
          RandomDtype d = random_dtype(c.out().dtype(), "randperm");
          draw([&] { rushlight::randperm(g, d, c.out().raw(), c.i(0)); });
        },
});
const Op& rand_like = def({
    .sig = "rand_like(Tensor input, *, " RL_LIKE,
    .doc = "Numbers drawn evenly from [0, 1), in the shape of input.",
    .family = create,
    .forms = function,
    .rule = [](Call& c) { like_rule(c, 1); },
    .cpu = [](Call& c) { fill_uniform(c.out(), 0, 1, c.arg(4)); },
});
const Op& randn_like = def({
    .sig = "randn_like(Tensor input, *, " RL_LIKE,
    .doc = "Numbers drawn from the standard normal distribution, in the shape of input.",
    .family = create,
    .forms = function,
    .rule = [](Call& c) { like_rule(c, 1); },
    .cpu = [](Call& c) { fill_normal(c.out(), 0, 1, c.arg(4)); },
});
const Op& randint_like = def({
    .sig = "randint_like(Tensor input, int high, *, " RL_LIKE,
    .doc = "Integers drawn from [0, high), in the shape of input.",
    .family = create,
    .forms = function,
    .rule = [](Call& c) { like_rule(c, 2), check_range(0, c.i(1)); },
    .cpu = [](Call& c) { fill_range(c.out(), 0, c.i(1), c.arg(5)); },
});
const Op& randint_like_low = def({
    .sig = "randint_like.low(Tensor input, int low, int high, *, " RL_LIKE,
    .doc = "Integers drawn from [low, high), in the shape of input.",
    .family = create,
    .forms = function,
    .rule = [](Call& c) { like_rule(c, 3), check_range(c.i(1), c.i(2)); },
    .cpu = [](Call& c) { fill_range(c.out(), c.i(1), c.i(2), c.arg(6)); },
});

const Op& normal_sized = def({
    .sig = "normal.size(float mean, float std, int[] size, *, " RL_FACTORY ") -> Tensor",
    .doc = "A tensor of numbers drawn from one normal distribution.",
    .family = create,
    .rule =
        [](Call& c) {
          if (!(c.d(1) >= 0)) throw runtime_error("normal expects std >= 0.0, but found std ", c.d(1));
          sized(c, Dims(c.ints(2)), 4, default_dtype());
        },
    .cpu = [](Call& c) { fill_normal(c.out(), c.d(0), c.d(1), c.arg(3)); },
});

}  // namespace

}  // namespace rushlight::ops

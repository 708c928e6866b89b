// What training does to lists of parameters and gradients, in one call each: norm, scaling, optimizer steps.
// The optimizer steps go over memory once. Every element goes through the same operations, rounded
// in the same places, as in the rules written with tensors in optim/adam.py and optim/sgd.py: the results are equal bit for bit.
// A step that the kernels do not take (recorded, strided, sparse, complex or 16-bit) changes nothing and returns an empty
// list; a step taken returns the first parameter.
#include <cmath>
#include <type_traits>

#include "autograd/history.h"
#include "autograd/node.h"
#include "kernels/mathfn.h"
#include "kernels/parallel.h"
#include "kernels/with_isa.h"
#include "ops/dense.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

using Tensors = std::span<const Tensor>;
constexpr int64_t grain = 16384;

bool fits(const Tensor& t, const Tensor& p) {
  return t && !t->delegate && t.contiguous() && t.dtype() == p.dtype() && t.numel() == p.numel() &&
         !t.is_meta();
}

// All lists are as long as params (or empty, where that is allowed) and laid out like them.
bool takes(Tensors params, std::initializer_list<Tensors> lists, std::initializer_list<Tensors> maybe_empty) {
  if (grad_enabled()) return false;
  for (auto& list : lists)
    if (list.size() != params.size()) return false;
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor& p = params[i];
    if (!p || (p.dtype() != Dtype::f32 && p.dtype() != Dtype::f64)) return false;
    for (auto& list : lists)
      if (!fits(list[i], p)) return false;
    if (!fits(p, p)) return false;
  }
  for (auto& list : maybe_empty) {
    if (!list.empty() && list.size() != params.size()) return false;
    for (size_t i = 0; i < list.size(); ++i)
      if (!fits(list[i], params[i])) return false;
  }
  return true;
}

bool is_counter(const Tensor& t) {
  return t && t.numel() == 1 && !t.is_meta() && (t.dtype() == Dtype::f32 || t.dtype() == Dtype::f64);
}
double count_up(const Tensor& step) {
  double value;
  if (step.dtype() == Dtype::f32) value = *step.data<float>() += 1;
  else value = *step.data<double>() += 1;
  return value;
}

template <class F> void each_piece(int64_t n, F&& f) {
  parallel_for(n, grain, [&](int64_t begin, int64_t end) { with_isa([&] { f(begin, end); }); });
}

void give_back(Call& c, Tensors params) {
  for (auto& p : params) c.outs.push_back(p);
}

struct AdamFactors {
  double lr, beta1, beta2, weight_decay, eps;
  bool maximize, decoupled;
};

// The choices are template parameters: loops without branches become vector instructions. Constants are passed by value, because
// the compiler must not fear that a store changes them.
template <class T> struct AdamConstants {
  T keep, decay, beta2, share, weight, rest, eps, correction, size, sign;
};

template <class T, bool amsgrad, bool near_start, bool penalty>
RL_INLINE void adam_piece(AdamConstants<T> k, int64_t n, T* p, const T* grad, T* mean, T* square,
                          T* largest) {
  RL_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const T w = p[i], old = mean[i];
    T g = grad[i] * k.sign;
    if constexpr (penalty) g = fn::fma(k.decay, w, g);
    const T m = near_start ? fn::fma(k.weight, g - old, old) : fn::fma(old - g, k.rest, g);
    T v = fn::fma(k.share * g, g, square[i] * k.beta2);
    mean[i] = m;
    square[i] = v;
    if constexpr (amsgrad) v = largest[i] = fn::maximum(largest[i], v);
    p[i] = w * k.keep + k.size * m / (fn::sqrt(v) / k.correction + k.eps);
  }
}

template <class T> void adam(const AdamFactors& f, double step, int64_t n, T* p, const T* grad, T* mean,
                             T* square, T* largest) {
  const T weight = T(1 - f.beta1);
  const AdamConstants<T> k{
      .keep = f.decoupled ? T(1 - f.lr * f.weight_decay) : T(1),
      .decay = T(f.weight_decay),
      .beta2 = T(f.beta2),
      .share = T(1 - f.beta2),
      .weight = weight,
      .rest = T(1) - weight,
      .eps = T(f.eps),
      .correction = T(std::pow(1 - std::pow(f.beta2, step), 0.5)),
      .size = T(-(f.lr / (1 - std::pow(f.beta1, step)))),
      .sign = f.maximize ? T(-1) : T(1),
  };
  auto choose = [&](bool choice, auto&& then) { choice ? then(std::true_type()) : then(std::false_type()); };
  choose(largest, [&](auto amsgrad) {
    choose(fn::abs(weight) < T(0.5), [&](auto near_start) {
      choose(!f.decoupled && f.weight_decay != 0, [&](auto penalty) {
        each_piece(n, [&](int64_t at, int64_t end) {
          adam_piece<T, amsgrad, near_start, penalty>(k, end - at, p + at, grad + at, mean + at, square + at,
                                                      amsgrad ? largest + at : nullptr);
        });
      });
    });
  });
}

template <class T> struct SgdConstants {
  T rate, momentum, share, decay, sign;
  bool penalty, nesterov;
};

template <class T, bool with_momentum> RL_INLINE void sgd_piece(SgdConstants<T> k, int64_t n, T* p,
                                                                const T* grad, T* buffer) {
  RL_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const T w = p[i], plain = grad[i] * k.sign, decayed = fn::fma(k.decay, w, plain);
    T g = k.penalty ? decayed : plain;
    if constexpr (with_momentum) {
      const T b = fn::fma(k.share, g, buffer[i] * k.momentum), ahead = fn::fma(k.momentum, b, g);
      buffer[i] = b;
      g = k.nesterov ? ahead : b;
    }
    p[i] = fn::fma(k.rate, g, w);
  }
}

template <class T> void sgd(const SgdConstants<T>& k, int64_t n, T* p, const T* grad, T* buffer) {
  each_piece(n, [&](int64_t at, int64_t end) {
    if (buffer) sgd_piece<T, true>(k, end - at, p + at, grad + at, buffer + at);
    else sgd_piece<T, false>(k, end - at, p + at, grad + at, nullptr);
  });
}

}  // namespace

const Op& total_norm = def({
    .sig = "_total_norm(Tensor[] tensors, Scalar ord) -> Tensor",
    .doc = "The norm of all tensors taken together as one vector.",
    .forms = Forms::function,
    .cpu =
        [](Call& c) {
          TensorList norms;
          for (auto& t : c.tensors(0)) norms.push_back(RL_OP("linalg_vector_norm").call({t, c.arg(1)}));
          c.outs = TensorList{RL_OP("linalg_vector_norm").call({RL_OP("stack").call({norms}), c.arg(1)})};
        },
    .composite = true,
    .modules = "nn",
});

const Op& scale_ = def({
    .sig = "_scale_(Tensor[] tensors, Tensor factor) -> Tensor[]",
    .doc = "Multiplies every floating point tensor by a factor without dimensions, in place.",
    .forms = Forms::function,
    .cpu =
        [](Call& c) {
          const Tensor& factor = c.in(1);
          // whatever could stop a product is asked before the first tensor is written
          if (factor.ndim() || is_complex(factor.dtype()))
            throw runtime_error("_scale_ expects a real factor without dimensions, got one of sizes ",
                                show(factor.sizes()), " and dtype ", info(factor.dtype()).name);
          for (auto& t : c.tensors(0)) {
            if (!is_float(t.dtype()) && !is_complex(t.dtype()))
              throw runtime_error("_scale_ expects floating point tensors, got ", info(t.dtype()).name);
            check_inplace(t, grad_enabled() && (t.needs_grad() || factor.needs_grad()));
            if (t->delegate) continue;
            if (t.device().type != factor.device().type || overlap(factor, t) != Overlap::none ||
                (!t.contiguous() && overlaps_itself(t.sizes(), t.strides())))
              throw runtime_error(
                  "_scale_ expects tensors on the factor's device that share no memory with it, "
                  "nor any two of their elements");
          }
          for (auto& t : c.tensors(0)) mul.call_inplace({t, factor});
          give_back(c, c.tensors(0));
        },
    .composite = true,
    .modules = "nn",
});

const Op& fused_adam_ = def({
    .sig = "_fused_adam_(Tensor[] params, Tensor[] grads, Tensor[] exp_avgs, Tensor[] exp_avg_sqs, Tensor[] "
           "max_exp_avg_sqs, "
           "Tensor[] steps, *, float lr, float beta1, float beta2, float weight_decay, float eps, bool "
           "amsgrad, bool maximize, "
           "bool decoupled) -> Tensor[]",
    .doc = "One step of Adam, or of AdamW with decoupled. Returns the first parameter; nothing where it does "
           "not take the tensors.",
    .forms = Forms::function,
    .cpu =
        [](Call& c) {
          Tensors params = c.tensors(0), grads = c.tensors(1), means = c.tensors(2), squares = c.tensors(3),
                  steps = c.tensors(5);
          Tensors largest = c.b(11) ? c.tensors(4) : Tensors();
          if (c.b(11) && largest.size() != params.size()) return;
          if (!takes(params, {grads, means, squares}, {largest}) || steps.size() != params.size()) return;
          for (auto& step : steps)
            if (!is_counter(step)) return;
          for (auto& list : {params, means, squares, largest, steps})
            for (auto& t : list) check_inplace(t, false);
          AdamFactors f{c.d(6), c.d(7), c.d(8), c.d(9), c.d(10), c.b(12), c.b(13)};
          for (size_t i = 0; i < params.size(); ++i) {
            const Tensor& p = params[i];
            double step = count_up(steps[i]);
            visit_float(p.dtype(), [&]<class T>() {
              adam<T>(f, step, p.numel(), p.data<T>(), grads[i].data<T>(), means[i].data<T>(),
                      squares[i].data<T>(), largest.empty() ? nullptr : largest[i].data<T>());
            });
          }
          for (auto& list : {params, means, squares, largest, steps}) wrote_all(list);
          if (!params.empty()) c.outs.push_back(params[0]);
        },
    .composite = true,
    .modules = "nn",
});

const Op& fused_sgd_ = def({
    .sig = "_fused_sgd_(Tensor[] params, Tensor[] grads, Tensor[] momentum_buffers, *, float lr, float "
           "momentum, float dampening, "
           "float weight_decay, bool nesterov, bool maximize) -> Tensor[]",
    .doc = "One step of SGD; momentum_buffers is empty where momentum is 0. Returns the first parameter; "
           "nothing where it does not take the tensors.",
    .forms = Forms::function,
    .cpu =
        [](Call& c) {
          Tensors params = c.tensors(0), grads = c.tensors(1), buffers = c.tensors(2);
          if ((c.d(4) != 0) != !buffers.empty() || !takes(params, {grads}, {buffers})) return;
          for (auto& list : {params, buffers})
            for (auto& t : list) check_inplace(t, false);
          for (size_t i = 0; i < params.size(); ++i) {
            const Tensor& p = params[i];
            visit_float(p.dtype(), [&]<class T>() {
              SgdConstants<T> k{T(-c.d(3)),  T(c.d(4)), T(1 - c.d(5)), T(c.d(6)), c.b(8) ? T(-1) : T(1),
                                c.d(6) != 0, c.b(7)};
              sgd<T>(k, p.numel(), p.data<T>(), grads[i].data<T>(),
                     buffers.empty() ? nullptr : buffers[i].data<T>());
            });
          }
          for (auto& list : {params, buffers}) wrote_all(list);
          if (!params.empty()) c.outs.push_back(params[0]);
        },
    .composite = true,
    .modules = "nn",
});

}  // namespace rushlight::ops

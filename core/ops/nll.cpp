// Negative log likelihood of class indices, and its gradient.
#include "ops/dense.h"
#include "ops/ops.h"

namespace rushlight::ops {

namespace {

enum Reduction : int64_t { none, mean, sum };

extern const Op &nll_forward, &nll_backward;

void check_arguments(const Call& c) {
  const Tensor &x = c.in(0), &target = c.in(1);
  if (x.ndim() != 1 && x.ndim() != 2) throw runtime_error("input tensor should be 1D or 2D");
  if (target.ndim() > 1) throw runtime_error("0D or 1D target tensor expected, multi-target not supported");
  if (x.ndim() == 1 && target.ndim() == 1 && target.size(0) != 1)
    throw value_error("For 1D input, 1D target must have size 1, but got target size: ", target.size(0));
  if (x.ndim() == 2 && (target.ndim() == 0 || x.size(0) != target.size(0)))
    throw runtime_error("size mismatch (got input: ", show(x.sizes()), ", target: ", show(target.sizes()),
                        ")");
  if (target.dtype() != Dtype::i64 && target.dtype() != Dtype::u8)
    throw runtime_error("expected target dtype to be Long or Byte, but got ",
                        info(target.dtype()).scalar_name);
  if (c.has(2)) {
    const Tensor& weight = c.in(2);
    if (weight.ndim() != 1 || weight.numel() != x.size(-1))
      throw runtime_error("weight tensor should be defined either for all ", x.size(-1),
                          " classes or no classes but got weight tensor of shape: ", show(weight.sizes()));
    if (!is_float(x.dtype())) throw_unsupported("nll_loss_out_frame", x.dtype());
    if (weight.dtype() != x.dtype())
      throw runtime_error("expected scalar type ", info(x.dtype()).scalar_name, " but found ",
                          info(weight.dtype()).scalar_name);
  }
}

// f(row, class) for every row that is not ignored, after all classes have been checked.
template <class F> void each_target(const Tensor& targets, int64_t ignore, int64_t classes, F&& f) {
  const int64_t* t = targets.data<int64_t>();
  for (int64_t i = 0; i < targets.numel(); ++i)
    if (t[i] != ignore && (t[i] < 0 || t[i] >= classes))
      throw index_error("Target ", t[i], " is out of bounds.");
  for (int64_t i = 0; i < targets.numel(); ++i)
    if (t[i] != ignore) f(i, t[i]);
}

const Op& nll_forward = def({
    .sig = "nll_loss_forward(Tensor input, Tensor target, Tensor? weight, int reduction, int ignore_index) "
           "-> (Tensor, Tensor)",
    .doc = "Negative log likelihood, and the sum of the class weights that took part.",
    .forms = no_forms,
    .autocast = Autocast::full,
    .rule =
        [](Call& c) {
          check_arguments(c);
          const Tensor& x = c.in(0);
          if (!is_float(x.dtype())) throw_unsupported("nll_loss_out_frame", x.dtype());
          c.out_meta(0, x.dtype(), c.i(3) == none && x.ndim() == 2 ? Dims{x.size(0)} : Dims());
          c.out_meta(1, x.dtype(), Dims());
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d), target = dense(c.in(1), Dtype::i64),
                 weight = c.has(2) ? dense(c.in(2), d) : Tensor();
          Result loss(c.out(), d), total(c.out(1), d);
          int64_t classes = x.size(-1);
          visit_float(d, [&]<class T>() {
            const T *from = x.data<T>(), *factor = weight ? weight.data<T>() : nullptr;
            T* to = loss.data<T>();
            if (c.i(3) == none) std::fill_n(to, loss.work().numel(), T(0));
            double losses = 0, weights = 0;
            each_target(target, c.i(4), classes, [&](int64_t i, int64_t k) {
              T w = factor ? factor[k] : T(1), value = -from[i * classes + k] * w;
              if (c.i(3) == none) to[i] = value;
              losses += value;
              weights += w;
            });
            if (c.i(3) == mean) *to = T(losses / weights);  // 0 / 0 where nothing took part
            if (c.i(3) == sum) *to = T(losses);
            *total.data<T>() = T(weights);
          });
          loss.store();
          total.store();
        },
    .saves = save(In1 | In2 | Out1),
    .grad =
        [](const Call& c, const Tensor& g) {
          Grads grads(3);
          if (c.wants(0) && g)
            grads[0] = nll_backward(g, c.in(1), c.arg(2), c.out(1), c.in_sizes(0), c.i(3), c.i(4));
          return grads;
        },
    .grad_name = "NllLossBackward0",
});

const Op& nll_backward = def({
    .sig = "nll_loss_backward(Tensor grad_output, Tensor target, Tensor? weight, Tensor total_weight, int[] "
           "sizes, int reduction, "
           "int ignore_index) -> Tensor",
    .doc = "Gradient of nll_loss with respect to its input.",
    .forms = no_forms,
    .rule =
        [](Call& c) {
          const Tensor &g = c.in(0), &target = c.in(1);
          IntSpan sizes = c.ints(4);
          expect((sizes.size() == 1 || sizes.size() == 2) && is_float(g.dtype()) && c.in(3).numel() == 1, c);
          expect(target.numel() == (sizes.size() == 2 ? sizes[0] : 1) && !is_complex(target.dtype()), c);
          expect(g.numel() == 1 || (c.i(5) == none && g.numel() == target.numel()), c);
          expect(!c.has(2) || c.in(2).numel() == sizes.back(), c);
          c.out_meta(0, g.dtype(), Dims(sizes));
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor g = dense(c.in(0), d), target = dense(c.in(1), Dtype::i64),
                 weight = c.has(2) ? dense(c.in(2), d) : Tensor();
          Tensor total = dense(c.in(3), d);
          Result gx(c.out(), d);
          int64_t classes = c.out().size(-1);
          visit_float(d, [&]<class T>() {
            const T *from = g.data<T>(), *factor = weight ? weight.data<T>() : nullptr;
            T* to = gx.data<T>();
            std::fill_n(to, gx.work().numel(), T(0));
            each_target(target, c.i(6), classes, [&](int64_t i, int64_t k) {
              T w = factor ? factor[k] : T(1), incoming = g.numel() == 1 ? *from : from[i];
              to[i * classes + k] = c.i(5) == mean ? -w * incoming / *total.data<T>() : -w * incoming;
            });
          });
          gx.store();
        },
    .saves = save(In1 | In2),
    .grad =
        [](const Call& c, const Tensor& gg) {
          Grads grads(4);
          // the gradient is linear in grad_output: the same reduction of gg
          if (c.wants(0)) grads[0] = nll_forward.call_list({gg, c.in(1), c.arg(2), c.i(5), c.i(6)})[0];
          return grads;
        },
});

}  // namespace

const Op& nll_loss = def({
    .sig = "nll_loss(Tensor input, Tensor target, Tensor? weight=None, int reduction=1, int "
           "ignore_index=-100) -> Tensor",
    .doc = "Minus input at the target's class, times the class's weight. reduction: 0 none, 1 mean (over the "
           "weights), 2 sum.",
    .forms = Forms::function,
    .autocast = Autocast::full,
    .cpu =
        [](Call& c) {
          c.outs = TensorList{nll_forward.call_list({c.arg(0), c.arg(1), c.arg(2), c.arg(3), c.arg(4)})[0]};
        },
    .composite = true,
    .samples = {"x(3,4), i(3; 0, 4)", "x(3,4), i(3; 0, 4), pos(4), 2", "x(3,4), i(3; 0, 4), None, 0, 1"},
});

}  // namespace rushlight::ops

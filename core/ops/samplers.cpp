// Samplers with parameters per element: normal, multinomial, poisson, binomial, gamma, dirichlet.
#include "autograd/node.h"
#include "kernels/copy.h"
#include "kernels/loop.h"
#include "ops/ops.h"
#include "ops/random.h"

namespace rushlight::ops {

namespace {

// ---- normal with parameters per element ----
void check_deviations(const Tensor& std) {
  if (std.is_meta()) return;
  if (is_complex(std.dtype())) throw runtime_error("normal expects standard deviation to be non-complex");
  visit(std.dtype(), [&]<class T>() {
    if constexpr (std::is_signed_v<T> || HalfPrecision<T>)
      each_element<T>(std, [](T& x) {
        if (convert<double>(x) < 0) throw runtime_error("normal expects all elements of std >= 0.0");
      });
  });
}
void fill_scaled(Call& c, const Value& mean, const Value& std, double deviation, const Value& generator) {
  GradMode off(false);
  fill_normal(c.out(), 0, deviation, generator);
  Tensor values = c.out();
  if (std.tag == Value::tensor) values = mul(values, std);
  rushlight::copy(c.out(), add(values, mean));
}
const Op& normal_tensors = def({
    .sig = "normal(Tensor mean, Tensor std, *, Generator? generator=None) -> Tensor",
    .doc = "Numbers drawn from normal distributions with a mean and a standard deviation each.",
    .family = random_fill,
    .forms = function | out_form,
    .rule =
        [](Call& c) {
          check_deviations(c.in(1));
          c.out_meta(0, c.in(0).dtype(), rushlight::broadcast(c.in(0).sizes(), c.in(1).sizes()));
        },
    .cpu = [](Call& c) { fill_scaled(c, c.arg(0), c.arg(1), 1, c.arg(2)); },
    .grad = zeros_for_inputs,
    .grad_name = "NormalBackward3",
});
const Op& normal_mean = def({
    .sig = "normal.mean(Tensor mean, float std=1.0, *, Generator? generator=None) -> Tensor",
    .doc = "Numbers drawn from normal distributions with a mean each.",
    .family = random_fill,
    .forms = function | out_form,
    .rule =
        [](Call& c) {
          if (!(c.d(1) >= 0)) throw runtime_error("normal expects std >= 0.0, but found std ", c.d(1));
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
        },
    .cpu = [](Call& c) { fill_scaled(c, c.arg(0), Value(), c.d(1), c.arg(2)); },
    .grad = zeros_for_inputs,
    .grad_name = "NormalBackward1",
});
const Op& normal_std = def({
    .sig = "normal.std(float mean, Tensor std, *, Generator? generator=None) -> Tensor",
    .doc = "Numbers drawn from normal distributions with a standard deviation each.",
    .family = random_fill,
    .forms = function | out_form,
    .rule =
        [](Call& c) {
          check_deviations(c.in(1));
          c.out_meta(0, c.in(1).dtype(), Dims(c.in(1).sizes()));
        },
    .cpu = [](Call& c) { fill_scaled(c, c.arg(0), c.arg(1), 1, c.arg(2)); },
    .grad = zeros_for_inputs,
    .grad_name = "NormalBackward2",
});
// ---- samplers ----
// A contiguous copy (or the tensor itself) broadcast to sizes.
Tensor rows_of(const Tensor& t, IntSpan sizes) {
  if (t.contiguous() && same(t.sizes(), sizes)) return t;
  Tensor rows = empty(sizes, t.dtype());
  rushlight::copy(rows, t);
  return rows;
}

const Op& multinomial_op = def({
    .sig = "multinomial(Tensor input, int num_samples, bool replacement=False, *, Generator? generator=None) "
           "-> Tensor",
    .doc = "Indices drawn with the weights in each row of input, num_samples per row.",
    .family = random_fill,
    .rule =
        [](Call& c) {
          const Tensor& p = c.in(0);
          int64_t n = c.i(1);
          if (p.ndim() != 1 && p.ndim() != 2) throw runtime_error("prob_dist must be 1 or 2 dim");
          if (!is_float(p.dtype()))
            throw runtime_error("multinomial only supports floating-point dtypes for input, got: ",
                                info(p.dtype()).scalar_name);
          if (n <= 0) throw runtime_error("cannot sample n_sample <= 0 samples");
          if (!c.b(2) && n > p.size(-1))
            throw runtime_error("cannot sample n_sample > prob_dist.size(-1) samples without replacement");
          if (p.size(-1) > int64_t(1) << 24) throw runtime_error("number of categories cannot exceed 2^24");
          if (p.size(-1) == 0)
            throw runtime_error("invalid multinomial distribution (with replacement=True, no categories)");
          c.out_meta(0, Dtype::i64, p.ndim() == 1 ? Dims{n} : Dims{p.size(0), n});
        },
    .cpu =
        [](Call& c) {
          Tensor p = rows_of(c.in(0), c.in(0).sizes());
          Generator& g = generator_of(c.arg(3));
          int64_t rows = p.ndim() == 1 ? 1 : p.size(0);
          RandomDtype d = random_dtype(p.dtype(), "multinomial");
          draw(
              [&] { multinomial(g, d, p.raw(), rows, p.size(-1), c.out().data<int64_t>(), c.i(1), c.b(2)); });
        },
});
const Op& poisson_op = def({
    .sig = "poisson(Tensor input, Generator? generator=None) -> Tensor",
    .doc = "Numbers drawn from Poisson distributions whose rates input holds.",
    .family = random_fill,
    .forms = function,
    .rule =
        [](Call& c) {
          if (!is_float(c.in(0).dtype())) throw_unsupported("poisson_cpu", c.in(0).dtype());
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
        },
    .cpu =
        [](Call& c) {
          Tensor rate = rows_of(c.in(0), c.in(0).sizes());
          Generator& g = generator_of(c.arg(1));
          draw([&] {
            poisson(g, random_dtype(rate.dtype(), "poisson_cpu"), rate.raw(), c.out().raw(), rate.numel());
          });
        },
    .grad = zeros_for_inputs,
});
const Op& binomial_op = def({
    .sig = "binomial(Tensor count, Tensor prob, Generator? generator=None) -> Tensor",
    .doc = "Numbers of successes among count trials of probability prob.",
    .family = random_fill,
    .forms = function,
    .rule =
        [](Call& c) {
          if (c.in(0).dtype() != c.in(1).dtype())
            throw runtime_error("Found dtype ", info(c.in(1).dtype()).scalar_name, " but expected ",
                                info(c.in(0).dtype()).scalar_name);
          if (!is_float(c.in(0).dtype())) throw_unsupported("binomial_cpu", c.in(0).dtype());
          c.out_meta(0, c.in(0).dtype(), rushlight::broadcast(c.in(0).sizes(), c.in(1).sizes()));
        },
    .cpu =
        [](Call& c) {
          const Tensor& out = c.out();
          Tensor trials = rows_of(c.in(0), out.sizes()), p = rows_of(c.in(1), out.sizes());
          Generator& g = generator_of(c.arg(2));
          RandomDtype d = random_dtype(out.dtype(), "binomial_cpu");
          draw([&] { binomial(g, d, trials.raw(), p.raw(), out.raw(), out.numel()); });
        },
    .grad = zeros_for_inputs,
});
const Op& standard_gamma_op = def({
    .sig = "_standard_gamma(Tensor input, Generator? generator=None) -> Tensor",
    .doc = "Numbers drawn from gamma distributions of scale one whose shapes input holds.",
    .family = random_fill,
    .forms = function,
    .rule =
        [](Call& c) {
          if (!is_float(c.in(0).dtype())) throw_unsupported("gamma_cpu", c.in(0).dtype());
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
        },
    .cpu =
        [](Call& c) {
          Tensor alpha = rows_of(c.in(0), c.in(0).sizes());
          Generator& g = generator_of(c.arg(1));
          RandomDtype d = random_dtype(alpha.dtype(), "gamma_cpu");
          draw([&] { standard_gamma(g, d, alpha.raw(), c.out().raw(), alpha.numel()); });
        },
    .grad = [](const Call&, const Tensor&) -> Grads {
      throw not_implemented("the derivative of _standard_gamma is not implemented");
    },
});
const Op& sample_dirichlet_op = def({
    .sig = "_sample_dirichlet(Tensor input, Generator? generator=None) -> Tensor",
    .doc =
        "Points drawn from Dirichlet distributions whose concentrations the last dimension of input holds.",
    .family = random_fill,
    .forms = function,
    .rule =
        [](Call& c) {
          if (!is_float(c.in(0).dtype())) throw_unsupported("dirichlet", c.in(0).dtype());
          c.out_meta(0, c.in(0).dtype(), Dims(c.in(0).sizes()));
        },
    .cpu =
        [](Call& c) {
          Tensor alpha = rows_of(c.in(0), c.in(0).sizes());
          Generator& g = generator_of(c.arg(1));
          size_t columns = alpha.ndim() ? alpha.size(-1) : 1;
          if (alpha.numel() == 0) return;
          RandomDtype d = random_dtype(alpha.dtype(), "dirichlet");
          draw([&] { dirichlet(g, d, alpha.raw(), c.out().raw(), alpha.numel() / columns, columns); });
        },
    .grad = [](const Call&, const Tensor&) -> Grads {
      throw not_implemented("the derivative of _sample_dirichlet is not implemented");
    },
});

}  // namespace

}  // namespace rushlight::ops

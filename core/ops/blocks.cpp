// Sliding blocks of images as columns (im2col, which is unfold) and their sum back into images (col2im, which is fold): each is
// the other's gradient.
#include "kernels/parallel.h"
#include "ops/dense.h"
#include "ops/ops.h"

#include <algorithm>

namespace rushlight::ops {

namespace {

extern const Op &im2col, &col2im;
constexpr int64_t limit = int64_t(1) << 31;

struct Blocks {
  int64_t h, w, kh, kw, dil_h, dil_w, pad_h, pad_w, stride_h, stride_w, rows, columns;
};

std::string both(IntSpan v) { return cat_text("(", v[0], ", ", v[1], ")"); }

void check_positive(IntSpan v, const char* name, const char* prefix) {
  if (v[0] <= 0 || v[1] <= 0)
    throw runtime_error(name, " should be greater than zero, but got ", prefix, "_height: ", v[0], " ",
                        prefix, "_width: ", v[1]);
  if (v[0] >= limit || v[1] >= limit) throw runtime_error(name, " is out of range");
}

// kernel, dilation, padding and stride are arguments first ... first + 3
Blocks blocks_of(const Call& c, int first, int64_t h, int64_t w) {
  IntSpan k = c.ints(first), d = c.ints(first + 1), p = c.ints(first + 2), s = c.ints(first + 3);
  check_positive(k, "kernel size", "kernel");
  check_positive(d, "dilation", "dilation");
  check_positive(s, "stride", "stride");
  if (p[0] < 0 || p[1] < 0)
    throw runtime_error("padding should be non-negative, but got pad_height: ", p[0], " pad_width: ", p[1]);
  if (p[0] >= limit || p[1] >= limit) throw runtime_error("padding is out of range");
  auto fitting = [](int64_t size, int64_t kernel, int64_t dilation, int64_t pad, int64_t stride) {
    int64_t room = size + 2 * pad - (dilation * (kernel - 1) + 1);
    return room < 0 ? room / stride - (room % stride != 0) + 1 : room / stride + 1;
  };
  return {h,
          w,
          k[0],
          k[1],
          d[0],
          d[1],
          p[0],
          p[1],
          s[0],
          s[1],
          fitting(h, k[0], d[0], p[0], s[0]),
          fitting(w, k[1], d[1], p[1], s[1])};
}

// f(element of the columns, element of the plane) for what lies inside the image, per channel
template <class F> void each_element_of(const Blocks& b, F&& f) {
  int64_t at = 0;
  for (int64_t i = 0; i < b.kh; ++i)
    for (int64_t j = 0; j < b.kw; ++j)
      for (int64_t y = 0; y < b.rows; ++y) {
        int64_t row = y * b.stride_h - b.pad_h + i * b.dil_h;
        for (int64_t x = 0; x < b.columns; ++x, ++at) {
          int64_t column = x * b.stride_w - b.pad_w + j * b.dil_w;
          if (row >= 0 && row < b.h && column >= 0 && column < b.w) f(at, row * b.w + column);
        }
      }
}

Dims with(IntSpan leading, std::initializer_list<int64_t> rest) {
  Dims sizes(leading);
  for (auto r : rest) sizes.push_back(r);
  return sizes;
}

Dtype checked_type(Dtype d, const char* name) {
  if (!is_float(d)) throw_unsupported(name, d);
  return compute_type(d);
}

const Op& im2col = def({
    .sig =
        "im2col(Tensor input, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride) -> Tensor",
    .doc = "Sliding blocks of (N, C, H, W) as columns: (N, C * kernel elements, blocks).",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          const Tensor& x = c.in(0);
          if (x.ndim() < 3) wrap_dim(2, x.ndim());  // raises
          bool sound = x.ndim() <= 4;
          for (int64_t d = x.ndim() - 3; d < x.ndim(); ++d) sound &= x.size(d) > 0;
          if (!sound)
            throw runtime_error(
                "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
                "dimensions for "
                "input, but got: ",
                show(x.sizes()));
          Blocks b = blocks_of(c, 1, x.size(-2), x.size(-1));
          if (b.rows < 1 || b.columns < 1)
            throw runtime_error("Given input with spatial size (", b.h, ", ", b.w,
                                "), kernel_size=", both(c.ints(1)), ", dilation=", both(c.ints(2)),
                                ", padding=", both(c.ints(3)),
                                ", calculated shape of the array of sliding blocks as (", b.rows, ", ",
                                b.columns, "), but its components must be at least one.");
          checked_type(x.dtype(), "im2col_out_cpu");
          c.out_meta(0, x.dtype(),
                     with(x.sizes().first(x.ndim() - 3),
                          {count(Dims{x.size(-3), b.kh, b.kw}), count(Dims{b.rows, b.columns})}));
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d);
          Result out(c.out(), d);
          Blocks b = blocks_of(c, 1, x.size(-2), x.size(-1));
          int64_t planes = count(x.sizes().first(x.ndim() - 2)), size = b.kh * b.kw * b.rows * b.columns;
          visit_float(d, [&]<class T>() {
            parallel_for(planes, std::max<int64_t>(1, 32768 / size), [&](int64_t begin, int64_t end) {
              for (int64_t k = begin; k < end; ++k) {
                const T* from = x.data<T>() + k * b.h * b.w;
                T* to = out.data<T>() + k * size;
                std::fill_n(to, size, T(0));
                each_element_of(b, [&](int64_t at, int64_t place) { to[at] = from[place]; });
              }
            });
          });
          out.store();
        },
    .grad =
        [](const Call& c, const Tensor& g) {
          IntSpan sizes = c.in_sizes(0);
          return Grads{
              col2im.call({g, sizes.subspan(sizes.size() - 2), c.arg(1), c.arg(2), c.arg(3), c.arg(4)})};
        },
    .grad_name = "Im2ColBackward0",
    .samples = {"x(2,3,5,4), (2,3), 1, 0, 1", "x(2,5,6), 2, (1,2), 1, (2,1)"},
});

const Op& col2im = def({
    .sig = "col2im(Tensor input, int[2] output_size, int[2] kernel_size, int[2] dilation, int[2] padding, "
           "int[2] stride) -> Tensor",
    .doc = "Sum of sliding blocks (N, C * kernel elements, blocks) where they overlap: (N, C, H, W).",
    .forms = Forms::function,
    .rule =
        [](Call& c) {
          const Tensor& x = c.in(0);
          IntSpan size = c.ints(1), k = c.ints(2);
          if ((x.ndim() != 2 && x.ndim() != 3) || x.size(-1) == 0 || x.size(-2) == 0)
            throw runtime_error(
                "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
                "dimensions "
                "for input, but got: ",
                show(x.sizes()));
          if (size[0] < 1 || size[1] < 1 || size[0] >= limit || size[1] >= limit)
            throw runtime_error("Expected output spatial size to be positive, but got output_size=",
                                both(size));
          Blocks b = blocks_of(c, 2, size[0], size[1]);
          int64_t per_channel = b.kh * b.kw;
          int64_t dim = x.ndim() - 2;
          if (x.size(-2) % per_channel)
            throw runtime_error(
                "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
                "input.size(1)=",
                x.size(dim), " and kernel_size=", both(k), ".");
          if (b.rows < 1 || b.columns < 1 || x.size(-1) != count(Dims{b.rows, b.columns}))
            throw runtime_error(
                "Given output_size=", both(size), ", kernel_size=", both(k), ", dilation=", both(c.ints(3)),
                ", padding=", both(c.ints(4)), ", stride=", both(c.ints(5)),
                ", expected size of input's dimension 2 to match the calculated number of sliding blocks ",
                b.rows, " * ", b.columns, " = ", b.rows * b.columns, ", but got input.size(2)=", x.size(-1),
                ".");
          checked_type(x.dtype(), "col2im_out_cpu");
          c.out_meta(0, x.dtype(),
                     with(x.sizes().first(x.ndim() - 2), {x.size(-2) / per_channel, size[0], size[1]}));
        },
    .cpu =
        [](Call& c) {
          Dtype d = compute_type(c.out().dtype());
          Tensor x = dense(c.in(0), d);
          Result out(c.out(), d);
          Blocks b = blocks_of(c, 2, c.ints(1)[0], c.ints(1)[1]);
          int64_t planes = count(c.out().sizes().first(c.out().ndim() - 2)),
                  size = b.kh * b.kw * b.rows * b.columns;
          visit_float(d, [&]<class T>() {
            parallel_for(planes, std::max<int64_t>(1, 32768 / size), [&](int64_t begin, int64_t end) {
              for (int64_t k = begin; k < end; ++k) {
                const T* from = x.data<T>() + k * size;
                T* to = out.data<T>() + k * b.h * b.w;
                std::fill_n(to, b.h * b.w, T(0));
                each_element_of(b, [&](int64_t at, int64_t place) { to[place] += from[at]; });
              }
            });
          });
          out.store();
        },
    .grad = [](const Call& c,
               const Tensor& g) { return Grads{im2col.call({g, c.arg(2), c.arg(3), c.arg(4), c.arg(5)})}; },
    .grad_name = "Col2ImBackward0",
    .samples = {"x(2,12,9), (4,4), 2, 1, 0, 1"},
});

}  // namespace

}  // namespace rushlight::ops

"""Convolutions in float32: forward, and each derivative by itself. PyTorch takes the faster of its memory formats."""

from benchmarks.timing import Case

SHAPES = {  # name: images, channels in, out, side, kernel, stride, padding, groups
    "3x3 64 of 56 x 56": (16, 64, 64, 56, 3, 1, 1, 1),
    "3x3 64 of 56 x 56, stride 2": (16, 64, 128, 56, 3, 2, 1, 1),
    "3x3 128 of 28 x 28": (16, 128, 128, 28, 3, 1, 1, 1),
    "3x3 128 of 28 x 28, stride 2": (16, 128, 256, 28, 3, 2, 1, 1),
    "3x3 256 of 14 x 14": (16, 256, 256, 14, 3, 1, 1, 1),
    "3x3 256 of 14 x 14, stride 2": (16, 256, 512, 14, 3, 2, 1, 1),
    "1x1 256 of 28 x 28": (16, 256, 64, 28, 1, 1, 0, 1),
    "7x7 3 of 112 x 112, stride 2": (8, 3, 64, 112, 7, 2, 3, 1),
    "3x3 MNIST, first layer": (64, 1, 32, 28, 3, 1, 1, 1),
    "3x3 depthwise 128 of 28 x 28": (16, 128, 128, 28, 3, 1, 1, 128),
}
FORMATS = (
    "x = x.contiguous(memory_format=torch.channels_last); w = w.contiguous(memory_format=torch.channels_last)",
)


def leaves(of_x, of_w):
    """Code that makes the leaves of one measurement, after the layout was chosen."""
    return f"x = x.detach().requires_grad_({of_x}); w = w.detach().requires_grad_({of_w})"


def conv2d(name, n, cin, cout, side, kernel, stride, padding, groups):
    setup = (
        f"x, w = torch.randn({n}, {cin}, {side}, {side}), torch.randn({cout}, {cin // groups}, {kernel}, {kernel})\n"
        f"conv = lambda x, w: torch.nn.functional.conv2d(x, w, None, {stride}, {padding}, 1, {groups})"
    )
    out = (side + 2 * padding - kernel) // stride + 1
    flop = 2 * n * cout * out * out * cin // groups * kernel * kernel
    return directions(name, setup, flop, FORMATS)


def directions(name, setup, flop, formats=()):
    """Forward, and the gradient of the input and of the weight on top of one forward pass kept for all runs."""
    cases = [Case(f"{name}, forward", setup, "conv(x, w)", 1.1, flop=flop, theirs=formats)]
    for which, of_x in (("input", True), ("weight", False)):
        graph = (
            f"{leaves(of_x, not of_x)}; y = conv(x, w); g = torch.ones_like(y); leaf = {'x' if of_x else 'w'}"
        )
        cases.append(
            Case(
                f"{name}, gradient of the {which}",
                setup + "\n" + graph,
                "torch.autograd.grad(y, leaf, g, retain_graph=True)",
                1.1,
                flop=flop,
                theirs=tuple(f"{f}; {graph}" for f in formats),
            )
        )
    return cases


CONV1D = (
    "x, w = torch.randn(16, 64, 1024), torch.randn(64, 64, 5)\n"
    "conv = lambda x, w: torch.nn.functional.conv1d(x, w, None, 1, 2)"
)
TRANSPOSED = (
    "x, w = torch.randn(16, 64, 28, 28), torch.randn(64, 32, 4, 4)\n"
    "conv = lambda x, w: torch.nn.functional.conv_transpose2d(x, w, None, 2, 1)"
)

CASES = [case for name, shape in SHAPES.items() for case in conv2d(name, *shape)]
CASES += directions("1-D, 64 of 1024, 5 wide", CONV1D, 2 * 16 * 64 * 64 * 1024 * 5)
CASES += directions("transposed 64 to 32 of 28 x 28", TRANSPOSED, 2 * 16 * 64 * 32 * 28 * 28 * 16, FORMATS)

SHORT = """
3x3 with stride 1 goes by Winograd's F(2x2, 3x3) (F(4x4, 3x3) has 3.6 times PyTorch's error, which is above what is
allowed). The others run on the matrix unit where there is one, which gives 310 to 350 GFLOP/s a core on numbers split into
three of bfloat16 (490 on zeros: it slows down with the power it draws). 1x1: half of the time is reading and splitting the
image. 7x7 of three channels fills 21 of 32 terms of a tile; tried: rows gathered so that tiles are full (a sixth slower:
the copies cost more than the products saved).
"""

SHORT_AVX2 = """
Stride 2 and transposed: the direct kernel at 80 % of the rate of multiply-adds in its register tile, less what copies
of the rows cost; PyTorch's (oneDNN) is up to a tenth ahead. Depthwise: the kernels are three to seven times slower
than with AVX-512, which has not been looked into yet.
"""

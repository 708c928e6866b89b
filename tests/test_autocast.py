"""Autocast on the CPU: which operators cast, gradients, the cache of weights, nesting, custom Functions, checkpoints."""

import threading
import warnings

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.utils.checkpoint import checkpoint

F = nn.functional
BF16, F16, F32, F64 = torch.bfloat16, torch.float16, torch.float32, torch.float64


def x(*shape, dtype=F32):
    return (torch.arange(int(np.prod(shape))).reshape(shape) % 7 - 3).to(F32).div(4).to(dtype)


def spd(n, dtype):
    return (torch.eye(n) * 4 + torch.ones(n, n)).to(dtype)


LOWER = {
    "linear": lambda d: F.linear(x(3, 4, dtype=d), x(5, 4, dtype=d), x(5, dtype=d)),
    "matmul": lambda d: x(3, 4, dtype=d) @ x(4, 2, dtype=d),
    "mm": lambda d: torch.mm(x(3, 4, dtype=d), x(4, 2, dtype=d)),
    "bmm": lambda d: torch.bmm(x(2, 3, 4, dtype=d), x(2, 4, 2, dtype=d)),
    "addmm": lambda d: torch.addmm(x(3, 2, dtype=d), x(3, 4, dtype=d), x(4, 2, dtype=d)),
    "baddbmm": lambda d: torch.baddbmm(x(2, 3, 2, dtype=d), x(2, 3, 4, dtype=d), x(2, 4, 2, dtype=d)),
    "addbmm": lambda d: torch.addbmm(x(3, 2, dtype=d), x(2, 3, 4, dtype=d), x(2, 4, 2, dtype=d)),
    "inner": lambda d: torch.inner(x(3, 4, dtype=d), x(3, 4, dtype=d)),
    "einsum": lambda d: torch.einsum("ij,jk->ik", x(3, 4, dtype=d), x(4, 2, dtype=d)),
    "tensordot": lambda d: torch.tensordot(x(3, 4, dtype=d), x(4, 2, dtype=d), 1),
    "vecdot": lambda d: torch.linalg.vecdot(x(3, 4, dtype=d), x(3, 4, dtype=d)),
    "conv1d": lambda d: F.conv1d(x(1, 2, 5, dtype=d), x(3, 2, 3, dtype=d)),
    "conv2d": lambda d: F.conv2d(x(1, 2, 5, 5, dtype=d), x(3, 2, 3, 3, dtype=d), x(3, dtype=d)),
    "conv3d": lambda d: F.conv3d(x(1, 2, 5, 5, 5, dtype=d), x(3, 2, 3, 3, 3, dtype=d)),
    "conv_transpose2d": lambda d: F.conv_transpose2d(x(1, 2, 5, 5, dtype=d), x(2, 3, 3, 3, dtype=d)),
    "conv_tbc": lambda d: F.conv_tbc(x(5, 1, 2, dtype=d), x(3, 2, 3, dtype=d), x(3, dtype=d)),
    "prelu": lambda d: F.prelu(x(3, 4, dtype=d), x(4, dtype=d)),
    "attention": lambda d: F.scaled_dot_product_attention(*[x(1, 2, 3, 4, dtype=d)] * 3),
}
FULL = {
    "mse_loss": lambda d: F.mse_loss(x(3, dtype=d), x(3, dtype=d)),
    "l1_loss": lambda d: F.l1_loss(x(3, dtype=d), x(3, dtype=d)),
    "smooth_l1_loss": lambda d: F.smooth_l1_loss(x(3, dtype=d), x(3, dtype=d)),
    "huber_loss": lambda d: F.huber_loss(x(3, dtype=d), x(3, dtype=d)),
    "nll_loss": lambda d: F.nll_loss(x(3, 4, dtype=d), torch.tensor([0, 1, 2])),
    "cross_entropy": lambda d: F.cross_entropy(x(3, 4, dtype=d), torch.tensor([0, 1, 2])),
    "binary_cross_entropy": lambda d: F.binary_cross_entropy(x(3, dtype=d).abs(), x(3, dtype=d).abs()),
    "with_logits": lambda d: F.binary_cross_entropy_with_logits(x(3, dtype=d), x(3, dtype=d).abs()),
    "kl_div": lambda d: F.kl_div(x(3, dtype=d), x(3, dtype=d).abs(), reduction="sum"),
    "triplet": lambda d: F.triplet_margin_loss(*[x(3, 4, dtype=d)] * 3),
    "avg_pool3d": lambda d: F.avg_pool3d(x(1, 2, 4, 4, 4, dtype=d), 2),
    "max_pool3d": lambda d: F.max_pool3d(x(1, 2, 4, 4, 4, dtype=d), 2),
    "adaptive_avg_pool3d": lambda d: F.adaptive_avg_pool3d(x(1, 2, 4, 4, 4, dtype=d), 2),
    "reflection_pad2d": lambda d: F.pad(x(1, 2, 4, 4, dtype=d), (1, 1, 1, 1), mode="reflect"),
    "replication_pad1d": lambda d: F.pad(x(1, 2, 4, dtype=d), (1, 1), mode="replicate"),
    "grid_sample": lambda d: F.grid_sample(
        x(1, 2, 4, 4, dtype=d), x(1, 3, 3, 2, dtype=d), align_corners=False
    ),
    "prod": lambda d: x(3, dtype=d).prod(),
    "trace": lambda d: x(3, 3, dtype=d).trace(),
    "cdist": lambda d: torch.cdist(x(3, 4, dtype=d), x(3, 4, dtype=d)),
    "quantile": lambda d: torch.quantile(x(5, dtype=d), 0.3),
    "hfft": lambda d: torch.fft.hfft(x(4, dtype=d)),
    "inv": lambda d: torch.linalg.inv(spd(3, d)),
    "cholesky": lambda d: torch.linalg.cholesky(spd(3, d)),
    "solve": lambda d: torch.linalg.solve(spd(3, d), x(3, 2, dtype=d)),
    "svdvals": lambda d: torch.linalg.svdvals(spd(3, d)),
    "eigh": lambda d: torch.linalg.eigh(spd(3, d))[0],
    "qr": lambda d: torch.linalg.qr(spd(3, d))[0],
}
NEITHER = {
    "relu": lambda d: F.relu(x(3, dtype=d)),
    "softmax": lambda d: F.softmax(x(3, dtype=d), -1),
    "layer_norm": lambda d: F.layer_norm(x(3, 4, dtype=d), (4,)),
    "sum": lambda d: x(3, dtype=d).sum(),
    "exp": lambda d: x(3, dtype=d).exp(),
    "max_pool2d": lambda d: F.max_pool2d(x(1, 2, 4, 4, dtype=d), 2),
    "mv": lambda d: torch.mv(x(3, 4, dtype=d), x(4, dtype=d)),
    "addmm_": lambda d: x(3, 2, dtype=d).addmm_(x(3, 4, dtype=d), x(4, 2, dtype=d)),
    "out=": lambda d: torch.mm(x(3, 4, dtype=d), x(4, 2, dtype=d), out=torch.empty(3, 2, dtype=d)),
    "cross": lambda d: torch.linalg.cross(x(2, 3, dtype=d), x(2, 3, dtype=d)),
    "bilinear": lambda d: F.bilinear(x(2, 3, dtype=d), x(2, 3, dtype=d), x(1, 3, 3, dtype=d)),
    "inner": lambda d: torch.inner(x(3, dtype=d), x(3, dtype=d)),
    "embedding": lambda d: F.embedding(torch.tensor([0, 1]), x(4, 3, dtype=d)),
}


@pytest.mark.parametrize("name", LOWER)
@pytest.mark.parametrize("to", [BF16, F16])
def test_matrix_products_compute_in_the_lower_precision(name, to):
    with torch.autocast("cpu", dtype=to):
        result = LOWER[name](F32)
        assert result.dtype is to
        assert LOWER[name](F16 if to is BF16 else BF16).dtype is to
        assert LOWER[name](F64).dtype is F64
    np.testing.assert_array_equal(result.float().numpy(), LOWER[name](to).float().numpy())
    assert LOWER[name](F32).dtype is F32


@pytest.mark.parametrize("name", FULL)
def test_losses_and_factorisations_compute_in_float32(name):
    with torch.autocast("cpu"):
        result = FULL[name](BF16)
        assert result.dtype is F32 and FULL[name](F16).dtype is F32 and FULL[name](F64).dtype is F64
    # the arguments of these samples are exact in bfloat16
    np.testing.assert_array_equal(result.numpy(), FULL[name](F32).numpy())


@pytest.mark.parametrize("name", NEITHER)
def test_everything_else_is_as_without(name):
    for dtype in (F32, BF16, F16, F64):
        with torch.autocast("cpu"):
            assert NEITHER[name](dtype).dtype is dtype


def test_joining_takes_the_widest():
    with torch.autocast("cpu"):
        assert torch.cat([x(2), x(2, dtype=BF16)]).dtype is F32
        assert torch.stack([x(2), x(2, dtype=BF16)]).dtype is F32
        assert torch.stack([x(2, dtype=BF16)] * 2).dtype is BF16
        assert x(3, 4, dtype=BF16).index_copy(0, torch.tensor([1]), torch.ones(1, 4)).dtype is F32


def test_integers_and_complex_numbers_are_not_cast():
    with torch.autocast("cpu"):
        assert (
            torch.mm(torch.ones(2, 2, dtype=torch.int64), torch.ones(2, 2, dtype=torch.int64)).dtype
            is torch.int64
        )
        assert (torch.ones(2, 2) + 0j).mm(torch.ones(2, 2) + 0j).dtype is torch.complex64


def test_gradients_have_the_dtype_of_the_parameters_and_the_values_of_explicit_casts():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    data, target = torch.randn(5, 8), torch.tensor([0, 1, 2, 3, 0])
    with torch.autocast("cpu"):
        out = net(data)
        loss = F.cross_entropy(out, target)
    loss.backward()
    assert out.dtype is BF16 and loss.dtype is F32
    grads = [p.grad.clone() for p in net.parameters()]
    assert all(g.dtype is F32 for g in grads)
    net.zero_grad()
    w1, b1, w2, b2 = (p.bfloat16() for p in net.parameters())
    F.cross_entropy(F.linear(F.linear(data.bfloat16(), w1, b1).relu(), w2, b2).float(), target).backward()
    for g, p in zip(grads, net.parameters()):
        np.testing.assert_array_equal(g.numpy(), p.grad.numpy())


def casts(f):
    """How many casts f() makes."""
    with torch.profiler.profile() as prof:
        f()
    return sum(e.count for e in prof.key_averages() if e.key == "aten::to_dtype")


def test_a_weight_used_twice_is_cast_once_and_forgotten_afterwards():
    w, data = nn.Parameter(x(4, 4)), x(4, 4)

    def twice(**options):
        with torch.autocast("cpu", **options):
            F.linear(F.linear(data, w), w)

    assert casts(twice) == 2  # data and w
    assert casts(lambda: twice(cache_enabled=False)) == 3

    def changed():
        with torch.autocast("cpu"):
            first = F.linear(data, w)
            with torch.no_grad():
                w.mul_(2.0)
            return first, F.linear(data, w)

    first, second = changed()
    np.testing.assert_array_equal(second.detach().float().numpy(), 2 * first.detach().float().numpy())


def test_a_cast_made_without_grad_is_not_used_with_it():
    w = nn.Parameter(x(4, 4))
    with torch.autocast("cpu"):
        with torch.no_grad():
            F.linear(x(2, 4), w)
        F.linear(x(2, 4), w).sum().backward()
    assert w.grad is not None and w.grad.dtype is F32


def test_nesting_and_state():
    a = x(2, 2)
    assert not torch.is_autocast_enabled() and torch.get_autocast_dtype("cpu") is BF16
    with torch.autocast("cpu", dtype=F16):
        assert torch.is_autocast_enabled("cpu") and torch.is_autocast_enabled()
        with torch.autocast("cpu", enabled=False):
            assert (a @ a).dtype is F32 and not torch.is_autocast_enabled("cpu")
            with torch.autocast("cpu"):  # the dtype of the context around it
                assert (a @ a).dtype is F16
            with torch.autocast("cpu", dtype=BF16):
                assert (a @ a).dtype is BF16
        assert (a @ a).dtype is F16
        seen = []
        t = threading.Thread(target=lambda: seen.append(torch.is_autocast_enabled("cpu")))
        t.start()
        t.join()
        assert seen == [False]
    assert (a @ a).dtype is F32 and torch.get_autocast_dtype("cpu") is BF16
    with pytest.raises(ZeroDivisionError), torch.autocast("cpu"):
        1 / 0
    assert not torch.is_autocast_enabled("cpu")


def test_as_a_decorator():
    @torch.autocast("cpu")
    def product(a):
        return a @ a

    assert product(x(2, 2)).dtype is BF16 and product.__name__ == "product"


def test_switches():
    torch.set_autocast_enabled("cpu", True)
    torch.set_autocast_dtype("cpu", F16)
    try:
        assert (x(2, 2) @ x(2, 2)).dtype is F16
    finally:
        torch.set_autocast_enabled("cpu", False)
        torch.set_autocast_dtype("cpu", BF16)
    with pytest.warns(DeprecationWarning, match="is_autocast_cpu_enabled"):
        assert torch.is_autocast_cpu_enabled() is False


def test_arguments():
    with pytest.warns(
        UserWarning, match="CPU Autocast only supports dtypes of torch.bfloat16, torch.float16"
    ):
        context = torch.autocast("cpu", dtype=F32)
    with context:
        assert (x(2, 2) @ x(2, 2)).dtype is F32
    with pytest.warns(UserWarning, match="CUDA is not available"):
        torch.autocast("cuda")
    with pytest.raises(ValueError, match="Expected `device_type` of type `str`"):
        torch.autocast(3)
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
        torch.autocast("nowhere")
    assert torch.amp.is_autocast_available("cpu")
    with pytest.warns(FutureWarning), torch.cpu.amp.autocast():
        assert (x(2, 2) @ x(2, 2)).dtype is BF16


class Product(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        Product.seen = torch.is_autocast_enabled("cpu")
        return g @ b.T, a.T @ g


class InFloat32(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, a):
        InFloat32.seen = a.dtype, torch.is_autocast_enabled("cpu")
        return a @ a

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, g):
        return g


def test_custom_functions():
    a = x(2, 2).requires_grad_()
    with torch.autocast("cpu"):
        out = Product.apply(a, a)
        assert out.dtype is BF16
        assert InFloat32.apply(x(2, 2, dtype=BF16)).dtype is F32 and InFloat32.seen == (F32, False)
    out.sum().backward()
    assert Product.seen and a.grad.dtype is F32
    assert InFloat32.apply(x(2, 2, dtype=BF16)).dtype is BF16  # without autocast it is a plain forward


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_run_again_in_the_same_state(reentrant):
    w = nn.Parameter(x(4, 4))
    data = x(2, 4).requires_grad_()
    dtypes = []

    def f(a):
        out = F.linear(a, w)
        dtypes.append(out.dtype)
        return out.sin().sum()

    with torch.autocast("cpu", dtype=F16):
        out = checkpoint(f, data, use_reentrant=reentrant)
    out.backward()
    assert dtypes == [F16, F16] and not torch.is_autocast_enabled("cpu")
    grad, w.grad = w.grad, None
    with torch.autocast("cpu", dtype=F16):
        f(data).backward()
    np.testing.assert_array_equal(grad.numpy(), w.grad.numpy())


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_take_what_a_layer_before_them_gives(make):
    torch.manual_seed(0)
    rnn, data = make(3, 4), torch.randn(5, 2, 3)
    with torch.autocast("cpu"):
        out, _ = rnn(data.bfloat16())
    assert out.dtype is BF16
    np.testing.assert_allclose(out.detach().float().numpy(), rnn(data)[0].detach().numpy(), atol=0.02)


def test_a_small_network_learns():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    points = torch.linspace(-2, 2, 64).unsqueeze(1)
    first = None
    for _ in range(150):
        with torch.autocast("cpu"):
            loss = F.mse_loss(net(points), points.sin())
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < first / 20


def test_dtypes_as_pytorch_has_them():
    real = pytest.importorskip("torch")

    def dtypes(torch, table):
        names = {}
        for name, f in table.items():
            code = f.__code__
            make = type(f)(
                code, {**globals(), "torch": torch, "F": torch.nn.functional, "x": of(torch), "spd": None}
            )
            if "spd" in code.co_names:
                continue
            for dtype in ("float32", "bfloat16", "float16", "float64"):
                with warnings.catch_warnings(), torch.autocast("cpu"):
                    warnings.simplefilter("ignore")
                    names[name, dtype] = str(make(getattr(torch, dtype)).dtype)
        return names

    def of(torch):
        return lambda *shape, dtype=None: torch.ones(shape, dtype=torch.float32).to(dtype or torch.float32)

    for table in (LOWER, FULL, NEITHER):
        assert dtypes(torch, table) == dtypes(real, table)

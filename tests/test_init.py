"""nn.init: values, the numbers drawn (equal to PyTorch's from the same seed), errors."""

import math

import pytest

import rushlight as rl
from rushlight.nn import init


def test_gains():
    assert init.calculate_gain("linear") == 1 and init.calculate_gain("conv_transpose3d") == 1
    assert init.calculate_gain("tanh") == 5 / 3 and init.calculate_gain("selu") == 0.75
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu") == 1.4141428569978354
    assert init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)


def test_fills():
    x = rl.empty(2, 3)
    version = x._version
    assert init.zeros_(x) is x and x.tolist() == [[0, 0, 0], [0, 0, 0]] and x._version == version + 1
    assert init.ones_(x).sum() == 6 and init.constant_(x, 0.5).sum() == 3
    assert init.eye_(x).tolist() == [[1, 0, 0], [0, 1, 0]]
    weight = rl.nn.Parameter(rl.empty(2))
    assert init.zeros_(weight) is weight and weight.requires_grad and weight.grad_fn is None


def test_dirac():
    w = init.dirac_(rl.empty(4, 2, 3), groups=2)
    x = rl.randn(1, 4, 5)
    assert rl.equal(rl.nn.functional.conv1d(x, w, padding=1, groups=2), x)
    assert init.dirac_(rl.empty(1, 1, 3, 3))[0, 0].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("shape", [(5, 5), (3, 5), (5, 3), (4, 3, 2, 2)])
def test_orthogonal(shape):
    w = init.orthogonal_(rl.empty(*shape, dtype=rl.float64), gain=2.0).reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    assert rl.allclose(product, 4 * rl.eye(product.shape[0], dtype=rl.float64))


def test_sparse():
    w = init.sparse_(rl.empty(10, 7), 0.3)
    assert ((w == 0).sum(0) == 3).all()


def test_truncated_normal_stays_inside():
    for arguments in ((0.0, 1.0, -2.0, 2.0), (0.0, 1.0, 2.0, 3.0), (1.0, 2.0, 0.5, 0.6)):
        x = init.trunc_normal_(rl.empty(1000, dtype=rl.float64), *arguments)
        assert x.min() >= arguments[2] and x.max() <= arguments[3]


@pytest.mark.parametrize(
    "kind, text, call",
    [
        (ValueError, "Unsupported nonlinearity foo", lambda: init.calculate_gain("foo")),
        (
            ValueError,
            "negative_slope True not a valid number",
            lambda: init.calculate_gain("leaky_relu", True),
        ),
        (
            ValueError,
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions",
            lambda: init.xavier_uniform_(rl.empty(3)),
        ),
        (
            ValueError,
            "Mode x not supported, please use one of ['fan_in', 'fan_out']",
            lambda: init.kaiming_uniform_(rl.empty(3, 2), mode="x"),
        ),
        (ValueError, "Only tensors with 2 dimensions are supported", lambda: init.eye_(rl.empty(3))),
        (
            ValueError,
            "Only tensors with 3, 4, or 5 dimensions are supported",
            lambda: init.dirac_(rl.empty(3)),
        ),
        (ValueError, "dim 0 must be divisible by groups", lambda: init.dirac_(rl.empty(3, 2, 2), 2)),
        (
            ValueError,
            "Only tensors with 2 or more dimensions are supported",
            lambda: init.orthogonal_(rl.empty(3)),
        ),
        (ValueError, "Only tensors with 2 dimensions are supported", lambda: init.sparse_(rl.empty(3), 0.1)),
    ],
)
def test_errors(kind, text, call):
    with pytest.raises(kind) as info:
        call()
    assert str(info.value) == text


def test_warnings():
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        init.kaiming_uniform_(rl.empty(0, 2))
    with pytest.warns(UserWarning, match="mean is more than 2 std from"):
        init.trunc_normal_(rl.empty(3), mean=10.0)
    with pytest.warns(
        FutureWarning, match="`nn.init.normal` is now deprecated in favor of `nn.init.normal_`"
    ):
        init.normal(rl.empty(3))


# (expression, first values that PyTorch 2.13 gives with seed 7)
DRAWN = [
    (
        "init.uniform_(rl.empty(3, 4), -1.0, 2.0)",
        [0.6047676, -0.40359044, 0.9776351, 0.9706708],
    ),
    (
        "init.normal_(rl.empty(3, 7), 1.0, 0.1)",
        [0.9179866, 1.0395631, 1.0898908, 0.8611596],
    ),
    (
        "init.xavier_uniform_(rl.empty(3, 4))",
        [0.06466398, -0.55770814, 0.29480278, 0.29050434],
    ),
    (
        "init.xavier_normal_(rl.empty(3, 4), gain=2.0)",
        [-0.15693057, 0.8404204, 1.0121949, -1.1912838],
    ),
    (
        "init.kaiming_uniform_(rl.empty(3, 4), a=5**0.5)",
        [0.03492254, -0.3011968, 0.1592117, 0.15689027],
    ),
    (
        "init.kaiming_normal_(rl.empty(3, 4, 2), mode='fan_out', nonlinearity='relu')",
        [-0.47350487, 0.22841775, 0.51898503, -0.80159533],
    ),
    (
        "init.trunc_normal_(rl.empty(40), std=0.02, a=-0.02, b=0.02)",
        [-0.01640269, 0.007912623, 0.017978169, -0.006312822],
    ),
    (
        "init.trunc_normal_(rl.empty(6), 0.0, 1.0, 2.0, 3.0)",
        [2.5349226, 2.1988032, 2.0913777, 2.3592858],
    ),
    (
        "init.trunc_normal_(rl.empty(6, dtype=rl.float64), 0.0, 1.0, 2.0, 3.0)",
        [2.279380429906404, 2.7310225719574914, 2.022034885385106, 2.348459760431336],
    ),
    (
        "init.sparse_(rl.empty(4, 3), 0.5)",
        [0, 0.007861413, 0.009468216, -0.01114344],
    ),
]

AFTER = {
    "init.uniform_(rl.empty(3, 4), -1.0, 2.0)": 0.28683900833129883,
    "init.normal_(rl.empty(3, 7), 1.0, 0.1)": 0.2214464545249939,
    "init.xavier_uniform_(rl.empty(3, 4))": 0.28683900833129883,
    "init.xavier_normal_(rl.empty(3, 4), gain=2.0)": 0.5209300518035889,
    "init.kaiming_uniform_(rl.empty(3, 4), a=5**0.5)": 0.28683900833129883,
    "init.kaiming_normal_(rl.empty(3, 4, 2), mode='fan_out', nonlinearity='relu')": 0.7405239939689636,
    "init.trunc_normal_(rl.empty(40), std=0.02, a=-0.02, b=0.02)": 0.726815938949585,
    "init.trunc_normal_(rl.empty(6), 0.0, 1.0, 2.0, 3.0)": 0.19561558961868286,
    "init.trunc_normal_(rl.empty(6, dtype=rl.float64), 0.0, 1.0, 2.0, 3.0)": 0.5998914241790771,
    "init.sparse_(rl.empty(4, 3), 0.5)": 0.5690726637840271,
}


@pytest.mark.parametrize("expression, expected", DRAWN)
def test_numbers_drawn(expression, expected):
    rl.manual_seed(7)
    value = eval(expression).reshape(-1)
    assert value[:4].tolist() == rl.tensor(expected, dtype=value.dtype).tolist()
    assert rl.rand(1).item() == AFTER[expression]  # the generator stands where PyTorch's does

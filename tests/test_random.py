"""Random numbers: PyTorch's streams, generator objects, samplers, factories, and what bad arguments raise."""

import copy
import hashlib
import json
import pickle
import weakref
from pathlib import Path

import numpy as np
import pytest

import rushlight as rl

VECTORS = Path(__file__).resolve().parents[1].parent / "shared" / "specs" / "vectors" / "rng_vectors.json"


# ---- streams ----
# Numbers that torch.manual_seed(0) gives; the long list is in the conformance folder.
STREAMS = {
    "rl.rand(5)": "5815fe3e2faa443fa833b53d0033073e86669d3e",
    "rl.rand(5, dtype=rl.float16)": "f137253aaa2d3a30eb34",
    "rl.rand(5, dtype=rl.bfloat16)": "fe3e453fb53d073e9d3e",
    "rl.randn(5)": "5c3fc53f503c96be49710bc0b684113fa1d18abf",
    "rl.empty(6, dtype=rl.uint8).random_()": "ac2f75c043fb",
    "rl.empty(6, dtype=rl.bool).random_()": "000101000101",
}


@pytest.mark.parametrize("expression", STREAMS)
def test_first_numbers_of_seed_0(expression):
    rl.manual_seed(0)
    assert eval(expression).view(rl.uint8).numpy().tobytes().hex() == STREAMS[expression]


@pytest.mark.skipif(not VECTORS.exists(), reason="the conformance folder is not here")
def test_all_stored_streams():
    wrong = []
    for row in json.loads(VECTORS.read_text()):
        if "orthogonal_" in row["expr"]:  # equal to LAPACK's rounding only
            continue
        rl.manual_seed(row["seed"])
        t = eval(row["expr"], {"torch": rl}).detach().contiguous().reshape(-1)
        if t.is_complex():
            t = rl.view_as_real(t).reshape(-1)
        data = t.view(rl.uint8).numpy().tobytes()
        same = (
            data.hex() == row["bytes"]
            if "bytes" in row
            else hashlib.sha256(data).hexdigest() == row["sha256"]
        )
        state = hashlib.sha256(rl.get_rng_state().numpy().tobytes()).hexdigest()[:16]
        if not same or state != row["state_sha256_16"]:
            wrong.append(row["expr"])
    assert not wrong


FILLS = [
    lambda t: t.uniform_(-1, 2), lambda t: t.exponential_(2.0), lambda t: t.cauchy_(), lambda t: t.random_(0, 50),
    lambda t: t.bernoulli_(0.3), lambda t: t.geometric_(0.4), lambda t: t.log_normal_(), lambda t: t.random_(),
]  # fmt: skip


@pytest.mark.parametrize("fill", FILLS)
def test_order_of_memory_decides(fill):
    """A transposed tensor gets the numbers of its memory, a tensor with gaps those of its elements in memory order."""
    rl.manual_seed(3)
    straight = fill(rl.empty(5, 7))
    rl.manual_seed(3)
    turned = fill(rl.empty(5, 7).t())
    assert rl.equal(turned.t(), straight)
    rl.manual_seed(3)
    wide = rl.zeros(5, 14)
    fill(wide[:, ::2])
    assert rl.equal(wide[:, ::2], straight) and not wide[:, 1::2].any()
    rl.manual_seed(3)
    turned_gaps = rl.zeros(5, 14)
    fill(turned_gaps[:, ::2].t())
    assert rl.equal(turned_gaps[:, ::2], straight)


def test_like_keeps_strides_and_so_the_order():
    rl.manual_seed(1)
    a = rl.rand(3, 4)
    rl.manual_seed(1)
    b = rl.rand_like(rl.empty(3, 4).t())
    assert b.stride() == (1, 4) and rl.equal(b.t(), a)


def test_contiguous_normals_of_16_and_more_differ_from_the_scalar_way():
    rl.manual_seed(0)
    block = rl.randn(4, 5)
    rl.manual_seed(0)
    scalar = rl.empty(5, 4).t().normal_()
    assert not rl.equal(block, scalar.t().reshape(4, 5))
    rl.manual_seed(0)
    one_by_one = rl.stack([rl.randn(()) for _ in range(20)])
    rl.manual_seed(0)
    assert rl.equal(rl.empty(5, 4).t().normal_().t().reshape(-1), one_by_one)


def test_an_empty_tensor_draws_nothing():
    before = rl.get_rng_state()
    rl.rand(0)
    rl.randn(0, 3)
    rl.randint(5, (0,))
    rl.empty(0).exponential_()
    rl.randperm(0)
    assert rl.equal(before, rl.get_rng_state())


# ---- generators ----
def test_generators_are_independent():
    a, b = rl.Generator(), rl.Generator()
    a.manual_seed(5)
    b.manual_seed(5)
    default = rl.get_rng_state()
    first = rl.rand(4, generator=a)
    assert rl.equal(first, rl.rand(4, generator=b))
    assert not rl.equal(first, rl.rand(4, generator=a))
    assert rl.equal(default, rl.get_rng_state())


def test_new_generator_and_seeds():
    g = rl.Generator()
    assert g.initial_seed() == 67280421310721
    assert g.manual_seed(-1) is g and g.initial_seed() == 2**64 - 1
    assert g.manual_seed(2**64 - 1).initial_seed() == 2**64 - 1
    assert g.seed() == g.initial_seed()
    assert rl.manual_seed("3") is rl.default_generator and rl.initial_seed() == 3
    assert rl.manual_seed(1.7).initial_seed() == 1
    assert rl.seed() == rl.initial_seed()
    assert g.device == rl.device("cpu") and rl.Generator(device="cpu").device.type == "cpu"


def test_state_continues_the_stream():
    g = rl.Generator().manual_seed(9)
    rl.randn((), generator=g)  # leaves a second normal behind
    state = g.get_state()
    assert state.dtype == rl.uint8 and state.shape == (5056,)
    numbers = rl.randn(3, generator=g)
    assert g.set_state(state) is g
    assert rl.equal(numbers, rl.randn(3, generator=g))
    clone = rl.Generator().set_state(state).clone_state()
    assert rl.equal(numbers, rl.randn(3, generator=clone))


@pytest.mark.parametrize("again", [lambda g: pickle.loads(pickle.dumps(g)), copy.deepcopy, copy.copy])
def test_generators_are_pickled_with_their_state(again):
    g = rl.Generator().manual_seed(9)
    rl.rand(10, generator=g)
    other = again(g)
    assert other is not g and other.initial_seed() == 9
    assert rl.equal(rl.rand(4, generator=other), rl.rand(4, generator=g))
    function, arguments, state = g.__reduce__()
    assert function is rl.Generator and arguments == (rl.device("cpu"),) and state[:2] == (9, None)


def test_generators_can_be_referenced_weakly():
    g = rl.Generator()
    ref = weakref.ref(g)
    assert ref() is g
    del g
    assert ref() is None


def test_fork_rng_restores():
    rl.manual_seed(0)
    with rl.random.fork_rng():
        inside = rl.rand(3)
    assert rl.equal(rl.rand(3), inside)
    with rl.random.fork_rng(enabled=False):
        rl.rand(3)
    assert not rl.equal(rl.rand(3), inside)


# ---- distributions ----
def many(fill, dtype=rl.float64):
    return fill(rl.empty(40000, dtype=dtype)).double().numpy()


def test_moments():
    close = lambda a, b: abs(a - b) < 0.03 * max(1, abs(b))  # noqa: E731  (more than 5 standard errors)
    x = many(lambda t: t.uniform_(2, 4))
    assert close(x.mean(), 3) and close(x.var(), 1 / 3) and x.min() >= 2 and x.max() < 4
    x = many(lambda t: t.normal_(1, 2))
    assert close(x.mean(), 1) and close(x.std(), 2)
    x = many(lambda t: t.exponential_(4))
    assert close(x.mean(), 0.25) and x.min() >= 0
    x = many(lambda t: t.geometric_(0.5))
    assert close(x.mean(), 2) and x.min() >= 1
    assert close(np.median(many(lambda t: t.cauchy_(3, 1))), 3)
    assert close(np.log(many(lambda t: t.log_normal_(0.5, 0.25))).mean(), 0.5)
    assert close(many(lambda t: t.bernoulli_(0.3)).mean(), 0.3)
    assert close(many(lambda t: rl.poisson(t.fill_(3.0))).mean(), 3)
    assert close(many(lambda t: rl.poisson(t.fill_(30.0))).var(), 30)
    assert close(many(lambda t: rl._standard_gamma(t.fill_(2.5))).mean(), 2.5)
    assert close(many(lambda t: rl.binomial(t.fill_(20.0), rl.full_like(t, 0.25))).mean(), 5)


def test_randint_and_randperm():
    x = rl.randint(-3, 4, (1000,))
    assert x.dtype == rl.int64 and sorted(set(x.tolist())) == list(range(-3, 4))
    assert rl.randint(high=3, size=(2, 2), dtype=rl.float32).dtype == rl.float32
    assert sorted(rl.randperm(100).tolist()) == list(range(100))
    assert rl.randperm(5, dtype=rl.int32).dtype == rl.int32
    assert rl.randint_like(rl.ones(3, dtype=rl.float16), 2, 3).tolist() == [2, 2, 2]
    assert rl.empty(50, dtype=rl.int8).random_(100, None).min() >= 100


def test_multinomial():
    p = rl.tensor([[0.0, 1, 3, 0], [5, 0, 0, 5]])
    drawn = rl.multinomial(p, 4000, replacement=True)
    assert drawn.shape == (2, 4000) and set(drawn[0].tolist()) == {1, 2} and set(drawn[1].tolist()) == {0, 3}
    assert abs((drawn[0] == 2).float().mean() - 0.75) < 0.05
    assert sorted(rl.multinomial(rl.tensor([1.0, 2, 3]), 3).tolist()) == [0, 1, 2]
    assert rl.multinomial(p.t().contiguous().t(), 2).shape == (2, 2)  # strided weights


def test_dirichlet_rows_are_on_the_simplex():
    x = rl._sample_dirichlet(rl.tensor([[0.5, 1, 2], [3, 3, 3]]))
    assert x.shape == (2, 3) and (x > 0).all() and rl.allclose(x.sum(1), rl.ones(2))


def test_bernoulli_with_a_probability_each():
    p = rl.tensor([0.0, 1.0, 0.0, 1.0])
    assert rl.bernoulli(p).tolist() == p.tolist()
    assert rl.empty(2, 4, dtype=rl.int64).bernoulli_(p).tolist() == [[0, 1, 0, 1]] * 2
    target = rl.zeros(4, 2).t()
    assert target.bernoulli_(p.expand(2, 4)).tolist() == [[0, 1, 0, 1]] * 2
    assert rl.bernoulli(p, 1.0).tolist() == [1, 1, 1, 1]


def test_normal_with_parameters_each():
    rl.manual_seed(0)
    z = rl.empty(3).normal_()
    mean, std = rl.tensor([10.0, 20, 30]), rl.tensor([1.0, 2, 3])
    rl.manual_seed(0)
    assert rl.equal(rl.normal(mean, std), z * std + mean)
    rl.manual_seed(0)
    assert rl.equal(rl.normal(mean), z + mean)
    rl.manual_seed(0)
    assert rl.equal(rl.normal(2.0, std), z * std + 2.0)
    rl.manual_seed(0)
    assert rl.equal(rl.normal(0.0, 1.0, (3,)), z)
    assert rl.normal(rl.zeros(2, 1), rl.ones(3)).shape == (2, 3)


# ---- autograd and in-place rules ----
def test_fills_have_zero_gradient():
    for fill in (lambda t: t.normal_(), lambda t: t.uniform_(), lambda t: t.bernoulli_(rl.full((3,), 0.5))):
        x = rl.ones(3, requires_grad=True)
        y = fill(x * 1)
        assert y.requires_grad
        y.sum().backward()
        assert x.grad.tolist() == [0, 0, 0]


def test_fills_follow_the_in_place_rules():
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        rl.ones(2, requires_grad=True).uniform_()
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        rl.ones(3, 1).expand(3, 4).normal_()
    x = rl.ones(3)
    assert x.uniform_() is x and x._version == 1
    with pytest.raises(NotImplementedError, match="_standard_gamma"):
        rl._standard_gamma(rl.ones(2, requires_grad=True)).sum().backward()


# ---- bad arguments ----
BAD = [
    ("rl.rand(-1)", RuntimeError, "Trying to create tensor with negative dimension -1: [-1]"),
    ("rl.rand(2, dtype=rl.int64)", NotImplementedError, "\"check_uniform_bounds\" not implemented for 'Long'"),
    ("rl.randn(2, dtype=rl.int32)", NotImplementedError, "\"normal_kernel_cpu\" not implemented for 'Int'"),
    ("rl.rand(2**62, 2**62)", RuntimeError, "overflow"),
    ("rl.randint(5, 5, (2,))", RuntimeError, "random_ expects 'from' to be less than 'to', but got from=5 >= to=5"),
    ("rl.randint(0, 300, (2,), dtype=rl.uint8)", RuntimeError, "to - 1 is out of bounds for unsigned char"),
    ("rl.randint(1.5, (2,))", TypeError, "argument 'high' (position 1) must be int, not float"),
    ("rl.randperm(-1)", RuntimeError, "Trying to create tensor with negative dimension -1: [-1]"),
    ("rl.randperm(300, dtype=rl.uint8)", RuntimeError, "value cannot be converted to type uint8_t without overflow"),
    ("rl.ones(3).normal_(0, -1)", RuntimeError, "normal expects std >= 0.0, but found std -1"),
    ("rl.normal(rl.ones(2), rl.tensor([1.0, -1]))", RuntimeError, "normal expects all elements of std >= 0.0"),
    ("rl.normal(rl.ones(2), rl.ones(3))", RuntimeError, "must match the size of tensor b (3)"),
    ("rl.ones(3).uniform_(2, 1)", RuntimeError, "uniform_ expects to return a [from, to) range, but found from=2 > to=1"),
    ("rl.ones(3).exponential_(0)", RuntimeError, "exponential_ expects lambda > 0.0, but found lambda=0"),
    ("rl.ones(3, dtype=rl.int64).exponential_()", RuntimeError, "dtype must be a floating point but you specified Long"),
    ("rl.ones(3).cauchy_(0, 0)", RuntimeError, "cauchy_ expects sigma > 0.0, but found sigma=0"),
    ("rl.ones(3).log_normal_(0, 0)", RuntimeError, "log_normal_ expects std > 0.0, but found std=0"),
    ("rl.ones(3).geometric_(1)", RuntimeError, "geometric_ expects p to be in (0, 1), but got p=1"),
    ("rl.ones(3).bernoulli_(1.2)", RuntimeError, "bernoulli_ expects p to be in [0, 1], but got p=1.2"),
    ("rl.bernoulli(rl.tensor([2.0]))", RuntimeError, "Expected p_in >= 0 && p_in <= 1 to be true, but got false."),
    ("rl.bernoulli(rl.tensor([1]))", NotImplementedError, "\"bernoulli_tensor_cpu_p_\" not implemented for 'Long'"),
    ("rl.ones(3).bernoulli_(rl.ones(2))", RuntimeError, "The expanded size of the tensor (3) must match"),
    ("rl.ones(3, dtype=rl.complex64).random_()", NotImplementedError, "\"random_kernel_cpu\" not implemented"),
    ("rl.poisson(rl.tensor([-1.0]))", RuntimeError, "invalid Poisson rate, expected rate to be non-negative"),
    ("rl.binomial(rl.ones(3), rl.ones(3).double())", RuntimeError, "Found dtype Double but expected Float"),
    ("rl.multinomial(rl.ones(3), 4)", RuntimeError, "cannot sample n_sample > prob_dist.size(-1) samples without"),
    ("rl.multinomial(rl.ones(3), 0)", RuntimeError, "cannot sample n_sample <= 0 samples"),
    ("rl.multinomial(rl.tensor([1.0, -1]), 1)", RuntimeError, "contains either `inf`, `nan` or element < 0"),
    ("rl.multinomial(rl.zeros(2), 1)", RuntimeError, "invalid multinomial distribution (sum of probabilities <= 0)"),
    ("rl.multinomial(rl.ones(2, 2, 2), 1)", RuntimeError, "prob_dist must be 1 or 2 dim"),
    ("rl.rand(3, generator=1)", TypeError, "generator"),
    ("rl.Generator('cuda')", RuntimeError, "Cannot get CUDA generator"),
    ("rl.Generator().get_offset()", RuntimeError, "CPU Generator does not use offset"),
    ("rl.Generator().manual_seed(1.5)", RuntimeError, "manual_seed expected a long, but got float"),
    ("rl.Generator().manual_seed(2**64)", ValueError, "Overflow when unpacking long long"),
    ("rl.Generator().set_state(rl.ones(3))", TypeError, "RNG state must be a torch.ByteTensor"),
    ("rl.Generator().set_state(rl.ones(10, dtype=rl.uint8))", RuntimeError, "Expected a CPUGeneratorImplState of size 5056"),
    ("rl.Generator().set_state(rl.zeros(5056, dtype=rl.uint8))", RuntimeError, "Invalid mt19937 state"),
    ("rl.Generator().__setstate__((1, None))", TypeError, "tuple of 3"),
]  # fmt: skip


@pytest.mark.parametrize("code, kind, text", BAD)
def test_bad_arguments_raise_and_draw_nothing(code, kind, text):
    before = rl.get_rng_state()
    with pytest.raises(kind) as caught:
        eval(code)
    assert text in str(caught.value)
    assert rl.equal(before, rl.get_rng_state())

"""Recurrent layers and cells, and packed sequences: against formulas written out in NumPy, against PyTorch where it is
installed, shapes, errors."""

import copy
import pickle

import numpy as np
import pytest

import rushlight as rl
from rushlight import _C, nn
from rushlight.nn.utils import rnn as R

KINDS = ["RNN", "LSTM", "GRU"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_step(kind, x, state, w_ih, w_hh, b_ih, b_hh, nonlinearity="tanh"):
    """One step in NumPy; returns the tuple of new states."""
    a, b = x @ w_ih.T + b_ih, state[0] @ w_hh.T + b_hh
    if kind == "RNN":
        return (np.tanh(a + b) if nonlinearity == "tanh" else np.maximum(a + b, 0),)
    if kind == "LSTM":
        i, f, g, o = np.split(a + b, 4, 1)
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (ar, az, an), (br, bz, bn) = np.split(a, 3, 1), np.split(b, 3, 1)
    r, z = sigmoid(ar + br), sigmoid(az + bz)
    n = np.tanh(an + r * bn)
    return (n + z * (state[0] - n),)


def states_of(kind, *shape, dtype=rl.float64):
    made = tuple(rl.randn(*shape, dtype=dtype) for _ in range(2 if kind == "LSTM" else 1))
    return made if kind == "LSTM" else made[0]


def as_tuple(states):
    return states if isinstance(states, tuple) else (states,)


@pytest.mark.parametrize("kind", KINDS)
def test_cell_equals_formula(kind):
    cell = getattr(nn, kind + "Cell")(3, 4, dtype=rl.float64)
    x, state = rl.randn(2, 3, dtype=rl.float64), states_of(kind, 2, 4)
    weights = [p.detach().numpy() for p in cell.parameters()]
    expected = numpy_step(kind, x.numpy(), [s.numpy() for s in as_tuple(state)], *weights)
    for got, want in zip(as_tuple(cell(x, state)), expected):
        np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-12)
    zero = as_tuple(cell(x))
    explicit = tuple(rl.zeros(2, 4, dtype=rl.float64) for _ in as_tuple(state))
    assert rl.equal(zero[0], as_tuple(cell(x, explicit if kind == "LSTM" else explicit[0]))[0])
    assert as_tuple(cell(x[0]))[0].shape == (4,) and rl.allclose(as_tuple(cell(x[0]))[0], zero[0][0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_equal_formula(kind, bidirectional):
    time, batch, size, hidden, layers = 5, 2, 3, 4, 2
    net = getattr(nn, kind)(size, hidden, num_layers=layers, bidirectional=bidirectional, dtype=rl.float64)
    directions = 2 if bidirectional else 1
    x, initial = (
        rl.randn(time, batch, size, dtype=rl.float64),
        states_of(kind, layers * directions, batch, hidden),
    )
    weights = {name: p.detach().numpy() for name, p in net.named_parameters()}
    data, finals = x.numpy(), []
    for layer in range(layers):
        outputs = []
        for direction, suffix in enumerate(["", "_reverse"][:directions]):
            row = layer * directions + direction
            state = tuple(s[row].numpy() for s in as_tuple(initial))
            names = [f"{n}_l{layer}{suffix}" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            steps = [None] * time
            for t in range(time) if direction == 0 else reversed(range(time)):
                state = numpy_step(kind, data[t], state, *[weights[n] for n in names])
                steps[t] = state[0]
            outputs.append(np.stack(steps))
            finals.append(state)
        data = np.concatenate(outputs, -1)
    output, states = net(x, initial)
    np.testing.assert_allclose(output.detach().numpy(), data, rtol=1e-10)
    for got, want in zip(as_tuple(states), zip(*finals)):
        np.testing.assert_allclose(got.detach().numpy(), np.stack(want), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_layouts_agree(kind):
    net = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=True)
    first = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    first.load_state_dict(net.state_dict())
    x = rl.randn(5, 2, 3)
    output, states = net(x)
    assert output.shape == (5, 2, 8) and as_tuple(states)[0].shape == (4, 2, 4)
    other, other_states = first(x.transpose(0, 1))
    assert rl.equal(other.transpose(0, 1), output)
    assert all(rl.equal(a, b) for a, b in zip(as_tuple(states), as_tuple(other_states)))
    single, single_states = net(x[:, 0])
    assert single.shape == (5, 8) and rl.allclose(single, output[:, 0], atol=1e-6)
    assert as_tuple(single_states)[0].shape == (4, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[5, 3, 3, 1], [2, 5, 1, 3]])
def test_packed_equals_each_sequence_alone(kind, lengths):
    net = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=True, dtype=rl.float64)
    sequences = [rl.randn(n, 3, dtype=rl.float64) for n in lengths]
    packed = R.pack_sequence(sequences, enforce_sorted=lengths == sorted(lengths, reverse=True))
    initial = states_of(kind, 4, 4, 4)
    output, states = net(packed, initial)
    assert isinstance(output, R.PackedSequence)
    padded, found = R.pad_packed_sequence(output)
    assert found.tolist() == lengths
    for i, sequence in enumerate(sequences):
        own = tuple(s[:, i] for s in as_tuple(initial))
        alone, alone_states = net(sequence, own if kind == "LSTM" else own[0])
        assert rl.allclose(padded[: lengths[i], i], alone) and (padded[lengths[i] :, i] == 0).all()
        for whole, part in zip(as_tuple(states), as_tuple(alone_states)):
            assert rl.allclose(whole[:, i], part)


def test_projection():
    net = nn.LSTM(3, 5, num_layers=2, proj_size=2, bidirectional=True)
    assert net.weight_hr_l0.shape == (2, 5) and net.weight_ih_l1.shape == (20, 4)
    output, (h, c) = net(rl.randn(4, 2, 3))
    assert output.shape == (4, 2, 4) and h.shape == (4, 2, 2) and c.shape == (4, 2, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    net = getattr(nn, kind)(2, 3, num_layers=2, bidirectional=True, dtype=rl.float64)
    x = rl.randn(3, 2, 2, dtype=rl.float64, requires_grad=True)
    names = [name for name, _ in net.named_parameters()]

    def function(x, *parameters):
        call = nn.utils.stateless._functional_call
        return call(net, dict(zip(names, parameters)), (x,))[0]

    assert rl.autograd.gradcheck(function, (x, *net.parameters()))


def test_dropout_between_layers():
    net = nn.LSTM(2, 3, num_layers=2, dropout=0.5)
    x = rl.randn(4, 2, 2)
    rl.manual_seed(1)
    first = net(x)[0]
    assert not rl.equal(first, net(x)[0])
    rl.manual_seed(1)
    assert rl.equal(first, net(x)[0])
    net.eval()
    assert rl.equal(net(x)[0], net(x)[0])
    assert (nn.LSTM(2, 3, num_layers=2, dropout=1.0, bias=False)(x)[0] == 0).all()


def test_parameters_and_their_order():
    net = nn.LSTM(2, 3, num_layers=2, bidirectional=True, proj_size=1)
    kinds = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"]
    names = [f"{k}_l{layer}{suffix}" for layer in (0, 1) for suffix in ("", "_reverse") for k in kinds]
    assert [name for name, _ in net.named_parameters()] == names
    assert [w.shape for w in net.all_weights[0]] == [(12, 2), (12, 1), (12,), (12,), (1, 3)]
    assert [name for name, _ in nn.GRU(1, 1, bias=False).named_parameters()] == [
        "weight_ih_l0",
        "weight_hh_l0",
    ]
    assert [name for name, _ in nn.GRUCell(1, 1).named_parameters()] == [
        "weight_ih", "weight_hh", "bias_ih", "bias_hh",
    ]  # fmt: skip
    assert nn.LSTMCell(1, 1, bias=False).bias_ih is None
    bound = 1 / np.sqrt(5)
    assert all(p.abs().max() <= bound for p in nn.GRU(3, 5).parameters())


def test_replaced_weights_are_used():
    net = nn.RNN(1, 1, bias=False)
    net.weight_ih_l0 = nn.Parameter(rl.zeros(1, 1))
    assert (net(rl.ones(2, 1, 1))[0] == 0).all()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        other.weight_ih_l0.data.fill_(1.0)
        assert other(rl.ones(1, 1, 1))[0].item() == pytest.approx(np.tanh(1.0))
        assert (net(rl.ones(1, 1, 1))[0] == 0).all()
    assert (
        net.flatten_parameters() is None and net.double()(rl.ones(1, 1, 1, dtype=rl.float64))[0].item() == 0
    )


def test_repr():
    assert repr(nn.RNN(2, 3)) == "RNN(2, 3)"
    text = "LSTM(2, 3, num_layers=2, batch_first=True, bidirectional=True)"
    assert repr(nn.LSTM(2, 3, num_layers=2, bidirectional=True, batch_first=True)) == text
    assert repr(nn.GRU(2, 3, dropout=0.1, num_layers=2)) == "GRU(2, 3, num_layers=2, dropout=0.1)"
    assert repr(nn.LSTM(2, 3, proj_size=2, bias=False)) == "LSTM(2, 3, proj_size=2, bias=False)"
    assert repr(nn.LSTMCell(2, 3)) == "LSTMCell(2, 3)"
    assert repr(nn.GRUCell(2, 3, bias=False)) == "GRUCell(2, 3, bias=False)"
    assert repr(nn.RNNCell(2, 3, nonlinearity="relu")) == "RNNCell(2, 3, nonlinearity=relu)"


one = rl.ones


@pytest.mark.parametrize(
    "kind, text, call",
    [
        (
            ValueError,
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed",
            lambda: nn.LSTM(2, 3, dropout=2),
        ),
        (ValueError, "proj_size has to be smaller than hidden_size", lambda: nn.LSTM(2, 3, proj_size=3)),
        (
            ValueError,
            "proj_size argument is only supported for LSTM, not RNN or GRU",
            lambda: nn.GRU(2, 3, proj_size=1),
        ),
        (ValueError, "hidden_size must be greater than zero", lambda: nn.LSTM(2, 0)),
        (ValueError, "num_layers must be greater than zero", lambda: nn.LSTM(2, 3, num_layers=0)),
        (TypeError, "hidden_size should be of type int, got: float", lambda: nn.LSTM(2, 3.0)),
        (
            ValueError,
            "Unknown nonlinearity 'x'. Select from 'tanh' or 'relu'.",
            lambda: nn.RNN(2, 3, nonlinearity="x"),
        ),
        (
            RuntimeError,
            "input.size(-1) must be equal to input_size. Expected 2, got 3",
            lambda: nn.LSTM(2, 3)(one(4, 5, 3)),
        ),
        (ValueError, "LSTM: Expected input to be 2D or 3D, got 1D instead", lambda: nn.LSTM(2, 3)(one(4))),
        (
            RuntimeError,
            "Expected hidden[0] size (1, 5, 3), got [1, 4, 3]",
            lambda: nn.LSTM(2, 3)(one(4, 5, 2), (one(1, 4, 3), one(1, 4, 3))),
        ),
        (
            RuntimeError,
            "Expected hidden size (1, 5, 3), got [1, 4, 3]",
            lambda: nn.GRU(2, 3)(one(4, 5, 2), one(1, 4, 3)),
        ),
        (
            IndexError,
            "index 1 is out of bounds for dimension 0 with size 1",
            lambda: nn.LSTM(2, 3)(one(4, 5, 2), one(1, 5, 3)),
        ),
        (
            RuntimeError,
            "For unbatched 2-D input, hx and cx should also be 2-D but got (3-D, 3-D) tensors",
            lambda: nn.LSTM(2, 3)(one(4, 2), (one(1, 1, 3), one(1, 1, 3))),
        ),
        (
            RuntimeError,
            "For batched 3-D input, hx should also be 3-D but got 2-D tensor",
            lambda: nn.GRU(2, 3)(one(4, 5, 2), one(1, 3)),
        ),
        (
            ValueError,
            "RNN input dtype (torch.float64) does not match weight dtype (torch.float32). "
            "Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)",
            lambda: nn.LSTM(2, 3)(one(4, 5, 2).double()),
        ),
        (
            RuntimeError,
            "hidden0 has inconsistent hidden_size: got 2, expected 3",
            lambda: nn.GRUCell(2, 3)(one(2, 2), one(2, 2)),
        ),
        (
            RuntimeError,
            "Input batch size 2 doesn't match hidden0 batch size 3",
            lambda: nn.GRUCell(2, 3)(one(2, 2), one(3, 3)),
        ),
        (
            RuntimeError,
            "input has inconsistent input_size: got 3 expected 2",
            lambda: nn.LSTMCell(2, 3)(one(2, 3)),
        ),
        (
            ValueError,
            "RNNCell: Expected input to be 1D or 2D, got 3D instead",
            lambda: nn.RNNCell(2, 3)(one(1, 2, 2)),
        ),
        (
            RuntimeError,
            "Expected `len(lengths)` to be equal to batch_size, but got 3 (batch_size=2)",
            lambda: R.pack_padded_sequence(one(4, 2, 3), [4, 3, 2]),
        ),
        (
            RuntimeError,
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0",
            lambda: R.pack_padded_sequence(one(4, 2, 3), [4, 0]),
        ),
    ],
)
def test_errors(kind, text, call):
    with pytest.raises(kind) as info:
        call()
    assert str(info.value) == text


def test_pack_and_pad():
    x = rl.arange(12.0).reshape(4, 3, 1)
    packed = R.pack_padded_sequence(x, [4, 2, 1])
    assert packed.batch_sizes.tolist() == [3, 2, 1, 1]
    assert packed.data.reshape(-1).tolist() == [0, 1, 2, 3, 4, 6, 9]
    padded, lengths = R.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0, total_length=5)
    assert padded.squeeze(2).tolist() == [[0, 3, 6, 9, -1], [1, 4, -1, -1, -1], [2, -1, -1, -1, -1]]
    assert lengths.tolist() == [4, 2, 1]
    packed = R.pack_padded_sequence(x, rl.tensor([2, 4, 1]), enforce_sorted=False)
    assert packed.sorted_indices.tolist() == [1, 0, 2] and packed.unsorted_indices.tolist() == [1, 0, 2]
    back, lengths = R.pad_packed_sequence(packed)
    assert back[:2, 0].reshape(-1).tolist() == [0, 3] and lengths.tolist() == [2, 4, 1]
    with pytest.raises(
        RuntimeError, match="must be sorted in decreasing order when `enforce_sorted` is True"
    ):
        R.pack_padded_sequence(x, [1, 2, 3])
    with pytest.raises(ValueError, match="got total_length=3 and max sequence length being 4"):
        R.pad_packed_sequence(packed, total_length=3)


def test_pad_sequence():
    parts = [rl.ones(2), rl.ones(3)]
    assert R.pad_sequence(parts, True, -1.0).tolist() == [[1, 1, -1], [1, 1, 1]]
    assert R.pad_sequence(parts, True, padding_side="left").tolist() == [[0, 1, 1], [1, 1, 1]]
    assert R.pad_sequence(parts).shape == (3, 2)
    assert [p.tolist() for p in R.unpad_sequence(R.pad_sequence(parts), rl.tensor([2, 3]))] == [
        [1, 1],
        [1, 1, 1],
    ]
    again = R.unpack_sequence(R.pack_sequence([p[:, None] for p in parts], enforce_sorted=False))
    assert [p.shape[0] for p in again] == [2, 3]
    with pytest.raises(RuntimeError, match="Expected padding_side to be one of left or right, but got x."):
        R.pad_sequence(parts, padding_side="x")


def test_packed_sequence_conversion():
    packed = R.pack_sequence([rl.ones(2, 1), rl.ones(1, 1)])
    assert packed.double().data.dtype == rl.float64 and packed.to(rl.float32) is packed
    assert not packed.is_cuda and len(packed) == 4
    with pytest.raises(AssertionError):
        R.PackedSequence(rl.ones(3))


@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_pytorch(kind):
    torch = pytest.importorskip("torch")
    options = {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.25}
    if kind == "LSTM":
        options["proj_size"] = 3
    rl.manual_seed(5)
    net = getattr(nn, kind)(4, 6, **options)
    torch.manual_seed(5)
    reference = getattr(torch.nn, kind)(4, 6, **options)
    for mine, theirs in zip(net.parameters(), reference.parameters()):
        assert mine.tolist() == theirs.tolist()
    x = np.random.default_rng(0).normal(size=(3, 7, 4)).astype("float32")
    rl.manual_seed(6)
    output, states = net(rl.tensor(x))
    torch.manual_seed(6)
    expected, expected_states = reference(torch.tensor(x))
    np.testing.assert_allclose(output.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-6)
    for a, b in zip(as_tuple(states), as_tuple(expected_states)):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-6)
    output.square().sum().backward()
    expected.square().sum().backward()
    for mine, theirs in zip(net.parameters(), reference.parameters()):
        np.testing.assert_allclose(mine.grad.numpy(), theirs.grad.numpy(), rtol=1e-3, atol=1e-5)


# ---- the operator: its kernel, and the same written with operators ----
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mode", ["LSTM", "LSTM, projected", "GRU", "RNN_TANH", "RNN_RELU"])
def test_kernel_agrees_with_operators(mode, reverse):
    """create_graph=True takes the derivative of the layer written with operators."""
    mode, _, projected = mode.partition(", ")
    hidden, state, sizes = 5, 3 if projected else 5, [4, 4, 2, 1]
    gates = {"LSTM": 4, "GRU": 3}.get(mode, 1) * hidden
    rl.manual_seed(0)
    shapes = [(11, gates), (4, state), (4, hidden), (gates, state), (gates,), (state, hidden)]
    inputs = [rl.randn(s, dtype=rl.float64, requires_grad=True) for s in shapes]
    x, h, c, w, b, p = inputs
    call = (x, h, c if mode == "LSTM" else None, w, b, p if projected else None, sizes, mode, reverse)
    outputs = [t for t in rl._C.recurrent_layer(*call) if t is not None]
    assert [tuple(t.shape) for t in outputs[:2]] == [(11, state), (4, state)]
    loss = sum((t * rl.linspace(-1, 2, t.numel(), dtype=t.dtype).view_as(t)).sum() for t in outputs)
    wanted = [t for t in call if isinstance(t, rl.Tensor)]
    kernel = rl.autograd.grad(loss, wanted, retain_graph=True)
    operators = rl.autograd.grad(loss, wanted, create_graph=True)
    for one, other in zip(kernel, operators):
        rl.testing.assert_close(one, other.detach())
    single = [t.detach().float() if isinstance(t, rl.Tensor) else t for t in call]
    for one, other in zip(rl._C.recurrent_layer(*single), outputs):
        rl.testing.assert_close(one, other.float(), atol=1e-5, rtol=1e-5)
    half = [t.detach().bfloat16() if isinstance(t, rl.Tensor) else t for t in call]
    rl.testing.assert_close(rl._C.recurrent_layer(*half)[0].double(), outputs[0], atol=0.1, rtol=0.1)


def test_results_do_not_depend_on_threads():
    net, x = nn.LSTM(48, 64, 2, bidirectional=True), rl.randn(20, 40, 48)
    results, before = [], rl.get_num_threads()
    try:
        for threads in (1, 2, 3):
            rl.set_num_threads(threads)
            net.zero_grad()
            y = net(x)[0]
            y.sum().backward()
            results.append([y.detach(), *(p.grad for p in net.parameters())])
    finally:
        rl.set_num_threads(before)
    for other in results[1:]:
        assert all(rl.equal(a, b) for a, b in zip(results[0], other))


def test_operator_refuses_what_does_not_fit():
    x, h, w = rl.zeros(4, 2), rl.zeros(2, 2), rl.zeros(2, 2)
    for args in [
        (x, h, None, w, None, None, [2, 3], "RNN_TANH"),  # growing batches
        (x, h, None, w, None, None, [2], "RNN_TANH"),  # rows left over
        (x, h, None, w, None, None, [], "RNN_TANH"),
        (x, h, h, w, None, None, [2, 2], "RNN_TANH"),  # a cell state where there is none
        (x, h, None, w, rl.zeros(3), None, [2, 2], "RNN_TANH"),
        (x, h, None, w.double(), None, None, [2, 2], "RNN_TANH"),
        (x, h, None, w, None, None, [2, 2], "LSTM"),
    ]:
        with pytest.raises(RuntimeError, match="do not fit together"):
            rl._C.recurrent_layer(*args)
    with pytest.raises(ValueError, match="mode"):
        rl._C.recurrent_layer(x, h, None, w, None, None, [2, 2], "LSTN")


@pytest.mark.parametrize("name, options", [("LSTM", {}), ("LSTM", {"proj_size": 2}), ("GRU", {}), ("RNN", {}),
                                           ("RNN", {"nonlinearity": "relu"})])  # fmt: skip
@pytest.mark.parametrize("bias", [True, False])
def test_as_functions_of_flat_weights(name, options, bias):
    net = getattr(rl.nn, name)(4, 3, 2, bias=bias, bidirectional=True, batch_first=True, **options)
    x, h = rl.randn(2, 5, 4), rl.randn(4, 2, options.get("proj_size", 3))
    hx = (h, rl.randn(4, 2, 3)) if name == "LSTM" else h
    function = getattr(rl, {"RNN": f"rnn_{options.get('nonlinearity', 'tanh')}"}.get(name, name.lower()))
    settings = (net._flat_weights, bias, 2, 0.0, False, True)
    output, *states = function(x, hx, *settings, True)
    expected, expected_states = net(x, hx)
    assert output.equal(expected)
    assert all(a.equal(b) for a, b in zip(states, expected_states if name == "LSTM" else (expected_states,)))

    packed = rl.nn.utils.rnn.pack_padded_sequence(x, [5, 3], batch_first=True)
    output, *states = function(packed.data, packed.batch_sizes, hx, *settings)
    assert output.equal(net(packed, hx)[0].data)
    with pytest.raises(TypeError):
        function(x, hx, *settings)
    with pytest.raises(RuntimeError, match="incorrect number of RNN parameters"):
        function(x, hx, net._flat_weights[1:], *settings[1:], True)


# ---- float32 on the matrix unit, where there is one ----


@pytest.fixture
def switches():
    """Puts the switches back."""
    threads = rl.get_num_threads()
    yield
    rl.use_deterministic_algorithms(False)
    rl.set_num_threads(threads)


def trained(net, given, dtype=rl.float32):
    """The output, and all gradients; `given` is a tensor or a packed sequence."""
    net = copy.deepcopy(net).to(dtype)
    result, state = net(given.to(dtype))
    result = result.data if isinstance(result, R.PackedSequence) else result
    states = state if isinstance(state, tuple) else (state,)
    sum((t.square() * 0.5).sum() for t in (result, *states)).backward()
    return [result.detach().numpy(), *(p.grad.numpy() for p in net.parameters())]


def lengths(batch, steps):
    return sorted((1 + (7 * i) % steps for i in range(batch)), reverse=True)


@pytest.mark.parametrize("kind, options", [("LSTM", {}), ("LSTM", {"proj_size": 100}), ("GRU", {}), ("RNN", {})])
@pytest.mark.parametrize("batch, hidden", [(9, 110), (41, 130)])
@pytest.mark.parametrize("packed", [False, True])
def test_many_float32_sequences(kind, options, batch, hidden, packed, switches):
    """Errors are those of multiply-adds, and the bits do not depend on the number of threads."""
    rl.manual_seed(0)
    net, given = getattr(nn, kind)(20, hidden, bidirectional=True, **options), rl.randn(60, batch, 20)
    if packed:
        given = R.pack_padded_sequence(given, lengths(batch, 60))
    exact = trained(net, given, rl.float64)
    rl.set_num_threads(1)
    results = trained(net, given)
    for threads in (2, 3, 8):
        rl.set_num_threads(threads)
        for a, b in zip(results, trained(net, given)):
            np.testing.assert_array_equal(a, b)
    rl.use_deterministic_algorithms(True)
    by_multiply_adds = trained(net, given)
    assert (results[0] != by_multiply_adds[0]).any() == _C._has_amx()
    for a, b, c in zip(results, by_multiply_adds, exact):
        size = np.sqrt(np.square(c).mean())
        wrong, wrong_there = (np.sqrt(np.square(x - c).mean()) / size for x in (a, b))
        assert wrong <= 1.5 * wrong_there + 5e-8


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e-43, 3e38])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_sequences_with_numbers_beyond_the_units_range(kind, value, switches):
    """They touch no other sequence, and come out as by multiply-adds."""
    rl.manual_seed(0)
    net, given, state = getattr(nn, kind)(20, 128), rl.randn(20, 40, 20), rl.zeros(1, 40, 128)
    cell = (rl.zeros(1, 40, 128),) if kind == "LSTM" else ()
    run = lambda: net(given, (state, *cell) if cell else state)[0].detach().numpy()  # noqa: E731
    clean = run()
    state[0, 20, 3] = value
    found = run()
    rl.use_deterministic_algorithms(True)
    expected = run()
    others = [i for i in range(40) if not 16 <= i < 32]
    np.testing.assert_array_equal(found[:, others], clean[:, others])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

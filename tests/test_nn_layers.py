"""Layers: printed form, state_dict, first draws, agreement with the functional twins, behaviour in training and out."""

import copy
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn

F = nn.functional


def ramp(*shape, scale=2.0):
    """Distinct numbers from -scale to scale, in an order that looks random."""
    values = [((i * 613) % 1009) / 1009 * 2 * scale - scale for i in range(math.prod(shape))]
    return torch.tensor(values).reshape(shape)


def close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


LINES = [
    line
    for line in (Path(__file__).parent / "vectors" / "nn_modules.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
MODULES = list(zip(LINES[::3], (eval(line) for line in LINES[1::3]), (line.split() for line in LINES[2::3])))


@pytest.mark.parametrize("expression, text, state", MODULES, ids=[case[0] for case in MODULES])
def test_repr_and_state(expression, text, state):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = eval(expression)
    assert repr(module) == text
    entries = module.state_dict()
    assert list(entries) == [entry.split(":")[0] for entry in state if entry != "-"]
    for value, entry in zip(entries.values(), state):
        name, shape, first, total = entry.split(":")
        assert "x".join(map(str, value.shape)) == shape, name
        assert float(value.flatten()[0]) == pytest.approx(float(first), rel=1e-5), name
        assert float(value.double().abs().sum()) == pytest.approx(float(total), rel=1e-5), name


@pytest.mark.parametrize("expression", [case[0] for case in MODULES])
def test_state_dict_round_trip(expression):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = eval(expression), eval(expression)
    result = second.load_state_dict(first.state_dict())
    assert not result.missing_keys and not result.unexpected_keys
    for a, b in zip(first.state_dict().values(), second.state_dict().values()):
        assert torch.equal(a, b)
    clone = copy.deepcopy(first)
    assert repr(clone) == repr(first)
    assert all(a is not b for a, b in zip(first.parameters(), clone.parameters()))


image, signal, volume, rows = ramp(2, 4, 6, 6), ramp(2, 4, 9), ramp(1, 2, 4, 4, 4), ramp(3, 4)

# a module, its input, and the function that gives the same
TWINS = {
    "linear": (lambda: nn.Linear(4, 3), rows, lambda m, x: F.linear(x, m.weight, m.bias)),
    "conv1d": (lambda: nn.Conv1d(4, 2, 3, 2, 1), signal, lambda m, x: F.conv1d(x, m.weight, m.bias, 2, 1)),
    "conv2d": (
        lambda: nn.Conv2d(4, 2, 3, 2, 1, 1, 2),
        image,
        lambda m, x: F.conv2d(x, m.weight, m.bias, 2, 1, 1, 2),
    ),
    "conv2d-same": (
        lambda: nn.Conv2d(4, 2, (2, 3), padding="same"),
        image,
        lambda m, x: F.conv2d(F.pad(x, (1, 1, 0, 1)), m.weight, m.bias),
    ),
    "conv2d-circular": (
        lambda: nn.Conv2d(4, 2, 3, padding=(1, 2), padding_mode="circular"),
        image,
        lambda m, x: F.conv2d(F.pad(x, (2, 2, 1, 1), mode="circular"), m.weight, m.bias),
    ),
    "conv3d": (lambda: nn.Conv3d(2, 2, 2), volume, lambda m, x: F.conv3d(x, m.weight, m.bias)),
    "conv_transpose2d": (
        lambda: nn.ConvTranspose2d(4, 2, 3, 2, 1, 1),
        image,
        lambda m, x: F.conv_transpose2d(x, m.weight, m.bias, 2, 1, 1),
    ),
    "max_pool2d": (lambda: nn.MaxPool2d(3, 2, 1), image, lambda m, x: F.max_pool2d(x, 3, 2, 1)),
    "max_pool1d": (lambda: nn.MaxPool1d(2), signal, lambda m, x: F.max_pool1d(x, 2)),
    "max_pool3d": (lambda: nn.MaxPool3d(2), volume, lambda m, x: F.max_pool3d(x, 2)),
    "avg_pool2d": (
        lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        image,
        lambda m, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    "avg_pool3d": (lambda: nn.AvgPool3d(2), volume, lambda m, x: F.avg_pool3d(x, 2)),
    "lp_pool1d": (lambda: nn.LPPool1d(2, 3), signal, lambda m, x: F.lp_pool1d(x, 2, 3)),
    "adaptive_avg_pool2d": (
        lambda: nn.AdaptiveAvgPool2d((2, None)),
        image,
        lambda m, x: F.adaptive_avg_pool2d(x, (2, 6)),
    ),
    "adaptive_max_pool2d": (
        lambda: nn.AdaptiveMaxPool2d(2),
        image,
        lambda m, x: F.adaptive_max_pool2d(x, 2),
    ),
    "layer_norm": (lambda: nn.LayerNorm(4), rows, lambda m, x: F.layer_norm(x, (4,), m.weight, m.bias)),
    "rms_norm": (lambda: nn.RMSNorm(4), rows, lambda m, x: F.rms_norm(x, (4,), m.weight)),
    "group_norm": (lambda: nn.GroupNorm(2, 4), image, lambda m, x: F.group_norm(x, 2, m.weight, m.bias)),
    "instance_norm": (lambda: nn.InstanceNorm2d(4), image, lambda m, x: F.instance_norm(x)),
    "prelu": (lambda: nn.PReLU(4), image, lambda m, x: F.prelu(x, m.weight)),
    "gelu": (lambda: nn.GELU("tanh"), rows, lambda m, x: F.gelu(x, approximate="tanh")),
    "softmax": (lambda: nn.Softmax(dim=1), rows, lambda m, x: F.softmax(x, 1)),
    "softmax2d": (lambda: nn.Softmax2d(), image, lambda m, x: F.softmax(x, 1)),
    "log_softmax": (lambda: nn.LogSoftmax(0), rows, lambda m, x: F.log_softmax(x, 0)),
    "softplus": (lambda: nn.Softplus(2.0), rows, lambda m, x: F.softplus(x, 2.0)),
    "reflection_pad2d": (
        lambda: nn.ReflectionPad2d((1, 2, 0, 1)),
        image,
        lambda m, x: F.pad(x, (1, 2, 0, 1), "reflect"),
    ),
    "constant_pad1d": (lambda: nn.ConstantPad1d(1, 2.0), signal, lambda m, x: F.pad(x, (1, 1), value=2.0)),
    "upsample": (lambda: nn.Upsample(scale_factor=2), image, lambda m, x: F.interpolate(x, scale_factor=2)),
    "pixel_shuffle": (lambda: nn.PixelShuffle(2), image, lambda m, x: F.pixel_shuffle(x, 2)),
    "unfold": (lambda: nn.Unfold(2, stride=2), image, lambda m, x: F.unfold(x, 2, stride=2)),
    "flatten": (lambda: nn.Flatten(), image, lambda m, x: x.reshape(2, -1)),
    "unflatten": (lambda: nn.Unflatten(1, (2, 2)), image, lambda m, x: x.reshape(2, 2, 2, 6, 6)),
    "bilinear": (
        lambda: nn.Bilinear(4, 4, 2),
        rows,
        lambda m, x: F.bilinear(x, x, m.weight, m.bias),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_functional_twin(name):
    make, x, twin = TWINS[name]
    module = make()
    inputs = (x, x) if name == "bilinear" else (x,)
    close(module(*inputs), twin(module, x))


@pytest.mark.parametrize("name", [name for name, (make, _, _) in TWINS.items() if list(make().parameters())])
def test_parameters_get_gradients(name):
    make, x, _ = TWINS[name]
    module = make()
    output = module(*((x, x) if name == "bilinear" else (x,)))
    (output * ramp(*output.shape)).sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, key


# normalisation


def test_batch_norm_statistics():
    norm = nn.BatchNorm2d(4, momentum=0.5)
    y = norm(image)
    x = image.numpy()
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.5 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.running_var.numpy(), 0.5 + 0.5 * var, rtol=1e-5)
    assert int(norm.num_batches_tracked) == 1
    np.testing.assert_allclose(y.detach().numpy().mean((0, 2, 3)), np.zeros(4), atol=1e-5)
    norm.eval()
    shape = (1, 4, 1, 1)
    scale = np.sqrt(norm.running_var.numpy() + norm.eps).reshape(shape)
    np.testing.assert_allclose(
        norm(image).detach().numpy(),
        (x - norm.running_mean.numpy().reshape(shape)) / scale,
        rtol=1e-4,
        atol=1e-5,
    )
    assert int(norm.num_batches_tracked) == 1
    norm.reset_running_stats()
    assert float(norm.running_mean.abs().sum()) == 0 and int(norm.num_batches_tracked) == 0


def test_batch_norm_cumulative_mean():
    norm = nn.BatchNorm1d(4, momentum=None)
    norm(rows)
    norm(rows + 3)
    np.testing.assert_allclose(norm.running_mean.numpy(), rows.numpy().mean(0) + 1.5, rtol=1e-5)


def test_batch_norm_without_tracking_uses_the_batch():
    norm = nn.BatchNorm1d(4, track_running_stats=False).eval()
    np.testing.assert_allclose(norm(rows).detach().numpy().mean(0), np.zeros(4), atol=1e-6)


def test_batch_norm_loads_version_1():
    norm = nn.BatchNorm1d(3)
    old = {key: value for key, value in norm.state_dict().items() if key != "num_batches_tracked"}
    assert not nn.BatchNorm1d(3).load_state_dict(old).missing_keys
    assert norm.state_dict()._metadata[""]["version"] == 2


def test_batch_norm_momentum_zero_keeps_statistics():
    norm = nn.BatchNorm1d(4, momentum=0.0)
    norm(rows)
    assert norm.running_mean.tolist() == [0.0] * 4


def test_instance_norm_accepts_one_sample():
    norm = nn.InstanceNorm2d(4, affine=True)
    close(norm(image[0]), norm(image)[0])


# embeddings


def test_embedding_padding_row():
    table = nn.Embedding(4, 3, padding_idx=1)
    assert table.weight[1].tolist() == [0.0, 0.0, 0.0]
    table(torch.tensor([0, 1, 1])).sum().backward()
    assert table.weight.grad.sum(1).tolist() == [3.0, 0.0, 0.0, 0.0]


def test_embedding_from_pretrained():
    weight = ramp(3, 2)
    table = nn.Embedding.from_pretrained(weight)
    assert not table.weight.requires_grad
    assert torch.equal(table(torch.tensor([2])), weight[2:])
    assert nn.Embedding.from_pretrained(weight, freeze=False).weight.requires_grad
    assert nn.EmbeddingBag.from_pretrained(weight)(torch.tensor([[0, 1]])).shape == (1, 2)


def test_embedding_max_norm_scales_used_rows():
    table = nn.Embedding(3, 2, max_norm=0.5, _weight=ramp(3, 2))
    table(torch.tensor([0]))
    assert float(table.weight[0].detach().norm()) == pytest.approx(0.5, rel=1e-4)
    assert torch.equal(table.weight[1:], ramp(3, 2)[1:])


# dropout


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout1d, nn.AlphaDropout])
def test_dropout_only_in_training(kind):
    layer = kind(0.5)
    torch.manual_seed(1)
    assert not torch.equal(layer(signal), signal)
    layer.eval()
    assert torch.equal(layer(signal), signal)


# convolutions


def test_conv_transpose_output_size():
    layer = nn.ConvTranspose2d(4, 2, 3, stride=2)
    for size in (13, 14):
        assert layer(image, output_size=(size, size)).shape == (2, 2, size, size)
        assert layer(image, output_size=(2, 2, size, size)).shape == (2, 2, size, size)


def test_conv_transpose_undoes_the_shape_of_conv():
    down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
    up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1)
    assert up(down(image), output_size=image.shape).shape == image.shape


def test_unbatched_inputs():
    for layer, x in (
        (nn.Conv2d(4, 2, 3), image),
        (nn.MaxPool2d(2), image),
        (nn.Conv1d(4, 2, 3), signal),
        (nn.ConvTranspose2d(4, 2, 3), image),
        (nn.AdaptiveAvgPool2d(2), image),
    ):
        close(layer(x[0]), layer(x)[0])


def test_max_pool_indices_and_unpool():
    values, indices = nn.MaxPool2d(2, return_indices=True)(image)
    assert indices.dtype == torch.int64
    assert torch.equal(image.flatten(2).gather(2, indices.flatten(2)), values.flatten(2))
    back = F.max_unpool2d(values, indices, 2)
    assert torch.equal(back.flatten(2).gather(2, indices.flatten(2)), values.flatten(2))
    assert float(back.sum()) == pytest.approx(float(values.sum()), rel=1e-5)


# attention

sequence = ramp(5, 2, 4)  # (L, N, E)


def test_attention_weights_and_fused_path_agree():
    attention = nn.MultiheadAttention(4, 2)
    mask = torch.ones(5, 5).tril() == 0
    output, weights = attention(sequence, sequence, sequence, attn_mask=mask)
    fused, nothing = attention(sequence, sequence, sequence, attn_mask=mask, need_weights=False)
    causal, _ = attention(sequence, sequence, sequence, attn_mask=mask, need_weights=False, is_causal=True)
    close(output, fused)
    close(output, causal)
    assert nothing is None
    assert weights.shape == (2, 5, 5)
    close(weights.sum(-1), torch.ones(2, 5))
    assert float(weights.triu(1).abs().sum()) == 0
    per_head = attention(sequence, sequence, sequence, attn_mask=mask, average_attn_weights=False)[1]
    close(per_head.mean(1), weights)


def test_attention_batch_first():
    torch.manual_seed(0)
    first = nn.MultiheadAttention(4, 2, batch_first=True)
    second = nn.MultiheadAttention(4, 2)
    second.load_state_dict(first.state_dict())
    x = sequence.transpose(0, 1)
    close(first(x, x, x)[0].transpose(0, 1), second(sequence, sequence, sequence)[0])


def test_attention_ignores_padding():
    attention = nn.MultiheadAttention(4, 2)
    padding = torch.tensor([[False] * 3 + [True] * 2] * 2)
    full = attention(sequence, sequence, sequence, key_padding_mask=padding)[0]
    short = attention(sequence, sequence[:3], sequence[:3])[0]
    close(full, short)


def test_attention_unbatched_and_own_widths():
    attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True, add_zero_attn=True)
    q, k, v = ramp(5, 2, 4), ramp(6, 2, 3), ramp(6, 2, 5)
    output, weights = attention(q, k, v)
    assert output.shape == (5, 2, 4) and weights.shape == (2, 5, 8)
    close(attention(q[:, 0], k[:, 0], v[:, 0])[0], output[:, 0])


# transformer


def test_transformer_encoder_is_causal_under_its_mask():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0)
    encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(4))
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    output = encoder(sequence, mask)
    close(output[:3], encoder(sequence[:3], mask[:3, :3]))
    close(output, encoder(sequence, mask, is_causal=True))
    assert encoder.layers[0] is not encoder.layers[1]
    assert torch.equal(encoder.layers[0].linear1.weight, encoder.layers[1].linear1.weight)


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_layer_formula(norm_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation="gelu", norm_first=norm_first)

    def attend(x):
        return layer.self_attn(x, x, x)[0]

    def feed(x):
        return layer.linear2(F.gelu(layer.linear1(x)))

    x = sequence
    if norm_first:
        x = x + attend(layer.norm1(x))
        x = x + feed(layer.norm2(x))
    else:
        x = layer.norm1(x + attend(x))
        x = layer.norm2(x + feed(x))
    close(layer(sequence), x)


def test_transformer_runs_and_trains():
    torch.manual_seed(0)
    model = nn.Transformer(4, 2, 1, 1, 8, batch_first=True)
    x = sequence.transpose(0, 1)
    output = model(x, x[:, :3], tgt_mask=model.generate_square_subsequent_mask(3))
    assert output.shape == (2, 3, 4)
    output.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_adaptive_softmax_is_a_distribution():
    from rushlight.nn.modules.adaptive import AdaptiveLogSoftmaxWithLoss

    torch.manual_seed(0)
    layer = AdaptiveLogSoftmaxWithLoss(4, 12, [3, 6], div_value=2.0)
    logs = layer.log_prob(rows)
    close(logs.exp().sum(1), torch.ones(3))
    target = torch.tensor([0, 4, 11])
    output, loss = layer(rows, target)
    close(output, logs.gather(1, target.unsqueeze(1)).squeeze(1))
    assert float(loss) == pytest.approx(-float(output.mean()), rel=1e-5)
    assert torch.equal(layer.predict(rows), logs.argmax(1))


def test_parity_of_training_step():
    """One step of a small convolutional network gives PyTorch's gradients and buffers, from the same seed."""
    oracle = pytest.importorskip("torch")
    states = []
    for lib in (torch, oracle):
        lib.manual_seed(7)
        net = lib.nn.Sequential(
            lib.nn.Conv2d(1, 4, 3, padding=1),
            lib.nn.BatchNorm2d(4),
            lib.nn.ReLU(),
            lib.nn.MaxPool2d(2),
            lib.nn.Dropout(0.25),
            lib.nn.Flatten(),
            lib.nn.Linear(4 * 9, 5),
        )
        x = lib.randn(3, 1, 6, 6)
        loss = lib.nn.CrossEntropyLoss()(net(x), lib.tensor([0, 4, 2]))
        loss.backward()
        values = [loss.detach(), *(p.grad for p in net.parameters()), *net.state_dict().values()]
        states.append([value.numpy() for value in values])
    for a, b in zip(*states):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

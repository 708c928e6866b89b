"""Loss functions and their modules: reductions, weights, derivatives, warnings. Values are in test_functional.py."""

import math
import warnings

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn

F = nn.functional


def ramp(*shape, scale=2.0, **options):
    """Distinct numbers from -scale to scale, in an order that looks random."""
    values = [((i * 613) % 1009) / 1009 * 2 * scale - scale for i in range(math.prod(shape))]
    return torch.tensor(values, **options).reshape(shape)


x, y = ramp(4, 3), ramp(3, 4, 3)[1]
classes = torch.tensor([0, 2, 1, 1])
signs = torch.tensor([1.0, -1.0, 1.0, -1.0])
log_probs = ramp(6, 2, 3).log_softmax(2)

# module, its inputs, and the function that gives the same; reduction is passed to both
LOSSES = {
    "L1Loss": ((x, y), F.l1_loss, {}),
    "MSELoss": ((x, y), F.mse_loss, {}),
    "SmoothL1Loss": ((x, y), F.smooth_l1_loss, {"beta": 0.5}),
    "HuberLoss": ((x, y), F.huber_loss, {"delta": 0.5}),
    "NLLLoss": ((x, classes), F.nll_loss, {"ignore_index": 1}),
    "CrossEntropyLoss": ((x, classes), F.cross_entropy, {"label_smoothing": 0.1}),
    "BCELoss": (
        (x.sigmoid(), y.sigmoid()),
        F.binary_cross_entropy,
        {"weight": torch.tensor([1.0, 2.0, 0.5])},
    ),
    "BCEWithLogitsLoss": (
        (x, y.sigmoid()),
        F.binary_cross_entropy_with_logits,
        {"pos_weight": torch.tensor([1.0, 2.0, 0.5])},
    ),
    "KLDivLoss": ((x.log_softmax(1), y.softmax(1)), F.kl_div, {}),
    "PoissonNLLLoss": ((x, y.abs()), F.poisson_nll_loss, {"full": True}),
    "GaussianNLLLoss": ((x, y, y.abs()), F.gaussian_nll_loss, {"full": True}),
    "CTCLoss": (
        (log_probs, torch.tensor([[1, 2], [2, 2]]), torch.tensor([6, 5]), torch.tensor([2, 1])),
        F.ctc_loss,
        {},
    ),
    "SoftMarginLoss": ((x, y.sign()), F.soft_margin_loss, {}),
    "HingeEmbeddingLoss": ((x[:, 0], signs), F.hinge_embedding_loss, {"margin": 0.5}),
    "CosineEmbeddingLoss": ((x, y, signs), F.cosine_embedding_loss, {"margin": 0.1}),
    "MarginRankingLoss": ((x[:, 0], y[:, 0], signs), F.margin_ranking_loss, {"margin": 0.1}),
    "MultiMarginLoss": ((x, classes), F.multi_margin_loss, {"p": 2}),
    "MultiLabelMarginLoss": ((x, torch.tensor([[0, -1, 2]] * 4)), F.multilabel_margin_loss, {}),
    "MultiLabelSoftMarginLoss": ((x, y.sigmoid()), F.multilabel_soft_margin_loss, {}),
    "TripletMarginLoss": ((x, y, x.flip(0)), F.triplet_margin_loss, {"swap": True}),
    "TripletMarginWithDistanceLoss": ((x, y, x.flip(0)), F.triplet_margin_with_distance_loss, {}),
}


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_module_equals_function(name, reduction):
    inputs, function, options = LOSSES[name]
    module = getattr(nn, name)(reduction=reduction, **options)
    assert repr(module).startswith(name + "(")
    a, b = module(*inputs), function(*inputs, reduction=reduction, **options)
    assert a.shape == b.shape
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


# a mean that is not the plain mean of the elements
OWN_MEAN = {"NLLLoss", "CTCLoss"}


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("name", LOSSES)
def test_reductions(name):
    inputs, function, options = LOSSES[name]
    each = function(*inputs, reduction="none", **options).numpy()
    total = float(function(*inputs, reduction="sum", **options))
    assert total == pytest.approx(each.sum(), rel=1e-5)
    if name not in OWN_MEAN:
        assert float(function(*inputs, **options)) == pytest.approx(each.mean(), rel=1e-5)
    with pytest.raises(ValueError):
        function(*inputs, reduction="average", **options)


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_of_input(name):
    inputs, function, options = LOSSES[name]
    rest = [v.double() if v.is_floating_point() else v for v in inputs[1:]]
    options = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in options.items()}
    start = inputs[0].double()
    if name == "CTCLoss":  # its derivative counts on log_softmax before it
        start, inner = ramp(6, 2, 3, dtype=torch.float64), lambda v: v.log_softmax(2)
    else:
        inner = lambda v: v
    start.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: function(inner(v), *rest, **options), (start,))


def test_cross_entropy_gradient_is_softmax_minus_one_hot():
    logits = ramp(4, 3).requires_grad_()
    F.cross_entropy(logits, classes).backward()
    expected = (logits.detach().softmax(1) - F.one_hot(classes, 3).float()) / 4
    np.testing.assert_allclose(logits.grad.numpy(), expected.numpy(), rtol=1e-5, atol=1e-7)


def test_cross_entropy_is_nll_of_log_softmax():
    weight = torch.tensor([1.0, 2.0, 0.5])
    a = F.cross_entropy(x, classes, weight, ignore_index=2)
    b = F.nll_loss(F.log_softmax(x, 1), classes, weight, ignore_index=2)
    assert float(a) == pytest.approx(float(b), rel=1e-6)


def test_probabilities_as_targets_equal_indices():
    soft = F.one_hot(classes, 3).float()
    weight = torch.tensor([1.0, 2.0, 0.5])
    for options in (
        {},
        {"label_smoothing": 0.3},
        {"reduction": "none", "weight": weight},
        {"reduction": "sum"},
    ):
        a, b = F.cross_entropy(x, soft, **options), F.cross_entropy(x, classes, **options)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


def test_weighted_mean_divides_by_the_weights():
    weight = torch.tensor([1.0, 2.0, 0.5])
    each = F.cross_entropy(x, classes, weight, reduction="none")
    expected = float(each.sum()) / float(weight[classes].sum())
    assert float(F.cross_entropy(x, classes, weight)) == pytest.approx(expected, rel=1e-5)


def test_ignored_targets_take_no_part():
    target = torch.tensor([0, -100, 1, -100])
    kept = F.cross_entropy(x[[0, 2]], target[[0, 2]])
    assert float(F.cross_entropy(x, target)) == pytest.approx(float(kept), rel=1e-6)
    logits = x.clone().requires_grad_()
    F.cross_entropy(logits, target).backward()
    assert float(logits.grad[[1, 3]].abs().sum()) == 0
    assert math.isnan(float(F.cross_entropy(x, torch.full((4,), -100))))


def test_spatial_targets_equal_rows():
    images, target = ramp(2, 3, 2, 2), torch.tensor([[[0, 1], [2, 0]], [[1, 1], [0, 2]]])
    rows = images.permute(0, 2, 3, 1).reshape(-1, 3)
    a, b = F.cross_entropy(images, target), F.cross_entropy(rows, target.reshape(-1))
    assert float(a) == pytest.approx(float(b), rel=1e-6)
    each = F.cross_entropy(images, target, reduction="none")
    assert each.shape == (2, 2, 2)
    np.testing.assert_allclose(
        each.numpy().ravel(), F.cross_entropy(rows, target.reshape(-1), reduction="none").numpy(), rtol=2e-6
    )


def test_large_logits_stay_finite():
    logits = torch.tensor([[1000.0, -1000.0]]).requires_grad_()
    loss = F.cross_entropy(logits, torch.tensor([1]))
    loss.backward()
    assert float(loss.detach()) == 2000.0
    assert logits.grad.tolist() == [[1.0, -1.0]]
    assert F.binary_cross_entropy_with_logits(torch.tensor([-500.0]), torch.tensor([1.0])).item() == 500.0


def test_binary_cross_entropies_agree():
    target = y.sigmoid()
    a = F.binary_cross_entropy(x.sigmoid(), target)
    b = F.binary_cross_entropy_with_logits(x, target)
    assert float(a) == pytest.approx(float(b), rel=1e-5)
    clamped = F.binary_cross_entropy(torch.tensor([0.0]), torch.tensor([1.0]))
    assert float(clamped) == 100.0


def test_ctc_against_enumeration():
    """The likelihood is the sum over all paths that collapse to the target."""
    logs = ramp(4, 1, 3).log_softmax(2)
    probabilities = logs.exp().numpy()[:, 0]
    for target in ([1], [1, 2], [2, 2], []):
        total = 0.0
        for path in np.ndindex(3, 3, 3, 3):
            collapsed = [c for k, c in enumerate(path) if c != 0 and (k == 0 or path[k - 1] != c)]
            if collapsed == target:
                total += np.prod([probabilities[step, c] for step, c in enumerate(path)])
        labels = torch.tensor([target], dtype=torch.int64).reshape(1, -1)
        loss = F.ctc_loss(logs, labels, torch.tensor([4]), torch.tensor([len(target)]), reduction="none")
        assert float(loss[0]) == pytest.approx(-math.log(total), rel=1e-5)


def test_class_weights_are_buffers():
    weight = torch.tensor([1.0, 2.0])
    for kind in (nn.CrossEntropyLoss, nn.NLLLoss, nn.BCELoss, nn.MultiMarginLoss):
        loss = kind(weight=weight)
        assert list(loss.state_dict()) == ["weight"]
        assert not list(loss.parameters())
        assert list(kind().state_dict()) == []
    assert list(nn.BCEWithLogitsLoss(weight, pos_weight=weight).state_dict()) == ["weight", "pos_weight"]


def test_deprecated_reduction_flags():
    for flags, reduction in (
        ({"size_average": False}, "sum"),
        ({"reduce": False}, "none"),
        ({"size_average": True}, "mean"),
    ):
        message = f"please use reduction='{reduction}' instead"
        with pytest.warns(UserWarning, match=message):
            a = F.mse_loss(x, y, **flags)
        np.testing.assert_allclose(a.numpy(), F.mse_loss(x, y, reduction=reduction).numpy())
        with pytest.warns(UserWarning, match=message):
            assert nn.MSELoss(**flags).reduction == reduction


def test_broadcast_target_warns():
    for function in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss):
        with pytest.warns(
            UserWarning, match=r"Using a target size \(.*3.*\) that is different to the input size"
        ):
            function(torch.ones(3, 1), torch.ones(3))


def test_kl_div_mean_warns():
    with pytest.warns(UserWarning, match="'batchmean' divides only by the batch size"):
        F.kl_div(x, y.softmax(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch_mean = F.kl_div(x, y.softmax(1), reduction="batchmean")
        total = F.kl_div(x, y.softmax(1), reduction="sum")
        logs = F.kl_div(x, y.log_softmax(1), reduction="sum", log_target=True)
    assert float(batch_mean) == pytest.approx(float(total) / 4, rel=1e-6)
    assert float(logs) == pytest.approx(float(total), rel=1e-4)


GRAD_FNS = {
    "MseLossBackward0": lambda a: F.mse_loss(a, y),
    "MeanBackward0": lambda a: F.l1_loss(a, y),
    "SmoothL1LossBackward0": lambda a: F.smooth_l1_loss(a, y),
    "HuberLossBackward0": lambda a: F.huber_loss(a, y),
    "NllLossBackward0": lambda a: F.cross_entropy(a, classes),
    "BinaryCrossEntropyWithLogitsBackward0": lambda a: F.binary_cross_entropy_with_logits(a, y.sigmoid()),
    "BinaryCrossEntropyBackward0": lambda a: F.binary_cross_entropy(a.sigmoid(), y.sigmoid()),
}


@pytest.mark.parametrize("name", GRAD_FNS)
def test_grad_fn_names(name):
    loss = GRAD_FNS[name](ramp(4, 3).requires_grad_())
    assert type(loss.grad_fn).__name__ == name

"""The cases of tests/cases (modules, functionals, optimizers, schedulers, the API of Module, ...) against the answers of
PyTorch 2.13 in tests/vectors/nn, and, where torch is installed, these against torch itself."""

import functools
import gzip
import importlib
import json
from pathlib import Path

import cases
import pytest

import rushlight as rl

FOLDER = Path(__file__).parent / "vectors" / "nn"
# Differences that stay, by topic: the beginning of a case's key, and of the place within its answer, to the reason.
MESSAGE = "another text"
MORE = "PyTorch refuses what works here"
KNOWN = {
    "modules": {
        **{
            (f"nn.{lazy}InstanceNorm{n}d", ".empty"): MORE
            for lazy, n in (("", 1), ("", 2), ("Lazy", 1), ("Lazy", 2), ("Lazy", 3))
        },
        **{(f"nn.LazyInstanceNorm{n}d", ".unbatched"): MORE for n in (1, 2, 3)},
        ("nn.LazyInstanceNorm3d", ".bfloat16.grads[1]"): "rounded to 16 bits before the sum over the batch",
        ("nn.TransformerEncoder(", ".integers"): MESSAGE,
        ("nn.PixelShuffle", ".empty"): MORE,
        ("nn.PixelUnshuffle", ".empty"): MORE,
        ("nn.NLLLoss(reduction='none')", ".strided"): MORE,
        ("nn.LinearCrossEntropyLoss(5, 7, options", ".integers"): MESSAGE,
        ("nn.GaussianNLLLoss", ".integers"): MESSAGE,
        ("nn.HingeEmbeddingLoss", ".integers"): MORE,
        ("nn.SoftMarginLoss", ".integers"): MORE,
        **{
            (f"nn.Multi{kind}MarginLoss", ".empty"): "PyTorch's result is memory that nobody wrote"
            for kind in ("", "Label")
        },
    },
    "functionals": {
        ("lambda a, w, b: F.conv_tbc", ".strided"): MORE,
        ("lambda q, k, v: F.scaled_dot_product_attention(q, k, v, torch", ".integers"): MESSAGE,
        (
            "lambda q, k, v, m: F.scaled",
            ".empty.grads[3]",
        ): "zeros instead of no gradient for the mask of nothing",
        ("lambda a: F.pixel_shuffle", ".empty"): MORE,
        ("lambda a: F.pixel_unshuffle", ".empty"): MORE,
        ("lambda a, b, w: F.mse_loss", ".integers"): "PyTorch gives NaN",
        ("lambda a, b, v: F.gaussian_nll_loss", ".integers"): MESSAGE,
        ("lambda a, b: F.grouped_mm", ".float64"): MORE,
        ("lambda a, b: F.grouped_mm", ".strided"): MORE,
        ("lambda a, b: F.grouped_mm(a, b, offs=torch.tensor([8, 16]", ".shorter"): MESSAGE,
        ("lambda w, g: G.conv", ".shorter"): MESSAGE,
        ("G.conv", ".empty.grads"): "zeros of an empty batch instead of no gradient",
    },
    "optimizers": {
        **{
            ("optim.Muon", place): "products of 16-bit numbers round now and then in another direction"
            for place in (".steps[1]", ".steps[2]", ".state", ".loaded")
        },
    },
    "module_api": {
        ("lazy_arithmetic", ""): "the function's name in the text",
    },
}


@functools.cache
def stored(topic):
    answers = json.loads(gzip.decompress((FOLDER / f"{topic}.json.gz").read_bytes()))
    answers.pop("version")
    return answers


@functools.cache
def given(topic):
    return json.loads(json.dumps(dict(importlib.import_module(f"cases.{topic}").answers(rl))))


def is_known(topic, key, difference):
    return any(key.startswith(k) and difference.startswith(place) for k, place in KNOWN.get(topic, ()))


@pytest.mark.parametrize("topic, key", [(topic, key) for topic in cases.TOPICS for key in stored(topic)])
def test_as_pytorch(topic, key):
    found = cases.differences(given(topic)[key], stored(topic)[key])
    found = [d for d in found if not is_known(topic, key, d)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("topic", KNOWN)
def test_known_differences_exist(topic):
    for key, place in KNOWN[topic]:
        keys = [k for k in stored(topic) if k.startswith(key)]
        assert any(
            d.startswith(place) for k in keys for d in cases.differences(given(topic)[k], stored(topic)[k])
        ), f"{key} {place} is as in PyTorch now"


@pytest.mark.parametrize("topic", cases.TOPICS)
def test_stored_answers_are_those_of_torch(topic):
    torch = pytest.importorskip("torch")
    answers = json.loads(json.dumps(dict(importlib.import_module(f"cases.{topic}").answers(torch))))
    assert list(answers) == list(stored(topic))
    for key, answer in answers.items():
        found = cases.differences(answer, stored(topic)[key])
        assert all(is_known(topic, key, d) for d in found), key

"""Whole training steps with Adam of the networks in benchmarks/models.py."""

from benchmarks.models import TRAINING
from benchmarks.timing import Case

FLOORS = {"MNIST": 1.5, "ResNet": 1.3, "GPT": 2, "LSTM": 2, "autoencoder": 1.5}

CASES = [
    Case(
        name,
        f"step = TRAINING[{name!r}](torch)",
        "step()",
        next(f for word, f in FLOORS.items() if word in name),
    )
    for name in TRAINING
]

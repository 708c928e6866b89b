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

SHORT = """
GPT: matrix products are two thirds of a step. The 9.8 billion operations of the model of width 128 take 44 ms at one
thread at the full rate of multiply-adds, which leaves 20 ms for everything else at twice PyTorch's speed; they run at 65-75 % of
that rate (operands of a few megabytes packed for as few as 128 columns). Attention is a sixth, gelu and its gradient under a tenth,
layer norm a thirtieth.
LSTM: 3.4 billion operations. Half of the step are the products of the layers' inputs and of the weights' gradients, which run at
235 billion operations a second on the matrix unit (512 x 2048 x 128); a third are the steps. Each thread takes its sequences
through all steps, so that threads meet once a layer.
"""

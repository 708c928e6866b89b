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
GPT: matrix products are 60 (width 128) to 77 % (384) of a step and run at 210 to 290 GFLOP/s a core on the matrix unit
(what limits them is said under matmul), attention is 17 and 8 %, gelu and its gradient 10 and 4 %, layer norm 4 and 2 %.
Twice PyTorch's speed asks for products half as fast again. LSTM: 3.4 billion operations. Half of the step are the
products of the layers' inputs and of the weights' gradients, which run at 235 GFLOP/s on the matrix unit
(512 x 2048 x 128); a third are the steps. Each thread takes its sequences through all steps, so that threads meet once
a layer.
"""

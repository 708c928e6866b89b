"""A small network, and a check of error texts, for the tests of Module."""

import pytest

import rushlight as rl
from rushlight import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.second = nn.Linear(3, 1)
        self.scale = nn.Parameter(rl.ones(1))
        self.register_buffer("mean", rl.zeros(3))
        self.register_buffer("cache", rl.zeros(1), persistent=False)

    def forward(self, x, factor=1):
        return self.second(rl.relu(self.first(x) - self.mean)) * self.scale * factor


def raises(kind, text, function, *args, **kwargs):
    with pytest.raises(kind) as info:
        function(*args, **kwargs)
    message = info.value.args[0] if kind is KeyError else str(info.value)
    assert message == text

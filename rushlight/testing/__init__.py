"""Helpers for tests: comparison of tensors and random tensors, as in torch.testing."""

from ._comparison import assert_close as assert_close
from ._creation import make_tensor as make_tensor

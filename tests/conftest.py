"""What all test files share: a fixed seed before each test, so that no test depends on the ones that ran before it."""

import pytest

import rushlight as rl


@pytest.fixture(autouse=True)
def _fresh_state():
    rl.manual_seed(0)
    yield
    rl.set_grad_enabled(True)
    rl.set_default_dtype(rl.float32)
    rl.set_printoptions(profile="default")

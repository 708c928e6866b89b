"""The benchmarks, one group per file: each has a list CASES. The files import neither rushlight nor torch."""

import importlib

GROUPS = [
    "overhead", "small", "elementwise", "reductions", "indexing", "matmul", "conv", "attention", "pooling", "models",
    "inference", "optimizers", "sparse", "data", "package", "memory",
]  # fmt: skip


def load(group):
    """The cases of one group."""
    return importlib.import_module(f"benchmarks.cases.{group}").CASES

"""The benchmarks, one group per file: each has a list CASES, and a text SHORT where some of them fall short: what was
tried, and what limits them. The files import neither rushlight nor torch."""

import importlib

GROUPS = [
    "overhead", "small", "elementwise", "reductions", "indexing", "matmul", "conv", "attention", "pooling", "models",
    "inference", "optimizers", "sparse", "data", "package", "memory",
]  # fmt: skip


def load(group):
    """The cases of one group."""
    return importlib.import_module(f"benchmarks.cases.{group}").CASES


def short(group, name="SHORT"):
    """What there is to say about the cases of one group that fall short, as Markdown."""
    return getattr(importlib.import_module(f"benchmarks.cases.{group}"), name, "").strip()

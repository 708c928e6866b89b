"""Benchmarks of rushlight beside PyTorch, where that is installed: `python -m benchmarks --help`."""

"""Stores PyTorch's answers to the cases of tests/cases in tests/vectors/nn/: python tools/make_nn_vectors.py [topic ...]

Needs torch 2.13. test_nn_vectors.py compares our answers with what is stored.
"""

import gzip
import importlib
import json
import sys
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

import cases  # noqa: E402


def main(topics):
    torch.set_num_threads(1)
    folder = TESTS / "vectors" / "nn"
    folder.mkdir(exist_ok=True)
    for topic in topics or cases.TOPICS:
        answers = dict(importlib.import_module(f"cases.{topic}").answers(torch))
        text = json.dumps({"version": torch.__version__, **answers}, separators=(",", ":"))
        # no time in the header: the same answers give the same file
        data = gzip.compress(text.encode(), 9, mtime=0)
        (folder / f"{topic}.json.gz").write_bytes(data)
        print(f"{topic}: {len(answers)} cases, {len(data) // 1024} KB")


if __name__ == "__main__":
    main(sys.argv[1:])

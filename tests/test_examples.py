"""The programs in examples/ and the first program of the README run to their end and find what they look for."""

import gzip
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TOP = Path(__file__).resolve().parent.parent


def run(program, *arguments, status=0):
    """Run one example; what it printed."""
    command = [sys.executable, str(TOP / "examples" / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_gradient_descent():
    found = re.search(r"found +tensor\(\[([\d.]+), ([\d.]+)\]\)", run("gradient_descent.py"))
    assert abs(float(found[1]) - 1) < 0.01 and abs(float(found[2]) - 1) < 0.02


def test_linear_regression():
    text = run("linear_regression.py")
    rows = {word: re.search(rf"{word} +(\S+) +(\S+)", text).groups() for word in ("trained", "exact")}
    trained, exact = ([float(number) for number in row] for row in rows.values())
    assert trained == pytest.approx(exact, abs=0.005)


def test_digits_mlp():
    text = run("digits_mlp.py", "--epochs", 8)
    assert float(re.search(r"held-out accuracy: ([\d.]+)%", text)[1]) > 90


def write_idx(path, array):
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    with gzip.open(path, "wb") as file:
        file.write(header + array.tobytes())


def test_fashion_mnist(tmp_path):
    """Stand-in files: class k is a bright bar at a height of its own."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 1280), ("t10k", 500)):
        labels = np.arange(count) % 10
        images = generator.integers(0, 60, (count, 28, 28))
        for image, label in zip(images, labels):
            image[2 * label + 4 : 2 * label + 7] += 190
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images.astype(np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels.astype(np.uint8))
    text = run("fashion_mnist_cnn.py", tmp_path, "--epochs", 2)
    assert float(re.findall(r"test accuracy ([\d.]+)%", text)[-1]) > 90
    assert "sneaker" in text


def test_fashion_mnist_without_data(tmp_path):
    assert "apt install dataset-fashion-mnist" in run("fashion_mnist_cnn.py", tmp_path, status=1)


def test_char_gpt(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 40)
    printed = run("char_gpt.py", text, "--steps", 60, "--write", 50)
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert losses[-1] < 2.0 < losses[0]
    written = printed.partition(":\n\n")[2].rstrip("\n")
    assert len(written) == 70 and written.startswith("the quick brown fox ")


def test_char_gpt_without_text(tmp_path):
    assert "Cannot read the text" in run("char_gpt.py", tmp_path / "nowhere.txt", status=1)


def test_first_program_of_the_readme(capsys):
    program = re.search(r"```python\n(import rushlight as torch\n.*?)```", (TOP / "README.md").read_text(), re.S)[1]
    exec(compile(program, "README.md", "exec"), {})
    loss, sine = re.search(r"loss ([\d.]+), sin\(1\) is about ([\d.]+)", capsys.readouterr().out).groups()
    assert float(loss) < 0.01 and abs(float(sine) - 0.841) < 0.1

"""The demo: its data, one whole run, and the pictures that it draws."""

import struct
import zlib

import numpy as np
import pytest

import rushlight as rl
from rushlight import _png, demo


def read_png(path):
    """Decode what write_png writes: 8 bits, grey or RGB, filter 0, one IDAT chunk."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, bits, colour_type = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert bits == 8
    channels = {0: 1, 2: 3}[colour_type]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), dtype=np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape((height, width, 3) if channels == 3 else (height, width))


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (4, 3, 3)])
def test_png_round_trip(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    _png.write_png(tmp_path / "x.png", image)
    np.testing.assert_array_equal(read_png(tmp_path / "x.png"), image)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 4), (0, 3)])
def test_png_refuses_other_shapes(tmp_path, shape):
    with pytest.raises(ValueError, match="an image is"):
        _png.write_png(tmp_path / "x.png", np.zeros(shape, np.uint8))
    assert not (tmp_path / "x.png").exists()


def test_text_fits_its_size():
    height, width = _png.text_size("8 (3)", scale=2)
    image = np.zeros((height + 2, width + 2, 3), np.uint8)
    _png.draw_text(image, "8 (3)", 1, 1, (255, 0, 0), scale=2)
    assert (image[..., 0] == 255).any() and not image[..., 1:].any()
    assert not image[[0, -1]].any() and not image[:, [0, -1]].any()


def test_digits_are_complete():
    train_images, train_labels, test_images, test_labels = demo.load_digits()
    assert train_images.shape == (1198, 1, 8, 8) and test_images.shape == (599, 1, 8, 8)
    assert train_images.dtype == rl.float32 and train_labels.dtype == rl.int64
    assert float(train_images.min()) == 0 and float(train_images.max()) == 1
    counts = rl.bincount(rl.cat([train_labels, test_labels]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert int(rl.bincount(test_labels).min()) >= 50


def test_shift_moves_without_changing():
    image = rl.zeros(2, 1, 8, 8)
    image[:, :, 3, 4] = 5.0
    for _ in range(20):
        moved = demo.shifted(image)
        assert moved.shape == image.shape
        (_, _, row, column), _ = moved.nonzero().tolist()
        assert abs(row - 3) <= 1 and abs(column - 4) <= 1 and float(moved.sum()) == 10.0


def test_whole_run(tmp_path, capsys):
    assert demo.main(["--out", str(tmp_path / "new" / "folder")]) == 0
    text = capsys.readouterr().out
    accuracy = float(text.split("held-out accuracy: ")[1].split("%")[0])
    assert accuracy >= 98.0
    assert "loaded again, same predictions" in text
    saved = rl.load(tmp_path / "new" / "folder" / "digits.pt")
    assert saved["seed"] == 0 and round(100 * saved["accuracy"], 2) == accuracy
    picture = read_png(tmp_path / "new" / "folder" / "digits.png")
    assert picture.shape == (458, 584, 3)
    assert picture.min() == 0 and picture.max() == 255


def test_text_picture_replaces_a_png_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "digits.png").mkdir()
    assert demo.main(["--epochs", "1", "--seed", "3", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "picture:    not written" in text and "reads " in text and "@@" in text


def test_sample_choice_shows_mistakes_first():
    labels = rl.tensor([0, 1, 2, 3, 4, 5])
    predictions = rl.tensor([0, 9, 2, 9, 9, 5])
    assert demo.pick_samples(predictions, labels, 6) == [1, 3, 0, 2, 5]


def test_bad_arguments(capsys):
    with pytest.raises(SystemExit):
        demo.main(["--epochs", "0"])
    assert "--epochs must be at least 1" in capsys.readouterr().err

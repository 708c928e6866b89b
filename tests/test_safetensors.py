"""Safetensors files: recorded files, round trips, refusals."""

import json
import struct
from pathlib import Path

import pytest

import rushlight as torch
from rushlight import safetensors as st

SMALL = Path(__file__).parent / "vectors" / "checkpoint" / "small.safetensors"


def small():
    return {
        "w": torch.arange(6.0).reshape(2, 3),
        "b": torch.ones(2, dtype=torch.bfloat16),
        "i": torch.arange(3),
        "m": torch.tensor([True, False]),
        "s": torch.tensor(1.5),
    }


def same(a, b):
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def test_recorded_file(tmp_path):
    assert same(st.load_file(SMALL), small())
    assert same(torch.load(SMALL), small())
    with st.safe_open(SMALL, framework="pt") as file:
        assert file.metadata() == {"format": "pt"} and sorted(file.keys()) == sorted(small())
        assert file.get_tensor("s").item() == 1.5
    assert st.save(small(), {"format": "pt"}) == SMALL.read_bytes()
    st.save_file(small(), tmp_path / "x.safetensors", {"format": "pt"})
    assert (tmp_path / "x.safetensors").read_bytes() == SMALL.read_bytes()


def test_round_trips():
    for tensors in (
        {},
        {"a": torch.zeros(0, 3)},
        {"x y": torch.ones(1), "é": torch.ones(2, dtype=torch.float64)},
    ):
        assert same(st.load(st.save(tensors)), tensors)


def test_refusals():
    x = torch.arange(6.0)
    with pytest.raises(RuntimeError, match="Some tensors share memory"):
        st.save({"a": x, "b": x[2:]})
    assert same(st.load(st.save({"a": x[:3], "b": x[3:]})), {"a": x[:3], "b": x[3:]})
    with pytest.raises(
        ValueError, match="You are trying to save a non contiguous tensor: `a` which is not allowed."
    ):
        st.save({"a": x.reshape(2, 3).t()})
    with pytest.raises(TypeError):
        st.save({"a": x}, {"epoch": 3})


def file_of(header, data=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(2,), place=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(place)}


def test_the_hand_made_file_loads():
    assert st.load(file_of({"a": entry()}))["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "data, text",
    [
        (b"", "header too small"),
        (struct.pack("<Q", 1 << 40), "header too large"),
        (struct.pack("<Q", 100), "invalid header length"),
        (file_of(b"\xff\xff"), "invalid UTF-8 in header"),
        (file_of(b"[1"), "invalid JSON in header"),
        (file_of(b"[1]"), "invalid JSON in header"),
        (file_of(b'{"a":' + b"[" * 100000), "invalid JSON in header"),
        (file_of({"a": entry(shape=(3,))}), "info.data_offsets mismatch"),
        (file_of({"a": entry(shape=(1 << 62, 1 << 62))}), "info.data_offsets mismatch"),
        (file_of({"a": entry(shape=(-2,))}), "shape or data_offsets"),
        (file_of({"a": entry(place=(0, 16))}), "invalid offset for tensor `a`"),
        (file_of({"a": entry(place=(8, 0))}), "invalid offset for tensor `a`"),
        (file_of({"a": entry(shape=(1,), place=(0, 4))}), "incomplete metadata, file not fully covered"),
        (file_of({"a": entry(), "b": entry()}), "invalid offset for tensor"),
        (file_of({"a": entry(dtype="F4")}), "dtype 'F4'"),
        (file_of(b'{"a":1,"a":2}'), "duplicate names"),
        (file_of({"__metadata__": {"a": 1}}, b""), "__metadata__ must map strings to strings"),
    ],
)
def test_damaged_files(data, text):
    with pytest.raises(st.SafetensorError, match="Error while deserializing: ") as caught:
        st.load(data)
    assert text in str(caught.value)


def test_like_the_library():
    library = pytest.importorskip("safetensors.torch")
    oracle = pytest.importorskip("torch")
    assert library.save(
        {k: oracle.tensor(v.tolist(), dtype=getattr(oracle, str(v.dtype)[6:])) for k, v in small().items()}
    ) == st.save(small())

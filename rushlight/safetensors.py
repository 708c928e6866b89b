"""Reading and writing .safetensors files, byte for byte as the safetensors library does.

A file is a length (8 bytes), a JSON header with name, dtype, shape and place of every tensor, and the values.
"""

import json
import math
import os
import struct

import rushlight as rl

from ._utils import _MAX_DIMENSIONS, _contiguous_strides, _tensor_bytes
from .serialization.files import written_atomically
from .serialization.places import empty_storage

# file name of a dtype -> our name, in the order in which files list their tensors: the last comes first
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}
_RANK = {code: rank for rank, code in enumerate(_DTYPES)}
_CODE = {name: code for code, name in _DTYPES.items()}
_MAX_HEADER = 100_000_000


class SafetensorError(Exception):
    """A file that is not valid safetensors, or an object that cannot be written as one."""


def _invalid(reason):
    return SafetensorError(f"Error while deserializing: {reason}")


# ---- writing


def _code_of(name, tensor):
    code = _CODE.get(str(tensor.dtype).rpartition(".")[2])
    if code is None:
        raise SafetensorError(
            f"tensor {name!r} has dtype {tensor.dtype}, which safetensors files cannot hold"
        )
    return code


def _check(tensors):
    """Refuse what would be written twice or in another order than it lies in memory."""
    if not isinstance(tensors, dict):
        raise ValueError(f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    owners = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, rl.Tensor):
            raise ValueError(f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}")
        if not isinstance(name, str):
            raise TypeError(f"names of tensors must be str, not {type(name).__name__}")
        if tensor.numel():
            owners.setdefault(tensor.untyped_storage().data_ptr(), set()).add(name)
    shared = [names for names in owners.values() if len(names) > 1 and _overlap([tensors[n] for n in names])]
    if shared:
        raise RuntimeError(
            "\n            Some tensors share memory, this will lead to duplicate memory on disk and potential "
            f"differences when loading them again: {shared}. Save one of them, or a `.clone()` of each."
        )
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise ValueError(
                f"You are trying to save a non contiguous tensor: `{name}` which is not allowed. Save the tensor "
                "that it is a view of, or call `.contiguous()` on it."
            )


def _overlap(tensors):
    """Whether the memory of any two of them has bytes in common (judged by first and last byte)."""
    spans = []
    for tensor in tensors:
        last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        begin = tensor.data_ptr()
        spans.append((begin, begin + (last + 1) * tensor.element_size()))
    spans.sort()
    return any(after[0] < before[1] for before, after in zip(spans, spans[1:], strict=False))


def _parts(tensors, metadata):
    """The file as a list of byte strings and buffers."""
    _check(tensors)
    if metadata is not None:
        if not isinstance(metadata, dict):
            raise TypeError(f"metadata must be a dict of str to str, not {type(metadata).__name__}")
        for key, value in metadata.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise TypeError(f"metadata must map str to str, got {key!r}: {value!r}")
    codes = {name: _code_of(name, tensor) for name, tensor in tensors.items()}
    order = sorted(tensors, key=lambda name: (-_RANK[codes[name]], name.encode()))
    header, data, offset = {}, [], 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name in order:
        tensor = tensors[name]
        values = _tensor_bytes(tensor) if tensor.numel() else b""
        place = [offset, offset + len(values)]
        header[name] = {"dtype": codes[name], "shape": list(tensor.shape), "data_offsets": place}
        data.append(values)
        offset = place[1]
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return [struct.pack("<Q", len(text)), text, *data]


def save(tensors, metadata=None):
    """The file's content as bytes.

    Args:
        tensors: dict from name to contiguous tensor; no two may share memory.
        metadata: dict from str to str, kept in the header.
    """
    return b"".join(_parts(tensors, metadata))


def save_file(tensors, filename, metadata=None):
    """Write a dict of tensors to a file, which is replaced only when everything is on disk."""
    parts = _parts(tensors, metadata)
    with written_atomically(os.fspath(filename)) as file:
        for part in parts:
            file.write(part)


# ---- reading


def _no_duplicates(pairs):
    names = dict(pairs)
    if len(names) != len(pairs):
        raise _invalid("invalid JSON in header: duplicate names")
    return names


def _read_header(read, length):
    """(entries, metadata, where the data begins) from read(offset, size), all sizes checked."""
    if length < 8:
        raise _invalid("header too small")
    (size,) = struct.unpack("<Q", read(0, 8))
    if size > _MAX_HEADER:
        raise _invalid("header too large")
    if size > length - 8:
        raise _invalid("invalid header length")
    try:
        header = json.loads(read(8, size).decode("utf-8"), object_pairs_hook=_no_duplicates)
    except UnicodeDecodeError:
        raise _invalid("invalid UTF-8 in header") from None
    except (ValueError, RecursionError) as error:
        raise _invalid(f"invalid JSON in header: {error}") from None
    if not isinstance(header, dict):
        raise _invalid("invalid JSON in header: it is not an object")
    metadata = header.pop("__metadata__", None)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise _invalid("invalid JSON in header: __metadata__ must map strings to strings")
    _check_entries(header, length - 8 - size)
    return header, metadata, 8 + size


def _is_size(number):
    return type(number) is int and 0 <= number < 2**63


def _check_entries(entries, available):
    """Every tensor inside the file, in one piece, none overlapping, no byte left over."""
    spans = []
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= set(entry):
            raise _invalid(f"invalid JSON in header: tensor {name!r} lacks dtype, shape or data_offsets")
        shape, place = entry["shape"], entry["data_offsets"]
        numbers = isinstance(shape, list) and isinstance(place, list) and len(place) == 2
        if not numbers or not all(_is_size(n) for n in (*shape, *place)):
            raise _invalid(f"invalid JSON in header: shape or data_offsets of {name!r}")
        code = entry["dtype"]
        if not isinstance(code, str) or code not in _DTYPES or not hasattr(rl, _DTYPES[code]):
            raise _invalid(f"tensor {name!r} has dtype {code!r}, which rushlight does not have")
        if len(shape) > _MAX_DIMENSIONS:
            raise _invalid(f"tensor {name!r} has {len(shape)} dimensions")
        count = math.prod(shape)
        begin, end = place
        if begin > end or end > available:
            raise _invalid(f"invalid offset for tensor `{name}`")
        if end - begin != count * getattr(rl, _DTYPES[code]).itemsize:
            raise _invalid("info.data_offsets mismatch: shape, data type, or offset for tensor invalid")
        spans.append((begin, end, name))
    covered = 0
    for begin, end, name in sorted(spans):
        if begin != covered:
            raise _invalid(f"invalid offset for tensor `{name}`")
        covered = end
    if covered != available:
        raise _invalid("incomplete metadata, file not fully covered")


def _to_tensor(entry, fill):
    """A tensor of the entry's dtype and shape on memory that `fill` writes."""
    dtype, shape = getattr(rl, _DTYPES[entry["dtype"]]), tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    storage = empty_storage(end - begin)
    if end > begin:
        fill(memoryview(storage), begin)
    return rl._C._rebuild(storage, dtype, 0, shape, _contiguous_strides(shape), False)


def load(data):
    """The tensors of a file that is already in memory."""
    data = memoryview(data).cast("B")
    header, _, start = _read_header(lambda offset, size: bytes(data[offset : offset + size]), len(data))

    def fill(target, begin):
        target[:] = data[start + begin : start + begin + len(target)]

    return {name: _to_tensor(entry, fill) for name, entry in header.items()}


def load_file(filename, device="cpu"):
    """The tensors of a file, in the order of its header."""
    with safe_open(filename, framework="pt", device=device) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


class safe_open:
    """An open file that gives its tensors one by one.

    >>> with safe_open("model.safetensors", framework="pt") as file:  # doctest: +SKIP
    ...     weight = file.get_tensor("weight")
    """

    def __init__(self, filename, framework="pt", device="cpu"):
        if framework not in ("pt", "torch", "pytorch"):
            raise SafetensorError(
                f"framework {framework!r} is not supported: rushlight gives its own tensors (pt)"
            )
        self._device = device
        self._file = open(filename, "rb")
        try:
            length = self._file.seek(0, os.SEEK_END)
            self._header, self._metadata, self._start = _read_header(self._read, length)
        except BaseException:
            self._file.close()
            raise

    def _read(self, offset, size):
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise _invalid("the file is shorter than announced")
        return data

    def _fill(self, target, begin):
        self._file.seek(self._start + begin)
        done = 0
        while done < len(target):
            got = self._file.readinto(target[done:])
            if not got:
                raise _invalid("the file is shorter than announced")
            done += got

    def keys(self):
        return list(self._header)

    def offset_keys(self):
        """Names in the order of their data."""
        return sorted(self._header, key=lambda name: self._header[name]["data_offsets"])

    def metadata(self):
        return self._metadata

    def get_tensor(self, name):
        if name not in self._header:
            raise SafetensorError(f"File does not contain tensor {name}")
        tensor = _to_tensor(self._header[name], self._fill)
        return tensor if str(self._device) == "cpu" else tensor.to(self._device)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

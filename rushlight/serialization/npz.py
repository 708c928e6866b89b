"""NumPy's .npz files: a zip archive with one .npy file for each array."""

import io

import numpy as np

import rushlight as rl

from . import options
from .archive import ArchiveReader, ArchiveWriter
from .files import opened, written_atomically

_SUFFIX = ".npy"


def save_npz(f, tensors):
    """Write a dict of tensors to a file that numpy.load reads.

    >>> save_npz("weights.npz", {"w": rl.ones(2)})  # doctest: +SKIP
    """
    arrays = {
        name: np.asarray(tensor.detach().resolve_conj().resolve_neg()) for name, tensor in tensors.items()
    }
    with written_atomically(f) as file:
        archive = ArchiveWriter(file, "", alignment=64)
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.write(name + _SUFFIX, content.getbuffer())
        archive.finish()


def load_npz(f):
    """The arrays of a file of numpy.savez or savez_compressed, as a dict of tensors."""
    with opened(f) as file:
        return tensors_of(ArchiveReader(file, options.get_crc32_options()))


def is_npz(archive):
    """Whether an archive is NumPy's: nothing in it but arrays."""
    return all(name.endswith(_SUFFIX) for name in archive.names())


def tensors_of(archive):
    """Every array of the archive as a tensor."""
    archive.top = ""
    return {name.removesuffix(_SUFFIX): _tensor(name, archive.read(name)) for name in archive.names()}


def _tensor(name, data):
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[
            version[0]
        ]
        shape, by_columns, dtype = read_header(file)
    except (KeyError, ValueError, EOFError) as error:
        raise RuntimeError(f"array {name} is damaged: {error}") from None
    if dtype.hasobject:
        raise RuntimeError(f"array {name} holds Python objects, which are not loaded")
    values = memoryview(data)[file.tell() :]
    count = 1
    for n in shape:
        count *= n
    if count * dtype.itemsize != len(values):
        raise RuntimeError(f"array {name} is damaged: {len(values)} bytes for shape {shape} of {dtype}")
    array = np.frombuffer(values, dtype, count).reshape(shape, order="F" if by_columns else "C")
    return rl.tensor(array.astype(dtype.newbyteorder("="), copy=False))

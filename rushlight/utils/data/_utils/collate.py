"""From a list of samples to one batch: tensors are stacked, numbers become tensors, containers keep their form."""

import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence

import numpy as np

import rushlight as rl

_REFUSED = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def default_convert(data):
    """NumPy arrays and scalars in any nesting of containers become tensors; everything else stays."""
    kind = type(data)
    if isinstance(data, rl.Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        if isinstance(data, (np.str_, np.bytes_)) or data.dtype.kind in "SUO":
            return data
        return rl.as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple):
        items = [default_convert(item) for item in data]
        return kind(*items) if hasattr(data, "_fields") else items
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [default_convert(item) for item in data])
    return data


def _like_mapping(sample, content):
    """`content` in a mapping of the sample's own type, where that can be made; else the dict itself."""
    try:
        if isinstance(sample, MutableMapping):  # a copy keeps what else the object carries
            clone = copy.copy(sample)
            clone.update(content)
            return clone
        return type(sample)(content)
    except TypeError:
        return content


def _like_sequence(sample, items):
    try:
        if isinstance(sample, MutableSequence):
            clone = copy.copy(sample)
            for i, item in enumerate(items):
                clone[i] = item
            return clone
        return items if isinstance(sample, range) else type(sample)(items)
    except TypeError:
        return items


def collate(batch, *, collate_fn_map=None):
    """Collate with functions chosen by the type of the first sample; containers are entered recursively.

    Args:
        collate_fn_map: type (or tuple of types) -> function(batch, *, collate_fn_map).
    """
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        if kind in collate_fn_map:
            return collate_fn_map[kind](batch, collate_fn_map=collate_fn_map)
        for types, function in collate_fn_map.items():
            if isinstance(first, types):
                return function(batch, collate_fn_map=collate_fn_map)

    def column(values):
        return collate(values, collate_fn_map=collate_fn_map)

    if isinstance(first, Mapping):
        return _like_mapping(first, {key: column([sample[key] for sample in batch]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return kind(*(column(values) for values in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        items = [column(values) for values in zip(*batch, strict=True)]
        return items if isinstance(first, tuple) else _like_sequence(first, items)
    raise TypeError(_REFUSED.format(kind))


def collate_tensor_fn(batch, *, collate_fn_map=None):
    return rl.stack(list(batch), 0)


def collate_numpy_array_fn(batch, *, collate_fn_map=None):
    if batch[0].dtype.kind in "SUO":
        raise TypeError(_REFUSED.format(batch[0].dtype))
    return collate([rl.as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch, *, collate_fn_map=None):
    return rl.as_tensor(np.array(batch))


def collate_float_fn(batch, *, collate_fn_map=None):
    return rl.tensor(list(batch), dtype=rl.float64)


def collate_int_fn(batch, *, collate_fn_map=None):
    return rl.tensor(list(batch))


def collate_str_fn(batch, *, collate_fn_map=None):
    return batch


default_collate_fn_map = {
    rl.Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_collate(batch):
    """One batch from a list of samples.

    >>> default_collate([(1, 0.5), (2, 1.5)])
    [tensor([1, 2]), tensor([0.5000, 1.5000], dtype=torch.float64)]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)

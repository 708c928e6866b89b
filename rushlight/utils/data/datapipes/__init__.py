"""Datapipes are not part of rushlight. Their base classes exist for isinstance, which is what most programs ask."""

from ..dataset import Dataset, IterableDataset


def _missing(*args, **kwargs):
    raise NotImplementedError(
        "datapipes are not part of rushlight: write a Dataset or an IterableDataset, or a generator in one"
    )


class IterDataPipe(IterableDataset):
    """Base of PyTorch's iterable datapipes; nothing can be derived from it or made of it here."""

    __new__ = __init_subclass__ = _missing


class MapDataPipe(Dataset):
    """Base of PyTorch's indexed datapipes; nothing can be derived from it or made of it here."""

    __new__ = __init_subclass__ = _missing

"""Fetchers: from the indices that a sampler gave to a collated batch."""

from itertools import islice

import rushlight as rl

from ..dataset import Subset, TensorDataset
from .collate import default_collate


def _gather(dataset, indices):
    """A default-collated batch of a TensorDataset in one indexing call per tensor, or None where that differs."""
    if type(dataset) is Subset and type(dataset.dataset) is TensorDataset:
        dataset, indices = dataset.dataset, [dataset.indices[i] for i in indices]
    if type(dataset) is not TensorDataset or not all(type(i) is int for i in indices):
        return None
    if any(type(t) is not rl.Tensor or t.requires_grad for t in dataset.tensors):
        return None
    rows = rl.tensor(indices)
    return [t[rows] for t in dataset.tensors]


class MapFetcher:
    """Batches of a dataset with `__getitem__`."""

    def __init__(self, dataset, auto_collation, collate_fn, drop_last):
        self.dataset, self.auto_collation, self.collate_fn = dataset, auto_collation, collate_fn

    def fetch(self, index):
        if not self.auto_collation:
            return self.collate_fn(self.dataset[index])
        if self.collate_fn is default_collate and index:
            batch = _gather(self.dataset, index)
            if batch is not None:
                return batch
        many = getattr(self.dataset, "__getitems__", None)
        return self.collate_fn(many(index) if many else [self.dataset[i] for i in index])


class IterableFetcher:
    """Batches of a stream; the indices only say how many samples are wanted. Ends with StopIteration."""

    def __init__(self, dataset, auto_collation, collate_fn, drop_last):
        self.samples = iter(dataset)
        self.auto_collation, self.collate_fn, self.drop_last = auto_collation, collate_fn, drop_last
        self.ended = False

    def fetch(self, index):
        if self.ended:
            raise StopIteration
        if not self.auto_collation:
            return self.collate_fn(next(self.samples))
        samples = list(islice(self.samples, len(index)))
        self.ended = len(samples) < len(index)
        if not samples or (self.ended and self.drop_last):
            raise StopIteration
        return self.collate_fn(samples)

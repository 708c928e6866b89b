"""Data sets that the tests of data loading use, in this process and in workers."""

import rushlight as torch
from rushlight.utils.data import Dataset, IterableDataset, get_worker_info


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Squares(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return torch.tensor([float(i)]), i**2


class Stream(IterableDataset):
    def __init__(self, n, length=None):
        self.n, self.length = n, length

    def __iter__(self):
        return iter(range(self.n))


class StreamWithLength(Stream):
    def __len__(self):
        return self.length


class Shares(IterableDataset):
    """Worker 0 has three samples, worker 1 eight."""

    def __iter__(self):
        worker = get_worker_info()
        return iter([worker.id * 100 + i for i in range([3, 8][worker.id])])

"""DistributedSampler: the share of a dataset that belongs to one of several training processes."""

import math

import rushlight as rl

from .sampler import Sampler


class DistributedSampler(Sampler):
    """Indices rank, rank + num_replicas, ... of a (shuffled) dataset, so that every process gets equally many.

    Args:
        shuffle: draw a new order from seed + epoch; call set_epoch(epoch) before each epoch.
        drop_last: leave the remainder out instead of repeating indices from the start.
    """

    def __init__(self, dataset, num_replicas=None, rank=None, shuffle=True, seed=0, drop_last=False):
        if num_replicas is None or rank is None:
            distributed = getattr(rl, "distributed", None)
            if distributed is None or not distributed.is_initialized():
                raise ValueError(
                    "Default process group has not been initialized, please make sure to call init_process_group."
                )
            num_replicas = distributed.get_world_size() if num_replicas is None else num_replicas
            rank = distributed.get_rank() if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        share = len(dataset) / num_replicas
        self.num_samples = math.floor(share) if drop_last else math.ceil(share)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self):
        size = len(self.dataset)
        if self.shuffle:
            generator = rl.Generator()
            generator.manual_seed(self.seed + self.epoch)
            indices = rl.randperm(size, generator=generator).tolist()
        else:
            indices = list(range(size))
        # indices start over where the dataset is shorter than total_size, and are cut where it is longer
        return iter([indices[i % size] for i in range(self.rank, self.total_size, self.num_replicas)])

    def __len__(self):
        return self.num_samples

    def set_epoch(self, epoch):
        """Choose the order of the next pass."""
        self.epoch = epoch

"""Sparse tensors that the tests of sparse tensors are about."""

import numpy as np

import rushlight as torch

INDICES = torch.tensor([[0, 0, 2, 1], [1, 1, 0, 3]])  # (0, 1) twice


def matrix(rows=3, columns=4, dtype=torch.float64, seed=0):
    """A dense matrix with about half of its elements 0."""
    numbers = np.random.default_rng(seed).integers(-3, 4, (rows, columns))
    return torch.from_numpy(numbers * np.random.default_rng(seed + 1).integers(0, 2, (rows, columns))).to(
        dtype
    )


def uncoalesced(values=None):
    values = torch.arange(1.0, 5.0, dtype=torch.float64) if values is None else values
    return torch.sparse_coo_tensor(INDICES, values, (3, 4))


LAYOUTS = {
    "coo": lambda x: x.to_sparse(),
    "uncoalesced": lambda x: x.to_sparse() + (2 * x).to_sparse().t().t() - (2 * x).to_sparse(),
    "csr": lambda x: x.to_sparse_csr(),
    "csc": lambda x: x.to_sparse_csc(),
}

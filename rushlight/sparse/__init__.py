"""Sparse tensors: products, sums and softmax of them, and the check of their invariants.

Constructors (sparse_coo_tensor, sparse_csr_tensor, ...) are in rushlight itself, the rest are methods of Tensor.
"""

from . import _methods, _ops  # noqa: F401  (fill the table of operators and the methods of Tensor)
from ._tensors import check_sparse_tensor_invariants as check_sparse_tensor_invariants

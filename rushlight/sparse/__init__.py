"""Sparse tensors: products, sums and softmax of them, and the check of their invariants.

Constructors (sparse_coo_tensor, sparse_csr_tensor, ...) are in rushlight itself, the rest are methods of Tensor.
"""

from . import _mixed  # noqa: F401  (methods of Tensor)
from . import _methods  # noqa: F401  (fills the table of operators, gives Tensor its methods)
from ._constructors import check_sparse_tensor_invariants as check_sparse_tensor_invariants
from ._functions import (
    DoubleTensor as DoubleTensor,
    FloatTensor as FloatTensor,
    IntTensor as IntTensor,
    LongTensor as LongTensor,
    addmm as addmm,
    log_softmax as log_softmax,
    mm as mm,
    sampled_addmm as sampled_addmm,
    softmax as softmax,
    spdiags as spdiags,
    sum as sum,
)

"""Functions that transform functions: derivatives (grad, vjp, jvp, jacrev, jacfwd, hessian, linearize), batches (vmap),
and modules as functions (functional_call, stack_module_state). They nest in each other."""

from ._batched import debug_unwrap as debug_unwrap
from ._derivatives import grad as grad
from ._derivatives import grad_and_value as grad_and_value
from ._derivatives import jvp as jvp
from ._derivatives import linearize as linearize
from ._derivatives import vjp as vjp
from ._jacobians import hessian as hessian
from ._jacobians import jacfwd as jacfwd
from ._jacobians import jacrev as jacrev
from ._modules import functional_call as functional_call
from ._modules import functionalize as functionalize
from ._modules import replace_all_batch_norm_modules_ as replace_all_batch_norm_modules_
from ._modules import stack_module_state as stack_module_state
from ._vmap import vmap as vmap

__all__ = ["debug_unwrap", "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp",
           "linearize", "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap"]  # fmt: skip

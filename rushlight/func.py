"""Functions that transform functions: grad, vjp, jvp, jacrev, hessian, vmap, and functional_call.

All stand on the recorded graph: an input gets a fresh leaf (or, when it already carries a graph, a view), so that
transformations nest. jvp differentiates a backward pass once more; vmap runs the function slice by slice.
"""

from . import _C
from .autograd import enable_grad
from .autograd import grad as _grad
from .nn.utils.stateless import _functional_call

__all__ = ["functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
           "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap"]  # fmt: skip

Tensor = _C.Tensor

# ---- nested containers ----


def _flatten(tree):
    """Leaves of nested tuples, lists and dictionaries, and a function that builds the same nest of other leaves."""
    if isinstance(tree, dict):
        keys, parts = list(tree), [_flatten(v) for v in tree.values()]
        return [x for leaves, _ in parts for x in leaves], lambda it: type(tree)(
            (k, p[1](it)) for k, p in zip(keys, parts)
        )
    if isinstance(tree, (tuple, list)):
        parts = [_flatten(v) for v in tree]

        def build(it):
            values = [p[1](it) for p in parts]
            if hasattr(tree, "_fields"):
                return (
                    type(tree)(*values)
                    if type(tree).__module__ != "rushlight.return_types"
                    else type(tree)(values)
                )
            return type(tree)(values)

        return [x for leaves, _ in parts for x in leaves], build
    return [tree], lambda it: next(it)


def _map(function, *trees):
    flat, build = _flatten(trees[0])
    others = [_flatten(tree)[0] for tree in trees[1:]]
    return build(iter([function(*leaves) for leaves in zip(flat, *others)]))


# ---- graphs ----


def _fresh(tree, leaves):
    """The tree with tensors of their own history: views where they carry a graph, new leaves (collected) elsewhere."""

    def change(x):
        if not isinstance(x, Tensor):
            return x
        if x.requires_grad:
            return x.view_as(x)
        leaf = x.detach()
        if leaf.is_floating_point() or leaf.is_complex():
            leaf.requires_grad_()
            leaves.append(leaf)
        return leaf

    return _map(change, tree)


def _released(tree, leaves):
    """Results that depend on nothing but our own leaves are plain tensors for the caller."""
    own = {id(leaf) for leaf in leaves}

    def change(x):
        if isinstance(x, Tensor) and x.requires_grad and not _reaches_others(x, own):
            return x.detach()
        return x

    return _map(change, tree)


def _reaches_others(x, own):
    if x.grad_fn is None:
        return id(x) not in own
    stack, seen = [x.grad_fn], {}  # the nodes stay referenced, so that an id stands for one of them
    while stack:
        node = stack.pop()
        if node is None or id(node) in seen:
            continue
        seen[id(node)] = node
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in own:
            return True
        stack.extend(n for n, _ in node.next_functions)
    return False


def _gradients(outputs, inputs, vectors):
    """Products of vectors with the Jacobian; zeros where an output does not depend on an input."""
    live = [(o, v) for o, v in zip(outputs, vectors) if isinstance(o, Tensor) and o.requires_grad]
    if not live:
        return [_C.zeros_like(x) for x in inputs]
    results = _grad(
        [o for o, _ in live],
        inputs,
        [v for _, v in live],
        retain_graph=True,
        create_graph=True,
        allow_unused=True,
    )
    return [_C.zeros_like(x) if g is None else g for g, x in zip(results, inputs)]


def _chosen(args, argnums, leaves):
    """args with fresh tensors at argnums, and those."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise RuntimeError(f"Got argnum={n}, but only {len(args)} positional inputs")
    args = list(args)
    for n in numbers:
        args[n] = _fresh(args[n], leaves)
    picked = tuple(args[n] for n in numbers)
    return args, (picked[0] if isinstance(argnums, int) else picked)


def _split_aux(result, has_aux, name):
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(f"{name}: output of function should be a tuple: (output, aux) if has_aux is True")
    return result


# ---- first derivatives ----


def grad_and_value(func, argnums=0, has_aux=False):
    """A function that gives (gradient of func by its arguments argnums, func's value); func must give a scalar."""

    def wrapper(*args, **kwargs):
        leaves = []
        with enable_grad():
            args, wanted = _chosen(args, argnums, leaves)
            value, aux = _split_aux(func(*args, **kwargs), has_aux, "grad_and_value(f)(*args)")
            if not isinstance(value, Tensor):
                raise RuntimeError("Expected the function passed to grad_and_value to return a Tensor, got "
                                   f"{type(value).__name__}")  # fmt: skip
            if value.dim() != 0:
                raise RuntimeError("Expected f(*args) to return a scalar tensor, got tensor with "
                                   f"{value.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?")  # fmt: skip
            flat, build = _flatten(wanted)
            gradients = build(iter(_gradients([value], flat, [_C.ones_like(value)])))
        gradients, value, aux = (_released(x, leaves) for x in (gradients, value, aux))
        return (gradients, (value, aux)) if has_aux else (gradients, value)

    return wrapper


def grad(func, argnums=0, has_aux=False):
    """A function that gives the gradient of the scalar function func.

    >>> grad(lambda x: x**3)(rl.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    def wrapper(*args, **kwargs):
        result = both(*args, **kwargs)
        return (result[0], result[1][1]) if has_aux else result[0]

    return wrapper


def vjp(func, *primals, has_aux=False):
    """(func(*primals), function of a vector: its product with the Jacobian)."""
    leaves = []
    with enable_grad():
        primals = _fresh(primals, leaves)
        output, aux = _split_aux(func(*primals), has_aux, "vjp(f, *primals)")
    flat_out, _ = _flatten(output)
    flat_in, build = _flatten(primals)

    def product(cotangents, retain_graph=True, create_graph=None):
        vectors, _ = _flatten(cotangents)
        for o, v in zip(flat_out, vectors):
            if o.shape != v.shape:
                raise RuntimeError(
                    f"Expected cotangents to have shape {tuple(o.shape)} but got {tuple(v.shape)}"
                )
        with enable_grad():
            result = build(iter(_gradients(flat_out, flat_in, vectors)))
        return _released(result, leaves)

    value = _released(output, leaves)
    return (value, product, _released(aux, leaves)) if has_aux else (value, product)


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """(func(*primals), product of the Jacobian with the tangents): one backward pass, differentiated once more."""
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise RuntimeError("jvp(f, primals, tangents): Expected primals and tangents to be tuples")
    leaves = []
    with enable_grad():
        inputs = _fresh(primals, leaves)
        output, aux = _split_aux(func(*inputs), has_aux, "jvp(f, primals, tangents)")
        flat_in, (flat_tangents, _) = _flatten(inputs)[0], _flatten(tangents)
        if len(flat_in) != len(flat_tangents):
            raise RuntimeError(
                "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure"
            )
        flat_out, build = _flatten(output)
        seeds = [_C.zeros_like(o).requires_grad_() for o in flat_out]
        rows = _gradients(flat_out, flat_in, seeds)
        columns = build(iter(_gradients(rows, seeds, flat_tangents)))
    leaves = leaves + seeds
    result = _released(output, leaves), _released(columns, leaves)
    return (*result, _released(aux, leaves)) if has_aux else result


def linearize(func, *primals):
    """(func(*primals), function of tangents: the Jacobian times them)."""

    def product(*tangents):
        return jvp(func, primals, tangents)[1]

    return func(*primals), product


# ---- Jacobians ----


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None, _preallocate_and_copy=False):
    """A function that gives the Jacobian of func: output.shape + input.shape for each pair of output and input.

    >>> jacrev(lambda x: x**2)(rl.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    def wrapper(*args, **kwargs):
        leaves = []
        with enable_grad():
            args, wanted = _chosen(args, argnums, leaves)
            output, aux = _split_aux(func(*args, **kwargs), has_aux, "jacrev(f)(*args)")
            flat_in, build_in = _flatten(wanted)
            flat_out, build_out = _flatten(output)
            jacobian = build_out(iter([build_in(iter(_rows(o, flat_in))) for o in flat_out]))
        jacobian, aux = _released(jacobian, leaves), _released(aux, leaves)
        return (jacobian, aux) if has_aux else jacobian

    return wrapper


def _rows(output, inputs):
    """Jacobian of one output by each input, row by row."""
    columns = [[] for _ in inputs]
    for k in range(output.numel()):
        unit = _C.zeros(output.numel(), dtype=output.dtype)
        unit[k] = 1
        for rows, g in zip(columns, _gradients([output], inputs, [unit.reshape(output.shape)])):
            rows.append(g)
    return [
        _C.stack(rows).reshape(output.shape + x.shape)
        if rows
        else _C.zeros(output.shape + x.shape, dtype=x.dtype)
        for rows, x in zip(columns, inputs)
    ]


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """The Jacobian of func, as jacrev gives it; computed by backward passes here, too."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func, argnums=0):
    """A function that gives the second derivatives of func."""
    return jacrev(jacrev(func, argnums), argnums)


# ---- batches ----


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """A function over batches from one over single elements. It runs func on one slice after the other and stacks.

    Args:
        in_dims: dimension of each argument to slice along, None for arguments that all slices share; nested as they are.
        out_dims: where the batch dimension of each output goes.
        randomness: "different" (each slice draws its own numbers, also what "error" does here) or "same".

    >>> vmap(rl.dot)(rl.ones(3, 2), rl.ones(3, 2))
    tensor([2., 2., 2.])
    """

    def wrapper(*args, **kwargs):
        if not isinstance(in_dims, (int, tuple, list)):
            raise ValueError(f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a "
                             f"(potentially nested) tuple matching the structure of inputs, got: {type(in_dims)}.")  # fmt: skip
        flat, build = _flatten(args)
        dims = _spread(tuple(in_dims) if isinstance(in_dims, list) else in_dims, args)
        for x, d in zip(flat, dims):
            if d is not None and not isinstance(x, Tensor):
                raise ValueError(f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={d} for an input but the "
                                 f"input is of type {type(x)}. We cannot vmap over non-Tensor arguments, please use None as "
                                 "the respective in_dim")  # fmt: skip
            if d is not None and not -x.dim() <= d < x.dim():
                raise ValueError(f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={d} for some input, but "
                                 f"that input is a Tensor of dimensionality {x.dim()} so expected in_dim to satisfy -{x.dim()} "
                                 f"<= in_dim < {x.dim()}.")  # fmt: skip
        sizes = {x.shape[d] for x, d in zip(flat, dims) if d is not None}
        if not sizes:
            raise ValueError(
                f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): at least one input must be batched"
            )
        if len(sizes) > 1:
            raise ValueError(f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                             f"{[x.shape[d] for x, d in zip(flat, dims) if d is not None]} for the mapped dimension")  # fmt: skip
        (count,) = sizes
        if count == 0:
            raise NotImplementedError("vmap: a batch of size 0")
        return _stacked([func(*a, **kwargs) for a in _slices(flat, dims, build, count, randomness)], out_dims)

    return wrapper


def _name(func):
    return getattr(func, "__name__", repr(func))


def _spread(dims, tree):
    """One dim per leaf of tree, from dims given for whole branches."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(_flatten(tree)[0])
    branches = tree.values() if isinstance(tree, dict) else tree
    dims = [dims[k] for k in tree] if isinstance(dims, dict) else dims
    if not isinstance(tree, (tuple, list, dict)) or len(dims) != len(tree):
        raise ValueError("vmap: in_dims is not compatible with the structure of inputs")
    return [d for dim, branch in zip(dims, branches) for d in _spread(dim, branch)]


def _slices(flat, dims, build, count, randomness):
    state = None
    if randomness == "same":
        from .random import get_rng_state, set_rng_state

        state = get_rng_state()
    for i in range(count):
        if state is not None:
            set_rng_state(state)
        yield build(iter([x if d is None else x.select(d, i) for x, d in zip(flat, dims)]))


def _stacked(results, out_dims):
    """One nest of tensors from the nests of the slices."""
    flats, build = [_flatten(r)[0] for r in results], _flatten(results[0])[1]
    for leaf in flats[0]:
        if not isinstance(leaf, Tensor):
            raise ValueError(f"vmap(...): the function must only return Tensors, got type {type(leaf)}. "
                             "Did you mean to set out_dims= to None for output?")  # fmt: skip
    dims = _spread(out_dims, results[0]) if not isinstance(results[0], Tensor) else [
        out_dims[0] if isinstance(out_dims, tuple) else out_dims]  # fmt: skip
    joined = [
        column[0] if d is None else _C.stack(column, d)
        for column, d in zip(([f[k] for f in flats] for k in range(len(dims))), dims)
    ]
    return build(iter(joined))


# ---- modules ----


def functional_call(
    module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Call module with the tensors of a dictionary (or several) in place of its parameters and buffers.

    >>> linear = rl.nn.Linear(1, 1)
    >>> functional_call(linear, {"weight": rl.ones(1, 1), "bias": rl.zeros(1)}, rl.tensor([3.0])).item()
    3.0
    """
    return _functional_call(
        module, parameter_and_buffer_dicts, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def stack_module_state(models):
    """(parameters, buffers) of models of one architecture, stacked by name, for vmap over models."""
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or not any(m.training for m in models)):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

    def stacked(dicts):
        return {
            k: _C.stack([d[k].detach() for d in dicts]).requires_grad_(dicts[0][k].requires_grad)
            for k in dicts[0]
        }

    return stacked([dict(m.named_parameters()) for m in models]), stacked(
        [dict(m.named_buffers()) for m in models]
    )


def replace_all_batch_norm_modules_(root):
    """Make the batch norms in root use the statistics of the batch only, without running averages."""
    for module in root.modules():
        if isinstance(module, _batch_norm_base()):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def _batch_norm_base():
    from .nn.modules.batchnorm import _BatchNorm

    return _BatchNorm


def functionalize(func, *, remove="mutations"):
    """Rewriting of in-place operations away: there is no such tracer."""
    raise NotImplementedError("func.functionalize is not implemented")

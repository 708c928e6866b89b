"""First derivatives of functions, and products with Jacobians.

Backward transformations stand on the recorded graph: an input gets a fresh leaf (or, when it already carries a graph, a
view), so that they nest. jvp opens a level of forward mode.
"""

import functools

from .. import _C
from ..autograd import enable_grad
from ..autograd import grad as _grad
from ..autograd.forward_ad import _check_size
from ._batched import Batched, batched_of, lifted
from ._tree import describe, flatten, leaves_of, map_tree, same_structure

Tensor = _C.Tensor


# ---- graphs ----


def fresh(tree, leaves):
    """The tree with tensors of their own history: views where they carry a graph, new leaves (collected) elsewhere."""

    def change(x):
        if not isinstance(x, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
        x = lifted(x)
        if x.requires_grad:
            return x.view_as(x)
        leaf = x.detach()
        if not (leaf.is_floating_point() or leaf.is_complex()):
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        _C._copy_tangents(x, leaf)
        leaves.append(leaf.requires_grad_())
        return leaf

    return map_tree(change, tree)


def released(tree, leaves):
    """Results that depend on nothing but our own leaves are plain tensors for the caller."""
    own = {id(leaf) for leaf in leaves}

    def change(x):
        if not isinstance(x, Tensor):
            return x
        delegate = batched_of(x)
        if delegate is not None:  # what the slices were computed from
            value = change(delegate.value)
            if value is not delegate.value:
                same = x.view_as(x)
                x = _C._set_delegate(same, Batched(value, delegate.level, delegate.batched))
        if x.requires_grad and not _reaches_others(x, own):
            bare = x.detach()
            for level in _C._forward_levels():
                tangent = _C._tangent(x, level)
                if tangent is not None:
                    _C._set_tangent(bare, level, change(tangent))
            return bare
        return x

    return map_tree(change, tree)


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


def gradients(outputs, inputs, vectors):
    """Products of vectors with the Jacobian; zeros where an output does not depend on an input."""
    live = [(o, v) for o, v in zip(outputs, vectors) if o.requires_grad]
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


# ---- arguments and results ----


def chosen(args, argnums, change):
    """args with those at argnums changed, and those."""
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    if not isinstance(numbers, tuple) or not all(isinstance(n, int) for n in numbers):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    if not numbers:
        raise RuntimeError("argnums must be non-empty")
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise RuntimeError(f"Got argnum={n}, but only {len(args)} positional inputs")
    if len({n % len(args) for n in numbers}) < len(numbers):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    args = list(args)
    for n in numbers:
        args[n] = change(args[n])
    picked = tuple(args[n] for n in numbers)
    return args, (picked[0] if isinstance(argnums, int) else picked)


def split_aux(result, has_aux, name, what="output of function"):
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(f"{name}: {what} should be a tuple: (output, aux) if has_aux is True")
    return result


def check_tensors(output, name):
    for x in leaves_of(output):
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{name}: expected f(*primals) to return only tensors, got unsupported type {type(x)}")


# ---- transformations ----


def grad_and_value(func, argnums=0, has_aux=False):
    """A function that gives (gradient of func by its arguments argnums, func's value); func must give a scalar."""

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        leaves = []
        name = "grad_and_value(f)(*args)"
        with enable_grad():
            args, wanted = chosen(args, argnums, lambda x: fresh(x, leaves))
            value, aux = split_aux(func(*args, **kwargs), has_aux, name)
            if not isinstance(value, Tensor):
                raise RuntimeError(f"{name}: Expected f(*args) to return a Tensor, got {type(value)}")
            if value.dim() != 0:
                raise RuntimeError(f"{name}: Expected f(*args) to return a scalar Tensor, got tensor with {value.dim()} dims. "
                                   "Maybe you wanted to use the vjp or jacrev APIs instead?")  # fmt: skip
            flat, build = flatten(wanted)
            found = build(iter(gradients([value], flat, [_C.ones_like(value)])))
        found, value, aux = (released(x, leaves) for x in (found, value, aux))
        return (found, (value, aux)) if has_aux else (found, value)

    return wrapper


def grad(func, argnums=0, has_aux=False):
    """A function that gives the gradient of the scalar function func.

    >>> rl.func.grad(lambda x: x**3)(rl.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        result = both(*args, **kwargs)
        return (result[0], result[1][1]) if has_aux else result[0]

    return wrapper


def vjp(func, *primals, has_aux=False):
    """(func(*primals), function of a vector: its products with the Jacobian, a tuple with one for each primal)."""
    leaves = []
    with enable_grad():
        inputs = fresh(primals, leaves)
        output, aux = split_aux(func(*inputs), has_aux, "vjp(f, *primals)", "output of function f")
        check_tensors(output, "vjp(f, *primals)")
    flat_out = leaves_of(output)
    flat_in, build = flatten(inputs)

    def product(cotangents, retain_graph=True, create_graph=None):
        if not same_structure(cotangents, output):
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function. "
                f"cotangents: {describe(cotangents)}, primal output: {describe(output)}"
            )
        vectors = leaves_of(cotangents)
        for i, (o, v) in enumerate(zip(flat_out, vectors)):
            if o.shape != v.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{i}] has a shape of torch.Size({list(v.shape)}) and output[{i}] has a "
                    f"shape of torch.Size({list(o.shape)})."
                )
        with enable_grad():
            result = build(iter(gradients(flat_out, flat_in, vectors)))
        return released(result, leaves)

    value = released(output, leaves)
    return (value, product, released(aux, leaves)) if has_aux else (value, product)


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """(func(*primals), product of the Jacobian with the tangents), in one pass of forward mode.

    >>> rl.func.jvp(rl.sin, (rl.tensor(0.0),), (rl.tensor(2.0),))
    (tensor(0.), tensor(2.))
    """
    return dual_call(func, primals, tangents, has_aux, "jvp(f, primals, tangents)")


def dual_call(func, primals, tangents, has_aux=False, name="jvp(f, primals, tangents)"):
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{name}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    if not same_structure(primals, tangents):
        raise RuntimeError(
            f"{name}: Expected primals and tangents to have the same python structure. For example, if primals is a tuple "
            f"of 3 tensors, tangents also must be. Got primals with structure {describe(primals)} and tangents with "
            f"structure {describe(tangents)}"
        )
    for tree, what in ((primals, "primals"), (tangents, "tangents")):
        if not leaves_of(tree):
            raise RuntimeError(f"{name}: Expected {what} to contain at least one Tensor.")
        for x in leaves_of(tree):
            if not isinstance(x, Tensor):
                raise RuntimeError(f"{name}: Expected {what} to only contain Tensors, got {type(x)}")
    level = _C._enter_forward_level()
    try:
        output, aux = split_aux(func(*map_tree(lambda p, t: _dual(p, t, level), primals, tangents)), has_aux, name,
                                "output of function f")  # fmt: skip
        check_tensors(output, name)
        columns = map_tree(lambda o: _tangent(o, level), output)
        output, aux = _below(output, level), _below(aux, level)
    finally:
        _C._exit_forward_level(level)
    return (output, columns, aux) if has_aux else (output, columns)


def _dual(primal, tangent, level):
    _check_size(primal, tangent)
    dual = primal.view_as(primal)
    _C._set_tangent(dual, level, tangent.to(primal.dtype))
    return dual


def _tangent(output, level):
    tangent = _C._tangent(output, level)
    if tangent is not None:
        return tangent
    before = _C._set_forward_ceiling(level - 1)
    try:
        return _C.zeros_like(output)
    finally:
        _C._set_forward_ceiling(before)


def _below(tree, level):
    """The values without what they carry at this level."""
    before = _C._set_forward_ceiling(level - 1)
    try:
        return map_tree(lambda x: x.view_as(x) if isinstance(x, Tensor) else x, tree)
    finally:
        _C._set_forward_ceiling(before)


def linearize(func, *primals):
    """(func(*primals), function of tangents: the Jacobian times them).

    func runs once: the recorded graph of its derivative is kept and used for every product.
    """
    leaves = []
    with enable_grad():
        inputs = fresh(primals, leaves)
        output = func(*inputs)
        check_tensors(output, "linearize(f, *primals)")
        flat_out, build = flatten(output)
        flat_in = leaves_of(inputs)
        # u -> u J is linear in u: its derivative in the direction of a tangent is J times that
        seeds = [_C.zeros_like(o).requires_grad_() for o in flat_out]
        rows = gradients(flat_out, flat_in, seeds)

    def product(*tangents):
        if not same_structure(primals, tangents):
            raise RuntimeError(
                f"linearize: the tangents have the structure {describe(tangents)}, the primals {describe(primals)}"
            )
        for p, t in zip(flat_in, leaves_of(tangents)):
            if p.shape != t.shape or p.dtype != t.dtype:
                raise RuntimeError(
                    f"linearize: got a tangent of shape {list(t.shape)} and dtype {t.dtype} for a primal of shape "
                    f"{list(p.shape)} and dtype {p.dtype}"
                )
        with enable_grad():
            columns = build(iter(gradients(rows, seeds, leaves_of(tangents))))
        return released(columns, leaves + seeds)

    return released(output, leaves), product

"""autograd.Function in forward mode: its jvp() gives the tangents. A Function of the package itself may say
`forward_from_backward = True` instead; then they come from its backward(), differentiated once more."""

from .. import _C
from .forward_ad import _check_size
from .gradients import grad

Tensor = _C.Tensor


def _tensors(values):
    return [v for v in values if isinstance(v, Tensor)]


def apply_with_tangents(cls, args, kwargs):
    """Function.apply while a level of forward mode is active."""
    levels = [
        level for level in _C._forward_levels() if any(_C._tangent(x, level) is not None for x in _tensors(args))
    ]
    ctx = cls._backward_cls()
    if not levels:
        return cls._apply(ctx, args, kwargs)
    derived = getattr(cls, "forward_from_backward", False)
    recorded = not derived or (_C.is_grad_enabled() and any(x.requires_grad for x in _tensors(args)))
    given = tuple(_standing_in(x, levels) for x in args) if derived else args
    before = _C._set_forward_ceiling(-1)  # forward() computes values only
    try:
        if recorded:
            result = cls._apply(ctx, given, kwargs)
        else:
            with _C._enable_grad():
                result = cls._apply(ctx, given, kwargs)
    finally:
        _C._set_forward_ceiling(before)
    outputs = result if isinstance(result, tuple) else (result,)
    for level in levels:
        tangents = [_C._tangent(x, level) if isinstance(x, Tensor) else None for x in args]
        before = _C._set_forward_ceiling(level - 1)
        try:
            found = (_from_backward if derived else _from_jvp)(cls, ctx, args, tangents, outputs)
        finally:
            _C._set_forward_ceiling(before)
        for output, tangent in zip(outputs, found):
            if isinstance(output, Tensor) and isinstance(tangent, Tensor):
                _check_size(output, tangent)
                _C._set_tangent(output, level, tangent.to(output.dtype))
        _C._give_output_tangents(ctx, outputs)
    ctx.saved_for_forward = None  # from here on saved_tensors is what backward() reads
    if recorded:
        return result
    outputs = tuple(_bare(o) for o in outputs)
    return outputs if isinstance(result, tuple) else outputs[0]


def _standing_in(x, levels):
    """A leaf in place of an argument with a tangent, so that ctx keeps what backward() reads."""
    if not isinstance(x, Tensor) or x.requires_grad or all(_C._tangent(x, level) is None for level in levels):
        return x
    leaf = x.detach().requires_grad_()
    _C._copy_tangents(x, leaf)
    return leaf


def _bare(output):
    if not isinstance(output, Tensor):
        return output
    bare = output.detach()
    _C._copy_tangents(output, bare)
    return bare


def _from_jvp(cls, ctx, args, tangents, outputs):
    from .function import Function

    if cls.jvp is Function.jvp:
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )
    if ctx.materialize_grads:
        tangents = [_zeros(x) if t is None and isinstance(x, Tensor) else t for x, t in zip(args, tangents)]
    found = cls.jvp(ctx, *tangents)
    found = found if isinstance(found, tuple) else (found,)
    if len(found) != len(outputs):
        raise RuntimeError(
            f"Function's jvp returned an invalid number of forward gradients (expected {len(outputs)} but got "
            f"{len(found)})"
        )
    return found


def _zeros(x):
    return _C.zeros(x.shape, dtype=x.dtype) if x.is_floating_point() or x.is_complex() else None


def _from_backward(cls, ctx, args, tangents, outputs):
    create_graph = _C.is_grad_enabled()
    with _C._enable_grad():
        u = [_zeros(o).requires_grad_() if isinstance(o, Tensor) else None for o in outputs]
        rows = cls.backward(ctx, *u)
        rows = rows if isinstance(rows, tuple) else (rows,)
        live = [(r, t) for r, t in zip(rows, tangents) if r is not None and t is not None and r.requires_grad]
        if not live:
            return [None] * len(outputs)
        found = iter(grad([r for r, _ in live], [x for x in u if x is not None], [t for _, t in live],
                          create_graph=create_graph, allow_unused=True))  # fmt: skip
    return [None if x is None else next(found) for x in u]

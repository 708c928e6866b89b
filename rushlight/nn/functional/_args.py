"""Arguments that several families share: sizes given as a number or a tuple, reductions, deprecated flags."""

import warnings

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def ntuple(value, n, fill=None):
    """n numbers out of a number or a sequence; a sequence of one number counts for all dimensions."""
    if isinstance(value, int):
        return (value,) * n
    value = tuple(value)
    return value * n if len(value) == 1 else value


def reduction_code(reduction):
    """The core's number for a reduction's name."""
    code = _REDUCTIONS.get(reduction)
    if code is not None:
        return code
    if reduction == "elementwise_mean":
        warnings.warn(
            "reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.", stacklevel=3
        )
        return 1
    raise ValueError(f"{reduction} is not a valid value for reduction")


def legacy_reduction(size_average, reduce):
    """The reduction that the deprecated pair of flags stands for."""
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    reduction = "none" if not reduce else "mean" if size_average else "sum"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
        stacklevel=3,
    )
    return reduction


def resolve_reduction(size_average, reduce, reduction):
    """The reduction's name once the deprecated flags have had their say."""
    if size_average is None and reduce is None:
        return reduction
    return legacy_reduction(size_average, reduce)


def reduce_loss(loss, reduction):
    """Apply a reduction, given by name, to the loss of each element."""
    code = reduction_code(reduction)
    return loss.mean() if code == 1 else loss.sum() if code == 2 else loss

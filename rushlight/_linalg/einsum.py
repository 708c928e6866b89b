"""Einstein summation: parsing of the equation, then products of two operands at a time, from left to right, each as one
batched matrix product."""

import math

from .. import _C
from .._C import Tensor
from .._composite import sampled

_ELLIPSIS = "..."


def _letter(number):
    """The subscript that a number of the sublist format stands for."""
    if not 0 <= number < 52:
        raise ValueError(
            f"einsum(): subscript {number} is not within the valid range [0, 52)"
        )
    return chr(ord("A") + number) if number < 26 else chr(ord("a") + number - 26)


def _from_sublists(arguments):
    """einsum(x, [0, 1], y, [1, 2], [0, 2]) as equation and operands."""

    def text(sublist):
        return "".join(_ELLIPSIS if s is Ellipsis else _letter(s) for s in sublist)

    inputs = ",".join(text(sublist) for sublist in arguments[1::2])
    if len(arguments) % 2:
        return inputs + "->" + text(arguments[-1]), arguments[:-1:2]
    return inputs, arguments[::2]


def _scan(text, start, where):
    """Subscripts of one operand; start is its place in the equation."""
    labels, i = [], 0
    while i < len(text):
        ch = text[i]
        if ch == ".":
            if _ELLIPSIS in labels:
                raise RuntimeError(f"einsum(): found '.' {where} for which an ellipsis was already found")
            if text[i : i + 3] != _ELLIPSIS:
                raise RuntimeError(f"einsum(): found '.' {where} that is not part of any ellipsis")
            labels.append(_ELLIPSIS)
            i += 3
            continue
        if ch != " ":
            if not (ch.isascii() and ch.isalpha()):
                raise RuntimeError(
                    f"einsum(): invalid subscript given at index {start + i} in the equation string, subscripts must be "
                    "in [a-zA-Z]"
                )
            labels.append(ch)
        i += 1
    return labels


def _parse(equation, operands):
    """Labels of each operand and of the output. The dimensions of an ellipsis are labelled -1, -2, ... from the right."""
    arrow = equation.find("->")
    left = equation if arrow < 0 else equation[:arrow]
    texts = left.split(",")
    inputs, start = [], 0
    for i, text in enumerate(texts):
        inputs.append(_scan(text, start, f"for operand {i}"))
        start += len(text) + 1
    if len(texts) < len(operands):
        raise RuntimeError("einsum(): more operands were provided than specified in the equation")
    if len(texts) > len(operands):
        raise RuntimeError("einsum(): fewer operands were provided than specified in the equation")
    hidden = 0  # dimensions that the widest ellipsis stands for
    for i, (labels, x) in enumerate(zip(inputs, operands)):
        named = len(labels) - (_ELLIPSIS in labels)
        given = "and no ellipsis was given" if _ELLIPSIS not in labels else "and an ellipsis was given"
        if named > x.dim() or (named < x.dim() and _ELLIPSIS not in labels):
            relation = "is more than" if _ELLIPSIS in labels else "does not match"
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) {relation} the number of dimensions "
                f"({x.dim()}) for operand {i} {given}"
            )
        hidden = max(hidden, x.dim() - named)
    for labels, x in zip(inputs, operands):
        if _ELLIPSIS in labels:
            at, n = labels.index(_ELLIPSIS), x.dim() - len(labels) + 1
            labels[at : at + 1] = range(-n, 0)
    everything = [label for labels in inputs for label in labels]
    if arrow < 0:
        output = list(range(-hidden, 0)) + sorted(
            {x for x in everything if isinstance(x, str) and everything.count(x) == 1}
        )
        return inputs, output
    output = _scan(equation[arrow + 2 :], arrow + 2, "for the output")
    if _ELLIPSIS in output:
        at = output.index(_ELLIPSIS)
        output[at : at + 1] = range(-hidden, 0)
    for label in output:
        if output.count(label) > 1:
            raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
        if label not in everything:
            raise RuntimeError(
                f"einsum(): output subscript {label} does not appear in the equation for any input operand"
            )
    return inputs, output


def _without_repeats(x, labels, operand):
    """A label that occurs twice in one operand stands for the diagonal."""
    i = 0
    while i < len(labels):
        if labels[i] in labels[:i]:
            first = labels.index(labels[i])
            if x.size(first) != x.size(i):
                raise RuntimeError(
                    f"einsum(): subscript {labels[i]} is repeated for operand {operand} but the sizes don't match, "
                    f"{x.size(i)} != {x.size(first)}"
                )
            x = x.diagonal(0, first, i).movedim(-1, first)
            labels = labels[:i] + labels[i + 1 :]
        else:
            i += 1
    return x, labels


def _sum_out(x, labels, kept):
    """Sum over the labels that nothing else needs."""
    dims = [d for d, label in enumerate(labels) if label not in kept]
    if not dims:
        return x, labels
    return x.sum(dims), [label for label in labels if label in kept]


def _pair(x, a, y, b, kept):
    """Product of two operands with labels a and b; labels outside `kept` are summed over."""
    # size one broadcasts: the label then belongs to the other operand alone
    drop_x = [d for d, label in enumerate(a) if label in b and x.size(d) == 1 != y.size(b.index(label))]
    drop_y = [d for d, label in enumerate(b) if label in a and y.size(d) == 1 != x.size(a.index(label))]
    if drop_x:
        x, a = x.squeeze(drop_x), [label for d, label in enumerate(a) if d not in drop_x]
    if drop_y:
        y, b = y.squeeze(drop_y), [label for d, label in enumerate(b) if d not in drop_y]
    x, a = _sum_out(x, a, {*kept, *b})
    y, b = _sum_out(y, b, {*kept, *a})
    batch = [label for label in a if label in b and label in kept]
    summed = [label for label in a if label in b and label not in kept]
    left = [label for label in a if label not in b]
    right = [label for label in b if label not in a]
    size = {label: n for labels, t in ((a, x), (b, y)) for label, n in zip(labels, t.shape)}

    def count(labels):
        return math.prod(size[label] for label in labels)

    def arranged(t, labels, order, shape):
        return t.permute([labels.index(label) for label in order]).reshape(shape)

    n, rows, inner, columns = (count(labels) for labels in (batch, left, summed, right))
    x = arranged(x, a, batch + left + summed, (n, rows, inner))
    y = arranged(y, b, batch + summed + right, (n, inner, columns))
    labels = batch + left + right
    return _C.bmm(x, y).view([size[label] for label in labels]), labels


@sampled("'ij,jk->ik', x(2,3), y(3,4)", "'bij,bkj->bik', x(2,3,4), y(2,2,4)", ref=None)
def einsum(equation, *operands):
    """Sum of products in Einstein's notation: letters name dimensions, those missing after -> are summed over.

    >>> rl.einsum("ij,kj->ik", rl.ones(2, 3), rl.ones(4, 3)).shape
    torch.Size([2, 4])
    """
    if isinstance(equation, Tensor):
        equation, operands = _from_sublists((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = operands[0]
    if not operands:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its "
            "subscripts list"
        )
    inputs, output = _parse(equation, operands)
    sizes = {}
    prepared = []
    for i, (x, labels) in enumerate(zip(operands, inputs)):
        x, labels = _without_repeats(x, labels, i)
        for label, n in zip(labels, x.shape):
            seen = sizes.setdefault(label, n)
            if seen == 1:
                sizes[label] = n
            elif n not in (1, seen):
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {n} for operand {i} which does not broadcast with previously "
                    f"seen size {seen}"
                )
        prepared.append((x, labels))
    result, labels = prepared[0]
    for i, (x, more) in enumerate(prepared[1:], 2):
        needed = {*output, *(label for _, later in prepared[i:] for label in later)}
        result, labels = _pair(result, labels, x, more, needed)
    result, labels = _sum_out(result, labels, set(output))
    order = [labels.index(label) for label in output]
    return result if order == sorted(order) else result.permute(order)

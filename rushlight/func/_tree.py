"""Nested tuples, lists and dictionaries of values."""


def flatten(tree):
    """Leaves of nested tuples, lists and dictionaries, and a function that builds the same nest of other leaves."""
    if isinstance(tree, dict):
        keys, parts = list(tree), [flatten(v) for v in tree.values()]
        return [x for leaves, _ in parts for x in leaves], lambda it: type(tree)(
            (k, p[1](it)) for k, p in zip(keys, parts)
        )
    if isinstance(tree, (tuple, list)):
        parts = [flatten(v) for v in tree]

        def build(it):
            values = [p[1](it) for p in parts]
            named = hasattr(tree, "_fields") and type(tree).__module__ != "rushlight.return_types"
            return type(tree)(*values) if named else type(tree)(values)

        return [x for leaves, _ in parts for x in leaves], build
    return [tree], lambda it: next(it)


def leaves_of(tree):
    return flatten(tree)[0]


def map_tree(function, *trees):
    flat, build = flatten(trees[0])
    others = [flatten(tree)[0] for tree in trees[1:]]
    return build(iter([function(*leaves) for leaves in zip(flat, *others)]))


def same_structure(a, b):
    return describe(a) == describe(b)


def describe(tree, indent=0):
    """The structure as text, the way PyTorch's errors show it."""
    if isinstance(tree, dict):
        kind, context, parts = "dict", str(list(tree)), list(tree.values())
    elif isinstance(tree, (tuple, list)):
        kind, context, parts = type(tree).__name__, "None", list(tree)
    else:
        return "*"
    inner = f",\n{' ' * (indent + 2)}".join(describe(p, indent + 2) for p in parts)
    return f"TreeSpec({kind}, {context}, [{inner}])"

"""Nests of containers, flattened and put together again. Types of programs' own take part once they are registered."""

from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["LeafSpec", "TreeSpec", "register_pytree_node", "tree_all", "tree_any", "tree_flatten", "tree_iter",
           "tree_leaves", "tree_map", "tree_map_", "tree_map_only", "tree_structure", "tree_unflatten"]  # fmt: skip

Context = Any
PyTree = Any


class NodeDef(NamedTuple):
    """How a type of containers comes apart."""

    type: type
    flatten_fn: Any  # container -> (list of children, context)
    unflatten_fn: Any  # (children, context) -> container
    flatten_with_keys_fn: Any = None


class MappingKey(NamedTuple):
    """A place in a dictionary."""

    key: Any

    def __str__(self):
        return f"[{self.key!r}]"


class SequenceKey(NamedTuple):
    """A place in a sequence."""

    idx: int

    def __str__(self):
        return f"[{self.idx!r}]"


SUPPORTED_NODES = {}


def register_pytree_node(cls, flatten_fn, unflatten_fn, *, serialized_type_name=None, to_dumpable_context=None,
                         from_dumpable_context=None, flatten_with_keys_fn=None):  # fmt: skip
    """Let a type of containers take part. (The arguments about serialisation are accepted, and not needed.)"""
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn, flatten_with_keys_fn)


_register_pytree_node = register_pytree_node


def _dict_flatten(d):
    return list(d.values()), list(d)


def _dict_unflatten(values, context):
    return dict(zip(context, values))


def _dict_flatten_with_keys(d):
    values, context = _dict_flatten(d)
    return [(MappingKey(k), v) for k, v in zip(context, values)], context


def _sequence_with_keys(s):
    return [(SequenceKey(i), v) for i, v in enumerate(s)], None


def _tuple_flatten(t):
    return list(t), None


register_pytree_node(
    tuple, _tuple_flatten, lambda v, _: tuple(v), flatten_with_keys_fn=_sequence_with_keys
)
register_pytree_node(list, _tuple_flatten, lambda v, _: list(v), flatten_with_keys_fn=_sequence_with_keys)
register_pytree_node(dict, _dict_flatten, _dict_unflatten, flatten_with_keys_fn=_dict_flatten_with_keys)
register_pytree_node(
    OrderedDict,
    _dict_flatten,
    lambda v, c: OrderedDict(zip(c, v)),
    flatten_with_keys_fn=_dict_flatten_with_keys,
)
register_pytree_node(
    defaultdict,
    lambda d: (list(d.values()), [d.default_factory, list(d)]),
    lambda v, c: defaultdict(c[0], zip(c[1], v)),
)
register_pytree_node(deque, lambda d: (list(d), d.maxlen), lambda v, c: deque(v, maxlen=c))
# all named tuples; the context is the type
register_pytree_node(namedtuple, lambda t: (list(t), type(t)), lambda v, c: c(*v))


def _node_type(tree):
    kind = type(tree)
    if isinstance(tree, tuple) and hasattr(kind, "_fields") and kind not in SUPPORTED_NODES:
        return namedtuple
    return kind


@dataclass
class TreeSpec:
    """The structure of a nest: a type, its context, the structures of the children."""

    type: Any
    context: Any
    children_specs: list = field(default_factory=list)

    def __post_init__(self):
        self.num_leaves = sum(c.num_leaves for c in self.children_specs) if self.type is not None else 1
        self.num_nodes = 1 + sum(c.num_nodes for c in self.children_specs)
        self.num_children = len(self.children_specs)

    def is_leaf(self):
        """Whether this stands for a leaf."""
        return self.type is None

    def unflatten(self, leaves):
        """The nest with these leaves."""
        return tree_unflatten(leaves, self)

    def __repr__(self):
        if self.type is None:
            return "*"
        return f"TreeSpec({self.type.__name__}, {self.context}, {self.children_specs})"


class LeafSpec(TreeSpec):
    """The structure of a leaf."""

    def __init__(self):
        super().__init__(None, None, [])


def tree_flatten(tree, is_leaf=None):
    """The leaves of a nest, and its structure.

    >>> leaves, spec = tree_flatten({"a": [1, 2], "b": 3})
    >>> leaves, tree_unflatten(leaves, spec)
    ([1, 2, 3], {'a': [1, 2], 'b': 3})
    """
    kind = _node_type(tree)
    if kind not in SUPPORTED_NODES or (is_leaf is not None and is_leaf(tree)):
        return [tree], LeafSpec()
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    leaves, specs = [], []
    for child in children:
        some, spec = tree_flatten(child, is_leaf)
        leaves += some
        specs.append(spec)
    return leaves, TreeSpec(kind, context, specs)


def tree_unflatten(leaves, treespec):
    """The nest of a structure with these leaves."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(f"tree_unflatten(leaves, treespec): Expected `treespec` to be instance of TreeSpec but got item of "
                        f"type {type(treespec)}.")  # fmt: skip
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec refers to a "
                         f"pytree that holds {treespec.num_leaves} items ({treespec}).")  # fmt: skip
    if treespec.is_leaf():
        return leaves[0]
    children, start = [], 0
    for spec in treespec.children_specs:
        children.append(tree_unflatten(leaves[start : start + spec.num_leaves], spec))
        start += spec.num_leaves
    return SUPPORTED_NODES[treespec.type].unflatten_fn(children, treespec.context)


def tree_iter(tree, is_leaf=None):
    """The leaves of a nest, one after the other."""
    yield from tree_flatten(tree, is_leaf)[0]


def tree_leaves(tree, is_leaf=None):
    """The leaves of a nest."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree, is_leaf=None):
    """The structure of a nest."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func, tree, *rests, is_leaf=None):
    """The nest of func(leaf, leaves at the same place in the rests)."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = []
    for rest in rests:
        more, same = tree_flatten(rest, is_leaf)
        if same != spec:
            raise ValueError(f"Node type mismatch; expected {spec}, but got {same}.")
        others.append(more)
    return tree_unflatten([func(*x) for x in zip(leaves, *others)], spec)


def tree_map_(func, tree, *rests, is_leaf=None):
    """func(leaf, ...) for its effect; gives the nest itself."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(type_or_types_or_pred, func, tree, is_leaf=None):
    """tree_map of the leaves of a type, or of which a predicate is true; the rest stays."""
    chosen = type_or_types_or_pred
    if isinstance(chosen, (type, tuple)):
        return tree_map(lambda x: func(x) if isinstance(x, chosen) else x, tree, is_leaf=is_leaf)
    return tree_map(lambda x: func(x) if chosen(x) else x, tree, is_leaf=is_leaf)


def tree_all(pred, tree, is_leaf=None):
    """Whether pred is true of all leaves."""
    return all(pred(x) for x in tree_leaves(tree, is_leaf))


def tree_any(pred, tree, is_leaf=None):
    """Whether pred is true of some leaf."""
    return any(pred(x) for x in tree_leaves(tree, is_leaf))

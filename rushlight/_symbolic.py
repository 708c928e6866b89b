"""SymInt, SymFloat and SymBool, the numbers of tracers, and the tags of operators.

Sizes are plain numbers here, so that nothing makes symbolic ones: the classes exist for isinstance, and for programs that
bring nodes of their own. A symbolic number hands every operation to its node, as in PyTorch.
"""

import enum

__all__ = ["SymBool", "SymFloat", "SymInt", "Tag"]


class _Symbolic:
    """A number that a node stands for. The node has int_(), float_() or bool_(), str(), and a method for each operation."""

    def __init__(self, node):
        if not hasattr(node, "str"):
            raise AttributeError(f"'{type(node).__name__}' object has no attribute 'str'")
        self.node = node

    def __repr__(self):
        return self.node.str()

    def __bool__(self):
        return self.node.bool_()

    __hash__ = None


def _operation(name):
    def call(self, other):
        node = getattr(self.node, name)(other.node if isinstance(other, _Symbolic) else self.node.wrap(other))
        return _RESULTS.get(name, type(self))(node)

    return call


class SymBool(_Symbolic):
    """A symbolic bool."""

    def __int__(self):
        return int(self.node.bool_())


class SymInt(_Symbolic):
    """A symbolic int."""

    def __int__(self):
        return self.node.int_()

    __index__ = __int__


class SymFloat(_Symbolic):
    """A symbolic float."""

    def __float__(self):
        return self.node.float_()


_RESULTS = dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), SymBool)
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "add", "sub", "mul", "floordiv", "mod"):
    for _class in (SymInt, SymFloat):
        setattr(_class, f"__{_name}__", _operation(_name))
for _name in ("and", "or"):
    setattr(SymBool, f"__{_name}__", _operation(_name + "_"))

Tag = enum.Enum(
    "Tag",
    {
        name: value
        for value, name in enumerate(
            "core cudagraph_unsafe data_dependent_output dynamic_output_shape flexible_layout generated inplace inplace_view "
            "maybe_aliasing_or_mutating needs_contiguous_strides needs_exact_strides needs_fixed_stride_order "
            "nondeterministic_bitwise nondeterministic_seeded out out_variant pointwise pt2_compliant_tag reduction "
            "view_copy".split()
        )
    },
    module=__name__,
)
Tag.__doc__ = "What PyTorch tells about an operator; the operators here carry none of them."

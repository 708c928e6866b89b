"""The context in which vmapped functions may index with batched numbers: here they always may."""

from contextlib import nullcontext


class TransformGetItemToIndex(nullcontext):
    """Changes nothing: under vmap, x[i] takes a tensor i of one number per batch element."""

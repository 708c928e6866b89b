"""Base classes of datapipes: datasets that are chained, pipe.map(f).batch(8), and the registry of what they are chained by."""

import functools

from ..dataset import Dataset, IterableDataset

__all__ = ["DFIterDataPipe", "DataChunk", "IterDataPipe", "MapDataPipe"]


class _Chained:
    """What both kinds of pipes share: functional forms as attributes, a short repr, and pickling of what a pipe holds."""

    functions = {}  # name -> the class that the functional form makes; one table per kind

    def __getattr__(self, name):
        if name in self.functions:
            return functools.partial(self.functions[name], self)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}")  # PyTorch's text, without the quote

    @classmethod
    def register_function(cls, name, function):
        """Let pipes of this kind have an attribute of that name, which calls function(pipe, ...)."""
        cls.functions[name] = function

    @classmethod
    def register_datapipe_as_function(cls, name, cls_to_register, enable_df_api_tracing=False):
        """Let pipe.name(...) make a pipe of that class."""
        if name in cls.functions:
            raise Exception(f"Unable to add DataPipe function name {name} as it is already taken")
        cls.functions[name] = cls_to_register

    def __repr__(self):
        return type(self).__qualname__

    def __dir__(self):
        return [*super().__dir__(), *self.functions]


def _is_dunder(name):
    return name.startswith("__") and name.endswith("__")


class IterDataPipe(_Chained, IterableDataset):
    """Base of pipes that are iterated over. A subclass has __iter__ and takes its source pipe first.

    A second iterator that starts on a pipe invalidates the first.

    >>> from rushlight.utils.data.datapipes.iter import IterableWrapper
    >>> list(IterableWrapper(range(6)).map(lambda x: 2 * x).batch(4))
    [[0, 2, 4, 6], [8, 10]]
    """

    functions = {}
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "__iter__" in cls.__dict__:
            cls.__iter__ = _only_one_iterator(cls.__iter__)

    def __getattr__(self, name):
        if _is_dunder(name):
            raise AttributeError(name)
        return super().__getattr__(name)

    def __iter__(self):
        raise TypeError(f"'{type(self).__name__}' object is not an iterator")

    def reset(self):
        """Called before each pass, for pipes that keep something between elements."""


def _only_one_iterator(make):
    """__iter__ of a class, whose iterators stop with an error when a later one of the same pipe has started."""

    @functools.wraps(make)
    def __iter__(self):
        # counted by class: __iter__ of a subclass may go on to that of its base
        started = self.__dict__.setdefault("_iterators_started", {})
        number = started[make.__qualname__] = started.get(make.__qualname__, 0) + 1
        self.reset()
        iterator = iter(make(self))
        while True:
            if started[make.__qualname__] != number:
                raise RuntimeError(
                    "This iterator has been invalidated because another iterator has been created from the same "
                    f"IterDataPipe: {self!r}\nThis may be caused by multiple references to the same IterDataPipe. We "
                    "recommend using `.fork()` if that is necessary."
                )
            try:
                element = next(iterator)
            except StopIteration:
                return
            yield element

    return __iter__


def set_shuffle(pipe, shuffle):
    """Turn the shuffling pipes among a pipe's sources on or off: what shuffle= of a DataLoader means for pipes."""
    seen, waiting = set(), [pipe]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, (list, tuple)):
            waiting += item
        elif isinstance(item, _Chained):
            waiting += vars(item).values()
            if "set_shuffle" in dir(type(item)):
                item.set_shuffle(shuffle)


class MapDataPipe(_Chained, Dataset):
    """Base of pipes that are indexed. A subclass has __getitem__ and __len__ and takes its source pipe first."""

    functions = {}

    def __getattr__(self, name):
        if _is_dunder(name):
            raise AttributeError(name)
        return super().__getattr__(name)


class DFIterDataPipe(IterDataPipe):
    """Base of pipes of data frames."""

    def _is_dfpipe(self):
        return True


class DataChunk(list):
    """A batch: a list that knows its elements apart from those of batches of batches."""

    def __init__(self, items):
        items = list(items)
        super().__init__(items)
        self.items = items

    def as_str(self, indent=""):
        """The elements as text, behind indent."""
        return indent + "[" + ", ".join(map(str, iter(self))) + "]"

    def raw_iterator(self):
        """The elements as they were given."""
        yield from self.items

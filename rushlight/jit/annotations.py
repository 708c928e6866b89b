"""Names of types that code for TorchScript imports from here."""

from typing import Dict as Dict  # noqa: UP035
from typing import List as List  # noqa: UP035
from typing import Optional as Optional
from typing import Tuple as Tuple  # noqa: UP035


class _Broadcasting(type):
    def __getitem__(cls, types):
        return cls


class BroadcastingList1(metaclass=_Broadcasting):
    """In annotations: one value or a list of one."""


class BroadcastingList2(metaclass=_Broadcasting):
    """In annotations: one value or a list of two."""


class BroadcastingList3(metaclass=_Broadcasting):
    """In annotations: one value or a list of three."""

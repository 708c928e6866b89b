"""Errors of a compiler that does not exist here, for `except` clauses."""


class TorchDynamoException(RuntimeError):
    """Base of the others."""


class Unsupported(TorchDynamoException):
    """Never raised."""


class UserError(Unsupported):
    """Never raised."""

"""Errors of the layers: each is a `CharlmError` and of the type that torch's layers raise."""

from charlm.errors import CharlmError


class LayerValueError(CharlmError, ValueError):
    """An argument is out of range or not supported."""


class LayerTypeError(CharlmError, TypeError):
    """An argument has the wrong type."""


class LayerRuntimeError(CharlmError, RuntimeError):
    """An input or a state does not fit the layer, or the operation is not supported."""


class LayerIndexError(CharlmError, IndexError):
    """An index is beyond the table."""

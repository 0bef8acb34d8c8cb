"""Loops within a larger CUDA graph, such as that of a training step."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_enclosed = ContextVar("enclosed", default=False)


@contextmanager
def enclosed_in_graph() -> Iterator[None]:
    """Launch the kernels of the layers one by one in a `with` block, without graphs of their own.

    The capture of a larger graph needs this: a graph cannot be replayed during a capture, and the
    memory must belong to the larger graph.
    """
    token = _enclosed.set(True)
    try:
        yield
    finally:
        _enclosed.reset(token)


def is_enclosed() -> bool:
    """Return whether the caller is within `enclosed_in_graph`."""
    return _enclosed.get()

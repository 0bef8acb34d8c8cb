"""A pool of memory that passes over sequences reuse."""

import itertools
import math
import weakref
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAX_AGE = 64
"""A block is freed after being unused for this number of allocations, those of a few passes."""

ALIGNMENT = 64  # bytes of a cache line


class FreeBlock(NamedTuple):
    """A block of memory that no tensor uses any more."""

    since: int  # number of the allocation before which it became free
    memory: npt.NDArray[np.uint8]


free_blocks: list[FreeBlock] = []
"""The blocks to be reused, the one that became free first at the front."""

_allocations = itertools.count()
_lock = Lock()


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Allocate an uninitialized tensor, in memory that an earlier one used if the size is the same.

    The gates of a sequence take tens of megabytes. The system needs longer to provide that memory,
    page by page, than the kernels need for the gates themselves, so blocks are kept for the next
    pass. NumPy requests huge pages for large blocks.

    A large tensor starts at a cache line.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < 2**16:
        return torch.empty(shape, dtype=dtype)
    block = _take(size + ALIGNMENT)
    start = -block.ctypes.data % ALIGNMENT
    memory = block[start : start + size]
    weakref.finalize(memory, _give_back, block).atexit = False
    return torch.from_numpy(memory).view(dtype).view(shape)


def _take(size: int) -> npt.NDArray[np.uint8]:
    """Take a free block of exactly this size, or allocate one; free those that are too old."""
    with _lock:  # layers may run in several threads
        now = next(_allocations)
        while free_blocks and now - free_blocks[0].since > MAX_AGE:
            del free_blocks[0]
        for place, (_, memory) in enumerate(free_blocks):
            if len(memory) == size:
                del free_blocks[place]
                return memory
    return np.empty(size, np.uint8)


def _give_back(memory: npt.NDArray[np.uint8]) -> None:
    # Without the lock: the garbage collector may call this at any time, even while `_take` holds
    # it. Appending to a list is atomic.
    free_blocks.append(FreeBlock(next(_allocations), memory))

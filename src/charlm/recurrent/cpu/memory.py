"""Memory for passes, kept for the next one."""

import itertools
import math
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Memory that no tensor needs any more, for the next pass, and when it came back, counted in
# allocations; the longest unused comes first.
_spare: list[tuple[int, np.ndarray[Any, np.dtype[np.uint8]]]] = []
_allocations = itertools.count()
_KEPT = 64
"""Allocations, those of a few passes, after which a block that none of them took is given back."""


def empty(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
    """Allocate memory that starts at a cache line, from what earlier passes left if it fits.

    A sequence's gates are tens of megabytes. To get them from the system anew at each pass, page by
    page, would take longer than the point-wise part; so blocks are kept, and the large ones
    are in huge pages, which NumPy asks for.
    """
    size = math.prod(shape) * kind.itemsize
    if size < 2**16:
        return torch.empty(shape, dtype=kind)
    now = next(_allocations)
    while _spare and now - _spare[0][0] > _KEPT:
        del _spare[0]
    for place, (_, block) in enumerate(_spare):
        if len(block) == size + 64:
            del _spare[place]
            break
    else:
        block = np.empty(size + 64, np.uint8)
    start = -block.ctypes.data % 64
    memory = block[start : start + size]
    weakref.finalize(memory, _give_back, block).atexit = False
    return torch.from_numpy(memory).view(kind).view(shape)


def _give_back(block: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    _spare.append((next(_allocations), block))

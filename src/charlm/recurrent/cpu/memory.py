"""A pool of memory, which each pass reuses."""

import itertools
import math
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Blocks that no tensor uses any more, each with the number of the allocation after which it came
# back; the longest unused comes first.
_spare: list[tuple[int, np.ndarray[Any, np.dtype[np.uint8]]]] = []
_allocations = itertools.count()
_KEPT = 64
"""An unused block is freed after so many allocations, those of a few passes."""


def empty(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
    """Allocate memory that starts at a cache line, from what earlier passes left if it fits.

    A sequence's gates are tens of megabytes. The system would take longer to provide them at each
    pass, page by page, than the point-wise part takes; so blocks are kept. Large ones are in huge
    pages, which NumPy asks for.
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

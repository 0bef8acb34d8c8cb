"""Loops that are replayed as CUDA graphs, and kept for sequences of the same shapes."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from charlm.recurrent.gpu.loop import Loop, device_of


class _Replayed(Loop):
    """Loops whose launches are replayed as CUDA graphs, from and to the same memory each time."""

    def __init__(self, *arguments: Any) -> None:
        self._graphs: dict[str, torch.cuda.CUDAGraph] = {}
        super().__init__(*arguments)

    def _take(self, **given: Tensor) -> None:
        for name, tensor in given.items():
            if hasattr(self, name):
                getattr(self, name).copy_(tensor)
            else:
                setattr(self, name, tensor.clone(memory_format=torch.contiguous_format))

    def take(self, projected: Tensor, weight: Tensor, bias: Tensor) -> None:
        """Take other numbers of the same shapes."""
        self._take(projected=projected, weight=weight, bias=bias)

    def _go(self, loop: Callable[[], None]) -> None:
        name = loop.__name__
        if name in self._graphs:
            self._graphs[name].replay()
            return
        super()._go(loop)  # compiles the kernels as well, which a capture may not
        if self.weight.is_cuda:
            self._graphs[name] = captured(loop, self.weight)


def captured(work: Callable[[], object], somewhere: Tensor) -> torch.cuda.CUDAGraph:
    """Capture what is launched where a tensor is."""
    graph = torch.cuda.CUDAGraph()
    with device_of(somewhere), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph


# Loops that no backward pass needs any more, by the kind of their sequence; the kinds longest
# unused come first.
_idle: dict[Any, list[_Replayed]] = {}


class _Lease:
    """As long as it lives, its loop is in use."""


def take_loop(*arguments: Any) -> tuple[Loop, _Lease | None]:
    """Make a loop, or take an idle one, which is in use as long as the lease lives."""
    cell, shares, projected, weight, bias, _ = arguments
    if shares.resident:
        return Loop(*arguments), None
    stream = torch.cuda.current_stream(projected.device) if projected.is_cuda else None
    for_inference = torch.is_inference_mode_enabled()  # what is made in it is written in it alone
    kind = cell, shares, projected.shape, weight.shape, weight.dtype, stream, for_inference
    if _idle.get(kind):
        loop = _idle[kind].pop()
        loop.take(projected, weight, bias)
    else:
        loop = _Replayed(*arguments)
    lease = _Lease()
    weakref.finalize(lease, _give_back, kind, loop).atexit = False
    return loop, lease


def _give_back(kind: Any, loop: _Replayed) -> None:
    _idle[kind] = [*_idle.pop(kind, []), loop]
    while len(_idle) > 8:
        del _idle[next(iter(_idle))]

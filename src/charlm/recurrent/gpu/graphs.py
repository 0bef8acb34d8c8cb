"""Loops that are replayed as CUDA graphs, and kept for sequences of the same shapes."""

import weakref
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from charlm.recurrent.engines.base import Cell
from charlm.recurrent.gpu.enclosing import is_enclosed
from charlm.recurrent.gpu.loop import Loop, LoopInputs, device_of
from charlm.recurrent.gpu.plan import Plan

MAX_KINDS = 8
"""The number of kinds of sequences for which idle loops are kept."""


class _Replayed(Loop):
    """Loops whose launches are replayed as CUDA graphs, from and to the same memory each time."""

    def __init__(self, cell: Cell, plan: Plan, inputs: LoopInputs) -> None:
        self._graphs: dict[str, torch.cuda.CUDAGraph] = {}
        super().__init__(cell, plan, inputs)

    def _store(self, **given: Tensor) -> None:
        for name, tensor in given.items():
            if hasattr(self, name):
                getattr(self, name).copy_(tensor)
            else:
                setattr(self, name, tensor.clone(memory_format=torch.contiguous_format))

    def replace_inputs(self, inputs: LoopInputs) -> None:
        """Copy other inputs of the same shapes into the loop's memory."""
        self._store(**inputs._asdict())

    def _run(self, loop: Callable[[], None]) -> None:
        name = loop.__name__
        if name in self._graphs:
            self._graphs[name].replay()
            return
        super()._run(loop)  # compiles the kernels as well, which is not allowed in a capture
        if self.weight.is_cuda:
            self._graphs[name] = capture(loop, self.weight)


def capture(work: Callable[[], object], tensor: Tensor) -> torch.cuda.CUDAGraph:
    """Capture what is launched on a tensor's GPU."""
    graph = torch.cuda.CUDAGraph()
    with device_of(tensor), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph


class _Kind(NamedTuple):
    """What must be the same for a loop to be used again."""

    cell: Cell
    plan: Plan
    projected: torch.Size
    weight: torch.Size
    dtype: torch.dtype
    stream: torch.cuda.Stream | None
    inference_mode: bool  # tensors made in inference mode cannot be written to outside of it


# Loops that no backward pass needs any more; the kinds that were unused for the longest time come
# first.
_idle: dict[_Kind, list[_Replayed]] = {}


class Lease:
    """The right to use a loop, until the lease is deleted."""


def take_loop(cell: Cell, plan: Plan, inputs: LoopInputs) -> tuple[Loop, Lease | None]:
    """Return an idle or a new loop, and the lease that keeps others from using it.

    Loops with resident weights, and those in a larger graph, are not kept, and have no lease.
    """
    if plan.resident or is_enclosed():
        return Loop(cell, plan, inputs), None
    projected, weight, _ = inputs
    kind = _Kind(
        cell=cell,
        plan=plan,
        projected=projected.shape,
        weight=weight.shape,
        dtype=weight.dtype,
        stream=torch.cuda.current_stream(projected.device) if projected.is_cuda else None,
        inference_mode=torch.is_inference_mode_enabled(),
    )
    if _idle.get(kind):
        loop = _idle[kind].pop()
        loop.replace_inputs(inputs)
    else:
        loop = _Replayed(cell, plan, inputs)
    lease = Lease()
    weakref.finalize(lease, _give_back, kind, loop).atexit = False
    return loop, lease


def _give_back(kind: _Kind, loop: _Replayed) -> None:
    _idle[kind] = [*_idle.pop(kind, []), loop]
    while len(_idle) > MAX_KINDS:
        del _idle[next(iter(_idle))]

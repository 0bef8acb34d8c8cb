"""Engine `fused` on a GPU, in Triton: hand-written forward and backward, one autograd node a layer.

The gradients are those of `charlm.recurrent.equations`; the order of the work is the CPU engine's
(`charlm.recurrent.cpu.engine`). Input products, weight gradients and all else that is parallel in
time are single products of torch's. The loops over the steps are `charlm.recurrent.gpu.kernels`:

- Where the recurrent weights fit into the processors' shared memory, one launch runs all steps and
  the weights stay there (`Plan.resident`). Groups of programs, each with some of the examples, wait
  for each other between steps, so that all must be running at once: there are no more of them than
  the GPU has processors, and the launch is a cooperative one, which fails where they do not fit.
- Where they do not fit, and in float32, a launch runs one step, and all launches are replayed as
  one CUDA graph, captured once a shape with memory of its own (`charlm.recurrent.gpu.graphs`).
- The layers of a stack work at the same time, each on a stretch of steps that the layer below it
  has finished (`overlapped`).

Each number is written by one program and added up in one order, with no floating-point atomics and
no tuning at run time, so that the same inputs give the same bits.

Shapes are those of `charlm.recurrent.equations`; `charlm.recurrent.gpu.kernels` explains slots.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from charlm.recurrent.eager import eager_backward, linked_to, once_differentiable
from charlm.recurrent.engines.base import Parameters, State
from charlm.recurrent.engines.torch import Torch
from charlm.recurrent.gpu.graphs import take_loop
from charlm.recurrent.gpu.overlap import overlapped
from charlm.recurrent.gpu.plan import MEASURED, Plan, plan_on


class FusedGPU:
    """The fused engine on a GPU, see `charlm.recurrent.engines.base.Engine`.

    `at_once` tells how many layers run on the GPU at the same time, see `overlapped`.
    """

    @staticmethod
    def lstm(
        inputs: Tensor,
        indices: Tensor | None,
        state: State,
        parameters: Parameters,
        precision: str,
        at_once: int = 1,
    ) -> tuple[Tensor, State]:
        """Run an LSTM layer."""
        if _torch_runs("lstm", inputs, state):
            return Torch.lstm(inputs, indices, state, parameters, precision)
        return _run("lstm", inputs, indices, state, parameters, precision, at_once)

    @staticmethod
    def gru(
        inputs: Tensor,
        indices: Tensor | None,
        state: State,
        parameters: Parameters,
        precision: str,
        at_once: int = 1,
    ) -> tuple[Tensor, State]:
        """Run a GRU layer."""
        if _torch_runs("gru", inputs, state):
            return Torch.gru(inputs, indices, state, parameters, precision)
        return _run("gru", inputs, indices, state, parameters, precision, at_once)

    @staticmethod
    def stack(*arguments: Any) -> tuple[Tensor, list[State]]:
        """Run a stack of layers, see `overlapped`."""
        return overlapped(*arguments)


def _torch_runs(cell: str, inputs: Tensor, state: State) -> bool:
    """Whether torch's layer runs: in another type than float32, or where it is the faster one."""
    batch, size = state[0].shape
    return inputs.dtype != torch.float32 or MEASURED.get((cell, size, batch)) == "torch"


def _run(
    cell: str,
    inputs: Tensor,
    indices: Tensor | None,
    state: State,
    parameters: Parameters,
    precision: str,
    at_once: int,
) -> tuple[Tensor, State]:
    weight_ih, weight_hh, bias_ih, bias_hh = parameters
    kind = operand_type(precision, inputs.device)
    projected = functional.linear(inputs.to(kind), weight_ih.to(kind))  # W x, all steps at once
    if indices is not None:
        projected = functional.embedding(indices, projected)
    batch, size = state[0].shape
    shares = plan_on(cell, size, batch, kind, inputs.device, at_once)
    tensors = projected, weight_hh.to(kind), bias_ih, bias_hh, *state
    outputs, *final = _Layer.apply(cell, linked_to(*tensors), shares, *tensors)  # type: ignore[no-untyped-call]
    return outputs, tuple(final)


@cache
def operand_type(precision: str, device: torch.device) -> torch.dtype:
    """The type of the products' operands: bfloat16 where the tensor cores take it."""
    fast = device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if precision == "bfloat16" and fast else torch.float32


def bias_by_slots(cell: str, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
    """Add the biases that are only ever added, and order them by slots: (4·H,)."""
    if cell == "lstm":
        return bias_ih + bias_hh
    (r, z, n), (u_r, u_z, m) = bias_ih.chunk(3), bias_hh.chunk(3)
    return torch.cat([r + u_r, z + u_z, m, n])


class _Layer(torch.autograd.Function):
    """What is left of a layer when the products W x are there."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        links: tuple[Tensor, ...],
        shares: Plan,
        projected: Tensor,
        weight: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        bias = bias_by_slots(cell, bias_ih, bias_hh)
        ctx.inputs = links
        ctx.loop, ctx.lease = take_loop(cell, shares, projected, weight, bias, state)
        ctx.loop.forward(state)
        outputs = ctx.loop.histories[0][1:]
        if ctx.lease is None:
            del ctx.loop.projected  # the backward pass does without
        if ctx.lease is not None or any(ctx.needs_input_grad):
            # The backward pass or the next sequence uses the memory; the caller may write there.
            outputs = outputs.clone()
        return outputs, *(history[-1].clone() for history in ctx.loop.histories)

    @staticmethod
    @eager_backward
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_state: Tensor) -> tuple[Any, ...]:
        ctx.loop.backward(d_outputs, d_state)
        return None, None, None, *ctx.loop.gradients()

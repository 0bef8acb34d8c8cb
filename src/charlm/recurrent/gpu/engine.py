"""Engine `fused` on a GPU, in Triton: hand-written forward and backward, one autograd node a layer.

The gradients are those of `charlm.recurrent.equations`, computed in the order of the CPU engine
(`charlm.recurrent.cpu.engine`). Input products, weight gradients and everything else that is
parallel in time are single products of torch's. The loops over the steps are Triton kernels
(`charlm.recurrent.gpu.kernels`):

- If the recurrent weights fit into the processors' shared memory, one launch runs all steps and the
  weights stay there (`Plan.resident`). Groups of programs, each with some of the examples, wait for
  each other between steps, so all of them must run at once: there are no more of them than the GPU
  has processors, and the launch is cooperative, which fails if they do not fit.
- Otherwise, and in float32, a launch runs one step, and all launches are replayed as one CUDA
  graph, captured once per shape with memory of its own (`charlm.recurrent.gpu.graphs`).

Each number is written by one program and summed in one order, without floating-point atomics and
without tuning at run time, so the same inputs give the same bits.

Shapes are those of `charlm.recurrent.equations`; `charlm.recurrent.gpu.kernels` explains slots.
"""

from functools import cache

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from charlm.recurrent.eager import Gradients, eager_backward, linked_to, once_differentiable
from charlm.recurrent.engines.base import Cell, Parameters, Precision, State
from charlm.recurrent.engines.torch import run_torch
from charlm.recurrent.gpu.graphs import Lease, take_loop
from charlm.recurrent.gpu.loop import Loop, LoopInputs
from charlm.recurrent.gpu.plan import Plan, plan_for_device


def run_fused_gpu(
    cell: Cell,
    inputs: Tensor,
    *,
    indices: Tensor | None,
    state: State,
    parameters: Parameters,
    precision: Precision,
) -> tuple[Tensor, State]:
    """Run one layer by the Triton kernels, or by torch's if the dtype is not float32."""
    batch, size = state[0].shape
    if inputs.dtype != torch.float32:
        return run_torch(
            cell, inputs, indices=indices, state=state, parameters=parameters, precision=precision
        )
    weight_ih, weight_hh, bias_ih, bias_hh = parameters
    dtype = operand_dtype(precision, inputs.device)
    projected = functional.linear(inputs.to(dtype), weight_ih.to(dtype))  # W x, all steps at once
    if indices is not None:
        projected = functional.embedding(indices, projected)
    plan = plan_for_device(cell, size, batch, dtype, inputs.device)
    tensors = projected, weight_hh.to(dtype), bias_ih, bias_hh, *state
    outputs, *final = _Layer.apply(cell, linked_to(*tensors), plan, *tensors)  # type: ignore[no-untyped-call]
    return outputs, tuple(final)


@cache
def operand_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the dtype of the products' operands: bfloat16 if the tensor cores can multiply it."""
    fast = device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if precision == "bfloat16" and fast else torch.float32


def bias_by_slots(cell: Cell, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
    """Add the biases (G·H,) that are only ever added, and order them by slots: (4·H,)."""
    if cell == "lstm":
        return bias_ih + bias_hh
    (r, z, n), (u_r, u_z, m) = bias_ih.chunk(3), bias_hh.chunk(3)
    return torch.cat([r + u_r, z + u_z, m, n])


class _Context(FunctionCtx):
    inputs: tuple[Tensor, ...]  # see `linked_to`
    loop: Loop
    lease: Lease | None
    needs_input_grad: tuple[bool, ...]


class _Layer(torch.autograd.Function):
    """A layer without its input products W x, which are given."""

    @staticmethod
    def forward(
        ctx: _Context,
        cell: Cell,
        links: tuple[Tensor, ...],
        plan: Plan,
        projected: Tensor,  # (T, B, G·H)
        weight: Tensor,  # weight_hh, (G·H, H)
        bias_ih: Tensor,  # (G·H,)
        bias_hh: Tensor,  # (G·H,)
        *state: Tensor,  # (B, H)
    ) -> tuple[Tensor, ...]:
        ctx.inputs = links
        inputs = LoopInputs(projected, weight, bias_by_slots(cell, bias_ih, bias_hh))
        ctx.loop, ctx.lease = take_loop(cell, plan, inputs)
        ctx.loop.forward(state)
        outputs = ctx.loop.histories[0][1:]
        if ctx.lease is None:
            del ctx.loop.projected  # the backward pass does not need it
        if ctx.lease is not None or any(ctx.needs_input_grad):
            # The caller may change the outputs; the backward pass or the next sequence needs them.
            outputs = outputs.clone()
        return outputs, *(history[-1].clone() for history in ctx.loop.histories)

    @staticmethod
    @eager_backward
    @once_differentiable
    def backward(ctx: _Context, d_outputs: Tensor, *d_state: Tensor) -> Gradients:
        ctx.loop.backward(d_outputs, d_state)
        return None, None, None, *ctx.loop.gradients()

"""Engine `fused` on the CPU: hand-written forward and backward, one autograd node a layer.

The gradients are those of `charlm.recurrent.equations`; what differs is the order of the work.
What need not wait for the previous step is done for all steps at once: the first layer's input
products become a look-up of rows where the inputs are rows of a table, and after the backward loop
each weight gradient is one product. The loops themselves are compiled
(`charlm.recurrent.cpu.kernels`): a step's products, by weights packed in the order in which they
are read, and its point-wise part are one pass, with no allocation and no return to Python between
steps.

Memory kept for the backward pass, in numbers a step, example and unit: 4 for the gates, 1 for the
hidden state and in an LSTM 1 for the cell state; with bfloat16 the gates take half, and so does the
hidden state, which a GRU also keeps in float32. The outputs are the caller's, who may change them.
"""

from typing import Any

import torch
from torch import Tensor

from charlm.recurrent.cpu.launch import Launch, can_run_kernels, matrix_product, target
from charlm.recurrent.cpu.memory import empty
from charlm.recurrent.cpu.packing import (
    Dense,
    Weights,
    block,
    check_indices,
    columns,
    operand_type,
    pack,
    pack_transposed,
    pad,
    unblock,
)
from charlm.recurrent.eager import eager_backward, linked_to, once_differentiable
from charlm.recurrent.engines.base import Cell, Parameters, Precision, State
from charlm.recurrent.engines.torch import run_torch


def run_fused_cpu(
    cell: Cell,
    inputs: Tensor,
    *,
    indices: Tensor | None,
    state: State,
    parameters: Parameters,
    precision: Precision,
) -> tuple[Tensor, State]:
    """Run one layer by the compiled kernels, or by torch where they cannot run; see `Engine`."""
    if not can_run_kernels(inputs.dtype):
        return run_torch(
            cell, inputs, indices=indices, state=state, parameters=parameters, precision=precision
        )
    links = linked_to(inputs, *state, *parameters)
    outputs, *final = _Layer.apply(cell, links, inputs, indices, precision, *parameters, *state)  # type: ignore[no-untyped-call]
    return outputs, tuple(final)


class _Layer(torch.autograd.Function):
    """One layer over a sequence."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        links: tuple[Tensor, ...],
        inputs: Tensor,
        indices: Tensor | None,
        precision: str,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        kind = operand_type(precision)
        weights = Weights.of(cell, kind, weight_ih, weight_hh, bias_ih, bias_hh)
        steps, batch = (inputs if indices is None else indices).shape[:2]
        units, size = weight_hh.shape[1], weights.bias.shape[1]
        # A tensor such as `z.conj().imag` is only marked as negative; the kernels read its memory.
        x = pad(inputs.resolve_neg().to(kind), -inputs.shape[-1] % 32).contiguous()
        together = target.VECTORS if cell == "lstm" else target.GRU_VECTORS
        dense: Dense = (None, 0, None)
        if indices is None:
            table, dense = weights.bias[None], (x, x.shape[-1], pack(weights.ih, together))
        else:
            check_indices(indices, len(x))
            indices = indices.long().contiguous()
            table = weights.rows(x)
        table = block(table.view(len(table), 4, size))
        gates = empty(steps, batch, 4, size, kind=kind)
        histories = [empty(steps + 1, batch, size) for _ in state]  # h, c
        hidden = histories[0]
        hidden[0] = pad(state[0], size - units)
        if cell == "lstm":
            histories[1][0] = block(pad(state[1], size - units)).view(batch, size)
        operand = hidden if kind == torch.float32 else empty(*hidden.shape, kind=kind)
        operand[0] = hidden[0]
        Launch(
            f"{cell}_forward", kind, steps, batch, size, batch * size,
            table, indices, *dense, pack(weights.hh, together),
            gates, histories[-1], hidden, operand, units, table.shape[1],
        )()  # fmt: skip
        ctx.cell, ctx.inputs = cell, links
        ctx.save_for_backward(x, indices, weights.ih, weights.hh, gates, operand, histories[-1])
        ctx.sizes = units, inputs.shape[-1]
        finals = [hidden[-1, :, :units].clone()]
        if cell == "lstm":
            finals.append(unblock(histories[1][-1])[:, :units].clone())
        outputs = hidden[1:, :, :units]
        if any(ctx.needs_input_grad):
            outputs = empty(steps, batch, units).copy_(outputs)  # the caller may change them
        return outputs, *finals

    @staticmethod
    @eager_backward
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_state: Tensor) -> tuple[Any, ...]:
        x, indices, w_ih, w_hh, gates, operand, history = ctx.saved_tensors
        (units, features), kind = ctx.sizes, gates.dtype
        steps, batch, _, size = gates.shape
        extra = size - units
        d_gates = empty(*gates.shape, kind=kind)
        d_outputs = pad(d_outputs.resolve_neg(), extra).contiguous()
        d_initial = [pad(d, extra).clone(memory_format=torch.contiguous_format) for d in d_state]
        Launch(
            f"{ctx.cell}_backward", kind, steps, batch, size, pack_transposed(w_hh),
            gates, history, d_outputs, d_gates, *d_initial,
        )()  # fmt: skip

        d_gates = d_gates.flatten(0, 1)
        met_by_input, met_by_hidden = slice(0, len(w_ih)), slice(4 - len(w_hh), 4)
        d_w_hh = matrix_product(columns(d_gates, met_by_hidden).T, operand[:-1].flatten(0, 1))
        # One row of sums a row of the table, or else a step: for the biases alone.
        if indices is None:
            rows, count = None, steps
        else:
            rows, count = indices, len(x)
        sums = empty(count, 4, size).zero_()
        Launch("add_rows", kind, steps * batch, 4 * size, d_gates, rows, batch, sums)()
        d_rows = columns(d_gates if indices is None else sums.to(kind), met_by_input)
        d_w_ih = matrix_product(d_rows.T, x.flatten(0, -2))
        d_x = None
        if ctx.needs_input_grad[2]:
            d_x = matrix_product(d_rows, w_ih.flatten(0, 1)).view_as(x)[..., :features]

        d_w_ih = d_w_ih.view_as(w_ih)[:, :units, :features]
        d_w_hh = d_w_hh.view_as(w_hh)[:, :units, :units]
        d_bias = sums.sum(0)[:, :units]
        d_b_ih = d_bias[met_by_input]
        if ctx.cell == "gru":  # from n r z back to r z n
            d_w_ih, d_b_ih = d_w_ih.roll(-1, 0), d_b_ih.roll(-1, 0)
        return (
            None, None, d_x, None, None,
            d_w_ih.flatten(0, 1), d_w_hh.flatten(0, 1),
            d_b_ih.flatten(), d_bias[met_by_hidden].flatten().clone(),
            *(d[:, :units] for d in d_initial),
        )  # fmt: skip

"""Engine `fused` on the CPU: hand-written forward and backward passes, one autograd node per layer.

The gradients are those of `charlm.recurrent.equations`, but the work is done in another order.
Whatever does not depend on the previous step is computed for all steps at once: if the inputs are
rows of a table, their products are computed once per row and looked up, and each weight gradient is
one product after the backward loop. The loops over the steps are compiled
(`charlm.recurrent.cpu.kernels`). They multiply by weights packed in the order in which they are
read, compute the gates while the sums are in the cache, and allocate nothing between steps.

Memory kept for the backward pass, in numbers per step, example and unit: 4 for the gates, 1 for the
hidden state and, in an LSTM, 1 for the cell state. With bfloat16, the gates take half, and so does
the hidden state, which a GRU also keeps in float32. The outputs are a copy: the caller may change
them.
"""

from typing import Protocol

import torch
from torch import Tensor

from charlm.recurrent.cpu.arguments import AddRowsArguments, BackwardArguments, ForwardArguments
from charlm.recurrent.cpu.launch import Launch, can_run_kernels, matrix_product
from charlm.recurrent.cpu.memory import empty
from charlm.recurrent.cpu.packing import (
    LayerInput,
    Weights,
    check_indices,
    columns,
    from_panels,
    operand_dtype,
    pack,
    pack_transposed,
    pad,
    padded,
    to_panels,
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
    """Run one layer by the compiled kernels, or by torch if they cannot run; see `Engine`."""
    if not can_run_kernels(inputs.dtype):
        return run_torch(
            cell, inputs, indices=indices, state=state, parameters=parameters, precision=precision
        )
    links = linked_to(inputs, *state, *parameters)
    outputs, *final = _Layer.apply(cell, links, inputs, indices, precision, *parameters, *state)  # type: ignore[no-untyped-call]
    return outputs, tuple(final)


class _Context(Protocol):
    """What autograd's context keeps for the backward pass."""

    cell: Cell
    inputs: tuple[Tensor, ...]  # stand for the inputs, see `once_differentiable`
    units: int  # without padding
    features: int  # without padding
    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor, Tensor, Tensor]

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...


class _Layer(torch.autograd.Function):
    """One layer over a sequence."""

    @staticmethod
    def forward(
        ctx: _Context,
        cell: Cell,
        links: tuple[Tensor, ...],
        inputs: Tensor,
        indices: Tensor | None,
        precision: Precision,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        dtype = operand_dtype(precision)
        weights = Weights.of(cell, dtype, weight_ih, weight_hh, bias_ih, bias_hh)
        steps, batch = (inputs if indices is None else indices).shape[:2]
        units, features = weight_hh.shape[1], inputs.shape[-1]
        size = padded(units)
        # A tensor such as `z.conj().imag` is only marked as negative; the kernels read its memory.
        x = pad(inputs.resolve_neg().to(dtype), padded(features)).contiguous()
        if indices is None:
            layer_input = LayerInput.dense(x, weights)
        else:
            check_indices(indices, len(x))
            indices = indices.long().contiguous()
            layer_input = LayerInput.looked_up(x, indices, weights)
        gates = empty(steps, batch, 4, size, dtype=dtype)
        hidden = empty(steps + 1, batch, size)
        hidden[0] = pad(state[0], size)
        operand = hidden if dtype == torch.float32 else empty(*hidden.shape, dtype=dtype)
        operand[0] = hidden[0]
        cells = None
        if cell == "lstm":
            cells = empty(steps + 1, batch, size)
            cells[0] = to_panels(pad(state[1], size)).view(batch, size)
        arguments = ForwardArguments(
            steps=steps,
            batch=batch,
            size=size,
            units=units,
            state_stride=batch * size,
            weight_hh=pack(weights.hh),
            gates=gates,
            cells=cells,
            hidden=hidden,
            operand=operand,
            **layer_input._asdict(),
        )
        Launch(f"{cell}_forward", dtype, arguments)()
        ctx.cell, ctx.inputs, ctx.units, ctx.features = cell, links, units, features
        states = hidden if cells is None else cells
        ctx.save_for_backward(x, indices, weights.ih, weights.hh, gates, operand, states)
        outputs, final = hidden[1:, :, :units], [hidden[-1, :, :units].clone()]
        if cells is not None:
            final.append(from_panels(cells[-1])[:, :units].clone())
        if any(ctx.needs_input_grad):
            outputs = empty(steps, batch, units).copy_(outputs)  # the caller may change them
        return outputs, *final

    @staticmethod
    @eager_backward
    @once_differentiable
    def backward(ctx: _Context, d_outputs: Tensor, *d_state: Tensor) -> tuple[Tensor | None, ...]:
        x, indices, w_ih, w_hh, gates, operand, states = ctx.saved_tensors
        units, features, dtype = ctx.units, ctx.features, gates.dtype
        steps, batch, _, size = gates.shape
        d_gates = empty(*gates.shape, dtype=dtype)
        d_initial = [pad(d, size).clone(memory_format=torch.contiguous_format) for d in d_state]
        arguments = BackwardArguments(
            steps=steps,
            batch=batch,
            size=size,
            weight_hh=pack_transposed(w_hh),
            gates=gates,
            states=states,
            d_outputs=pad(d_outputs.resolve_neg(), size).contiguous(),
            d_gates=d_gates,
            d_hidden=d_initial[0],
            d_cell=d_initial[1] if ctx.cell == "lstm" else None,
        )
        Launch(f"{ctx.cell}_backward", dtype, arguments)()

        d_gates = d_gates.flatten(0, 1)
        input_slots, hidden_slots = slice(0, len(w_ih)), slice(4 - len(w_hh), 4)
        d_w_hh = matrix_product(columns(d_gates, hidden_slots).T, operand[:-1].flatten(0, 1))
        sums = _sum_rows(d_gates, indices, len(x) if indices is not None else steps, batch)
        d_rows = columns(d_gates if indices is None else sums.to(dtype), input_slots)
        d_w_ih = matrix_product(d_rows.T, x.flatten(0, -2))
        d_x = None
        if ctx.needs_input_grad[2]:
            d_x = matrix_product(d_rows, w_ih.flatten(0, 1)).view_as(x)[..., :features]

        d_w_ih = d_w_ih.view_as(w_ih)[:, :units, :features]
        d_w_hh = d_w_hh.view_as(w_hh)[:, :units, :units]
        d_bias = sums.sum(0)[:, :units]
        d_b_ih = d_bias[input_slots]
        if ctx.cell == "gru":  # from the order of the slots, n r z, to torch's, r z n
            d_w_ih, d_b_ih = d_w_ih.roll(-1, 0), d_b_ih.roll(-1, 0)
        return (
            None, None, d_x, None, None,
            d_w_ih.flatten(0, 1), d_w_hh.flatten(0, 1),
            d_b_ih.flatten(), d_bias[hidden_slots].flatten().clone(),
            *(d[:, :units] for d in d_initial),
        )  # fmt: skip


def _sum_rows(d_gates: Tensor, indices: Tensor | None, count: int, batch: int) -> Tensor:
    """Sum gradients (T · B, 4, H) per row of the table, or per step if there are no indices.

    Returns:
        (count, 4, H) float32.
    """
    rows, _, size = d_gates.shape
    sums = empty(count, 4, size).zero_()
    arguments = AddRowsArguments(
        rows=rows, width=4 * size, batch=batch, numbers=d_gates, indices=indices, sums=sums
    )
    Launch("add_rows", d_gates.dtype, arguments)()
    return sums

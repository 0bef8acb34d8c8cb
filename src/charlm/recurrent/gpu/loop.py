"""The loops over the steps of one layer, forward and backward."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from charlm.recurrent.engines.base import Cell, State
from charlm.recurrent.gpu import kernels
from charlm.recurrent.gpu.plan import Plan, Tile


class LoopInputs(NamedTuple):
    """What a loop reads, besides the initial state."""

    projected: Tensor  # W x of every step, (T, B, G·H)
    weight: Tensor  # weight_hh, (G·H, H)
    bias: Tensor  # by slots, (4·H,)


class Loop:
    """The two loops of one layer over one sequence, and the memory that they share."""

    projected: Tensor  # (T, B, G·H)
    weight: Tensor  # (G·H, H)
    bias: Tensor  # (4·H,)
    d_outputs: Tensor  # (T, B, H)
    d_h: Tensor  # (B, H)
    d_c: Tensor  # (B, H)
    d_gates: Tensor  # (T + 1, B, 4·H), zero after the last step

    def __init__(self, cell: Cell, plan: Plan, inputs: LoopInputs) -> None:
        self._cell, self._plan = cell, plan
        (steps, batch), size = inputs.projected.shape[:2], inputs.weight.shape[1]
        self._store(**inputs._asdict())
        self._gates = self.weight.new_empty(steps, batch, 4 * size)
        parts = 2 if cell == "lstm" else 1
        # h and c, each (T + 1, B, H)
        self.histories = [self.bias.new_empty(steps + 1, batch, size) for _ in range(parts)]
        self._operands = self.histories[0]  # the hidden states in the dtype of the products
        if self.weight.dtype != self.bias.dtype:
            self._operands = self.weight.new_empty(self.histories[0].shape)

    def _store(self, **given: Tensor) -> None:
        for name, tensor in given.items():
            setattr(self, name, tensor.resolve_neg().contiguous())

    def forward(self, state: State) -> None:
        """Fill the histories, from the initial state with parts of (B, H)."""
        for history, first in zip(self.histories, state, strict=True):
            history[0] = first
        self._operands[0] = state[0]
        self._run(self._forward)

    def backward(self, d_outputs: Tensor, d_state: State) -> None:
        """Fill `d_gates`, and turn the gradients of the final state into those of the initial one.

        Args:
            d_outputs: gradient with respect to the outputs, (T, B, H).
            d_state: gradients with respect to the final state, each (B, H).
        """
        self._store(d_outputs=d_outputs, d_h=d_state[0].clone(), d_c=d_state[-1].clone())
        if not hasattr(self, "d_gates"):
            self.d_gates = self._gates.new_empty(len(self._gates) + 1, *self._gates.shape[1:])
            self.d_gates[-1] = 0
        self._run(self._backward)

    def gradients(self) -> tuple[Tensor, ...]:
        """Return those of the products W x, of `weight_hh`, of the two biases and of the state."""
        d_gates, (rows, size) = self.d_gates[:-1], self.weight.shape
        d_recurrent = d_gates[..., :rows].flatten(0, 1)  # of the slots with a recurrent product
        d_weight = d_recurrent.T @ self._operands[:-1].flatten(0, 1)
        d_bias = d_gates.sum((0, 1), dtype=torch.float32)
        d_h = d_gates[0, :, :rows].float() @ self.weight.float()
        if self._cell == "lstm":
            return d_gates, d_weight, d_bias, d_bias.clone(), d_h, self.d_c.clone()
        # The slots are r, z, m and n: all but m have an input product.
        d_projected = torch.cat([d_gates[..., : 2 * size], d_gates[..., 3 * size :]], dim=2)
        d_bias_ih = torch.cat([d_bias[: 2 * size], d_bias[3 * size :]])
        return d_projected, d_weight, d_bias_ih, d_bias[:rows], d_h + self.d_h

    def _run(self, loop: Callable[[], None]) -> None:
        loop()

    def _forward(self) -> None:
        steps, batch, size = self.histories[0].shape
        hidden, cells = self.histories[0], self.histories[-1]
        per_launch = steps - 1 if self._plan.resident else 1
        for t in range(0, steps - 1, per_launch):
            launch_forward(
                self._cell,
                self._plan,
                steps=per_launch,
                advance=batch * size,
                inputs=LoopInputs(self.projected[t], self.weight, self.bias),
                hidden=hidden[t],
                operands=self._operands[t],
                cells=cells[t],
                gates=self._gates[t],
            )

    def _backward(self) -> None:
        steps, batch, _ = self._gates.shape
        hidden, cells = self.histories[0], self.histories[-1]
        per_launch = steps if self._plan.resident else 1
        for t in range(steps - 1, -1, -per_launch):
            _launch(
                kernels.backward,
                self._cell,
                self._plan,
                self._plan.backward,
                weight=self.weight,
                gates=self._gates[t],
                cells=cells[t],
                hidden=hidden[t],
                d_outputs=self.d_outputs[t],
                d_gates=self.d_gates[t],
                d_h=self.d_h,
                d_c=self.d_c,
                steps=per_launch,
                batch=batch,
                d_h_counts=int(t == steps - 1),
            )


def launch_forward(
    cell: Cell,
    plan: Plan,
    *,
    steps: int,
    advance: int,
    inputs: LoopInputs,
    hidden: Tensor,
    operands: Tensor,
    cells: Tensor,
    gates: Tensor,
) -> None:
    """Run some steps of a layer.

    Args:
        cell: `lstm` or `gru`.
        plan: how programs divide the work.
        steps: the number of steps.
        advance: the distance from a state to the next one, in numbers.
        inputs: with `projected` at the first of the steps, (B, G·H).
        hidden: the hidden state before the first step, (B, H); the next ones are written.
        operands: the same in the dtype of the products.
        cells: the same of an LSTM's cell state; any tensor for a GRU.
        gates: written, at the first of the steps, (B, 4·H).
    """
    _launch(
        kernels.forward,
        cell,
        plan,
        plan.forward,
        **inputs._asdict(),
        hidden=hidden,
        operands=operands,
        cells=cells,
        gates=gates,
        steps=steps,
        advance=advance,
        batch=len(hidden),
    )


def _launch(
    kernel: triton.JITFunction[object],
    cell: Cell,
    plan: Plan,
    tile: Tile,
    *,
    weight: Tensor,
    batch: int,
    **arguments: Tensor | int,
) -> None:
    size = weight.shape[1]
    counters = None
    if plan.resident:  # one per group, each in cache lines of its own
        counters = torch.zeros(plan.groups, 32, dtype=torch.int32, device=weight.device)
    options = {} if kernels.INTERPRETED else {"launch_cooperative_grid": plan.resident}
    with device_of(weight):
        kernel[plan.groups, triton.cdiv(size, plan.units)](
            weight=weight,
            batch=batch,
            **arguments,
            arrived=counters,
            group_size=triton.cdiv(batch, plan.groups),
            CELL=cell,
            SIZE=size,
            UNITS=plan.units,
            BATCH=tile.batch,
            DEPTH=tile.depth,
            RESIDENT=plan.resident,
            num_warps=tile.warps,
            **options,
        )


def device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Make the tensor's GPU the current one: Triton launches there, wherever the arguments are."""
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]

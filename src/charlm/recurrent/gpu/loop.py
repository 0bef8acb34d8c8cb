"""The loops over the steps of one layer, forward and backward."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
import triton
from torch import Tensor

from charlm.recurrent.gpu import kernels
from charlm.recurrent.gpu.plan import Plan, Tile


class Loop:
    """The two loops of one layer over one sequence, and the memory that they share."""

    projected: Tensor
    weight: Tensor
    bias: Tensor
    d_outputs: Tensor
    d_h: Tensor
    d_c: Tensor
    d_gates: Tensor

    def __init__(
        self,
        cell: str,
        shares: Plan,
        projected: Tensor,
        weight: Tensor,
        bias: Tensor,
        state: Sequence[Tensor],
    ) -> None:
        self._cell, self._plan = cell, shares
        (steps, batch), size = projected.shape[:2], weight.shape[1]
        self._take(projected=projected, weight=weight, bias=bias)
        self._gates = weight.new_empty(steps, batch, 4 * size)
        self.histories = [bias.new_empty(steps + 1, batch, size) for _ in state]  # h, c
        hidden = self.histories[0]
        self._operands = hidden if weight.dtype == bias.dtype else weight.new_empty(hidden.shape)

    def _take(self, **given: Tensor) -> None:
        for name, tensor in given.items():
            setattr(self, name, tensor.resolve_neg().contiguous())

    def forward(self, state: Sequence[Tensor]) -> None:
        """Fill the histories from the state before the first step."""
        for history, first in zip(self.histories, state, strict=True):
            history[0] = first
        self._operands[0] = state[0]
        self._go(self._forward)

    def backward(self, d_outputs: Tensor, d_state: Sequence[Tensor]) -> None:
        """Fill `d_gates`, and make of the gradients of the last state those of the first."""
        self._take(d_outputs=d_outputs, d_h=d_state[0].clone(), d_c=d_state[-1].clone())
        if not hasattr(self, "d_gates"):
            self.d_gates = self._gates.new_empty(len(self._gates) + 1, *self._gates.shape[1:])
            self.d_gates[-1] = 0
        self._go(self._backward)

    def gradients(self) -> tuple[Tensor, ...]:
        """Those of the products W x, of `weight_hh`, of the two biases and of the state."""
        d_gates, (rows, size) = self.d_gates[:-1], self.weight.shape
        met_by_hidden = d_gates[..., :rows].flatten(0, 1)
        d_weight = met_by_hidden.T @ self._operands[:-1].flatten(0, 1)
        d_bias = d_gates.sum((0, 1), dtype=torch.float32)
        d_h = d_gates[0, :, :rows].float() @ self.weight.float()
        if self._cell == "lstm":
            return d_gates, d_weight, d_bias, d_bias.clone(), d_h, self.d_c.clone()
        # The slots are r, z, m and n: all but m meet the input. h also went past the gates.
        d_projected = torch.cat([d_gates[..., : 2 * size], d_gates[..., 3 * size :]], dim=2)
        d_bias_ih = torch.cat([d_bias[: 2 * size], d_bias[3 * size :]])
        return d_projected, d_weight, d_bias_ih, d_bias[:rows], d_h + self.d_h

    def _go(self, loop: Callable[[], None]) -> None:
        loop()

    def _forward(self) -> None:
        steps, batch, size = self.histories[0].shape
        hidden, cells = self.histories[0], self.histories[-1]
        at_once = steps - 1 if self._plan.resident else 1
        for t in range(0, steps - 1, at_once):
            launch_forward(
                self._cell, self._plan, at_once, batch * size, self.projected[t], self.weight,
                self.bias, hidden[t], self._operands[t], cells[t], self._gates[t],
            )  # fmt: skip

    def _backward(self) -> None:
        steps, batch, _ = self._gates.shape
        hidden, cells = self.histories[0], self.histories[-1]
        at_once = steps if self._plan.resident else 1
        for t in range(steps - 1, -1, -at_once):
            _launch(
                kernels.backward, self._cell, self._plan, self._plan.backward,
                self.weight, self._gates[t], cells[t], hidden[t], self.d_outputs[t],
                self.d_gates[t], self.d_h, self.d_c, _counters(self._plan, self._gates.device),
                at_once, batch, triton.cdiv(batch, self._plan.groups), int(t == steps - 1),
                SIZE=self.weight.shape[1],
            )  # fmt: skip


def launch_forward(
    cell: str,
    shares: Plan,
    steps: int,
    advance: int,
    projected: Tensor,
    weight: Tensor,
    bias: Tensor,
    hidden: Tensor,
    operands: Tensor,
    cells: Tensor,
    gates: Tensor,
) -> None:
    """Run some steps from the state that `hidden`, `operands` and `cells` start with."""
    batch, size = hidden.shape
    _launch(
        kernels.forward, cell, shares, shares.forward,
        projected, weight, bias, hidden, operands, cells, gates, _counters(shares, gates.device),
        steps, advance, batch, triton.cdiv(batch, shares.groups), SIZE=size,
    )  # fmt: skip


def _counters(shares: Plan, device: torch.device) -> Tensor | None:
    """A counter a group, in cache lines of their own."""
    if not shares.resident:
        return None
    return torch.zeros(shares.groups, 32, dtype=torch.int32, device=device)


def _launch(kernel: Any, cell: str, shares: Plan, tile: Tile, *arguments: Any, SIZE: int) -> None:  # noqa: N803
    grid = (shares.groups, triton.cdiv(SIZE, shares.units))
    options = {} if kernels.INTERPRETED else {"launch_cooperative_grid": shares.resident}
    with device_of(arguments[0]):
        kernel[grid](
            *arguments, CELL=cell, SIZE=SIZE, UNITS=shares.units, BATCH=tile.batch,
            DEPTH=tile.depth, RESIDENT=shares.resident, num_warps=tile.warps, **options,
        )  # fmt: skip


def device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Make the tensor's GPU the current one: Triton launches there, wherever the arguments are."""
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]

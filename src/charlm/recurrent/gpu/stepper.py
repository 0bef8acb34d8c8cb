"""One step at a time on a GPU."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from charlm.recurrent.engines.base import State
from charlm.recurrent.gpu.engine import bias_by_slots, operand_type
from charlm.recurrent.gpu.graphs import captured
from charlm.recurrent.gpu.loop import launch_forward
from charlm.recurrent.gpu.plan import plan
from charlm.recurrent.stepper import Stepper


class GPUStepper(Stepper):
    """A stepper whose step is a CUDA graph, captured when it is made: nothing is allocated.

    The state has two places, which take turns: a step reads the one and writes the other.
    """

    def __init__(self, layer: Any, batch_size: int, table: Tensor | None, precision: str) -> None:
        super().__init__(layer, batch_size, table)
        device = layer.weight_hh_l0.device
        kind = operand_type(precision, device)
        self._plan = plan(layer.hidden_size, batch_size, kind, 0, 0)
        weights = [layer._weights(parameters, False) for parameters in layer.all_weights]
        self._weights = [
            (
                w_ih.detach().to(kind),
                w_hh.detach().to(kind),
                bias_by_slots(layer.cell, *biases).detach(),
            )
            for w_ih, w_hh, *biases in weights
        ]
        places = (layer.num_layers, 2, batch_size, layer.hidden_size)
        self._histories = [
            torch.zeros(places, dtype=torch.float32, device=device)
            for _ in range(2 if layer.cell == "lstm" else 1)
        ]
        hidden = self._histories[0]
        self._operands = hidden if kind == hidden.dtype else torch.zeros_like(hidden, dtype=kind)
        if self._table is None:
            self._inputs = self._operands.new_zeros(batch_size, layer.input_size)
        else:
            self._inputs = torch.zeros(batch_size, dtype=torch.long, device=device)
            self._rows = self._table.to(kind) @ self._weights[0][0].T
        rows = layer.gates * layer.hidden_size
        self._projected = self._operands.new_empty(batch_size, rows)
        self._gates = self._operands.new_empty(batch_size, 4 * layer.hidden_size)
        self._output = torch.empty_like(hidden[-1, 0])  # not the state: the caller may change it
        self._turn = 0
        self._go: list[Callable[[], object]] = [partial(self._step, turn) for turn in range(2)]
        if hidden.is_cuda:
            for step in self._go:
                step()  # compiles the kernels, which a capture may not
            self._go = [captured(step, hidden).replay for step in self._go]
            for history in (*self._histories, self._operands):
                history.zero_()

    @torch.no_grad()
    def _step(self, turn: int) -> None:
        hidden, cells = self._histories[0], self._histories[-1]
        advance = hidden[0, 0].numel() * (1 - 2 * turn)
        for number, (w_ih, w_hh, bias) in enumerate(self._weights):
            if number > 0:
                torch.mm(self._operands[number - 1, 1 - turn], w_ih.T, out=self._projected)
            elif self._table is None:
                torch.mm(self._inputs, w_ih.T, out=self._projected)
            else:
                torch.index_select(self._rows, 0, self._inputs, out=self._projected)
            place = number, turn
            launch_forward(
                self._layer.cell, self._plan, 1, advance, self._projected, w_hh, bias,
                hidden[place], self._operands[place], cells[place], self._gates,
            )  # fmt: skip
        self._output.copy_(hidden[-1, 1 - turn])

    def _read_state(self) -> State:
        return tuple(history[:, self._turn].clone() for history in self._histories)

    def _write_state(self, state: State) -> None:
        for history, given in zip(self._histories, state, strict=True):
            history[:, self._turn] = given.detach()
        self._operands[:, self._turn] = self._histories[0][:, self._turn]

    def _move(self, inputs: Tensor) -> Tensor:
        self._inputs.copy_(inputs.detach())
        self._go[self._turn]()
        self._turn = 1 - self._turn
        return self._output

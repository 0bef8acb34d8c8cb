"""One step at a time on a GPU."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from charlm.recurrent.engines.base import Precision, State
from charlm.recurrent.gpu.engine import bias_by_slots, operand_dtype
from charlm.recurrent.gpu.graphs import capture
from charlm.recurrent.gpu.loop import LoopInputs, launch_forward
from charlm.recurrent.gpu.plan import make_plan
from charlm.recurrent.module import RecurrentModule
from charlm.recurrent.stepper import Stepper


class GPUStepper(Stepper):
    """A stepper whose step is a CUDA graph, captured when it is made: a step allocates nothing.

    There are two buffers for the state, which alternate: a step reads one and writes the other.
    """

    def __init__(
        self,
        layer: RecurrentModule,
        batch_size: int,
        table: Tensor | None,
        precision: Precision,
    ) -> None:
        super().__init__(layer, batch_size, table)
        device = layer.weight_hh_l0.device
        dtype = operand_dtype(precision, device)
        size = layer.hidden_size
        self._plan = make_plan(size, batch_size, dtype, processors=0, shared_memory=0)
        # Of each layer: weight_ih (G·H, I), weight_hh (G·H, H) and the bias by slots (4·H,).
        self._weights: list[tuple[Tensor, Tensor, Tensor]] = []
        for each in layer.all_weights:
            weight_ih, weight_hh, *biases = layer._layer_parameters(each, training=False)
            bias = bias_by_slots(layer.cell, *biases).detach()
            self._weights.append((weight_ih.detach().to(dtype), weight_hh.detach().to(dtype), bias))
        # h and c, each (num_layers, 2 buffers, B, H)
        shape = (layer.num_layers, 2, batch_size, size)
        self._histories = [
            torch.zeros(shape, dtype=torch.float32, device=device)
            for _ in range(2 if layer.cell == "lstm" else 1)
        ]
        hidden = self._histories[0]
        self._operands = hidden if dtype == hidden.dtype else torch.zeros_like(hidden, dtype=dtype)
        if self._table is None:
            self._inputs = self._operands.new_zeros(batch_size, layer.input_size)
        else:
            self._inputs = torch.zeros(batch_size, dtype=torch.long, device=device)
            self._rows = self._table.to(dtype) @ self._weights[0][0].T  # (V, G·H)
        self._projected = self._operands.new_empty(batch_size, len(self._weights[0][0]))
        self._gates = self._operands.new_empty(batch_size, 4 * size)
        self._output = torch.empty_like(hidden[-1, 0])  # not the state: the caller may change it
        self._current = 0  # the buffer that holds the state
        self._steps: list[Callable[[], object]] = [partial(self._step, n) for n in range(2)]
        if hidden.is_cuda:
            for step in self._steps:
                step()  # compiles the kernels, which is not allowed in a capture
            self._steps = [capture(step, hidden).replay for step in self._steps]
            for history in (*self._histories, self._operands):
                history.zero_()

    @torch.no_grad()
    def _step(self, current: int) -> None:
        hidden, cells = self._histories[0], self._histories[-1]
        advance = hidden[0, 0].numel() * (1 - 2 * current)  # to the other buffer
        for number, (weight_ih, weight_hh, bias) in enumerate(self._weights):
            if number > 0:
                below = self._operands[number - 1, 1 - current]
                torch.mm(below, weight_ih.T, out=self._projected)
            elif self._table is None:
                torch.mm(self._inputs, weight_ih.T, out=self._projected)
            else:
                torch.index_select(self._rows, 0, self._inputs, out=self._projected)
            buffer = number, current
            launch_forward(
                self._layer.cell,
                self._plan,
                steps=1,
                advance=advance,
                inputs=LoopInputs(self._projected, weight_hh, bias),
                hidden=hidden[buffer],
                operands=self._operands[buffer],
                cells=cells[buffer],
                gates=self._gates,
            )
        self._output.copy_(hidden[-1, 1 - current])

    def _read_state(self) -> State:
        return tuple(history[:, self._current].clone() for history in self._histories)

    def _write_state(self, state: State) -> None:
        for history, given in zip(self._histories, state, strict=True):
            history[:, self._current] = given.detach()
        self._operands[:, self._current] = self._histories[0][:, self._current]

    def _move(self, inputs: Tensor) -> Tensor:
        self._inputs.copy_(inputs.detach())
        self._steps[self._current]()
        self._current = 1 - self._current
        return self._output

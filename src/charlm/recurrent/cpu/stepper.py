"""One step at a time on the CPU."""

import torch
from torch import Tensor

from charlm.recurrent.cpu.arguments import ForwardArguments
from charlm.recurrent.cpu.launch import Launch
from charlm.recurrent.cpu.packing import (
    LayerInput,
    Weights,
    check_indices,
    from_panels,
    operand_dtype,
    pack,
    pad,
    padded,
    to_panels,
)
from charlm.recurrent.engines.base import Precision, State
from charlm.recurrent.module import RecurrentModule
from charlm.recurrent.stepper import Stepper

SINGLE_THREAD = 2**18
"""If a gate has fewer multiplications, waking other threads takes longer than the step."""


class CPUStepper(Stepper):
    """A stepper that runs the forward kernels one step at a time, with all buffers made in advance.

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
        dtype = operand_dtype(precision)
        size = padded(layer.hidden_size)
        # (layers, buffers, B, H); the cells in the order of `to_panels`
        shape = (layer.num_layers, 2, batch_size, size)
        self._hidden = torch.zeros(shape, dtype=torch.float32)
        self._cells = torch.zeros(shape, dtype=torch.float32) if layer.cell == "lstm" else None
        self._outputs = [self._hidden[-1, n, :, : layer.hidden_size] for n in range(2)]
        self._operands = self._hidden
        if dtype != torch.float32:
            self._operands = torch.zeros(shape, dtype=dtype)
        self._inputs = torch.zeros(batch_size, padded(layer.input_size), dtype=dtype)
        self._indices = torch.zeros(batch_size, dtype=torch.long)
        self._gates = torch.empty(batch_size, 4, size, dtype=dtype)
        self._current = 0  # the buffer that holds the state
        self._launches: tuple[list[Launch], list[Launch]] = [], []  # by the buffer that is read
        for number, parameters in enumerate(layer.all_weights):
            complete = layer._layer_parameters(parameters, training=False)
            self._add_layer(number, Weights.of(layer.cell, dtype, *complete), dtype)

    def _add_layer(self, number: int, weights: Weights, dtype: torch.dtype) -> None:
        """Prepare a layer's launches, one per buffer."""
        _, _, batch, size = self._hidden.shape
        if number == 0 and self._table is not None:
            rows = pad(self._table.to(dtype), self._inputs.shape[1])
            layer_input = LayerInput.looked_up(rows, self._indices, weights)
        else:
            x = self._inputs if number == 0 else self._operands[number - 1, 0]
            layer_input = LayerInput.dense(x, weights)
        weight_hh = pack(weights.hh)
        for current, launches in enumerate(self._launches):
            if number > 0:
                layer_input = layer_input._replace(x=self._operands[number - 1, 1 - current])
            arguments = ForwardArguments(
                steps=1,
                batch=batch,
                size=size,
                units=self._layer.hidden_size,
                state_stride=batch * size * (1 - 2 * current),
                weight_hh=weight_hh,
                gates=self._gates,
                cells=None if self._cells is None else self._cells[number, current],
                hidden=self._hidden[number, current],
                operand=self._operands[number, current],
                **layer_input._asdict(),
            )
            threads = 1 if batch * size * size < SINGLE_THREAD else 0
            name = f"{self._layer.cell}_forward"
            launches.append(Launch(name, dtype, arguments, threads=threads))

    def _read_state(self) -> State:
        units = self._layer.hidden_size
        hidden = self._hidden[:, self._current, :, :units].clone()
        if self._cells is None:
            return (hidden,)
        cells = torch.stack([from_panels(c) for c in self._cells[:, self._current]])
        return hidden, cells[..., :units].clone()

    def _write_state(self, state: State) -> None:
        size = self._hidden.shape[-1]
        self._hidden[:, self._current] = pad(state[0], size)
        self._operands[:, self._current] = self._hidden[:, self._current]
        if self._cells is not None:
            for cells, given in zip(self._cells[:, self._current], state[1], strict=True):
                cells.copy_(to_panels(pad(given, size)).view_as(cells))

    def _move(self, inputs: Tensor) -> Tensor:
        if self._table is None:
            self._inputs[:, : inputs.shape[1]] = inputs.detach()
        else:
            check_indices(inputs, len(self._table))
            self._indices.copy_(inputs)
        for launch in self._launches[self._current]:
            launch()
        self._current = 1 - self._current
        return self._outputs[self._current].clone()  # the caller may change it

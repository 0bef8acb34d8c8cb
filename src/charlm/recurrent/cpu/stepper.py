"""One step at a time on the CPU."""

import torch
from torch import Tensor

from charlm.recurrent.cpu.launch import Launch, target
from charlm.recurrent.cpu.packing import (
    Dense,
    Weights,
    block,
    check_indices,
    operand_type,
    pack,
    pad,
    unblock,
)
from charlm.recurrent.engines.base import Precision, State
from charlm.recurrent.module import RecurrentModule
from charlm.recurrent.stepper import Stepper


class CPUStepper(Stepper):
    """A stepper that runs the forward kernels one step at a time, with everything made before.

    The state has two places, which take turns: a step reads the one and writes the other.
    """

    def __init__(
        self,
        layer: RecurrentModule,
        batch_size: int,
        table: Tensor | None,
        precision: Precision,
    ) -> None:
        super().__init__(layer, batch_size, table)
        kind = operand_type(precision)
        size = -(-layer.hidden_size // 32) * 32
        features = -(-layer.input_size // 32) * 32
        places = (layer.num_layers, 2, batch_size, size)
        count = 2 if layer.cell == "lstm" else 1
        self._histories = [torch.zeros(places, dtype=torch.float32) for _ in range(count)]
        hidden, memory = self._histories[0], self._histories[-1]
        self._operands = hidden if kind == torch.float32 else torch.zeros(places, dtype=kind)
        self._outputs = [hidden[-1, turn, :, : layer.hidden_size] for turn in range(2)]
        self._turn = 0
        self._inputs = torch.zeros(batch_size, features, dtype=kind)
        self._indices = torch.zeros(batch_size, dtype=torch.long)
        gates = torch.empty(batch_size, 4, size, dtype=kind)
        together = target.VECTORS if layer.cell == "lstm" else target.GRU_VECTORS
        # Waking other threads takes longer than a small step.
        threads = int(batch_size * size * size < 2**18)
        self._launches: list[list[Launch]] = [[], []]
        for number, parameters in enumerate(layer.all_weights):
            complete = layer._layer_parameters(parameters, training=False)
            weights = Weights.of(layer.cell, kind, *complete)
            w_ih, w_hh = pack(weights.ih, together), pack(weights.hh, together)
            for turn in range(2):
                indices, rows = None, weights.bias[None]
                dense: Dense = (self._inputs, features, w_ih)
                if number > 0:
                    dense = (self._operands[number - 1, 1 - turn], size, w_ih)
                elif table is not None:
                    indices, dense = self._indices, (None, 0, None)
                    padded = pad(table.detach().to(kind), features - layer.input_size)
                    rows = weights.rows(padded)
                advance = batch_size * size * (1 - 2 * turn)
                launch = Launch(
                    f"{layer.cell}_forward", kind, 1, batch_size, size, advance,
                    block(rows), indices, *dense, w_hh, gates, memory[number, turn],
                    hidden[number, turn], self._operands[number, turn], layer.hidden_size,
                    len(rows), threads=threads,
                )  # fmt: skip
                self._launches[turn].append(launch)

    def _read_state(self) -> State:
        now = [history[:, self._turn] for history in self._histories]
        if len(now) == 2:
            now[1] = torch.stack([unblock(cells) for cells in now[1]])
        return tuple(part[..., : self._outputs[0].shape[-1]].clone() for part in now)

    def _write_state(self, state: State) -> None:
        for number, (history, given) in enumerate(zip(self._histories, state, strict=True)):
            padded = pad(given, history.shape[-1] - given.shape[-1])
            if number == 1:
                padded = torch.stack([block(cells).view_as(cells) for cells in padded])
            history[:, self._turn] = padded
        self._operands[:, self._turn] = self._histories[0][:, self._turn]

    def _move(self, inputs: Tensor) -> Tensor:
        if self._table is None:
            self._inputs[:, : inputs.shape[1]] = inputs.detach()
        else:
            check_indices(inputs, len(self._table))
            self._indices.copy_(inputs)
        for launch in self._launches[self._turn]:
            launch()
        self._turn = 1 - self._turn
        return self._outputs[self._turn].clone()  # not the state itself: the caller may change it

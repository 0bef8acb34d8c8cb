"""One step at a time, for sampling."""

from typing import Any

import torch
from torch import Tensor

from charlm.recurrent.eager import is_eager
from charlm.recurrent.engines.base import State
from charlm.recurrent.errors import LayerRuntimeError


def check_eager(layer: Any, tensor: Tensor) -> None:
    """Refuse to step while torch records operations: a stepper's state would become a constant."""
    if not is_eager(tensor):
        raise LayerRuntimeError(
            f"{layer._name}: stepper: torch.jit, torch.export and torch.func cannot record its "
            "state, and the meta device has no memory for it; call the layer instead"
        )


class Stepper:
    """A batch of streams that move on one symbol at a time, with no graph for gradients.

    Made by `LSTM.stepper` and `GRU.stepper`. It owns the streams' state, which starts from zeros,
    and a snapshot of the weights: make a new one after training on. This class runs the layer on
    sequences of length 1, with any engine; where an engine can do better, it has a subclass.
    """

    def __init__(self, layer: Any, batch_size: int, table: Tensor | None) -> None:
        self._layer = layer
        self._batch_size = batch_size
        self._table = None if table is None else table.detach()
        self._state: State | None = None

    @property
    def state(self) -> State:
        """A copy of the streams' state, (h, c) or (h,), each (num_layers, B, H); settable."""
        return self._read_state()

    @state.setter
    def state(self, state: State | None) -> None:
        self._write_state(self._full_state(state))

    def _full_state(self, state: State | None) -> State:
        weight = self._layer.weight_hh_l0
        parts = self._layer._initial_state(state, self._batch_size, weight)
        return tuple(part.detach().clone() for part in parts)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Move every stream on by one step.

        Args:
            inputs: (B, input_size), or where the stepper has a table its rows' numbers (B,).

        Returns:
            The last layer's hidden state (B, H). A later call may overwrite it.

        Raises:
            CharlmError: the inputs are not of that shape, or beyond the table.
        """
        shape: tuple[int, ...] = (self._batch_size,)
        if self._table is None:
            shape += (self._layer.input_size,)
        check_eager(self._layer, inputs)
        if inputs.shape != shape:
            raise LayerRuntimeError(
                f"{self._layer._name}: stepper: expected inputs of shape {shape}, got "
                f"{tuple(inputs.shape)}"
            )
        return self._move(inputs)

    def _read_state(self) -> State:
        return self._full_state(self._state)

    def _write_state(self, state: State) -> None:
        self._state = state

    @torch.no_grad()
    def _move(self, inputs: Tensor) -> Tensor:
        if self._table is not None:
            inputs = self._table[inputs]
        outputs, self._state = self._layer._run(
            inputs[None], None, self._state, training=False, parameters=self._layer.all_weights
        )
        return outputs.flatten(0, 1)  # type: ignore[no-any-return]

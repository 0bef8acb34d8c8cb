"""One step at a time, for sampling."""

from typing import Any

import torch
from torch import Tensor


class Stepper:
    """A batch of streams that move on one symbol at a time, with no graph for gradients.

    Made by `LSTM.stepper` and `GRU.stepper`. It owns the streams' state, starts from zeros, and
    takes a snapshot of the weights: make a new one after training on.
    """

    def __init__(self, layer: Any, batch_size: int, table: Tensor | None = None) -> None:
        self._layer = layer
        self._table = None if table is None else table.detach()
        shape = (layer.num_layers, batch_size, layer.hidden_size)
        count = 2 if layer.cell == "lstm" else 1
        self._state = tuple(layer.weight_hh_l0.new_zeros(shape) for _ in range(count))

    @property
    def state(self) -> Any:
        """The streams' state in the form that `forward` takes and gives; may be assigned."""
        return self._layer._unpack(tuple(part.clone() for part in self._state))

    @state.setter
    def state(self, state: Any) -> None:
        for own, given in zip(self._state, self._layer._pack(state), strict=True):
            own.copy_(given)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Move every stream on by one step.

        Args:
            inputs: (B, input_size), or where the stepper has a table its rows' numbers (B,).

        Returns:
            The last layer's hidden state (B, H); the next call may overwrite it.
        """
        layer = self._layer
        if self._table is not None:
            inputs = self._table[inputs]
        training = layer.training
        layer.training = False
        try:
            outputs, state = layer._run(inputs[None], None, layer._unpack(self._state))
        finally:
            layer.training = training
        self.state = state
        return outputs.flatten(0, 1)  # type: ignore[no-any-return]

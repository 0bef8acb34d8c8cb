"""One step at a time, for sampling."""

import torch
from torch import Tensor

from charlm.recurrent.checks import check_eager, full_state
from charlm.recurrent.engines.base import State
from charlm.recurrent.errors import LayerRuntimeError
from charlm.recurrent.module import RecurrentModule
from charlm.recurrent.sequence import run_sequence


class Stepper:
    """A batch of streams that move on one symbol at a time, without gradients.

    Made by `LSTM.stepper` and `GRU.stepper`. It owns the streams' state, which starts from zeros,
    and a snapshot of the weights: make a new one after more training. This class runs the layer on
    sequences of length 1, with any engine; engines that can do better have a subclass.

    Args:
        layer: the stack of layers.
        batch_size: the number of streams B.
        table: input vectors (V, input_size), whose row numbers the steps then take; or None.
    """

    def __init__(self, layer: RecurrentModule, batch_size: int, table: Tensor | None) -> None:
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
        parts = full_state(self._layer, state, self._batch_size, self._layer.weight_hh_l0)
        return tuple(part.detach().clone() for part in parts)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Move every stream on by one step.

        Args:
            inputs: (B, input_size), or the table's row numbers (B,) if the stepper has a table.

        Returns:
            The last layer's hidden state (B, H). A later call may overwrite it.

        Raises:
            CharlmError: the inputs have another shape, or a row number is beyond the table.
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
        outputs, self._state = run_sequence(
            self._layer,
            inputs[None],
            indices=None,
            state=self._state,
            parameters=self._layer.all_weights,
            training=False,
        )
        return outputs.flatten(0, 1)

"""The interface between the layers and the engines that run them."""

from typing import Literal, NamedTuple, Protocol, TypeAlias

from torch import Tensor
from torch.nn import functional

Cell: TypeAlias = Literal["lstm", "gru"]
Precision: TypeAlias = Literal["float32", "bfloat16"]
State: TypeAlias = tuple[Tensor, ...]
"""A recurrent state: (h, c) of an LSTM, (h,) of a GRU. The parts of one layer's state are (B, H),
those of a stack's (num_layers, B, H)."""


class Parameters(NamedTuple):
    """The parameters of one layer, named and stacked by gate as in PyTorch."""

    weight_ih: Tensor  # (G·H, I)
    weight_hh: Tensor  # (G·H, H)
    bias_ih: Tensor  # (G·H,)
    bias_hh: Tensor  # (G·H,)


class Engine(Protocol):
    """A function that runs one layer over a sequence, and that autograd can differentiate."""

    def __call__(
        self,
        cell: Cell,
        inputs: Tensor,
        *,
        indices: Tensor | None,
        state: State,
        parameters: Parameters,
        precision: Precision,
    ) -> tuple[Tensor, State]:
        """Run one layer over T steps of B examples.

        Args:
            cell: `lstm` or `gru`.
            inputs: (T, B, I); with `indices` a table (V, I) of input vectors.
            indices: int (T, B): example b reads row ``indices[t, b]`` of the table in step t.
            state: the initial state, parts of (B, H).
            parameters: those of the layer; all have one dtype, which the results have, too.
            precision: that of the matrix products, if the engine can choose.

        Returns:
            The hidden state after each step, (T, B, H), and the final state.
        """


def look_up(inputs: Tensor, indices: Tensor | None) -> Tensor:
    """Return the inputs of all steps, (T, B, I), looked up in the table (V, I) if there is one."""
    return inputs if indices is None else functional.embedding(indices, inputs)

"""What an engine is."""

from typing import NamedTuple, Protocol, TypeAlias

from torch import Tensor
from torch.nn import functional

State: TypeAlias = tuple[Tensor, ...]
"""A recurrent state: (h, c) of an LSTM, (h,) of a GRU. The parts of one layer's state are (B, H),
those of a stack's (num_layers, B, H)."""


class Parameters(NamedTuple):
    """The parameters of a layer, as PyTorch names and shapes them."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


class Engine(Protocol):
    """Runs one layer over a sequence.

    Shapes are those of `charlm.recurrent.equations`. With `indices` (T, B), `inputs` is a table
    (V, I), and step t of example b reads its row ``indices[t, b]``. `precision` is that of the
    products: float32 or bfloat16. The results are the outputs and the final state.
    """

    @staticmethod
    def lstm(
        inputs: Tensor,
        indices: Tensor | None,
        state: State,
        parameters: Parameters,
        precision: str,
    ) -> tuple[Tensor, State]:
        """Run an LSTM layer from the state (h, c); returns the outputs and (h, c)."""

    @staticmethod
    def gru(
        inputs: Tensor,
        indices: Tensor | None,
        state: State,
        parameters: Parameters,
        precision: str,
    ) -> tuple[Tensor, State]:
        """Run a GRU layer from the state (h,); returns the outputs and (h,)."""


def look_up(inputs: Tensor, indices: Tensor | None) -> Tensor:
    """Return the inputs of all steps, looked up in the table if there are indices."""
    return inputs if indices is None else functional.embedding(indices, inputs)

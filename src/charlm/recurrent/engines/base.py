"""What an engine is."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor
from torch.nn import functional


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
        state: Sequence[Tensor],
        parameters: Parameters,
        precision: str,
    ) -> tuple[Tensor, ...]:
        """Run an LSTM layer from the state (h, c); returns (outputs, h, c)."""

    @staticmethod
    def gru(
        inputs: Tensor,
        indices: Tensor | None,
        state: Sequence[Tensor],
        parameters: Parameters,
        precision: str,
    ) -> tuple[Tensor, ...]:
        """Run a GRU layer from the state (h,); returns (outputs, h)."""


def look_up(inputs: Tensor, indices: Tensor | None) -> Tensor:
    """Return the inputs of all steps, looked up in the table if there are indices."""
    return inputs if indices is None else functional.embedding(indices, inputs)

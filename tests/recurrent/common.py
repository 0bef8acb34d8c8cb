"""What several tests of the layers share."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from charlm.recurrent import GRU, LSTM, State

Layer: TypeAlias = LSTM | GRU
TorchLayer: TypeAlias = nn.LSTM | nn.GRU
Engine: TypeAlias = Literal["reference", "fused", "torch"]

CELLS: tuple[type[Layer], ...] = (LSTM, GRU)
ENGINES: tuple[Engine, ...] = ("reference", "fused", "torch")
PEERS: dict[type[Layer], type[TorchLayer]] = {LSTM: nn.LSTM, GRU: nn.GRU}


def parts(state: Tensor | State) -> State:
    """Return a state of torch's convention, h or (h, c), as a tuple."""
    return state if isinstance(state, tuple) else (state,)


def as_hx(state: State) -> Tensor | State:
    """Return a state (h, c) or (h,) in torch's convention."""
    return state if len(state) == 2 else state[0]


def random_state(
    cell: type[Layer], layers: int, batch: int, hidden: int, dtype: torch.dtype = torch.float32
) -> State:
    """Return a random state, parts of (layers, batch, hidden)."""
    number = 2 if cell is LSTM else 1
    return tuple(torch.randn(layers, batch, hidden, dtype=dtype) for _ in range(number))


def parameter_gradients(layer: nn.Module) -> list[Tensor]:
    """Return copies of the parameters' gradients."""
    return [p.grad.clone() for p in layer.parameters() if p.grad is not None]


def total(results: Sequence[Tensor]) -> Tensor:
    """Return a number that depends on every result."""
    return torch.stack([(r * r.detach().cos()).sum() for r in results]).sum()

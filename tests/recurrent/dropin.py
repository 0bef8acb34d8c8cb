"""Drop-in replacements: run the same code on torch's layers and on ours, and compare.

A behaviour is a function of the class. It gives the same results with both, or both raise an
error, ours one of torch's type.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import pytest
import torch
from tests.recurrent.common import PEERS, Layer
from torch import Tensor, nn

from charlm.errors import CharlmError
from charlm.recurrent import GRU, LSTM, EngineName

New: TypeAlias = Callable[..., Any]
"""Makes a layer, of ours or of torch's."""
Behaviour: TypeAlias = Callable[[New], object]

ENGINES: tuple[EngineName, ...] = ("reference", "fused", "auto", "torch")


class Behaviours:
    """Behaviours to compare.

    Args:
        refused: those that we refuse, by some engine at least, although torch accepts them, with
            the words of the class's docstring that say so.
        coarse: those that torch computes in 16 bits, and we at least in part.
    """

    def __init__(
        self, *, refused: dict[str, str] | None = None, coarse: frozenset[str] = frozenset()
    ) -> None:
        self.refused = refused or {}
        self._coarse = coarse
        self._functions: dict[str, Behaviour] = {}

    def add(self, function: Behaviour) -> Behaviour:
        """Add a function under its own name."""
        self.add_as(function.__name__, function)
        return function

    def add_as(self, name: str, function: Behaviour) -> None:
        """Add a function."""
        assert name not in self._functions
        self._functions[name] = function

    def cases(self) -> list[Any]:
        """Return pytest's parameters (cell, engine, name) of all comparisons."""
        return [
            pytest.param(cell, engine, name, id=f"{name}-{cell.__name__}-{engine}")
            for name in self._functions
            for cell in (LSTM, GRU)
            for engine in ENGINES
        ]

    def check(self, cell: type[Layer], engine: EngineName, name: str) -> None:
        """Compare our layer with torch's."""
        new: New = cell if engine == "auto" else partial(cell, engine=engine)
        ours, our_error = _outcome(self._functions[name], new)
        theirs, their_error = _outcome(self._functions[name], PEERS[cell])
        if their_error is not None:
            assert our_error is not None, f"torch raises {their_error!r}"
            for kind in (ValueError, TypeError, RuntimeError):
                if isinstance(their_error, kind):
                    assert isinstance(our_error, kind), f"{our_error!r}; torch: {their_error!r}"
        elif name in self.refused and our_error is not None:
            assert isinstance(our_error, CharlmError) or name == "symbolic_trace", repr(our_error)
            assert self.refused[name] in str(LSTM.__doc__)
        elif our_error is not None:
            raise our_error
        else:
            in_16_bits = "half" in name or "bf" in name
            _compare(ours, theirs, 3e-2 if name in self._coarse else 1e-2 if in_16_bits else 1e-4)

    def check_refused(self, cell: type[Layer], name: str) -> None:
        """Check that the fused engine refuses what torch accepts."""
        _, error = _outcome(self._functions[name], partial(cell, engine="fused"))
        assert error is not None


def _outcome(function: Behaviour, new: New) -> tuple[object, Exception | None]:
    torch.manual_seed(0)
    try:
        return function(new), None
    except Exception as error:
        return None, error


def _compare(ours: Any, theirs: object, tolerance: float) -> None:
    if isinstance(theirs, Tensor):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        _compare(list(ours.values()), list(theirs.values()), tolerance)
    elif isinstance(theirs, list | tuple):
        for our, their in zip(ours, theirs, strict=True):
            _compare(our, their, tolerance)
    elif isinstance(theirs, str):
        assert re.sub(", engine=[a-z]+", "", ours) == theirs
    else:
        assert ours == theirs


def is_lstm(new: New) -> bool:
    """Return whether an LSTM is made."""
    made = new.func if isinstance(new, partial) else new
    return isinstance(made, type) and issubclass(made, nn.LSTM)


def as_state(new: New, state: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    """Return a state made of one tensor, as the layer takes it."""
    return (state, state + 1) if is_lstm(new) else state


def x(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return random numbers that are the same in each call; T, B, I = 4, 3, 5 by default."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(shape or (4, 3, 5), generator=generator, dtype=torch.float64).to(dtype)


def gradients(layer: nn.Module, outputs: Tensor) -> dict[str, Tensor | None]:
    """Return the parameters' gradients of the sum of the outputs' squares."""
    layer.zero_grad()
    outputs.square().sum().backward()
    return {name: p.grad for name, p in layer.named_parameters()}

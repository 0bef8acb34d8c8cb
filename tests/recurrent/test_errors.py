"""Errors of ours are one line and a `CharlmError`."""

from collections.abc import Callable

import pytest
import torch
from tests.recurrent.common import CELLS, Layer
from tests.recurrent.dropin import New, as_state, x

from charlm.errors import CharlmError

CALLS: dict[str, Callable[[New], object]] = {
    "hidden size 0": lambda new: new(5, 0),
    "hidden size float": lambda new: new(5, 6.0),
    "dropout": lambda new: new(5, 6, dropout=2),
    "engine": lambda new: new(5, 6, engine="fast"),
    "precision": lambda new: new(5, 6, precision="half"),
    "weight_dropout text": lambda new: new(5, 6, weight_dropout="much"),
    "weight_dropout nan": lambda new: new(5, 6, weight_dropout=float("nan")),
    "locked_dropout": lambda new: new(5, 6, locked_dropout="yes"),
    "input dimensions": lambda new: new(5, 6)(x(5)),
    "input features": lambda new: new(5, 6)(x(4, 3, 4)),
    "input dtype": lambda new: new(5, 6)(x(dtype=torch.float64)),
    "state size": lambda new: new(5, 6)(x(), as_state(new, x(1, 3, 5))),
    "state dtype": lambda new: new(5, 6)(x(), as_state(new, x(1, 3, 6, dtype=torch.float64))),
    "indices bool": lambda new: new(5, 6).forward_indices(
        torch.ones(4, 3, dtype=torch.bool), x(7, 5)
    ),
    "indices dimensions": lambda new: new(5, 6).forward_indices(
        torch.ones(4, dtype=torch.int64), x(7, 5)
    ),
    "indices beyond": lambda new: new(5, 6).forward_indices(torch.full((4, 3), 7), x(7, 5)),
    "table features": lambda new: new(5, 6).forward_indices(
        torch.ones(4, 3, dtype=torch.int64), x(7, 4)
    ),
    "indices state": lambda new: new(5, 6).forward_indices(
        torch.ones(4, 3, dtype=torch.int64), x(7, 5), x(1, 3, 6)
    ),
    "stepper table": lambda new: new(5, 6).stepper(2, x(7, 4)),
    "stepper inputs": lambda new: new(5, 6).stepper(2)(x(3, 5)),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("call", CALLS)
def test_errors_of_ours_are_one_line_and_a_charlm_error(cell: type[Layer], call: str) -> None:
    with pytest.raises(CharlmError, match=r"\A[^\n]+\Z"):
        CALLS[call](cell)

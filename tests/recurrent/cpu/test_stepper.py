"""Steps on the CPU against whole sequences."""

import pytest
import torch

from charlm.errors import CharlmError
from charlm.recurrent import GRU, LSTM
from charlm.recurrent.engines.base import Precision

pytest.importorskip("charlm.recurrent.cpu.target", reason="Numba is missing")

Layer = LSTM | GRU
TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2}


@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 11])
@pytest.mark.parametrize("with_table", [False, True])
def test_steps_give_what_the_sequence_gives(
    cell: type[Layer], precision: Precision, batch: int, with_table: bool
) -> None:
    torch.manual_seed(0)
    layer = cell(5, 40, 3, engine="fused", precision=precision)
    table, indices = torch.randn(9, 5), torch.randint(9, (6, batch))
    state = tuple(torch.randn(3, batch, 40) for _ in range(2 if cell is LSTM else 1))
    with torch.no_grad():
        expected, final = layer.forward_indices(indices, table, state)
    stepper = layer.stepper(batch, table if with_table else None)
    stepper.state = state
    tolerance = TOLERANCE[precision]
    inputs = indices if with_table else table[indices]
    for step, output in zip(inputs, expected, strict=True):
        torch.testing.assert_close(stepper(step), output, rtol=0, atol=tolerance)
    for ours, theirs in zip(stepper.state, final, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    copied = layer.stepper(batch, table if with_table else None)
    copied.state = stepper.state
    assert torch.equal(copied(inputs[0]), stepper(inputs[0]))


def test_inputs_and_states_that_do_not_fit_are_refused() -> None:
    layer = LSTM(5, 8)
    for table, inputs in ((None, torch.zeros(2, 4)), (torch.zeros(3, 5), torch.zeros(3))):
        with pytest.raises(CharlmError, match="stepper: expected inputs of shape"):
            layer.stepper(2, table)(inputs)
    with pytest.raises(CharlmError, match="state: expected shape"):
        layer.stepper(2).state = (torch.zeros(1, 3, 8), torch.zeros(1, 3, 8))

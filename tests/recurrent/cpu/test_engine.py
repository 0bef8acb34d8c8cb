"""The fused engine on the CPU against `charlm.recurrent.equations` in float64."""

import copy
import os
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from charlm.errors import CharlmError
from charlm.recurrent import GRU, LSTM
from charlm.recurrent.engines.base import Precision

target = pytest.importorskip("charlm.recurrent.cpu.target", reason="Numba is missing")

Layer = LSTM | GRU
CELLS = (LSTM, GRU)
# The largest absolute error allowed, relative to the largest number of the tensor.
TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2}


def outputs_and_gradients(
    layer: Layer, inputs: Tensor, table: Tensor, indices: Tensor, state: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    """Run a layer on vectors and on rows of a table, and return all results and gradients."""
    dtype = layer.weight_hh_l0.dtype
    inputs, table, *given = (t.to(dtype).requires_grad_() for t in (inputs, table, *state))
    if isinstance(layer, LSTM):
        outputs, final = layer(inputs, tuple(given))
    else:
        outputs, h = layer(inputs, given[0])
        final = (h,)
    looked_up, _ = layer.forward_indices(indices, table)
    loss = (outputs.cos() * torch.arange(layer.hidden_size)).sum() + looked_up.sin().sum()
    loss = loss + sum((part * part).sum() for part in final)
    leaves = {"inputs": inputs, "table": table, **dict(layer.named_parameters())}
    leaves |= {f"state {n}": part for n, part in enumerate(given)}
    gradients = torch.autograd.grad(loss, tuple(leaves.values()))
    return {
        "outputs": outputs,
        "looked_up": looked_up,
        **{f"final {n}": part for n, part in enumerate(final)},
        **{f"d {name}": d for name, d in zip(leaves, gradients, strict=True)},
    }


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("hidden", "batch", "steps", "layers"),
    [(1, 1, 1, 1), (7, 3, 5, 3), (64, 9, 6, 2), (273, 1, 4, 1), (1000, 3, 2, 1)],
)
def test_results_and_gradients_are_those_of_the_equations(
    cell: type[Layer], precision: Precision, hidden: int, batch: int, steps: int, layers: int
) -> None:
    torch.manual_seed(hidden)
    layer = cell(5, hidden, layers, engine="fused", precision=precision)
    exact = cell(5, hidden, layers, engine="reference", dtype=torch.float64)
    exact.load_state_dict(layer.state_dict())
    arguments = (
        torch.randn(steps, batch, 5),
        torch.randn(9, 5),
        torch.randint(9, (steps, batch)),
        tuple(torch.randn(layers, batch, hidden) for _ in range(2 if cell is LSTM else 1)),
    )
    ours = outputs_and_gradients(layer, *arguments)
    theirs = outputs_and_gradients(exact, *arguments)
    for name, expected in theirs.items():
        assert ours[name].dtype == torch.float32
        error = (ours[name].double() - expected).abs().max() / expected.abs().max()
        assert error < TOLERANCE[precision], f"{name}: {error}"


@pytest.mark.parametrize("cell", CELLS)
def test_autocast_selects_bfloat16(cell: type[Layer]) -> None:
    layer = cell(5, 40, engine="fused")
    inputs = torch.randn(6, 3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = layer(inputs)
    single, _ = layer(inputs)
    layer.precision = "bfloat16"
    torch.testing.assert_close(outputs, layer(inputs)[0], rtol=0, atol=0)
    assert torch.equal(outputs, single) != target.FAST_BFLOAT16


@pytest.mark.parametrize("cell", CELLS)
def test_a_retained_graph_gives_the_same_gradients_again(cell: type[Layer]) -> None:
    layer = cell(5, 40, engine="fused")
    outputs, _ = layer(torch.randn(6, 3, 5))
    parameters = tuple(layer.parameters())
    first = torch.autograd.grad(outputs.sum(), parameters, retain_graph=True)
    second = torch.autograd.grad(outputs.sum(), parameters)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_indices_outside_the_table_are_refused() -> None:
    layer = LSTM(5, 8, engine="fused")
    table = torch.randn(9, 5)
    for bad in (-1, 9):
        with pytest.raises(CharlmError, match="table of 9"):
            layer.forward_indices(torch.tensor([[0], [bad]]), table)
        with pytest.raises(CharlmError, match="table of 9"):
            layer.stepper(1, table)(torch.tensor([bad]))


def test_a_copied_layer_computes_the_same() -> None:
    layer = GRU(5, 8, engine="fused")
    inputs = torch.randn(4, 2, 5)
    assert torch.equal(layer(inputs)[0], copy.deepcopy(layer)(inputs)[0])


TRAIN = """
import hashlib, sys, torch
from charlm.recurrent import GRU, LSTM
torch.set_num_threads(int(sys.argv[1]))
digest = hashlib.sha256()
for cell in (LSTM, GRU):
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        layer = cell(24, 200, 2, engine="fused", precision=precision, dropout=0.2)
        table = torch.randn(50, 24, requires_grad=True)
        indices = torch.randint(50, (40, 19))
        optimizer = torch.optim.SGD([table, *layer.parameters()], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            outputs, _ = layer.forward_indices(indices, table)
            (outputs * outputs.detach().cos()).sum().backward()
            optimizer.step()
        for tensor in (outputs, table, *layer.parameters()):
            digest.update(tensor.detach().numpy().tobytes())
print(digest.hexdigest())
"""


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    digests = [
        subprocess.run(
            [sys.executable, "-c", TRAIN, threads],
            env=os.environ,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "3")
    ]
    assert len(digests[0].strip()) == 64
    assert all(one == other for one, other in pairwise(digests))

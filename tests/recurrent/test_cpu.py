"""The compiled kernels against `equations` in float64, and what they promise besides."""

import copy
import hashlib
import os
import subprocess
import sys

import pytest
import torch

from charlm.errors import CharlmError
from charlm.recurrent import GRU, LSTM

target = pytest.importorskip("charlm.recurrent.cpu.target", reason="Numba is missing")

CELLS = (LSTM, GRU)
# Largest difference allowed, as a part of the largest number of the tensor compared.
TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2}


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def outputs_and_gradients(layer, inputs, table, indices, state):
    """All a layer computes from vectors, and from rows of a table, in the layer's precision."""
    dtype = layer.weight_hh_l0.dtype
    inputs, table, *state = (t.to(dtype).requires_grad_() for t in (inputs, table, *parts(state)))
    given = tuple(state) if len(state) == 2 else state[0]
    outputs, final = layer(inputs, given)
    looked_up, _ = layer.forward_indices(indices, table)
    loss = (outputs.cos() * torch.arange(layer.hidden_size)).sum() + looked_up.sin().sum()
    loss = loss + sum((part * part).sum() for part in parts(final))
    leaves = {"inputs": inputs, "table": table, **dict(layer.named_parameters())}
    leaves |= {f"state {n}": part for n, part in enumerate(state)}
    gradients = torch.autograd.grad(loss, tuple(leaves.values()))
    return {
        "outputs": outputs,
        "looked_up": looked_up,
        **{f"final {n}": part for n, part in enumerate(parts(final))},
        **{f"d {name}": d for name, d in zip(leaves, gradients, strict=True)},
    }


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("hidden", "batch", "steps", "layers"),
    [(1, 1, 1, 1), (7, 3, 5, 3), (64, 9, 6, 2), (273, 1, 4, 1), (1000, 3, 2, 1)],
)
def test_kernels_match_the_equations(cell, precision, hidden, batch, steps, layers):
    torch.manual_seed(hidden)
    layer = cell(5, hidden, layers, engine="fused", precision=precision)
    exact = cell(5, hidden, layers, engine="reference", dtype=torch.float64)
    exact.load_state_dict(layer.state_dict())
    state = tuple(torch.randn(layers, batch, hidden) for _ in range(2))
    arguments = (
        torch.randn(steps, batch, 5),
        torch.randn(9, 5),
        torch.randint(9, (steps, batch)),
        state if cell is LSTM else state[0],
    )
    ours = outputs_and_gradients(layer, *arguments)
    theirs = outputs_and_gradients(exact, *arguments)
    for name, expected in theirs.items():
        assert ours[name].dtype == torch.float32
        error = (ours[name].double() - expected).abs().max() / expected.abs().max()
        assert error < TOLERANCE[precision], f"{name}: {error}"


@pytest.mark.parametrize("cell", CELLS)
def test_autocast_selects_bfloat16(cell):
    layer = cell(5, 40, engine="fused")
    inputs = torch.randn(6, 3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = layer(inputs)
    single, _ = layer(inputs)
    layer.precision = "bfloat16"
    torch.testing.assert_close(outputs, layer(inputs)[0], rtol=0, atol=0)
    assert torch.equal(outputs, single) != target.FAST_BFLOAT16


@pytest.mark.parametrize("cell", CELLS)
def test_a_graph_can_be_gone_through_twice(cell):
    layer = cell(5, 40, engine="fused")
    outputs, _ = layer(torch.randn(6, 3, 5))
    first = torch.autograd.grad(outputs.sum(), layer.parameters(), retain_graph=True)
    second = torch.autograd.grad(outputs.sum(), layer.parameters())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 11])
@pytest.mark.parametrize("with_table", [False, True])
def test_stepping_is_running(cell, precision, batch, with_table):
    torch.manual_seed(0)
    layer = cell(5, 40, 3, engine="fused", precision=precision)
    table, indices = torch.randn(9, 5), torch.randint(9, (6, batch))
    state = tuple(torch.randn(3, batch, 40) for _ in range(2 if cell is LSTM else 1))
    with torch.no_grad():
        expected, final = layer.forward_indices(indices, table, state)
    stepper = layer.stepper(batch, table if with_table else None)
    stepper.state = state
    tolerance = TOLERANCE[precision]
    for step, output in zip(indices if with_table else table[indices], expected, strict=True):
        torch.testing.assert_close(stepper(step), output, rtol=0, atol=tolerance)
    for ours, theirs in zip(stepper.state, final, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    copied = layer.stepper(batch, table if with_table else None)
    copied.state = stepper.state
    step = (indices if with_table else table[indices])[0]
    assert torch.equal(copied(step), stepper(step))


def test_stepper_refuses_inputs_that_do_not_fit():
    layer = LSTM(5, 8)
    for table, inputs in ((None, torch.zeros(2, 4)), (torch.zeros(3, 5), torch.zeros(3))):
        with pytest.raises(CharlmError, match="stepper: expected inputs of shape"):
            layer.stepper(2, table)(inputs)
    with pytest.raises(CharlmError, match="state: expected shape"):
        layer.stepper(2).state = (torch.zeros(1, 3, 8), torch.zeros(1, 3, 8))


def test_indices_beyond_the_table_are_refused():
    layer = LSTM(5, 8, engine="fused")
    table = torch.randn(9, 5)
    for bad in (-1, 9):
        with pytest.raises(CharlmError, match="table of 9"):
            layer.forward_indices(torch.tensor([[0], [bad]]), table)
        with pytest.raises(CharlmError, match="table of 9"):
            layer.stepper(1, table)(torch.tensor([bad]))


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


def run(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_same_bits_on_every_run_and_for_every_number_of_threads():
    found = {run(TRAIN, threads)[0] for threads in ("1", "2", "3")}
    assert len(found) == 1
    assert len(found.pop().strip()) == len(hashlib.sha256().hexdigest())


AGREES = """
import torch
from charlm.recurrent import GRU, LSTM
{before}
for cell, peer in ((LSTM, torch.nn.LSTM), (GRU, torch.nn.GRU)):
    ours, theirs = cell(5, 40, 2, engine="fused", precision="bfloat16"), peer(5, 40, 2)
    theirs.load_state_dict(ours.state_dict())
    inputs = torch.randn(6, 11, 5)
    outputs, expected = ours(inputs)[0], theirs(inputs)[0]
    torch.testing.assert_close(outputs, expected, rtol=0, atol={tolerance})
    ours.stepper(3)(inputs[0, :3])
    outputs.sum().backward(), expected.sum().backward()
    gradient, exact = ours.weight_hh_l0.grad, theirs.weight_hh_l0.grad
    torch.testing.assert_close(gradient, exact, rtol=0, atol={tolerance} * 10)
"""


def test_without_numba_torch_s_layers_run_and_one_line_says_so():
    code = "import sys; sys.modules['numba'] = None\n" + AGREES.format(before="", tolerance=0.02)
    _, errors = run(code)
    assert errors.count("Numba cannot be imported") == 1
    assert errors.count("\n") == 1


def test_other_processors(tmp_path):
    """Without AVX-512, tiles are smaller and bfloat16 is computed as float32."""
    before = (
        "from charlm.recurrent.cpu import target\n"
        "assert not target.FAST_BFLOAT16 and target.ROWS == 6"
    )
    run(
        AGREES.format(before=before, tolerance=1e-5),
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES="+avx2,+fma,+avx",
        NUMBA_CACHE_DIR=str(tmp_path),
    )


def test_a_copied_layer_computes_the_same():
    layer = GRU(5, 8, engine="fused")
    inputs = torch.randn(4, 2, 5)
    assert torch.equal(layer(inputs)[0], copy.deepcopy(layer)(inputs)[0])

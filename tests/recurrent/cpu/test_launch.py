"""Where and how the kernels run: other processors, and no Numba."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("charlm.recurrent.cpu.target", reason="Numba is missing")

COMPARE_WITH_TORCH = """
import torch
from charlm.recurrent import GRU, LSTM
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


def run(program: str, **environment: str) -> str:
    """Run a program in a process of its own and return what it writes to the standard error."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_without_numba_torchs_layers_run_and_one_line_says_so() -> None:
    errors = run(
        "import sys; sys.modules['numba'] = None" + COMPARE_WITH_TORCH.format(tolerance=0.02)
    )
    assert errors.count("Numba cannot be imported") == 1
    assert errors.count("\n") == 1


def test_without_numbas_compiler_torchs_layers_run() -> None:
    errors = run(COMPARE_WITH_TORCH.format(tolerance=0.02), NUMBA_DISABLE_JIT="1")
    assert "torch's own layers run instead" in errors


def test_without_avx512_tiles_are_smaller_and_bfloat16_is_computed_as_float32(
    tmp_path: Path,
) -> None:
    before = (
        "from charlm.recurrent.cpu import target\n"
        "assert not target.FAST_BFLOAT16 and target.TILE_ROWS == 6\n"
    )
    run(
        before + COMPARE_WITH_TORCH.format(tolerance=1e-5),
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES="+avx2,+fma,+avx",
        NUMBA_CACHE_DIR=str(tmp_path),
    )

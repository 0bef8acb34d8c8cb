"""The Triton engine: under Triton's interpreter on the CPU, and on a GPU where there is one."""

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="Triton is missing (its wheels come with torch's CUDA builds)")

# Checked in a process of its own: the interpreter must be chosen before Triton is imported.
CHECK = """
import sys, torch
from charlm.recurrent import GRU, LSTM
from charlm.recurrent.gpu import Fused
from charlm.recurrent.reference import Reference

device = sys.argv[1]
cases = [(LSTM, "float32", 1e-5), (GRU, "float32", 1e-5)]
if device == "cuda":  # the interpreter takes a bfloat16's bits for an integer in a product
    cases += [(LSTM, "bfloat16", 5e-2), (GRU, "bfloat16", 5e-2)]
for cell, precision, tolerance in cases:
    for hidden, batch, steps in ((1, 1, 1), (7, 3, 4), (70, 18, 2)):
        torch.manual_seed(0)
        exact = cell(5, hidden, engine="reference", dtype=torch.float64)
        indices = torch.randint(9, (steps, batch))
        for mode in ("dense", "table"):
            inputs = torch.randn(steps, batch, 5) if mode == "dense" else torch.randn(9, 5)
            state = [torch.randn(batch, hidden) for _ in range(2 if cell is LSTM else 1)]
            found = []
            for engine in (Fused, Reference):
                ours = engine is Fused
                where = {"dtype": torch.float32, "device": device} if ours else {}
                tensors = [*(t.double() for t in (inputs, *state)), *exact.parameters()]
                leaves = [t.detach().to(**where).requires_grad_() for t in tensors]
                rows = None if mode == "dense" else indices.to(leaves[0].device)
                run = getattr(engine, cell.__name__.lower())
                results = run(leaves[0], rows, *leaves[1:], precision)
                loss = sum((r * r.detach().cos()).sum() for r in results)
                found.append([*results, *torch.autograd.grad(loss, leaves)])
            for n, (a, b) in enumerate(zip(*found, strict=True)):
                error = (a.double().cpu() - b).abs().max() / b.abs().max()
                assert error < tolerance, (cell, precision, hidden, mode, n, error)
"""


@pytest.mark.parametrize("device", ["interpreter", "cuda"])
def test_kernels_match_the_equations(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    interpreted = device == "interpreter"
    done = subprocess.run(
        [sys.executable, "-c", CHECK, "cpu" if interpreted else device],
        env=os.environ | {"TRITON_INTERPRET": "1" if interpreted else "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

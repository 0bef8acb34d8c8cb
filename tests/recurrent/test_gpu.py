"""The Triton engine: under Triton's interpreter, compiled without a GPU, and on one if it is there.

The interpreter runs programs one after another, so that programs that wait for each other would do
so for ever: there, a group of programs that share weights is of one program.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.recurrent.test_sharing import check_nothing_is_shared

from charlm.errors import CharlmError
from charlm.recurrent import GRU, LSTM
from charlm.recurrent.engines.base import Parameters
from charlm.recurrent.engines.reference import Reference

pytest.importorskip("triton", reason="Triton is missing (its wheels come with torch's CUDA builds)")
import triton

from charlm.recurrent import layers
from charlm.recurrent.gpu import engine as gpu_engine
from charlm.recurrent.gpu import graphs, kernels, overlap
from charlm.recurrent.gpu.plan import MEASURED, Plan, Tile, plan
from charlm.recurrent.gpu.stepper import GPUStepper

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="run by test_under_the_interpreter")
TOLERANCE = {"float32": 1e-5, "bfloat16": 4e-2}
CELLS = [LSTM, GRU]


def test_under_the_interpreter():
    """Run the tests below in a process of their own: Triton's mode is chosen at its import."""
    if INTERPRETED:
        pytest.skip("this is that process")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", __file__, "-k", "interpreter_"],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def one_program_a_group(cell, size, batch, kind, device, at_once=1):
    units = triton.next_power_of_2(size)
    depth = max(16, units)
    forward, backward = Tile(8, depth, 8), Tile(8, depth // 2, 8)
    return Plan(True, min(2, batch), units, forward, backward)


def check(cell, precision, hidden, batch, steps, with_table, device="cpu"):
    """Compare outputs, final states and all gradients with the equations in float64.

    Tolerances are relative to the largest number of a tensor.
    """
    exact = cell(5, hidden, engine="reference", dtype=torch.float64)
    inputs = torch.randn(9, 5) if with_table else torch.randn(steps, batch, 5)
    indices = torch.randint(9, (steps, batch)) if with_table else None
    state = [torch.randn(batch, hidden) for _ in range(2 if cell is LSTM else 1)]
    tensors = [t.detach().double() for t in (inputs, *state, *exact.parameters())]
    found = []
    for engine, dtype, place in (
        (gpu_engine.FusedGPU, torch.float32, device),
        (Reference, torch.float64, "cpu"),
    ):
        leaves = [t.to(place, dtype).requires_grad_() for t in tensors]
        rows = indices if indices is None else indices.to(place)
        outputs, final = getattr(engine, cell.cell)(
            leaves[0], rows, tuple(leaves[1:-4]), Parameters(*leaves[-4:]), precision
        )
        results = outputs, *final
        loss = sum((r * r.detach().cos()).sum() for r in results)
        found.append([*results, *torch.autograd.grad(loss, leaves)])
    for ours, theirs in zip(*found, strict=True):
        error = (ours.double().cpu() - theirs).abs().max() / theirs.abs().max()
        assert error < TOLERANCE[precision]


@interpreted
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("precision", "hidden", "batch", "steps", "with_table"),
    [
        ("float32", 1, 1, 1, True),
        ("float32", 7, 3, 4, False),
        ("float32", 37, 18, 2, True),
        ("bfloat16", 19, 3, 3, False),
    ],
)
@pytest.mark.parametrize("resident", [False, True])
def test_interpreter_matches_the_equations(
    cell, precision, hidden, batch, steps, with_table, resident, monkeypatch
):
    torch.manual_seed(0)
    if resident:
        monkeypatch.setattr(gpu_engine, "plan_on", one_program_a_group)
    for _ in range(2):  # the second time in the memory of the first
        check(cell, precision, hidden, batch, steps, with_table)
    assert all(len(loops) == 1 for loops in graphs._idle.values())


@pytest.fixture
def triton_on_cpu(monkeypatch):
    monkeypatch.setattr(layers, "_fused", lambda device: gpu_engine.FusedGPU)


@interpreted
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("with_table", [False, True])
def test_interpreter_runs_stretches_as_a_whole(cell, with_table, triton_on_cpu, monkeypatch):
    monkeypatch.setattr(overlap, "STRETCH", 2)
    options = {"dropout": 0.5, "locked_dropout": True, "weight_dropout": 0.5}
    inputs = torch.randn(4, 3) if with_table else torch.randn(5, 2, 3)
    indices = torch.randint(4, (5, 2))
    found = []
    parameters = cell(3, 4, 3).state_dict()
    for engine in ("fused", "reference"):
        layer = cell(3, 4, 3, engine=engine, **options)
        layer.load_state_dict(parameters)
        torch.manual_seed(1)
        leaf = inputs.clone().requires_grad_()
        outputs, state = layer.forward_indices(indices, leaf) if with_table else layer(leaf)
        results = [outputs, *(state if isinstance(state, tuple) else [state])]
        loss = sum((r * r.detach().cos()).sum() for r in results)
        found.append([*results, *torch.autograd.grad(loss, [leaf, *layer.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def check_stepper(cell, precision, device):
    layer = cell(5, 20, 2, engine="fused", precision=precision, device=device)
    indices = torch.randint(9, (4, 3), device=device)
    table = torch.randn(9, 5, device=device)
    first = tuple(torch.randn(2, 3, 20, device=device) for _ in range(2 if cell is LSTM else 1))
    with torch.no_grad():
        expected, last = layer.forward_indices(indices, table, first)
    for rows in (indices, table[indices]):
        stepper = GPUStepper(layer, 3, table if rows is indices else None, precision)
        for part in stepper._read_state():
            assert not part.any()
        stepper.state = first
        for step, output in zip(rows, expected, strict=True):
            torch.testing.assert_close(stepper(step), output, rtol=0, atol=TOLERANCE[precision])
        for ours, theirs in zip(stepper.state, last, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[precision])


@interpreted
@pytest.mark.parametrize("cell", CELLS)
def test_interpreter_steps_as_it_runs(cell, triton_on_cpu):
    check_stepper(cell, "float32", "cpu")


@interpreted
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("hidden", [32, 33])
def test_interpreter_shares_no_memory(
    cell, precision, resident, hidden, triton_on_cpu, monkeypatch
):
    if resident:
        monkeypatch.setattr(gpu_engine, "plan_on", one_program_a_group)
    for with_table in (False, True):
        layer = cell(32, hidden, engine="fused", precision=precision)
        check_nothing_is_shared(layer, 2, 2, with_table)
    found = []
    for in_place in (False, True):
        layer.zero_grad()
        outputs, _ = layer(torch.ones(2, 2, 32))
        outputs = outputs.relu_() if in_place else outputs.relu()
        outputs.square().sum().backward()
        found.append([p.grad.clone() for p in layer.parameters()])
    for ours, expected in zip(*found, strict=True):
        assert torch.equal(ours, expected)


@interpreted
@pytest.mark.parametrize("cell", CELLS)
def test_interpreter_refuses_second_derivatives(cell, triton_on_cpu):
    layer = cell(5, 8, engine="fused")
    inputs = torch.randn(2, 2, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(inputs)[0].sum(), inputs, create_graph=True)
    with pytest.raises(CharlmError, match='engine="reference"'):
        torch.autograd.grad(gradient.sum(), tuple(layer.parameters()), allow_unused=True)


SIGNATURE = {
    **dict.fromkeys(("projected", "weight", "operands", "gates", "d_gates"), "*bf16"),
    **dict.fromkeys(("bias", "hidden", "cells", "d_outputs", "d_h", "d_c"), "*fp32"),
    **dict.fromkeys(("steps", "advance", "batch", "group_size", "d_h_counts"), "i32"),
    "arrived": "*i32",
}
H100 = {"processors": 132, "shared_memory": 227 * 1024}


def compiled(kernel, shares, cell, size, precision="bfloat16"):
    """Compile a kernel for an H100, as its arguments would be there."""
    tile = getattr(shares, kernel.__name__)
    constants = {"CELL": cell, "SIZE": size, "UNITS": shares.units, "BATCH": tile.batch}
    constants |= {"DEPTH": tile.depth, "RESIDENT": shares.resident}
    signature = {name: SIGNATURE.get(name, "constexpr") for name in kernel.arg_names}
    if precision == "float32":
        signature = {name: kind.replace("bf16", "fp32") for name, kind in signature.items()}
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or name == "advance"
    }
    return triton.compile(
        triton.compiler.ASTSource(kernel, signature, constants, aligned),
        target=triton.backends.compiler.GPUTarget("cuda", 90, 32),
        options={"num_warps": tile.warps},
    )


def resources(kernel, folder):
    """Registers a thread, and bytes a thread that did not fit into them."""
    (folder / "kernel.cubin").write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    done = subprocess.run(
        [tool, "--dump-resource-usage", folder / "kernel.cubin"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", done.stdout))
    return int(found["REG"]), int(found["STACK"]) + int(found["LOCAL"])


@pytest.mark.skipif(INTERPRETED, reason="compiled in the process that does not interpret")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("size", "batch"), [(512, 64), (1024, 256)])
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_weights_stay_resident_on_an_h100(cell, size, batch, way, tmp_path):
    shares = plan(size, batch, torch.bfloat16, **H100)
    assert shares.resident
    assert shares.groups * triton.cdiv(size, shares.units) <= H100["processors"]
    kernel = compiled(getattr(kernels, way), shares, cell, size)
    registers, spilled = resources(kernel, tmp_path)
    print(f"{registers} registers a thread, {kernel.metadata.shared // 1024} KB of shared memory")
    assert spilled == 0
    assert kernel.metadata.shared <= H100["shared_memory"]
    # The weights are put into shared memory once: before the loop over the steps begins.
    before, loop = kernel.asm["ttgir"].split("scf.for", 1)
    shape = f"64x{size}xbf16" if way == "forward" else f"8x16x{size // 2}xbf16"
    assert re.search(rf"local_alloc .*tensor<{shape}", before)
    assert not re.search(rf"(local_alloc|tt.load) .*tensor<{shape}", loop)
    assert ("wgmma.mma_async" if way == "forward" else "mma.sync") in kernel.asm["ptx"]
    # All have written, one tells; one sees that all have told, then all read on.
    barrier = kernel.asm["ptx"].split("atom.global.gpu.release.add.u32")
    assert len(barrier) == 2
    assert barrier[0].count("bar.sync")
    assert re.search(r"(ld|atom)\.global\.gpu\.acquire", barrier[1])


@pytest.mark.skipif(INTERPRETED, reason="compiled in the process that does not interpret")
@pytest.mark.parametrize(("cell", "precision"), [("lstm", "bfloat16"), ("gru", "float32")])
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_steps_compile_for_an_h100(cell, precision, way, tmp_path):
    shares = plan(2048, 64, getattr(torch, precision), **H100)
    assert not shares.resident
    kernel = compiled(getattr(kernels, way), shares, cell, 2048, precision)
    assert resources(kernel, tmp_path)[1] == 0
    assert kernel.metadata.shared <= H100["shared_memory"]


@on_gpu
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("hidden", "batch", "steps", "with_table"),
    [
        (1, 1, 1, False),
        (7, 3, 4, True),
        (273, 18, 9, False),
        (512, 64, 20, True),
        (1000, 70, 5, False),
        (1024, 256, 6, False),
        (1100, 20, 5, False),
    ],
)
def test_gpu_matches_the_equations(cell, precision, hidden, batch, steps, with_table):
    torch.manual_seed(0)
    for _ in range(3):  # captured, replayed
        check(cell, precision, hidden, batch, steps, with_table, "cuda")


def training_pass(layer, inputs, state):
    layer.zero_grad()
    outputs, final = layer(inputs, state)
    final = final if isinstance(final, tuple) else (final,)
    sum((r * r.detach().cos()).sum() for r in (outputs, *final)).backward()
    return [outputs.detach(), *(p.grad.clone() for p in layer.parameters())]


@on_gpu
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("precision", "hidden", "batch"),
    [("bfloat16", 512, 64), ("bfloat16", 1024, 128), ("bfloat16", 1536, 16), ("float32", 100, 9)],
)
def test_gpu_gives_the_same_bits_on_every_run(cell, precision, hidden, batch):
    layer = cell(32, hidden, 2, engine="fused", precision=precision, device="cuda")
    inputs = torch.randn(200, batch, 32, device="cuda")  # several stretches: layers overlap
    first = training_pass(layer, inputs, None)
    for _ in range(10):
        for ours, theirs in zip(training_pass(layer, inputs, None), first, strict=True):
            assert torch.equal(ours, theirs)


@on_gpu
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layer_count", [2, 3])
def test_gpu_overlaps_layers_rightly(cell, layer_count, monkeypatch):
    layer = cell(32, 256, layer_count, engine="fused", device="cuda")
    inputs = torch.randn(300, 24, 32, device="cuda")
    found = []
    for stretch in (64, 1000):
        monkeypatch.setattr(overlap, "STRETCH", stretch)
        found.append(training_pass(layer, inputs, None))
    for ours, theirs in zip(*found, strict=True):
        error = (ours - theirs).abs().max() / theirs.abs().max()
        assert error < TOLERANCE["float32"]


@on_gpu
def test_gpu_programs_wait_for_each_other():
    """Over thousands of steps a barrier that fails now and then would be seen."""
    layer = LSTM(8, 1024, engine="fused", precision="bfloat16", device="cuda")
    inputs = torch.randn(5000, 32, 8, device="cuda")
    resident = training_pass(layer, inputs, None)
    MEASURED["lstm", 1024, 32] = "replayed"
    try:
        stepped = training_pass(layer, inputs, None)
    finally:
        del MEASURED["lstm", 1024, 32]
    for ours, theirs in zip(resident, stepped, strict=True):
        error = (ours - theirs).abs().max() / theirs.abs().max()
        assert error < TOLERANCE["bfloat16"]


@on_gpu
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gpu_steps_as_it_runs(cell, precision):
    check_stepper(cell, precision, "cuda")
    layer = cell(5, 20, engine="fused", precision=precision, device="cuda")
    stepper = layer.stepper(3)
    assert isinstance(stepper, GPUStepper)
    inputs = torch.randn(3, 5, device="cuda")
    stepper(inputs)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    stepper(inputs)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before

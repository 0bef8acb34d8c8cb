"""The Triton engine: under Triton's interpreter, compiled without a GPU, and on a GPU.

The interpreter runs programs one after another, so programs that wait for each other would wait
forever. Under it, a group of programs has one program.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from tests.recurrent.common import CELLS, Layer, parameter_gradients, parts, random_state, total
from tests.recurrent.test_sharing import check_nothing_is_shared

from charlm.errors import CharlmError
from charlm.recurrent import LSTM
from charlm.recurrent.engines.base import Cell, Engine, Parameters, Precision
from charlm.recurrent.engines.reference import run_reference

pytest.importorskip("triton", reason="Triton is missing (its wheels come with torch's CUDA builds)")
import triton

from charlm.recurrent import selection
from charlm.recurrent.gpu import engine as gpu_engine
from charlm.recurrent.gpu import graphs, kernels
from charlm.recurrent.gpu import plan as gpu_plan
from charlm.recurrent.gpu.enclosing import enclosed_in_graph
from charlm.recurrent.gpu.plan import Plan, Tile, make_plan
from charlm.recurrent.gpu.stepper import GPUStepper

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="run by test_under_the_interpreter")
TOLERANCE: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 4e-2}


def test_under_the_interpreter() -> None:
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


def one_program_per_group(
    cell: Cell, size: int, batch: int, dtype: torch.dtype, device: torch.device
) -> Plan:
    units = triton.next_power_of_2(size)
    depth = max(16, units)
    forward, backward = Tile(8, depth, 8), Tile(8, depth // 2, 8)
    return Plan(True, min(2, batch), units, forward, backward)


def check(
    cell: type[Layer],
    precision: Precision,
    *,
    hidden: int,
    batch: int,
    steps: int,
    with_table: bool,
    device: str = "cpu",
) -> None:
    """Compare outputs, final states and all gradients with the equations in float64.

    Tolerances are relative to the largest number of a tensor.
    """
    exact = cell(5, hidden, engine="reference", dtype=torch.float64)
    inputs = torch.randn(9, 5) if with_table else torch.randn(steps, batch, 5)
    indices = torch.randint(9, (steps, batch)) if with_table else None
    state = [torch.randn(batch, hidden) for _ in range(2 if cell is LSTM else 1)]
    tensors = [t.detach().double() for t in (inputs, *state, *exact.parameters())]

    def results(engine: Engine, dtype: torch.dtype, place: str) -> list[torch.Tensor]:
        leaves = [t.to(place, dtype).requires_grad_() for t in tensors]
        outputs, final = engine(
            exact.cell,
            leaves[0],
            indices=None if indices is None else indices.to(place),
            state=tuple(leaves[1:-4]),
            parameters=Parameters(*leaves[-4:]),
            precision=precision,
        )
        return [outputs, *final, *torch.autograd.grad(total((outputs, *final)), leaves)]

    found = results(gpu_engine.run_fused_gpu, torch.float32, device)
    expected = results(run_reference, torch.float64, "cpu")
    for ours, theirs in zip(found, expected, strict=True):
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
    cell: type[Layer],
    precision: Precision,
    hidden: int,
    batch: int,
    steps: int,
    with_table: bool,
    resident: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    if resident:
        monkeypatch.setattr(gpu_engine, "plan_for_device", one_program_per_group)
    for _ in range(2):  # the second time in the memory of the first
        check(cell, precision, hidden=hidden, batch=batch, steps=steps, with_table=with_table)
    assert all(len(loops) == 1 for loops in graphs._idle.values())


@pytest.fixture
def triton_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_fused", lambda device: gpu_engine.run_fused_gpu)


@interpreted
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("with_table", [False, True])
@pytest.mark.usefixtures("triton_on_cpu")
def test_interpreter_runs_a_stack(cell: type[Layer], with_table: bool) -> None:
    inputs = torch.randn(4, 3) if with_table else torch.randn(5, 2, 3)
    indices = torch.randint(4, (5, 2))
    found = []
    parameters = cell(3, 4, 3).state_dict()
    engines: list[Literal["fused", "reference"]] = ["fused", "reference"]
    for engine in engines:
        layer = cell(3, 4, 3, engine=engine, dropout=0.5, locked_dropout=True, weight_dropout=0.5)
        layer.load_state_dict(parameters)
        torch.manual_seed(1)
        leaf = inputs.clone().requires_grad_()
        outputs, state = layer.forward_indices(indices, leaf) if with_table else layer(leaf)
        results = [outputs, *parts(state)]
        gradients = torch.autograd.grad(total(results), [leaf, *layer.parameters()])
        found.append([*results, *gradients])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def check_stepper(cell: type[Layer], precision: Precision, device: str) -> None:
    layer = cell(5, 20, 2, engine="fused", precision=precision, device=device)
    indices = torch.randint(9, (4, 3), device=device)
    table = torch.randn(9, 5, device=device)
    first = tuple(part.to(device) for part in random_state(cell, 2, 3, 20))
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
@pytest.mark.usefixtures("triton_on_cpu")
def test_interpreter_steps_as_it_runs(cell: type[Layer]) -> None:
    check_stepper(cell, "float32", "cpu")


@interpreted
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("hidden", [32, 33])
@pytest.mark.usefixtures("triton_on_cpu")
def test_interpreter_shares_no_memory(
    cell: type[Layer],
    precision: Precision,
    resident: bool,
    hidden: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if resident:
        monkeypatch.setattr(gpu_engine, "plan_for_device", one_program_per_group)
    for with_table in (False, True):
        layer = cell(32, hidden, engine="fused", precision=precision)
        check_nothing_is_shared(layer, 2, 2, with_table)
    found = []
    for in_place in (False, True):
        layer.zero_grad()
        outputs, _ = layer(torch.ones(2, 2, 32))
        outputs = outputs.relu_() if in_place else outputs.relu()
        outputs.square().sum().backward()
        found.append(parameter_gradients(layer))
    for ours, expected in zip(*found, strict=True):
        assert torch.equal(ours, expected)


@interpreted
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.usefixtures("triton_on_cpu")
def test_interpreter_refuses_second_derivatives(cell: type[Layer]) -> None:
    layer = cell(5, 8, engine="fused")
    inputs = torch.randn(2, 2, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(inputs)[0].sum(), inputs, create_graph=True)
    with pytest.raises(CharlmError, match='engine="reference"'):
        torch.autograd.grad(gradient.sum(), tuple(layer.parameters()), allow_unused=True)


@interpreted
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.usefixtures("triton_on_cpu")
def test_interpreter_keeps_no_loops_of_a_larger_graph(cell: type[Layer]) -> None:
    layer = cell(5, 7, engine="fused")
    inputs = torch.randn(3, 2, 5)
    expected = training_pass(layer, inputs)
    graphs._idle.clear()
    with enclosed_in_graph():
        found = training_pass(layer, inputs)
    assert not graphs._idle
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


SIGNATURE = {
    **dict.fromkeys(("projected", "weight", "operands", "gates", "d_gates"), "*bf16"),
    **dict.fromkeys(("bias", "hidden", "cells", "d_outputs", "d_h", "d_c"), "*fp32"),
    **dict.fromkeys(("steps", "advance", "batch", "group_size", "d_h_counts"), "i32"),
    "arrived": "*i32",
}
H100 = {"processors": 132, "shared_memory": 227 * 1024}


def compiled(
    kernel: triton.JITFunction[object],
    plan: Plan,
    *,
    cell: Cell,
    size: int,
    precision: Precision = "bfloat16",
) -> triton.compiler.CompiledKernel:
    """Compile a kernel for an H100, as its arguments would be there."""
    tile: Tile = getattr(plan, kernel.__name__)
    constants = {"CELL": cell, "SIZE": size, "UNITS": plan.units, "BATCH": tile.batch}
    constants |= {"DEPTH": tile.depth, "RESIDENT": plan.resident}
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


def resources(kernel: triton.compiler.CompiledKernel, folder: Path) -> tuple[int, int]:
    """Return the registers per thread, and the bytes per thread that did not fit into them."""
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
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_weights_stay_resident_on_an_h100(
    cell: Cell, size: int, batch: int, direction: str, tmp_path: Path
) -> None:
    plan = make_plan(size, batch, torch.bfloat16, **H100)
    assert plan.resident
    assert plan.groups * triton.cdiv(size, plan.units) <= H100["processors"]
    kernel = compiled(getattr(kernels, direction), plan, cell=cell, size=size)
    registers, spilled = resources(kernel, tmp_path)
    print(f"{registers} registers a thread, {kernel.metadata.shared // 1024} KB of shared memory")
    assert spilled == 0
    assert kernel.metadata.shared <= H100["shared_memory"]
    # The weights are put into shared memory once, before the loop over the steps.
    before, loop = kernel.asm["ttgir"].split("scf.for", 1)
    shape = f"64x{size}xbf16" if direction == "forward" else f"8x16x{size // 2}xbf16"
    assert re.search(rf"local_alloc .*tensor<{shape}", before)
    assert not re.search(rf"(local_alloc|tt.load) .*tensor<{shape}", loop)
    assert ("wgmma.mma_async" if direction == "forward" else "mma.sync") in kernel.asm["ptx"]
    # All threads have written before one counts the program; one sees that all programs are counted
    # before all threads read on.
    barrier = kernel.asm["ptx"].split("atom.global.gpu.release.add.u32")
    assert len(barrier) == 2
    assert barrier[0].count("bar.sync")
    assert re.search(r"(ld|atom)\.global\.gpu\.acquire", barrier[1])


@pytest.mark.skipif(INTERPRETED, reason="compiled in the process that does not interpret")
@pytest.mark.parametrize(("cell", "precision"), [("lstm", "bfloat16"), ("gru", "float32")])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_steps_compile_for_an_h100(
    cell: Cell, precision: Precision, direction: str, tmp_path: Path
) -> None:
    plan = make_plan(2048, 64, getattr(torch, precision), **H100)
    assert not plan.resident
    kernel = compiled(getattr(kernels, direction), plan, cell=cell, size=2048, precision=precision)
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
def test_gpu_matches_the_equations(
    cell: type[Layer], precision: Precision, hidden: int, batch: int, steps: int, with_table: bool
) -> None:
    torch.manual_seed(0)
    for _ in range(3):  # captured, replayed
        check(
            cell,
            precision,
            hidden=hidden,
            batch=batch,
            steps=steps,
            with_table=with_table,
            device="cuda",
        )


def training_pass(layer: Layer, inputs: torch.Tensor) -> list[torch.Tensor]:
    """Return the outputs and the gradients of the parameters."""
    layer.zero_grad()
    outputs, final = layer(inputs)
    total((outputs, *parts(final))).backward()
    return [outputs.detach(), *parameter_gradients(layer)]


@on_gpu
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("precision", "hidden", "batch"),
    [("bfloat16", 512, 64), ("bfloat16", 1024, 128), ("bfloat16", 1536, 16), ("float32", 100, 9)],
)
def test_gpu_gives_the_same_bits_on_every_run(
    cell: type[Layer], precision: Precision, hidden: int, batch: int
) -> None:
    layer = cell(32, hidden, 2, engine="fused", precision=precision, device="cuda")
    inputs = torch.randn(200, batch, 32, device="cuda")
    first = training_pass(layer, inputs)
    for _ in range(10):
        for ours, theirs in zip(training_pass(layer, inputs), first, strict=True):
            assert torch.equal(ours, theirs)


@on_gpu
def test_gpu_programs_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of steps would show a barrier that fails now and then."""
    layer = LSTM(8, 1024, engine="fused", precision="bfloat16", device="cuda")
    inputs = torch.randn(5000, 32, 8, device="cuda")
    monkeypatch.setattr(gpu_plan, "fastest_loop", lambda card, shape: "resident")
    resident = training_pass(layer, inputs)
    monkeypatch.setattr(gpu_plan, "fastest_loop", lambda card, shape: "replayed")
    stepped = training_pass(layer, inputs)
    for ours, theirs in zip(resident, stepped, strict=True):
        error = (ours - theirs).abs().max() / theirs.abs().max()
        assert error < TOLERANCE["bfloat16"]


@on_gpu
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gpu_steps_as_it_runs(cell: type[Layer], precision: Precision) -> None:
    check_stepper(cell, precision, "cuda")
    layer = cell(5, 20, engine="fused", precision=precision, device="cuda")
    stepper = layer.stepper(3)
    assert isinstance(stepper, GPUStepper)
    inputs = torch.randn(3, 5, device="cuda")
    stepper(inputs)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    stepper(inputs)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before

"""Compiled kernels in Numba's cache on disk, which processes and versions share."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

import charlm

target = pytest.importorskip("charlm.recurrent.cpu.target", reason="Numba is missing")

VARIANTS = tuple(itertools.product(("LSTM", "GRU"), ("float32", "bfloat16")))

# Compares the fused engine with the equations for each argument CELL:PRECISION.
PROGRAM = """
import sys
import torch
from charlm import recurrent

for variant in sys.argv[1:]:
    name, precision = variant.split(":")
    torch.manual_seed(0)
    cell = getattr(recurrent, name)
    layer = cell(8, 64, engine="fused", precision=precision)
    exact = cell(8, 64, engine="reference", dtype=torch.float64)
    exact.load_state_dict(layer.state_dict())
    inputs = torch.randn(9, 4, 8)
    found, expected = [], []
    for results, model in ((found, layer), (expected, exact)):
        outputs, _ = model(inputs.to(model.weight_hh_l0.dtype))
        gradients = torch.autograd.grad(outputs.square().sum(), tuple(model.parameters()))
        results += [outputs, *gradients]
    for one, other in zip(found, expected):
        error = float((one - other).abs().max() / other.abs().max())
        assert error < (1e-5 if precision == "float32" else 5e-2), (variant, error)
    print(variant)
"""


def run(cache: Path, *variants: tuple[str, str], before: str = "", **environment: str) -> None:
    """Run the statements `before` and `PROGRAM` in a process of their own."""
    names = [":".join(variant) for variant in variants]
    done = subprocess.run(
        [sys.executable, "-c", before + PROGRAM, *names],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache filled by four processes, each of which ran one cell in one precision."""
    cache = tmp_path_factory.mktemp("cache")
    for variant in VARIANTS:
        run(cache, variant)
    return cache


SAMPLE = (0, 10, 13, 23)  # each variant comes first once
ORDERS = [
    pytest.param(order, id=str(number), marks=() if number in SAMPLE else pytest.mark.full)
    for number, order in enumerate(itertools.permutations(VARIANTS))
]


@pytest.mark.parametrize("order", ORDERS)
def test_kernels_of_several_processes_work_in_one(
    order: tuple[tuple[str, str], ...], filled_cache: Path
) -> None:
    run(filled_cache, *order)


def test_every_compiled_function_has_a_unique_name() -> None:
    from charlm.recurrent.cpu import activations, kernels, products, threads, tiles

    functions = {
        f
        for module in (activations, kernels, products, threads, tiles)
        for f in vars(module).values()
        if isinstance(f, Dispatcher)
    }
    names = {f.py_func.__name__ for f in functions}
    assert len(names) == len(functions) > 10
    assert all(name.endswith(target.DIGEST) for name in names)


def test_the_digest_covers_every_file_that_determines_the_machine_code() -> None:
    folder = Path(target.__file__).parent
    waiting, found = ["kernels.py"], set()
    while waiting:
        file = waiting.pop()
        found.add(file)
        modules = re.findall(
            r"from charlm\.recurrent\.cpu\.(\w+) import", (folder / file).read_text()
        )
        waiting += {f"{module}.py" for module in modules} - found
    assert found == set(target.SOURCES)


def test_another_version_in_the_same_folder_is_compiled_again(tmp_path: Path) -> None:
    package = shutil.copytree(Path(charlm.__file__).parent, tmp_path / "charlm")
    path = {"PYTHONPATH": str(tmp_path)}
    variant = ("GRU", "float32")
    run(tmp_path / "cache", variant, **path)
    file = package / "recurrent/cpu/activations.py"
    source, times = file.read_text(), file.stat()
    changed = source.replace(
        "return e / (e + broadcast(np.float32(2)))", "return e / (e + e + e     )"
    )
    assert changed != source
    file.write_text(changed)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(AssertionError, match="AssertionError"):
        run(tmp_path / "cache", variant, **path)


def test_a_damaged_cache_is_replaced(filled_cache: Path, tmp_path: Path) -> None:
    cache = shutil.copytree(filled_cache, tmp_path / "cache")
    files = list(cache.rglob("*.nbc"))
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    for _ in range(2):
        run(cache, ("GRU", "float32"))
    assert all(file.stat().st_size > 100 for file in files if "gru_forward_float32" in file.name)


# Numba tries no folder but NUMBA_CACHE_DIR.
ONLY_THERE = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}


@pytest.mark.parametrize(
    ("before", "environment"),
    [
        ("import os; os.environ['NUMBA_CACHE_DIR'] = '/proc/0'", ONLY_THERE),
        ("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))", {}),
    ],
    ids=["no folder", "full disk"],
)
def test_kernels_work_without_a_cache(
    before: str, environment: dict[str, str], tmp_path: Path
) -> None:
    run(tmp_path, ("GRU", "float32"), before=before, **environment)
    assert not list(tmp_path.rglob("*.nbc"))

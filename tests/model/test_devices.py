"""Devices and their memory, with simulated CUDA and MPS devices."""

from pathlib import Path

import pytest
import torch

from charlm.errors import CharlmError
from charlm.model import devices
from charlm.model.devices import available_memory, choose_device, widest_float

CPU = torch.device("cpu")


def simulate(monkeypatch: pytest.MonkeyPatch, *, cuda: int = 0, mps: bool = False) -> None:
    """Let PyTorch report this number of CUDA devices, and whether there is MPS."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(2, True, "cuda"), (1, False, "cuda"), (0, True, "mps"), (0, False, "cpu")],
)
def test_auto_takes_cuda_then_mps_then_the_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, expected: str
) -> None:
    simulate(monkeypatch, cuda=cuda, mps=mps)
    assert choose_device("auto") == torch.device(expected)


@pytest.mark.parametrize(
    "name", ["cpu", "cuda", "cuda:0", "cuda:1", "mps", CPU, torch.device("cuda", 1)]
)
def test_an_available_device_is_chosen(
    monkeypatch: pytest.MonkeyPatch, name: str | torch.device
) -> None:
    simulate(monkeypatch, cuda=2, mps=True)
    assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize(
    "name", ["cuda:2", "cuda:99", "cuda:256", "mps:1", "cpu:1", torch.device("cuda", 2)]
)
def test_a_missing_device_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str | torch.device
) -> None:
    simulate(monkeypatch, cuda=2, mps=True)
    with pytest.raises(CharlmError) as error:
        choose_device(name)
    expected = f"this machine has no '{name}' that PyTorch can use; use 'auto' or 'cpu'"
    assert str(error.value) == expected


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", torch.device("cuda")])
def test_an_accelerator_is_refused_on_a_machine_without_one(
    monkeypatch: pytest.MonkeyPatch, name: str | torch.device
) -> None:
    simulate(monkeypatch)
    with pytest.raises(CharlmError, match=f"^this machine has no '{name}' that PyTorch can use"):
        choose_device(name)


@pytest.mark.parametrize(
    "name", ["gpu", "", "CPU", "cuda:", "cuda:-1", "cuda:x", "meta", "\ud800", "a\0b"]
)
def test_unknown_names_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    simulate(monkeypatch, cuda=2)
    with pytest.raises(CharlmError) as error:
        choose_device(name)
    assert str(error.value) == (f"unknown device {name!r}; expected auto, cpu, cuda, cuda:N or mps")


def test_errors_name_the_setting() -> None:
    with pytest.raises(CharlmError, match=r"^training\.device: unknown device 'gpu'"):
        choose_device("gpu", "training.device")
    with pytest.raises(CharlmError, match=r"^training\.device: this machine has no 'cuda:9'"):
        choose_device("cuda:9", "training.device")


@pytest.mark.skipif(not devices.MEMINFO.exists(), reason="reads /proc")
def test_free_memory_is_a_part_of_the_total() -> None:
    total = 1024 * int(devices.MEMINFO.read_text().split()[1])
    found = available_memory(CPU)
    assert found is not None
    assert total / 1000 < found < total


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files on the memory of a machine and a container, as Linux has them."""
    monkeypatch.setattr(devices, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(devices, "CGROUP", tmp_path)
    (tmp_path / "meminfo").write_text(
        "MemTotal:       16384 kB\nMemFree:  1024 kB\nMemAvailable:   4096 kB\nHugePages_Total: 0\n"
    )
    (tmp_path / "memory.current").write_text("3145728\n")
    (tmp_path / "memory.stat").write_text("anon 2097152\nfile 1048576\ninactive_file 524288\n")
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max", 4 * 2**20),
        (str(2**40), 4 * 2**20),
        (str(4 * 2**20), 4 * 2**20 - 3 * 2**20 + 2**19),
        (str(2 * 2**20), 0),
        (None, 4 * 2**20),
    ],
)
def test_a_container_limits_the_free_memory(memory: Path, limit: str | None, expected: int) -> None:
    if limit is not None:
        (memory / "memory.max").write_text(f"{limit}\n")
    assert available_memory(CPU) == expected


def test_free_memory_may_be_unknown(memory: Path) -> None:
    (memory / "meminfo").unlink()
    assert available_memory(CPU) is None


def test_the_free_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {torch.device("cuda", 1): (5 * 2**30, 8 * 2**30)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory.__getitem__)
    assert available_memory(torch.device("cuda", 1)) == 5 * 2**30


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", torch.float64), ("cuda", torch.float64), ("mps", torch.float32)],
)
def test_mps_has_no_float64(device: str, expected: torch.dtype) -> None:
    assert widest_float(torch.device(device)) == expected

"""The device and the precision that `auto` stands for."""

from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch

from charlm.errors import CharlmError


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        CharlmError: This machine has no such device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        raise CharlmError(
            f"training.device: this machine has no '{name}' that PyTorch can use; set it to 'auto'"
        )
    return torch.device(name)


def choose_precision(
    name: Literal["auto", "float32", "bfloat16"], device: torch.device
) -> Literal["float32", "bfloat16"]:
    """Return `name`; `auto` takes bfloat16 where the processor multiplies it fast."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    # PyTorch has no public question for this; both of these are in it since 2.5.
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if device.type == "cpu" and fast else "float32"


def available_memory(device: torch.device) -> int | None:
    """Return the bytes of memory that are free on `device`; None where that cannot be known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free.append(1024 * int(next(line.split()[1] for line in lines if "MemAvailable" in line)))
    with suppress(OSError, ValueError):  # a container's limit, or "max"
        free.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(free, default=None)

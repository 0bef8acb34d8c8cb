"""The device and the precision that `auto` stands for."""

from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch

from charlm.errors import CharlmError


def choose_device(name: str | torch.device, setting: str | None = None) -> torch.device:
    """Return a device that this machine has.

    Args:
        name: `auto` (CUDA, then MPS, then the CPU), `cpu`, `cuda`, `cuda:N`, `mps`, or a device.
        setting: The setting that gave the name, for the error message.

    Raises:
        CharlmError: The name is unknown, or this machine has no such device.
    """
    place = f"{setting}: " if setting else ""
    count = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if name == "auto":
        name = next(kind for kind in count if count[kind])
    try:
        device = torch.device(name)
        available = count[device.type]
    except (RuntimeError, TypeError, KeyError):
        raise CharlmError(
            f"{place}unknown device {str(name)!r}; expected auto, cpu, cuda, cuda:N or mps"
        ) from None
    if (device.index or 0) >= available:
        raise CharlmError(
            f"{place}this machine has no '{device}' that PyTorch can use; use 'auto' or 'cpu'"
        )
    return device


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

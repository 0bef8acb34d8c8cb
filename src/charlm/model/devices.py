"""The device and the precision that `auto` stands for."""

from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch

from charlm.errors import CharlmError

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
"""The limits of a container, as control groups of version 2 have them."""


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
    # PyTorch takes 'cuda:256' for 'cuda:0'.
    if str(device) != str(name) or (device.index or 0) >= available:
        raise CharlmError(
            f"{place}this machine has no '{name}' that PyTorch can use; use 'auto' or 'cpu'"
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


def widest_float(device: torch.device) -> torch.dtype:
    """Return the type in which to add up many numbers: float64, which MPS does not have."""
    return torch.float32 if device.type == "mps" else torch.float64


def available_memory(device: torch.device) -> int | None:
    """Return the bytes of memory that are free on `device`; None where that cannot be known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = []
    with suppress(OSError, ValueError, KeyError):
        free.append(1024 * _numbers(MEMINFO)["MemAvailable:"])
    with suppress(OSError, ValueError, KeyError):  # the limit is "max" where there is none
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        # Of what is used, the kernel gives this back when it is needed.
        cache = _numbers(CGROUP / "memory.stat")["inactive_file"]
        free.append(max(0, limit - used + cache))
    return min(free, default=None)


def _numbers(path: Path) -> dict[str, int]:
    """Return the first number of each line by the word before it."""
    lines = path.read_text(encoding="ascii").splitlines()
    return {name: int(number) for name, number, *_ in map(str.split, lines)}

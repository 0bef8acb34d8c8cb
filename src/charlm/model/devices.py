"""Devices: which one to use, in which precision, and how much memory is free there."""

from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch

from charlm.errors import CharlmError
from charlm.recurrent import Precision

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
"""The limits of a container, in the format of control groups version 2."""


def choose_device(name: str | torch.device, setting: str | None = None) -> torch.device:
    """Return a device that is available on this machine.

    Args:
        name: `auto` (CUDA, then MPS, then the CPU), `cpu`, `cuda`, `cuda:N`, `mps`, or a device.
        setting: The setting that the name comes from, for error messages.

    Raises:
        CharlmError: The name is unknown, or this machine has no such device.
    """
    prefix = f"{setting}: " if setting else ""
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
            f"{prefix}unknown device {str(name)!r}; expected auto, cpu, cuda, cuda:N or mps"
        ) from None
    # PyTorch reads 'cuda:256' as 'cuda:0'.
    if str(device) != str(name) or (device.index or 0) >= available:
        raise CharlmError(
            f"{prefix}this machine has no '{name}' that PyTorch can use; use 'auto' or 'cpu'"
        )
    return device


def choose_precision(name: Precision | Literal["auto"], device: torch.device) -> Precision:
    """Return `name`, or what `auto` stands for: the precision in which recurrent layers are faster.

    Processors with AMX have AVX-512's instruction for bfloat16, too, but at half its speed.
    """
    if name != "auto":
        return name
    slow = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return "bfloat16" if has_fast_bfloat16(device) and not slow else "float32"


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether PyTorch multiplies matrices faster in bfloat16 than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # PyTorch has no public function for this; it has had these two since version 2.5.
    has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device.type == "cpu" and has_instructions


def widest_float(device: torch.device) -> torch.dtype:
    """Return the dtype for sums of many numbers: float64, or float32 on MPS, which lacks it."""
    return torch.float32 if device.type == "mps" else torch.float64


def available_memory(device: torch.device) -> int | None:
    """Return the bytes of free memory on a device, or None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = []
    with suppress(OSError, ValueError, KeyError):
        free.append(1024 * _read_numbers(MEMINFO)["MemAvailable:"])
    with suppress(OSError, ValueError, KeyError):  # without a limit, memory.max holds "max"
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        # The kernel frees this part of the used memory on demand.
        cache = _read_numbers(CGROUP / "memory.stat")["inactive_file"]
        free.append(max(0, limit - used + cache))
    return min(free, default=None)


def _read_numbers(path: Path) -> dict[str, int]:
    """Return the first number of each line, by the word before it."""
    lines = path.read_text(encoding="ascii").splitlines()
    return {name: int(number) for name, number, *_ in map(str.split, lines)}

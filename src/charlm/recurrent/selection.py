"""Which engine runs: what `auto` stands for, and which engine is `fused` on which device."""

import logging
import math
from functools import cache
from importlib.util import find_spec
from typing import Literal, NamedTuple, TypeAlias

import torch

from charlm.recurrent.cpu.engine import run_fused_cpu
from charlm.recurrent.cpu.launch import can_run_kernels
from charlm.recurrent.engines.base import Cell, Engine, Precision
from charlm.recurrent.engines.reference import run_reference
from charlm.recurrent.engines.torch import run_torch
from charlm.recurrent.gpu.measured import reason_against

EngineName: TypeAlias = Literal["auto", "reference", "fused", "torch"]
PickedEngine: TypeAlias = Literal["reference", "fused", "torch"]

_log = logging.getLogger(__name__)


class Measured(NamedTuple):
    """The engine that was the fastest over the batches and lengths measured (docs/speed.md)."""

    device: str
    cell: Cell
    precision: Precision
    largest_hidden_size: float
    engine: PickedEngine


# For CPUs; the table for GPUs is in `charlm.recurrent.gpu.measured`. The first row that fits
# counts. If none does, nothing was measured, and torch's layers run.
FASTEST: tuple[Measured, ...] = (
    Measured("cpu", "lstm", "float32", math.inf, "fused"),
    Measured("cpu", "lstm", "bfloat16", math.inf, "fused"),
    Measured("cpu", "gru", "float32", math.inf, "fused"),
    Measured("cpu", "gru", "bfloat16", math.inf, "fused"),
)


def pick_engine(
    name: EngineName,
    cell: Cell,
    *,
    hidden_size: int,
    precision: Precision,
    device: torch.device,
    dtype: torch.dtype,
) -> PickedEngine:
    """Return the engine that `name` stands for, for parameters of a dtype on a device."""
    if name != "auto":
        return name
    if device.type == "cpu" and not can_run_kernels(dtype):
        return "torch"
    return _fastest(device, cell, precision, hidden_size, dtype)


def find_engine(picked: PickedEngine, device: torch.device) -> Engine:
    """Return the function that runs layers on a device."""
    if picked == "reference":
        return run_reference
    return run_torch if picked == "torch" else _fused(device.type)


@cache
def _fastest(
    device: torch.device, cell: Cell, precision: Precision, hidden_size: int, dtype: torch.dtype
) -> PickedEngine:
    """Look up the fastest engine, and log it once."""
    engine: PickedEngine = "torch"
    reason: str | None = "nothing was measured there"
    if device.type == "cuda":
        reason = _reason_against_triton(device, precision, hidden_size, dtype)
        if reason is None:
            engine, reason = "fused", "the fastest measured there"
    for row in FASTEST:
        here = row.device == device.type and row.cell == cell and row.precision == precision
        if here and hidden_size <= row.largest_hidden_size:
            engine, reason = row.engine, "the fastest measured there"
            break
    _log.info(
        "recurrent engine auto: %s for %s, hidden size %d, %s, on %s: %s",
        engine, cell, hidden_size, precision, device.type, reason,
    )  # fmt: skip
    return engine


def _reason_against_triton(
    device: torch.device, precision: Precision, hidden_size: int, dtype: torch.dtype
) -> str | None:
    """Say why `auto` does not pick the fused engine on a GPU; None if it does."""
    if find_spec("triton") is None:
        return "Triton is missing"
    if dtype != torch.float32:
        return f"the kernels do not compute in {str(dtype).removeprefix('torch.')}"
    if precision != "bfloat16":
        return "only bfloat16 was measured"
    return reason_against(device, hidden_size)


@cache
def _fused(device: str) -> Engine:
    """Return the fused engine of a type of device, or torch's and log once that there is none."""
    if device == "cpu":
        return run_fused_cpu
    if device == "cuda":
        try:
            from charlm.recurrent.gpu.engine import run_fused_gpu
        except ImportError:
            _log.warning(
                "recurrent engine fused: Triton is missing; torch's own layers run instead"
            )
        else:
            return run_fused_gpu
    else:
        _log.warning("recurrent engine fused: none for %s; torch's own layers run instead", device)
    return run_torch

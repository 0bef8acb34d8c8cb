"""How the programs of a kernel share the work among the processors of a GPU."""

from functools import cache
from typing import NamedTuple

import torch
import triton

UNITS = 16  # hidden units a program: their four slots fill a tensor core's 64 rows
TILE = 2**15  # numbers of the other operand that a program reads at once: 64 KB of bfloat16


# What was the fastest for (cell, H, B), where it is not what `plan` gives: "replayed" or "torch".
# Nothing was measured yet.
MEASURED: dict[tuple[str, int, int], str] = {}


class Tile(NamedTuple):
    """What a program multiplies at once."""

    batch: int  # examples
    depth: int  # units to sum over; backward, in each of 8 parts
    warps: int


class Plan(NamedTuple):
    """How programs share the work of a loop."""

    resident: bool  # whether the weights stay in shared memory through all steps
    groups: int  # of examples
    units: int  # hidden units a program
    forward: Tile
    backward: Tile


def plan(size: int, batch: int, kind: torch.dtype, processors: int, shared_memory: int) -> Plan:
    """Share the work of B examples and H units among the processors of a GPU.

    Args:
        size: H.
        batch: B.
        kind: the type of the products' operands.
        processors: streaming multiprocessors to be used.
        shared_memory: bytes of it that a program can have.
    """
    depth = max(32, triton.next_power_of_2(size))
    blocks = triton.cdiv(size, UNITS)
    room = 2 * (4 * UNITS * depth + TILE) + 2**13  # weights, the other operand, a tile's results
    if kind == torch.bfloat16 and blocks <= processors and room <= shared_memory:
        groups = min(processors // blocks, triton.cdiv(batch, 8))
        examples = max(8, triton.next_power_of_2(triton.cdiv(batch, groups)))
        forward = Tile(min(examples, 64, TILE // depth), depth, 8)
        backward = Tile(min(examples, 64, TILE // (4 * depth)), depth // 2, 8)
        return Plan(True, groups, UNITS, forward, backward)
    examples = min(64 if kind == torch.bfloat16 else 16, max(8, triton.next_power_of_2(batch)))
    shallow = 2 if kind == torch.bfloat16 else 1
    tiles = Tile(examples, 32 * shallow, 4), Tile(examples, 16 * shallow, 8)
    return Plan(False, triton.cdiv(batch, examples), UNITS, *tiles)


def plan_on(
    cell: str, size: int, batch: int, kind: torch.dtype, device: torch.device, at_once: int = 1
) -> Plan:
    """Share the work on a device, of which `at_once` layers have an equal part each."""
    if device.type != "cuda":  # under the interpreter, which runs one program at a time
        return plan(size, batch, kind, 1, 2**30)
    processors, memory = _resources(device)
    if MEASURED.get((cell, size, batch)) == "replayed":
        memory = 0
    return plan(size, batch, kind, processors // at_once, memory)


@cache
def _resources(device: torch.device) -> tuple[int, int]:
    """Multiprocessors of a GPU, and bytes of shared memory that a program can have there."""
    number = torch.cuda.current_device() if device.index is None else device.index
    found = triton.runtime.driver.active.utils.get_device_properties(number)
    return found["multiprocessor_count"], found["max_shared_mem"]

"""How the programs of a kernel divide the work among the processors of a GPU."""

from typing import NamedTuple

import torch
import triton

from charlm.recurrent.engines.base import Cell
from charlm.recurrent.gpu.measured import Shape, card_of, fastest_loop

UNITS = 16  # hidden units per program: their four slots fill a tensor core's 64 rows
TILE = 2**15  # numbers of the other operand that a program reads at once: 64 KB of bfloat16


class Tile(NamedTuple):
    """What a program multiplies at once."""

    batch: int  # examples
    depth: int  # units to sum over; in the backward pass, in each of 8 parts
    warps: int


class Plan(NamedTuple):
    """How programs divide the work of a loop."""

    resident: bool  # whether the weights stay in shared memory through all steps
    groups: int  # of examples
    units: int  # hidden units per program
    forward: Tile
    backward: Tile


def make_plan(
    size: int, batch: int, dtype: torch.dtype, *, processors: int, shared_memory: int
) -> Plan:
    """Divide the work of B examples and H units among the processors of a GPU.

    Args:
        size: H.
        batch: B.
        dtype: that of the products' operands.
        processors: the number of streaming multiprocessors.
        shared_memory: the shared memory that a program can have, in bytes.
    """
    depth = max(32, triton.next_power_of_2(size))
    blocks = triton.cdiv(size, UNITS)
    # The weights, the other operand and a tile's results, in bytes.
    needed = 2 * (4 * UNITS * depth + TILE) + 2**13
    if dtype == torch.bfloat16 and blocks <= processors and needed <= shared_memory:
        groups = min(processors // blocks, triton.cdiv(batch, 8))
        examples = max(8, triton.next_power_of_2(triton.cdiv(batch, groups)))
        forward = Tile(min(examples, 64, TILE // depth), depth, 8)
        backward = Tile(min(examples, 64, TILE // (4 * depth)), depth // 2, 8)
        return Plan(True, groups, UNITS, forward, backward)
    examples = min(64 if dtype == torch.bfloat16 else 16, max(8, triton.next_power_of_2(batch)))
    factor = 2 if dtype == torch.bfloat16 else 1
    tiles = Tile(examples, 32 * factor, 4), Tile(examples, 16 * factor, 8)
    return Plan(False, triton.cdiv(batch, examples), UNITS, *tiles)


def plan_for_device(
    cell: Cell, size: int, batch: int, dtype: torch.dtype, device: torch.device
) -> Plan:
    """Divide the work of B examples and H units on a device."""
    if device.type != "cuda":  # Triton's interpreter, which runs one program at a time
        return make_plan(size, batch, dtype, processors=1, shared_memory=2**30)
    card = card_of(device)
    replayed = fastest_loop(card, Shape(cell, size, batch)) == "replayed"
    return make_plan(
        size,
        batch,
        dtype,
        processors=card.multiprocessors,
        shared_memory=0 if replayed else card.shared_memory,
    )

"""The fastest loop on each measured card, on which `engine: auto` picks the fused engine.

The figures are milliseconds of two layers over 256 steps, forward and backward, on an NVIDIA H200
(docs/speed.md). `python -m benchmarks gpu` measures them on another card.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

import torch

from charlm.recurrent.engines.base import Cell

LoopKind: TypeAlias = Literal["resident", "replayed"]
"""One kernel for all steps, or one kernel per step; see `charlm.recurrent.gpu.engine`."""


class Card(NamedTuple):
    """A class of cards, on which the same loop is the fastest."""

    capability: tuple[int, int]  # CUDA's compute capability
    multiprocessors: int
    shared_memory: int  # the most that a program can have, in bytes


class Shape(NamedTuple):
    """The shape of a layer."""

    cell: Cell
    size: int  # hidden units
    batch: int  # examples


H200 = Card((9, 0), 132, 227 * 1024)
"""H100 (SXM) and H200."""

# The fastest loop. Behind each row: milliseconds of the resident and of the replayed loop.
FASTEST_LOOP: Mapping[Card, Mapping[Shape, LoopKind]] = {
    H200: {
        Shape("lstm", 256, 32): "resident",  # 5.1, 5.5
        Shape("lstm", 512, 64): "resident",  # 5.0, 9.7
        Shape("lstm", 512, 128): "resident",  # 7.2, 10.8
        Shape("lstm", 512, 256): "resident",  # 10.7, 12.3
        Shape("lstm", 640, 32): "replayed",  # 9.5, 8.5
        Shape("lstm", 1024, 64): "replayed",  # 16.4, 15.5
        Shape("lstm", 1024, 128): "replayed",  # 30.0, 17.7
        Shape("lstm", 1024, 256): "replayed",  # 56.5, 31.4
        Shape("gru", 256, 32): "resident",  # 5.9, 6.2
        Shape("gru", 512, 64): "resident",  # 5.8, 9.1
        Shape("gru", 512, 256): "resident",  # 11.1, 11.9
        Shape("gru", 1024, 128): "replayed",  # 29.1, 16.1
        Shape("gru", 1024, 256): "replayed",  # 55.4, 28.0
    },
}


def fastest_loop(card: Card, shape: Shape) -> LoopKind | None:
    """Return the fastest loop for the nearest measured shape; None if the card was not measured.

    Distances are ratios: a batch of 90 is nearer to 128 than to 64.

    >>> fastest_loop(H200, Shape("lstm", 512, 90))
    'resident'
    >>> fastest_loop(H200, Shape("gru", 896, 100))
    'replayed'
    """
    measured = [each for each in FASTEST_LOOP.get(card, ()) if each.cell == shape.cell]
    if not measured:
        return None
    nearest = min(measured, key=lambda each: _distance(each, shape))
    return FASTEST_LOOP[card][nearest]


def _distance(one: Shape, other: Shape) -> float:
    return abs(math.log2(one.size / other.size)) + abs(math.log2(one.batch / other.batch))


@cache
def card_of(device: torch.device) -> Card:
    """Return the class of a CUDA device."""
    properties = torch.cuda.get_device_properties(device)
    return Card(
        (properties.major, properties.minor),
        properties.multi_processor_count,
        getattr(properties, "shared_memory_per_block_optin", 0),  # missing from older PyTorch
    )


def reason_against(device: torch.device, size: int) -> str | None:
    """Say why `auto` does not pick the fused engine in bfloat16 on a CUDA device; None if it does.

    Sizes above the largest measured one count as not measured. Smaller ones are taken to behave as
    the nearest one measured: there, too, the launches take longer than the kernels.

    Args:
        device: The device.
        size: The hidden size of the layers.
    """
    card = card_of(device)
    if card.capability < (8, 0):
        return "the card's tensor cores cannot multiply bfloat16"
    if card not in FASTEST_LOOP:
        return "the card was not measured"
    largest = max(shape.size for shape in FASTEST_LOOP[card])
    return f"no size above {largest} was measured" if size > largest else None

"""Runs the layers of a stack at the same time."""

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

from charlm.recurrent.engines.base import State

STRETCH = 64  # steps


def overlapped(
    run_layer: Callable[..., tuple[Tensor, State]],
    inputs: Tensor,
    indices: Tensor | None,
    states: Sequence[State],
) -> tuple[Tensor, list[State]]:
    """Run a stack of layers at the same time, on two streams that take turns.

    A layer works on a stretch of steps while the one below it works on the next stretch. Autograd
    runs the backward pass of an operation on the stream of its forward pass, so the backward passes
    overlap too. The order of summation does not depend on which stream is ahead.

    Args:
        run_layer: ``(layer, inputs, indices, state, at_once) -> (outputs, state)``, where the
            first layer alone is given indices, if any.
        inputs: as an engine takes them.
        indices: likewise.
        states: each layer's state before the first step.

    Returns:
        The last layer's outputs, and each layer's state after the last step.
    """
    states, layers = list(states), len(states)
    stretches: list[tuple[Tensor, Tensor | None]]
    if indices is None:
        stretches = [(part, None) for part in torch.split(inputs, STRETCH)]
    else:
        stretches = [(inputs, part) for part in torch.split(indices, STRETCH)]
    at_once = min(2, layers, len(stretches))
    lanes = _Lanes(inputs.device, at_once)
    lanes.share(inputs, *([] if indices is None else [indices]), *itertools.chain(*states))
    done: list[list[Tensor]] = [[] for _ in states]
    for turn in range(len(stretches) + layers - 1):
        lanes.meet()
        for layer in range(max(0, turn - len(stretches) + 1), min(layers, turn + 1)):
            number = turn - layer
            x, rows = stretches[number] if layer == 0 else (done[layer - 1][number], None)
            with lanes.lane(layer):
                x, states[layer] = run_layer(layer, x, rows, states[layer], at_once=at_once)
            lanes.share(x, *states[layer])
            done[layer].append(x)
    lanes.meet()
    return done[-1][0] if len(stretches) == 1 else torch.cat(done[-1]), states


class _Lanes:
    """Streams of a GPU beside the current one; where one is enough, all is done in turn."""

    def __init__(self, device: torch.device, number: int) -> None:
        self._lanes: tuple[torch.cuda.Stream, ...] = ()
        self._all: tuple[torch.cuda.Stream, ...] = ()
        if device.type == "cuda" and number > 1:
            self._lanes = _side_streams(device)
            self._all = (*self._lanes, torch.cuda.current_stream(device))

    def lane(self, layer: int) -> Any:
        return torch.cuda.stream(self._lanes[layer % 2]) if self._lanes else nullcontext()

    def meet(self) -> None:
        """Let all streams wait for what was begun on any of them."""
        events = [stream.record_event() for stream in self._all]
        for stream in self._all:
            for event in events:
                stream.wait_event(event)

    def share(self, *tensors: Tensor) -> None:
        """Keep the memory of tensors that one stream made until all have used it."""
        for tensor in tensors:
            for stream in self._all:
                tensor.record_stream(stream)


@cache
def _side_streams(device: torch.device) -> tuple[torch.cuda.Stream, torch.cuda.Stream]:
    return torch.cuda.Stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

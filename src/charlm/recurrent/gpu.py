"""Engine `fused` on a GPU, in Triton: hand-written forward and backward, one autograd node a layer.

The gradients are those of `charlm.recurrent.equations`; the order of the work is the CPU engine's
(`charlm.recurrent.cpu`). Input products, weight gradients and all else that is parallel in time are
single products of torch's. The loops over the steps are `charlm.recurrent.gpu_kernels`:

- Where the recurrent weights fit into the processors' shared memory, one launch runs all steps and
  the weights stay there (`Plan.resident`). Groups of programs, each with some of the examples, wait
  for each other between steps, so that all must be running at once: there are no more of them than
  the GPU has processors, and the launch is a cooperative one, which fails where they do not fit.
- Where they do not fit, and in float32, a launch runs one step, and all launches are replayed as
  one CUDA graph, which is captured once a shape with memory of its own (`_Replayed`).
- The layers of a stack work at the same time, each on a stretch of steps that the layer below it
  has finished (`overlapped`).

Each number is written by one program and added up in one order, with no floating-point atomics and
no tuning at run time, so that the same inputs give the same bits.

Shapes are those of `charlm.recurrent.equations`; slots are explained in `gpu_kernels`.
"""

import itertools
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from torch.nn import functional

from charlm.recurrent import gpu_kernels
from charlm.recurrent.eager import eager_backward, linked_to, once_differentiable
from charlm.recurrent.reference import Torch
from charlm.recurrent.stepper import Stepper

UNITS = 16  # hidden units a program: their four slots fill a tensor core's 64 rows
TILE = 2**15  # numbers of the other operand that a program reads at once: 64 KB of bfloat16


# What was the fastest for (cell, H, B), where it is not what `plan` gives: "replayed" or "torch".
# Nothing was measured yet.
MEASURED: dict[tuple[str, int, int], str] = {}


class Fused:
    """The engine; see `charlm.recurrent.reference` for the form of the two functions.

    `at_once` tells how many layers run on the GPU at the same time, see `overlapped`.
    """

    @staticmethod
    def lstm(
        inputs: Tensor, indices: Tensor | None, *others: Any, at_once: int = 1
    ) -> tuple[Tensor, ...]:
        """Run an LSTM layer."""
        h, c, *weights, precision = others
        if inputs.dtype != torch.float32 or MEASURED.get(("lstm", h.shape[1], len(h))) == "torch":
            return Torch.lstm(inputs, indices, *others)
        return _run("lstm", inputs, indices, weights, precision, at_once, h, c)

    @staticmethod
    def gru(
        inputs: Tensor, indices: Tensor | None, *others: Any, at_once: int = 1
    ) -> tuple[Tensor, ...]:
        """Run a GRU layer."""
        h, *weights, precision = others
        if inputs.dtype != torch.float32 or MEASURED.get(("gru", h.shape[1], len(h))) == "torch":
            return Torch.gru(inputs, indices, *others)
        return _run("gru", inputs, indices, weights, precision, at_once, h)

    @staticmethod
    def stack(*arguments: Any) -> tuple[Tensor, list[Sequence[Tensor]]]:
        """Run a stack of layers, see `overlapped`."""
        return overlapped(*arguments)


def _run(
    cell: str,
    inputs: Tensor,
    indices: Tensor | None,
    weights: Sequence[Tensor],
    precision: str,
    at_once: int,
    *state: Tensor,
) -> tuple[Tensor, ...]:
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    kind = _kind(precision, inputs.device)
    projected = functional.linear(inputs.to(kind), weight_ih.to(kind))  # W x, all steps at once
    if indices is not None:
        projected = functional.embedding(indices, projected)
    batch, size = state[0].shape
    shares = _plan(cell, size, batch, kind, inputs.device, at_once)
    tensors = projected, weight_hh.to(kind), bias_ih, bias_hh, *state
    return _Layer.apply(cell, linked_to(*tensors), shares, *tensors)  # type: ignore[no-any-return, no-untyped-call]


@cache
def _kind(precision: str, device: torch.device) -> torch.dtype:
    """The type of the products' operands: bfloat16 where the tensor cores take it."""
    fast = device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if precision == "bfloat16" and fast else torch.float32


def _bias_by_slots(cell: str, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
    if cell == "lstm":
        return bias_ih + bias_hh
    (r, z, n), (u_r, u_z, m) = bias_ih.chunk(3), bias_hh.chunk(3)
    return torch.cat([r + u_r, z + u_z, m, n])


class Tile(NamedTuple):
    """What a program multiplies at once."""

    batch: int  # examples
    depth: int  # units to be summed over; on the way back, in each of 8 parts
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


def _plan(
    cell: str, size: int, batch: int, kind: torch.dtype, device: torch.device, at_once: int = 1
) -> Plan:
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


class _Loop:
    """The two loops of one layer over one sequence, and the memory that they share."""

    projected: Tensor
    weight: Tensor
    bias: Tensor
    d_outputs: Tensor
    d_h: Tensor
    d_c: Tensor
    d_gates: Tensor

    def __init__(
        self,
        cell: str,
        shares: Plan,
        projected: Tensor,
        weight: Tensor,
        bias: Tensor,
        state: Sequence[Tensor],
    ) -> None:
        self._cell, self._plan = cell, shares
        (steps, batch), size = projected.shape[:2], weight.shape[1]
        self._take(projected=projected, weight=weight, bias=bias)
        self._gates = weight.new_empty(steps, batch, 4 * size)
        self.histories = [bias.new_empty(steps + 1, batch, size) for _ in state]  # h, c
        hidden = self.histories[0]
        self._operands = hidden if weight.dtype == bias.dtype else weight.new_empty(hidden.shape)

    def _take(self, **given: Tensor) -> None:
        for name, tensor in given.items():
            setattr(self, name, tensor.resolve_neg().contiguous())

    def forward(self, state: Sequence[Tensor]) -> None:
        """Fill the histories from the state before the first step."""
        for history, first in zip(self.histories, state, strict=True):
            history[0] = first
        self._operands[0] = state[0]
        self._go(self._forward)

    def backward(self, d_outputs: Tensor, d_state: Sequence[Tensor]) -> None:
        """Fill `d_gates`, and make of the gradients of the last state those of the first."""
        self._take(d_outputs=d_outputs, d_h=d_state[0].clone(), d_c=d_state[-1].clone())
        if not hasattr(self, "d_gates"):
            self.d_gates = self._gates.new_empty(len(self._gates) + 1, *self._gates.shape[1:])
            self.d_gates[-1] = 0
        self._go(self._backward)

    def gradients(self) -> tuple[Tensor, ...]:
        """Those of the products W x, of `weight_hh`, of the two biases and of the state."""
        d_gates, (rows, size) = self.d_gates[:-1], self.weight.shape
        met_by_hidden = d_gates[..., :rows].flatten(0, 1)
        d_weight = met_by_hidden.T @ self._operands[:-1].flatten(0, 1)
        d_bias = d_gates.sum((0, 1), dtype=torch.float32)
        d_h = d_gates[0, :, :rows].float() @ self.weight.float()
        if self._cell == "lstm":
            return d_gates, d_weight, d_bias, d_bias.clone(), d_h, self.d_c.clone()
        # The slots are r, z, m and n: all but m meet the input. h also went past the gates.
        d_projected = torch.cat([d_gates[..., : 2 * size], d_gates[..., 3 * size :]], dim=2)
        d_bias_ih = torch.cat([d_bias[: 2 * size], d_bias[3 * size :]])
        return d_projected, d_weight, d_bias_ih, d_bias[:rows], d_h + self.d_h

    def _go(self, loop: Callable[[], None]) -> None:
        loop()

    def _forward(self) -> None:
        steps, batch, size = self.histories[0].shape
        hidden, cells = self.histories[0], self.histories[-1]
        at_once = steps - 1 if self._plan.resident else 1
        for t in range(0, steps - 1, at_once):
            _launch_forward(
                self._cell, self._plan, at_once, batch * size, self.projected[t], self.weight,
                self.bias, hidden[t], self._operands[t], cells[t], self._gates[t],
            )  # fmt: skip

    def _backward(self) -> None:
        steps, batch, _ = self._gates.shape
        hidden, cells = self.histories[0], self.histories[-1]
        at_once = steps if self._plan.resident else 1
        for t in range(steps - 1, -1, -at_once):
            _launch(
                gpu_kernels.backward, self._cell, self._plan, self._plan.backward,
                self.weight, self._gates[t], cells[t], hidden[t], self.d_outputs[t],
                self.d_gates[t], self.d_h, self.d_c, _counters(self._plan, self._gates.device),
                at_once, batch, triton.cdiv(batch, self._plan.groups), int(t == steps - 1),
                SIZE=self.weight.shape[1],
            )  # fmt: skip


def _launch_forward(
    cell: str,
    shares: Plan,
    steps: int,
    advance: int,
    projected: Tensor,
    weight: Tensor,
    bias: Tensor,
    hidden: Tensor,
    operands: Tensor,
    cells: Tensor,
    gates: Tensor,
) -> None:
    """Run some steps from the state that `hidden`, `operands` and `cells` start with."""
    batch, size = hidden.shape
    _launch(
        gpu_kernels.forward, cell, shares, shares.forward,
        projected, weight, bias, hidden, operands, cells, gates, _counters(shares, gates.device),
        steps, advance, batch, triton.cdiv(batch, shares.groups), SIZE=size,
    )  # fmt: skip


def _counters(shares: Plan, device: torch.device) -> Tensor | None:
    """A counter a group, in cache lines of their own."""
    if not shares.resident:
        return None
    return torch.zeros(shares.groups, 32, dtype=torch.int32, device=device)


def _launch(kernel: Any, cell: str, shares: Plan, tile: Tile, *arguments: Any, SIZE: int) -> None:  # noqa: N803
    grid = (shares.groups, triton.cdiv(SIZE, shares.units))
    options = {} if gpu_kernels.INTERPRETED else {"launch_cooperative_grid": shares.resident}
    with _on(arguments[0]):
        kernel[grid](
            *arguments, CELL=cell, SIZE=SIZE, UNITS=shares.units, BATCH=tile.batch,
            DEPTH=tile.depth, RESIDENT=shares.resident, num_warps=tile.warps, **options,
        )  # fmt: skip


def _on(tensor: Tensor) -> AbstractContextManager[object]:
    """Make the tensor's GPU the current one: Triton launches there, wherever the arguments are."""
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]


class _Replayed(_Loop):
    """Loops whose launches are replayed as CUDA graphs, from and to the same memory each time."""

    def __init__(self, *arguments: Any) -> None:
        self._graphs: dict[str, torch.cuda.CUDAGraph] = {}
        super().__init__(*arguments)

    def _take(self, **given: Tensor) -> None:
        for name, tensor in given.items():
            if hasattr(self, name):
                getattr(self, name).copy_(tensor)
            else:
                setattr(self, name, tensor.clone(memory_format=torch.contiguous_format))

    def take(self, projected: Tensor, weight: Tensor, bias: Tensor) -> None:
        """Take other numbers of the same shapes."""
        self._take(projected=projected, weight=weight, bias=bias)

    def _go(self, loop: Callable[[], None]) -> None:
        name = loop.__name__
        if name in self._graphs:
            self._graphs[name].replay()
            return
        super()._go(loop)  # compiles the kernels as well, which a capture may not
        if self.weight.is_cuda:
            self._graphs[name] = _captured(loop, self.weight)


def _captured(work: Callable[[], object], somewhere: Tensor) -> torch.cuda.CUDAGraph:
    """Capture what is launched where a tensor is."""
    graph = torch.cuda.CUDAGraph()
    with _on(somewhere), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph


# Loops that no backward pass needs any more, by the kind of their sequence; the kinds longest
# unused come first.
_idle: dict[Any, list[_Replayed]] = {}


class _Lease:
    """As long as it lives, its loop is in use."""


def _loop(*arguments: Any) -> tuple[_Loop, _Lease | None]:
    cell, shares, projected, weight, bias, _ = arguments
    if shares.resident:
        return _Loop(*arguments), None
    stream = torch.cuda.current_stream(projected.device) if projected.is_cuda else None
    for_inference = torch.is_inference_mode_enabled()  # what is made in it is written in it alone
    kind = cell, shares, projected.shape, weight.shape, weight.dtype, stream, for_inference
    if _idle.get(kind):
        loop = _idle[kind].pop()
        loop.take(projected, weight, bias)
    else:
        loop = _Replayed(*arguments)
    lease = _Lease()
    weakref.finalize(lease, _give_back, kind, loop).atexit = False
    return loop, lease


def _give_back(kind: Any, loop: _Replayed) -> None:
    _idle[kind] = [*_idle.pop(kind, []), loop]
    while len(_idle) > 8:
        del _idle[next(iter(_idle))]


class _Layer(torch.autograd.Function):
    """What is left of a layer when the products W x are there."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        links: tuple[Tensor, ...],
        shares: Plan,
        projected: Tensor,
        weight: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        bias = _bias_by_slots(cell, bias_ih, bias_hh)
        ctx.inputs = links
        ctx.loop, ctx.lease = _loop(cell, shares, projected, weight, bias, state)
        ctx.loop.forward(state)
        outputs = ctx.loop.histories[0][1:]
        if ctx.lease is None:
            del ctx.loop.projected  # the backward pass does without
        if ctx.lease is not None or any(ctx.needs_input_grad):
            # The backward pass or the next sequence uses the memory; the caller may write there.
            outputs = outputs.clone()
        return outputs, *(history[-1].clone() for history in ctx.loop.histories)

    @staticmethod
    @eager_backward
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_state: Tensor) -> tuple[Any, ...]:
        ctx.loop.backward(d_outputs, d_state)
        return None, None, None, *ctx.loop.gradients()


STRETCH = 64  # steps


def overlapped(
    run_layer: Callable[..., tuple[Tensor, Sequence[Tensor]]],
    inputs: Tensor,
    indices: Tensor | None,
    states: Sequence[Sequence[Tensor]],
) -> tuple[Tensor, list[Sequence[Tensor]]]:
    """Run a stack of layers at the same time, on two streams that take turns.

    A layer works on a stretch of steps while the one below it works on the next stretch. Autograd
    goes back on the streams of the way there, so that the same holds for the backward pass. What
    is added up in which order does not depend on which stream is ahead.

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


class FusedStepper(Stepper):
    """A stepper whose step is a CUDA graph, captured when it is made: nothing is allocated.

    The state has two places, which take turns: a step reads the one and writes the other.
    """

    def __init__(self, layer: Any, batch_size: int, table: Tensor | None, precision: str) -> None:
        super().__init__(layer, batch_size, table)
        device = layer.weight_hh_l0.device
        kind = _kind(precision, device)
        self._plan = plan(layer.hidden_size, batch_size, kind, 0, 0)
        weights = [layer._weights(parameters, False) for parameters in layer.all_weights]
        self._weights = [
            (
                w_ih.detach().to(kind),
                w_hh.detach().to(kind),
                _bias_by_slots(layer.cell, *biases).detach(),
            )
            for w_ih, w_hh, *biases in weights
        ]
        places = (layer.num_layers, 2, batch_size, layer.hidden_size)
        self._histories = [
            torch.zeros(places, dtype=torch.float32, device=device)
            for _ in range(2 if layer.cell == "lstm" else 1)
        ]
        hidden = self._histories[0]
        self._operands = hidden if kind == hidden.dtype else torch.zeros_like(hidden, dtype=kind)
        if self._table is None:
            self._inputs = self._operands.new_zeros(batch_size, layer.input_size)
        else:
            self._inputs = torch.zeros(batch_size, dtype=torch.long, device=device)
            self._rows = self._table.to(kind) @ self._weights[0][0].T
        rows = layer.gates * layer.hidden_size
        self._projected = self._operands.new_empty(batch_size, rows)
        self._gates = self._operands.new_empty(batch_size, 4 * layer.hidden_size)
        self._output = torch.empty_like(hidden[-1, 0])  # not the state: the caller may change it
        self._turn = 0
        self._go: list[Callable[[], object]] = [partial(self._step, turn) for turn in range(2)]
        if hidden.is_cuda:
            for step in self._go:
                step()  # compiles the kernels, which a capture may not
            self._go = [_captured(step, hidden).replay for step in self._go]
            for history in (*self._histories, self._operands):
                history.zero_()

    @torch.no_grad()
    def _step(self, turn: int) -> None:
        hidden, cells = self._histories[0], self._histories[-1]
        advance = hidden[0, 0].numel() * (1 - 2 * turn)
        for number, (w_ih, w_hh, bias) in enumerate(self._weights):
            if number > 0:
                torch.mm(self._operands[number - 1, 1 - turn], w_ih.T, out=self._projected)
            elif self._table is None:
                torch.mm(self._inputs, w_ih.T, out=self._projected)
            else:
                torch.index_select(self._rows, 0, self._inputs, out=self._projected)
            place = number, turn
            _launch_forward(
                self._layer.cell, self._plan, 1, advance, self._projected, w_hh, bias,
                hidden[place], self._operands[place], cells[place], self._gates,
            )  # fmt: skip
        self._output.copy_(hidden[-1, 1 - turn])

    def _read_state(self) -> tuple[Tensor, ...]:
        return tuple(history[:, self._turn].clone() for history in self._histories)

    def _write_state(self, state: tuple[Tensor, ...]) -> None:
        for history, given in zip(self._histories, state, strict=True):
            history[:, self._turn] = given.detach()
        self._operands[:, self._turn] = self._histories[0][:, self._turn]

    def _move(self, inputs: Tensor) -> Tensor:
        self._inputs.copy_(inputs.detach())
        self._go[self._turn]()
        self._turn = 1 - self._turn
        return self._output

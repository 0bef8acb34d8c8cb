"""Engine `fused` on the CPU: hand-written forward and backward, one autograd node a layer.

The gradients are those of `charlm.recurrent.equations`; what differs is the order of the work.
What need not wait for the previous step is done for all steps at once: the first layer's input
products become a look-up of rows where the inputs are rows of a table, and after the backward loop
each weight gradient is one product. The loops themselves are compiled (`charlm.recurrent.kernels`):
a step's products, by weights packed in the order in which they are read, and its point-wise part
are one pass, and there is no allocation and no return to Python between steps.

Memory kept for the backward pass, in numbers a step, example and unit: 4 for the gates, 1 for the
hidden state and in an LSTM 1 for the cell state; with bfloat16 the gates take half, and so does the
hidden state, which a GRU also keeps in float32. The outputs are the caller's, who may change them.

Arrays are laid out (step, example, slot, unit). The slots are the gates: i, f, g and o of an LSTM;
n, r, z and m of a GRU, so that those which the input meets, n r z, and those which the hidden state
meets, r z m, each lie together. Units are padded with zeros to a multiple of 32, which changes no
result.
"""

import ctypes
import itertools
import logging
import math
import weakref
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from charlm.recurrent.eager import eager_backward, linked_to, once_differentiable
from charlm.recurrent.errors import LayerIndexError
from charlm.recurrent.reference import Torch
from charlm.recurrent.stepper import Stepper


def _import_kernels() -> Any:
    try:
        from charlm.recurrent import kernels
    except ImportError:  # no Numba, or one that this Python or NumPy is too new for
        return None
    return kernels


kernels = _import_kernels()

# Dense inputs of a forward kernel: rows, their length, the packed weights; or nothing.
_Dense = tuple[Tensor | None, int, Tensor | None]
_log = logging.getLogger(__name__)


class Fused:
    """The engine; see `charlm.recurrent.reference` for the form of the two functions."""

    @staticmethod
    def lstm(inputs: Tensor, indices: Tensor | None, *others: Any) -> tuple[Tensor, ...]:
        """Run an LSTM layer."""
        if not usable(inputs.dtype):
            return Torch.lstm(inputs, indices, *others)
        h, c, *weights, precision = others
        links = linked_to(inputs, *others[:-1])
        return _Layer.apply("lstm", links, inputs, indices, precision, *weights, h, c)  # type: ignore[no-any-return, no-untyped-call]

    @staticmethod
    def gru(inputs: Tensor, indices: Tensor | None, *others: Any) -> tuple[Tensor, ...]:
        """Run a GRU layer."""
        if not usable(inputs.dtype):
            return Torch.gru(inputs, indices, *others)
        h, *weights, precision = others
        links = linked_to(inputs, *others[:-1])
        return _Layer.apply("gru", links, inputs, indices, precision, *weights, h)  # type: ignore[no-any-return, no-untyped-call]


@cache
def usable(dtype: torch.dtype) -> bool:
    """Whether the kernels can run; where they cannot, say so once, and torch's layers run."""
    if dtype != torch.float32:
        reason = f"it computes in float32, not {dtype}"
    elif kernels is None:
        reason = "Numba cannot be imported"
    elif _openmp() is None:
        reason = "torch's threads cannot be shared here"
    else:
        return True
    _log.warning("recurrent engine fused: %s; torch's own layers run instead", reason)
    return False


@cache
def _openmp() -> Any:
    """The OpenMP library that torch runs its threads with, or None.

    The kernels run on torch's own threads. A second pool of threads would spin beside it: either
    would wait for the other at every step.
    """
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        openmp = ctypes.CDLL(str(library))
        openmp.GOMP_parallel.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_uint] * 2
        openmp.GOMP_parallel.restype = None
        functions = (openmp.omp_get_thread_num, openmp.omp_get_num_threads, openmp.GOMP_barrier)
    except (OSError, AttributeError):
        return None
    addresses = [ctypes.cast(function, ctypes.c_void_p).value for function in functions]
    return openmp.GOMP_parallel, np.array(addresses, np.int64)


_Block: Any = ctypes.c_int64 * kernels.BLOCK if kernels else None


@cache
def _kernel(name: str, kind: torch.dtype) -> Any:
    """A kernel for operands of a kind, as a C function."""
    address = kernels.compiled(f"{name}_{str(kind).removeprefix('torch.')}")
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)


class _Launch:
    """A kernel with its arguments, to be run any number of times."""

    def __init__(
        self, name: str, kind: torch.dtype, *arguments: Any, scratch_size: int = 0, threads: int = 0
    ) -> None:
        self._threads = threads or torch.get_num_threads()
        scratch = _empty(self._threads * (scratch_size or kernels.SCRATCH), kind=torch.uint8)
        self._kept_alive = (scratch, *arguments)
        addresses = [a.data_ptr() if isinstance(a, Tensor) else a or 0 for a in self._kept_alive]
        if self._threads > 1:
            parallel, team = _openmp()
            self._block = _Block(team.ctypes.data, *addresses)
            self._run = partial(parallel, _kernel(name, kind), self._block, self._threads, 0)
        else:
            self._block = _Block(0, *addresses)
            self._run = partial(_kernel(name, kind), self._block)

    def __call__(self) -> None:
        self._run()


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` in float32; the columns of b, and those of a transposed view a, are 32·i.

    A library's product adds up in an order that may depend on the number of threads, and rounds
    the results of bfloat16 to bfloat16.
    """
    (m, k), n = a.shape, b.shape[1]
    transposed = a.stride(1) != 1
    result = _empty(m, n).zero_()
    stride = a.stride(1 if transposed else 0) * a.itemsize
    depth, group = kernels.DEPTH, kernels.GROUP
    _Launch(
        "product", a.dtype, m, n, k, a, stride, int(transposed), b, b.stride(0) * b.itemsize,
        result, scratch_size=(n + group) * depth * 4,
    )()  # fmt: skip
    return result


class _Weights(NamedTuple):
    """A layer's weights by slots: ih (G, H, I), hh (G, H, H) and the biases (4, H).

    H and I are padded to multiples of 32.
    """

    ih: Tensor
    hh: Tensor
    bias: Tensor

    @classmethod
    def of(cls, cell: str, kind: torch.dtype, *parameters: Tensor) -> "_Weights":
        weight_ih, weight_hh, bias_ih, bias_hh = (p.detach().resolve_neg() for p in parameters)
        units = weight_hh.shape[1]
        extra = -units % 32
        ih, hh = (w.to(kind).view(-1, units, w.shape[1]) for w in (weight_ih, weight_hh))
        ih, hh = _pad(ih, -ih.shape[2] % 32, extra), _pad(hh, extra, extra)
        b_ih, b_hh = (_pad(b.view(-1, units), extra) for b in (bias_ih, bias_hh))
        if cell == "lstm":
            return cls(ih, hh, b_ih + b_hh)
        (r, z, n), (u_r, u_z, m) = b_ih, b_hh
        return cls(ih.roll(1, 0), hh, torch.stack([n, r + u_r, z + u_z, m]))

    def rows(self, table: Tensor) -> Tensor:
        """What each row of the table adds to the gates' arguments, with the biases (V, 4, H)."""
        rows = self.bias.repeat(len(table), 1, 1)
        product = _product(table, self.ih.flatten(0, 1).T.contiguous())
        rows[:, : len(self.ih)] += product.view(len(table), *self.ih.shape[:2])
        return rows


def _pad(numbers: Tensor, last: int, one_before: int = 0) -> Tensor:
    """Add zeros at the end of the last dimension, and of the one before it."""
    if not last and not one_before:
        return numbers
    return functional.pad(numbers, (0, last, 0, one_before) if one_before else (0, last))


def _columns(numbers: Tensor, slots: slice) -> Tensor:
    """View some slots of numbers (rows, 4, H) as columns of a matrix."""
    return numbers.flatten(1)[:, slots.start * numbers.shape[2] : slots.stop * numbers.shape[2]]


# Memory that no tensor needs any more, for the next pass, and when it came back, counted in
# allocations; the longest unused comes first.
_spare: list[tuple[int, np.ndarray[Any, np.dtype[np.uint8]]]] = []
_allocations = itertools.count()
_KEPT = 64
"""Allocations, those of a few passes, after which a block that none of them took is given back."""


def _empty(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
    """Allocate memory that starts at a cache line, from what earlier passes left if it fits.

    A sequence's gates are tens of megabytes. To get them from the system anew at each pass, page by
    page, would take longer than the point-wise part; so blocks are kept, and the large ones
    are in huge pages, which NumPy asks for.
    """
    size = math.prod(shape) * kind.itemsize
    if size < 2**16:
        return torch.empty(shape, dtype=kind)
    now = next(_allocations)
    while _spare and now - _spare[0][0] > _KEPT:
        del _spare[0]
    for place, (_, block) in enumerate(_spare):
        if len(block) == size + 64:
            del _spare[place]
            break
    else:
        block = np.empty(size + 64, np.uint8)
    start = -block.ctypes.data % 64
    memory = block[start : start + size]
    weakref.finalize(memory, _give_back, block).atexit = False
    return torch.from_numpy(memory).view(kind).view(shape)


def _give_back(block: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    _spare.append((next(_allocations), block))


def _block(numbers: Tensor) -> Tensor:
    """Lay (rows, …, units) out as (panel of 16 units, row, …, unit)."""
    panels = numbers.shape[-1] // 16
    return numbers.view(*numbers.shape[:-1], panels, 16).movedim(-2, 0).contiguous()


def _unblock(numbers: Tensor) -> Tensor:
    rows, units = numbers.shape
    return numbers.view(units // 16, rows, 16).transpose(0, 1).reshape(rows, units)


def _pack(weights: Tensor, together: int) -> Tensor:
    """Order weights (slots, units, K) as the forward kernels read them.

    Sixteen units of `together` slots make a panel, in which what belongs to one k (two, with
    bfloat16) lies together.
    """
    slots, units = weights.shape[:2]
    words = weights.contiguous().view(torch.int32)
    words = words.view(slots // together, together, units // 16, 16, -1)
    return words.permute(2, 0, 4, 1, 3).contiguous()


def _pack_transposed(weights: Tensor) -> Tensor:
    """Order weights (slots, units, K) as the backward kernels read them, in panels of K."""
    rows = weights.flatten(0, 1)
    if rows.dtype == torch.bfloat16:  # two rows side by side make 32-bit words
        rows = rows.view(len(rows) // 2, 2, -1).transpose(1, 2)
    words = rows.contiguous().view(torch.int32)
    panels = weights.shape[2] // kernels.PANEL
    return words.view(-1, panels, kernels.PANEL).transpose(0, 1).contiguous()


def _kind(precision: str) -> torch.dtype:
    """The type of the products' operands: bfloat16 pays only where the processor multiplies it."""
    fast = precision == "bfloat16" and kernels.FAST_BFLOAT16
    return torch.bfloat16 if fast else torch.float32


class _Layer(torch.autograd.Function):
    """One layer over a sequence."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        links: tuple[Tensor, ...],
        inputs: Tensor,
        indices: Tensor | None,
        precision: str,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        kind = _kind(precision)
        weights = _Weights.of(cell, kind, weight_ih, weight_hh, bias_ih, bias_hh)
        steps, batch = (inputs if indices is None else indices).shape[:2]
        units, size = weight_hh.shape[1], weights.bias.shape[1]
        # A tensor such as `z.conj().imag` is only marked as negative; the kernels read its memory.
        x = _pad(inputs.resolve_neg().to(kind), -inputs.shape[-1] % 32).contiguous()
        together = kernels.VECTORS if cell == "lstm" else kernels.GRU_VECTORS
        dense: _Dense = (None, 0, None)
        if indices is None:
            table, dense = weights.bias[None], (x, x.shape[-1], _pack(weights.ih, together))
        else:
            _check_indices(indices, len(x))
            indices = indices.long().contiguous()
            table = weights.rows(x)
        table = _block(table.view(len(table), 4, size))
        gates = _empty(steps, batch, 4, size, kind=kind)
        histories = [_empty(steps + 1, batch, size) for _ in state]  # h, c
        hidden = histories[0]
        hidden[0] = _pad(state[0], size - units)
        if cell == "lstm":
            histories[1][0] = _block(_pad(state[1], size - units)).view(batch, size)
        operand = hidden if kind == torch.float32 else _empty(*hidden.shape, kind=kind)
        operand[0] = hidden[0]
        _Launch(
            f"{cell}_forward", kind, steps, batch, size, batch * size,
            table, indices, *dense, _pack(weights.hh, together),
            gates, histories[-1], hidden, operand, units, table.shape[1],
        )()  # fmt: skip
        ctx.cell, ctx.inputs = cell, links
        ctx.save_for_backward(x, indices, weights.ih, weights.hh, gates, operand, histories[-1])
        ctx.sizes = units, inputs.shape[-1]
        finals = [hidden[-1, :, :units].clone()]
        if cell == "lstm":
            finals.append(_unblock(histories[1][-1])[:, :units].clone())
        outputs = hidden[1:, :, :units]
        if any(ctx.needs_input_grad):
            outputs = _empty(steps, batch, units).copy_(outputs)  # the caller may change them
        return outputs, *finals

    @staticmethod
    @eager_backward
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_state: Tensor) -> tuple[Any, ...]:
        x, indices, w_ih, w_hh, gates, operand, history = ctx.saved_tensors
        (units, features), kind = ctx.sizes, gates.dtype
        steps, batch, _, size = gates.shape
        extra = size - units
        d_gates = _empty(*gates.shape, kind=kind)
        d_outputs = _pad(d_outputs.resolve_neg(), extra).contiguous()
        d_initial = [_pad(d, extra).clone(memory_format=torch.contiguous_format) for d in d_state]
        _Launch(
            f"{ctx.cell}_backward", kind, steps, batch, size, _pack_transposed(w_hh),
            gates, history, d_outputs, d_gates, *d_initial,
        )()  # fmt: skip

        d_gates = d_gates.flatten(0, 1)
        met_by_input, met_by_hidden = slice(0, len(w_ih)), slice(4 - len(w_hh), 4)
        d_w_hh = _product(_columns(d_gates, met_by_hidden).T, operand[:-1].flatten(0, 1))
        # One row of sums a row of the table, or else a step: for the biases alone.
        if indices is None:
            rows, count = None, steps
        else:
            rows, count = indices, len(x)
        sums = _empty(count, 4, size).zero_()
        _Launch("add_rows", kind, steps * batch, 4 * size, d_gates, rows, batch, sums)()
        d_rows = _columns(d_gates if indices is None else sums.to(kind), met_by_input)
        d_w_ih = _product(d_rows.T, x.flatten(0, -2))
        d_x = None
        if ctx.needs_input_grad[2]:
            d_x = _product(d_rows, w_ih.flatten(0, 1)).view_as(x)[..., :features]

        d_w_ih = d_w_ih.view_as(w_ih)[:, :units, :features]
        d_w_hh = d_w_hh.view_as(w_hh)[:, :units, :units]
        d_bias = sums.sum(0)[:, :units]
        d_b_ih = d_bias[met_by_input]
        if ctx.cell == "gru":  # from n r z back to r z n
            d_w_ih, d_b_ih = d_w_ih.roll(-1, 0), d_b_ih.roll(-1, 0)
        return (
            None, None, d_x, None, None,
            d_w_ih.flatten(0, 1), d_w_hh.flatten(0, 1),
            d_b_ih.flatten(), d_bias[met_by_hidden].flatten().clone(),
            *(d[:, :units] for d in d_initial),
        )  # fmt: skip


def _check_indices(indices: Tensor, rows: int) -> None:
    """Refuse indices beyond the table, which the kernels would read from."""
    if not indices.numel():
        return
    first, last = map(int, torch.aminmax(indices))
    if first < 0 or last >= rows:
        raise LayerIndexError(f"indices: {first} to {last} are not all rows of a table of {rows}")


class FusedStepper(Stepper):
    """A stepper that runs the forward kernels one step at a time, with everything made before.

    The state has two places, which take turns: a step reads the one and writes the other.
    """

    def __init__(self, layer: Any, batch_size: int, table: Tensor | None, precision: str) -> None:
        super().__init__(layer, batch_size, table)
        kind = _kind(precision)
        size = -(-layer.hidden_size // 32) * 32
        features = -(-layer.input_size // 32) * 32
        places = (layer.num_layers, 2, batch_size, size)
        count = 2 if layer.cell == "lstm" else 1
        self._histories = [torch.zeros(places, dtype=torch.float32) for _ in range(count)]
        hidden, memory = self._histories[0], self._histories[-1]
        self._operands = hidden if kind == torch.float32 else torch.zeros(places, dtype=kind)
        self._outputs = [hidden[-1, turn, :, : layer.hidden_size] for turn in range(2)]
        self._turn = 0
        self._inputs = torch.zeros(batch_size, features, dtype=kind)
        self._indices = torch.zeros(batch_size, dtype=torch.long)
        gates = torch.empty(batch_size, 4, size, dtype=kind)
        together = kernels.VECTORS if layer.cell == "lstm" else kernels.GRU_VECTORS
        # Waking other threads takes longer than a small step.
        threads = int(batch_size * size * size < 2**18)
        self._launches: list[list[_Launch]] = [[], []]
        for number, parameters in enumerate(layer.all_weights):
            complete = layer._weights(parameters, training=False)
            weights = _Weights.of(layer.cell, kind, *complete)
            w_ih, w_hh = _pack(weights.ih, together), _pack(weights.hh, together)
            for turn in range(2):
                indices, rows = None, weights.bias[None]
                dense: _Dense = (self._inputs, features, w_ih)
                if number > 0:
                    dense = (self._operands[number - 1, 1 - turn], size, w_ih)
                elif table is not None:
                    indices, dense = self._indices, (None, 0, None)
                    padded = _pad(table.detach().to(kind), features - layer.input_size)
                    rows = weights.rows(padded)
                advance = batch_size * size * (1 - 2 * turn)
                launch = _Launch(
                    f"{layer.cell}_forward", kind, 1, batch_size, size, advance,
                    _block(rows), indices, *dense, w_hh, gates, memory[number, turn],
                    hidden[number, turn], self._operands[number, turn], layer.hidden_size,
                    len(rows), threads=threads,
                )  # fmt: skip
                self._launches[turn].append(launch)

    def _read_state(self) -> tuple[Tensor, ...]:
        now = [history[:, self._turn] for history in self._histories]
        if len(now) == 2:
            now[1] = torch.stack([_unblock(cells) for cells in now[1]])
        return tuple(part[..., : self._outputs[0].shape[-1]].clone() for part in now)

    def _write_state(self, state: tuple[Tensor, ...]) -> None:
        for number, (history, given) in enumerate(zip(self._histories, state, strict=True)):
            padded = _pad(given, history.shape[-1] - given.shape[-1])
            if number == 1:
                padded = torch.stack([_block(cells).view_as(cells) for cells in padded])
            history[:, self._turn] = padded
        self._operands[:, self._turn] = self._histories[0][:, self._turn]

    def _move(self, inputs: Tensor) -> Tensor:
        if self._table is None:
            self._inputs[:, : inputs.shape[1]] = inputs.detach()
        else:
            _check_indices(inputs, len(self._table))
            self._indices.copy_(inputs)
        for launch in self._launches[self._turn]:
            launch()
        self._turn = 1 - self._turn
        return self._outputs[self._turn].clone()  # not the state itself: the caller may change it

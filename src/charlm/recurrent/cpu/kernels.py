"""The step loops of the CPU engine, compiled by Numba; `charlm.recurrent.cpu.launch` runs them.

Every thread of a team runs the same kernel on the same arguments, a record of
`charlm.recurrent.cpu.arguments`, which gives the shapes. A thread has its own panels of units,
which are columns of the recurrent product, for all steps. So the weights of a panel stay in the
cache of its core, and the results do not depend on the number of threads. A panel is multiplied by
the hidden states of a few examples at a time, with the sums in the thread's scratch memory, and the
gates are computed at once, while the sums are in the cache. The threads wait for each other at a
barrier after every step.

The equations are those of `charlm.recurrent.equations`, whose names are used here. `dtype` is
FLOAT32 or BFLOAT16, `itemsize` the bytes of such a number, and `a` the arguments.
"""

# mypy: ignore-errors
# (Written in the subset of Python that Numba compiles; mypy does not know its types.)

import logging
from contextlib import suppress
from functools import cache

import numpy as np
from numba import carray, cfunc, types
from numba.core.caching import FunctionCache

from charlm.recurrent.cpu.activations import sigmoid, tanh
from charlm.recurrent.cpu.arguments import (
    LANES,
    RECORDS,
    AddRowsArguments,
    BackwardArguments,
    ForwardArguments,
    ProductArguments,
)
from charlm.recurrent.cpu.products import add_rows, product
from charlm.recurrent.cpu.target import (
    BFLOAT16,
    FLOAT32,
    SUMS_BYTES,
    SUMS_PITCH,
    TILE_ROWS,
    kernel_function,
    uniquely_named,
)
from charlm.recurrent.cpu.threads import barrier, share
from charlm.recurrent.cpu.tiles import multiply_backward, multiply_gru, multiply_lstm
from charlm.recurrent.cpu.vectors import broadcast, keep_first, load, load_integer, store

_log = logging.getLogger(__name__)


@kernel_function
def _start_sums(a, panel, position, rows, sums):
    """Set the sums of some examples to their rows of the table, or to its only row.

    Args:
        a: `ForwardArguments`.
        panel: number of the panel of 16 units.
        position: number of the first example, counted over all steps.
        rows: number of examples.
        sums: address of the sums.
    """
    for r in range(rows):
        index = load_integer(a.indices + (position + r) * 8) if a.indices != 0 else 0
        row = a.table + (panel * a.table_rows + index) * 4 * LANES * 4
        for gate in range(4):
            offset = gate * LANES * 4
            store(FLOAT32, sums + r * SUMS_PITCH + offset, load(FLOAT32, row + offset))


@kernel_function
def _lstm_forward(dtype, itemsize, a):
    """Run an LSTM over all steps. `a` is a `ForwardArguments`."""
    steps, batch, size, features = a.steps, a.batch, a.size, a.features
    state_stride, units = a.state_stride, a.units
    x, weight_ih, weight_hh = a.x, a.weight_ih, a.weight_hh
    gates, cells, hidden, operand = a.gates, a.cells, a.hidden, a.operand
    tiles = (batch + TILE_ROWS - 1) // TILE_ROWS
    first, end, thread = share(size // LANES * tiles, a.team)
    sums = a.scratch + thread * SUMS_BYTES
    vector_bytes = LANES * itemsize
    for t in range(steps):
        for item in range(first, end):
            panel, row = item // tiles, item % tiles * TILE_ROWS
            rows, position = min(TILE_ROWS, batch - row), t * batch + row
            # The units of padding must stay zero, even if an input is infinite.
            unpadded = units - panel * LANES
            _start_sums(a, panel, position, rows, sums)
            if x != 0:
                inputs, stride = x + position * features * itemsize, features * itemsize
                weights = weight_ih + panel * 4 * LANES * stride
                multiply_lstm(dtype, inputs, stride, rows, weights, stride // 4, sums)
            stride = size * itemsize
            h = operand + (row * size + t * state_stride) * itemsize
            weights = weight_hh + panel * 4 * LANES * stride
            multiply_lstm(dtype, h, stride, rows, weights, stride // 4, sums)
            for r in range(rows):
                total = sums + r * SUMS_PITCH
                i = sigmoid(keep_first(load(FLOAT32, total), unpadded))
                f = sigmoid(keep_first(load(FLOAT32, total + 64), unpadded))
                g = tanh(keep_first(load(FLOAT32, total + 128), unpadded))
                o = sigmoid(keep_first(load(FLOAT32, total + 192), unpadded))
                cell = cells + (t * state_stride + (panel * batch + row + r) * LANES) * 4
                c = f * load(FLOAT32, cell) + i * g
                store(FLOAT32, cell + state_stride * 4, c)
                h_new = o * tanh(c)
                unit = (row + r) * size + (t + 1) * state_stride + panel * LANES
                store(FLOAT32, hidden + unit * 4, h_new)
                if itemsize == 2:
                    store(dtype, operand + unit * itemsize, h_new)
                gate = gates + ((t * size // LANES + panel) * batch + row + r) * 4 * vector_bytes
                store(dtype, gate, i)
                store(dtype, gate + vector_bytes, f)
                store(dtype, gate + 2 * vector_bytes, g)
                store(dtype, gate + 3 * vector_bytes, o)
        barrier(a.team)


@kernel_function
def _gru_forward(dtype, itemsize, a):
    """Run a GRU over all steps. `a` is a `ForwardArguments`.

    The input adds to the sums of the slots n, r and z, the hidden state to those of r, z and m.
    """
    steps, batch, size, features = a.steps, a.batch, a.size, a.features
    state_stride, units = a.state_stride, a.units
    x, weight_ih, weight_hh = a.x, a.weight_ih, a.weight_hh
    gates, hidden, operand = a.gates, a.hidden, a.operand
    tiles = (batch + TILE_ROWS - 1) // TILE_ROWS
    first, end, thread = share(size // LANES * tiles, a.team)
    sums = a.scratch + thread * SUMS_BYTES
    vector_bytes = LANES * itemsize
    for t in range(steps):
        for item in range(first, end):
            panel, row = item // tiles, item % tiles * TILE_ROWS
            rows, position = min(TILE_ROWS, batch - row), t * batch + row
            # The units of padding must stay zero, even if an input is infinite.
            unpadded = units - panel * LANES
            _start_sums(a, panel, position, rows, sums)
            if x != 0:
                inputs, stride = x + position * features * itemsize, features * itemsize
                weights = weight_ih + panel * 3 * LANES * stride
                multiply_gru(dtype, inputs, stride, rows, weights, stride // 4, sums)
            stride = size * itemsize
            h = operand + (row * size + t * state_stride) * itemsize
            weights = weight_hh + panel * 3 * LANES * stride
            multiply_gru(dtype, h, stride, rows, weights, stride // 4, sums + 64)
            for r in range(rows):
                total = sums + r * SUMS_PITCH
                m = keep_first(load(FLOAT32, total + 192), unpadded)
                reset = sigmoid(keep_first(load(FLOAT32, total + 64), unpadded))
                z = sigmoid(keep_first(load(FLOAT32, total + 128), unpadded))
                n = tanh(keep_first(load(FLOAT32, total), unpadded) + reset * m)
                unit = (row + r) * size + t * state_stride + panel * LANES
                h_new = n + z * (load(FLOAT32, hidden + unit * 4) - n)
                unit += state_stride
                store(FLOAT32, hidden + unit * 4, h_new)
                if itemsize == 2:
                    store(dtype, operand + unit * itemsize, h_new)
                gate = gates + ((t * size // LANES + panel) * batch + row + r) * 4 * vector_bytes
                store(dtype, gate, n)
                store(dtype, gate + vector_bytes, reset)
                store(dtype, gate + 2 * vector_bytes, z)
                store(dtype, gate + 3 * vector_bytes, m)
        barrier(a.team)


# Step t of a backward kernel first completes the gradient of the hidden state after step t, in the
# sums: what was passed back from step t + 1, that step's product with the recurrent weights, and
# the gradient of the output. The gradient of the initial state is what step -1 completes.


@kernel_function
def _start_d_hidden(a, t, panel, row, rows, sums):
    """Set the sums of some examples to the parts of d_hidden that need no product.

    Args:
        a: `BackwardArguments`.
        t: number of the step, or -1.
        panel: number of the panel of 32 units.
        row: number of the first example.
        rows: number of examples.
        sums: address of the sums.
    """
    for r in range(rows):
        for v in range(2):
            unit = (row + r) * a.size + (panel * 2 + v) * LANES
            d = load(FLOAT32, a.d_hidden + unit * 4)
            if t >= 0:
                d = d + load(FLOAT32, a.d_outputs + (t * a.batch * a.size + unit) * 4)
            store(FLOAT32, sums + r * SUMS_PITCH + v * 64, d)


@kernel_function
def _lstm_backward(dtype, itemsize, a):
    """Run the backward pass of an LSTM, last step to first. `a` is a `BackwardArguments`."""
    steps, batch, size, weight_hh = a.steps, a.batch, a.size, a.weight_hh
    gates, cells, d_gates, d_hidden, d_cell = a.gates, a.states, a.d_gates, a.d_hidden, a.d_cell
    one = broadcast(np.float32(1))
    tiles = (batch + TILE_ROWS - 1) // TILE_ROWS
    first, end, thread = share(size // (2 * LANES) * tiles, a.team)
    sums = a.scratch + thread * SUMS_BYTES
    vector_bytes = LANES * itemsize
    stride = 4 * size * itemsize
    for t in range(steps - 1, -2, -1):
        for item in range(first, end):
            panel, row = item // tiles, item % tiles * TILE_ROWS
            rows, position = min(TILE_ROWS, batch - row), t * batch + row
            _start_d_hidden(a, t, panel, row, rows, sums)
            if t < steps - 1:
                later = d_gates + (position + batch) * stride
                weights = weight_hh + panel * 2 * LANES * stride
                multiply_backward(dtype, later, stride, rows, weights, stride // 4, sums)
            for r in range(rows):
                for v in range(2):
                    unit = (row + r) * size + (panel * 2 + v) * LANES
                    dh = load(FLOAT32, sums + r * SUMS_PITCH + v * 64)
                    if t < 0:
                        store(FLOAT32, d_hidden + unit * 4, dh)
                        continue
                    index = (t * size // LANES + panel * 2 + v) * batch + row + r
                    gate = gates + index * 4 * vector_bytes
                    i = load(dtype, gate)
                    f = load(dtype, gate + vector_bytes)
                    g = load(dtype, gate + 2 * vector_bytes)
                    o = load(dtype, gate + 3 * vector_bytes)
                    c = load(FLOAT32, cells + index * LANES * 4)
                    tanh_c = tanh(load(FLOAT32, cells + (index * LANES + batch * size) * 4))
                    dc = load(FLOAT32, d_cell + unit * 4) + dh * o * (one - tanh_c * tanh_c)
                    store(FLOAT32, d_cell + unit * 4, dc * f)
                    d = d_gates + (position + r) * stride + (panel * 2 + v) * vector_bytes
                    store(dtype, d, dc * g * i * (one - i))
                    store(dtype, d + size * itemsize, dc * c * f * (one - f))
                    store(dtype, d + 2 * size * itemsize, dc * i * (one - g * g))
                    store(dtype, d + 3 * size * itemsize, dh * tanh_c * o * (one - o))
                    store(FLOAT32, d_hidden + unit * 4, broadcast(np.float32(0)))
        barrier(a.team)


@kernel_function
def _gru_backward(dtype, itemsize, a):
    """Run the backward pass of a GRU, last step to first. `a` is a `BackwardArguments`."""
    steps, batch, size, weight_hh = a.steps, a.batch, a.size, a.weight_hh
    gates, hidden, d_gates, d_hidden = a.gates, a.states, a.d_gates, a.d_hidden
    one = broadcast(np.float32(1))
    tiles = (batch + TILE_ROWS - 1) // TILE_ROWS
    first, end, thread = share(size // (2 * LANES) * tiles, a.team)
    sums = a.scratch + thread * SUMS_BYTES
    vector_bytes = LANES * itemsize
    stride, used = 4 * size * itemsize, 3 * size * itemsize
    for t in range(steps - 1, -2, -1):
        for item in range(first, end):
            panel, row = item // tiles, item % tiles * TILE_ROWS
            rows, position = min(TILE_ROWS, batch - row), t * batch + row
            _start_d_hidden(a, t, panel, row, rows, sums)
            if t < steps - 1:
                later = d_gates + (position + batch) * stride + stride - used  # slots r, z and m
                weights = weight_hh + panel * 2 * LANES * used
                multiply_backward(dtype, later, stride, rows, weights, used // 4, sums)
            for r in range(rows):
                for v in range(2):
                    unit = (row + r) * size + (panel * 2 + v) * LANES
                    dh = load(FLOAT32, sums + r * SUMS_PITCH + v * 64)
                    if t < 0:
                        store(FLOAT32, d_hidden + unit * 4, dh)
                        continue
                    index = (t * size // LANES + panel * 2 + v) * batch + row + r
                    gate = gates + index * 4 * vector_bytes
                    n = load(dtype, gate)
                    reset = load(dtype, gate + vector_bytes)
                    z = load(dtype, gate + 2 * vector_bytes)
                    m = load(dtype, gate + 3 * vector_bytes)
                    h = load(FLOAT32, hidden + (t * batch * size + unit) * 4)
                    dn = dh * (one - z) * (one - n * n)
                    d = d_gates + (position + r) * stride + (panel * 2 + v) * vector_bytes
                    store(dtype, d, dn)
                    store(dtype, d + size * itemsize, dn * m * reset * (one - reset))
                    store(dtype, d + 2 * size * itemsize, dh * (h - n) * z * (one - z))
                    store(dtype, d + 3 * size * itemsize, dn * reset)
                    store(FLOAT32, d_hidden + unit * 4, dh * z)
        barrier(a.team)


# The functions that C can call, each with the address of a record. Numba does not cache closures,
# so every variant is written out; a process compiles only those that it needs.

_FORWARD = np.dtype(RECORDS[ForwardArguments])
_BACKWARD = np.dtype(RECORDS[BackwardArguments])
_PRODUCT = np.dtype(RECORDS[ProductArguments])
_ADD_ROWS = np.dtype(RECORDS[AddRowsArguments])


def _run_lstm_forward_float32(address):
    _lstm_forward(FLOAT32, 4, carray(address, 1, _FORWARD)[0])


def _run_lstm_forward_bfloat16(address):
    _lstm_forward(BFLOAT16, 2, carray(address, 1, _FORWARD)[0])


def _run_lstm_backward_float32(address):
    _lstm_backward(FLOAT32, 4, carray(address, 1, _BACKWARD)[0])


def _run_lstm_backward_bfloat16(address):
    _lstm_backward(BFLOAT16, 2, carray(address, 1, _BACKWARD)[0])


def _run_gru_forward_float32(address):
    _gru_forward(FLOAT32, 4, carray(address, 1, _FORWARD)[0])


def _run_gru_forward_bfloat16(address):
    _gru_forward(BFLOAT16, 2, carray(address, 1, _FORWARD)[0])


def _run_gru_backward_float32(address):
    _gru_backward(FLOAT32, 4, carray(address, 1, _BACKWARD)[0])


def _run_gru_backward_bfloat16(address):
    _gru_backward(BFLOAT16, 2, carray(address, 1, _BACKWARD)[0])


def _run_product_float32(address):
    product(FLOAT32, 4, carray(address, 1, _PRODUCT)[0])


def _run_product_bfloat16(address):
    product(BFLOAT16, 2, carray(address, 1, _PRODUCT)[0])


def _run_add_rows_float32(address):
    add_rows(FLOAT32, 4, carray(address, 1, _ADD_ROWS)[0])


def _run_add_rows_bfloat16(address):
    add_rows(BFLOAT16, 2, carray(address, 1, _ADD_ROWS)[0])


@cache
def compiled(name: str) -> int:
    """Return the address of a kernel, a C function ``void f(void *record)``.

    Compiling takes about a second, and the machine code is cached on disk. If the cache cannot be
    read or written, every process compiles again.

    Args:
        name: the kernel and the type of its operands, such as ``lstm_forward_float32``.
    """
    function = uniquely_named(globals()[f"_run_{name}"])
    signature = types.void(types.voidptr)
    try:
        kernel = cfunc(signature, cache=True)(function)
    except Exception as error:  # no writable folder, a full disk, a damaged file
        _log.debug("kernel %s is compiled without a cache: %r", name, error)
        with suppress(Exception):
            FunctionCache(function).flush()  # the next process can then fill it again
        kernel = cfunc(signature)(function)
    address: int = kernel.address
    return address

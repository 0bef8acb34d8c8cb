"""The step loops of the CPU engine, compiled by Numba; `charlm.recurrent.cpu.launch` calls them."""

# mypy: ignore-errors
# (The compiled half is in Numba's language, whose types mypy does not know.)

import logging
from contextlib import suppress
from functools import cache

import numpy as np
from numba import carray, cfunc, types
from numba.core.caching import FunctionCache

from charlm.recurrent.cpu.products import add_rows, product
from charlm.recurrent.cpu.target import (
    BFLOAT16,
    BLOCK,
    FLOAT32,
    LANES,
    ROWS,
    SCRATCH,
    SCRATCH_ROW,
    kernel_function,
    uniquely_named,
)
from charlm.recurrent.cpu.threads import barrier, share
from charlm.recurrent.cpu.tiles import multiply_back, multiply_gru, multiply_lstm
from charlm.recurrent.cpu.vectors import keep, read, read_integer, sigmoid, spread, tanh, write

_log = logging.getLogger(__name__)


# A kernel is run by every thread of a team on a block of integers, the arguments: sizes, and
# addresses of arrays laid out as `charlm.recurrent.cpu.packing` says. A thread has its own panels
# of units (columns of the recurrent product) for all steps, so that a panel's weights stay in its
# cache, and the results do not depend on the number of threads. A panel's product is made for a few
# rows (examples) at a time in the thread's scratch memory and its gates follow at once, while the
# numbers are in the cache. Threads wait for each other once a step, at a barrier.


@kernel_function
def _start_sums(table, table_rows, indices, at, rows, panel, sums):
    """Start the sums of rows from `at` on with rows of the table: without indices, its first."""
    for r in range(rows):
        row = read_integer(indices + (at + r) * 8) if indices != 0 else 0
        for gate in range(4):
            bias = read(FLOAT32, table + ((panel * table_rows + row) * 4 + gate) * 64)
            write(FLOAT32, sums + r * SCRATCH_ROW + gate * 64, bias)


@kernel_function
def _lstm_forward(kind, wide, a):
    team, scratch, steps, batch, size, advance = a[0], a[1], a[2], a[3], a[4], a[5]
    table, indices, x, width, w_ih, w_hh = a[6], a[7], a[8], a[9], a[10], a[11]
    gates, cells, states, operand, units, table_rows = a[12], a[13], a[14], a[15], a[16], a[17]
    groups = (batch + ROWS - 1) // ROWS
    first, last, me = share(size // LANES * groups, team)
    sums = scratch + me * SCRATCH
    for t in range(steps):
        for item in range(first, last):
            panel, row = item // groups, item % groups * ROWS
            rows, at = min(ROWS, batch - row), t * batch + row
            here = units - panel * LANES  # an infinite input must not reach the units of padding
            _start_sums(table, table_rows, indices, at, rows, panel, sums)
            h = operand + (row * size + t * advance) * wide
            if x != 0:
                w = w_ih + panel * 4 * LANES * width * wide
                multiply_lstm(
                    kind, x + at * width * wide, width * wide, rows, w, width * wide // 4, sums
                )
            w = w_hh + panel * 4 * LANES * size * wide
            multiply_lstm(kind, h, size * wide, rows, w, size * wide // 4, sums)
            for r in range(rows):
                total = sums + r * SCRATCH_ROW
                i = sigmoid(keep(read(FLOAT32, total), here))
                f = sigmoid(keep(read(FLOAT32, total + 64), here))
                g = tanh(keep(read(FLOAT32, total + 128), here))
                o = sigmoid(keep(read(FLOAT32, total + 192), here))
                unit = (row + r) * size + t * advance + panel * LANES
                cell = cells + (t * advance + (panel * batch + row + r) * LANES) * 4
                c = f * read(FLOAT32, cell) + i * g
                write(FLOAT32, cell + advance * 4, c)
                h_new = o * tanh(c)
                unit += advance
                write(FLOAT32, states + unit * 4, h_new)
                if wide == 2:
                    write(kind, operand + unit * 2, h_new)
                gate = gates + ((t * size // LANES + panel) * batch + row + r) * 4 * LANES * wide
                write(kind, gate, i)
                write(kind, gate + LANES * wide, f)
                write(kind, gate + 2 * LANES * wide, g)
                write(kind, gate + 3 * LANES * wide, o)
        barrier(team)


@kernel_function
def _gru_forward(kind, wide, a):
    team, scratch, steps, batch, size, advance = a[0], a[1], a[2], a[3], a[4], a[5]
    table, indices, x, width, w_ih, w_hh = a[6], a[7], a[8], a[9], a[10], a[11]
    gates, states, operand, units, table_rows = a[12], a[14], a[15], a[16], a[17]
    groups = (batch + ROWS - 1) // ROWS
    first, last, me = share(size // LANES * groups, team)
    sums = scratch + me * SCRATCH
    for t in range(steps):
        for item in range(first, last):
            panel, row = item // groups, item % groups * ROWS
            rows, at = min(ROWS, batch - row), t * batch + row
            here = units - panel * LANES  # an infinite input must not reach the units of padding
            _start_sums(table, table_rows, indices, at, rows, panel, sums)
            # The slots are n, r, z and m: the input adds to the first three, h to the last three.
            if x != 0:
                w = w_ih + panel * 3 * LANES * width * wide
                multiply_gru(
                    kind, x + at * width * wide, width * wide, rows, w, width * wide // 4, sums
                )
            h = operand + (row * size + t * advance) * wide
            w = w_hh + panel * 3 * LANES * size * wide
            multiply_gru(kind, h, size * wide, rows, w, size * wide // 4, sums + 64)
            for r in range(rows):
                total = sums + r * SCRATCH_ROW
                m = keep(read(FLOAT32, total + 192), here)
                reset = sigmoid(keep(read(FLOAT32, total + 64), here))
                z = sigmoid(keep(read(FLOAT32, total + 128), here))
                n = tanh(keep(read(FLOAT32, total), here) + reset * m)
                unit = (row + r) * size + t * advance + panel * LANES
                h_new = n + z * (read(FLOAT32, states + unit * 4) - n)
                unit += advance
                write(FLOAT32, states + unit * 4, h_new)
                if wide == 2:
                    write(kind, operand + unit * 2, h_new)
                gate = gates + ((t * size // LANES + panel) * batch + row + r) * 4 * LANES * wide
                write(kind, gate, n)
                write(kind, gate + LANES * wide, reset)
                write(kind, gate + 2 * LANES * wide, z)
                write(kind, gate + 3 * LANES * wide, m)
        barrier(team)


# Backward, step t first finishes the gradient of the hidden state after step t, in the sums: what
# comes back from step t + 1 through the recurrent weights, added to what came from outside. One
# step before the first, it is the gradient of the initial state.


@kernel_function
def _lstm_backward(kind, wide, a):
    team, scratch, steps, batch, size, w_hh = a[0], a[1], a[2], a[3], a[4], a[5]
    gates, cells, d_outputs, d_gates, d_h, d_c = a[6], a[7], a[8], a[9], a[10], a[11]
    one = spread(np.float32(1))
    groups = (batch + ROWS - 1) // ROWS
    first, last, me = share(size // (2 * LANES) * groups, team)
    sums = scratch + me * SCRATCH
    stride = 4 * size * wide
    for t in range(steps - 1, -2, -1):
        for item in range(first, last):
            panel, row = item // groups, item % groups * ROWS
            rows, at = min(ROWS, batch - row), t * batch + row
            for r in range(rows):
                for v in range(2):
                    mine = (row + r) * size + (panel * 2 + v) * LANES
                    d = read(FLOAT32, d_h + mine * 4)
                    if t >= 0:
                        d = d + read(FLOAT32, d_outputs + (t * batch * size + mine) * 4)
                    write(FLOAT32, sums + r * SCRATCH_ROW + v * 64, d)
            if t < steps - 1:
                later = d_gates + (at + batch) * stride
                w = w_hh + panel * 2 * LANES * stride
                multiply_back(kind, later, stride, rows, w, stride // 4, sums)
            for r in range(rows):
                for v in range(2):
                    mine = (row + r) * size + (panel * 2 + v) * LANES
                    dh = read(FLOAT32, sums + r * SCRATCH_ROW + v * 64)
                    if t < 0:
                        write(FLOAT32, d_h + mine * 4, dh)
                        continue
                    gate = ((at + r) * 4 * size + (panel * 2 + v) * LANES) * wide
                    block = ((t * size // LANES + panel * 2 + v) * batch + row + r) * LANES
                    i = read(kind, gates + block * 4 * wide)
                    f = read(kind, gates + (block * 4 + LANES) * wide)
                    g = read(kind, gates + (block * 4 + 2 * LANES) * wide)
                    o = read(kind, gates + (block * 4 + 3 * LANES) * wide)
                    c = read(FLOAT32, cells + block * 4)
                    tanh_c = tanh(read(FLOAT32, cells + (block + batch * size) * 4))
                    dc = read(FLOAT32, d_c + mine * 4) + dh * o * (one - tanh_c * tanh_c)
                    write(FLOAT32, d_c + mine * 4, dc * f)
                    d = d_gates + gate
                    write(kind, d, dc * g * i * (one - i))
                    write(kind, d + size * wide, dc * c * f * (one - f))
                    write(kind, d + 2 * size * wide, dc * i * (one - g * g))
                    write(kind, d + 3 * size * wide, dh * tanh_c * o * (one - o))
                    write(FLOAT32, d_h + mine * 4, spread(np.float32(0)))
        barrier(team)


@kernel_function
def _gru_backward(kind, wide, a):
    team, scratch, steps, batch, size, w_hh = a[0], a[1], a[2], a[3], a[4], a[5]
    gates, states, d_outputs, d_gates, d_h = a[6], a[7], a[8], a[9], a[10]
    one = spread(np.float32(1))
    groups = (batch + ROWS - 1) // ROWS
    first, last, me = share(size // (2 * LANES) * groups, team)
    sums = scratch + me * SCRATCH
    stride = 4 * size * wide
    for t in range(steps - 1, -2, -1):
        for item in range(first, last):
            panel, row = item // groups, item % groups * ROWS
            rows, at = min(ROWS, batch - row), t * batch + row
            for r in range(rows):
                for v in range(2):
                    mine = (row + r) * size + (panel * 2 + v) * LANES
                    d = read(FLOAT32, d_h + mine * 4)
                    if t >= 0:
                        d = d + read(FLOAT32, d_outputs + (t * batch * size + mine) * 4)
                    write(FLOAT32, sums + r * SCRATCH_ROW + v * 64, d)
            if t < steps - 1:
                later = d_gates + (at + batch) * stride + size * wide  # the slots r, z and m
                w = w_hh + panel * 2 * LANES * 3 * size * wide
                multiply_back(kind, later, stride, rows, w, 3 * size * wide // 4, sums)
            for r in range(rows):
                for v in range(2):
                    mine = (row + r) * size + (panel * 2 + v) * LANES
                    dh = read(FLOAT32, sums + r * SCRATCH_ROW + v * 64)
                    if t < 0:
                        write(FLOAT32, d_h + mine * 4, dh)
                        continue
                    gate = ((at + r) * 4 * size + (panel * 2 + v) * LANES) * wide
                    block = ((t * size // LANES + panel * 2 + v) * batch + row + r) * LANES
                    n = read(kind, gates + block * 4 * wide)
                    reset = read(kind, gates + (block * 4 + LANES) * wide)
                    z = read(kind, gates + (block * 4 + 2 * LANES) * wide)
                    m = read(kind, gates + (block * 4 + 3 * LANES) * wide)
                    h = read(FLOAT32, states + (t * batch * size + mine) * 4)
                    dn = dh * (one - z) * (one - n * n)
                    d = d_gates + gate
                    write(kind, d, dn)
                    write(kind, d + size * wide, dn * m * reset * (one - reset))
                    write(kind, d + 2 * size * wide, dh * (h - n) * z * (one - z))
                    write(kind, d + 3 * size * wide, dn * reset)
                    write(FLOAT32, d_h + mine * 4, dh * z)
        barrier(team)


# What C can call. Numba does not cache closures, so these are written out; a process compiles
# only those that it needs.


def _run_lstm_forward_float32(block):
    _lstm_forward(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_lstm_forward_bfloat16(block):
    _lstm_forward(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


def _run_lstm_backward_float32(block):
    _lstm_backward(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_lstm_backward_bfloat16(block):
    _lstm_backward(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


def _run_gru_forward_float32(block):
    _gru_forward(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_gru_forward_bfloat16(block):
    _gru_forward(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


def _run_gru_backward_float32(block):
    _gru_backward(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_gru_backward_bfloat16(block):
    _gru_backward(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


def _run_product_float32(block):
    product(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_product_bfloat16(block):
    product(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


def _run_add_rows_float32(block):
    add_rows(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_add_rows_bfloat16(block):
    add_rows(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


@cache
def compiled(name: str) -> int:
    """Return the address of a kernel: a C function ``void f(long long *block)``.

    Compiling takes about a second, and its result is cached on disk. A cache that cannot be read
    or written costs that second in each process and nothing else.
    """
    function = uniquely_named(globals()[f"_run_{name}"])
    signature = types.void(types.voidptr)
    try:
        kernel = cfunc(signature, cache=True)(function)
    except Exception as error:  # no writable folder, a full disk, a damaged file
        _log.debug("kernel %s is compiled without a cache: %r", name, error)
        with suppress(Exception):
            FunctionCache(function).flush()  # so that the next process can fill it anew
        kernel = cfunc(signature)(function)
    address: int = kernel.address
    return address

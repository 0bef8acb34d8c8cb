# mypy: ignore-errors
# ruff: noqa: N803 (Triton's constants are written in capitals)
"""Engine `fused` on a GPU, in Triton: hand-written forward and backward, one autograd node a layer.

The order of the work is the CPU engine's (`charlm.recurrent.cpu`). Input products, weight gradients
and all else that is parallel in time are single products of torch's. The loop runs one kernel a
step and direction, which multiplies by the recurrent weights and goes on to the point-wise part
while the sums are in registers. Each number is written by one program and added up in one order,
with no atomics and no tuning at run time, so that the same inputs give the same bits.

The gradients are those of `charlm.recurrent.equations`; as there, a GRU's gates are r, z, n, and m
is the candidate's recurrent product.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from charlm.recurrent.reference import Torch

# Rows, columns and depth of the tile that a program multiplies: the least that tensor cores take
# by rows, and narrow by columns, so that a batch of 64 and 512 units still make 128 programs.
_BLOCK = {"BLOCK_B": 16, "BLOCK_H": 16, "BLOCK_K": 64}


class Fused:
    """The engine; see `charlm.recurrent.reference` for the form of the two functions."""

    @staticmethod
    def lstm(inputs: Tensor, indices: Tensor | None, *others: Any) -> tuple[Tensor, ...]:
        """Run an LSTM layer."""
        if inputs.dtype != torch.float32:
            return Torch.lstm(inputs, indices, *others)
        h, c, weight_ih, weight_hh, bias_ih, bias_hh, precision = others
        projected = _project(inputs, indices, weight_ih, bias_ih + bias_hh, precision)
        return _LSTM.apply(projected, weight_hh, h, c, precision)  # type: ignore[no-any-return, no-untyped-call]

    @staticmethod
    def gru(inputs: Tensor, indices: Tensor | None, *others: Any) -> tuple[Tensor, ...]:
        """Run a GRU layer."""
        if inputs.dtype != torch.float32:
            return Torch.gru(inputs, indices, *others)
        h, weight_ih, weight_hh, bias_ih, bias_hh, precision = others
        size = h.shape[1]
        bias = bias_ih + functional.pad(bias_hh[: 2 * size], (0, size))
        projected = _project(inputs, indices, weight_ih, bias, precision)
        return _GRU.apply(projected, weight_hh, bias_hh[2 * size :], h, precision)  # type: ignore[no-any-return, no-untyped-call]


def _project(
    inputs: Tensor, indices: Tensor | None, weight: Tensor, bias: Tensor, precision: str
) -> Tensor:
    """The input's part in the gates' arguments, (T, B, G·H), for all steps at once."""
    kind = _kind(precision)
    product = functional.linear(inputs.to(kind), weight.to(kind)).float() + bias
    return product if indices is None else functional.embedding(indices, product)


def _kind(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _grid(batch: int, size: int) -> tuple[int, int]:
    return triton.cdiv(batch, _BLOCK["BLOCK_B"]), triton.cdiv(size, _BLOCK["BLOCK_H"])


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, weight: Tensor, h: Tensor, c: Tensor, precision: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        steps, (batch, size), kind = len(projected), h.shape, _kind(precision)
        weight = weight.to(kind)
        gates = torch.empty_like(projected)
        outputs = h.new_empty(steps, batch, size)
        operands = h.new_empty(steps + 1, batch, size, dtype=kind)
        cells = h.new_empty(steps + 1, batch, size)
        operands[0], cells[0] = h, c
        for t in range(steps):
            _lstm_step[_grid(batch, size)](
                projected[t], weight, operands[t], cells[t],
                gates[t], outputs[t], operands[t + 1], cells[t + 1], batch, size, **_BLOCK,
            )  # fmt: skip
        ctx.save_for_backward(weight, gates, operands, cells)
        return outputs, outputs[-1].clone(), cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_h: Tensor, d_c: Tensor) -> tuple[Any, ...]:
        weight, gates, operands, cells = ctx.saved_tensors
        steps, batch, size = len(gates), *cells.shape[1:]
        d_gates = torch.empty_like(gates, dtype=weight.dtype)
        d_outputs, d_h, d_c = d_outputs.contiguous(), d_h.clone(), d_c.clone()
        for t in range(steps - 1, -2, -1):
            _lstm_step_backward[_grid(batch, size)](
                gates[t], cells[t], cells[t + 1], weight, d_outputs[t], d_gates[t],
                d_gates[(t + 1) % steps], d_h, d_c, batch, size,
                t == steps - 1, t < 0, **_BLOCK,
            )  # fmt: skip
        flat = d_gates.flatten(0, 1)
        d_weight = flat.T @ operands[:-1].flatten(0, 1)
        return d_gates.float(), d_weight.float(), d_h, d_c, None


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, weight: Tensor, bias: Tensor, h: Tensor, precision: str
    ) -> tuple[Tensor, Tensor]:
        steps, (batch, size), kind = len(projected), h.shape, _kind(precision)
        weight = weight.to(kind)
        gates = h.new_empty(steps, batch, 4 * size)  # r, z, n and m
        hidden = h.new_empty(steps + 1, batch, size)
        operands = h.new_empty(steps + 1, batch, size, dtype=kind)
        hidden[0], operands[0] = h, h
        for t in range(steps):
            _gru_step[_grid(batch, size)](
                projected[t], weight, bias.contiguous(), hidden[t], operands[t],
                gates[t], hidden[t + 1], operands[t + 1], batch, size, **_BLOCK,
            )  # fmt: skip
        ctx.save_for_backward(weight, gates, hidden, operands)
        return hidden[1:], hidden[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_h: Tensor) -> tuple[Any, ...]:
        weight, gates, hidden, operands = ctx.saved_tensors
        steps, batch, size = len(gates), *hidden.shape[1:]
        d_gates = torch.empty_like(gates, dtype=weight.dtype)
        d_outputs, d_h = d_outputs.contiguous(), d_h.clone()
        for t in range(steps - 1, -2, -1):
            _gru_step_backward[_grid(batch, size)](
                gates[t], hidden[t], weight, d_outputs[t], d_gates[t], d_gates[(t + 1) % steps],
                d_h, batch, size, t == steps - 1, t < 0, **_BLOCK,
            )  # fmt: skip
        # The slots are r, z, n and m: the input meets the first three; h meets r, z and m.
        by_hidden = torch.cat([d_gates[..., : 2 * size], d_gates[..., 3 * size :]], dim=2)
        d_weight = by_hidden.flatten(0, 1).T @ operands[:-1].flatten(0, 1)
        d_bias = d_gates[..., 3 * size :].float().sum((0, 1))
        return d_gates[..., : 3 * size].float(), d_weight.float(), d_bias, d_h, None


@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _place(batch, SIZE: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr):
    """This program's rows (examples), columns (units), and which of them there are."""
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    columns = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    return rows, columns, (rows < batch)[:, None] & (columns < SIZE)[None, :]


@triton.jit
def _product(
    total, a, stride, b, b_row, b_column, rows, columns, batch,
    SIZE: tl.constexpr, DEPTH: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Add to a tile the product of rows of `a` and columns of `b`, over DEPTH numbers."""
    for start in range(0, DEPTH, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        x = tl.load(
            a + rows[:, None] * stride + k[None, :],
            mask=(rows < batch)[:, None] & (k < DEPTH)[None, :],
            other=0.0,
        )
        y = tl.load(
            b + k[:, None] * b_row + columns[None, :] * b_column,
            mask=(k < DEPTH)[:, None] & (columns < SIZE)[None, :],
            other=0.0,
        )
        total = tl.dot(x, y, total, input_precision="ieee")
    return total


@triton.jit
def _lstm_step(
    projected, weight, operand, cell, gates, output, new_operand, new_cell, batch,
    SIZE: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    rows, columns, there = _place(batch, SIZE, BLOCK_B, BLOCK_H)
    unit = rows[:, None] * SIZE + columns[None, :]
    gate = rows[:, None] * 4 * SIZE + columns[None, :]
    i = tl.load(projected + gate, mask=there, other=0.0)
    f = tl.load(projected + gate + SIZE, mask=there, other=0.0)
    g = tl.load(projected + gate + 2 * SIZE, mask=there, other=0.0)
    o = tl.load(projected + gate + 3 * SIZE, mask=there, other=0.0)
    w = weight
    i = _product(i, operand, SIZE, w, 1, SIZE, rows, columns, batch, SIZE, SIZE, BLOCK_K)
    w += SIZE * SIZE
    f = _product(f, operand, SIZE, w, 1, SIZE, rows, columns, batch, SIZE, SIZE, BLOCK_K)
    w += SIZE * SIZE
    g = _product(g, operand, SIZE, w, 1, SIZE, rows, columns, batch, SIZE, SIZE, BLOCK_K)
    w += SIZE * SIZE
    o = _product(o, operand, SIZE, w, 1, SIZE, rows, columns, batch, SIZE, SIZE, BLOCK_K)
    i, f, g, o = tl.sigmoid(i), tl.sigmoid(f), _tanh(g), tl.sigmoid(o)
    c = f * tl.load(cell + unit, mask=there, other=0.0) + i * g
    h = o * _tanh(c)
    tl.store(gates + gate, i, mask=there)
    tl.store(gates + gate + SIZE, f, mask=there)
    tl.store(gates + gate + 2 * SIZE, g, mask=there)
    tl.store(gates + gate + 3 * SIZE, o, mask=there)
    tl.store(new_cell + unit, c, mask=there)
    tl.store(output + unit, h, mask=there)
    tl.store(new_operand + unit, h.to(new_operand.dtype.element_ty), mask=there)


@triton.jit
def _lstm_step_backward(
    gates, cell, new_cell, weight, d_output, d_gates, d_gates_after, d_h, d_c, batch,
    SIZE: tl.constexpr, FIRST: tl.constexpr, LAST: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Finish the gradient of the hidden state, then go back through the gates (unless LAST)."""
    rows, columns, there = _place(batch, SIZE, BLOCK_B, BLOCK_H)
    unit = rows[:, None] * SIZE + columns[None, :]
    gate = rows[:, None] * 4 * SIZE + columns[None, :]
    if FIRST:
        dh = tl.load(d_h + unit, mask=there, other=0.0)
    else:
        dh = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
        dh = _product(
            dh, d_gates_after, 4 * SIZE, weight, SIZE, 1, rows, columns, batch, SIZE, 4 * SIZE,
            BLOCK_K,
        )  # fmt: skip
    if LAST:
        tl.store(d_h + unit, dh, mask=there)
    else:
        kind = d_gates.dtype.element_ty
        dh += tl.load(d_output + unit, mask=there, other=0.0)
        i = tl.load(gates + gate, mask=there, other=0.0)
        f = tl.load(gates + gate + SIZE, mask=there, other=0.0)
        g = tl.load(gates + gate + 2 * SIZE, mask=there, other=0.0)
        o = tl.load(gates + gate + 3 * SIZE, mask=there, other=0.0)
        c = tl.load(cell + unit, mask=there, other=0.0)
        tanh_c = _tanh(tl.load(new_cell + unit, mask=there, other=0.0))
        dc = tl.load(d_c + unit, mask=there, other=0.0) + dh * o * (1 - tanh_c * tanh_c)
        tl.store(d_gates + gate, (dc * g * i * (1 - i)).to(kind), mask=there)
        tl.store(d_gates + gate + SIZE, (dc * c * f * (1 - f)).to(kind), mask=there)
        tl.store(d_gates + gate + 2 * SIZE, (dc * i * (1 - g * g)).to(kind), mask=there)
        tl.store(d_gates + gate + 3 * SIZE, (dh * tanh_c * o * (1 - o)).to(kind), mask=there)
        tl.store(d_c + unit, dc * f, mask=there)


@triton.jit
def _gru_step(
    projected, weight, bias, hidden, operand, gates, new_hidden, new_operand, batch,
    SIZE: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    rows, columns, there = _place(batch, SIZE, BLOCK_B, BLOCK_H)
    unit = rows[:, None] * SIZE + columns[None, :]
    x = rows[:, None] * 3 * SIZE + columns[None, :]
    gate = rows[:, None] * 4 * SIZE + columns[None, :]
    r = tl.load(projected + x, mask=there, other=0.0)
    z = tl.load(projected + x + SIZE, mask=there, other=0.0)
    m = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
    m += tl.load(bias + columns, mask=columns < SIZE, other=0.0)[None, :]
    w = weight
    r = _product(r, operand, SIZE, w, 1, SIZE, rows, columns, batch, SIZE, SIZE, BLOCK_K)
    w += SIZE * SIZE
    z = _product(z, operand, SIZE, w, 1, SIZE, rows, columns, batch, SIZE, SIZE, BLOCK_K)
    w += SIZE * SIZE
    m = _product(m, operand, SIZE, w, 1, SIZE, rows, columns, batch, SIZE, SIZE, BLOCK_K)
    r, z = tl.sigmoid(r), tl.sigmoid(z)
    n = _tanh(tl.load(projected + x + 2 * SIZE, mask=there, other=0.0) + r * m)
    h = n + z * (tl.load(hidden + unit, mask=there, other=0.0) - n)
    tl.store(gates + gate, r, mask=there)
    tl.store(gates + gate + SIZE, z, mask=there)
    tl.store(gates + gate + 2 * SIZE, n, mask=there)
    tl.store(gates + gate + 3 * SIZE, m, mask=there)
    tl.store(new_hidden + unit, h, mask=there)
    tl.store(new_operand + unit, h.to(new_operand.dtype.element_ty), mask=there)


@triton.jit
def _gru_step_backward(
    gates, hidden, weight, d_output, d_gates, d_gates_after, d_h, batch,
    SIZE: tl.constexpr, FIRST: tl.constexpr, LAST: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Finish the gradient of the hidden state, then go back through the gates (unless LAST)."""
    rows, columns, there = _place(batch, SIZE, BLOCK_B, BLOCK_H)
    unit = rows[:, None] * SIZE + columns[None, :]
    gate = rows[:, None] * 4 * SIZE + columns[None, :]
    dh = tl.load(d_h + unit, mask=there, other=0.0)
    if not FIRST:  # through r and z, then through m
        dh = _product(
            dh, d_gates_after, 4 * SIZE, weight, SIZE, 1, rows, columns, batch, SIZE, 2 * SIZE,
            BLOCK_K,
        )  # fmt: skip
        dh = _product(
            dh, d_gates_after + 3 * SIZE, 4 * SIZE, weight + 2 * SIZE * SIZE, SIZE, 1,
            rows, columns, batch, SIZE, SIZE, BLOCK_K,
        )  # fmt: skip
    if LAST:
        tl.store(d_h + unit, dh, mask=there)
    else:
        kind = d_gates.dtype.element_ty
        dh += tl.load(d_output + unit, mask=there, other=0.0)
        r = tl.load(gates + gate, mask=there, other=0.0)
        z = tl.load(gates + gate + SIZE, mask=there, other=0.0)
        n = tl.load(gates + gate + 2 * SIZE, mask=there, other=0.0)
        m = tl.load(gates + gate + 3 * SIZE, mask=there, other=0.0)
        h = tl.load(hidden + unit, mask=there, other=0.0)
        dn = dh * (1 - z) * (1 - n * n)
        tl.store(d_gates + gate, (dn * m * r * (1 - r)).to(kind), mask=there)
        tl.store(d_gates + gate + SIZE, (dh * (h - n) * z * (1 - z)).to(kind), mask=there)
        tl.store(d_gates + gate + 2 * SIZE, dn.to(kind), mask=there)
        tl.store(d_gates + gate + 3 * SIZE, (dn * r).to(kind), mask=there)
        tl.store(d_h + unit, dh * z, mask=there)

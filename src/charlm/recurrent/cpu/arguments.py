"""The arguments of the compiled kernels: records with named fields.

A kernel receives the address of one record. In Python, the record is a named tuple of numbers and
tensors; in compiled code, every field is a 64-bit integer: the number itself, the address of the
tensor's memory, or 0 for None. Tensors are contiguous unless a stride is given.

Shapes use these letters. Sizes are padded with zeros as `charlm.recurrent.cpu.packing` does.

    T  steps                            H  units, padded to a multiple of 32
    B  examples                         I  features of the input, padded to a multiple of 32
    V  rows of the table                G  slots of the weights: 4 in an LSTM, 3 in a GRU
    P  vectors per panel of weights     W  32-bit words of a row: numbers, or pairs of bfloat16

*dtype* is the type of the products' operands, float32 or bfloat16.
"""

import ctypes
from typing import NamedTuple

from torch import Tensor

LANES = 16
"""Numbers in a vector: units that are computed together."""


class ForwardArguments(NamedTuple):
    """Arguments of `lstm_forward` and `gru_forward`.

    The input enters either as rows of a table or, if `x` is given, as a product. In the latter
    case the table has one row, the biases, and there are no indices.
    """

    steps: int  # T
    batch: int  # B
    size: int  # H
    units: int  # units of the layer, without padding
    features: int  # I, or 0 without x
    table_rows: int  # V
    state_stride: int  # numbers from a step's state to the next step's: B · H, or its negative
    table: Tensor  # (H / 16, V, 4, 16) float32, what each row adds to the gates' arguments
    indices: Tensor | None  # (T, B) int64, rows of the table
    x: Tensor | None  # (T, B, I) dtype
    weight_ih: Tensor | None  # (H / 16, G / P, W, P, 16) words
    weight_hh: Tensor  # (H / 16, G / P, W, P, 16) words
    gates: Tensor  # result, (T, H / 16, B, 4, 16) dtype: an LSTM's i f g o, a GRU's n r z m
    cells: Tensor | None  # result, (T + 1, H / 16, B, 16) float32; the initial state is given
    hidden: Tensor  # result, (T + 1, B, H) float32; the initial state is given
    operand: Tensor  # result, (T + 1, B, H) dtype: `hidden` itself or a copy in bfloat16


class BackwardArguments(NamedTuple):
    """Arguments of `lstm_backward` and `gru_backward`."""

    steps: int  # T
    batch: int  # B
    size: int  # H
    weight_hh: Tensor  # (H / PANEL_COLUMNS, W, PANEL_COLUMNS) words, with W for G · H numbers
    gates: Tensor  # (T, H / 16, B, 4, 16) dtype, from the forward pass
    states: Tensor  # an LSTM's `cells` or a GRU's `hidden`, from the forward pass
    d_outputs: Tensor  # (T, B, H) float32
    d_gates: Tensor  # result, (T, B, 4, H) dtype: gradients of the gates' arguments
    d_hidden: Tensor  # (B, H) float32: gradient of the final state, then of the initial one
    d_cell: Tensor | None  # (B, H) float32: the same of the cell state; None in a GRU


class ProductArguments(NamedTuple):
    """Arguments of `product`, which adds A B to C."""

    m: int  # rows of A and C; a multiple of 32 if A is transposed
    n: int  # columns of B and C, a multiple of 32
    k: int  # columns of A, rows of B
    transposed: int  # 1 if `a` holds the transpose of A, else 0
    a: Tensor  # (m, k) dtype, or (k, m) if transposed
    a_stride: int  # bytes from a row of `a` to the next
    b: Tensor  # (k, n) dtype
    b_stride: int  # bytes from a row of `b` to the next
    c: Tensor  # (m, n) float32, changed in place


class AddRowsArguments(NamedTuple):
    """Arguments of `add_rows`, which adds each row of numbers to one of the rows of sums."""

    rows: int
    width: int  # numbers in a row, a multiple of 16
    batch: int  # B: without indices, rows t B to t B + B - 1 are added to sum t
    numbers: Tensor  # (rows, width) dtype
    indices: Tensor | None  # (rows,) int64: the sum to which each row is added
    sums: Tensor  # (number of sums, width) float32, changed in place


Arguments = ForwardArguments | BackwardArguments | ProductArguments | AddRowsArguments


def _record(arguments: type[Arguments]) -> type[ctypes.Structure]:
    fields = [(name, ctypes.c_int64) for name in ("team", "scratch", *arguments._fields)]
    return type(arguments.__name__, (ctypes.Structure,), {"_fields_": fields})


RECORDS: dict[type[Arguments], type[ctypes.Structure]] = {
    arguments: _record(arguments)
    for arguments in (ForwardArguments, BackwardArguments, ProductArguments, AddRowsArguments)
}
"""The records that compiled code reads, all of them 64-bit integers.

Before the fields of the named tuple, a record holds the `team` of threads
(`charlm.recurrent.cpu.threads`) and the address of their `scratch` memory.
"""


def make_record(arguments: Arguments, team: int, scratch: Tensor) -> ctypes.Structure:
    """Make the record that compiled code reads. It does not keep the tensors alive."""
    values = (team, scratch, *arguments)
    return RECORDS[type(arguments)](*map(_as_integer, values))


def _as_integer(value: int | Tensor | None) -> int:
    if isinstance(value, Tensor):
        return value.data_ptr()
    return value or 0

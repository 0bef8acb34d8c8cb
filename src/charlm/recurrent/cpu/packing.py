"""How arrays are laid out for the kernels.

The gates' arguments have four slots: i, f, g and o in an LSTM; n, r, z and m in a GRU, where m is
the recurrent product that r multiplies. The order of a GRU's slots puts side by side those to which
the input adds, n r z, and those to which the hidden state adds, r z m. Units and features are
padded with zeros to a multiple of 32, which changes no result.

Shapes use the letters of `charlm.recurrent.cpu.arguments`.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from charlm.recurrent.cpu.arguments import LANES
from charlm.recurrent.cpu.launch import matrix_product, target
from charlm.recurrent.engines.base import Cell, Precision
from charlm.recurrent.errors import LayerIndexError


def padded(size: int) -> int:
    """Round a number of units or features up to a multiple of 32.

    >>> padded(32), padded(33)
    (32, 64)
    """
    return -(-size // 32) * 32


def pad(numbers: Tensor, columns: int, rows: int | None = None) -> Tensor:
    """Append zeros until the last dimension has size `columns`, and the one before it `rows`.

    >>> pad(torch.ones(2, 3), 4)
    tensor([[1., 1., 1., 0.],
            [1., 1., 1., 0.]])
    """
    right = columns - numbers.shape[-1]
    below = 0 if rows is None else rows - numbers.shape[-2]
    if not right and not below:
        return numbers
    return functional.pad(numbers, (0, right, 0, below) if below else (0, right))


class Weights(NamedTuple):
    """The parameters of a layer in the order of the slots, padded."""

    ih: Tensor  # (G, H, I) dtype
    hh: Tensor  # (G, H, H) dtype
    bias: Tensor  # (4, H) float32, the sums of both biases

    @classmethod
    def of(cls, cell: Cell, dtype: torch.dtype, *parameters: Tensor) -> "Weights":
        """Pad and order a layer's weight_ih, weight_hh, bias_ih and bias_hh."""
        weight_ih, weight_hh, bias_ih, bias_hh = (p.detach().resolve_neg() for p in parameters)
        units = weight_hh.shape[1]
        ih, hh = (
            pad(w.to(dtype).view(-1, units, w.shape[1]), padded(w.shape[1]), padded(units))
            for w in (weight_ih, weight_hh)
        )
        b_ih, b_hh = (pad(b.view(-1, units), padded(units)) for b in (bias_ih, bias_hh))
        if cell == "lstm":
            return cls(ih, hh, b_ih + b_hh)
        (r, z, n), (u_r, u_z, m) = b_ih, b_hh
        return cls(ih.roll(1, 0), hh, torch.stack([n, r + u_r, z + u_z, m]))

    def table(self, rows: Tensor) -> Tensor:
        """Compute what inputs (V, I) add to the gates' arguments, with the biases: (V, 4, H)."""
        table = self.bias.repeat(len(rows), 1, 1)
        products = matrix_product(rows, self.ih.flatten(0, 1).T.contiguous())
        table[:, : len(self.ih)] += products.view(len(rows), *self.ih.shape[:2])
        return table


def columns(numbers: Tensor, slots: slice) -> Tensor:
    """View some slots of numbers (rows, 4, H) as columns of a matrix."""
    return numbers.flatten(1)[:, slots.start * numbers.shape[2] : slots.stop * numbers.shape[2]]


def to_panels(numbers: Tensor) -> Tensor:
    """Copy (rows, …, H) to (H / 16, rows, …, 16)."""
    panels = numbers.shape[-1] // LANES
    return numbers.view(*numbers.shape[:-1], panels, LANES).movedim(-2, 0).contiguous()


def from_panels(numbers: Tensor) -> Tensor:
    """Undo `to_panels` for (H / 16, rows, 16), which may come in any shape of (rows, H).

    >>> numbers = torch.arange(96.0).view(3, 32)
    >>> torch.equal(from_panels(to_panels(numbers).view(3, 32)), numbers)
    True
    """
    rows, units = numbers.shape
    return numbers.view(units // LANES, rows, LANES).transpose(0, 1).reshape(rows, units)


def pack(weights: Tensor) -> Tensor:
    """Order weights (G, H, K) as the forward kernels read them: (H / 16, G / P, W, P, 16) words.

    A panel holds 16 units of P slots. In it, the numbers to be multiplied by the same one of the K
    inputs, or by the same pair of bfloat16 inputs, lie side by side.
    """
    slots, units, _ = weights.shape
    vectors = target.TILE_VECTORS if slots == 4 else target.GRU_TILE_VECTORS
    words = weights.contiguous().view(torch.int32)
    words = words.view(slots // vectors, vectors, units // LANES, LANES, -1)
    return words.permute(2, 0, 4, 1, 3).contiguous()


def pack_transposed(weights: Tensor) -> Tensor:
    """Order weights (G, H, K) as the backward kernels read them: (K / columns, W, columns) words.

    `columns` is the PANEL_COLUMNS of the processor. A word is a number, or a pair of bfloat16 from
    two rows.
    """
    rows = weights.flatten(0, 1)
    if rows.dtype == torch.bfloat16:
        rows = rows.view(len(rows) // 2, 2, -1).transpose(1, 2)
    words = rows.contiguous().view(torch.int32)
    panels = weights.shape[2] // target.PANEL_COLUMNS
    return words.view(-1, panels, target.PANEL_COLUMNS).transpose(0, 1).contiguous()


class LayerInput(NamedTuple):
    """How the input enters a forward kernel: fields of `ForwardArguments`."""

    features: int
    table_rows: int
    table: Tensor
    indices: Tensor | None
    x: Tensor | None
    weight_ih: Tensor | None

    @classmethod
    def dense(cls, x: Tensor, weights: Weights) -> "LayerInput":
        """Multiply inputs (T, B, I) by the weights."""
        biases = to_panels(weights.bias[None])
        return cls(x.shape[-1], 1, biases, None, x, pack(weights.ih))

    @classmethod
    def looked_up(cls, rows: Tensor, indices: Tensor, weights: Weights) -> "LayerInput":
        """Multiply rows (V, I) by the weights once, and look them up by indices (T, B)."""
        return cls(0, len(rows), to_panels(weights.table(rows)), indices, None, None)


def operand_dtype(precision: Precision) -> torch.dtype:
    """Return the type of the products' operands: bfloat16 only if the processor multiplies it."""
    fast = precision == "bfloat16" and target.FAST_BFLOAT16
    return torch.bfloat16 if fast else torch.float32


def check_indices(indices: Tensor, rows: int) -> None:
    """Refuse indices outside the table, where the kernels would read other memory.

    Raises:
        LayerIndexError: an index is negative, or at least `rows`.
    """
    if not indices.numel():
        return
    first, last = map(int, torch.aminmax(indices))
    if first < 0 or last >= rows:
        raise LayerIndexError(f"indices: {first} to {last} are not all rows of a table of {rows}")

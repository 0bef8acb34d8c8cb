"""How arrays are laid out for the kernels.

Arrays have the axes (step, example, slot, unit). The slots are the gates: i, f, g and o of an LSTM;
n, r, z and m of a GRU, so that those which the input meets, n r z, and those which the hidden state
meets, r z m, each lie together. Units are padded with zeros to a multiple of 32, which changes no
result.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from charlm.recurrent.cpu.launch import matrix_product, target
from charlm.recurrent.errors import LayerIndexError

# Dense inputs of a forward kernel: rows, their length, the packed weights; or nothing.
Dense = tuple[Tensor | None, int, Tensor | None]


class Weights(NamedTuple):
    """A layer's weights by slots: ih (G, H, I), hh (G, H, H) and the biases (4, H).

    H and I are padded to multiples of 32.
    """

    ih: Tensor
    hh: Tensor
    bias: Tensor

    @classmethod
    def of(cls, cell: str, kind: torch.dtype, *parameters: Tensor) -> "Weights":
        """Order a layer's parameters by slots."""
        weight_ih, weight_hh, bias_ih, bias_hh = (p.detach().resolve_neg() for p in parameters)
        units = weight_hh.shape[1]
        extra = -units % 32
        ih, hh = (w.to(kind).view(-1, units, w.shape[1]) for w in (weight_ih, weight_hh))
        ih, hh = pad(ih, -ih.shape[2] % 32, extra), pad(hh, extra, extra)
        b_ih, b_hh = (pad(b.view(-1, units), extra) for b in (bias_ih, bias_hh))
        if cell == "lstm":
            return cls(ih, hh, b_ih + b_hh)
        (r, z, n), (u_r, u_z, m) = b_ih, b_hh
        return cls(ih.roll(1, 0), hh, torch.stack([n, r + u_r, z + u_z, m]))

    def rows(self, table: Tensor) -> Tensor:
        """What each row of the table adds to the gates' arguments, with the biases (V, 4, H)."""
        rows = self.bias.repeat(len(table), 1, 1)
        product = matrix_product(table, self.ih.flatten(0, 1).T.contiguous())
        rows[:, : len(self.ih)] += product.view(len(table), *self.ih.shape[:2])
        return rows


def pad(numbers: Tensor, last: int, one_before: int = 0) -> Tensor:
    """Add zeros at the end of the last dimension, and of the one before it."""
    if not last and not one_before:
        return numbers
    return functional.pad(numbers, (0, last, 0, one_before) if one_before else (0, last))


def columns(numbers: Tensor, slots: slice) -> Tensor:
    """View some slots of numbers (rows, 4, H) as columns of a matrix."""
    return numbers.flatten(1)[:, slots.start * numbers.shape[2] : slots.stop * numbers.shape[2]]


def block(numbers: Tensor) -> Tensor:
    """Lay (rows, …, units) out as (panel of 16 units, row, …, unit)."""
    panels = numbers.shape[-1] // 16
    return numbers.view(*numbers.shape[:-1], panels, 16).movedim(-2, 0).contiguous()


def unblock(numbers: Tensor) -> Tensor:
    """Undo `block` for (rows, units)."""
    rows, units = numbers.shape
    return numbers.view(units // 16, rows, 16).transpose(0, 1).reshape(rows, units)


def pack(weights: Tensor, together: int) -> Tensor:
    """Order weights (slots, units, K) as the forward kernels read them.

    Sixteen units of `together` slots make a panel, in which what belongs to one k (two, with
    bfloat16) lies together.
    """
    slots, units = weights.shape[:2]
    words = weights.contiguous().view(torch.int32)
    words = words.view(slots // together, together, units // 16, 16, -1)
    return words.permute(2, 0, 4, 1, 3).contiguous()


def pack_transposed(weights: Tensor) -> Tensor:
    """Order weights (slots, units, K) as the backward kernels read them, in panels of K."""
    rows = weights.flatten(0, 1)
    if rows.dtype == torch.bfloat16:  # two rows side by side make 32-bit words
        rows = rows.view(len(rows) // 2, 2, -1).transpose(1, 2)
    words = rows.contiguous().view(torch.int32)
    panels = weights.shape[2] // target.PANEL
    return words.view(-1, panels, target.PANEL).transpose(0, 1).contiguous()


def operand_type(precision: str) -> torch.dtype:
    """The type of the products' operands: bfloat16 pays only where the processor multiplies it."""
    fast = precision == "bfloat16" and target.FAST_BFLOAT16
    return torch.bfloat16 if fast else torch.float32


def check_indices(indices: Tensor, rows: int) -> None:
    """Refuse indices beyond the table, which the kernels would read from."""
    if not indices.numel():
        return
    first, last = map(int, torch.aminmax(indices))
    if first < 0 or last >= rows:
        raise LayerIndexError(f"indices: {first} to {last} are not all rows of a table of {rows}")

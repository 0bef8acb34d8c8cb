"""An n-gram model that predicts beside a network: what a text holds but once, it knows at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

ARRAYS = ("keys", "first", "symbols", "counts", "discounts")


class Level(nn.Module):
    """What is known of the contexts of one length: the arrays that `Ngram` describes."""

    keys: Tensor
    first: Tensor
    symbols: Tensor
    counts: Tensor
    discounts: Tensor

    def __init__(self, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name in ARRAYS:
            self.register_buffer(name, arrays[name])


class Ngram(nn.Module):
    """The counts of a text, with Kneser and Ney's smoothing as Chen and Goodman modified it.

    With c(h w) the count of symbol w after the context h and D(c) a discount,

        p(w | h) = (c(h w) - D(c(h w))) / c(h) + (sum of all D(c(h v)) / c(h)) p(w | h'),

    where h' is h without its oldest symbol, and below the empty context all symbols are alike. For
    the longest contexts c counts places in the text; for the shorter ones, which matter where
    a longer one is new, it counts the different symbols that stand before h w (Chen & Goodman 1999,
    Computer Speech & Language 13, section 2.7, interpolated).

    The contexts of k symbols are those of k - 1 with one more before. For each k there are the
    sorted `keys` a V + b of what puts the symbol b before the context number a; `first`, where the
    symbols seen after each context begin; those `symbols`; their `counts`; and the `discounts` D of
    counts 0, 1, 2, and 3 and more.

    Args:
        vocabulary_size: Number of symbols V.
        arrays: `levels.0.keys`, `levels.0.first` and so on up to the longest contexts.

    Raises:
        KeyError: One of the arrays is missing.
    """

    levels: Sequence[Level]

    def __init__(self, vocabulary_size: int, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.order = len(arrays) // len(ARRAYS)
        self.levels = nn.ModuleList(  # type: ignore[assignment]
            Level({name: arrays[f"levels.{length}.{name}"] for name in ARRAYS})
            for length in range(self.order)
        )

    @classmethod
    def counted(cls, tokens: npt.NDArray[Any], vocabulary_size: int, order: int) -> "Ngram":
        """Count a text: symbols after contexts of up to `order` - 1 symbols, or as many as it has.

        Args:
            tokens: The text, one-dimensional.
            vocabulary_size: Number of symbols V.
            order: The largest n.
        """
        symbols = np.asarray(tokens, np.int64)
        keys = np.zeros(1, np.int64)
        context = gram = np.zeros(len(symbols), np.int64)
        levels: list[dict[str, npt.NDArray[Any]]] = []
        for length in range(min(order, len(symbols))):
            beginning, shorter = gram[0], gram[1:]
            if length:
                key = context[1:] * vocabulary_size + symbols[:-length]
                keys, context = np.unique(key, return_inverse=True)
            grams, place, gram, counts = np.unique(
                context * vocabulary_size + symbols[length:],
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            if length:
                # Each of these stands for a symbol before a gram of the level below. What begins
                # the text has its beginning there.
                different = np.bincount(shorter[place], minlength=len(levels[-1]["counts"]))
                different[beginning] += 1
                levels[-1]["counts"] = different
            first = np.searchsorted(grams, np.arange(len(keys) + 1) * vocabulary_size)
            following = grams % vocabulary_size
            levels.append({"keys": keys, "first": first, "symbols": following, "counts": counts})
        arrays: dict[str, Tensor] = {}
        for length, level in enumerate(levels):
            for name, array in level.items():
                arrays[f"levels.{length}.{name}"] = _narrow(array)
            arrays[f"levels.{length}.discounts"] = _discounts(level["counts"])
        return cls(vocabulary_size, arrays)

    def initial_history(self, batch_size: int) -> Tensor:
        """Return the history before any symbol is read, (order - 1, B): V at each place."""
        shape = (self.order - 1, batch_size)
        device = self.levels[0].keys.device
        return torch.full(shape, self.vocabulary_size, dtype=torch.int64, device=device)

    def forward(self, history: Tensor) -> Tensor:
        """Return the probability of each symbol after some histories.

        Args:
            history: The symbols read last, int64 of shape (order - 1, B), the last one below; V
                stands for what is before a text.

        Returns:
            float32 of shape (B, V).
        """
        size, device = self.vocabulary_size, history.device
        shape = (history.shape[1], size)
        result = torch.full(shape, 1 / size, dtype=torch.float32, device=device)
        rows = torch.arange(len(result), device=device)
        context = torch.zeros_like(rows)
        for length, level in enumerate(self.levels):
            if length:
                before = history[-length][rows]
                key = context * size + before
                context = torch.searchsorted(level.keys, key.to(level.keys.dtype))
                context = context.clamp(max=len(level.keys) - 1)
                found = (before < size) & (level.keys[context] == key)
                rows, context = rows[found], context[found]
            begin, end = level.first[context].long(), level.first[context + 1].long()
            # One row for each symbol seen after a context, and its place among all those.
            owner = torch.repeat_interleave(end - begin)
            past = (end - begin).cumsum(0)
            place = torch.arange(len(owner), device=device) + (end - past)[owner]
            counts = level.counts[place]
            discount = level.discounts[counts.clamp(max=3).long()]
            kept = result.new_zeros(len(rows), size)
            kept[owner, level.symbols[place].long()] = counts - discount
            taken = result.new_zeros(len(rows)).index_add_(0, owner, discount)[:, None]
            result[rows] = (kept + taken * result[rows]) / (kept.sum(1, keepdim=True) + taken)
        return result


def _discounts(counts: npt.NDArray[np.int64]) -> Tensor:
    """Return what to take off counts of 0, 1, 2, and 3 and more (Chen & Goodman 1999, eq. 26).

    A small text may lack the counts that the estimates need; then usual values stand for them.
    """
    n = np.bincount(counts, minlength=5).astype(float)
    estimates = [0.0]
    if n[1:5].all():
        share = n[1] / (n[1] + 2 * n[2])
        estimates += [c - (c + 1) * share * n[c + 1] / n[c] for c in (1, 2, 3)]
    if len(estimates) < 4 or min(estimates[1:]) <= 0:
        estimates = [0.0, 0.5, 1.0, 1.5]
    return torch.tensor(estimates, dtype=torch.float32)


def _narrow(array: npt.NDArray[np.int64]) -> Tensor:
    """Return a tensor of the smallest signed integers, or bytes, that hold the array."""
    largest = int(array.max(initial=0))
    for kind in (np.uint8, np.int16, np.int32):
        if largest <= np.iinfo(kind).max:
            return torch.from_numpy(array.astype(kind))
    return torch.from_numpy(array)

"""An n-gram model that predicts beside a network: what a text holds but once, it knows at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

ARRAYS = ("keys", "first", "symbols", "counts")


class Level(nn.Module):
    """What is known of the contexts of one length: the arrays that `Ngram` describes."""

    keys: Tensor
    first: Tensor
    symbols: Tensor
    counts: Tensor

    def __init__(self, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name in ARRAYS:
            self.register_buffer(name, arrays[name])


class Ngram(nn.Module):
    """The counts of a text, with Witten-Bell smoothing (Witten & Bell 1991, method C).

    With c(h w) the count of symbol w after the context h, and T(h) the number of distinct symbols
    seen after it,

        p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h)),

    where h' is h without its oldest symbol, and below the empty context all symbols are alike. A
    context that was seen only once is made no longer: there is nothing more to be known of it.

    The contexts of k symbols are those of k - 1 with one more before. For each k there are the
    sorted `keys` a V + b of what puts the symbol b before the context number a; `first`, where the
    symbols seen after each context begin; those `symbols`; and their `counts`.

    Args:
        vocabulary_size: Number of symbols V.
        arrays: `keys.0`, `first.0` and so on up to the longest contexts, as `state_dict` has them.

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
        places = np.arange(len(symbols))
        context = np.zeros(len(symbols), np.int64)
        keys = np.zeros(1, np.int64)
        arrays: dict[str, Tensor] = {}
        for length in range(order):
            if length:
                longer = (np.bincount(context)[context] > 1) & (places >= length)
                places, context = places[longer], context[longer]
                if not len(places):
                    break
                key = context * vocabulary_size + symbols[places - length]
                keys, context = np.unique(key, return_inverse=True)
            grams, counts = np.unique(
                context * vocabulary_size + symbols[places], return_counts=True
            )
            first = np.searchsorted(grams, np.arange(len(keys) + 1) * vocabulary_size)
            for name, array in zip(
                ARRAYS, (keys, first, grams % vocabulary_size, counts), strict=True
            ):
                arrays[f"levels.{length}.{name}"] = _narrow(array)
        return cls(vocabulary_size, arrays)

    def fresh_history(self, batch_size: int) -> Tensor:
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
        result = torch.full((history.shape[1], size), 1 / size, device=device)
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
            counts = torch.zeros(len(rows), size, device=device)
            counts[owner, level.symbols[place].long()] = level.counts[place].float()
            distinct = (end - begin)[:, None].float()
            smoothed = counts + distinct * result[rows]
            result[rows] = smoothed / (counts.sum(1, keepdim=True) + distinct)
        return result


def _narrow(array: npt.NDArray[np.int64]) -> Tensor:
    """Return a tensor of the smallest signed integers, or bytes, that hold the array."""
    largest = int(array.max(initial=0))
    for kind in (np.uint8, np.int16, np.int32):
        if largest <= np.iinfo(kind).max:
            return torch.from_numpy(array.astype(kind))
    return torch.from_numpy(array)

"""Counts of a text, with modified Kneser-Ney smoothing.

With c(h w) the count of symbol w after the context h and D(c) a discount,

    p(w | h) = (c(h w) - D(c(h w))) / c(h) + (sum over v of D(c(h v)) / c(h)) p(w | h'),

where h' is a more general context, which the text holds more often (Chen & Goodman 1999, Computer
Speech & Language 13, eq. 16 and 26, interpolated).
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from charlm.model.discounts import discounts

Integers = npt.NDArray[np.integer]


SYMBOL_BITS = 24
"""Bits of a gram that hold its symbol; those above hold its context."""


def grams(contexts: npt.NDArray[np.int32], symbols: Integers) -> npt.NDArray[np.int64]:
    """Return one number for each symbol of a text and the context before it, all of shape (T,)."""
    numbers = contexts.astype(np.int64)
    numbers <<= SYMBOL_BITS
    numbers |= symbols
    return numbers


def different_places(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the first place of each different number."""
    order = np.argsort(numbers, kind="stable")
    return order[np.diff(numbers[order], prepend=numbers[order[:1]] - 1) > 0]


COUNT_TYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)


class CountTable(nn.Module):
    """The symbols seen after each context of one kind.

    Args:
        contexts: The contexts, sorted, int32 of shape (C,).
        distinct: The number of different symbols seen after each, shape (C,).
        symbols: Those symbols, of one context after another, shape (G,).
        counts: Their counts, shape (G,).
        discounts: What is taken off counts of 0, 1, 2, and 3 or more, float32 of shape (4,).
    """

    contexts: Tensor
    distinct: Tensor
    symbols: Tensor
    counts: Tensor
    discounts: Tensor
    _first: Tensor
    _log_backoff: Tensor
    _log_seen: Tensor
    _features: Tensor

    ARRAYS = ("contexts", "distinct", "symbols", "counts", "discounts")

    def __init__(
        self,
        contexts: Tensor,
        distinct: Tensor,
        symbols: Tensor,
        counts: Tensor,
        discounts: Tensor,
    ) -> None:
        super().__init__()
        for name, tensor in zip(
            self.ARRAYS, (contexts, distinct, symbols, counts, discounts), strict=True
        ):
            self.register_buffer(name, tensor)
        number = distinct.long()
        owner = torch.repeat_interleave(number)
        discount = discounts[counts.clamp(max=3).long()]
        zeros = torch.zeros(len(contexts), dtype=torch.float64)
        total = zeros.index_add(0, owner, counts.double())
        taken = zeros.index_add(0, owner, discount.double())
        derived = {
            "_first": number.cumsum(0) - number,
            "_log_backoff": (taken / total).log().float(),
            "_log_seen": ((counts - discount) / total[owner]).log().float(),
            "_features": torch.stack([total, number], 1).log1p().float(),
        }
        for name, tensor in derived.items():
            self.register_buffer(name, tensor, persistent=False)

    @classmethod
    def counted(cls, numbers: npt.NDArray[np.int64]) -> "CountTable":
        """Return the table of a text's `grams`.

        The levels below the highest of a Kneser-Ney model count the different symbols that stand
        before a gram: give them the grams at the `different_places` of the next longer ones.
        """
        different, counts = np.unique(numbers, return_counts=True)
        contexts, distinct = np.unique(different >> SYMBOL_BITS, return_counts=True)
        return cls(
            torch.from_numpy(contexts.astype(np.int32)),
            _narrow(distinct),
            _narrow(different & ((1 << SYMBOL_BITS) - 1)),
            _narrow(counts),
            torch.from_numpy(discounts(counts)).float(),
        )

    def pruned(self, least: int) -> "CountTable":
        """Return the table without the contexts that the text has fewer than `least` times."""
        kept = self._totals() >= least
        grams = kept[torch.repeat_interleave(self.distinct.long())]
        return CountTable(
            self.contexts[kept],
            self.distinct[kept],
            self.symbols[grams],
            self.counts[grams],
            self.discounts,
        )

    def pruned_sizes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return how many bytes are left without rare contexts.

        Returns:
            The different numbers of times that the text has a context, in ascending order, N of
            them, and the bytes of `pruned(n)` for each, followed by those of an empty table.
        """
        times, index = np.unique(self._totals().numpy(), return_inverse=True)
        of_context = self.contexts.itemsize + self.distinct.itemsize
        of_gram = self.symbols.itemsize + self.counts.itemsize
        sizes = np.zeros(len(times) + 1, np.int64)
        np.add.at(sizes, index, of_context + of_gram * self.distinct.numpy().astype(np.int64))
        return times, sizes[::-1].cumsum()[::-1] + self.discounts.nbytes

    def _totals(self) -> Tensor:
        """Return how often the text has each context, int64."""
        owner = torch.repeat_interleave(self.distinct.long())
        total = torch.zeros(len(self.contexts), dtype=torch.int64)
        return total.index_add(0, owner, self.counts.long())

    @staticmethod
    def check_sizes(
        contexts: Tensor, distinct: Tensor, symbols: Tensor, counts: Tensor, discounts: Tensor
    ) -> None:
        """Check arrays that were read from a file, before a table is made of them.

        Raises:
            ValueError: They do not go together. A table of them could take any amount of memory.
        """
        if not (
            contexts.dtype == torch.int32
            and all(array.dtype in COUNT_TYPES for array in (distinct, symbols, counts))
            and discounts.dtype == torch.float32
            and discounts.shape == (4,)
            and len(contexts) == len(distinct)
            and len(symbols) == len(counts)
            and bool(((distinct > 0) & (distinct.long() <= len(symbols))).all())
            and int(distinct.sum()) == len(symbols)
            and bool((counts > 0).all())
        ):
            raise ValueError("counts that do not go together")

    def check(self, vocabulary_size: int) -> None:
        """Check a table that was read from a file.

        Raises:
            ValueError: They cannot be the counts of a text of this vocabulary.
        """
        symbols = self.symbols.long()
        if not (
            bool((self.contexts[1:] > self.contexts[:-1]).all())
            and bool(((symbols >= 0) & (symbols < vocabulary_size)).all())
            and bool(self._log_backoff.isfinite().all() and self._log_seen.isfinite().all())
        ):
            raise ValueError("counts that do not go together")

    @property
    def bytes(self) -> int:
        """The size of the arrays when saved."""
        return sum(getattr(self, name).nbytes for name in self.ARRAYS)

    def predict(self, contexts: Tensor, general: Tensor, result: Tensor) -> Tensor:
        """Predict the symbol after each context.

        Args:
            contexts: int32 of shape (N,).
            general: Log-probabilities after the more general context h', float32 of shape (N, V).
            result: Receives the log-probabilities, float32 of shape (N, V).

        Returns:
            The logarithms of one plus the count of each context and of one plus the number of
            different symbols after it, float32 of shape (N, 2).
        """
        features = general.new_zeros(len(general), 2)
        if not len(self.contexts):
            result.copy_(general)
            return features
        index = torch.searchsorted(self.contexts, contexts).clamp(max=len(self.contexts) - 1)
        rows = (self.contexts[index] == contexts).nonzero()[:, 0]
        index = index[rows]
        number = self.distinct[index].long()
        owner = torch.repeat_interleave(number)
        place = torch.arange(len(owner), device=owner.device)
        place += (self._first[index] - number.cumsum(0) + number)[owner]
        backoff = general.new_zeros(len(general))
        backoff[rows] = self._log_backoff[index]
        result.copy_(general).add_(backoff[:, None])
        seen = rows[owner], self.symbols[place].long()
        result[seen] = torch.logaddexp(result[seen], self._log_seen[place])
        features[rows] = self._features[index]
        return features


def _narrow(array: Integers) -> Tensor:
    """Return a tensor of the smallest unsigned byte or signed integer type that holds the array."""
    largest = int(array.max(initial=0))
    for kind in (np.uint8, np.int16, np.int32):
        if largest <= np.iinfo(kind).max:
            return torch.from_numpy(array.astype(kind))
    return torch.from_numpy(array.astype(np.int64))

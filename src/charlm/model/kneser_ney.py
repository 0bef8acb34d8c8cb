"""An n-gram model with modified Kneser-Ney smoothing."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

ARRAYS = ("keys", "first", "symbols", "counts", "discounts")


class Level(nn.Module):
    """The counts for contexts of one length; `KneserNey` describes the arrays."""

    keys: Tensor
    first: Tensor
    symbols: Tensor
    counts: Tensor
    discounts: Tensor

    def __init__(self, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name in ARRAYS:
            self.register_buffer(name, arrays[name])


class KneserNey(nn.Module):
    """An n-gram model with interpolated modified Kneser-Ney smoothing.

    With c(h w) the count of symbol w after the context h and D(c) a discount,

        p(w | h) = (c(h w) - D(c(h w))) / c(h) + (sum over v of D(c(h v)) / c(h)) p(w | h'),

    where h' is h without its oldest symbol; below the empty context the distribution is uniform.
    For the longest contexts, c counts occurrences in the text. For shorter ones, which matter if
    the longer one is new, it counts the distinct symbols that precede h w (Chen & Goodman 1999,
    Computer Speech & Language 13, section 2.7).

    Contexts are stored by length. A context of k symbols is a context of k - 1 symbols, number a
    among those, preceded by one more symbol b. For each k there are

    - `keys`: the sorted numbers a V + b; a context's number is its position in them,
    - `first`: for each context, the index of its first entry in `symbols` and `counts`, and last
      the number of all entries,
    - `symbols`: the tokens seen after each context,
    - `counts`: their counts,
    - `discounts`: D of the counts 0, 1, 2, and 3 or more.

    Args:
        vocabulary_size: Number of symbols V.
        arrays: `levels.0.keys`, `levels.0.first` and so on up to the longest contexts.

    Raises:
        KeyError: An array is missing.
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
    def from_text(
        cls, tokens: npt.NDArray[np.integer], vocabulary_size: int, order: int
    ) -> "KneserNey":
        """Count a text.

        Args:
            tokens: The text, one-dimensional.
            vocabulary_size: Number of symbols V.
            order: Contexts have up to `order` - 1 symbols, or fewer if the text is shorter.
        """
        symbols = np.asarray(tokens, np.int64)
        keys = np.zeros(1, np.int64)
        # For each position in the text: the number of the context, and of the context and symbol.
        context = gram = np.zeros(len(symbols), np.int64)
        levels: list[dict[str, npt.NDArray[np.int64]]] = []
        for length in range(min(order, len(symbols))):
            first_gram, shorter = gram[0], gram[1:]
            if length:
                key = context[1:] * vocabulary_size + symbols[:-length]
                keys, context = np.unique(key, return_inverse=True)
            grams, position, gram, counts = np.unique(
                context * vocabulary_size + symbols[length:],
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            if length:
                # Each of these grams is a distinct symbol before a gram of the level below. What
                # precedes the first gram of the text, its beginning, counts as another symbol.
                preceding = np.bincount(shorter[position], minlength=len(levels[-1]["counts"]))
                preceding[first_gram] += 1
                levels[-1]["counts"] = preceding
            first = np.searchsorted(grams, np.arange(len(keys) + 1) * vocabulary_size)
            following = grams % vocabulary_size
            levels.append({"keys": keys, "first": first, "symbols": following, "counts": counts})
        arrays: dict[str, Tensor] = {}
        for length, level in enumerate(levels):
            for name, array in level.items():
                arrays[f"levels.{length}.{name}"] = _smallest_integers(array)
            arrays[f"levels.{length}.discounts"] = discounts(level["counts"])
        return cls(vocabulary_size, arrays)

    def initial_history(self, batch_size: int) -> Tensor:
        """Return the history before any token is read, (order - 1, batch_size): V everywhere."""
        shape = (self.order - 1, batch_size)
        device = self.levels[0].keys.device
        return torch.full(shape, self.vocabulary_size, dtype=torch.int64, device=device)

    def forward(self, history: Tensor) -> Tensor:
        """Return the probability of each symbol after each history.

        Args:
            history: The tokens read last, int64 of shape (order - 1, batch), the newest in the last
                row; V stands for positions before the text.

        Returns:
            float32 of shape (batch, V).
        """
        size, device = self.vocabulary_size, history.device
        shape = (history.shape[1], size)
        result = torch.full(shape, 1 / size, dtype=torch.float32, device=device)
        rows = torch.arange(len(result), device=device)  # whose context was seen in the text
        context = torch.zeros_like(rows)
        for length, level in enumerate(self.levels):
            if length:
                preceding = history[-length][rows]
                key = context * size + preceding
                context = torch.searchsorted(level.keys, key.to(level.keys.dtype))
                context = context.clamp(max=len(level.keys) - 1)
                found = (preceding < size) & (level.keys[context] == key)
                rows, context = rows[found], context[found]
            begin, end = level.first[context].long(), level.first[context + 1].long()
            # One element for each symbol seen after each context: the row of the context among
            # `rows`, and the index of the symbol in `symbols` and `counts`.
            owner = torch.repeat_interleave(end - begin)
            past = (end - begin).cumsum(0)
            entry = torch.arange(len(owner), device=device) + (end - past)[owner]
            counts = level.counts[entry]
            discount = level.discounts[counts.clamp(max=3).long()]
            kept = result.new_zeros(len(rows), size)
            kept[owner, level.symbols[entry].long()] = counts - discount
            taken = result.new_zeros(len(rows)).index_add_(0, owner, discount)[:, None]
            result[rows] = (kept + taken * result[rows]) / (kept.sum(1, keepdim=True) + taken)
        return result


def discounts(counts: npt.NDArray[np.int64]) -> Tensor:
    """Return what to subtract from counts of 0, 1, 2, and 3 or more, float32.

    These are the estimates of Chen & Goodman (1999, eq. 26), or common values if a small text lacks
    the counts that the estimates need.
    """
    n = np.bincount(counts, minlength=5).astype(float)
    estimates = [0.0]
    if n[1:5].all():
        share = n[1] / (n[1] + 2 * n[2])
        estimates += [c - (c + 1) * share * n[c + 1] / n[c] for c in (1, 2, 3)]
    if len(estimates) < 4 or min(estimates[1:]) <= 0:
        estimates = [0.0, 0.5, 1.0, 1.5]
    return torch.tensor(estimates, dtype=torch.float32)


def _smallest_integers(array: npt.NDArray[np.int64]) -> Tensor:
    """Return a tensor of the smallest integer type that can hold the array."""
    largest = int(array.max(initial=0))
    for kind in (np.uint8, np.int16, np.int32):
        if largest <= np.iinfo(kind).max:
            return torch.from_numpy(array.astype(kind))
    return torch.from_numpy(array)

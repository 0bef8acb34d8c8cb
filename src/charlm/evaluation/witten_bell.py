"""Character n-gram models with Witten–Bell smoothing."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

Group = TypeVar("Group", bound=str)
BLOCK = 1 << 20
"""Symbols whose probabilities are computed at a time."""


def witten_bell(
    training_texts: Sequence[npt.NDArray[np.integer]],
    scored_texts: Mapping[Group, Sequence[npt.NDArray[np.integer]]],
    *,
    alphabet_size: int,
    boundary: int,
) -> Iterator[tuple[int, dict[Group, list[npt.NDArray[np.float32]]]]]:
    """Yield the order n = 1, 2, 3 … and the cost of the scored texts under the n-gram model.

    Witten–Bell smoothing (Witten & Bell 1991, method C): with c(h w) the count of symbol w after
    history h, and T(h) the number of distinct symbols seen after it,

        p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h)),

    where h' is h without its oldest symbol. Below the empty history, all symbols are equally
    likely. So the model of order n follows from that of order n - 1 by one more pass over the
    texts.

    Args:
        training_texts: Arrays of symbols to count.
        scored_texts: Arrays of symbols to score, in groups by name.
        alphabet_size: Number of symbols that can be predicted.
        boundary: A symbol that occurs in no text; it stands for everything before a text.

    Yields:
        The order, and for each group the nats of each symbol, one array per text.
    """
    texts = [*training_texts, *chain.from_iterable(scored_texts.values())]
    length = sum(len(text) + 1 for text in texts)
    # The smallest type that fits, filled in place: these arrays limit the size of the corpus.
    dtype = np.min_scalar_type(-max(length, boundary))
    symbols = np.empty(length, dtype)
    begins = np.zeros(length, np.bool_)
    place = 0
    for text in texts:
        symbols[place], begins[place] = boundary, True
        symbols[place + 1 : place + 1 + len(text)] = text
        place += 1 + len(text)
    counted = sum(len(text) + 1 for text in training_texts)
    counted_begins = np.flatnonzero(begins[:counted])

    probability = np.full(length, 1 / alphabet_size)
    history = np.zeros(length, dtype)
    for order in count(1):
        # `history[t]` is the id of the symbols before t, `gram[t]` of those and the symbol at t.
        key = history.astype(np.int64)
        key *= boundary + 1
        key += symbols
        codes, grams = pd.factorize(key)
        gram = codes.astype(dtype)
        del key, codes
        gram_count = _counts(gram[:counted], counted_begins, len(grams))
        history_count = _counts(history[:counted], counted_begins, history.max(initial=0) + 1)
        followers = np.bincount(
            grams[gram_count > 0] // (boundary + 1), minlength=len(history_count)
        )
        for begin in range(0, length, BLOCK):
            block = slice(begin, begin + BLOCK)
            distinct = followers[history[block]]
            weight = history_count[history[block]] + distinct
            backed_off = gram_count[gram[block]] + distinct * probability[block]
            np.divide(backed_off, weight, out=probability[block], where=weight > 0)
        yield order, _by_text(-np.log(probability[counted:]).astype(np.float32), scored_texts)
        # Histories grow by one symbol, but not beyond the beginning of a text.
        history[1:] = gram[:-1]
        history[begins] = 0


def _counts(
    ids: npt.NDArray[np.integer], ignored: npt.NDArray[np.int64], length: int
) -> npt.NDArray[np.int64]:
    """Return how often each of the ids 0 … length - 1 occurs, except at the positions `ignored`."""
    counts = np.bincount(ids, minlength=length)
    np.subtract.at(counts, ids[ignored], 1)
    return counts


def _by_text(
    nats: npt.NDArray[np.float32], groups: Mapping[Group, Sequence[npt.NDArray[np.integer]]]
) -> dict[Group, list[npt.NDArray[np.float32]]]:
    """Split the nats of all symbols into one array per text, without the boundaries before them."""
    place = 0
    costs: dict[Group, list[npt.NDArray[np.float32]]] = {name: [] for name in groups}
    for name, group in groups.items():
        for text in group:
            costs[name].append(nats[place + 1 : place + 1 + len(text)])
            place += 1 + len(text)
    return costs

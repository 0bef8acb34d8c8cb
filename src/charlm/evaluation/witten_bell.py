"""A character n-gram model with Witten-Bell smoothing."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

BLOCK = 1 << 20
"""The symbols whose probabilities are computed at a time."""


def witten_bell(
    learned: Sequence[npt.NDArray[Any]],
    scored: Mapping[str, Sequence[npt.NDArray[Any]]],
    alphabet: int,
    boundary: int,
) -> Iterator[tuple[int, dict[str, list[npt.NDArray[np.float32]]]]]:
    """Yield the order n = 1, 2, 3 … and what the scored texts cost the n-gram model.

    Witten-Bell smoothing (Witten & Bell 1991, method C): with c(h w) the count of symbol w after
    history h, and T(h) the number of distinct symbols seen after it,

        p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h)),

    where h' is h without its oldest symbol, and below the empty history all symbols are alike. So
    the model of order n comes from that of order n - 1, and each order costs one more pass.

    Args:
        learned: Texts to count in, arrays of symbols.
        scored: Lists of texts to score, by name.
        alphabet: Number of symbols that can be predicted.
        boundary: A symbol that no text holds; it stands for all that is before a text's beginning.

    Yields:
        The order, and by name the nats of each symbol, an array as long as each text.
    """
    texts = [*learned, *chain.from_iterable(scored.values())]
    length = sum(len(text) + 1 for text in texts)
    # Narrow, and written in place, since these arrays are what bounds the corpus.
    narrow = np.min_scalar_type(-max(length, boundary))
    symbols = np.empty(length, narrow)
    begins = np.zeros(length, np.bool_)
    place = 0
    for text in texts:
        symbols[place], begins[place] = boundary, True
        symbols[place + 1 : place + 1 + len(text)] = text
        place += 1 + len(text)
    counted = sum(len(text) + 1 for text in learned)
    learned_begins = np.flatnonzero(begins[:counted])

    probability = np.full(length, 1 / alphabet)
    history = np.zeros(length, narrow)
    for order in count(1):
        # `history[t]` numbers the symbols before t, `gram[t]` those together with t's own.
        key = history.astype(np.int64)
        key *= boundary + 1
        key += symbols
        codes, grams = pd.factorize(key)
        gram = codes.astype(narrow)
        del key, codes
        gram_count = _counts(gram[:counted], learned_begins, len(grams))
        history_count = _counts(history[:counted], learned_begins, history.max(initial=0) + 1)
        followers = np.bincount(
            grams[gram_count > 0] // (boundary + 1), minlength=len(history_count)
        )
        for begin in range(0, length, BLOCK):
            block = slice(begin, begin + BLOCK)
            distinct = followers[history[block]]
            weight = history_count[history[block]] + distinct
            backed_off = gram_count[gram[block]] + distinct * probability[block]
            np.divide(backed_off, weight, out=probability[block], where=weight > 0)
        yield order, _by_text(-np.log(probability[counted:]).astype(np.float32), scored)
        # One symbol longer, but for what is before a beginning.
        history[1:] = gram[:-1]
        history[begins] = 0


def _counts(
    numbers: npt.NDArray[Any], left_out: npt.NDArray[np.int64], length: int
) -> npt.NDArray[np.int64]:
    """Return how often each number occurs, not at the places left out."""
    counts = np.bincount(numbers, minlength=length)
    np.subtract.at(counts, numbers[left_out], 1)
    return counts


def _by_text(
    nats: npt.NDArray[np.float32], groups: Mapping[str, Sequence[npt.NDArray[Any]]]
) -> dict[str, list[npt.NDArray[np.float32]]]:
    """Cut the nats of all groups' texts, each of which comes after its boundary."""
    place = 0
    costs: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in groups}
    for name, group in groups.items():
        for text in group:
            costs[name].append(nats[place + 1 : place + 1 + len(text)])
            place += 1 + len(text)
    return costs

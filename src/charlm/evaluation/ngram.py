"""A character n-gram model with Witten-Bell smoothing."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


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
    groups = {"": learned, **scored}
    texts = [np.append(boundary, text) for group in groups.values() for text in group]
    symbols = np.concatenate([np.empty(0, np.int64), *texts]).astype(np.int64)
    begins = symbols == boundary
    counted = ~begins
    counted[sum(len(text) + 1 for text in learned) :] = False

    probability = np.full(len(symbols), 1 / alphabet)
    history = np.zeros(len(symbols), np.int64)
    for order in count(1):
        # `history[t]` numbers the symbols before t, `gram[t]` those together with t's own.
        gram, grams = pd.factorize(history * (boundary + 1) + symbols)
        gram_count = np.bincount(gram[counted], minlength=len(grams))
        history_count = np.bincount(history[counted], minlength=history.max(initial=0) + 1)
        seen = grams[gram_count > 0] // (boundary + 1)
        followers = np.bincount(seen, minlength=len(history_count))
        weight = history_count[history] + followers[history]
        backed_off = gram_count[gram] + followers[history] * probability
        probability = np.where(weight > 0, backed_off / np.maximum(weight, 1), probability)
        yield order, _by_text(-np.log(probability).astype(np.float32), groups)
        history = np.append(0, gram[:-1])  # one symbol longer, but for what is before a beginning
        history[begins] = 0


def _by_text(
    nats: npt.NDArray[np.float32], groups: Mapping[str, Sequence[npt.NDArray[Any]]]
) -> dict[str, list[npt.NDArray[np.float32]]]:
    """Cut the nats of all groups' texts, each after its boundary, and leave out the learned."""
    place = 0
    costs: dict[str, list[npt.NDArray[np.float32]]] = {}
    for name, group in groups.items():
        costs[name] = []
        for text in group:
            costs[name].append(nats[place + 1 : place + 1 + len(text)])
            place += 1 + len(text)
    del costs[""]
    return costs

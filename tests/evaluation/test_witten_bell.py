"""N-gram models agree with the same equations written with dictionaries."""

import math
from collections import Counter, defaultdict
from itertools import islice

import numpy as np
import pytest

from charlm.evaluation.witten_bell import witten_bell


def slow_witten_bell(
    training: list[list[int]], text: list[int], alphabet: int, boundary: int, order: int
) -> list[float]:
    counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for each in training:
        padded = [boundary] * (order - 1) + each
        for place in range(order - 1, len(padded)):
            for length in range(order):
                counts[tuple(padded[place - length : place])][padded[place]] += 1

    def probability(history: tuple[int, ...], symbol: int) -> float:
        lower = probability(history[1:], symbol) if history else 1 / alphabet
        seen = counts[history]
        if not seen:
            return lower
        return (seen[symbol] + len(seen) * lower) / (seen.total() + len(seen))

    padded = [boundary] * (order - 1) + text
    return [
        -math.log(probability(tuple(padded[place - order + 1 : place]), padded[place]))
        for place in range(order - 1, len(padded))
    ]


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_ngram_models_of_all_orders_follow_their_equations(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charlm.evaluation.witten_bell.BLOCK", block)
    random = np.random.default_rng(0)
    training = [random.integers(0, 4, size).astype(np.uint8) for size in (40, 1, 17, 0)]
    scored = [random.integers(0, 5, size).astype(np.uint8) for size in (30, 2, 0)]
    for order, costs in islice(
        witten_bell(training, {"test": scored}, alphabet_size=5, boundary=5), 6
    ):
        for text, cost in zip(scored, costs["test"], strict=True):
            slow = slow_witten_bell(
                [list(map(int, one)) for one in training], text.tolist(), 5, 5, order
            )
            assert cost == pytest.approx(slow, rel=1e-5)


def test_the_probabilities_of_all_symbols_add_up_to_one() -> None:
    random = np.random.default_rng(0)
    training = [random.integers(0, 4, 50)]
    context = random.integers(0, 4, 6)
    texts = [np.append(context, symbol) for symbol in range(5)]
    for _, costs in islice(witten_bell(training, {"test": texts}, alphabet_size=5, boundary=5), 4):
        assert sum(math.exp(-cost[-1]) for cost in costs["test"]) == pytest.approx(1)

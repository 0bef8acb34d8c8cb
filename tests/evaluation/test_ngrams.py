"""N-gram models agree with their equations written with dictionaries."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import pytest

from charlm.evaluation.ngrams import Smoothing, Symbols, ngram_costs

Text = list[int]
Slow = Callable[[Sequence[Text], Text, int, int, int], list[float]]


def slow_witten_bell(
    training: Sequence[Text], text: Text, alphabet: int, boundary: int, order: int
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


def slow_discounts(n: Counter[int]) -> list[float]:
    """Return the discounts of counts of 0, 1, 2, and 3 or more, from the counts of counts."""
    if all(n[count] for count in (1, 2, 3, 4)):
        y = n[1] / (n[1] + 2 * n[2])
        found = [0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        if min(found[1:]) > 0:
            return found
    return [0, 0.5, 1, 1.5]


def slow_kneser_ney(
    training: Sequence[Text], text: Text, alphabet: int, boundary: int, order: int
) -> list[float]:
    # For each gram, the longer grams of one symbol more that end with it: one per place.
    places: dict[tuple[int, ...], list[tuple[int, ...]]] = defaultdict(list)
    for each in training:
        padded = [boundary] * order + each
        for end in range(order + 1, len(padded) + 1):
            for length in range(1, order + 1):
                longer = tuple(padded[end - length - 1 : end])
                places[longer[1:]].append(longer)
    counts: list[dict[tuple[int, ...], Counter[int]]] = [defaultdict(Counter) for _ in range(order)]
    for gram, longer_grams in places.items():
        highest = len(gram) == order
        count = len(longer_grams) if highest else len(set(longer_grams))
        counts[len(gram) - 1][gram[:-1]][gram[-1]] = count

    taken = [
        slow_discounts(Counter(count for each in level.values() for count in each.values()))
        for level in counts
    ]

    def probability(history: tuple[int, ...], symbol: int) -> float:
        lower = probability(history[1:], symbol) if history else 1 / alphabet
        seen = counts[len(history)][history]
        if not seen:
            return lower
        discount = taken[len(history)]
        free = sum(discount[min(count, 3)] for count in seen.values())
        kept = seen[symbol] - discount[min(seen[symbol], 3)]
        return (kept + free * lower) / seen.total()

    padded = [boundary] * (order - 1) + text
    return [
        -math.log(probability(tuple(padded[place - order + 1 : place]), padded[place]))
        for place in range(order - 1, len(padded))
    ]


SLOW: dict[Smoothing, Slow] = {"witten_bell": slow_witten_bell, "kneser_ney": slow_kneser_ney}
RANDOM = np.random.default_rng(0)


def texts(symbols: int, *sizes: int) -> list[npt.NDArray[np.uint16]]:
    """Return texts in which low symbols are frequent, so that counts of all sizes occur."""
    return [(symbols * RANDOM.random(size) ** 3).astype(np.uint16) for size in sizes]


TRAINING = texts(4, 150, 1, 17, 0, 1, 60)
SCORED = {"validation": texts(5, 30, 2, 0), "test": texts(5, 1, 20)}


def all_costs(
    training: Sequence[Symbols], scored: Sequence[Symbols], orders: int, boundary: int = 5
) -> dict[Smoothing, list[npt.NDArray[np.float32]]]:
    """Return the costs of the texts' symbols, each an array of shape (orders, text)."""
    found = islice(
        ngram_costs(training, {"test": scored}, alphabet_size=5, boundary=boundary), orders
    )
    by_order = [costs for _, costs in found]
    return {
        smoothing: [
            np.stack(costs)
            for costs in zip(*(costs[smoothing]["test"] for costs in by_order), strict=True)
        ]
        for smoothing in SLOW
    }


@pytest.mark.parametrize("chunk", [7, 1 << 16])
@pytest.mark.parametrize("smoothing", list(SLOW))
def test_ngram_models_of_all_orders_follow_their_equations(
    smoothing: Smoothing, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charlm.evaluation.ngrams.CHUNK", chunk)
    training = [text.tolist() for text in TRAINING]
    orders = []
    for order, costs in islice(ngram_costs(TRAINING, SCORED, alphabet_size=5, boundary=5), 7):
        orders.append(order)
        for group, scored in SCORED.items():
            for text, cost in zip(scored, costs[smoothing][group], strict=True):
                slow = SLOW[smoothing](training, text.tolist(), 5, 5, order)
                assert cost == pytest.approx(slow, rel=1e-5)
    assert orders == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("smoothing", list(SLOW))
def test_the_probabilities_of_all_symbols_add_up_to_one(smoothing: Smoothing) -> None:
    context = TRAINING[0][:6]
    scored = [np.append(context, symbol).astype(np.uint16) for symbol in range(5)]
    costs = all_costs(TRAINING, scored, orders=7)[smoothing]
    assert np.exp(-np.stack(costs)[:, :, -1]).sum(0) == pytest.approx(1)


@pytest.mark.parametrize("shares", [2, 30])
def test_contexts_counted_in_shares_give_the_same_costs(
    shares: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The discounts are estimated from one share only; here they are constant.
    monkeypatch.setattr("charlm.evaluation.ngrams.discounts", lambda counts: np.arange(4) / 2)
    scored = SCORED["test"]
    whole = all_costs(TRAINING, scored, orders=7)
    length = sum(len(text) + 1 for text in TRAINING)
    monkeypatch.setattr("charlm.evaluation.ngrams.PLACES", -(-length // shares))
    monkeypatch.setattr("charlm.evaluation.ngrams.CHUNK", 20)
    monkeypatch.setattr("charlm.evaluation.ngrams.PIECE", 30)
    in_shares = all_costs(TRAINING, scored, orders=7)
    for smoothing in SLOW:
        for one, other in zip(whole[smoothing], in_shares[smoothing], strict=True):
            np.testing.assert_array_equal(one, other)


def test_discounts_estimated_from_a_share_of_the_contexts_hardly_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training, scored = texts(30, 20_000), texts(30, 2000)
    whole = all_costs(training, scored, orders=4)["kneser_ney"][0].mean(1)
    monkeypatch.setattr("charlm.evaluation.ngrams.PLACES", 5000)
    in_shares = all_costs(training, scored, orders=4)["kneser_ney"][0].mean(1)
    assert (whole != in_shares).any()
    assert whole == pytest.approx(in_shares, rel=0.01)


def test_costs_do_not_depend_on_the_numbers_of_the_symbols() -> None:
    scored = SCORED["test"]
    factor = 20_011  # beyond what a number holds of the symbol before a gram
    costs = all_costs(TRAINING, scored, orders=7)
    renumbered = all_costs(
        [text.astype(np.uint32) * factor for text in TRAINING],
        [text.astype(np.uint32) * factor for text in scored],
        orders=7,
        boundary=5 * factor,
    )
    for smoothing in SLOW:
        for one, other in zip(costs[smoothing], renumbered[smoothing], strict=True):
            np.testing.assert_array_equal(one, other)


def test_costs_depend_on_no_other_scored_text_and_on_nothing_later() -> None:
    first, second = texts(5, 40, 30)
    changed = np.concatenate([first[:25], 4 - first[25:]]).astype(first.dtype)
    alone = all_costs(TRAINING, [first], orders=7)
    together = all_costs(TRAINING, [second, changed, first], orders=7)
    for smoothing in SLOW:
        np.testing.assert_array_equal(alone[smoothing][0], together[smoothing][2])
        np.testing.assert_array_equal(alone[smoothing][0][:, :25], together[smoothing][1][:, :25])


def test_nothing_to_learn_from_leaves_all_symbols_equally_likely() -> None:
    for training in ([], texts(5, 0, 0)):
        for costs in all_costs(training, SCORED["test"], orders=3).values():
            for cost in costs:
                assert cost == pytest.approx(math.log(5))

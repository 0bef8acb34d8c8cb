"""The n-gram model: its probabilities, against the formula."""

from collections import Counter

import numpy as np
import pytest
import torch

from charlm.model.kneser_ney import Ngram, _discounts

V = 5
BEGINNING = -1
LEARNED = np.random.default_rng(0).choice(V, 4000, p=[0.5, 0.2, 0.2, 0.08, 0.02]).astype(np.uint8)
LEARNED[1000:1300] = np.tile([0, 1, 2, 3, 4, 3], 50)
HELD_OUT = np.r_[LEARNED[900:1100], LEARNED[::-1][:300]]


def counts_of(learned: list[int], length: int, order: int) -> Counter[tuple[int, ...]]:
    """Count grams: the places of the longest, what stands before the others."""
    text = [BEGINNING, *learned]
    if length == order:
        return Counter(zip(*(learned[k:] for k in range(length)), strict=False))
    longer = set(zip(*(text[k:] for k in range(length + 1)), strict=False))
    return Counter(gram[1:] for gram in longer)


def discount(count: int, counts: Counter[tuple[int, ...]]) -> float:
    of = Counter(counts.values())
    estimates = [0.0]
    if all(of[c] for c in (1, 2, 3, 4)):
        share = of[1] / (of[1] + 2 * of[2])
        estimates = [c - (c + 1) * share * of[c + 1] / of[c] for c in (1, 2, 3)]
    usual = [0.5, 1.0, 1.5]
    return (estimates if min(estimates) > 0 else usual)[min(count, 3) - 1]


def by_the_formula(context: list[int], learned: list[int], order: int) -> list[float]:
    """Return p(w | context) for each w, by counting the whole text again at each step."""
    shorter = by_the_formula(context[1:], learned, order) if context else [1 / V] * V
    counts = counts_of(learned, len(context) + 1, order)
    after = [counts[(*context, w)] for w in range(V)]
    if not any(after):
        return shorter
    off = [discount(count, counts) if count else 0.0 for count in after]
    return [
        (count - taken + sum(off) * lower) / sum(after)
        for count, taken, lower in zip(after, off, shorter, strict=True)
    ]


def histories(text: np.ndarray, order: int) -> torch.Tensor:
    padded = np.r_[np.full(order - 1, V), text].astype(np.int64)
    return torch.from_numpy(padded).unfold(0, order - 1, 1)[:-1].T


@pytest.mark.parametrize("order", [1, 2, 6])
def test_probabilities_are_the_formulas(order: int) -> None:
    model = Ngram.counted(LEARNED[700:1300], V, order)
    learned = LEARNED[700:1300].tolist()
    for place in (0, 1, 3, 100, 260, 499):
        context = HELD_OUT[:place].tolist()[-order + 1 :] if order > 1 else []
        found = model(histories(HELD_OUT[: place + 1], order)[:, -1:])
        torch.testing.assert_close(found, torch.tensor([by_the_formula(context, learned, order)]))
    # Both are met: discounts that are estimated, and those that stand for them.
    assert order < 6 or len({level.discounts[1].item() == 0.5 for level in model.levels}) == 2


@pytest.mark.parametrize("order", [2, 5, 30])
def test_probabilities_sum_to_one(order: int) -> None:
    found = Ngram.counted(LEARNED, V, order)(histories(HELD_OUT, order))
    torch.testing.assert_close(found.sum(1), torch.ones(len(HELD_OUT)))


def test_a_long_text_that_is_seen_twice_is_known_by_heart() -> None:
    text = np.r_[LEARNED[:300], LEARNED[:300]]
    found = Ngram.counted(text, V, 12)(histories(LEARNED[:300], 12))
    right = found.gather(1, torch.from_numpy(LEARNED[:300].astype(np.int64))[:, None])
    assert right[20:].min() > 0.9


@pytest.mark.parametrize("learned", [[3], [3, 3]])
def test_almost_nothing_can_be_counted(learned: list[int]) -> None:
    model = Ngram.counted(np.array(learned, np.uint8), V, 4)
    found = model(histories(HELD_OUT[:9], 4))
    torch.testing.assert_close(found.sum(1), torch.ones(9))


def test_discounts_are_those_of_chen_and_goodman() -> None:
    """Of 8, 4, 2 and 1 grams seen once to four times: Y = 8 / (8 + 2 * 4) = 1 / 2."""
    counts = np.repeat([1, 2, 3, 4, 7], [8, 4, 2, 1, 3])
    d_1, d_2, d_3 = 1 - 2 / 2 * 4 / 8, 2 - 3 / 2 * 2 / 4, 3 - 4 / 2 * 1 / 2
    assert _discounts(counts).tolist() == [0, d_1, d_2, d_3] == [0, 0.5, 1.25, 2]
    usual = [0, 0.5, 1, 1.5]
    assert _discounts(np.repeat([1, 2, 3, 7], [8, 4, 2, 1])).tolist() == usual  # none seen 4 times
    assert _discounts(np.repeat([1, 2, 3, 4], [8, 1, 8, 1])).tolist() == usual  # d_2 is negative
    assert _discounts(np.repeat([1, 2, 3, 4], [6, 3, 4, 1])).tolist() == usual  # d_2 is 0


def test_tensors_are_made_where_the_model_is() -> None:
    model = Ngram.counted(LEARNED, V, 3)
    history = histories(HELD_OUT, 3)
    expected = model(history)
    with torch.device("meta"):  # where tensors land that are made without naming a device
        assert model.initial_history(2).tolist() == [[V, V], [V, V]]
        torch.testing.assert_close(model(history), expected)

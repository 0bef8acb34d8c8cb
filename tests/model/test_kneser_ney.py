"""The n-gram model: its probabilities against the formula."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
import torch

from charlm.model.kneser_ney import KneserNey, discounts

V = 5
BEGINNING = -1
TRAINING = np.random.default_rng(0).choice(V, 4000, p=[0.5, 0.2, 0.2, 0.08, 0.02]).astype(np.uint8)
TRAINING[1000:1300] = np.tile([0, 1, 2, 3, 4, 3], 50)
HELD_OUT = np.r_[TRAINING[900:1100], TRAINING[::-1][:300]]


def count_grams(training: list[int], length: int, order: int) -> Counter[tuple[int, ...]]:
    """Count n-grams: occurrences of the longest ones, distinct preceding symbols of the others."""
    if length == order:
        return Counter(zip(*(training[k:] for k in range(length)), strict=False))
    text = [BEGINNING, *training]
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


def by_the_formula(context: list[int], training: list[int], order: int) -> list[float]:
    """Return p(w | context) for each w, recounting the whole text for each context."""
    shorter = by_the_formula(context[1:], training, order) if context else [1 / V] * V
    counts = count_grams(training, len(context) + 1, order)
    after = [counts[(*context, w)] for w in range(V)]
    if not any(after):
        return shorter
    off = [discount(count, counts) if count else 0.0 for count in after]
    return [
        (count - taken + sum(off) * lower) / sum(after)
        for count, taken, lower in zip(after, off, shorter, strict=True)
    ]


def histories(text: npt.NDArray[np.uint8], order: int) -> torch.Tensor:
    padded = np.r_[np.full(order - 1, V), text].astype(np.int64)
    return torch.from_numpy(padded).unfold(0, order - 1, 1)[:-1].T


@pytest.mark.parametrize("order", [1, 2, 6])
def test_probabilities_follow_the_formula(order: int) -> None:
    model = KneserNey.from_text(TRAINING[700:1300], V, order)
    training = TRAINING[700:1300].tolist()
    for position in (0, 1, 3, 100, 260, 499):
        context = HELD_OUT[:position].tolist()[-order + 1 :] if order > 1 else []
        found = model(histories(HELD_OUT[: position + 1], order)[:, -1:])
        torch.testing.assert_close(found, torch.tensor([by_the_formula(context, training, order)]))
    # The longest model has both estimated discounts and common ones.
    common = {level.discounts[1].item() == 0.5 for level in model.levels}
    assert order < 6 or common == {True, False}


@pytest.mark.parametrize("order", [2, 5, 30])
def test_probabilities_sum_to_one(order: int) -> None:
    found = KneserNey.from_text(TRAINING, V, order)(histories(HELD_OUT, order))
    torch.testing.assert_close(found.sum(1), torch.ones(len(HELD_OUT)))


def test_a_passage_that_occurs_twice_is_known_by_heart() -> None:
    text = np.r_[TRAINING[:300], TRAINING[:300]]
    found = KneserNey.from_text(text, V, 12)(histories(TRAINING[:300], 12))
    right = found.gather(1, torch.from_numpy(TRAINING[:300].astype(np.int64))[:, None])
    assert right[20:].min() > 0.9


@pytest.mark.parametrize("training", [[3], [3, 3]])
def test_a_text_may_be_shorter_than_the_order(training: list[int]) -> None:
    model = KneserNey.from_text(np.array(training, np.uint8), V, 4)
    found = model(histories(HELD_OUT[:9], 4))
    torch.testing.assert_close(found.sum(1), torch.ones(9))


def test_discounts_are_those_of_chen_and_goodman() -> None:
    # 8, 4, 2 and 1 n-grams with counts of 1 to 4: Y = 8 / (8 + 2 * 4) = 1 / 2.
    counts = np.repeat([1, 2, 3, 4, 7], [8, 4, 2, 1, 3])
    d_1, d_2, d_3 = 1 - 2 / 2 * 4 / 8, 2 - 3 / 2 * 2 / 4, 3 - 4 / 2 * 1 / 2
    assert discounts(counts).tolist() == [0, d_1, d_2, d_3] == [0, 0.5, 1.25, 2]
    common = [0, 0.5, 1, 1.5]
    assert discounts(np.repeat([1, 2, 3, 7], [8, 4, 2, 1])).tolist() == common  # no count of 4
    assert discounts(np.repeat([1, 2, 3, 4], [8, 1, 8, 1])).tolist() == common  # d_2 is negative
    assert discounts(np.repeat([1, 2, 3, 4], [6, 3, 4, 1])).tolist() == common  # d_2 is 0


def test_new_tensors_are_on_the_device_of_the_model() -> None:
    model = KneserNey.from_text(TRAINING, V, 3)
    history = histories(HELD_OUT, 3)
    expected = model(history)
    with torch.device("meta"):  # the device of tensors that are made without naming one
        assert model.initial_history(2).tolist() == [[V, V], [V, V]]
        torch.testing.assert_close(model(history), expected)

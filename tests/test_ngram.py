"""The n-gram model: its probabilities, against the formula and against the baseline's."""

import numpy as np
import pytest
import torch

from charlm.evaluation.ngram import witten_bell
from charlm.ngram import Ngram

V = 5
LEARNED = np.random.default_rng(0).choice(V, 4000, p=[0.5, 0.2, 0.2, 0.08, 0.02]).astype(np.uint8)
LEARNED[1000:1300] = np.tile([0, 1, 2, 3, 4, 3], 50)
HELD_OUT = np.r_[LEARNED[900:1100], LEARNED[::-1][:300]]


def by_the_formula(context: list[int], learned: list[int]) -> list[float]:
    """Return p(w | context) for each w, by counting the whole text again at each step."""
    after = [
        learned[place]
        for place in range(len(context), len(learned))
        if learned[place - len(context) : place] == context
    ]
    shorter = by_the_formula(context[1:], learned) if context else [1 / V] * V
    distinct = len(set(after))
    if not after:
        return shorter
    return [(after.count(w) + distinct * shorter[w]) / (len(after) + distinct) for w in range(V)]


def seen_twice(context: list[int], learned: list[int]) -> list[int]:
    """Return the end of a context that the model has: one symbol more than what is seen twice."""
    longest: list[int] = []
    for length in range(1, len(context) + 1):
        inner = context[len(context) - length + 1 :]
        text = [learned[place : place + len(inner)] for place in range(len(learned) - len(inner))]
        if text.count(inner) < 2:
            break
        longest = context[-length:]
    return longest


def histories(text: np.ndarray, order: int) -> torch.Tensor:
    padded = np.r_[np.full(order - 1, V), text].astype(np.int64)
    return torch.from_numpy(padded).unfold(0, order - 1, 1)[:-1].T


def test_probabilities_are_the_formulas() -> None:
    model = Ngram.counted(LEARNED[:600], V, 6)
    learned = LEARNED[:600].tolist()
    for place in (0, 1, 3, 100, 260, 499):
        text = HELD_OUT[:place].tolist()
        context = seen_twice(text[-5:], learned)
        found = model(histories(HELD_OUT[: place + 1], 6)[:, -1:])
        expected = torch.tensor([by_the_formula(context, learned)])
        torch.testing.assert_close(found, expected)


def test_bigrams_are_the_baselines() -> None:
    costs = witten_bell([LEARNED], {"held out": [HELD_OUT]}, V, V)
    next(costs)
    _, nats = next(costs)
    found = Ngram.counted(LEARNED, V, 2)(histories(HELD_OUT, 2))
    # Before the first symbol the baseline has a boundary, which it has learned from.
    own = -found.gather(1, torch.from_numpy(HELD_OUT.astype(np.int64))[:, None])[:, 0].log()
    np.testing.assert_allclose(own[1:].numpy(), nats["held out"][0][1:], rtol=1e-5)


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

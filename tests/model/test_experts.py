"""Experts predict by the formula, and know nothing of the text that follows."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from charlm.model.contexts import Contexts, Reading
from charlm.model.experts import NAMES, Experts, Opinions, count_experts, expert_list
from charlm.model.kneser_ney import Integers

SYMBOLS = 6
END = 5
LETTERS = torch.tensor([1, 2, 1, 0, 0, 0])
ORDER = 4


def text(length: int, seed: int) -> Integers:
    """Return a text in which some symbols are likelier after others."""
    chance = np.random.default_rng(seed)
    tokens = [0]
    for _ in range(length - 1):
        tokens.append(int((tokens[-1] + chance.geometric(0.5)) % SYMBOLS))
    return np.array(tokens, np.uint8)


@pytest.fixture(params=[END, None], ids=["documents", "stream"])
def contexts(request: pytest.FixtureRequest) -> Contexts:
    return Contexts(ORDER, LETTERS, request.param, SYMBOLS)


@pytest.fixture
def experts(contexts: Contexts) -> Experts:
    return count_experts(contexts, expert_list(NAMES, ORDER), text(500, 0), budget=1e9)


def kneser_ney(counted: list[int], end: int | None, order: int, history: list[int]) -> list[float]:
    """Return the probability of each symbol by the formula, counted anew in plain Python."""
    begin = [end] if end is not None else []

    def context(read: list[int], length: int) -> tuple[int | None, ...]:
        start = max((place for place, token in enumerate(read) if token == end), default=0)
        return tuple(([None] * length + read[start:])[-length:] if length else ())

    def pairs(length: int) -> list[tuple[tuple[int | None, ...], int]]:
        return [
            (context(begin + counted[:place], length), symbol)
            for place, symbol in enumerate(counted)
        ]

    probability = [1 / SYMBOLS] * SYMBOLS
    for length in range(order):
        if length == ORDER - 1:
            grams = pairs(length)
        else:
            different = set(pairs(length + 1))
            grams = [(before[1:] if length else (), symbol) for before, symbol in different]
        counts = {gram: grams.count(gram) for gram in set(grams)}
        n = [sum(count == k for count in counts.values()) for k in range(5)]
        discount = [0.0, 0.5, 1.0, 1.5]
        if all(n[1:]):
            share = n[1] / (n[1] + 2 * n[2])
            estimated = [0.0] + [k - (k + 1) * share * n[k + 1] / n[k] for k in (1, 2, 3)]
            discount = estimated if min(estimated[1:]) > 0 else discount
        here = context(begin + history, length)
        seen = [counts.get((here, symbol), 0) for symbol in range(SYMBOLS)]
        if total := sum(seen):
            taken = sum(discount[min(count, 3)] for count in seen)
            probability = [
                (count - discount[min(count, 3)] + taken * general) / total
                for count, general in zip(seen, probability, strict=True)
            ]
    return probability


def opinions(experts: Experts, reading: Reading) -> Opinions:
    """Return the opinions of the experts alone."""
    return experts.forward(reading, torch.empty(reading.lags[0].numel(), 0, SYMBOLS))


@pytest.mark.parametrize("level", range(1, ORDER + 1))
def test_levels_are_kneser_ney_models(contexts: Contexts, experts: Experts, level: int) -> None:
    counted = text(500, 0).tolist()
    read = text(40, 1).tolist()
    start = [END] if contexts.end_of_document is not None else []
    tokens = torch.tensor(start + read)[:, None]
    reading, _ = contexts.read(tokens, contexts.initial_state(1))
    found = opinions(experts, reading).logits[:, level - 1].exp()
    for place in range(len(start), len(tokens)):
        expected = kneser_ney(
            counted, contexts.end_of_document, level, read[: place + 1 - len(start)]
        )
        torch.testing.assert_close(found[place], torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_predictions_are_distributions(contexts: Contexts, experts: Experts) -> None:
    tokens = torch.from_numpy(text(100, 1).astype(np.int64))[:, None]
    reading, _ = contexts.read(tokens, contexts.initial_state(1))
    logits = opinions(experts, reading).logits
    assert logits.shape == (100, len(expert_list(NAMES, ORDER)), SYMBOLS)
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(logits.shape[:2]))


def test_repeated_contexts_are_predicted_like_others(contexts: Contexts, experts: Experts) -> None:
    tokens = torch.from_numpy(text(300, 1).astype(np.int64))[:, None]
    reading, state = contexts.read(tokens, contexts.initial_state(1))
    at_once = opinions(experts, reading)
    state = contexts.initial_state(1)
    for place, token in enumerate(tokens):
        reading, state = contexts.read(token[None], state)
        alone = opinions(experts, reading)
        torch.testing.assert_close(alone.logits[0], at_once.logits[place])
        torch.testing.assert_close(alone.features[0], at_once.features[place])


def test_other_models_come_first(contexts: Contexts, experts: Experts) -> None:
    reading, _ = contexts.read(torch.tensor([[3], [1]]), contexts.initial_state(1))
    others = torch.randn(2, 3, SYMBOLS)
    logits, _ = experts(reading, others)
    assert torch.equal(logits[:, :3], others)
    assert torch.equal(logits[:, 3:], opinions(experts, reading).logits)


def test_features_are_counts_of_the_context(contexts: Contexts, experts: Experts) -> None:
    counted = text(500, 0).tolist()
    reading, _ = contexts.read(torch.tensor([[3]]), contexts.initial_state(1))
    features = opinions(experts, reading).features[0].expm1()
    following = {after for before, after in pairwise(counted) if before == 3}
    assert features[3].round() == len(following)
    assert features[2].round() >= len(following)


def test_counts_fit_their_budget(contexts: Contexts) -> None:
    def count(budget: float) -> Experts:
        return count_experts(contexts, expert_list(NAMES, ORDER), text(2000, 0), budget)

    whole = count(1e9).bytes
    half = count(whole / 2)
    assert whole / 4 < half.bytes <= whole / 2
    reading, _ = contexts.read(torch.tensor([[3], [1]]), contexts.initial_state(1))
    torch.testing.assert_close(
        opinions(half, reading).logits.exp().sum(-1), torch.ones(2, len(half.experts))
    )


def test_the_sizes_of_pruned_tables_are_known_before(contexts: Contexts) -> None:
    experts = count_experts(contexts, expert_list(NAMES, ORDER), text(2000, 0), 1e9)
    for name in experts.experts:
        table = experts.table(name)
        times, sizes = table.pruned_sizes()
        assert [table.pruned(least).bytes for least in (*times, times[-1] + 1)] == sizes.tolist()


def test_a_budget_below_all_counts_leaves_a_uniform_distribution(contexts: Contexts) -> None:
    experts = count_experts(contexts, expert_list(NAMES, ORDER), text(200, 0), budget=1)
    reading, _ = contexts.read(torch.tensor([[3], [1]]), contexts.initial_state(1))
    logits, features = opinions(experts, reading)
    torch.testing.assert_close(logits.exp(), torch.full_like(logits, 1 / SYMBOLS))
    assert not features.any()


@pytest.mark.parametrize("order", [3, 5, 10])
@pytest.mark.parametrize("names", [NAMES, ("word2",), ("skip", "word1_suffix3"), ()])
def test_every_expert_falls_back_on_one_before_it(names: tuple[str, ...], order: int) -> None:
    experts = expert_list(names, order)
    listed = list(experts)
    assert listed == [*(f"ngram{n + 1}" for n in range(order)), *(n for n in NAMES if n in names)]
    for place, expert in enumerate(experts.values()):
        assert (expert.general is None) == (place == 0)
        assert place == 0 or expert.general in listed[:place]


def test_arrays_of_large_tables_are_accepted(contexts: Contexts) -> None:
    listed = expert_list(NAMES, ORDER)
    counted = count_experts(contexts, listed, text(5000, 0), budget=1e9)
    assert len(counted.table("ngram4").symbols) > 300
    assert counted.table("ngram4").distinct.dtype == torch.uint8
    arrays = {name.removeprefix("tables."): array for name, array in counted.state_dict().items()}
    again = Experts.from_arrays(contexts, listed, arrays)
    assert again.bytes == counted.bytes

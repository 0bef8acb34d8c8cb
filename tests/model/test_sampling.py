"""Sampling from a distribution: temperature, top-k, top-p and the random numbers."""

import math
from itertools import islice

import numpy as np
import pytest
import torch

from charlm.model.sampling import Sampler, SampleRequest, random_numbers
from tests.model.models import LETTERS, letters_vocabulary


def frequencies(
    logits: list[float],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> list[float]:
    """Return how often each symbol is drawn with evenly spaced random numbers."""
    vocabulary = letters_vocabulary(end_of_document=False)
    request = SampleRequest("", length=1, temperature=temperature, top_k=top_k, top_p=top_p)
    sampler = Sampler([request, SampleRequest("", length=1)], vocabulary)
    rows = torch.full((2, len(vocabulary)), -50.0, dtype=torch.float64)
    rows[0, : len(logits)] = torch.tensor(logits, dtype=torch.float64)
    assert vocabulary.unknown is not None
    rows[:, vocabulary.unknown] = 99.0  # never drawn, however likely
    drawn = [
        sampler.draw(rows.clone(), torch.full((2,), (n + 0.5) / 1000, dtype=torch.float64))[0]
        for n in range(1000)
    ]
    return [drawn.count(token) / 1000 for token in range(len(logits))]


def test_draws_follow_the_distribution_and_its_limits() -> None:
    logits = [math.log(p) for p in (0.1, 0.5, 0.15, 0.25)]
    assert frequencies(logits) == pytest.approx([0.1, 0.5, 0.15, 0.25], abs=0.002)
    assert frequencies(logits, top_k=2) == pytest.approx([0, 2 / 3, 0, 1 / 3], abs=0.002)
    assert frequencies(logits, top_p=0.7) == pytest.approx([0, 2 / 3, 0, 1 / 3], abs=0.002)
    assert frequencies(logits, top_p=0.8) == pytest.approx([0, 5 / 9, 1.5 / 9, 2.5 / 9], abs=0.002)
    squared = np.array([0.1, 0.5, 0.15, 0.25]) ** 2
    assert frequencies(logits, temperature=0.5) == pytest.approx(squared / squared.sum(), abs=0.002)
    assert frequencies(logits, temperature=0) == [0, 1, 0, 0]
    assert frequencies(logits, top_k=10**30) == frequencies(logits)
    assert frequencies([9.0], temperature=1e308) == pytest.approx([1 / len(LETTERS)], abs=0.002)


def test_a_low_temperature_distinguishes_close_logits() -> None:
    for temperature in (1e-5, 1e-90):
        drawn = frequencies([0.0, temperature], temperature=temperature)
        assert drawn == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)], abs=0.002)


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-300, 1e-99, 1e-50, 1e-9])
def test_a_temperature_near_zero_is_greedy(temperature: float) -> None:
    assert frequencies([-3e38, 3e38, 0.0, 2e38], temperature=temperature) == [0, 1, 0, 0]
    assert frequencies([1e-45, 0.0, 2e-45], temperature=min(temperature, 1e-50)) == [0, 0, 1]


def test_random_numbers_depend_on_the_seed_and_the_prompt() -> None:
    drawn = list(islice(random_numbers(3, [1, 2]), 600))
    (seed,) = np.random.SeedSequence([3, 1, 2]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(seed))
    assert drawn == torch.rand(600, generator=generator, dtype=torch.float64).tolist()

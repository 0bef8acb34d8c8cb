"""Bootstrap intervals over documents."""

import math
from collections import Counter
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from charlm.evaluation.intervals import interval, resampled_bits


def percentile_bootstrap(
    nats: npt.NDArray[np.float64], characters: npt.NDArray[np.int64]
) -> list[float]:
    """Return the 95 % interval of bits per character, computed one drawn document at a time."""
    random = np.random.default_rng(0)
    bits = []
    for _ in range(1000):
        drawn = random.integers(0, len(characters), len(characters)).tolist()
        total = sum(float(nats[one]) for one in drawn) / sum(int(characters[one]) for one in drawn)
        bits.append(total / math.log(2))
    return list(map(float, np.percentile(bits, [2.5, 97.5])))


def resampled(
    nats: npt.NDArray[np.float64], characters: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    bits = resampled_bits(nats, characters)
    assert bits is not None
    return bits


def test_an_interval_leaves_out_a_fortieth_on_either_side() -> None:
    values = np.random.default_rng(0).permutation(1001).astype(float)
    assert interval(values) == pytest.approx([25, 975])


def test_resamples_are_documents_drawn_with_replacement() -> None:
    nats, characters = np.array([9.0, 1.0, 7.0]), np.array([5, 1, 2])
    bits = resampled(nats[:, None], characters)
    assert bits.shape == (1000, 1)
    draws = [list(draw) for draw in product(range(3), repeat=3)]
    expected = Counter(
        round(nats[draw].sum() / characters[draw].sum() / math.log(2), 9) for draw in draws
    )
    found: Counter[float] = Counter(bits[:, 0].round(9).tolist())
    assert set(found) == set(expected)
    for value, ways in expected.items():
        share = ways / len(draws)
        assert abs(found[value] - 1000 * share) < 4 * math.sqrt(1000 * share * (1 - share))


def test_an_interval_equals_that_of_the_percentile_bootstrap() -> None:
    random = np.random.default_rng(3)
    characters = random.integers(1, 200, 30)
    nats = characters * random.normal(1.5, 0.3, 30)
    found = interval(resampled_bits(nats[:, None], characters))
    assert found == pytest.approx(percentile_bootstrap(nats, characters))


def test_intervals_cover_the_true_value_about_95_percent_of_the_time() -> None:
    random = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        characters = random.integers(50, 200, 80)
        nats = characters * random.normal(1.5, 0.3, 80)
        bits = resampled(nats[:, None], characters)
        bounds = interval(bits)
        assert bounds
        low, high = bounds
        held += low < 1.5 / math.log(2) < high
    assert 180 <= held <= 198


def test_a_long_document_weighs_more() -> None:
    characters = np.array([1, 1000])
    bits = resampled(np.array([[8.0], [2000.0]]) * math.log(2), characters)
    assert np.median(bits) == pytest.approx(2008 / 1001)


def test_systems_scored_separately_stay_paired() -> None:
    random = np.random.default_rng(2)
    characters = random.integers(50, 200, 60)
    nats = characters * random.normal(1.5, 0.5, 60)
    together = resampled(np.stack([nats, nats + 0.1 * characters], 1), characters)
    difference = interval(together[:, 1] - together[:, 0])
    assert difference == pytest.approx([0.1 / math.log(2)] * 2)
    alone = resampled(nats[:, None], characters)
    assert alone[:, 0] == pytest.approx(together[:, 0], rel=1e-12)


def test_documents_without_text_change_nothing() -> None:
    characters = np.array([10, 0, 20, 30])
    nats = np.array([[9.0], [0.0], [8.0], [7.0]])
    with_empty = resampled(nats, characters)
    assert np.array_equal(with_empty, resampled(nats[[0, 2, 3]], characters[[0, 2, 3]]))


@pytest.mark.parametrize("characters", [[], [5], [5, 0]])
def test_one_document_has_no_interval(characters: list[int]) -> None:
    nats = np.ones((len(characters), 1))
    assert interval(resampled_bits(nats, np.array(characters, np.int64))) is None

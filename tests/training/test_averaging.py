"""Averages of weights against values computed by hand."""

import pytest
from torch import nn

from charlm.training.averaging import WeightAverage


@pytest.mark.parametrize(
    ("decay", "averages"),
    [
        # A tenth of the old average is kept, then two elevenths, then three twelfths.
        (0.9, [9.1, 18.018182, 27.004545]),
        (0.15, [9.1, 18.365, 28.25475]),
        (None, [10.0, 15.0, 20.0]),
    ],
)
def test_the_average_of_weights(decay: float | None, averages: list[float]) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    average = WeightAverage(model, decay)
    for value, expected in zip((10.0, 20.0, 30.0), averages, strict=True):
        nn.init.constant_(model.weight, value)
        average.update(average.next_rate())
        assert average.weights["weight"].item() == pytest.approx(expected, rel=1e-6)
    with average.in_model():
        assert model.weight.item() == pytest.approx(averages[-1], rel=1e-6)
    assert model.weight.item() == 30.0


def test_the_decay_is_reached_after_many_updates() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.9)
    for _ in range(200):
        average.update(average.next_rate())
    nn.init.ones_(model.weight)
    average.update(average.next_rate())
    assert average.weights["weight"].item() == pytest.approx(0.1)
    average.update(average.next_rate())
    assert average.weights["weight"].item() == pytest.approx(0.19)

"""Learning rates, lengths and validations."""

from dataclasses import replace

import pytest

from charlm.settings import ScheduleName, TrainingSettings
from charlm.training.schedule import Schedule, learning_rate_at

SETTINGS = TrainingSettings(learning_rate=0.1, warmup_steps=10)


def test_the_rate_rises_and_then_falls_as_the_schedule_says() -> None:
    rates = {}
    for schedule in ("cosine", "step", "constant"):
        settings = TrainingSettings.from_mapping(
            {"learning_rate": 0.1, "warmup_steps": 10, "schedule": schedule}, "settings"
        )
        rates[schedule] = [learning_rate_at(step, settings, steps=100) for step in range(100)]
    for schedule, rate in rates.items():
        assert rate[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)]), schedule
        assert max(rate) == pytest.approx(0.1)
    assert rates["cosine"][10:] == sorted(rates["cosine"][10:], reverse=True)
    assert rates["cosine"][-1] < 0.0012
    assert set(rates["constant"][10:]) == {0.1}
    assert sorted({round(rate, 6) for rate in rates["step"][10:]}) == [0.001, 0.01, 0.1]


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("cosine", {0.0: 1.0, 1 / 3: 0.7525, 0.5: 0.505, 2 / 3: 0.2575, 1.0: 0.01}),
        ("step", {0.0: 1.0, 0.59: 1.0, 0.6: 0.1, 0.84: 0.1, 0.85: 0.01, 1.0: 0.01}),
        ("constant", {0.0: 1.0, 0.5: 1.0, 1.0: 1.0}),
    ],
)
def test_the_rates_of_a_schedule(schedule: ScheduleName, factors: dict[float, float]) -> None:
    settings = replace(SETTINGS, schedule=schedule, warmup_steps=100)
    for elapsed, factor in factors.items():
        rate = pytest.approx(0.1 * factor)
        step = 100 + round(elapsed * 900)
        assert learning_rate_at(step, settings, steps=1000) == rate, elapsed
        assert learning_rate_at(step, settings, steps=None, elapsed=elapsed) == rate, elapsed


def test_the_rate_stays_at_its_lowest_after_the_time_limit() -> None:
    assert learning_rate_at(200, SETTINGS, steps=None, elapsed=1.5) == pytest.approx(0.001)


def test_the_warm_up_is_at_most_a_tenth_of_a_short_training() -> None:
    constant = replace(SETTINGS, schedule="constant")
    assert learning_rate_at(0, constant, steps=5) == 0.1
    assert learning_rate_at(1, constant, steps=20) == 0.1


@pytest.mark.parametrize(
    ("settings", "steps", "validate_every"),
    [
        (TrainingSettings(epochs=2.5), 75, 8),
        (TrainingSettings(epochs=0.001), 1, 1),
        (TrainingSettings(steps=45, validate_every=100), 45, 45),
        (TrainingSettings(minutes=1), None, 3),
        (TrainingSettings(minutes=1, validate_every=100), None, 100),
    ],
)
def test_the_length_of_a_training(
    settings: TrainingSettings, steps: int | None, validate_every: int
) -> None:
    schedule = Schedule.of(settings, steps_per_epoch=30)
    assert (schedule.steps, schedule.validate_every) == (steps, validate_every)


def test_a_training_of_steps_ends_whatever_the_time() -> None:
    schedule = Schedule.of(TrainingSettings(steps=10, validate_every=4), steps_per_epoch=3)
    assert [step for step in range(12) if schedule.ends_at(step, 1e9)] == [10, 11]
    assert [step for step in range(12) if schedule.validates_at(step, 1e9)] == [4, 8, 10, 11]


def test_a_training_of_minutes_ends_after_them_but_not_before_a_step() -> None:
    schedule = Schedule.of(TrainingSettings(minutes=2), steps_per_epoch=30)
    assert not schedule.ends_at(10, 119.9)
    assert schedule.ends_at(10, 120)
    assert not schedule.ends_at(0, 120)
    assert schedule.validates_at(10, 120)
    halfway = TrainingSettings(minutes=2, warmup_steps=0, learning_rate=1.0)
    rate = Schedule.of(halfway, steps_per_epoch=30).learning_rate(7, 60)
    assert rate == pytest.approx(0.505)

"""Which settings determine the result of a training."""

from dataclasses import asdict

import pytest

from charlm.settings import TrainingSettings
from charlm.training.settings import decisive_settings, validation_interval


@pytest.mark.parametrize(
    ("validate_every", "steps", "expected"),
    [(None, 100, 10), (None, 101, 11), (None, 3, 1), (7, 100, 7), (700, 100, 100)],
)
def test_the_steps_between_two_validations(
    validate_every: int | None, steps: int, expected: int
) -> None:
    assert validation_interval(validate_every, steps) == expected
    settings = TrainingSettings(steps=steps, validate_every=validate_every)
    assert decisive_settings(settings)["validate_every"] == expected


def test_all_settings_but_those_of_checkpoints_and_mlflow_are_decisive() -> None:
    settings = asdict(TrainingSettings())
    assert settings.pop("checkpoint_every") == 200
    assert settings.pop("mlflow") is None
    assert settings["steps"] is None
    assert decisive_settings(TrainingSettings()) == settings
    assert list(decisive_settings(TrainingSettings())) == list(settings)

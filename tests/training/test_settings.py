"""Settings that decide on what a training makes."""

import pytest

from charlm.pipeline.config import resolve
from charlm.training.settings import decisive, validation_interval

DEFAULTS = resolve({"corpus": {"name": "a", "source": "a.csv"}})["models"]["lstm"]["training"]


@pytest.mark.parametrize(
    ("given", "steps", "expected"),
    [(None, 100, 10), (None, 101, 11), (None, 3, 1), (7, 100, 7), (700, 100, 100)],
)
def test_the_steps_between_two_validations(given: int | None, steps: int, expected: int) -> None:
    assert validation_interval(given, steps) == expected
    settings = {**DEFAULTS, "steps": steps, "validate_every": given}
    assert decisive(settings)["validate_every"] == expected


def test_all_settings_but_one_decide() -> None:
    expected = {key: value for key, value in DEFAULTS.items() if key != "checkpoint_every"}
    assert decisive(DEFAULTS) == expected
    assert DEFAULTS["steps"] is None
    assert len(DEFAULTS) == len(expected) + 1

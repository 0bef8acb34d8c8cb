"""Which settings decide on what a training makes."""

import math
from collections.abc import Mapping
from typing import Any


def validation_interval(validate_every: int | None, steps: int) -> int:
    """Return the steps between two validations in a training of `steps`, which ends with one."""
    return min(validate_every or math.ceil(steps / 10), steps)


def decisive(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that decide on its model and its learning curve.

    `checkpoint_every` does not. `validate_every` does by the steps that it comes to; they are
    filled in where the number of all steps is known.
    """
    settings = {key: value for key, value in training.items() if key != "checkpoint_every"}
    if training["steps"] is not None:
        every = validation_interval(training["validate_every"], training["steps"])
        settings["validate_every"] = every
    return settings

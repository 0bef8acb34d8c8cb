"""Which settings of a training determine its result."""

import math
from dataclasses import asdict

from charlm.settings import TrainingSettings


def validation_interval(validate_every: int | None, steps: int) -> int:
    """Return the number of steps between two validations in a training of `steps` steps.

    The last step is always validated.

    >>> validation_interval(None, 40)
    4
    >>> validation_interval(100, 40)
    40
    """
    return min(validate_every or math.ceil(steps / 10), steps)


def decisive_settings(training: TrainingSettings) -> dict[str, object]:
    """Return the settings that determine the model and the learning curve.

    `checkpoint_every` and `mlflow` do not. Two values of `validate_every` that lead to the same
    validations are the same setting: if the number of steps is known, the interval replaces the
    value.
    """
    settings = asdict(training)
    del settings["checkpoint_every"], settings["mlflow"]
    if training.steps is not None:
        settings["validate_every"] = validation_interval(training.validate_every, training.steps)
    return settings

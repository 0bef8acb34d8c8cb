"""The length of a training, its validations and its learning rates."""

import logging
import math
from dataclasses import dataclass
from typing import Self

from charlm.settings import TrainingSettings
from charlm.training.settings import validation_interval

log = logging.getLogger(__name__)

FEW_UPDATES = 500
"""Fewer updates than these give noise, whatever the text."""


@dataclass(frozen=True)
class Schedule:
    """The length of a training and what happens at each step.

    Attributes:
        settings: The settings of the training.
        steps: Number of steps; None if `settings.minutes` limits the time instead.
        validate_every: Number of steps between two validations.
    """

    settings: TrainingSettings
    steps: int | None
    validate_every: int

    @classmethod
    def of(cls, settings: TrainingSettings, steps_per_epoch: int) -> Self:
        """Return the schedule of a training on a text that is read in `steps_per_epoch` steps."""
        steps = settings.steps
        if steps is None and settings.minutes is None:
            assert settings.epochs != "auto"
            steps = max(1, round(settings.epochs * steps_per_epoch))
        if steps is None:
            log.warning("a training of %s minutes cannot be repeated", settings.minutes)
            every = settings.validate_every or validation_interval(None, steps_per_epoch)
        else:
            every = validation_interval(settings.validate_every, steps)
        return cls(settings, steps, every)

    def log_updates(self, steps_per_epoch: int) -> None:
        """Log the number of updates, if it is known; warn of too few."""
        if self.steps is None:
            return
        log.info("%d updates in %.1f epochs", self.steps, self.steps / steps_per_epoch)
        if self.steps < FEW_UPDATES:
            log.warning(
                "%d updates are few for a good model; raise training.epochs, or lower "
                "training.batch_size and training.sequence_length",
                self.steps,
            )

    def ends_at(self, step: int, seconds: float) -> bool:
        """Return whether training ends after `step` steps that took `seconds`."""
        if self.steps is not None:
            return step >= self.steps
        return step > 0 and self._elapsed(seconds) >= 1

    def validates_at(self, step: int, seconds: float) -> bool:
        """Return whether the model is validated after `step` steps that took `seconds`."""
        return self.ends_at(step, seconds) or (step > 0 and step % self.validate_every == 0)

    def learning_rate(self, step: int, seconds: float) -> float:
        """Return the learning rate of `step`, counted from 0, `seconds` after the start."""
        elapsed = 0.0 if self.steps is not None else self._elapsed(seconds)
        return learning_rate_at(step, self.settings, steps=self.steps, elapsed=elapsed)

    def _elapsed(self, seconds: float) -> float:
        """Return the elapsed fraction of the time limit."""
        assert self.settings.minutes is not None
        return seconds / (60 * self.settings.minutes)


def learning_rate_at(
    step: int, settings: TrainingSettings, *, steps: int | None, elapsed: float = 0.0
) -> float:
    """Return the learning rate of a step.

    It rises linearly over `warmup_steps`, but at most over a tenth of `steps`. Then it falls along
    a cosine to a hundredth (Loshchilov & Hutter 2017, arXiv:1608.03983), or to a tenth after 60 %
    and a hundredth after 85 % of the training (`step`), or stays (`constant`).

    Args:
        step: The step, counted from 0.
        settings: The settings of the training.
        steps: Number of steps; None for a training with a time limit.
        elapsed: The elapsed fraction of that time limit.

    >>> settings = TrainingSettings(learning_rate=1.0, schedule="step", warmup_steps=0)
    >>> [learning_rate_at(step, settings, steps=10) for step in (0, 5, 6, 9)]
    [1.0, 1.0, 0.1, 0.01]
    """
    assert settings.learning_rate != "auto"
    warmup = settings.warmup_steps
    if steps is not None:
        warmup = min(warmup, steps // 10)
        elapsed = (step - warmup) / max(1, steps - warmup)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    match settings.schedule:
        case "cosine":
            factor = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, elapsed)))
        case "step":
            factor = 1.0 if elapsed < 0.6 else 0.1 if elapsed < 0.85 else 0.01
        case "constant":
            factor = 1.0
    return settings.learning_rate * factor

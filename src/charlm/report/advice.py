"""Advice on a model that predicts worse than a baseline: why that may be, and what to change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from charlm.report.ranking import RankedSystem
from charlm.report.results import Configuration, ModelResults
from charlm.text.tokens import Size

FEW_STEPS = 1000
"""A model that was updated less often than this has hardly begun to learn."""

LITTLE_TEXT = 1_000_000
"""Characters of training text below which counts are hard to beat."""

NOTABLE = 0.01
"""Changes of a score by a smaller share are noise."""

LAST_PART = 0.8
"""Share of the training after which the curve must be flat."""


@dataclass(frozen=True)
class Reason:
    """A reason why a model may be worse than it could be."""

    explanation: str
    setting: str
    """The line of the configuration that would help."""


@dataclass(frozen=True)
class Defeat:
    """A model that predicts worse than the best baseline."""

    model: RankedSystem
    baseline: RankedSystem
    reasons: Sequence[Reason]


def find_defeats(
    ranking: Sequence[RankedSystem], config: Configuration, training_text: Size
) -> list[Defeat]:
    """Return the models that predict worse than the best baseline, with the likely reasons."""
    baseline = next((system for system in ranking if system.model is None), None)
    if baseline is None:
        return []
    worse = ranking[ranking.index(baseline) + 1 :]
    return [
        Defeat(system, baseline, list(_reasons(system.model, config, training_text)))
        for system in worse
        if system.model
    ]


def _reasons(model: ModelResults, config: Configuration, training_text: Size) -> Iterator[Reason]:
    settings = config["models"][model.label]
    training = settings["training"]
    curve = [(row.step, float(row.validation_bits)) for row in model.history if row.validation_bits]
    if settings["mixture"] is None:
        yield Reason(
            "It is a network alone, without experts that count what follows each context.",
            f"models.{model.name}.mixture: {{}}",
        )
    steps = model.metrics["steps"]
    best_step, best = min(curve, key=lambda point: point[1], default=(0, 0.0))
    last_step, last = curve[-1] if curve else (0, 0.0)
    before = [bits for step, bits in curve if step <= LAST_PART * last_step]
    if last > (1 + NOTABLE) * best:
        yield Reason(
            f"It overfits from step {best_step:,}: since then, its bits per character on the "
            f"validation text rose from {best:.3f} to {last:.3f}.",
            "training.keep: best"
            if training["keep"] == "last"
            else f"models.{model.name}.output_dropout: 0.3",
        )
    elif steps < FEW_STEPS:
        yield Reason(f"It was updated only {steps:,} times.", f"training.steps: {2 * FEW_STEPS}")
    elif before and before[-1] > (1 + NOTABLE) * last:
        # The first of these that is set decides how long the training lasts.
        decisive = next(key for key in ("steps", "minutes", "epochs") if training[key])
        longer = f"training.{decisive}: {2 * training[decisive]}"
        if training[decisive] == "auto":
            longer = f"training.steps: {2 * steps}"
        yield Reason(
            "It was still learning when training ended: in the last fifth of the training, its "
            f"bits per character on the validation text fell from {before[-1]:.3f} to {last:.3f}.",
            longer,
        )
    if training_text["characters"] < LITTLE_TEXT:
        yield Reason(
            f"The training text is small: {training_text['characters']:,} characters. Counts need "
            "less text than networks. Give more text, or start from a model of similar text.",
            f"models.{model.name}.init_from: path/of/a/trained/model",
        )

"""The points of the learning curves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from charlm.report.figures import CurvePoint
from charlm.report.results import Baseline, HistoryRow, ModelResults, grouped
from charlm.training.learning_samples import LearningSample


@dataclass(frozen=True)
class LearningStage:
    """A point of a learning curve, and what the network wrote there."""

    row: HistoryRow
    samples: Sequence[LearningSample]


def learning_stages(model: ModelResults) -> list[LearningStage]:
    """Return the validations at which samples were drawn."""
    samples = grouped((sample["step"], sample) for sample in model.learning_samples)
    return [LearningStage(row, samples[row.step]) for row in model.history if row.step in samples]


def curve_points(models: Sequence[ModelResults]) -> list[CurvePoint]:
    """Return the learning curve of each name: the mean over its seeds and their range."""
    points = grouped(
        ((model.name, text, row.step, row.characters), float(bits))
        for model in models
        for text in ("validation", "training")
        for row in model.history
        if (bits := row.validation_bits if text == "validation" else row.training_bits)
    )
    return [
        {
            "name": name,
            "text": text,
            "step": step,
            "characters": characters,
            "bits": round(float(np.mean(bits)), 6),
            "low": min(bits),
            "high": max(bits),
        }
        for (name, text, step, characters), bits in points.items()
    ]


def validation_bits(baselines: Sequence[Baseline]) -> dict[str, float]:
    """Return the bits per character of each baseline on the validation text, by name."""
    return {
        baseline.label.removesuffix(" (adapts)"): score["bits_per_character"]
        for baseline in baselines
        if (score := baseline.scores["validation"])
    }

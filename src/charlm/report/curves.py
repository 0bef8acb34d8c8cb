"""The points of the learning curves."""

from collections.abc import Sequence

import numpy as np

from charlm.report.figures import CurvePoint
from charlm.report.results import Baseline, ModelResults, grouped


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

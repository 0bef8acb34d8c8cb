"""Where models go wrong: by position, by confidence and by class of character."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from charlm.evaluation.diagnostics import Diagnostics
from charlm.evaluation.scores import HeldOut
from charlm.report.figures import Figure, loss_by_position, reliability
from charlm.report.html import Scale
from charlm.report.results import ModelResults, grouped


@dataclass(frozen=True)
class ClassRow:
    """The losses of symbols of one class."""

    name: str
    share: float
    """Share of the symbols."""
    bits_per_symbol: Sequence[float]
    """The loss of each model."""


@dataclass(frozen=True)
class ErrorAnalysis:
    """The error analysis of several models."""

    models: Sequence[ModelResults]
    position: Figure
    reliability: Figure
    classes: Sequence[ClassRow]
    scale: Scale
    """The scale of the losses by class."""
    calibration_errors: Mapping[str, float]
    """The expected calibration error of each model, by label."""


def accuracy(diagnostics: Diagnostics) -> float:
    """Return the share of symbols that the model thought the likeliest."""
    bins = diagnostics["calibration"]["bins"]
    return sum(each["accuracy"] * each["symbols"] for each in bins) / sum(
        each["symbols"] for each in bins
    )


def analyze_errors(models: Sequence[ModelResults], split: HeldOut | None) -> ErrorAnalysis | None:
    """Return the error analysis of models on a split; None if there is nothing to analyze."""
    if split is None:
        return None
    diagnostics = [
        (model, found) for model in models if (found := model.diagnostics[split]) is not None
    ]
    losses = grouped((row["class"], row) for _, found in diagnostics for row in found["class"])
    symbols = sum(rows[0]["symbols"] for rows in losses.values())
    classes = [
        ClassRow(name, rows[0]["symbols"] / symbols, [row["bits_per_symbol"] for row in rows])
        for name, rows in losses.items()
    ]
    return ErrorAnalysis(
        models=[model for model, _ in diagnostics],
        position=loss_by_position(
            [
                {
                    "name": model.name,
                    "from": row["from"],
                    "to": row["to"],
                    "bits": max(
                        0.001, round(row["bits_per_symbol"], 4)
                    ),  # the scale is logarithmic
                }
                for model, found in diagnostics
                for row in found["position"]
            ]
        ),
        reliability=reliability(
            [
                {
                    "name": model.name,
                    "symbols": row["symbols"],
                    "confidence": round(row["confidence"], 4),
                    "accuracy": round(row["accuracy"], 4),
                }
                for model, found in diagnostics
                for row in found["calibration"]["bins"]
            ]
        ),
        classes=classes,
        scale=Scale(0, max((bits for row in classes for bits in row.bits_per_symbol), default=1)),
        calibration_errors={
            model.label: found["calibration"]["expected_calibration_error"]
            for model, found in diagnostics
        },
    )

"""Scores of models and baselines compared: ranking, spread over seeds and differences."""

from collections.abc import Sequence
from dataclasses import dataclass

from charlm.evaluation.scores import Score
from charlm.report.html import Scale
from charlm.report.limits import LIMITS
from charlm.report.results import ModelResults, Results


@dataclass(frozen=True)
class RankedSystem:
    """A model or a baseline with its score."""

    label: str
    model: ModelResults | None
    """None for a baseline."""
    score: Score


def rank(results: Results) -> list[RankedSystem]:
    """Return models and baselines with their scores, the best first."""
    split = results.split
    if split is None:
        return []
    systems: list[tuple[str, ModelResults | None, Score | None]] = [
        (model.label, model, model.metrics[split]) for model in results.models
    ]
    systems += [(each.label, None, each.scores[split]) for each in results.baselines]
    ranked = [RankedSystem(label, model, score) for label, model, score in systems if score]
    return sorted(ranked, key=lambda system: system.score["bits_per_character"])


def bar_scale(ranking: Sequence[RankedSystem]) -> Scale | None:
    """Return the scale of the ranking's bars; None if nothing was scored."""
    if not ranking:
        return None
    worst = ranking[-1].score
    interval = worst["bits_per_character_interval"]
    return Scale(0, interval[1] if interval else worst["bits_per_character"])


@dataclass(frozen=True)
class SeedRow:
    """The scores of a model that was trained with several seeds."""

    name: str
    seeds: Sequence[int]
    mean: float
    deviation: float
    range: tuple[float, float]


def seed_rows(results: Results) -> list[SeedRow]:
    """Return the spread of each model that was trained with several seeds."""
    split = results.split
    comparison = results.comparison[split] if split else None
    if split is None or comparison is None:
        return []
    rows = []
    for spread in comparison["seeds"]:
        trained = [model for model in results.models if model.name == spread["name"]]
        scores = [score for model in trained if (score := model.metrics[split])]
        bits = [score["bits_per_character"] for score in scores]
        rows.append(
            SeedRow(
                name=spread["name"],
                seeds=[model.seed for model in trained],
                mean=spread["bits_per_character"],
                deviation=spread["standard_deviation"],
                range=(min(bits), max(bits)),
            )
        )
    return rows


@dataclass(frozen=True)
class DifferenceRow:
    """How much two systems differ."""

    better: str
    worse: str
    bits: float
    interval: Sequence[float] | None
    significant: bool | None
    """Whether the interval excludes zero; None without an interval."""


@dataclass(frozen=True)
class Differences:
    """The paired comparison of the models with one another and with the baselines."""

    shown: Sequence[DifferenceRow]
    hidden: int
    """Number of further differences."""
    scale: Scale


def find_differences(results: Results) -> Differences:
    """Return the differences in which at least one of the two systems is a model."""
    split = results.split
    comparison = results.comparison[split] if split else None
    labels = {model.label: model.label for model in results.models}
    models = set(labels)
    labels |= {baseline.name: baseline.label for baseline in results.baselines}
    rows = []
    for each in comparison["differences"] if comparison else []:
        if models & {each["better"], each["worse"]}:
            better, worse = labels[each["better"]], labels[each["worse"]]
            interval = each["interval"]
            significant = interval[0] > 0 if interval else None
            rows.append(
                DifferenceRow(better, worse, each["bits_per_character"], interval, significant)
            )
    bounds = [0.0]
    for row in rows:
        bounds += [row.bits, *(row.interval or [])]
    return Differences(
        shown=rows[: LIMITS.differences],
        hidden=max(0, len(rows) - LIMITS.differences),
        scale=Scale(min(bounds), max(bounds)),
    )

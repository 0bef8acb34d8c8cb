"""The results of a run, read from their folder into typed records."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

from charlm.checksums import FOREIGN, damaged, read_json, read_text
from charlm.evaluation.audit import Audit
from charlm.evaluation.baseline import BaselineScores
from charlm.evaluation.compare import Comparison
from charlm.evaluation.diagnostics import Diagnostics
from charlm.evaluation.evaluate import Metrics
from charlm.evaluation.memorization import Memorization, Overlap, read_samples
from charlm.evaluation.scores import HELD_OUT, HeldOut
from charlm.model.baseline_labels import baseline_label
from charlm.model.sample_model import SampleRecord
from charlm.model.store import read_description
from charlm.report.figures import series
from charlm.settings import Architecture
from charlm.training.learning_samples import LearningSample, LearningSamples
from charlm.training.timing import Timing

Key = TypeVar("Key")
Value = TypeVar("Value")

Configuration: TypeAlias = Mapping[str, Any]
"""A resolved configuration, which `charlm.pipeline.config`, a layer above, has checked."""


@dataclass(frozen=True)
class HistoryRow:
    """A point of a learning curve, with numbers as `history.csv` writes them."""

    step: int
    epoch: str
    characters: int
    """Characters read so far."""
    learning_rate: str
    training_bits: str
    validation_bits: str
    """Empty if there was no validation."""

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Self:
        """Return the record of a row of `history.csv`."""
        return cls(
            step=int(row["step"]),
            epoch=row["epoch"],
            characters=int(row["characters"]),
            learning_rate=row["learning_rate"],
            training_bits=row["train_bits_per_character"],
            validation_bits=row["validation_bits_per_character"],
        )


@dataclass(frozen=True)
class Sample:
    """A sample and its overlap with the training text."""

    prompt: str
    temperature: float
    top_k: int | None
    top_p: float | None
    text: str
    finish_reason: str
    """Why it ends; see `charlm.model.trained_model.Continuation`."""
    overlap: Overlap


@dataclass(frozen=True)
class ModelResults:
    """A trained model and its results."""

    label: str
    """Its name, with the seed if there are several."""
    name: str
    """Its name in the configuration."""
    color: str
    """The name of its colour; see `charlm.report.figures.series`."""
    architecture: Architecture
    seed: int
    metrics: Metrics
    diagnostics: Mapping[HeldOut, Diagnostics | None]
    history: Sequence[HistoryRow]
    learning_samples: Sequence[LearningSample]
    samples: Sequence[Sample]
    timing: Timing
    audit: Audit | None
    """None if it was not made."""


@dataclass(frozen=True)
class Baseline:
    """A baseline and its scores."""

    name: str
    """Its name in the result files."""
    label: str
    """Its name for readers."""
    scores: BaselineScores


@dataclass(frozen=True)
class Results:
    """The results of a run."""

    folder: Path
    config: Configuration
    models: Sequence[ModelResults]
    baselines: Sequence[Baseline]
    comparison: Comparison
    memorization: Memorization

    @property
    def split(self) -> HeldOut | None:
        """The split that the report is about: the test split if it was scored."""
        scored = (s for s in reversed(HELD_OUT) if any(model.metrics[s] for model in self.models))
        return next(scored, None)

    @property
    def first_seeds(self) -> Sequence[ModelResults]:
        """One model of each name: that of the first seed."""
        return list({model.name: model for model in reversed(self.models)}.values())[::-1]


def read_results(folder: Path, models: Sequence[str], config: Configuration) -> Results:
    """Read the results of a run.

    Args:
        folder: The folder `results/{corpus}`.
        models: Names of the trained models, `NAME.seed1` and so on for several seeds.
        config: The resolved configuration.
    """
    names = list(dict.fromkeys(label.split(".")[0] for label in models))
    colors = {name: series(index) for index, name in enumerate(names)}
    memorization = read_json(folder / "memorization.json", Memorization)
    baselines = read_json(folder / "baselines.json", dict[str, BaselineScores])
    return Results(
        folder=folder,
        config=config,
        models=[
            _read_model(
                folder / "models" / label,
                settings=config["models"][label],
                color=colors[label.split(".")[0]],
                overlaps=memorization["models"][label],
            )
            for label in models
        ],
        baselines=[
            Baseline(name, baseline_label(name, scores), scores)
            for name, scores in baselines.items()
        ],
        comparison=read_json(folder / "comparison.json", Comparison),
        memorization=memorization,
    )


def _read_model(
    folder: Path, *, settings: Configuration, color: str, overlaps: Sequence[Overlap]
) -> ModelResults:
    timing = read_json(folder / "timing.json", Timing)
    learning_samples = read_json(folder / "network/learning_samples.json", LearningSamples)
    audit = folder / "audit.json"
    samples = read_samples(folder / "samples.jsonl", SampleRecord.__annotations__)
    if len(samples) != len(overlaps):
        raise damaged(folder / "samples.jsonl")
    return ModelResults(
        label=folder.name,
        name=folder.name.split(".")[0],
        color=color,
        architecture=read_description(folder).architecture,
        seed=settings["training"]["seed"],
        metrics=read_json(folder / "metrics.json", Metrics),
        diagnostics=read_json(folder / "diagnostics.json", dict[HeldOut, Diagnostics | None]),
        history=read_rows(
            folder / "history.csv", ",", timing.get("history.csv"), HistoryRow.from_row
        ),
        learning_samples=learning_samples["samples"],
        samples=[
            Sample(
                prompt=sample["prompt"],
                temperature=sample["temperature"],
                top_k=sample["top_k"],
                top_p=sample["top_p"],
                text=sample["text"],
                finish_reason=sample["finish_reason"],
                overlap=overlap,
            )
            for sample, overlap in zip(samples, overlaps, strict=True)
        ],
        timing=timing,
        audit=read_json(audit, Audit) if audit.exists() else None,
    )


def read_rows(
    path: Path, delimiter: str, checksum: str | None, kind: Callable[[Mapping[str, str]], Value]
) -> list[Value]:
    """Return the rows of a text table with a header.

    Args:
        path: The file.
        delimiter: The character between its fields.
        checksum: As for `charlm.checksums.read_text`.
        kind: Makes a record of a row, whose fields it gets by the names of their columns.

    Raises:
        CharlmError: The file is missing or damaged, or a row has other fields.
    """
    text = io.StringIO(read_text(path, checksum), newline="")
    try:
        return [kind(row) for row in csv.DictReader(text, delimiter=delimiter)]
    except (KeyError, TypeError, ValueError, csv.Error):
        raise damaged(path, FOREIGN) from None


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Return the values of each key, in order.

    >>> grouped([("a", 1), ("b", 2), ("a", 3)])
    {'a': [1, 3], 'b': [2]}
    """
    groups: dict[Key, list[Value]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups

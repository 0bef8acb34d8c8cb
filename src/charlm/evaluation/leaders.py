"""The models in a folder of results, and the best of them beside the best baseline."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TypedDict

from charlm.checksums import read_json
from charlm.evaluation.scores import HELD_OUT, HeldOut
from charlm.model.baseline_labels import baseline_label


@dataclass(frozen=True)
class Leader:
    """A model or a baseline with its score in bits per character."""

    name: str
    bits: float


@dataclass(frozen=True)
class Leaders:
    """The best model and the best baseline on a split."""

    split: HeldOut
    """The test split if it was scored, else the validation split."""
    model: Leader
    baseline: Leader

    def __str__(self) -> str:
        """Return one line for readers."""
        verb = "needs" if self.model.bits < self.baseline.bits else "does better with"
        return (
            f"{self.model.name} with {self.model.bits:.3f} bits per character on the {self.split} "
            f"text; the best baseline, {self.baseline.name}, {verb} {self.baseline.bits:.3f}"
        )


class Score(TypedDict):
    """What is read of a score."""

    bits_per_character: float


class Scores(TypedDict):
    """What is read of the scores of a model or a baseline; that of an empty split is None."""

    validation: Score | None
    test: Score | None


def model_folders(results: str | Path) -> dict[str, Path]:
    """Return the folders of the trained models in a folder `results/{corpus}`, by name."""
    found = sorted(Path(results, "models").glob("*/model.safetensors"))
    return {weights.parent.name: weights.parent for weights in found}


def leaders(results: str | Path) -> Leaders | None:
    """Return the best model and the best baseline; None if nothing has been scored yet.

    Args:
        results: The folder `results/{corpus}`.
    """
    files = {name: folder / "metrics.json" for name, folder in model_folders(results).items()}
    metrics = {name: read_json(file, Scores) for name, file in files.items() if file.exists()}
    baselines: dict[str, Scores] = {}
    if (file := Path(results, "baselines.json")).exists():
        for name, scores in read_json(file, dict[str, Scores]).items():
            baselines[baseline_label(name, scores)] = scores
    for split in reversed(HELD_OUT):
        models, others = list(_scored(metrics, split)), list(_scored(baselines, split))
        if models and others:
            bits = attrgetter("bits")
            return Leaders(split, min(models, key=bits), min(others, key=bits))
    return None


def _scored(scores: Mapping[str, Scores], split: HeldOut) -> Iterator[Leader]:
    """Yield the systems that have a score on a split."""
    for name, each in scores.items():
        if score := each[split]:
            yield Leader(name, score["bits_per_character"])

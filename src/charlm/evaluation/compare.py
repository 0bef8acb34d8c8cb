"""Paired comparison of models and baselines on the same documents."""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd

from charlm.checksums import write_json
from charlm.errors import CharlmError
from charlm.evaluation.intervals import interval, resampled_bits
from charlm.evaluation.scores import HELD_OUT
from charlm.text.tables import read_table


class Difference(TypedDict):
    """How much two systems differ."""

    better: str
    worse: str
    bits_per_character: float
    """The score of the worse system minus that of the better one."""
    interval: list[float] | None
    """The bounds of the 95 % bootstrap interval; None for fewer than two documents."""


class SeedSpread(TypedDict):
    """The spread of the scores of one model over its seeds."""

    name: str
    seeds: int
    """The number of seeds."""
    bits_per_character: float
    """The mean."""
    standard_deviation: float
    """The sample standard deviation."""


class SplitComparison(TypedDict):
    """The comparison of all systems on one split."""

    documents: int
    """The number of documents that are not empty."""
    differences: list[Difference]
    seeds: list[SeedSpread]


class Comparison(TypedDict):
    """The content of `comparison.json`; that of an empty split is None."""

    validation: SplitComparison | None
    test: SplitComparison | None


def compare(
    baseline_scores: str | Path,
    document_scores: Sequence[str | Path],
    comparison: str | Path,
    *,
    models: Sequence[str],
) -> None:
    """Write the difference between every two models or baselines, with its interval.

    Args:
        baseline_scores: The baselines' scores by document.
        document_scores: Each model's scores by document.
        comparison: The JSON file to write; see `Comparison`.
        models: The models' names, in the order of their scores.

    Raises:
        CharlmError: Two systems were scored on different documents or have the same name.
    """
    tables = {
        name: read_table(path).to_pandas()
        for name, path in zip(models, document_scores, strict=True)
    }
    for name, table in read_table(baseline_scores).to_pandas().groupby("baseline", sort=False):
        if name in tables:
            raise CharlmError(f"models.{name}: a baseline has this name; rename the model")
        tables[str(name)] = table.drop(columns="baseline")
    record = {split: _compare_on(split, tables) for split in HELD_OUT}
    write_json(comparison, record)


def _compare_on(split: str, tables: Mapping[str, pd.DataFrame]) -> SplitComparison | None:
    scores = {
        name: table[table["split"] == split].set_index("doc_id") for name, table in tables.items()
    }
    names = list(scores)
    characters = scores[names[0]]["characters"]
    if not characters.any():
        return None
    for name, score in scores.items():
        if not score["characters"].equals(characters):
            raise CharlmError(
                f"{name}: its {split} documents are not those of {names[0]}; evaluate both again"
            )
    nats = np.stack(
        [score["bits_per_character"] * characters * math.log(2) for score in scores.values()], 1
    )
    bits = nats.sum(0) / characters.sum() / math.log(2)
    resampled = resampled_bits(nats, characters.to_numpy())
    order = np.argsort(bits, kind="stable").tolist()
    return {
        "documents": int((characters > 0).sum()),
        "differences": [
            {
                "better": names[low],
                "worse": names[high],
                "bits_per_character": float(bits[high] - bits[low]),
                "interval": interval(
                    None if resampled is None else resampled[:, high] - resampled[:, low]
                ),
            }
            for low, high in combinations(order, 2)
        ],
        "seeds": _seed_spreads(dict(zip(names, bits.tolist(), strict=True))),
    }


def _seed_spreads(bits: Mapping[str, float]) -> list[SeedSpread]:
    """Return the spread of each model trained with several seeds, from the bits of `NAME.seedN`."""
    models: dict[str, list[float]] = {}
    for trained, score in bits.items():
        name, separator, _ = trained.partition(".seed")
        if separator:
            models.setdefault(name, []).append(score)
    return [
        {
            "name": name,
            "seeds": len(scores),
            "bits_per_character": statistics.fmean(scores),
            "standard_deviation": statistics.stdev(scores),
        }
        for name, scores in models.items()
    ]

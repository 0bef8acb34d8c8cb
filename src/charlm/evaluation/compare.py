"""How far models and baselines are apart, on the same documents."""

import json
import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from charlm.errors import CharlmError
from charlm.evaluation.evaluate import HELD_OUT
from charlm.evaluation.intervals import interval, resampled_bits
from charlm.files import write_text


def compare(
    baseline_scores: str | Path,
    document_scores: Sequence[str | Path],
    comparison: str | Path,
    *,
    models: Sequence[str],
) -> None:
    """Write the difference of each two of all models and baselines, with its interval.

    Args:
        baseline_scores: The baselines' scores by document.
        document_scores: Each model's scores by document.
        comparison: The JSON file to write: for each split the number of `documents`;
            `differences`, each with `better`, `worse`, `bits_per_character` (the second less the
            first) and the `interval` of that; and `seeds`, for each model that was trained with
            several of them its `name`, how many `seeds`, the mean of their `bits_per_character`
            and its `standard_deviation` (that of a sample). Null for an empty split.
        models: The models' names, in the order of their scores.

    Raises:
        CharlmError: Two systems were not scored on the same documents, or share a name.
    """
    tables = {
        name: pq.read_table(path).to_pandas()
        for name, path in zip(models, document_scores, strict=True)
    }
    for name, table in pq.read_table(baseline_scores).to_pandas().groupby("baseline", sort=False):
        if name in tables:
            raise CharlmError(f"models.{name}: a baseline has this name; rename the model")
        tables[str(name)] = table.drop(columns="baseline")
    record = {split: _compare(tables, split) for split in HELD_OUT}
    write_text(comparison, json.dumps(record, indent=1) + "\n")


def _compare(tables: dict[str, Any], split: str) -> dict[str, Any] | None:
    scores = {
        name: table[table["split"] == split].set_index("doc_id") for name, table in tables.items()
    }
    characters = next(iter(scores.values()))["characters"]
    if not characters.any():
        return None
    for name, score in scores.items():
        if not score["characters"].equals(characters):
            raise CharlmError(
                f"{name}: its {split} documents are not those of {next(iter(scores))}; "
                "evaluate both again"
            )
    nats = np.stack(
        [score["bits_per_character"] * characters * math.log(2) for score in scores.values()], 1
    )
    bits = nats.sum(0) / characters.sum() / math.log(2)
    resampled = resampled_bits(nats, characters.to_numpy())
    order = np.argsort(bits, kind="stable").tolist()
    names = list(scores)
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
        "seeds": _spread(dict(zip(names, bits.tolist(), strict=True))),
    }


def _spread(bits: dict[str, float]) -> list[dict[str, Any]]:
    """Return mean and spread over the seeds of each model, from the bits of `NAME.seedN`."""
    models: dict[str, list[float]] = {}
    for trained, score in bits.items():
        name, of_several, _ = trained.partition(".seed")
        if of_several:
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

"""Scores: how many bits of surprise a character of held-out text costs a model.

Every score is per code point of the cleaned text. Predicting the end of a document is not counted,
and an unknown character costs the unknown symbol's probability shared evenly among all code points
that the vocabulary lacks.
"""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.evaluation.diagnostics import diagnose
from charlm.evaluation.intervals import interval, resampled_bits
from charlm.files import atomic, write_text
from charlm.model.devices import choose_device
from charlm.model.network import load_model, read_description
from charlm.model.scoring import predictions
from charlm.text.tokens import TokenSplit

log = logging.getLogger(__name__)

HELD_OUT = ("validation", "test")


def by_document(values: Sequence[npt.NDArray[Any]], split: TokenSplit) -> list[npt.NDArray[Any]]:
    """Return the values of each document's symbols, from those of each of the split's texts."""
    return split.by_document(values[0]) if split.one_stream else list(values)


def document_nats(
    costs: Sequence[npt.NDArray[np.float32]], split: TokenSplit, unknown_nats: float
) -> npt.NDArray[np.float64]:
    """Return the nats of each document of a split, from those of its symbols.

    Args:
        costs: The nats of the symbols of each of the split's texts.
        split: The encoded split.
        unknown_nats: Nats that an unknown character costs beyond the unknown symbol.
    """
    nats = [cost.sum(dtype=np.float64) for cost in by_document(costs, split)]
    return np.array(nats, np.float64) + split.documents["unknown_characters"] * unknown_nats


def score_record(nats: npt.NDArray[np.float64], split: TokenSplit) -> dict[str, Any] | None:
    """Return the score of a split as the metrics hold it; None where the split is empty.

    Args:
        nats: Nats of each document, shape (documents,).
        split: The encoded split.
    """
    characters = split.documents["characters"]
    total = int(characters.sum())
    if not total:
        return None
    per_character = math.fsum(nats) / total
    return {
        "nats_per_character": per_character,
        "bits_per_character": per_character / math.log(2),
        "bits_per_character_interval": interval(resampled_bits(nats[:, None], characters)),
        "characters": total,
    }


def score_table(nats: npt.NDArray[np.float64], split: TokenSplit, name: str) -> pa.Table:
    """Return the score of each document of the split `name`, from the nats of each."""
    characters = split.documents["characters"]
    return pa.table(
        {
            "doc_id": pa.array(split.documents["doc_id"], pa.int64()),
            "split": pa.array([name] * len(characters), pa.string()),
            "characters": pa.array(characters, pa.int64()),
            "bits_per_character": nats / np.maximum(characters, 1) / math.log(2),
        }
    )


def evaluate(
    model_folder: str | Path,
    tokens: str | Path,
    metrics: str | Path,
    document_scores: str | Path,
    diagnostics: str | Path,
    *,
    device: str = "auto",
) -> None:
    """Score a trained model on the held-out splits: in all, by document, and where it goes wrong.

    Args:
        model_folder: The folder of the trained model.
        tokens: The folder of encoded splits.
        metrics: The JSON file to write, with the scores of both splits.
        document_scores: The Parquet file to write: doc_id, split, characters, bits_per_character.
        diagnostics: The JSON file to write: the loss by position and by class of character, and
            the calibration, of both splits; see `charlm.evaluation.diagnostics`.
        device: Where to compute.

    Raises:
        CharlmError: The model cannot be loaded.
    """
    chosen = choose_device(device, "training.device")
    model, vocabulary = load_model(model_folder, device=chosen)
    training = read_description(model_folder)["training"]
    record: dict[str, Any] = {}
    details: dict[str, Any] = {}
    tables = []
    for name in HELD_OUT:
        split = TokenSplit.load(tokens, name)
        found = predictions(model, split.texts, vocabulary.end_of_document)
        nats = document_nats([each["nats"] for each in found], split, vocabulary.unknown_nats)
        record[name] = score_record(nats, split)
        details[name] = None
        if record[name]:
            details[name] = diagnose(
                split.by_document(split.tokens), by_document(found, split), vocabulary
            )
            log.info("%s: %.4f bits per character", name, record[name]["bits_per_character"])
        tables.append(score_table(nats, split, name))
    record["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    record |= {key: training[key] for key in ("steps", "device", "engine", "precision")}
    with atomic(document_scores) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)
    write_text(diagnostics, json.dumps(details, indent=1) + "\n")
    write_text(metrics, json.dumps(record, indent=1) + "\n")

"""Score a trained model on the held-out splits."""

import logging
from pathlib import Path

import pyarrow as pa

from charlm.checksums import write_json
from charlm.evaluation.diagnostics import Diagnostics, diagnose
from charlm.evaluation.scores import (
    HELD_OUT,
    HeldOut,
    Score,
    Scores,
    by_document,
    document_nats,
    document_score_table,
    score_of_split,
)
from charlm.model.devices import choose_device
from charlm.model.scoring import predictions
from charlm.model.store import load_model, read_training
from charlm.settings import GateSplit
from charlm.text.tables import write_table
from charlm.text.tokens import TokenSplit

log = logging.getLogger(__name__)


class Metrics(Scores):
    """The content of `metrics.json`."""

    parameters: int
    steps: int
    device: str
    engine: str
    precision: str
    gate_learned_on: GateSplit | None
    """What the gate of a mixture learned on: the validation text is then no unseen text."""


def evaluate(
    model_folder: str | Path,
    tokens: str | Path,
    metrics: str | Path,
    document_scores: str | Path,
    diagnostics: str | Path,
    *,
    device: str = "auto",
) -> None:
    """Score a trained model on the held-out splits, in total and by document, and diagnose it.

    Args:
        model_folder: The folder of the trained model.
        tokens: The folder of encoded splits.
        metrics: The JSON file to write, with the scores of both splits; see `Metrics`.
        document_scores: The Parquet file to write: doc_id, split, characters, bits_per_character.
        diagnostics: The JSON file to write: the loss by position and by class of character, and
            the calibration, of both splits; see `charlm.evaluation.diagnostics`.
        device: Where to compute.

    Raises:
        CharlmError: The model cannot be loaded.
    """
    chosen = choose_device(device, "training.device")
    model, vocabulary = load_model(model_folder, device=chosen)
    training = read_training(model_folder)
    scores: dict[HeldOut, Score | None] = {}
    details: dict[HeldOut, Diagnostics | None] = {}
    tables = []
    for name in HELD_OUT:
        split = TokenSplit.load(tokens, name, vocabulary)
        found = predictions(model, split.texts, vocabulary.end_of_document)
        nats = document_nats([each["nats"] for each in found], split, vocabulary.unknown_nats)
        score = scores[name] = score_of_split(nats, split)
        details[name] = None
        if score:
            details[name] = diagnose(
                split.by_document(split.tokens), by_document(found, split), vocabulary
            )
            log.info("%s: %.4f bits per character", name, score["bits_per_character"])
        tables.append(document_score_table(nats, split, name))
    record: Metrics = {
        "validation": scores["validation"],
        "test": scores["test"],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": training["steps"],
        "device": training["device"],
        "engine": training["engine"],
        "precision": training["precision"],
        "gate_learned_on": training.get("gate_learned_on"),
    }
    write_table(document_scores, pa.concat_tables(tables))
    write_json(diagnostics, details)
    write_json(metrics, record)

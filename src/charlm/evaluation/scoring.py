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
import torch
from torch.nn import functional

from charlm.devices import choose_device
from charlm.files import atomic, write_text
from charlm.model import CharacterLanguageModel, load_model, read_description
from charlm.progress import progress
from charlm.text.tokens import TokenSplit

log = logging.getLogger(__name__)

WINDOW = 256
"""Symbols that are read at a time: bounds the memory, does not change the score."""

HELD_OUT = ("validation", "test")


@torch.no_grad()
def surprise(
    model: CharacterLanguageModel,
    texts: Sequence[npt.NDArray[Any]],
    start: int | None,
    batch_size: int = 64,
) -> list[npt.NDArray[np.float32]]:
    """Return the nats that each symbol of each text costs, every text read from a fresh state.

    Args:
        model: The model, in evaluation mode.
        texts: One-dimensional arrays of symbols.
        start: The symbol read before the first of a text (the end of the document before it);
            None to predict the first symbol from the zero state by the output layer alone.
        batch_size: Texts read side by side.

    Returns:
        For each text, in the order given, an array as long as it.
    """
    device = model.output.weight.device
    costs: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)] * len(texts)
    longest_first = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    total = sum(len(text) for text in texts)
    with progress(total, "scoring", unit="symbol") as bar:
        # Batches of one shape: a matrix product of few rows has other bits on other numbers of
        # threads.
        width = 1 if len(texts) == 1 else batch_size
        for first in range(0, len(texts), width):
            batch = longest_first[first : first + width]
            lengths = [len(texts[index]) for index in batch]
            padded = np.zeros((math.ceil(max(lengths) / WINDOW) * WINDOW, width), np.int64)
            for column, index in enumerate(batch):
                padded[: lengths[column], column] = texts[index]
                costs[index] = np.empty(lengths[column], np.float32)
            symbols = torch.from_numpy(padded).to(device)
            previous = torch.full((1, width), start or 0, device=device)
            state = None
            for begin in range(0, len(symbols), WINDOW):
                expected = symbols[begin : begin + WINDOW]
                if begin == 0 and start is None:
                    at_rest = symbols.new_zeros(1, width, model.hidden_size).float()
                    logits = model.predict(at_rest)
                    if len(expected) > 1:
                        following, state = model(expected[:-1])
                        logits = torch.cat([logits, following])
                else:
                    logits, state = model(torch.cat([previous, expected[:-1]]), state)
                previous = expected[-1:]
                nats = functional.cross_entropy(
                    logits.flatten(0, 1), expected.flatten(), reduction="none"
                )
                window = nats.view(expected.shape).cpu().numpy()
                for column, index in enumerate(batch):
                    rest = lengths[column] - begin
                    if rest > 0:
                        costs[index][begin : begin + WINDOW] = window[:rest, column]
            bar.update(sum(lengths))
    return costs


def document_nats(
    costs: Sequence[npt.NDArray[np.float32]], split: TokenSplit, unknown_nats: float
) -> npt.NDArray[np.float64]:
    """Return the nats of each document of a split, from those of its symbols.

    Args:
        costs: An array for each document, or a single one for the split as one stream.
        split: The encoded split.
        unknown_nats: Nats that an unknown character costs beyond the unknown symbol.
    """
    documents = split.documents
    if len(costs) == 1:
        costs = [
            costs[0][start : start + length]
            for start, length in zip(documents["start"], documents["tokens"], strict=True)
        ]
    nats = np.array([cost.sum(dtype=np.float64) for cost in costs], np.float64)
    nats += documents["unknown_characters"] * unknown_nats
    return nats


def split_texts(split: TokenSplit, one_stream: bool) -> list[npt.NDArray[Any]]:
    """Return the texts to read from a fresh state: each document, or the whole split as one."""
    if one_stream:
        return [split.tokens]
    documents = split.documents
    return [
        split.tokens[start : start + length]
        for start, length in zip(documents["start"], documents["tokens"], strict=True)
    ]


def score_record(nats: npt.NDArray[np.float64], split: TokenSplit) -> dict[str, Any] | None:
    """Return the score of a split as the metrics hold it; None where the split is empty."""
    characters = int(split.documents["characters"].sum())
    if not characters:
        return None
    per_character = math.fsum(nats) / characters
    return {
        "nats_per_character": per_character,
        "bits_per_character": per_character / math.log(2),
        "characters": characters,
    }


def evaluate(
    model_folder: str | Path,
    tokens: str | Path,
    metrics: str | Path,
    document_scores: str | Path,
    *,
    one_stream: bool,
    device: str = "auto",
) -> None:
    """Score a trained model on the held-out splits and write `metrics.json` and each document's.

    Args:
        model_folder: The folder of the trained model.
        tokens: The folder of encoded splits.
        metrics: The JSON file to write.
        document_scores: The Parquet file to write: doc_id, split, characters, bits_per_character.
        one_stream: Read a split as one stream, as a contiguous split is; else the state starts
            afresh at each document.
        device: Where to compute.

    Raises:
        CharlmError: The model cannot be loaded.
    """
    model, vocabulary = load_model(model_folder, device=choose_device(device))
    training = read_description(model_folder)["training"]
    record: dict[str, Any] = {}
    tables = []
    for name in HELD_OUT:
        split = TokenSplit.load(tokens, name)
        costs = surprise(model, split_texts(split, one_stream), vocabulary.end_of_document)
        nats = document_nats(costs, split, vocabulary.unknown_nats)
        record[name] = score_record(nats, split)
        if record[name]:
            log.info("%s: %.4f bits per character", name, record[name]["bits_per_character"])
        characters = split.documents["characters"]
        tables.append(
            pa.table(
                {
                    "doc_id": pa.array(split.documents["doc_id"], pa.int64()),
                    "split": pa.array([name] * len(characters), pa.string()),
                    "characters": pa.array(characters, pa.int64()),
                    "bits_per_character": nats / np.maximum(characters, 1) / math.log(2),
                }
            )
        )
    record["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    record |= {key: training[key] for key in ("steps", "device", "engine", "precision")}
    with atomic(document_scores) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)
    write_text(metrics, json.dumps(record, indent=1) + "\n")


@torch.no_grad()
def validation_loss(
    model: CharacterLanguageModel,
    tokens: npt.NDArray[Any],
    *,
    ignored: int | None = None,
    batch_size: int = 32,
) -> float | None:
    """Return the mean nats a symbol over the whole of `tokens`, for the learning curve.

    The text is read in order, as `batch_size` streams side by side that carry their state on. The
    symbol `ignored` is read but its prediction not counted. None for fewer than two symbols.
    """
    if len(tokens) < 2:
        return None
    was_training = model.training
    model.eval()
    device = model.output.weight.device
    batch_size = min(batch_size, len(tokens) - 1)
    length = (len(tokens) - 1) // batch_size
    starts = np.arange(batch_size) * length
    total, count, state = 0.0, 0, None
    for begin in range(0, length, WINDOW):
        places = (begin + np.arange(min(WINDOW, length - begin) + 1))[:, None] + starts
        window = torch.from_numpy(tokens[places].astype(np.int64)).to(device)
        logits, state = model(window[:-1], state)
        expected = window[1:]
        nats = functional.cross_entropy(
            logits.flatten(0, 1), expected.flatten(), reduction="none"
        ).double()
        counted = (expected.flatten() != ignored) if ignored is not None else nats == nats
        total += float((nats * counted).sum())
        count += int(counted.sum())
    model.train(was_training)
    return total / max(1, count)

"""The learning curve is in bits per code point, whatever the vocabulary's unit."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.evaluation.evaluate import evaluate
from charlm.model.base import State
from charlm.model.ensemble import Network
from charlm.model.store import load_model
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.streams import Streams
from tests.training.small import new_trainer, run, settings, write_corpus

FAMILIES = "\U0001f468‍\U0001f469‍\U0001f467\U0001f468‍\U0001f469‍\U0001f466"
TRAIN = ["猫が座った。" * 20 + FAMILIES * 9 + "café 犬も座った。" * 15] * 3 + ["Ünïcödé!"]
VALIDATION = "犬が座った。猫も座った。鳥は?" * 6 + FAMILIES * 5 + "\U0001f469‍\U0001f692"
"""Some of its characters and one of its graphemes are unknown."""

FROZEN: dict[str, object] = {"learning_rate": 1e-12, "warmup_steps": 0, "precision": "float32"}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def bits_by_hand(text: str, vocabulary: Vocabulary, nats: float, symbols: int) -> float:
    """Return the bits per code point of `text`, of which each of `symbols` costs `nats`."""
    total = nats * symbols + vocabulary.count_unknown(text) * math.log(vocabulary.unseen or 1)
    return total / len(text) / math.log(2)


def test_nats_per_symbol_become_nats_per_code_point() -> None:
    documents = {"tokens": [6, 3], "characters": [2, 2], "unknown_characters": [1, 0]}
    columns = {name: np.array(values) for name, values in documents.items()}
    split = TokenSplit(np.zeros(11, np.uint8), columns)
    assert split.per_character(2.0, 5.0) == (9 * 2.0 + 5.0) / 4
    empty = TokenSplit(np.zeros(1, np.uint8), {name: np.array([0]) for name in documents})
    assert empty.per_character(2.0, 5.0) is None


@pytest.mark.parametrize("unit", ["character", "grapheme", "byte"])
def test_the_validation_column_is_the_score_of_the_weights(tmp_path: Path, unit: str) -> None:
    write_corpus(tmp_path, TRAIN, VALIDATION, unit=unit)
    made = run(tmp_path, "m", settings(steps=30, learning_rate=0.02, precision="float32"))
    curve = float(rows(made)[-1]["validation_bits_per_character"])

    model, vocabulary = load_model(made)
    symbols = torch.from_numpy(vocabulary.encode(VALIDATION).astype(np.int64))
    assert 64 < len(symbols) < 512, "it is read as one stream"
    with torch.no_grad():
        logits, _ = model(symbols[:-1, None])
    nats = -logits[:, 0].log_softmax(-1).gather(1, symbols[1:, None]).mean().item()
    assert (vocabulary.count_unknown(VALIDATION) > 0) == (unit != "byte")
    expected = bits_by_hand(VALIDATION, vocabulary, nats, len(symbols))
    assert curve == pytest.approx(expected, abs=2e-5)

    names = ("metrics.json", "document_scores.parquet", "diagnostics.json")
    evaluate(made, tmp_path / "tokens", *(tmp_path / name for name in names), one_stream=False)
    score = json.loads((tmp_path / "metrics.json").read_text())["validation"]
    assert curve == pytest.approx(score["bits_per_character"], rel=0.02)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("unit", ["character", "grapheme", "byte"])
def test_the_training_column_is_the_score_of_the_text_that_was_read(
    tmp_path: Path, unit: str, members: int
) -> None:
    write_corpus(tmp_path, TRAIN, VALIDATION, unit=unit, min_count=1 if unit == "byte" else 9)
    tokens = np.load(tmp_path / "tokens/train.npy")
    streams = Streams(tokens, batch_size=3, sequence_length=20, seed=0)
    half = streams.steps_per_epoch // 2
    how = {"steps": 2 * half, "batch_size": 3, "sequence_length": 20, "validate_every": half}
    made = run(tmp_path, "m", settings(members=members, **how, **FROZEN))

    model, vocabulary = load_model(made)
    assert isinstance(model, Network)
    nats: tuple[list[float], ...] = ([], [])
    for network in model.members:
        state: State | None = None
        for step in range(2 * half):
            read, following, _ = streams.window(step)
            with torch.no_grad():
                logits, state = network(read, state)
            each = -logits.log_softmax(-1).gather(-1, following[..., None])[..., 0]
            nats[step // half].extend(each[following != vocabulary.end_of_document].tolist())
    assert sum(map(len, nats)) < 2 * half * 60 * members, "there are ends of documents"
    text = "".join(TRAIN)
    assert (vocabulary.count_unknown(text) > 0) == (unit != "byte")
    symbols = int((tokens != vocabulary.end_of_document).sum())
    for row, part in zip(rows(made), nats, strict=True):
        expected = bits_by_hand(text, vocabulary, float(np.mean(part)), symbols)
        assert float(row["train_bits_per_character"]) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("unit", ["character", "grapheme", "byte"])
def test_what_was_read_is_counted_in_code_points(tmp_path: Path, unit: str) -> None:
    write_corpus(tmp_path, TRAIN, VALIDATION, unit=unit)
    how = settings(steps=12, batch_size=3, sequence_length=20, validate_every=4, **FROZEN)
    made = run(tmp_path, "m", how)
    share = len("".join(TRAIN)) / len(np.load(tmp_path / "tokens/train.npy"))
    read = [int(row["characters"]) for row in rows(made)]
    assert read == [round(steps * 3 * 20 * share) for steps in (4, 8, 12)]
    timing = json.loads((made / "timing.json").read_text())
    speed = read[-1] / timing["seconds"]
    assert timing["characters_per_second"] == pytest.approx(speed, rel=0.05, abs=1)

    trainer = new_trainer(tmp_path, how)
    assert trainer.total_characters == pytest.approx(read[-1], abs=1)
    for _ in range(4):
        trainer.advance()
    assert trainer.shown_loss == f"{rows(made)[0]['train_bits_per_character']} bits per character"

"""Every number that `evaluate` writes, computed from its definition."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from charlm.cli import main
from charlm.evaluation.evaluate import evaluate
from charlm.model.network import CharacterLanguageModel
from charlm.model.store import load_model, save_model
from charlm.settings import Architecture
from charlm.text.build_vocabulary import build_vocabulary
from charlm.text.encode import encode
from charlm.text.vocabulary import Vocabulary
from tests.evaluation.test_intervals import percentile_bootstrap
from tests.model.test_scoring import one_by_one

TEXTS = {
    "train": ["a bad cab.", "face a cafe"],
    # "é" and "漢" are unknown; a document may be empty.
    "validation": ["a cafe", "bé漢d ab", "fab"],
    "test": ["bad face, é", "", "dé", "a", "cab cab cab cab"],
}
CODE_POINTS = 1_112_064


def write_corpus(folder: Path, one_stream: bool = False, **options: Any) -> Vocabulary:
    """Write the corpus of TEXTS, its vocabulary and its tokens."""
    rows = [(split, text) for split, texts in TEXTS.items() for text in texts]
    splits, texts = zip(*rows, strict=True)
    table = {"doc_id": range(len(rows)), "split": splits, "text": texts}
    continues = [False] * len(rows)
    pq.write_table(pa.table({**table, "continues": continues}), folder / "corpus.parquet")
    build_vocabulary(folder / "corpus.parquet", folder / "vocabulary.json", **options)
    places = (folder / name for name in ("corpus.parquet", "vocabulary.json", "tokens"))
    encode(*places, one_stream=one_stream)
    return Vocabulary.load(folder / "vocabulary.json")


TRAINING = {
    **{"steps": 321, "device": "cuda", "engine": "fused", "precision": "bfloat16"},
    "gate_learned_on": "validation",
}


def write_model(folder: Path, vocabulary: Vocabulary) -> CharacterLanguageModel:
    torch.manual_seed(0)
    architecture = Architecture(cell="gru", hidden_size=6, embedding_size=4)
    model = CharacterLanguageModel(len(vocabulary), architecture)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    save_model(folder, model, vocabulary=vocabulary, architecture=architecture, training=TRAINING)
    return model.eval()


def expected_nats(
    model: CharacterLanguageModel, vocabulary: Vocabulary, texts: list[str], one_stream: bool
) -> list[float]:
    """Return the nats of each document, read symbol by symbol."""
    known = {symbol for symbol in vocabulary.symbols if len(symbol) == 1}
    unseen = 0 if vocabulary.unit == "byte" else CODE_POINTS - len(known)
    documents = [vocabulary.encode(text).tolist() for text in texts]
    end = vocabulary.end_of_document
    if one_stream:
        stream = [
            symbol for document in documents for symbol in [*document, *([end] * (end is not None))]
        ]
        costs, _ = one_by_one(model, np.array(stream), end)
    nats = []
    for text, document in zip(texts, documents, strict=True):
        if one_stream:
            own, costs = costs[: len(document)], costs[len(document) + (end is not None) :]
        else:
            own, _ = one_by_one(model, np.array(document, np.int64), end)
        unknown = 0 if not unseen else sum(character not in known for character in text)
        nats.append(sum(own) + unknown * math.log(max(unseen, 1)))
    return nats


@pytest.mark.parametrize("one_stream", [False, True])
@pytest.mark.parametrize("unit", ["character", "byte"])
def test_every_score_is_the_mean_cost_of_its_characters(
    tmp_path: Path, unit: str, one_stream: bool
) -> None:
    end_of_document = unit == "byte" or not one_stream
    vocabulary = write_corpus(tmp_path, one_stream, unit=unit, end_of_document=end_of_document)
    model = write_model(tmp_path / "gru", vocabulary)
    metrics, table = tmp_path / "metrics.json", tmp_path / "scores.parquet"
    evaluate(
        tmp_path / "gru",
        tmp_path / "tokens",
        metrics,
        table,
        tmp_path / "diagnostics.json",
        device="cpu",
    )
    record = json.loads(metrics.read_text())
    rows = []
    for split, first in (("validation", 2), ("test", 5)):
        texts = TEXTS[split]
        nats = expected_nats(model, vocabulary, texts, one_stream)
        characters = [len(text) for text in texts]
        held = [place for place, length in enumerate(characters) if length]
        bounds = percentile_bootstrap(np.array(nats)[held], np.array(characters)[held])
        total = sum(nats) / sum(characters)
        assert record[split] == {
            "nats_per_character": pytest.approx(total, rel=1e-5),
            "bits_per_character": pytest.approx(total / math.log(2), rel=1e-5),
            "bits_per_character_interval": pytest.approx(bounds, rel=1e-5),
            "characters": sum(characters),
        }
        for number, (each, length) in enumerate(zip(nats, characters, strict=True)):
            bits = each / length / math.log(2) if length else 0
            rows.append((first + number, split, length, pytest.approx(bits, rel=1e-5)))
    embedding, output = 4 * len(vocabulary), 7 * len(vocabulary)
    assert record["parameters"] == embedding + 3 * 6 * (4 + 6 + 2) + output
    assert {key: record[key] for key in TRAINING} == TRAINING
    names = ("doc_id", "split", "characters", "bits_per_character")
    found = pq.read_table(table)
    assert tuple(found.column_names) == names
    assert list(zip(*(found[name].to_pylist() for name in names), strict=True)) == rows


def test_the_diagnostics_are_those_of_each_split(tmp_path: Path) -> None:
    vocabulary = write_corpus(tmp_path)
    model = write_model(tmp_path / "gru", vocabulary)
    output = tmp_path / "diagnostics.json"
    evaluate(
        tmp_path / "gru",
        tmp_path / "tokens",
        tmp_path / "metrics.json",
        tmp_path / "scores.parquet",
        output,
        device="cpu",
    )
    record = json.loads(output.read_text())
    for split in ("validation", "test"):
        bits: dict[int, list[float]] = {}
        classes: dict[str, list[float]] = {}
        confidences: list[tuple[float, bool]] = []
        for text in TEXTS[split]:
            symbols = vocabulary.encode(text)
            nats, likeliest = one_by_one(model, symbols, vocabulary.end_of_document)
            previous = ""
            for place, (character, cost) in enumerate(zip(text, nats, strict=True)):
                bits.setdefault(place.bit_length(), []).append(cost / math.log(2))
                known = character in vocabulary.symbols
                kind = "other"
                if not known:
                    kind = "unknown character"
                elif character == " ":
                    kind = "space"
                elif character in ".,":
                    kind = "punctuation mark"
                elif previous.isalpha() and previous in vocabulary.symbols:
                    kind = "letter within a word"
                else:
                    kind = "first letter of a word"
                classes.setdefault(kind, []).append(cost / math.log(2))
                previous = character
            confidences += [
                (high, symbol == right)
                for (high, symbol), right in zip(likeliest, symbols.tolist(), strict=True)
            ]
        assert {each["from"]: each["symbols"] for each in record[split]["position"]} == {
            2**octave // 2: len(costs) for octave, costs in bits.items()
        }
        for each in record[split]["position"]:
            octave = (each["to"] - 1).bit_length()
            assert each["bits_per_symbol"] == pytest.approx(np.mean(bits[octave]), rel=1e-5)
        assert {each["class"]: each for each in record[split]["class"]} == {
            name: {
                "class": name,
                "symbols": len(costs),
                "bits_per_symbol": pytest.approx(np.mean(costs), rel=1e-5),
            }
            for name, costs in classes.items()
        }
        bins: dict[int, list[tuple[float, bool]]] = {}
        for high, right in confidences:
            bins.setdefault(min(int(high * 15), 14), []).append((high, right))
        error = sum(
            abs(sum(high for high, _ in each) - sum(right for _, right in each))
            for each in bins.values()
        )
        calibration = record[split]["calibration"]
        assert calibration["expected_calibration_error"] == pytest.approx(
            error / len(confidences), rel=1e-4
        )
        assert [each["symbols"] for each in calibration["bins"]] == [
            len(bins[number]) for number in sorted(bins)
        ]


def test_an_empty_split_has_no_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEXTS, "validation", [""])
    vocabulary = write_corpus(tmp_path)
    write_model(tmp_path / "gru", vocabulary)
    files = [tmp_path / name for name in ("metrics.json", "scores.parquet", "diagnostics.json")]
    evaluate(tmp_path / "gru", tmp_path / "tokens", *files, device="cpu")
    for file in (files[0], files[2]):
        record = json.loads(file.read_text())
        assert record["validation"] is None
        assert record["test"]
    assert pq.read_table(files[1])["split"].to_pylist() == ["validation", *["test"] * 5]


def test_the_command_prints_bits_per_character_and_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocabulary = write_corpus(tmp_path)
    write_model(tmp_path / "gru", vocabulary)
    model, _ = load_model(tmp_path / "gru")
    assert isinstance(model, CharacterLanguageModel)
    text = "bé漢d ab"
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    assert main(["score", str(tmp_path / "gru"), str(tmp_path / "text.txt")]) == 0
    (nats,) = expected_nats(model.eval(), vocabulary, [text], one_stream=False)
    bits, characters, name = capsys.readouterr().out.rstrip("\n").split("\t")
    assert float(bits) == pytest.approx(nats / len(text) / math.log(2), abs=1e-4)
    assert (characters, name) == ("7", str(tmp_path / "text.txt"))

"""The model card: a header that is YAML, and the scores that the files hold."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from charlm.model.card import write_model_card

VOCABULARY = {"unit": "character", "symbols": [*"abc"], "counts": [1, 1, 1], "special": {}}
TRAINED = {"parameters": 1234, "steps": 20, "device": "cpu", "precision": "float32"}


def score(bits: float, interval: list[float] | None = None) -> dict[str, Any]:
    return {"bits_per_character": bits, "bits_per_character_interval": interval}


@pytest.mark.parametrize("validation", [score(2.1, [2.0, 2.25]), None])
def test_the_card_tells_the_models_scores(
    tmp_path: Path, validation: dict[str, Any] | None
) -> None:
    folder = tmp_path / "gru"
    folder.mkdir()
    architecture = {"cell": "gru", "num_layers": 2, "hidden_size": "vocabulary"}
    if not validation:
        architecture |= {"ngram_order": 8, "ngram_weight": 0.3}
    description = {"format": 1, "architecture": architecture, "vocabulary": VOCABULARY}
    (folder / "model.json").write_text(json.dumps(description))
    metrics = {"validation": validation, "test": score(2.2), **TRAINED}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    baselines = {"ngram": {"order": 5, "validation": validation, "test": score(2.5)}}
    (tmp_path / "baselines.json").write_text(json.dumps(baselines))
    card = folder / "README.md"
    write_model_card(
        folder, folder / "metrics.json", tmp_path / "baselines.json", card, corpus="tiny"
    )

    _, header, text = card.read_text(encoding="utf-8").split("---\n", 2)
    metadata = yaml.safe_load(header)
    assert metadata["pipeline_tag"] == "text-generation"
    (index,) = metadata["model-index"]
    assert index["name"] == "gru"
    results = {each["dataset"]["split"]: each["metrics"][0]["value"] for each in index["results"]}
    assert results == ({"validation": 2.1, "test": 2.2} if validation else {"test": 2.2})
    shown = "2.100 (2.000 to 2.250)" if validation else "–"
    assert f"| gru | {shown} | 2.200 |\n| 5-gram | {shown} | 2.500 |" in text
    averaged = "" if validation else ", averaged with the 8-gram model of the training text (0.3)"
    assert f"2 × GRU, 3 hidden units{averaged}, 1,234 parameters" in text


def test_every_number_of_the_card(tmp_path: Path) -> None:
    folder = tmp_path / "lstm"
    folder.mkdir()
    architecture = {"cell": "lstm", "num_layers": 3, "hidden_size": 1024, "members": 2}
    vocabulary = {"unit": "grapheme", "symbols": [*"abcd"] * 300, "counts": [], "special": {}}
    description = {"format": 1, "architecture": architecture, "vocabulary": vocabulary}
    (folder / "model.json").write_text(json.dumps(description))
    metrics = {
        "validation": score(1.87654321, [1.81, 1.9249]),
        "test": score(1.91239999, [1.8514, 2.0]),
        **{"parameters": 12345678, "steps": 54321, "device": "cuda", "precision": "bfloat16"},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    baselines = {
        "ngram": {"order": 5, "validation": score(2.1), "test": score(2.2)},
        "ngram_chosen": {"order": 9, "validation": score(2.3, [2.25, 2.35]), "test": None},
        "xz": {"validation": score(3.1), "test": score(3.2)},
    }
    (tmp_path / "baselines.json").write_text(json.dumps(baselines))
    card = folder / "README.md"
    write_model_card(
        folder, folder / "metrics.json", tmp_path / "baselines.json", card, corpus="tiny"
    )

    _, header, text = card.read_text(encoding="utf-8").split("---\n", 2)
    (index,) = yaml.safe_load(header)["model-index"]
    values = [(each["dataset"]["split"], each["metrics"][0]["value"]) for each in index["results"]]
    assert values == [("validation", 1.8765), ("test", 1.9124)]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    network = "an ensemble of 2, each 3 × LSTM, 1024 hidden units"
    assert rows == [
        "| | |",
        "| --- | --- |",
        f"| architecture | {network}, 12,345,678 parameters |",
        "| symbols | 1,200 (graphemes) |",
        "| training | 54,321 steps, cuda, bfloat16 |",
        "| | validation | test |",
        "| --- | --- | --- |",
        "| lstm | 1.877 (1.810 to 1.925) | 1.912 (1.851 to 2.000) |",
        "| 5-gram | 2.100 | 2.200 |",
        "| 9-gram | 2.300 (2.250 to 2.350) | – |",
        "| xz | 3.100 | 3.200 |",
    ]

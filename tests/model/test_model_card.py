"""The model card: a valid metadata header, and the scores from the files."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from charlm.checksums import write_json
from charlm.model.model_card import Metrics, Score, write_model_card
from charlm.settings import Architecture


def score(bits: float, interval: list[float] | None = None) -> Score:
    return {"bits_per_character": bits, "bits_per_character_interval": interval}


BASELINES = {"ngram": {"order": 5, "validation": None, "test": score(2.5)}}


def write_card(
    folder: Path,
    architecture: Architecture,
    symbols: list[str],
    unit: str,
    metrics: Metrics,
    baselines: Mapping[str, object],
) -> tuple[Any, str]:
    """Write the files of a model and its card; return the card's header and text."""
    folder.mkdir()
    vocabulary = {
        "unit": unit,
        "symbols": symbols,
        "counts": [1] * len(symbols),
        "special": {"unknown": None, "end_of_document": None},
    }
    description = {
        "format": 1,
        "architecture": asdict(architecture),
        "training": {},
        "vocabulary": vocabulary,
    }
    (folder / "model.json").write_text(json.dumps(description))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "baselines.json").write_text(json.dumps(baselines))
    write_model_card(
        folder,
        folder / "metrics.json",
        folder / "baselines.json",
        folder / "README.md",
        corpus="tiny",
    )
    _, header, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), text


@pytest.mark.parametrize("validation", [score(2.1, [2.0, 2.25]), None])
def test_an_empty_split_has_no_score(tmp_path: Path, validation: Score | None) -> None:
    header, text = write_card(
        tmp_path / "gru",
        Architecture(cell="gru", num_layers=2, hidden_size="vocabulary", mixture=None),
        [*"abc"],
        "character",
        {
            "validation": validation,
            "test": score(2.2),
            "parameters": 1234,
            "steps": 20,
            "device": "cpu",
            "precision": "float32",
            "gate_learned_on": None,
        },
        {"ngram": {"order": 5, "validation": validation, "test": score(2.5)}},
    )
    assert header["pipeline_tag"] == "text-generation"
    (index,) = header["model-index"]
    assert index["name"] == "gru"
    results = {each["dataset"]["split"]: each["metrics"][0]["value"] for each in index["results"]}
    assert results == ({"validation": 2.1, "test": 2.2} if validation else {"test": 2.2})
    shown = "2.100 (2.000 to 2.250)" if validation else "–"
    assert f"| gru | {shown} | 2.200 |\n| 5-gram | {shown} | 2.500 |" in text
    assert "The strongest baseline on the test split is 5-gram." in text
    assert "in-sample" not in text
    assert "2 × GRU, 3 hidden units, 1,234 parameters" in text


def test_the_card_shows_all_numbers(tmp_path: Path) -> None:
    header, text = write_card(
        tmp_path / "lstm",
        Architecture(num_layers=3, hidden_size=1024, members=2),
        [*"abcd"] * 300,
        "grapheme",
        {
            "validation": score(1.87654321, [1.81, 1.9249]),
            "test": score(1.91239999, [1.8514, 2.0]),
            "parameters": 12345678,
            "steps": 54321,
            "device": "cuda",
            "precision": "bfloat16",
            "gate_learned_on": "validation",
        },
        {
            "ngram": {"order": 5, "validation": score(2.1), "test": score(2.2)},
            "kneser_ney": {"order": 9, "validation": score(2.0, [1.95, 2.05]), "test": None},
            "ppmd": {"order": 7, "validation": score(2.05), "test": score(2.15)},
            "xz": {"validation": score(3.1), "test": score(3.2)},
        },
    )
    assert "The strongest baseline on the test split is PPMd, order 7 (adapts)." in text
    assert "learned on the validation text, so the validation score is in-sample" in text
    (index,) = header["model-index"]
    values = [(each["dataset"]["split"], each["metrics"][0]["value"]) for each in index["results"]]
    assert values == [("validation", 1.8765), ("test", 1.9124)]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    network = (
        "an ensemble of 2, each 3 × LSTM, 1024 hidden units, "
        "in a gated mixture with the n-grams of its training text up to n = 10, "
        "with experts of words"
    )
    assert rows == [
        "| | |",
        "| --- | --- |",
        f"| architecture | {network}, 12,345,678 parameters |",
        "| vocabulary | 1,200 symbols (graphemes) |",
        "| training | 54,321 steps, cuda, bfloat16 |",
        "| | validation | test |",
        "| --- | --- | --- |",
        "| lstm | 1.877 (1.810 to 1.925) | 1.912 (1.851 to 2.000) |",
        "| 5-gram | 2.100 | 2.200 |",
        "| Kneser-Ney, order 9 | 2.000 (1.950 to 2.050) | – |",
        "| PPMd, order 7 (adapts) | 2.050 | 2.150 |",
        "| xz (adapts) | 3.100 | 3.200 |",
    ]


def test_the_card_states_what_the_configuration_states(tmp_path: Path) -> None:
    scores = {"validation": None, "test": score(2.2), "parameters": 1, "steps": 2}
    metrics: Any = scores | {"device": "cpu", "precision": "float32", "gate_learned_on": None}
    header, text = write_card(
        tmp_path / "gru", Architecture(), [*"abc"], "character", metrics, BASELINES
    )
    assert not {"license", "language", "datasets", "widget"} & set(header)
    write_model_card(
        tmp_path / "gru",
        tmp_path / "gru/metrics.json",
        tmp_path / "gru/baselines.json",
        tmp_path / "gru/README.md",
        corpus="tiny",
        prompts=["", "The film "],
        license="mit",
        languages=["en", "de"],
        dataset="imdb",
        description="Film reviews.\n",
    )
    _, stated, text = (tmp_path / "gru/README.md").read_text(encoding="utf-8").split("---\n", 2)
    header = yaml.safe_load(stated)
    assert header["license"] == "mit"
    assert header["language"] == ["en", "de"]
    assert header["datasets"] == ["imdb"]
    assert header["widget"] == [{"text": "The film "}]
    (index,) = header["model-index"]
    assert index["results"][0]["dataset"]["name"] == "imdb"
    assert "on the corpus `tiny`.\n\nFilm reviews.\n\n| | |" in text


def test_the_card_says_what_an_audit_found(tmp_path: Path) -> None:
    scores = {"validation": None, "test": score(2.2), "parameters": 1, "steps": 2}
    metrics: Any = scores | {"device": "cpu", "precision": "float32", "gate_learned_on": None}
    folder = tmp_path / "gru"
    _, text = write_card(folder, Architecture(), [*"abc"], "character", metrics, BASELINES)
    assert "Measured" not in text
    kinds = {"training": 13, "held_out": 7}
    audit = {
        "prefix": 50,
        "secret": 40,
        "extraction": {
            kind: {
                "model": {"passages": 200, "extracted": extracted, "mean_length": 9.5},
                "ngram": {"passages": 200, "extracted": 99, "mean_length": 9.5},
            }
            for kind, extracted in kinds.items()
        },
        "membership": {"auc": 0.6125, "auc_interval": [0.5, 0.75]},
        "exposure": {"canaries": 2, "bits": [1.5, 6.5], "most": 10.0},
    }
    write_json(folder / "audit.json", audit)
    files = (folder / name for name in ("metrics.json", "baselines.json", "README.md"))
    write_model_card(folder, *files, corpus="tiny")
    found = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    assert found.endswith(
        "Measured: given 50 characters of a passage of the training text, the model continues 13 "
        "of 200 passages word for word for 40 characters, and 7 of 200 passages that it has not "
        "read. A training document scores better than another one with probability 0.613 (chance "
        "is 0.5; 95 % interval 0.500 to 0.750). The exposure of 2 canaries is 4.0 of 10 bits on "
        "average (chance is 1.4)."
    )

"""Systems are compared on the same documents."""

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from charlm.errors import CharlmError
from charlm.evaluation.compare import compare
from tests.evaluation.test_intervals import percentile_bootstrap

CHARACTERS = np.random.default_rng(0).integers(10, 900, 50)


def write_scores(
    path: Path, bits: npt.NDArray[np.float64], ids: range = range(50), **columns: object
) -> Path:
    scores = {**columns, "doc_id": list(ids), "split": ["test"] * 50}
    pq.write_table(pa.table({**scores, "characters": CHARACTERS, "bits_per_character": bits}), path)
    return path


def test_every_two_systems_are_compared_with_the_better_first(tmp_path: Path) -> None:
    bits = np.random.default_rng(1).normal(2, 0.4, 50)
    files = [
        write_scores(tmp_path / "lstm", bits + 0.02),
        write_scores(tmp_path / "gru", bits),
    ]
    baseline = write_scores(tmp_path / "baselines", bits[::-1] + 0.5, baseline=["ngram"] * 50)
    compare(baseline, files, tmp_path / "comparison.json", models=["lstm", "gru"])
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert record["validation"] is None
    assert record["test"]["documents"] == 50
    differences = {(each["better"], each["worse"]): each for each in record["test"]["differences"]}
    assert set(differences) == {("gru", "lstm"), ("gru", "ngram"), ("lstm", "ngram")}
    near = differences["gru", "lstm"]
    assert near["bits_per_character"] == pytest.approx(0.02)
    assert near["interval"] == pytest.approx([0.02, 0.02])
    far = differences["gru", "ngram"]
    means = [np.average(each, weights=CHARACTERS) for each in (bits, bits[::-1] + 0.5)]
    assert far["bits_per_character"] == pytest.approx(means[1] - means[0])
    assert far["interval"][0] < far["bits_per_character"] < far["interval"][1]


def test_every_number_of_both_splits(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    characters = {"validation": random.integers(10, 90, 20), "test": random.integers(10, 90, 30)}
    characters["test"][7] = 0
    bits = {
        (system, split): random.normal(mean, 0.3, len(each))
        for split, each in characters.items()
        for system, mean in (("gru", 2.0 if split == "test" else 3.0), ("xz", 2.5))
    }

    def table(system: str, **columns: object) -> pa.Table:
        parts = [
            pa.table(
                {"doc_id": range(len(each)), "split": [split] * len(each), "characters": each}
                | {"bits_per_character": bits[system, split]}
                | {name: [value] * len(each) for name, value in columns.items()}
            )
            for split, each in characters.items()
        ]
        return pa.concat_tables(parts)

    pq.write_table(table("gru"), tmp_path / "gru")
    pq.write_table(table("xz", baseline="xz"), tmp_path / "xz")
    output = tmp_path / "comparison.json"
    compare(tmp_path / "xz", [tmp_path / "gru"], output, models=["gru"])
    record = json.loads(output.read_text())
    for split, better, worse in (("validation", "xz", "gru"), ("test", "gru", "xz")):
        weights = characters[split]
        difference = bits[worse, split] - bits[better, split]
        held = weights > 0  # bits times characters times ln 2 are nats
        bounds = percentile_bootstrap((difference * weights * math.log(2))[held], weights[held])
        assert record[split] == {
            "documents": int(held.sum()),
            "differences": [
                {
                    "better": better,
                    "worse": worse,
                    "bits_per_character": pytest.approx(np.average(difference, weights=weights)),
                    "interval": pytest.approx(bounds),
                }
            ],
            "seeds": [],
        }


def test_scores_of_different_documents_cannot_be_compared(tmp_path: Path) -> None:
    bits = np.ones(50)
    files = [write_scores(tmp_path / "a", bits), write_scores(tmp_path / "b", bits, range(1, 51))]
    baseline = write_scores(tmp_path / "baselines", bits, baseline=["ngram"] * 50)
    with pytest.raises(CharlmError, match="b: its test documents are not those of a; evaluate"):
        compare(baseline, files, tmp_path / "comparison.json", models=["a", "b"])
    with pytest.raises(CharlmError, match=r"models\.ngram: a baseline has this name; rename"):
        compare(baseline, files[:1], tmp_path / "comparison.json", models=["ngram"])
    assert not (tmp_path / "comparison.json").exists()


def test_several_seeds_give_a_mean_and_a_spread(tmp_path: Path) -> None:
    scores = {"lstm.seed1": 2.0, "lstm.seed2": 2.1, "lstm.seed7": 2.4, "gru": 3.0}
    files = [write_scores(tmp_path / name, np.full(50, bits)) for name, bits in scores.items()]
    baseline = write_scores(tmp_path / "baselines", np.full(50, 4.0), baseline=["ngram"] * 50)
    compare(baseline, files, tmp_path / "comparison.json", models=list(scores))
    (spread,) = json.loads((tmp_path / "comparison.json").read_text())["test"]["seeds"]
    assert (spread["name"], spread["seeds"]) == ("lstm", 3)
    assert spread["bits_per_character"] == pytest.approx(6.5 / 3)
    assert spread["standard_deviation"] == pytest.approx(math.sqrt(0.13 / 3))

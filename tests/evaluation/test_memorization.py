"""Memorization: matches with the training text are found exactly."""

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from charlm.checksums import read_json
from charlm.evaluation.memorization import (
    Overlap,
    VerbatimIndex,
    measure_memorization,
    near_duplicates,
    overlap,
)

RUN = 50
"""Characters of a match that counts as copied."""

HELD_OUT = ("validation", "test")

DOCUMENTS = ["the cat sat on the mat", "", "àéîõü 東京 e\u0301", "the dog 🐕 ran"]


@pytest.mark.parametrize(
    "text", ["the cat ran", "東京", "\u0301", "🐕🐕", "xyz", "", "mat àé", "matàé", "cat sat on"]
)
def test_the_longest_matches_are_those_of_a_plain_search(text: str) -> None:
    lengths = VerbatimIndex(DOCUMENTS).longest_matches(text)
    slow = [
        max(
            length
            for length in range(len(text) - place + 1)
            if any(text[place : place + length] in document for document in DOCUMENTS)
        )
        for place in range(len(text))
    ]
    assert lengths == slow


def test_long_matches_are_followed_to_their_end() -> None:
    draw = random.Random(0)
    document = "".join(draw.choices("ab", k=1000))
    text = "c" + document[100:900] + "c"
    assert VerbatimIndex([document]).longest_matches(text)[:3] == [0, 800, 799]


def test_overlapping_passages_are_merged() -> None:
    runs = [0] * 10 + [RUN + 5, RUN + 4] + [3] * 100 + [RUN] + [1] * 120
    assert overlap(runs) == {
        "longest": [10, 15 + RUN],
        "share": 3 / (len(runs) - RUN + 1),
        "passages": [[10, 15 + RUN], [112, 112 + RUN]],
    }
    assert overlap([1] * 9) == Overlap(longest=[0, 1], share=None, passages=[])
    assert overlap([]) == Overlap(longest=[0, 0], share=None, passages=[])


def test_adjacent_passages_are_merged_and_others_are_not() -> None:
    runs = [RUN] + [0] * (RUN - 1) + [RUN] + [0] * RUN + [RUN, *range(RUN - 1, 0, -1)]
    assert overlap(runs) == {
        "longest": [0, RUN],
        "share": 3 / (len(runs) - RUN + 1),
        "passages": [[0, 2 * RUN], [2 * RUN + 1, 3 * RUN + 1]],
    }
    assert overlap([RUN] * 2)["share"] is None
    assert overlap([*range(RUN, 0, -1)])["share"] == 1


def test_a_match_of_fifty_characters_counts_as_copied(tmp_path: Path) -> None:
    train = "".join(map(chr, range(0x4E00, 0x4E00 + 200)))
    pq.write_table(pa.table({"split": ["train"], "text": [train]}), tmp_path / "corpus.parquet")
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(json.dumps({"text": train[:n]}) + "\n" for n in (49, 50, 60)))
    places = (tmp_path / "corpus.parquet", [samples], tmp_path / "m.json")
    measure_memorization(*places, models=["gru"])
    assert read_json(tmp_path / "m.json", dict[str, Any]) == {
        "run": 50,
        "models": {
            "gru": [
                {"longest": [0, 49], "share": None, "passages": []},
                {"longest": [0, 50], "share": 1.0, "passages": [[0, 50]]},
                {"longest": [0, 60], "share": 1.0, "passages": [[0, 60]]},
            ]
        },
        "held_out": [],
        "near_duplicates": {name: {"documents": 0, "characters": 0} for name in HELD_OUT},
    }


def test_held_out_texts_are_a_hundred_evenly_spaced_ones(tmp_path: Path) -> None:
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 397)))
    # Text number n shares its first n characters with the training text.
    held_out = [letters[:number] + "x" * (400 - number) + letters for number in range(397)]
    held_out[-1] = held_out[-1][:400]  # just long enough
    texts = [letters, *held_out, "too short" * 30]
    splits = ["train", *(["validation", "test"] * 200)[:397], "test"]
    pq.write_table(pa.table({"split": splits, "text": texts}), tmp_path / "corpus.parquet")
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(json.dumps({"text": "y" * n}) + "\n" for n in (7, 400, 300)))
    places = (tmp_path / "corpus.parquet", [samples], tmp_path / "m.json")
    measure_memorization(*places, models=["gru"])
    record = json.loads((tmp_path / "m.json").read_text())
    # Texts 0, 4, 8 ... 396 of those at least as long as the longest sample, cut to its length.
    assert [each["longest"] for each in record["held_out"]] == [[0, 4 * n] for n in range(100)]


def test_samples_and_held_out_text_are_measured_alike(tmp_path: Path) -> None:
    draw = random.Random(1)
    train, other = ("".join(draw.choices("abcdefgh", k=2000)) for _ in range(2))
    texts = [train, other, train[:400], "too short"]
    splits = ["train", "test", "validation", "test"]
    pq.write_table(pa.table({"split": splits, "text": texts}), tmp_path / "corpus.parquet")
    samples = [other[:40] + train[500:560] + other[:100], other[100:300]]
    lines = [json.dumps({"text": text}) + "\n" for text in samples]
    (tmp_path / "samples.jsonl").write_text("".join(lines))
    output = tmp_path / "memorization.json"
    places = (tmp_path / "corpus.parquet", [tmp_path / "samples.jsonl"], output)
    measure_memorization(*places, models=["lstm"])
    record = json.loads(output.read_text())
    first, second = record["models"]["lstm"]
    (passage,) = first["passages"]
    assert passage == first["longest"]
    assert 36 < passage[0] <= 40
    assert 100 <= passage[1] < 104
    assert first["share"] == pytest.approx((passage[1] - passage[0] - RUN + 1) / 151)
    assert second["share"] == 0
    assert [each["share"] for each in record["held_out"]] == [0, 1]


def test_held_out_documents_that_nearly_repeat_training_documents_are_counted() -> None:
    draw = random.Random(2)
    first, second, third = ("".join(draw.choices("abcdefgh", k=400)) for _ in range(3))
    rows = [
        ("test", first + "!"),
        ("train", first),
        ("train", first + "?"),
        ("test", second),
        ("test", second + "!"),  # repeats a document of its own split only
        ("validation", "…" + first[9:]),
        ("test", third + second),
        ("train", "short"),
        ("test", "short"),
    ]
    found = near_duplicates(pd.DataFrame(rows, columns=["split", "text"]))
    assert found == {
        "validation": {"documents": 1, "characters": 392},
        "test": {"documents": 2, "characters": 406},
    }

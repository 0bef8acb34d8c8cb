"""Copied text is found wherever it stands, and only where it stands."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from charlm.evaluation.memorization import RUN, VerbatimIndex, copied, measure_memorization

DOCUMENTS = ["the cat sat on the mat", "", "àéîõü 東京 e\u0301", "the dog 🐕 ran"]


@pytest.mark.parametrize(
    "text", ["the cat ran", "東京", "\u0301", "🐕🐕", "xyz", "", "mat àé", "cat sat on"]
)
def test_runs_are_as_long_as_a_plain_search_says(text: str) -> None:
    runs = VerbatimIndex(DOCUMENTS).longest_runs(text)
    slow = [
        max(
            length
            for length in range(len(text) - place + 1)
            if any(text[place : place + length] in document for document in DOCUMENTS)
        )
        for place in range(len(text))
    ]
    assert runs == slow


def test_long_runs_are_followed_to_their_end() -> None:
    draw = random.Random(0)
    document = "".join(draw.choices("ab", k=1000))
    text = "c" + document[100:900] + "c"
    assert VerbatimIndex([document]).longest_runs(text)[:3] == [0, 800, 799]


def test_copied_passages_are_joined() -> None:
    runs = [0] * 10 + [RUN + 5, RUN + 4] + [3] * 100 + [RUN] + [1] * 120
    assert copied(runs) == {
        "longest": [10, 15 + RUN],
        "share": 3 / (len(runs) - RUN + 1),
        "passages": [[10, 15 + RUN], [112, 112 + RUN]],
    }
    assert copied([1] * 9) == {"longest": [0, 1], "share": None, "passages": []}
    assert copied([]) == {"longest": [0, 0], "share": None, "passages": []}


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
    measure_memorization(tmp_path / "corpus.parquet", {"lstm": tmp_path / "samples.jsonl"}, output)
    record = json.loads(output.read_text())
    first, second = record["models"]["lstm"]
    (passage,) = first["passages"]
    assert passage == first["longest"]
    assert 36 < passage[0] <= 40
    assert 100 <= passage[1] < 104
    assert first["share"] == pytest.approx((passage[1] - passage[0] - RUN + 1) / 151)
    assert second["share"] == 0
    assert [each["share"] for each in record["held_out"]] == [0, 1]

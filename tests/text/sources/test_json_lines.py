"""Files of JSON objects, one per line."""

import json
from pathlib import Path

from tests.text.sources.reading import read, rejected


def test_lone_surrogates_are_rejected(tmp_path: Path) -> None:
    lines = ['{"text": "good"}', '{"text": "b\\ud800d"}', '{"text": "\\ud83d\\ude00"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert read(tmp_path, str(tmp_path / "a.jsonl"))["text"].to_pylist() == ["good", "😀"]
    assert rejected(tmp_path)[0]["reason"].startswith("bytes that do not decode at character 2")


def test_json_values_that_are_not_strings_become_json(tmp_path: Path) -> None:
    records = [{"text": 5}, {"text": ["a", 1]}, {"text": None}, {"other": 1}, {"text": "x"}]
    (tmp_path / "a.json").write_text("\n\n".join(map(json.dumps, records)))
    table = read(tmp_path, str(tmp_path / "a.json"))
    assert table["text"].to_pylist() == ["5", '["a", 1]', None, None, "x"]


def test_json_lines_that_cannot_be_used_are_rejected(tmp_path: Path) -> None:
    lines = ['{"text": "good"}', "{broken", "[1]", "[" * 100_000, '{"text": ' + "9" * 5000 + "}"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert read(tmp_path, str(tmp_path / "a.jsonl"))["text"].to_pylist() == ["good"]
    reasons = [row["reason"] for row in rejected(tmp_path)]
    assert len(reasons) == 4
    assert reasons[1] == "no JSON object: a list instead"

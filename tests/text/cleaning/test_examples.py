"""Examples of what each rule changes."""

import json
from pathlib import Path

from tests.text.corpus import clean_texts


def test_examples_show_what_each_rule_did(tmp_path: Path) -> None:
    clean_texts(tmp_path, ["x" * 100 + "<b>bold</b> text", "plain", "a&amp;b"])
    content = json.loads((tmp_path / "cleaning_examples.json").read_text(encoding="utf-8"))
    assert content["examples"] == [
        {
            "rule": "inline_tags",
            "before": "x" * 20 + "<b>bold</b> text",
            "after": "x" * 20 + "bold text",
        },
        {"rule": "entities", "before": "a&amp;b", "after": "a&b"},
    ]


def test_an_example_is_twenty_characters_before_a_change_and_forty_after(
    tmp_path: Path,
) -> None:
    texts = [f"{number}{'x' * 100}<b>{'y' * 100}" for number in range(5)]
    clean_texts(tmp_path, texts)
    change = {"before": f"{'x' * 20}<b>{'y' * 37}", "after": "x" * 20 + "y" * 40}
    examples = json.loads((tmp_path / "cleaning_examples.json").read_text())
    assert examples["examples"] == [{"rule": "inline_tags", **change}] * 3

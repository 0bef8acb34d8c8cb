"""`charlm clean --explain` shows what each rule changes."""

from pathlib import Path

import pytest

from charlm.cli import main
from charlm.text.cleaning.explain import explain
from charlm.text.cleaning.profiles import rules_of

RULES = rules_of("standard")[0]


def test_what_each_rule_changes_is_shown_with_some_context() -> None:
    left, right = "a " * 30, " b" * 30
    assert list(explain(f"{left}love<br>it &amp;{right}", RULES)) == [
        f"before: {left}love<br>it &amp;{right}",
        "block_tags: 1 match",
        f"- …{'a ' * 15}love<br>it &amp;{' b' * 12}…",
        f"+ …{'a ' * 15}love↵it &amp;{' b' * 12}…",
        "entities: 1 match",
        f"- …{'a ' * 11}love↵it &amp;{' b' * 15}…",
        f"+ …{'a ' * 11}love↵it &{' b' * 15}…",
        f"after: {left}love↵it &{right}",
    ]


def test_many_places_are_counted() -> None:
    *_, more, _ = explain(" a<i>b" * 9, RULES[:7])
    assert more == "and 4 more places"


def test_a_text_that_is_emptied_or_unchanged_is_said_to_be() -> None:
    assert list(explain("plain", RULES)) == ["before: plain", "unchanged"]
    assert list(explain("<p>", RULES))[-1] == "after: nothing, so the document is dropped"


def test_the_rules_of_a_configuration_are_shown(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    posts, config = tmp_path / "posts.csv", tmp_path / "my.yaml"
    posts.write_text("text\n" + "\n".join(f"n{n}<b>😀" for n in range(10)), encoding="utf-8")
    config.write_text(
        f"corpus: {{name: my, source: {posts}}}\n"
        "cleaning: {rules: [{name: emoji, off: true}, {name: n, pattern: n, before: comments}]}\n"
    )
    assert main(["clean", "--explain", str(config), "--rows", "2"]) == 0
    assert capsysbinary.readouterr().out.decode() == "".join(
        f"document {n}\nbefore: n{n}<b>😀\nn: 1 match\n- n{n}<b>😀\n+ {n}<b>😀\n"
        f"inline_tags: 1 match\n- {n}<b>😀\n+ {n}😀\nafter: {n}😀\n\n"
        for n in (0, 5)
    )


def test_the_default_rules_are_tried_on_a_source(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    posts = tmp_path / "posts.csv"
    posts.write_text("text\na<br>b\n")
    assert main(["clean", "--explain", str(posts)]) == 0
    assert capsysbinary.readouterr().out.decode().endswith("after: a↵b\n\n")

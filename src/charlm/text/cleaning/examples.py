"""Examples of what each rule changes."""

from typing import NotRequired, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

MOST = 3
"""Maximum number of examples of a rule."""

BEFORE, AFTER = 20, 40
"""Number of characters shown before a change, and from the change on."""


class Example(TypedDict):
    """An excerpt of a text that a rule changed, `before` and `after` the change."""

    rule: str
    before: str
    after: str


ExamplesFile = TypedDict(
    "ExamplesFile", {"examples": list[Example], "cleaning.tsv": NotRequired[str]}
)
"""The content of `cleaning_examples.json`, with the checksum of `cleaning.tsv`."""


def rule_examples(rule: str, texts: pa.Array, changed: pa.Array, mark: str = "") -> list[Example]:
    """Return examples of the first texts that a rule changed.

    Args:
        rule: The name of the rule.
        texts: The texts before the rule.
        changed: The same texts after the rule.
        mark: A string to leave out of the examples.
    """
    rows = pc.indices_nonzero(pc.not_equal(texts, changed))[:MOST].to_pylist()
    shown = [
        (pc.replace_substring(text, mark, "") if mark else text).as_py()
        for row in rows
        for text in (texts[row], changed[row])
    ]
    return [_example(rule, *pair) for pair in zip(shown[::2], shown[1::2], strict=True)]


def _example(rule: str, before: str, after: str) -> Example:
    """Return excerpts of two different texts around their first difference."""
    pairs = enumerate(zip(before, after, strict=False))
    change = next((i for i, (old, new) in pairs if old != new), min(len(before), len(after)))
    shown = slice(max(0, change - BEFORE), change + AFTER)
    return {"rule": rule, "before": before[shown], "after": after[shown]}

"""Examples of what each rule changes."""

from typing import TypedDict

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


def rule_examples(rule: str, texts: pa.Array, changed: pa.Array) -> list[Example]:
    """Return examples of the first texts that a rule changed.

    Args:
        rule: The name of the rule.
        texts: The texts before the rule.
        changed: The same texts after the rule.
    """
    rows = pc.indices_nonzero(pc.not_equal(texts, changed))[:MOST].to_pylist()
    return [_example(rule, texts[row].as_py(), changed[row].as_py()) for row in rows]


def _example(rule: str, before: str, after: str) -> Example:
    """Return excerpts of two different texts around their first difference."""
    pairs = enumerate(zip(before, after, strict=False))
    change = next((i for i, (old, new) in pairs if old != new), min(len(before), len(after)))
    shown = slice(max(0, change - BEFORE), change + AFTER)
    return {"rule": rule, "before": before[shown], "after": after[shown]}

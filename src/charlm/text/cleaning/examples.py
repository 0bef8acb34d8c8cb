"""Examples of what each rule changes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from charlm.text.cleaning.engine import apply_rule
from charlm.text.cleaning.profiles import rules_of
from charlm.text.tables import column, row_groups


def rule_examples(
    documents: str | Path,
    *,
    profile: str = "standard",
    rules: Sequence[Mapping[str, str]] = (),
    limit: int = 3,
) -> list[dict[str, str]]:
    """Return up to `limit` changes by each rule: rule, before, after.

    The rules run in order on the first row group of the documents.
    """
    examples = []
    table = next(row_groups(documents, ["text"]))
    texts = column(table, "text").cast(pa.large_string()).fill_null("")
    for rule in rules_of(profile, rules)[0]:
        after, _ = apply_rule(rule, texts)
        changed = pc.indices_nonzero(pc.not_equal(texts, after))[:limit].to_pylist()
        for row in changed:
            before, now = _around_change(texts[row].as_py(), after[row].as_py())
            examples.append({"rule": rule.name, "before": before, "after": now})
        texts = after
    return examples


def _around_change(before: str, after: str, context: int = 40) -> tuple[str, str]:
    """Return excerpts of two texts around their first difference."""
    pairs = enumerate(zip(before, after, strict=False))
    start = next((place for place, (old, new) in pairs if old != new), min(len(before), len(after)))
    low, high = max(0, start - context // 2), start + context
    return before[low:high], after[low:high]

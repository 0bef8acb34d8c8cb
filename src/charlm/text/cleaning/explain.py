"""What each rule changes in a text, as a diff."""

import difflib
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

import pyarrow as pa

from charlm.text.cleaning.engine import apply_rules
from charlm.text.cleaning.rules import TextRule

CONTEXT = 30
"""Characters shown around a change."""

MOST = 5
"""Maximum number of places shown where a rule changes a text."""

SPACE = re.compile(r"(\s+)")


def explain(text: str, rules: Sequence[TextRule]) -> Iterator[str]:
    r"""Yield the lines of a diff: the text before, what each rule changes in it, the text after.

    >>> from charlm.text.cleaning.profiles import rules_of
    >>> print(*explain("Fine!<br />Really.", rules_of("standard")[0]), sep="\n")
    before: Fine!<br />Really.
    block_tags: 1 match
    - Fine!<br />Really.
    + Fine!↵Really.
    after: Fine!↵Really.
    """
    yield f"before: {_shown(text)}"
    old = text
    for number, rule in enumerate(rules, 1):
        # All rules so far, since a rule may depend on what those before it have removed.
        array, counts = apply_rules(rules[:number], pa.array([text], pa.large_string()))
        new: str = array[0].as_py()
        if new != old:
            matches = int(counts[-1][0])
            yield f"{rule.name}: {matches:,} {'match' if matches == 1 else 'matches'}"
            yield from _changes(old, new)
        old = new
    if old == text:
        yield "unchanged"
    else:
        yield f"after: {_shown(old)}" if old else "after: nothing, so the document is dropped"


def _changes(old: str, new: str) -> Iterator[str]:
    """Yield two lines for each place that differs, `-` for the old text and `+` for the new."""
    before, after = _pieces(old), _pieces(new)
    matcher = difflib.SequenceMatcher(None, before, after)
    places = [place for place in matcher.get_opcodes() if place[0] != "equal"]
    starts, new_starts = _starts(before), _starts(after)
    for _, start, end, new_start, new_end in places[:MOST]:
        yield f"- {_excerpt(old, starts[start], starts[end])}"
        yield f"+ {_excerpt(new, new_starts[new_start], new_starts[new_end])}"
    if len(places) > MOST:
        yield f"and {len(places) - MOST:,} more places"


def _pieces(text: str) -> list[str]:
    """Return the words and the spaces of a text, or its lines if it is long."""
    return text.splitlines(keepends=True) if len(text) > 50_000 else SPACE.split(text)


def _starts(pieces: Sequence[str]) -> list[int]:
    """Return where each piece starts in the text, and where the last one ends."""
    return [0, *accumulate(map(len, pieces))]


def _excerpt(text: str, start: int, end: int) -> str:
    """Return a part of a text with the characters around it."""
    low, high = max(0, start - CONTEXT), end + CONTEXT
    return f"{'…' * (low > 0)}{_shown(text[low:high])}{'…' * (high < len(text))}"


def _shown(text: str) -> str:
    r"""Return a text in one line, with invisible characters as escapes: `a\u200bb`."""
    return "".join(
        "↵" if char == "\n" else char if char.isprintable() else ascii(char)[1:-1] for char in text
    )

"""Applies rules to texts in linear time, and checks that a user's rules allow it."""

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby, product

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from charlm.errors import CharlmError
from charlm.text.cleaning.examples import Example, rule_examples
from charlm.text.cleaning.rules import TextRule

MAX_PIECES = 32
"""Maximum number of pieces of a pattern that are combined to find texts on which it is slow."""

ANCHOR = re.compile(r"(?<!\[)\^|\$|\\[bBAz]")
"""The parts of a pattern that match a position instead of characters."""


def apply_rules(
    rules: Sequence[TextRule], texts: pa.Array, examples: list[Example] | None = None
) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Apply rules to texts, one rule after another.

    Args:
        rules: The rules, in order.
        texts: The texts (large_string, no nulls).
        examples: A list to which examples of each rule's changes are added, if given.

    Returns:
        The texts after all rules; and the numbers of matches, of characters removed and of
        documents changed by each rule, shape (rules, 3).
    """
    counts: list[npt.NDArray[np.int64]] = []
    for beyond_ascii, group in groupby(rules, lambda rule: rule.beyond_ascii):
        some = texts
        if beyond_ascii:
            concerned = pc.invert(pc.string_is_ascii(texts))
            some = texts.filter(concerned)
        for rule in group:
            changed, count = apply_rule(rule, some)
            if examples is not None and count.any():
                examples += rule_examples(rule.name, some, changed)
            some = changed
            counts.append(count)
        texts = pc.replace_with_mask(texts, concerned, some) if beyond_ascii else some
    return texts, np.array(counts, np.int64).reshape(-1, 3)


def apply_rule(rule: TextRule, texts: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Return the texts after a rule, and its counts, shape (3,); see `apply_rules`."""
    counts = pc.count_substring_regex(texts, rule.pattern)
    hit = pc.greater(counts, 0)
    documents = pc.sum(hit).as_py() or 0
    if not documents:
        return texts, np.zeros(3, np.int64)
    before = texts if documents == len(texts) else texts.filter(hit)
    if rule.builtin is None:
        after = pc.replace_substring_regex(before, rule.pattern, rule.replacement)
        matches = _matches(rule.pattern, before, counts)
    else:
        changed, found = zip(*map(rule.builtin, before.to_pylist()), strict=True)
        after = pa.array(changed, texts.type)
        matches, documents = sum(found), sum(count > 0 for count in found)
    removed = pc.subtract(pc.sum(pc.utf8_length(before)), pc.sum(pc.utf8_length(after))).as_py()
    if len(after) < len(texts):
        after = pc.replace_with_mask(texts, hit, after)
    return after, np.array([matches, removed, documents])


def _matches(pattern: str, texts: pa.Array, counts: pa.Array) -> int:
    """Return the number of matches that are replaced in all texts; `counts` are Arrow's."""
    if not ANCHOR.search(pattern) and not pc.match_substring_regex("", pattern).as_py():
        return int(pc.sum(counts).as_py())
    # After a match, Arrow searches the rest of a text, where `^` matches again. So replace each by
    # itself and a space, and count the spaces added.
    longer = pc.replace_substring_regex(texts, pattern, r"\0 ")
    return int(pc.sum(pc.binary_length(longer)).as_py() - pc.sum(pc.binary_length(texts)).as_py())


def check_rule(rule: TextRule) -> None:
    """Check that the engine can run a rule in linear time.

    Raises:
        CharlmError: It cannot.
    """
    try:
        pc.replace_substring_regex(pa.array([""]), rule.pattern, rule.replacement)
    except pa.ArrowInvalid as error:
        raise CharlmError(
            f"cleaning.rules: rule {rule.name!r}: {' '.join(str(error).split())}; use "
            "RE2's syntax, which has no look-around and no back-references"
        ) from None
    if text := quadratic_text(rule.pattern):
        raise CharlmError(
            f"cleaning.rules: rule {rule.name!r}: it would take hours on a long run of {text!r}; "
            "split it into two rules, or exclude the character it starts with ([^<>]* for [^>]*)"
        )


@lru_cache(64)
def quadratic_text(pattern: str) -> str | None:
    """Return a repetitive text on which finding all matches takes quadratic time, or None.

    RE2 finds one match in linear time. Finding all of them takes quadratic time if each needs a
    long look-ahead, as `<[^>]*>|<` does on many `<`. This function times the pattern on
    repetitions of all pairs of its pieces.
    """
    literals = re.split(r"[\\^$.|?*+()\[\]{}]+", pattern)
    escaped = re.findall(r"\\(\W)", pattern)
    pieces = list(dict.fromkeys([*literals, *escaped, *"".join(literals), *" \na0é"]))[:MAX_PIECES]
    for start in dict.fromkeys(map("".join, product(["", *pieces], pieces))):
        if start and _seconds(pattern, start, 1 << 12) > 1e-3:
            # If time is quadratic, four times the text takes sixteen times as long.
            small, large = (
                min(_seconds(pattern, start, size) for _ in range(2)) for size in (1 << 12, 1 << 14)
            )
            if large > 9 * small:
                return 3 * start + "..."
    return None


def _seconds(pattern: str, start: str, size: int) -> float:
    """Return the CPU time to find the pattern in a text of `size` characters."""
    text = pa.array([start * (size // len(start) + 1)])
    begin = time.thread_time()
    pc.count_substring_regex(text, pattern)
    return time.thread_time() - begin

"""Rules applied to texts, and checked beforehand, in linear time."""

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby, product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from charlm.errors import CharlmError
from charlm.text.cleaning.rules import Rule

PIECES = 32
"""So many pieces of a pattern are tried together for texts on which it takes too long."""

PLACE = re.compile(r"(?<!\[)\^|\$|\\[bBAz]")
"""What in a pattern matches a place, not characters."""


def apply_rules(rules: Sequence[Rule], texts: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the texts after all rules, and a row of counts a rule; see `apply_rule`."""
    counts: list[NDArray[np.int64]] = []
    for beyond_ascii, group in groupby(rules, lambda rule: rule.beyond_ascii):
        some = texts
        if beyond_ascii:
            concerned = pc.invert(pc.string_is_ascii(texts))
            some = texts.filter(concerned)
        for rule in group:
            some, count = apply_rule(rule, some)
            counts.append(count)
        texts = pc.replace_with_mask(texts, concerned, some) if beyond_ascii else some
    return texts, np.array(counts, np.int64).reshape(-1, 3)


def apply_rule(rule: Rule, texts: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the texts (large_string, no nulls) after a rule, and [matches, removed, documents]."""
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
    """Return how many matches a replacement finds; `counts` is what Arrow counts."""
    if not PLACE.search(pattern) and not pc.match_substring_regex("", pattern).as_py():
        return int(pc.sum(counts).as_py())
    # Arrow counts on in what is left of a text, where `^` matches anew: let each match grow by one.
    longer = pc.replace_substring_regex(texts, pattern, r"\0 ")
    return int(pc.sum(pc.binary_length(longer)).as_py() - pc.sum(pc.binary_length(texts)).as_py())


def check_rule(rule: Rule) -> None:
    """Raise an error if the engine cannot run a rule."""
    try:
        pc.replace_substring_regex(pa.array([""]), rule.pattern, rule.replacement)
    except pa.ArrowInvalid as error:
        raise CharlmError(
            f"cleaning.rules: rule {rule.name!r}: {' '.join(str(error).split())}; patterns are "
            "RE2's, which has no look-around and no back-references"
        ) from None
    if text := quadratic_text(rule.pattern):
        raise CharlmError(
            f"cleaning.rules: rule {rule.name!r}: it would take hours on a long text of {text!r}; "
            "make two rules of it, or let it not reach beyond its next start ([^<>]* for [^>]*)"
        )


@lru_cache(64)
def quadratic_text(pattern: str) -> str | None:
    """Return a repetitive text on which finding all matches takes quadratic time, if one is found.

    RE2 finds one match in linear time, but not all of them if it has to look far ahead again for
    each: `<[^>]*>|<` on many `<`. So all pairs of the pattern's own pieces are tried, repeated.
    """
    literals = re.split(r"[\\^$.|?*+()\[\]{}]+", pattern)
    escaped = re.findall(r"\\(\W)", pattern)
    pieces = list(dict.fromkeys([*literals, *escaped, *"".join(literals), *" \na0é"]))[:PIECES]
    for start in dict.fromkeys(map("".join, product(["", *pieces], pieces))):
        if start and _seconds(pattern, start, 1 << 12) > 1e-3:
            # Four times the text takes sixteen times as long where time is quadratic.
            small, large = (
                min(_seconds(pattern, start, size) for _ in range(2)) for size in (1 << 12, 1 << 14)
            )
            if large > 9 * small:
                return 3 * start + "..."
    return None


def _seconds(pattern: str, start: str, size: int) -> float:
    """Return the processor's time to find the pattern in a text of so many characters."""
    text = pa.array([start * (size // len(start) + 1)])
    begin = time.thread_time()
    pc.count_substring_regex(text, pattern)
    return time.thread_time() - begin

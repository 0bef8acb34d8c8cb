"""The symbols of the vocabulary, described for readers."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charlm.report.html import character_name
from charlm.text.vocabulary import Vocabulary

KINDS = {
    "L": "letters",
    "M": "combining marks",
    "N": "digits and numbers",
    "P": "punctuation marks",
    "S": "other signs",
    "Z": "spaces",
    "C": "control characters",
}
"""Kinds of symbols by the first letter of their Unicode category."""


@dataclass(frozen=True)
class Description:
    """A symbol in words."""

    kind: str
    name: str
    hidden: bool
    """Whether the symbol itself cannot be seen, so that its name is shown instead."""


@dataclass(frozen=True)
class SymbolRow:
    """A symbol, its count and its description."""

    symbol: str
    count: int
    description: Description


@dataclass(frozen=True)
class VocabularySummary:
    """The vocabulary as the page shows it."""

    unit: str
    symbols: Sequence[SymbolRow]
    """The most frequent first."""
    kinds: Sequence[tuple[str, int]]
    """Each kind of symbols and their number, the largest first."""


def read_vocabulary(path: Path) -> VocabularySummary:
    """Read `vocabulary.json`."""
    vocabulary = Vocabulary.load(path)
    special = set(vocabulary.special.values())
    symbols = [
        SymbolRow(symbol, count, describe(symbol, special=index in special))
        for index, (symbol, count) in enumerate(
            zip(vocabulary.symbols, vocabulary.counts, strict=True)
        )
    ]
    return VocabularySummary(
        unit=vocabulary.unit,
        symbols=sorted(symbols, key=lambda row: -row.count),
        kinds=Counter(row.description.kind for row in symbols).most_common(),
    )


def describe(symbol: str, *, special: bool) -> Description:
    """Describe a symbol of a vocabulary of any unit.

    Args:
        symbol: The symbol as in `vocabulary.json`.
        special: Whether it is the unknown symbol or the end of a document.
    """
    if special:
        return Description("special symbols", symbol.strip("<>").replace("_", " "), hidden=True)
    if symbol.startswith("<0x"):
        return Description("bytes beyond ASCII", symbol.strip("<>"), hidden=True)
    name = " + ".join(map(character_name, symbol))
    if len(symbol) > 1:
        return Description("clusters of characters", name, hidden=symbol.isspace())
    category = unicodedata.category(symbol)[0]
    kind = "spaces" if symbol in "\t\n\r" else KINDS[category]
    return Description(kind, name, hidden=category in "ZC")

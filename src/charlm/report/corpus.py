"""The corpus: sizes of the splits, cleaning and rejected rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypedDict

from charlm.checksums import read_json
from charlm.report.results import grouped, read_rows
from charlm.text.cleaning.examples import Example, ExamplesFile
from charlm.text.cleaning.left_over import PREFIX
from charlm.text.tables import open_table
from charlm.text.tokens import SUMMARY, Size, Summary


def read_sizes(tokens: Path) -> dict[str, Size]:
    """Read the size of each split and, as `all`, of the whole corpus, from the tokens folder."""
    return read_json(tokens / SUMMARY, Summary)["sizes"]


@dataclass(frozen=True)
class SplitRow:
    """A split and its share of the corpus."""

    name: str
    size: Size
    share: float


def split_rows(sizes: Mapping[str, Size]) -> list[SplitRow]:
    """Return the splits with their shares of the characters."""
    whole = max(sizes["all"]["characters"], 1)
    return [
        SplitRow(name, sizes[name], sizes[name]["characters"] / whole)
        for name in ("train", "validation", "test")
    ]


@dataclass(frozen=True)
class CleaningRow:
    """What a cleaning rule did."""

    rule: str
    matches: int
    characters_removed: int
    documents: int

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Self:
        """Return the record of a row of `cleaning.tsv`."""
        return cls(
            rule=row["rule"],
            matches=int(row["matches"]),
            characters_removed=int(row["characters_removed"]),
            documents=int(row["documents"]),
        )


@dataclass(frozen=True)
class CleaningSummary:
    """What cleaning did."""

    active: Sequence[CleaningRow]
    """The rules with matches."""
    idle: Sequence[str]
    """The names of the rules without matches."""
    characters_removed: int
    left_over: Sequence[CleaningRow]
    """What is left over, as far as there is any."""


def read_cleaning(path: Path, checksum: str | None = None) -> CleaningSummary:
    """Read `cleaning.tsv`, whose checksum `read_examples` returns."""
    rows = read_rows(path, "\t", checksum, CleaningRow.from_row)
    left_over = [
        replace(row, rule=row.rule.removeprefix(PREFIX))
        for row in rows
        if row.rule.startswith(PREFIX) and row.matches
    ]
    rows = [row for row in rows if not row.rule.startswith(PREFIX)]
    return CleaningSummary(
        active=[row for row in rows if row.matches],
        idle=[row.rule for row in rows if not row.matches],
        characters_removed=sum(row.characters_removed for row in rows),
        left_over=left_over,
    )


def read_examples(path: Path) -> tuple[dict[str, list[Example]], str | None]:
    """Read `cleaning_examples.json`; return the examples by rule, and `cleaning.tsv`'s checksum."""
    content = read_json(path, ExamplesFile)
    examples = grouped((example["rule"], example) for example in content["examples"])
    return examples, content.get("cleaning.tsv")


class RejectedRow(TypedDict):
    """A row of the source that could not be used."""

    source: str
    row: int
    reason: str
    excerpt: str | None


@dataclass(frozen=True)
class RejectedRows:
    """The number of rejected rows, and the first of them."""

    count: int
    first: Sequence[RejectedRow]


def read_rejected(path: Path, limit: int) -> RejectedRows:
    """Return the number of rejected rows and at most `limit` of them."""
    with open_table(path) as file:
        first = next(file.iter_batches(limit), None)
        return RejectedRows(file.metadata.num_rows, first.to_pylist() if first is not None else [])

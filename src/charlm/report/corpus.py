"""The corpus: sizes of the splits, cleaning and rejected rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pyarrow.parquet as pq

from charlm.report.results import read_json, read_table


class Size(TypedDict):
    """The size of a text."""

    documents: int
    characters: int


def read_sizes(path: Path) -> dict[str, Size]:
    """Return the size of each split and, as `all`, of the whole corpus."""
    sizes: dict[str, Size] = read_json(path)["sizes"]
    return sizes


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


@dataclass(frozen=True)
class CleaningSummary:
    """What cleaning did."""

    active: Sequence[CleaningRow]
    """The rules with matches."""
    idle: Sequence[str]
    """The names of the rules without matches."""
    characters_removed: int


def read_cleaning(path: Path) -> CleaningSummary:
    """Read `cleaning.tsv`."""
    rows = [
        CleaningRow(
            rule=row["rule"],
            matches=int(row["matches"]),
            characters_removed=int(row["characters_removed"]),
            documents=int(row["documents"]),
        )
        for row in read_table(path, "\t")
    ]
    return CleaningSummary(
        active=[row for row in rows if row.matches],
        idle=[row.rule for row in rows if not row.matches],
        characters_removed=sum(row.characters_removed for row in rows),
    )


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
    file = pq.ParquetFile(path)
    first = next(file.iter_batches(limit), None)
    return RejectedRows(file.metadata.num_rows, first.to_pylist() if first is not None else [])

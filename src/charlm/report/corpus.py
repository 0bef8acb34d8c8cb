"""The corpus: sizes of the splits, cleaning and rejected rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from charlm.report.results import read_table


class Size(TypedDict):
    """The size of a text."""

    documents: int
    characters: int


def corpus_sizes(path: Path) -> dict[str, Size]:
    """Return the size of each split and, as `all`, of the whole corpus."""
    sizes = {name: [0, 0] for name in ("train", "validation", "test")}
    documents, last = 0, None
    for batch in pq.ParquetFile(path).iter_batches(columns=["doc_id", "split", "text"]):
        ids = batch["doc_id"].to_numpy()
        # The two rows of a document that a contiguous split cuts follow one another.
        documents += int((np.diff(ids, prepend=-1 if last is None else last) != 0).sum())
        last = ids[-1] if len(ids) else last
        for name, size in sizes.items():
            lengths = pc.utf8_length(batch["text"].filter(pc.equal(batch["split"], name)))
            size[0] += len(lengths)
            size[1] += pc.sum(lengths).as_py() or 0
    sizes["all"] = [documents, sum(characters for _, characters in sizes.values())]
    return {name: {"documents": size[0], "characters": size[1]} for name, size in sizes.items()}


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

"""The held-out documents: those that the best model predicts worst and best, and a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from charlm.report.html import plain
from charlm.report.limits import LIMITS
from charlm.report.surprise import bits_of_characters
from charlm.text.tables import open_table, row_groups

MIN_LENGTH = 100
"""Scores of documents with fewer characters are unreliable."""


@dataclass(frozen=True)
class ScoredDocument:
    """A held-out document and its score."""

    doc_id: int
    split: str
    characters: int
    bits_per_character: float
    text: str
    """Its beginning."""
    bits: Sequence[float]
    """The bits of each character of it."""
    columns: Mapping[str, str]
    """The kept columns of its record in the source."""


@dataclass(frozen=True)
class Extremes:
    """The documents with the most and the fewest bits per character."""

    min_length: int
    """Characters of the shortest document that was considered."""
    hardest: Sequence[ScoredDocument]
    easiest: Sequence[ScoredDocument]


def document_bits(scores: pa.Table) -> npt.NDArray[np.float64]:
    """Return the bits per character of the documents that are not empty."""
    filled = scores.filter(pc.greater(scores["characters"], 0))
    bits: npt.NDArray[np.float64] = filled["bits_per_character"].to_numpy()
    return bits


def find_extremes(results: Path, scores: pa.Table, model: str) -> Extremes:
    """Return the hardest and the easiest documents, with their texts.

    Very short documents are left out, unless most of the documents are short.

    Args:
        results: The folder of the results.
        scores: The table `document_scores.parquet` of the model.
        model: The name of the model.
    """
    lengths = scores["characters"].to_numpy()
    min_length = max(1, int(min(MIN_LENGTH, np.median(lengths)))) if len(lengths) else 1
    long = _by_bits(scores.filter(pa.array(lengths >= min_length)))
    count = min(LIMITS.documents, len(long) // 2)
    chosen = pa.concat_tables([long.slice(0, count), long.slice(len(long) - count)])
    records = _read_records(results, chosen)
    # One more than is shown, to see that there are more.
    texts = [record["text"][: LIMITS.excerpt + 1] for record in records]
    bits = bits_of_characters(results / "models" / model, texts)
    documents = [
        ScoredDocument(**row, text=text, bits=each, columns=record["columns"])
        for row, record, text, each in zip(chosen.to_pylist(), records, texts, bits, strict=True)
    ]
    return Extremes(min_length, documents[:count], documents[count:][::-1])


class DocumentTable(TypedDict):
    """The scores of documents, as `templates/tables.js` shows them."""

    columns: list[str]
    rows: list[list[str | float]]


def document_table(results: Path, scores: pa.Table) -> DocumentTable:
    """Return the scores of the held-out documents, the hardest first.

    Of more than `LIMITS.table` documents, as many are chosen at even steps of rank.
    """
    ranked = _by_bits(scores)
    count = min(LIMITS.table, len(ranked))
    chosen = ranked.take(np.linspace(0, len(ranked) - 1, count).round().astype(np.int64))
    records = _read_records(results, chosen)
    names = list(records[0]["columns"]) if records else []
    return {
        "columns": ["document", "split", "characters", "bits", "text", *names],
        "rows": [
            [
                row["doc_id"],
                row["split"],
                row["characters"],
                round(row["bits_per_character"], 3),
                plain(" ".join(record["text"][: 2 * LIMITS.cell].split()), LIMITS.cell),
                *(plain(value, LIMITS.cell) for value in record["columns"].values()),
            ]
            for row, record in zip(chosen.to_pylist(), records, strict=True)
        ],
    }


def _by_bits(scores: pa.Table) -> pa.Table:
    return scores.sort_by([("bits_per_character", "descending"), ("doc_id", "ascending")])


class Record(TypedDict):
    """A document's text in its split and the kept columns of its record in the source."""

    text: str
    columns: dict[str, str]


def _read_records(results: Path, scores: pa.Table) -> list[Record]:
    """Return the record of each document of a table of scores."""
    chosen = pc.field("doc_id").isin(scores["doc_id"].combine_chunks())
    texts = {
        (row["doc_id"], row["split"]): row["text"]
        for table in row_groups(results / "corpus.parquet", ["doc_id", "split", "text"])
        for row in table.filter(chosen).to_pylist()
    }
    documents = results / "documents.parquet"
    with open_table(documents) as file:
        kept = [name for name in file.schema_arrow.names if name not in ("doc_id", "text")]
    columns = {
        row.pop("doc_id"): {
            name: "" if value is None else str(value) for name, value in row.items()
        }
        for table in row_groups(documents, ["doc_id", *kept[: LIMITS.columns]])
        for row in table.filter(chosen).to_pylist()
    }
    return [
        {"text": texts[row["doc_id"], row["split"]], "columns": columns[row["doc_id"]]}
        for row in scores.to_pylist()
    ]

"""The held-out documents that the best model predicts worst and best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from charlm.report.limits import LIMITS
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


def find_extremes(results: Path, scores: pa.Table) -> Extremes:
    """Return the hardest and the easiest documents, with their texts.

    Very short documents are left out, unless most of the documents are short.

    Args:
        results: The folder of the results.
        scores: The table `document_scores.parquet` of a model.
    """
    lengths = scores["characters"].to_numpy()
    min_length = max(1, int(min(MIN_LENGTH, np.median(lengths)))) if len(lengths) else 1
    long = scores.filter(pa.array(lengths >= min_length)).sort_by(
        [("bits_per_character", "descending"), ("doc_id", "ascending")]
    )
    count = min(LIMITS.documents, len(long) // 2)
    hardest, easiest = long.slice(0, count), long.slice(len(long) - count)

    chosen = pc.field("doc_id").isin(
        pa.concat_tables([hardest, easiest])["doc_id"].combine_chunks()
    )
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

    def with_text(table: pa.Table) -> list[ScoredDocument]:
        return [
            ScoredDocument(
                **row, text=texts[row["doc_id"], row["split"]], columns=columns[row["doc_id"]]
            )
            for row in table.to_pylist()
        ]

    return Extremes(min_length, with_text(hardest), with_text(easiest)[::-1])

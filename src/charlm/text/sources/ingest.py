"""Stage `ingest`: the documents of any table or text, as one table."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.text.sources.decoding import check_encoding
from charlm.text.sources.formats import read_file
from charlm.text.sources.locations import named_files
from charlm.text.sources.records import UNDECODABLE, Records, Request, one_line
from charlm.text.tables import TableWriter, output

REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("excerpt", pa.string()),
    ]
)


def ingest(
    source: str | Sequence[str],
    documents: str | Path,
    rejected: str | Path,
    *,
    format: str = "auto",
    text_columns: Sequence[str],
    keep_columns: Sequence[str] = (),
    separator: str = "\n\n",
    encoding: str = "utf-8",
    max_documents: int | None = None,
    max_rejected_fraction: float = 0.01,
    paths: Sequence[str | Path] | None = None,
) -> None:
    """Write `documents` (doc_id int64, text string, kept columns) and `rejected` as Parquet.

    `doc_id` counts the records of the whole source from 0, with rejected ones. A missing text is
    null. `rejected` has the columns source, row (from 1, without the header), reason and excerpt.

    Args:
        source: Paths, globs or `package:NAME`; see `resolve_source`.
        documents: The table to write.
        rejected: The table of unusable records to write.
        format: `csv`, `tsv`, `jsonl`, `parquet`, `text`, or `auto`: by the file's suffix.
        text_columns: Columns whose texts are joined by `separator`; empty for plain text.
        keep_columns: Other columns to keep.
        separator: The string between the texts of several columns.
        encoding: Encoding of text files without a byte order mark.
        max_documents: Take at most this many of the documents with text, evenly spaced.
        max_rejected_fraction: Raise an error if a larger fraction of the records is rejected.
        paths: Local copies of the source's files, if they are remote.

    Raises:
        CharlmError: The source cannot be read, lacks a column, or has no text or too many
            unusable records.
    """
    files = named_files(source)
    if paths is not None:
        files = [(name, Path(path)) for (name, _), path in zip(files, paths, strict=True)]
    check_encoding(encoding)
    keep_columns = list(dict.fromkeys(keep_columns))

    def read() -> Iterator[tuple[str, int, int, Records]]:
        first_id = 0
        for name, path in files:
            row = 0
            request = Request(name, tuple(text_columns), tuple(keep_columns), separator, encoding)
            for records in read_file(path, request, format):
                yield name, first_id, row, records
                first_id += records.total
                row += records.total

    chosen: NDArray[np.int64] | None = None
    if max_documents is not None:
        usable = sum(len(records.text) - records.text.null_count for *_, records in read())
        count = min(max_documents, usable)
        chosen = np.arange(count, dtype=np.int64) * usable // max(count, 1)

    first_reject: tuple[str, int, str] | None = None
    total = present = unusable = 0
    with (
        output(rejected) as rejected_path,
        output(documents) as documents_path,
        TableWriter(rejected_path) as rejects,
        TableWriter(documents_path) as writer,
    ):
        rejects.add(REJECTED.empty_table())
        with progress(None, "ingest", " records") as bar:
            for name, first_id, row, records in read():
                if records.rejected:
                    rows = [
                        {"source": name, "row": row + place + 1, "reason": reason, "excerpt": text}
                        for place, reason, text in records.rejected
                    ]
                    rejects.add(pa.Table.from_pylist(rows, REJECTED))
                    place, reason, _ = records.rejected[0]
                    first_reject = first_reject or (name, row + place + 1, reason)
                    unusable += len(rows)
                total += records.total
                bar.update(records.total)
                table = pa.table(
                    [pa.array(first_id + records.places), records.text, *records.kept],
                    names=["doc_id", "text", *keep_columns],
                )
                with_text = len(table) - records.text.null_count
                if chosen is not None:
                    low, high = np.searchsorted(chosen, [present, present + with_text])
                    table = table.filter(records.text.is_valid())
                    table = table.take(pa.array(chosen[low:high] - present))
                present += with_text
                try:
                    writer.add(table)
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
                    raise CharlmError(
                        f"{name}: its columns differ from the first file's: {one_line(error)}"
                    ) from None
        where = files[0][0] if len(files) == 1 else f"{files[0][0]} and {len(files) - 1} more"
        if total == 0:
            raise CharlmError(f"{where}: there is no record in it; give a file with documents")
        if first_reject:
            _report(first_reject, unusable, total, max_rejected_fraction)
        if present == 0:
            columns = " and ".join(map(repr, text_columns)) or "the text"
            raise CharlmError(
                f"{where}: {columns} is empty or missing in all {total:,} records; "
                "name another column in corpus.text_columns"
            )


def _report(first: tuple[str, int, str], unusable: int, total: int, limit: float) -> None:
    """Report how many records cannot be used; raise an error if they are too many."""
    name, row, reason = first
    share = f"{unusable:,} of {total:,} records cannot be used ({unusable / total:.2%})"
    if unusable > limit * total:
        cure = "correct the source"
        if reason.startswith(UNDECODABLE):
            cure = "set corpus.encoding (cp1252, say)"
        raise CharlmError(
            f"{name}: row {row}: {reason}; {share}, and corpus.max_rejected_fraction is {limit:g}: "
            f"{cure} or raise the limit"
        )
    print(f"{name}: row {row}: {reason}; {share}, see rejected.parquet", file=sys.stderr)

"""Stage `ingest`: the documents of tables and texts of any format, as one table."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.text.sources.column_types import common_types, with_types
from charlm.text.sources.columns import Keys
from charlm.text.sources.decoding import check_encoding
from charlm.text.sources.dialect import Dialect
from charlm.text.sources.formats import check_file, has_keys, read_file
from charlm.text.sources.locations import is_remote, named_files
from charlm.text.sources.records import HOW_TO_DECODE, Records, Request, one_line
from charlm.text.tables import TableWriter, output

log = logging.getLogger(__name__)

CHECKED_FILES = 100
"""Number of files whose columns are checked before any job starts."""

CHECKED_BYTES = 64 << 20
"""Size of the JSON lines that are searched for the columns before any job starts."""

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
    encoding: str = "utf-8",
    text_columns: Sequence[str | int] = ("text",),
    separator: str = "\n\n",
    keep_columns: Sequence[str | int] = (),
    max_documents: int | None = None,
    max_rejected_fraction: float = 0.01,
    csv: Mapping[str, Any] | None = None,
    document: str = "file",
    paths: Sequence[str | Path] | None = None,
) -> None:
    """Write `documents` (doc_id int64, text string, kept columns) and `rejected` as Parquet.

    `doc_id` numbers the records of the whole source from 0, rejected ones included. A missing text
    is null. `rejected` has the columns source, row (from 1, without the header), reason, excerpt.

    Args:
        source: Paths, globs or `package:NAME`; see `resolve_source`.
        documents: The table to write.
        rejected: The table of unusable records to write.
        format: `csv`, `tsv`, `jsonl`, `parquet`, `text`, or `auto`: by the file's suffix.
        encoding: Encoding of text files without a byte order mark.
        text_columns: Columns whose texts are joined by `separator`; ignored for plain text. They
            are numbers, from 0, if a CSV file has no header.
        separator: The string between the texts of several columns.
        keep_columns: Other columns to keep.
        max_documents: Take at most this many of the documents with text, evenly spaced.
        max_rejected_fraction: Raise an error if a larger fraction of the records, of their lines or
            of their characters is rejected.
        csv: The fields of `Dialect` for CSV and TSV files.
        document: What is one document of plain text: the `file`, a `line` or a `paragraph`.
        paths: Local copies of the source's files, if they are remote.

    Raises:
        CharlmError: The source cannot be read, changes meanwhile, lacks a column, or has no text or
            too many unusable records.
    """
    files = named_files(source)
    if paths is not None:
        files = [(name, Path(path)) for (name, _), path in zip(files, paths, strict=True)]
    check_encoding(encoding)
    columns = tuple(map(str, text_columns)), tuple(dict.fromkeys(map(str, keep_columns)))
    dialect = dialect_of(csv)
    requests = [
        (path, Request(name, *columns, separator, encoding, dialect, document))
        for name, path in files
    ]
    before = [_state(path) for path, _ in requests]
    types = common_types(requests, format)
    chosen = None
    if max_documents is not None:
        chosen = _evenly_spaced(_read(requests, format), max_documents)
    with (
        output(rejected) as rejected_path,
        output(documents) as documents_path,
        TableWriter(rejected_path) as rejects,
        TableWriter(documents_path) as writer,
    ):
        rejects.add(REJECTED.empty_table())
        counts = _Counts()
        keys = _KeysOfSource()
        with progress(None, "ingest", " records") as bar:
            for part in _read(requests, format):
                if part.records.rejected:
                    rejects.add(part.rejected_table())
                table = part.table(requests[0][1].keep_columns)
                with_text = len(table) - part.records.text.null_count
                if chosen is not None:
                    low, high = np.searchsorted(
                        chosen, [counts.with_text, counts.with_text + with_text]
                    )
                    table = table.filter(part.records.text.is_valid())
                    table = table.take(pa.array(chosen[low:high] - counts.with_text))
                counts.add(part, with_text)
                keys.add(part)
                bar.update(part.records.total)
                try:
                    writer.add(with_types(table, types))
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
                    raise CharlmError(
                        f"{part.name}: its columns differ from the first file's: "
                        f"{one_line(error)}; convert them to the same types"
                    ) from None
        for (path, request), state in zip(requests, before, strict=True):
            if _state(path) != state:
                raise request.error(
                    "it changed while it was read; run again when no program writes to it"
                )
        where = _names(requests)
        keys.check(replace(requests[0][1], name=where))
        keys.warn(requests[0][1].text_columns)
        counts.check(where, columns[0], max_rejected_fraction)


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes when a program writes to a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def dialect_of(csv: Mapping[str, Any] | None) -> Dialect:
    """Return the dialect that the settings `corpus.csv` describe."""
    settings = dict(csv or {})
    return Dialect(**settings | {"na_values": tuple(settings.get("na_values", ()))})


def check_columns(
    source: str | Sequence[str],
    *,
    format: str = "auto",
    encoding: str = "utf-8",
    text_columns: Sequence[str | int] = ("text",),
    keep_columns: Sequence[str | int] = (),
    csv: Mapping[str, Any] | None = None,
    **_: object,
) -> None:
    """Check that the local files of a source have the columns, reading as little as possible.

    JSON objects may lack keys, so they are read until each column has occurred, but at most the
    first `CHECKED_BYTES`.

    Args:
        source: Paths, globs or `package:NAME`; see `resolve_source`.
        format: As in `ingest`.
        encoding: As in `ingest`.
        text_columns: As in `ingest`.
        keep_columns: As in `ingest`.
        csv: As in `ingest`.

    Raises:
        CharlmError: One of the first `CHECKED_FILES` files cannot be read or lacks a column.
    """
    check_encoding(encoding)
    columns = tuple(map(str, text_columns)), tuple(map(str, keep_columns))
    files = [
        (path, Request(name, *columns, "", encoding, dialect_of(csv)))
        for name, path in named_files(source)
    ]
    local = [(path, request) for path, request in files if not is_remote(request.name)]
    for path, request in local[:CHECKED_FILES]:
        check_file(path, request, format)
    if local == files and all(has_keys(path, request, format) for path, request in files):
        _check_keys(files, format)


def _check_keys(files: Sequence[tuple[Path, Request]], format: str) -> None:
    """Check that each column is a key of an object, unless that takes too long to tell.

    Raises:
        CharlmError: A file cannot be read, or a column does not occur in any.
    """
    keys = _KeysOfSource()
    wanted = set(files[0][1].columns)
    size = 0
    for part in _read(files, format):
        keys.add(part)
        size += part.records.size
        if keys.everywhere.found >= wanted or size > CHECKED_BYTES:
            return
    keys.check(replace(files[0][1], name=_names(files)))


def _names(files: Sequence[tuple[Path, Request]]) -> str:
    """Return the name of the first file, and the number of the others."""
    first = files[0][1].name
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


class _Part(NamedTuple):
    """Consecutive records of a file."""

    name: str
    """The name of the file."""
    first_id: int
    """The `doc_id` of the first record."""
    first_row: int
    """The number of the first record within its file, from 1."""
    records: Records

    def table(self, keep_columns: Sequence[str]) -> pa.Table:
        """Return the usable records as documents."""
        return pa.table(
            [
                pa.array(self.first_id + self.records.places),
                self.records.text,
                *self.records.kept,
            ],
            names=["doc_id", "text", *keep_columns],
        )

    def rejected_table(self) -> pa.Table:
        """Return the unusable records."""
        rows = [
            {"source": self.name, "row": self.first_row + place, "reason": reason, "excerpt": text}
            for place, reason, text in self.records.rejected
        ]
        return pa.Table.from_pylist(rows, REJECTED)


def _read(files: Sequence[tuple[Path, Request]], format: str) -> Iterator[_Part]:
    """Yield the records of all files, in order."""
    first_id = 0
    for path, request in files:
        row = 1
        for records in read_file(path, request, format):
            yield _Part(request.name, first_id, row, records)
            first_id += records.total
            row += records.total


def _evenly_spaced(parts: Iterator[_Part], most: int) -> npt.NDArray[np.int64]:
    """Return which of the documents with text to take, as indices: at most `most` of them."""
    total = sum(len(part.records.text) - part.records.text.null_count for part in parts)
    count = min(most, total)
    return np.array([number * total // count for number in range(count)], np.int64)


@dataclass
class _KeysOfSource:
    """The keys of all files; a column may be missing from some records and files, but not all."""

    everywhere: Keys = field(default_factory=Keys)
    in_files: dict[str, Keys] = field(default_factory=dict)
    all_columns: bool = False
    """Whether there is a file with a header, which has all columns."""

    def add(self, part: _Part) -> None:
        """Add the keys of a part."""
        keys = part.records.keys
        if keys is None:
            self.all_columns = True
        else:
            self.everywhere.add(keys)
            self.in_files.setdefault(part.name, Keys()).add(keys)

    def check(self, request: Request) -> None:
        """Check that each column occurs.

        Raises:
            CharlmError: A column does not occur.
        """
        found, others = self.everywhere.found, self.everywhere.others
        if others and not self.all_columns and not found.issuperset(request.columns):
            request.indices([*others, *(found - others.keys())])

    def warn(self, text_columns: Sequence[str]) -> None:
        """Log the files without any text column."""
        texts = " or ".join(map(repr, text_columns))
        for name, keys in self.in_files.items():
            if keys.others and keys.found.isdisjoint(text_columns):
                log.warning(
                    f"{name}: no record has {texts}, so it adds no text; leave it out of "
                    "corpus.source or name its column in corpus.text_columns"
                )


@dataclass
class _Counts:
    """Counts of the records read so far, and where the first unusable one is."""

    total: int = 0
    with_text: int = 0
    unusable: int = 0
    lines: int = 0
    unusable_lines: int = 0
    size: int = 0
    unusable_size: int = 0
    advice: str = ""
    """How to read the unusable records, if a reader knows."""
    first_unusable: tuple[str, int, str] | None = None
    """The name of its file, its row and the reason."""
    notes: dict[tuple[str, str], tuple[int | None, int]] = field(default_factory=dict)
    """By file and text: the first row, and the number of notes."""
    replaced: int = 0
    """Number of characters that were replaced by U+FFFD."""

    def add(self, part: _Part, with_text: int) -> None:
        """Count the records of a part, `with_text` of which have a text."""
        records = part.records
        advised = records.advice and not self.advice
        if records.rejected and (advised or self.first_unusable is None):
            # Name a record for which there is advice, if there is one.
            place, reason, _ = records.rejected[min(records.numbered, default=0)]
            self.first_unusable = (part.name, part.first_row + place, reason)
        self.total += records.total
        self.with_text += with_text
        self.unusable += len(records.rejected)
        self.lines += records.lines
        self.unusable_lines += records.lost_lines
        self.size += records.size
        self.unusable_size += records.lost_size
        self.advice = self.advice or records.advice
        for note in records.notes:
            row = None if note.place is None else part.first_row + note.place
            first, count = self.notes.get((part.name, note.text), (row, 0))
            self.notes[part.name, note.text] = first, count + 1
        self.replaced += records.replaced

    def check(self, where: str, text_columns: Sequence[str], max_fraction: float) -> None:
        """Check that there are records with text; log notes and the number of unusable records.

        Raises:
            CharlmError: There is no text, or a larger fraction than `max_fraction` is unusable.
        """
        if self.total == 0:
            raise CharlmError(f"{where}: it has no records; give a file with documents")
        for (name, text), (row, count) in self.notes.items():
            place = "" if row is None else f"row {row}: "
            more = f" ({count:,} such records)" if row and count > 1 else ""
            log.warning("%s: %s%s%s", name, place, text, more)
        if self.replaced:
            log.warning(
                f"{where}: {self.replaced:,} lone surrogate{'s'[: self.replaced != 1]} (halves of "
                "characters such as emoji) became U+FFFD"
            )
        if self.first_unusable:
            self._report_unusable(*self.first_unusable, max_fraction)
        if self.with_text == 0:
            columns = " and ".join(map(repr, text_columns)) or "the text"
            raise CharlmError(
                f"{where}: {columns} is empty or missing in all {self.total:,} records; "
                "name another column in corpus.text_columns"
            )

    def _report_unusable(self, name: str, row: int, reason: str, max_fraction: float) -> None:
        fraction = self.unusable / self.total
        of_lines = self.unusable_lines / max(1, self.lines)
        of_text = self.unusable_size / max(1, self.size)
        largest = max(fraction, of_lines, of_text)
        share = f"{self.unusable:,} of {self.total:,} records cannot be used ({fraction:.2%})"
        if largest > 2 * fraction:
            share += f", which are {of_lines:.2%} of the lines and {of_text:.2%} of the characters"
        fixes = (fix for what, fix in HOW_TO_DECODE.items() if reason.startswith(what))
        fix = next(fixes, self.advice)
        if largest > max_fraction:
            raise CharlmError(
                f"{name}: row {row}: {reason}; {share}, and corpus.max_rejected_fraction is "
                f"{max_fraction:g}: {fix or 'fix the source'} or raise the limit"
            )
        advice = f"; {fix}" if fix else ""
        log.warning("%s: row %s: %s; %s, see rejected.parquet%s", name, row, reason, share, advice)

"""The layout of a CSV or TSV file: its delimiter and its columns, from its first lines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from charlm.text.sources import record_boundaries
from charlm.text.sources.blocks import Block, join_blocks
from charlm.text.sources.decoding import utf8_chunks
from charlm.text.sources.dialect import SEPARATOR_LINE, Dialect, Patterns
from charlm.text.sources.irregular import SINGLE_QUOTES, may_be_irregular
from charlm.text.sources.records import Request

DELIMITERS = ",;\t|"

NO_NAME = re.compile(r"[-+]?\d+([.,]\d+)?|.{80,}|(\S+\s+){2,}.*[.!?]", re.DOTALL)
"""A number, a long text or a sentence, which are seldom the name of a column."""


LETTER_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*+\\[nrt]")
r"""An escape such as `\n`, which PostgreSQL writes for a line end."""

LOST_ESCAPES = (
    r"escapes such as \n lose their backslash, as in pandas; leave out corpus.csv.escapechar and "
    "replace them in cleaning.rules"
)


@dataclass(frozen=True)
class Layout:
    """What the first lines of a file say.

    Attributes:
        dialect: The dialect, with the delimiter.
        names: The names of the columns.
        indices: The indices of the columns to read.
        start: The offset of the first record.
        line: Number of lines before the first record.
        irregular: Whether a field among the first ones goes on after its closing quote.
        notes: What the user should know about how the file is read.
    """

    dialect: Dialect
    names: Sequence[str]
    indices: Sequence[int]
    start: int
    line: int
    irregular: bool
    notes: Sequence[str]

    @property
    def patterns(self) -> Patterns:
        """The patterns of the file's records."""
        return self.dialect.patterns(len(self.names))


def read_layout(path: Path, codec: str | None, request: Request, delimiter: str) -> Layout:
    """Return the layout of a file; `delimiter` is the one of its format.

    Without `corpus.csv.delimiter`, a line `sep=;` names the delimiter. If the file has no such line
    and lacks the requested columns, a delimiter is used with which it has them.

    Raises:
        CharlmError: The file is empty, or its header is not closed or lacks a column.
    """
    dialect = replace(request.dialect, delimiter=request.dialect.delimiter or delimiter)
    cut = partial(record_boundaries.header_cut, dialect=dialect)
    head = next(join_blocks(utf8_chunks(path, codec, request), cut, request), Block(b"")).data
    sample = next(utf8_chunks(path, codec, request), b"")
    sample = sample[: sample.rfind(b"\n") + 1]
    notes: list[str] = []
    if request.dialect.delimiter is None:
        found = _delimiter_of(head, dialect, request)
        if found:
            dialect = replace(dialect, delimiter=found)
            notes.append(
                f"its delimiter is {found!r}; set corpus.csv.delimiter to {found!r} to be sure"
            )
    names, start, end = record_boundaries.read_header(head, dialect)
    if end == len(head) and dialect.ends_open(head.decode("latin-1")):
        raise request.error("a quote in its header line is never closed; fix that line")
    if not names:
        raise request.error("it is empty; give a file with a header line and documents")
    indices = request.indices(names, _hint(names, head, dialect, request))
    if dialect.header is None and len(names) == 1 and (other := _consistent(sample, dialect)):
        notes.append(
            f"it is read as a single column; if {other!r} is its delimiter, set "
            f"corpus.csv.delimiter to {other!r}"
        )
    if dialect.quotechar == '"' and _single_quotes(sample[start:], indices, dialect):
        notes.append(f"most texts begin and end with a single quote; {SINGLE_QUOTES}")
    if dialect.escapechar == "\\" and LETTER_ESCAPE.search(sample):
        notes.append(LOST_ESCAPES)
    irregular = may_be_irregular(Block(sample), dialect, dialect.patterns(len(names)))
    return Layout(dialect, names, indices, start, count_lines(head[:start]), irregular, notes)


def count_lines(data: bytes) -> int:
    r"""Return the number of line ends.

    >>> count_lines(b"a\nb\r\nc\r")
    3
    """
    count = int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))
    if b"\r" in data:
        count += data.count(b"\r") - data.count(b"\r\n")
    return count


def _delimiter_of(head: bytes, dialect: Dialect, request: Request) -> str | None:
    """Return the delimiter that a file names or needs, if it is not the one of its format."""
    if named := SEPARATOR_LINE.match(head):
        found = named[1].decode()
        return None if found == dialect.delimiter else found
    names, *_ = record_boundaries.read_header(head, dialect)
    if set(request.columns) <= set(names):
        return None
    for other in DELIMITERS:
        names, *_ = record_boundaries.read_header(head, replace(dialect, delimiter=other))
        if len(names) > 1 and set(request.columns) <= set(names):
            return other
    return None


def _hint(names: Sequence[str], head: bytes, dialect: Dialect, request: Request) -> str:
    """Return what to do if a column is missing; an empty string if there is no special advice."""
    if dialect.header is None:
        return f"number the columns from 0 to {len(names) - 1}"
    if any(len(name) > 2 and name[0] == name[-1] == "'" for name in names):
        return SINGLE_QUOTES
    for other in DELIMITERS:
        if len(names) == 1 and other in names[0]:
            return f"if {other!r} is its delimiter, set corpus.csv.delimiter to {other!r}"
    if any(map(NO_NAME.fullmatch, names)):
        longest = max(range(len(names)), key=lambda index: len(names[index]))
        return (
            "if it has no header line, set corpus.csv.header to null and "
            f"corpus.text_columns to [{longest}]"
        )
    return ""


def _single_quotes(sample: bytes, indices: Sequence[int], dialect: Dialect) -> bool:
    """Return whether most texts among the first records are within single quotes."""
    rows = islice(dialect.rows(sample.decode("latin-1")), 100)
    texts = [row.values[indices[0]] for row in rows if len(row.values) > indices[0]]
    return 2 * sum(len(text) > 1 and text[0] == text[-1] == "'" for text in texts) > len(texts)


def _consistent(sample: bytes, dialect: Dialect) -> str | None:
    """Return a delimiter that splits the first records into equally many fields, if any does."""
    text = sample.decode("latin-1")
    for other in DELIMITERS:
        rows = replace(dialect, delimiter=other).rows(text)
        widths = [len(row.values) for row, _ in zip(rows, range(20), strict=False)]
        if max(widths, default=1) > 1 and len(set(widths)) == 1:
            return other
    return None

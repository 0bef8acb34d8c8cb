r"""Records of CSV and TSV files whose quotes are not those of RFC 4180.

A quote that is never closed, or quotes in a file that does not quote, can turn many records into
one. Such a record is rejected. So is one with `\"` within quotes, whose text would be mangled.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from charlm.text.sources.blocks import Block, FileBlock
from charlm.text.sources.dialect import Dialect, Patterns, Row
from charlm.text.sources.records import excerpt
from charlm.text.tables import utf8_buffer

SCAN_BYTES = 1 << 18
"""Bytes that are scanned at a time."""

MANY_LINES = 12
"""Number of line ends from which a text may be several records."""

LONGEST = 4
"""Number of the longest texts in which a line may be a numbered record."""

FAR_LONGER = 100
"""Ratio to the mean length from which a text of many lines may be several records."""

NO_QUOTES = "set corpus.csv.quoting to none if the file does not quote"
UNCLOSED = f"close the quote, or {NO_QUOTES}"
ESCAPES = r"set corpus.csv.escapechar to '\'"

SINGLE_QUOTES = """set corpus.csv.quotechar to "'" if the file quotes with single quotes"""

AFTER_QUOTE = f"a field goes on after its closing quote, and has lost its quotes; {NO_QUOTES}"
LIKE_RECORDS = (
    "several lines within one pair of quotes, and they look like records; close the quote that "
    f"opens there, or {NO_QUOTES}"
)
NULL_MARKS = (
    r"some texts are \N, a missing value in files of MySQL; set corpus.csv.na_values to ['\N']"
)
REPEATED_HEADER = (
    "a record looks like the header, as if several files had been joined; remove it if it is one"
)
LONG = "many lines within one pair of quotes, far more than in others; check that it is one record"


class OpenQuoteError(Exception):
    """A quote is never closed."""

    def __init__(self, line: int, lines: int, text: str) -> None:
        """Take the number of lines before the quote, and the lines and the text after it."""
        super().__init__(line, lines, text)
        self._line = line
        self._lines = lines
        self._text = text

    def after(self, lines: int) -> "OpenQuoteError":
        """Return the error for a block with more lines before."""
        return OpenQuoteError(self._line + lines, self._lines, self._text)

    def message(self, before: int) -> str:
        """Return the error message, given the number of lines before this block."""
        escape = f", or {ESCAPES}" if '\\"' in self._text else ""
        return (
            f"line {before + self._line + 1}: the quote that opens here is never closed, and "
            f"takes in the last {self._lines:,} line{'s'[: self._lines != 1]} "
            f"({len(self._text):,} characters): "
            f'"{excerpt(self._text.splitlines()[0])[:40]}; {UNCLOSED}{escape}'
        )


def open_quote_error(row: Row) -> OpenQuoteError:
    """Return the error for a record at the end of a file, whose last field is open."""
    text = row.values[-1]
    lines = _count_lines(text)
    return OpenQuoteError(row.line + row.lines - lines, lines, text)


class Problem(NamedTuple):
    """Why a record is rejected."""

    reason: str
    """The reason, with `{line}` for a line number."""
    line: int
    """Number of lines before that line."""
    advice: str
    """How the file may be read."""


def problem_of(row: Row, raw: str, dialect: Dialect, patterns: Patterns) -> Problem | str | None:
    """Return why a record is to be rejected, or a doubt about it, or None if it is regular.

    Args:
        row: The record.
        raw: Its text in the file.
        dialect: The dialect of the file.
        patterns: The patterns of this dialect.
    """
    data = raw.encode("utf-8", "surrogateescape")
    if not patterns.broken or patterns.record.fullmatch(data):
        return None
    found = patterns.broken.search(data)
    start, end = found.span() if found else (0, len(data) + 1)
    line = row.line + _count_lines(raw[: len(data[:start].decode("utf-8", "ignore"))])
    # The pattern includes the character after the closing quote.
    taken = data[start : end - 1].decode("utf-8", "replace")
    mark, quote = re.escape(dialect.mark), re.escape(dialect.quotechar)
    escaped = rf"\\{quote}(?:{quote}{quote})*+(?![{quote}{mark}\r\n])"
    if not dialect.escapechar and re.search(escaped, raw):
        return Problem(f"\\{dialect.quotechar} within quotes in line {{line}}", line, ESCAPES)
    if row.lines > 1:
        lines = _count_lines(taken) + 1
        return Problem(
            f"the quote that opens in line {{line}} takes in {lines:,} lines "
            f"({len(taken):,} characters) and then closes within a field",
            line,
            UNCLOSED,
        )
    return AFTER_QUOTE


def advice_for_fields(row: Row, raw: str, before: str, dialect: Dialect, width: int) -> str:
    """Return how to read a record with another number of fields than `width`, if that shows.

    Args:
        row: The record.
        raw: Its text in the file.
        before: The end of the text before it.
        dialect: The dialect of the file.
        width: Number of fields of a record.
    """
    escaped = f"\\{dialect.mark}" in raw or before.rstrip("\r\n").endswith("\\")
    if escaped and not dialect.escapechar:
        return ESCAPES
    mark = re.escape(dialect.mark)
    start = raw[:300]  # few characters, since a search can take quadratic time
    if re.search(rf"(?:^|{mark})'[^']*{mark}[^']*'(?:{mark}|[\r\n]|$)", start):
        return SINGLE_QUOTES
    if re.search(rf'{mark} +"', start):
        return "remove the spaces before the quotes"
    if (
        dialect.quotes
        and dialect.mark == "\t"
        and len(row.values) < width
        and dialect.quotechar in raw
    ):
        return NO_QUOTES
    return ""


def may_be_irregular(data: Block | FileBlock, dialect: Dialect, patterns: Patterns) -> bool:
    r"""Return whether some quotes may not be those of RFC 4180.

    If all quotes begin or end fields or are doubled, every other quote must open a field or be the
    second of a pair, and the ones between must close a field or be the first of a pair.

    >>> dialect = Dialect(",")
    >>> [may_be_irregular(Block(data), dialect, dialect.patterns(2))
    ...  for data in (b'1,"a\n2,"b\n', b'1,"a ""b"" c"\n')]
    [True, False]
    """
    if not patterns.broken:
        return False
    if dialect.escapechar:
        return bool(patterns.broken.search(data.data))
    allowed = np.zeros(256, bool)
    allowed[list(f"{dialect.mark}\r\n{dialect.quotechar}".encode())] = True
    count, before = 0, b"\n"
    with data.open() as file:
        # Memory that is used again is much faster than new memory.
        while chunk := file.read(SCAN_BYTES):
            codes = np.frombuffer(before + chunk, np.uint8)
            before = (before + chunk)[-2:]
            quotes = np.flatnonzero(codes[1:-1] == ord(dialect.quotechar)) + 1
            first, second = quotes[count % 2 :: 2], quotes[1 - count % 2 :: 2]
            if not (allowed[codes[first - 1]].all() and allowed[codes[second + 1]].all()):
                return True
            count += len(quotes)
    return False


def doubt_of_longest(
    columns: Sequence[pa.Array], delimiter: str, width: int, line_ends: bool = True
) -> Iterator[tuple[int, str]]:
    """Yield a row and why its text may be several records, for the longest texts of each column.

    In tab-separated files, texts seldom have tabs, so each text with a tab is looked at.

    Args:
        columns: The columns.
        delimiter: The delimiter of the file.
        width: Number of fields of a record.
        line_ends: Whether some texts have line ends.
    """
    for texts in columns:
        ends, data = utf8_buffer(texts)
        sizes = np.diff(ends)
        if not len(sizes):
            continue
        rows = [int(sizes.argmax())]
        if delimiter == "\t":
            rows = np.flatnonzero(pc.match_substring(texts, delimiter)).tolist() or rows
        elif line_ends and width > 1:
            numbered = re.compile(rb"\n\d+" + re.escape(delimiter.encode()))
            for row in np.argsort(sizes)[-LONGEST:-1].tolist():
                if numbered.search(data, ends[row], ends[row + 1]):
                    rows.append(row)
        for row in rows:
            text = bytes(data[ends[row] : ends[row + 1]])
            doubt = doubt_of(text, int(sizes.sum()), len(sizes), delimiter, width)
            if doubt:
                yield row, doubt


def odd_values(texts: Sequence[pa.Array], columns: Mapping[str, pa.Array]) -> Iterator[str]:
    r"""Yield what values of some records suggest.

    Args:
        texts: Columns in which `\N` is no missing value.
        columns: All columns that are read, by their names in the header.
    """
    if any(pc.index(values, r"\N").as_py() >= 0 for values in texts):
        yield NULL_MARKS
    equal = [pc.equal(values, name) for name, values in columns.items()]
    if equal and pc.any(reduce(pc.and_, equal)).as_py():
        yield REPEATED_HEADER


def doubt_of(text: bytes, total: int, count: int, delimiter: str, width: int) -> str | None:
    """Return why a text may be several records, or None.

    Args:
        text: One of some texts.
        total: The size of all of them in bytes.
        count: Number of them.
        delimiter: The delimiter of the file.
        width: Number of fields of a record.
    """
    lines, mark = text.splitlines(), delimiter.encode()
    tabs = delimiter == "\t" and width > 1
    if tabs and any(line.count(mark) == width - 1 for line in lines[1:]):
        return LIKE_RECORDS
    if 2 < len(lines) <= MANY_LINES and width > 1:
        numbered = re.compile(rb"\d+" + re.escape(mark))
        if all(numbered.match(line) and line.count(mark) == width - 1 for line in lines[1:]):
            return LIKE_RECORDS
    if len(lines) <= MANY_LINES:
        return None
    inner = lines[1:-1]
    alike = sum(line.count(mark) == width - 1 for line in inner)
    if width > 1 and 2 * alike > len(inner):
        return LIKE_RECORDS
    if count > MANY_LINES and len(text) * (count - 1) > FAR_LONGER * (total - len(text)):
        return LONG
    return None


def _count_lines(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")

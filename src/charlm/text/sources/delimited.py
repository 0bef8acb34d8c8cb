"""CSV and TSV files."""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from charlm.text.sources import record_boundaries
from charlm.text.sources.blocks import Block, FileBlock, join_blocks
from charlm.text.sources.decoding import utf8_chunks, utf8_mark
from charlm.text.sources.dialect import Dialect, Patterns, Row, open_row
from charlm.text.sources.irregular import (
    MANY_LINES,
    SCAN_BYTES,
    OpenQuoteError,
    Problem,
    advice_for_fields,
    doubt_of_longest,
    may_be_irregular,
    odd_values,
    open_quote_error,
    problem_of,
)
from charlm.text.sources.layout import Layout, count_lines, read_layout
from charlm.text.sources.record_boundaries import WrongCutError
from charlm.text.sources.records import (
    MISSING,
    Note,
    Records,
    Request,
    excerpt,
    first_reason,
)
from charlm.text.tables import ordered_map, utf8_buffer

CSV_BYTES = 8 << 20
"""Bytes of CSV that a thread parses at a time."""

ARROW_BYTES = 1 << 19
"""Bytes of CSV that Arrow parses at a time."""

LINE_ENDS = (b"\r", b"\n")

csv.field_size_limit(sys.maxsize)


def check_delimited(path: Path, codec: str | None, request: Request, *, delimiter: str) -> None:
    """Check the header of a CSV or TSV file.

    Raises:
        CharlmError: The file is empty, or its header is not closed or lacks a column.
    """
    read_layout(path, codec, request, delimiter)


def read_delimited(
    path: Path, codec: str | None, request: Request, *, delimiter: str
) -> Iterator[Records]:
    """Yield the records of a CSV or TSV file.

    Only reading everything before a record shows for sure where it starts, so the starts of blocks
    are guessed. If a block ends with a whole record, the next one must start with one. If not, the
    rest of the file is read again with a slower method; the last method is exact.

    Raises:
        CharlmError: The file is empty, its header lacks a column, or a quote is never closed.
    """
    file_size = path.stat().st_size
    layout = read_layout(path, codec, request, delimiter)
    missing = pa.array([*MISSING.to_pylist(), *layout.dialect.na_values])
    parser = _Parser(request, layout, layout.patterns, missing)
    exact = partial(record_boundaries.exact_cut, dialect=layout.dialect)
    likely = partial(record_boundaries.likely_cut, patterns=parser.patterns, otherwise=exact)
    plain = utf8_mark(path, request) if codec is None else None
    done, line = layout.start, layout.line

    def cut_in_blocks() -> Iterator[Iterator[Block | FileBlock]]:
        def rest() -> Iterator[bytes]:
            return record_boundaries.skip(utf8_chunks(path, codec, request), done)

        if plain is not None:
            start = plain + done
            yield record_boundaries.file_blocks(path, start, CSV_BYTES, parser.patterns)
        yield join_blocks(rest(), likely, request, CSV_BYTES)
        yield join_blocks(rest(), exact, request, ARROW_BYTES)

    notes = [Note(None, text) for text in layout.notes]
    for method, blocks in enumerate(cut_in_blocks(), start=plain is None):
        try:
            for parts in ordered_map(partial(parser.parse, exact=method == 2), blocks):
                for records in parts:
                    records.notes, notes = notes + records.notes, []
                    yield records.with_lines_from(line)
                    line += records.lines
                    done += records.size
            request.check_size(path, file_size)
            return
        except WrongCutError:
            continue
        except OpenQuoteError as error:
            raise request.error(error.message(line)) from None
    raise AssertionError("an exact cut was wrong")


@dataclass(frozen=True)
class _Parser:
    """Parses the blocks of a file.

    Attributes:
        request: The columns to read.
        layout: The layout of the file.
        patterns: The patterns of its records.
        missing: The values that stand for a missing text.
    """

    request: Request
    layout: Layout
    patterns: Patterns
    missing: pa.Array

    @property
    def dialect(self) -> Dialect:
        """The dialect of the file."""
        return self.layout.dialect

    @property
    def width(self) -> int:
        """Number of fields of a record."""
        return len(self.layout.names)

    @property
    def _numbers(self) -> list[str]:
        """The numbers of all columns, as names for Arrow."""
        return [str(index) for index in range(self.width)]

    def parse(self, block: Block | FileBlock, exact: bool = False) -> list[Records]:
        """Return the records of a block.

        Raises:
            WrongCutError: The block does not end at a record boundary, or, unless `exact`, it is
                too large to be read record by record.
            OpenQuoteError: A quote is open at the end of the file.
        """
        size = len(block)
        signs = self._signs_in(block)
        suspicious = signs.commented
        if self.layout.irregular or self.dialect.mark == "\t" or signs.escaped:
            suspicious = suspicious or may_be_irregular(block, self.dialect, self.patterns)
        parts = None if suspicious else self._parse_with_arrow(block)
        if parts is not None:
            # Only a record of several lines can be several records.
            single_lines = sum(len(part[0]) for part in parts) == signs.lines
            if single_lines or not may_be_irregular(block, self.dialect, self.patterns):
                records = self._records_of(parts, size, signs.lines)
                records[0].notes += self._notes_of_unread(block, parts, signs.lines)
                return records
        if size <= ARROW_BYTES or exact:
            return [self._parse_one_by_one(Block(block.data, block.last))]
        # Usually few records are wrong, all in one half. A block that cannot be halved is read
        # again in smaller blocks, since records read one by one take a hundred times their size in
        # memory.
        data, middle = block.data, size // 2
        window = data[middle : middle + record_boundaries.GUESS_BYTES[0]]
        found = record_boundaries.likely_start(window, self.patterns)
        if not found:
            raise WrongCutError
        start = self.parse(Block(data[: middle + found]))
        try:
            return start + self.parse(Block(data[middle + found :], block.last))
        except OpenQuoteError as error:
            raise error.after(sum(records.lines for records in start)) from None

    def _signs_in(self, block: Block | FileBlock) -> "_Signs":
        """Look for signs that some records need a closer look than Arrow's."""
        lines, escaped, commented, before = 0, False, False, b"\n"
        comment = (self.dialect.comment or "").encode()
        escapes = self.dialect.quotes and not self.dialect.escapechar
        escaped_quote = b"\\" + self.dialect.quotechar.encode()
        with block.open() as file:
            # Memory that is used again is much faster than new memory.
            while chunk := file.read(SCAN_BYTES):
                joined = before + chunk
                lines += count_lines(joined) - count_lines(before)
                # Python finds a single byte fastest.
                escaped = escaped or (escapes and b"\\" in joined and escaped_quote in joined)
                if comment and not commented:
                    commented = any(end + comment in joined for end in LINE_ENDS)
                before = chunk[-1:]
        return _Signs(lines, escaped, commented)

    def _records_of(self, parts: list[list[pa.Array]], size: int, lines: int) -> list[Records]:
        """Join the text columns of the batches that Arrow read from a block."""
        result = [self.request.collect(0, [], [], missing=self.missing)]
        total = sum(len(part[0]) for part in parts)
        for part in parts:
            count = len(part[0])
            records = self.request.records(count, np.arange(count), part, missing=self.missing)
            records.notes += self._notes_of(part, range(count), lines > total)
            result.append(records)
        result[-1].size, result[-1].lines = size, lines
        return result[len(result) > 1 :]

    def _notes_of(
        self, columns: list[pa.Array], places: Sequence[int], line_ends: bool = True
    ) -> Iterator[Note]:
        """Yield what the user should know about these columns of records at these places."""
        for index, doubt in doubt_of_longest(columns, self.dialect.mark, self.width, line_ends):
            yield Note(places[index], doubt)
        known = r"\N" in self.dialect.na_values
        texts = [] if known else columns[: len(self.request.text_columns)]
        names = [] if self.dialect.header is None else self.layout.names
        named = {names[index]: columns[i] for i, index in enumerate(self.layout.indices) if names}
        for doubt in odd_values(texts, named):
            yield Note(None, doubt)

    def _notes_of_unread(
        self, block: Block | FileBlock, parts: list[list[pa.Array]], lines: int
    ) -> Iterator[Note]:
        """Yield doubts about the columns that are not read, if these have many of the lines."""
        read = sum(len(part[0]) for part in parts)
        if lines - read - sum(map(_line_ends, chain(*parts))) < MANY_LINES:
            return
        table = pcsv.read_csv(
            block.open(),
            pcsv.ReadOptions(use_threads=False, block_size=len(block), column_names=self._numbers),
            self.dialect.arrow_options(),
            pcsv.ConvertOptions(column_types=dict.fromkeys(self._numbers, pa.binary())),
        )
        unread = [index for index in range(self.width) if index not in self.layout.indices]
        columns = [table.column(index).combine_chunks() for index in unread]
        for place, doubt in doubt_of_longest(columns, self.dialect.mark, self.width):
            yield Note(place, doubt)

    def _parse_with_arrow(self, block: Block | FileBlock) -> list[list[pa.Array]] | None:
        """Return the requested columns of each batch that Arrow reads; see `_parse_one_by_one`.

        Return None if a record does not have `width` fields, a text is not UTF-8 or contains a NUL,
        or the last record might continue beyond the block. Arrow treats quotes as the `csv` module
        does.
        """
        names = self._numbers
        wanted = [names[index] for index in self.layout.indices]
        if self.dialect.escapechar:
            block = Block(self._with_null_marks(block.data), block.last)
        # Small pieces halve Arrow's time, but a record must fit into one.
        for piece in dict.fromkeys([min(ARROW_BYTES, len(block)), len(block)]):
            try:
                table = pcsv.read_csv(
                    block.open(),
                    pcsv.ReadOptions(use_threads=False, block_size=piece, column_names=names),
                    self.dialect.arrow_options(),
                    pcsv.ConvertOptions(
                        include_columns=list(dict.fromkeys([*wanted, names[-1]])),
                        column_types={names[-1]: pa.binary()} | dict.fromkeys(wanted, pa.string()),
                        strings_can_be_null=False,
                    ),
                )
            except pa.ArrowInvalid:
                continue
            parts = [[part[name] for name in wanted] for part in table.to_batches()]
            low = set().union(*(_low_characters(text) for text in chain(*parts)))
            # Arrow loses the second character of a quoted "\r\n" if a piece begins with it.
            if "\r" in low and piece < len(block):
                continue
            # Within open quotes the line end of the block would belong to the last field.
            last = table[names[-1]][-1].as_buffer().to_pybytes() if len(table) else b""
            return None if "\0" in low or last.endswith(LINE_ENDS) else parts
        return None

    def _with_null_marks(self, data: bytes) -> bytes:
        r"""Escape fields such as `\N` that `na_values` lists, so that they keep their backslash."""
        escape = self.dialect.escapechar
        if not escape:
            return data
        for value in self.dialect.na_values:
            if value.startswith(escape):
                mark, field = re.escape(self.dialect.mark), re.escape(value)
                alone = rf"{field}(?<![^{mark}\r\n]{field})(?=[{mark}\r\n])"
                data = re.sub(alone.encode(), re.escape(escape).encode() + rb"\g<0>", data)
        return data

    def _parse_one_by_one(self, block: Block) -> Records:
        """Return the records of a block as the `csv` module reads them, with the rejected ones.

        Raises:
            WrongCutError: A quote is open at the end of a block that is not the last.
            OpenQuoteError: A quote is open at the end of the last block.
        """
        text = self._with_null_marks(block.data).decode("utf-8", "surrogateescape")
        *rows, last = self.dialect.rows(f"{text}end\n")
        if found := open_row(last):
            if not block.last:
                raise WrongCutError
            if self.dialect.quotes and found.values[-1].endswith(("\r", "\n")):
                raise open_quote_error(found)
            rows.append(found)
        result = _Rows(self)
        for place, row in enumerate(rows):
            result.add(place, row, text[row.start : row.end])
        columns = [
            pa.array([values[index] for _, values in result.usable], pa.string())
            for index in range(len(self.layout.indices))
        ]
        result.notes += self._notes_of(columns, [place for place, _ in result.usable])
        records = self.request.collect(
            len(rows), result.usable, result.rejected, missing=self.missing
        )
        records.size, records.lines = len(block), count_lines(block.data)
        records.lost_size, records.lost_lines = result.lost_size, result.lost_lines
        records.notes, records.numbered = result.notes, result.numbered
        records.advice = result.advice
        return records


class _Signs(NamedTuple):
    """What the bytes of a block show."""

    lines: int
    """Number of line ends."""
    escaped: bool
    r"""Whether there is a `\"` although there is no escape character."""
    commented: bool
    """Whether a line may be a comment."""


class _Rows:
    """The records of a block, sorted into usable and rejected ones."""

    def __init__(self, parser: _Parser) -> None:
        self._parser = parser
        self.usable: list[tuple[int, list[str]]] = []
        self.rejected: list[tuple[int, str, str]] = []
        self.numbered: dict[int, int] = {}
        self.notes: list[Note] = []
        self.lost_size = self.lost_lines = 0
        self._before = ""
        self.advice = ""

    def add(self, place: int, row: Row, raw: str) -> None:
        """Add a record, given its text in the file."""
        parser, width = self._parser, self._parser.width
        fits = len(row.values) == width
        values = [row.values[index] for index in parser.layout.indices] if fits else []
        problem = problem_of(row, raw, parser.dialect, parser.patterns)
        if isinstance(problem, Problem):
            reason: str | None = problem.reason
            self.numbered[len(self.rejected)] = problem.line
            self.advice = self.advice or problem.advice
        elif not fits:
            reason = f"{len(row.values)} field{'s'[: len(row.values) != 1]}, not {width}"
            self.advice = self.advice or advice_for_fields(
                row, raw, self._before, parser.dialect, width
            )
        else:
            reason = first_reason(values, parser.request)
            if problem and not reason:
                self.notes.append(Note(place, problem))
        self._before = raw[-3:]
        if reason:
            self.rejected.append((place, reason, excerpt(parser.dialect.mark.join(row.values))))
            self.lost_size += len(raw.encode("utf-8", "surrogateescape"))
            self.lost_lines += row.lines
            return
        self.usable.append((place, values))


def _line_ends(texts: pa.Array) -> int:
    """Return the number of line ends in the texts."""
    ends, data = utf8_buffer(texts)
    pieces = range(ends[0], ends[-1], SCAN_BYTES)
    return sum(
        count_lines(bytes(data[start : min(start + SCAN_BYTES, ends[-1])])) for start in pieces
    )


def _low_characters(texts: pa.Array) -> set[str]:
    """Return those of NUL and carriage return that occur in the texts."""
    ends, data = utf8_buffer(texts)
    codes = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    # Most texts have no such low codes, and the minimum shows that faster.
    if not len(codes) or codes.min() > ord("\r"):
        return set()
    return {character for character in "\0\r" if ord(character) in codes}

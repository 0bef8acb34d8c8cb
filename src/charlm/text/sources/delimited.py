"""CSV and TSV files."""

import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from charlm.text.sources import record_boundaries
from charlm.text.sources.blocks import Block, FileBlock, join_blocks
from charlm.text.sources.decoding import utf8_chunks, utf8_mark
from charlm.text.sources.record_boundaries import WrongCutError
from charlm.text.sources.records import Records, Request, excerpt, first_reason
from charlm.text.tables import ordered_map, utf8_buffer

CSV_BYTES = 8 << 20
"""Bytes of CSV that a thread parses at a time."""

ARROW_BYTES = 1 << 19
"""Bytes of CSV that Arrow parses at a time."""

LINE_ENDS = (b"\r", b"\n")

csv.field_size_limit(sys.maxsize)


def read_delimited(
    path: Path, codec: str | None, request: Request, *, delimiter: str
) -> Iterator[Records]:
    """Yield the records of a CSV or TSV file.

    Only reading everything before a record shows for sure where it starts, so the starts of blocks
    are guessed. If a block ends with a whole record, the next one must start with one. If not, the
    rest of the file is read again with a slower method; the last method is exact.
    """
    file_size = path.stat().st_size
    layout, done = _read_layout(path, codec, request, delimiter)
    exact = partial(record_boundaries.exact_cut, delimiter=delimiter)
    likely = partial(record_boundaries.likely_cut, pattern=layout.pattern, otherwise=exact)
    plain = utf8_mark(path, request) if codec is None else None

    def cut_in_blocks() -> Iterator[Iterator[Block | FileBlock]]:
        def rest() -> Iterator[bytes]:
            return record_boundaries.skip(utf8_chunks(path, codec, request), done)

        if plain is not None:
            yield record_boundaries.file_blocks(path, plain + done, CSV_BYTES, layout.pattern)
        yield join_blocks(rest(), likely, request, CSV_BYTES)
        yield join_blocks(rest(), exact, request, ARROW_BYTES)

    for method, blocks in enumerate(cut_in_blocks(), start=plain is None):
        try:
            for size, parts in ordered_map(partial(layout.parse, exact=method == 2), blocks):
                done += size
                yield from parts
            request.check_size(path, file_size)
            return
        except WrongCutError:
            continue
    raise AssertionError("an exact cut was wrong")


def _read_layout(
    path: Path, codec: str | None, request: Request, delimiter: str
) -> tuple["Delimited", int]:
    """Return the layout of a file from its header, and the offset of the first record.

    Raises:
        CharlmError: The file is empty, or its header is not closed or lacks a column.
    """
    cut = partial(record_boundaries.header_cut, delimiter=delimiter)
    head = next(join_blocks(utf8_chunks(path, codec, request), cut, request), Block(b""))
    names, end = record_boundaries.read_header(head.data, delimiter)
    if end == len(head) and record_boundaries.is_open(head.data, delimiter):
        raise request.error("a quote in its header line is never closed; fix that line")
    if not names:
        raise request.error("it is empty; give a file with a header line and documents")
    hint = ""
    for other in ";\t|,":
        if len(names) == 1 and other in names[0]:
            hint = f"is {other!r} its delimiter? save it as .csv with commas or .tsv with tabs"
    indices = request.indices(names, hint)
    pattern = record_boundaries.records_pattern(delimiter, len(names))
    return Delimited(request, delimiter, len(names), indices, pattern), end


@dataclass(frozen=True)
class Delimited:
    """The layout of a file.

    Attributes:
        request: The columns to read.
        delimiter: The character between fields.
        width: Number of fields of a record.
        indices: The indices of the fields to read.
        pattern: A pattern of regular records.
    """

    request: Request
    delimiter: str
    width: int
    indices: Sequence[int]
    pattern: re.Pattern[bytes]

    def parse(self, block: Block | FileBlock, exact: bool = False) -> tuple[int, list[Records]]:
        """Return the size of a block and its records.

        Raises:
            WrongCutError: The block does not end at a record boundary, or, unless `exact`, it is
                too large to be read record by record.
        """
        size = len(block)
        parts = self._parse_with_arrow(block)
        if parts is not None:
            counts = [len(part[0]) for part in parts]
            return size, [
                self.request.records(count, np.arange(count), part, missing=True)
                for count, part in zip(counts, parts, strict=True)
            ]
        if size <= ARROW_BYTES or exact:
            return size, [self._parse_one_by_one(Block(block.data, block.last))]
        # Usually few records are wrong, all in one half. A block that cannot be halved is read
        # again in smaller blocks, since records read one by one take a hundred times their size in
        # memory.
        data, middle = block.data, size // 2
        window = data[middle : middle + record_boundaries.GUESS_BYTES[0]]
        found = record_boundaries.likely_start(window, self.pattern)
        if not found:
            raise WrongCutError
        halves = Block(data[: middle + found]), Block(data[middle + found :], block.last)
        return size, [records for half in halves for records in self.parse(half)[1]]

    def _parse_with_arrow(self, block: Block | FileBlock) -> list[list[pa.Array]] | None:
        """Return the requested columns of each batch that Arrow reads; see `_parse_one_by_one`.

        Return None if a record does not have `width` fields, a text is not UTF-8 or contains a NUL,
        or the last record might continue beyond the block. Arrow treats quotes as the `csv` module
        does.
        """
        names = [str(index) for index in range(self.width)]
        wanted = [names[index] for index in self.indices]
        # Small pieces halve Arrow's time, but a record must fit into one.
        for piece in dict.fromkeys([min(ARROW_BYTES, len(block)), len(block)]):
            try:
                table = pcsv.read_csv(
                    block.open(),
                    pcsv.ReadOptions(use_threads=False, block_size=piece, column_names=names),
                    pcsv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
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

    def _parse_one_by_one(self, block: Block) -> Records:
        """Return the records of a block as the `csv` module reads them, with the rejected ones.

        Raises:
            WrongCutError: A quote is open at the end of a block that is not the last.
        """
        text = block.data.decode("utf-8", "surrogateescape")
        # The added line is a row of its own or, if a quote is open, the end of the last field.
        reader = csv.reader(io.StringIO(f"{text}end\n", newline=""), delimiter=self.delimiter)
        *rows, last = filter(None, reader)
        is_open = last != ["end"]
        if is_open and not block.last:
            raise WrongCutError
        rejected: list[tuple[int, str, str]] = []
        usable: list[tuple[int, list[str]]] = []
        for place, row in enumerate(rows):
            values = [row[index] for index in self.indices] if len(row) == self.width else []
            if len(row) != self.width:
                reason: str | None = f"{len(row)} field{'s'[: len(row) != 1]}, not {self.width}"
            else:
                reason = first_reason(values, self.request)
            if reason:
                rejected.append((place, reason, excerpt(self.delimiter.join(row))))
            else:
                usable.append((place, values))
        if is_open:
            shown = excerpt(self.delimiter.join(last).removesuffix("end\n"))
            rejected.append((len(rows), "a quote is never closed", shown))
        return self.request.collect(len(rows) + is_open, usable, rejected, missing=True)


def _low_characters(texts: pa.Array) -> set[str]:
    """Return those of NUL and carriage return that occur in the texts."""
    ends, data = utf8_buffer(texts)
    codes = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    # Most texts have no such low codes, and the minimum shows that faster.
    if not len(codes) or codes.min() > ord("\r"):
        return set()
    return {character for character in "\0\r" if ord(character) in codes}

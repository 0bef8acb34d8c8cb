"""CSV and TSV files."""

import csv
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from charlm.text.sources.blocks import Block, FileBlock, join_blocks, last_block
from charlm.text.sources.decoding import utf8_chunks, utf8_mark
from charlm.text.sources.records import Records, Request, excerpt, first_reason
from charlm.text.tables import ordered_map, utf8_buffer

CSV_BYTES = 8 << 20
"""Bytes of CSV that a thread parses at a time."""

ARROW_BYTES = 1 << 19
"""Bytes of CSV that Arrow parses at a time."""

GUESS_BYTES = (1 << 16, 1 << 20, 1 << 24)
"""Sizes of the windows in which the start of a record is guessed, tried in turn."""

MOST_GUESSES = 10_000
"""Lines that are tried as the start of a record."""

LINE_ENDS = (b"\r", b"\n")

csv.field_size_limit(sys.maxsize)


class WrongCutError(Exception):
    """A block does not end at a record boundary, or no boundary was found."""


def read_delimited(
    path: Path, codec: str | None, request: Request, *, delimiter: str
) -> Iterator[Records]:
    """Yield the records of a CSV or TSV file."""

    def text() -> Iterator[bytes]:
        return utf8_chunks(path, codec, request)

    file_size = path.stat().st_size
    head = next(join_blocks(text(), partial(_header_end, delimiter=delimiter), request), Block(b""))
    names, done = _header(head.data, delimiter)
    if done == len(head) and _is_open(head.data, delimiter):
        raise request.error("a quote in its header line is never closed; correct that line")
    if not names:
        raise request.error("it is empty; give a file with a header line and documents")
    hint = ""
    for other in ";\t|,":
        if len(names) == 1 and other in names[0]:
            hint = f"is {other!r} its delimiter? save it as .csv with commas or .tsv with tabs"
    indices = request.indices(names, hint)
    pattern = _records_pattern(delimiter, len(names))
    layout = Delimited(request, delimiter, len(names), indices, pattern)
    exact = partial(_exact_cut, delimiter=delimiter)
    likely = partial(_likely_cut, pattern=pattern, otherwise=exact)

    plain = utf8_mark(path, request) if codec is None else None

    def cut_in_blocks() -> Iterator[Iterator[Block | FileBlock]]:
        if plain is not None:
            yield _file_blocks(path, plain + done, pattern)
        yield join_blocks(_skip(text(), done), likely, request, CSV_BYTES)
        yield join_blocks(_skip(text(), done), exact, request, ARROW_BYTES)

    # Only reading everything before a record shows where it begins, so the start is guessed. If a
    # block ends with a whole record, the next one must start with one. If not, the rest is read
    # again with a slower method.
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


def _header(block: bytes, delimiter: str) -> tuple[list[str], int]:
    """Return the column names and the offset at which the first record starts."""
    blank = len(block) - len(block.lstrip(b"\r\n"))
    lines = io.StringIO(block[blank:].decode("latin-1"), newline="")
    names = next(csv.reader(lines, delimiter=delimiter), [])
    return [n.encode("latin-1").decode("utf-8", "replace") for n in names], blank + lines.tell()


def _header_end(block: bytes, *, delimiter: str) -> int:
    """Return the offset at which the first record starts; 0 if the header may be incomplete."""
    _, end = _header(block, delimiter)
    return end if end < len(block) else 0


def _is_open(data: bytes, delimiter: str) -> bool:
    """Return whether the data end within quotes: whether an added line becomes part of a field."""
    lines = io.StringIO(data.decode("latin-1") + "\nend\n", newline="")
    return list(csv.reader(lines, delimiter=delimiter))[-1] != ["end"]


def _records_pattern(delimiter: str, width: int) -> re.Pattern[bytes]:
    """Return a pattern of records quoted as in RFC 4180, of which the last may be cut off."""
    mark = re.escape(delimiter)
    field = rf'(?:"(?:[^"]++|"")*+"|[^"\r\n{mark}]*+)'
    record = rf"{field}(?:{mark}{field}){{{width - 1}}}+[\r\n]++"
    rest = rf'(?:{field}{mark}){{0,{width - 1}}}+(?:"(?:[^"]++|"")*+"?+|[^"\r\n{mark}]*+)'
    return re.compile(rf'(?:(?:{record})++{rest}|"(?:[^"]++|"")*+\Z)'.encode())


def _likely_start(text: bytes, pattern: re.Pattern[bytes]) -> int:
    """Return the offset of a line from which the text looks like records; 0 if there is none."""
    place = 0
    for _ in range(MOST_GUESSES):
        # Half of the text must match, since a few lines may match by chance.
        line_end = re.compile(rb"[\r\n]+").search(text, place, len(text) // 2)
        if not line_end:
            return 0
        place = line_end.end()
        found = pattern.match(text, place)
        if found and found.end() == len(text):
            return place
        # If this is within quotes, no record starts before the next quote.
        place = max(place, found.end() if found else text.find(b'"', place))
    return 0


def _likely_cut(
    block: bytes, *, pattern: re.Pattern[bytes], otherwise: Callable[[bytes], int]
) -> int:
    """Return the offset of a record that probably starts near the end of a block."""
    for size in GUESS_BYTES:
        if start := _likely_start(block[-size:], pattern):
            return max(0, len(block) - size) + start
    return otherwise(block)


def _exact_cut(block: bytes, *, delimiter: str) -> int:
    """Return the offset at which the last record of a block starts, or 0."""
    lines = io.StringIO(block.decode("latin-1"), newline="")
    end = start = 0
    for _ in csv.reader(lines, delimiter=delimiter):
        end, start = start, lines.tell()
    return end


def _skip(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield the chunks without the first `count` bytes."""
    for chunk in chunks:
        yield chunk[count:]
        count = max(0, count - len(chunk))


def _file_blocks(path: Path, start: int, pattern: re.Pattern[bytes]) -> Iterator[Block | FileBlock]:
    """Yield the blocks of a UTF-8 file from `start` on, of which only the last is read here.

    Raises:
        WrongCutError: No start of a record is found for the next block.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while start + CSV_BYTES < size:
            found = 0
            for window in GUESS_BYTES:
                file.seek(start + CSV_BYTES)
                found = found or _likely_start(file.read(window), pattern)
            if not found and file.tell() < size:
                raise WrongCutError
            if not found:
                break
            yield FileBlock(path, start, start + CSV_BYTES + found)
            start += CSV_BYTES + found
        file.seek(start)
        yield from last_block(file.read())


@dataclass(frozen=True)
class Delimited:
    """The layout of a file: records of `width` fields, of which those at `indices` are read.

    `pattern` matches regular records.
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
        # again in smaller ones: records read one by one take a hundred times their bytes.
        data, middle = block.data, size // 2
        found = _likely_start(data[middle : middle + GUESS_BYTES[0]], self.pattern)
        if not found:
            raise WrongCutError
        halves = Block(data[: middle + found]), Block(data[middle + found :], block.last)
        return size, [records for half in halves for records in self.parse(half)[1]]

    def _parse_with_arrow(self, block: Block | FileBlock) -> list[list[pa.Array]] | None:
        """Return the wanted columns as Arrow reads them, as a list of batches.

        Return None if a record does not have `width` fields, a text is not UTF-8 or contains a NUL,
        or the last record may not end with the block. Arrow treats quotes as the `csv` module does.
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
    """Return which of NUL and carriage return occur in the texts."""
    ends, data = utf8_buffer(texts)
    codes = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    # Most texts have no such low codes, which the minimum shows faster.
    if not len(codes) or codes.min() > ord("\r"):
        return set()
    return {character for character in "\0\r" if ord(character) in codes}

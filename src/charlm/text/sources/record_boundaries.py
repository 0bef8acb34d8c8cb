"""Where the records of CSV and TSV files begin: in the header, and in the middle of a file."""

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from charlm.text.sources.blocks import Block, FileBlock, last_block

GUESS_BYTES = (1 << 16, 1 << 20, 1 << 24)
"""Sizes of the windows in which the start of a record is guessed, tried in turn."""

MAX_GUESSES = 10_000
"""Maximum number of lines that are tried as the start of a record."""


class WrongCutError(Exception):
    """A block does not end at a record boundary, or no boundary was found."""


def read_header(block: bytes, delimiter: str) -> tuple[list[str], int]:
    r"""Return the column names and the offset at which the first record starts.

    >>> read_header(b"label,text\n1,a\n", ",")
    (['label', 'text'], 11)
    """
    blank = len(block) - len(block.lstrip(b"\r\n"))
    lines = io.StringIO(block[blank:].decode("latin-1"), newline="")
    names = next(csv.reader(lines, delimiter=delimiter), [])
    names = [name.encode("latin-1").decode("utf-8", "replace") for name in names]
    return names, blank + lines.tell()


def header_cut(block: bytes, *, delimiter: str) -> int:
    """Return the offset at which the first record starts; 0 if the header may be incomplete."""
    _, end = read_header(block, delimiter)
    return end if end < len(block) else 0


def is_open(data: bytes, delimiter: str) -> bool:
    r"""Return whether a quote is still open at the end of the data.

    >>> is_open(b'1,"a', ","), is_open(b'1,"a"', ",")
    (True, False)
    """
    # An added line then becomes part of the last field.
    lines = io.StringIO(data.decode("latin-1") + "\nend\n", newline="")
    return list(csv.reader(lines, delimiter=delimiter))[-1] != ["end"]


def records_pattern(delimiter: str, width: int) -> re.Pattern[bytes]:
    """Return a pattern of records quoted as in RFC 4180, of which the last may be incomplete."""
    mark = re.escape(delimiter)
    field = rf'(?:"(?:[^"]++|"")*+"|[^"\r\n{mark}]*+)'
    record = rf"{field}(?:{mark}{field}){{{width - 1}}}+[\r\n]++"
    rest = rf'(?:{field}{mark}){{0,{width - 1}}}+(?:"(?:[^"]++|"")*+"?+|[^"\r\n{mark}]*+)'
    return re.compile(rf'(?:(?:{record})++{rest}|"(?:[^"]++|"")*+\Z)'.encode())


def likely_start(text: bytes, pattern: re.Pattern[bytes]) -> int:
    """Return the offset of a line from which the text looks like records, or 0."""
    place = 0
    for _ in range(MAX_GUESSES):
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


def likely_cut(
    block: bytes, *, pattern: re.Pattern[bytes], otherwise: Callable[[bytes], int]
) -> int:
    """Return the offset of a record that probably starts near the end of a block.

    Args:
        block: Bytes that begin with a record.
        pattern: The pattern of regular records; see `records_pattern`.
        otherwise: Called for the result if there is no such record.
    """
    for size in GUESS_BYTES:
        if start := likely_start(block[-size:], pattern):
            return max(0, len(block) - size) + start
    return otherwise(block)


def exact_cut(block: bytes, *, delimiter: str) -> int:
    """Return the offset at which the last record of a block starts, or 0."""
    lines = io.StringIO(block.decode("latin-1"), newline="")
    end = start = 0
    for _ in csv.reader(lines, delimiter=delimiter):
        end, start = start, lines.tell()
    return end


def skip(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield the chunks without the first `count` bytes."""
    for chunk in chunks:
        yield chunk[count:]
        count = max(0, count - len(chunk))


def file_blocks(
    path: Path, start: int, size: int, pattern: re.Pattern[bytes]
) -> Iterator[Block | FileBlock]:
    """Yield the blocks of a UTF-8 file, of which only the last is read here.

    Args:
        path: The file.
        start: The offset of the first block.
        size: The minimum size of a block in bytes.
        pattern: The pattern of regular records; see `records_pattern`.

    Raises:
        WrongCutError: No start of a record is found for the next block.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while start + size < end:
            found = 0
            for window in GUESS_BYTES:
                file.seek(start + size)
                found = found or likely_start(file.read(window), pattern)
            if not found and file.tell() < end:
                raise WrongCutError
            if not found:
                break
            yield FileBlock(path, start, start + size + found)
            start += size + found
        file.seek(start)
        yield from last_block(file.read())

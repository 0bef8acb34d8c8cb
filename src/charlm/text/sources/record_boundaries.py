"""Where the records of CSV and TSV files begin: in the header, and in the middle of a file."""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from charlm.text.sources.blocks import Block, FileBlock, last_block
from charlm.text.sources.dialect import SEPARATOR_LINE, Dialect, Patterns

GUESS_BYTES = (1 << 16, 1 << 20, 1 << 24)
"""Sizes of the windows in which the start of a record is guessed, tried in turn."""

MAX_GUESSES = 10_000
"""Maximum number of lines that are tried as the start of a record."""


class WrongCutError(Exception):
    """A block does not end at a record boundary, or no boundary was found."""


def read_header(block: bytes, dialect: Dialect) -> tuple[list[str], int, int]:
    r"""Return the column names, the offset of the first record, and the end of what was read.

    A file without a header has the numbers of its columns as names.

    >>> read_header(b"label,text\n1,a\n", Dialect(","))
    (['label', 'text'], 11, 11)
    >>> read_header(b"1,a\n", Dialect(",", header=None))
    (['0', '1'], 0, 4)
    """
    separator = SEPARATOR_LINE.match(block)
    start = separator.end() if separator else 0
    rows = dialect.rows(block[start:].decode("latin-1"))
    row = next(islice(rows, dialect.header or 0, None), None)
    if row is None:
        return [], len(block), len(block)
    if dialect.header is None:
        return [str(number) for number in range(len(row.values))], start, start + row.end
    names = [name.encode("latin-1").decode("utf-8", "replace") for name in row.values]
    return names, start + row.end, start + row.end


def header_cut(block: bytes, *, dialect: Dialect) -> int:
    """Return the offset at which the header ends; 0 if it may be incomplete."""
    *_, end = read_header(block, dialect)
    return end if end < len(block) else 0


def likely_start(text: bytes, patterns: Patterns) -> int:
    """Return the offset of a line from which the text looks like records, or 0."""
    place = 0
    for _ in range(MAX_GUESSES):
        # Half of the text must match, since a few lines may match by chance.
        line_end = patterns.line_end.search(text, place, len(text) // 2)
        if not line_end:
            return 0
        place = line_end.end()
        found = patterns.records.match(text, place)
        if found and found.end() == len(text):
            return place
        # If this is within quotes, no record starts before the next quote.
        place = max(place, found.end() if found else text.find(patterns.quote, place))
    return 0


def likely_cut(block: bytes, *, patterns: Patterns, otherwise: Callable[[bytes], int]) -> int:
    """Return the offset of a record that probably starts near the end of a block.

    Args:
        block: Bytes that begin with a record.
        patterns: The patterns of regular records.
        otherwise: Called for the result if there is no such record.
    """
    for size in GUESS_BYTES:
        if start := likely_start(block[-size:], patterns):
            return max(0, len(block) - size) + start
    return otherwise(block)


def exact_cut(block: bytes, *, dialect: Dialect) -> int:
    """Return the offset at which the last record of a block starts, or 0."""
    start = 0
    for row in dialect.rows(block.decode("latin-1")):
        start = row.start
    return start


def skip(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield the chunks without the first `count` bytes."""
    for chunk in chunks:
        yield chunk[count:]
        count = max(0, count - len(chunk))


def file_blocks(
    path: Path, start: int, size: int, patterns: Patterns
) -> Iterator[Block | FileBlock]:
    """Yield the blocks of a UTF-8 file, of which only the last is read here.

    Args:
        path: The file.
        start: The offset of the first block.
        size: The minimum size of a block in bytes.
        patterns: The patterns of the file's records.

    Raises:
        WrongCutError: No start of a record is found for the next block.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while start + size < end:
            found = 0
            for window in GUESS_BYTES:
                file.seek(start + size)
                found = found or likely_start(file.read(window), patterns)
            if not found and file.tell() < end:
                raise WrongCutError
            if not found:
                break
            yield FileBlock(path, start, start + size + found)
            start += size + found
        file.seek(start)
        yield from last_block(file.read())

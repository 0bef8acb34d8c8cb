"""Blocks of whole records: the units in which files are parsed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from charlm.text.sources.records import Request, excerpt

RECORD_BYTES = 1 << 30
"""Maximum size of a record; a longer one is probably due to a quote that is not closed."""


@dataclass(frozen=True)
class Block:
    """Whole records in memory; the `last` block of a file may end within a quote."""

    data: bytes
    last: bool = False

    def __len__(self) -> int:
        return len(self.data)

    def open(self) -> pa.NativeFile:
        """Return the records as a file."""
        return pa.BufferReader(self.data)


@dataclass(frozen=True)
class FileBlock:
    """Whole records on disk: the bytes of a file from `start` to `end`."""

    path: Path
    start: int
    end: int
    last = False

    @property
    def data(self) -> bytes:
        """The records."""
        return bytes(self.open().read())

    def __len__(self) -> int:
        return self.end - self.start

    def open(self) -> pa.NativeFile:
        """Return the records as a file."""
        return pa.OSFile(str(self.path)).get_stream(self.start, len(self))


def join_blocks(
    chunks: Iterable[bytes], cut: Callable[[bytes], int], request: Request, least: int = 0
) -> Iterator[Block]:
    """Join chunks into blocks of whole records, of at least `least` bytes.

    Every block ends with a line end, which is added to the last one if missing.

    Args:
        chunks: The bytes of a file.
        cut: Returns the offset at which a block ends, or 0 if it needs more data.
        request: What to read; for error messages.
        least: Minimum size of a block in bytes.

    Raises:
        CharlmError: A record is longer than `RECORD_BYTES`.
    """
    pending: list[bytes] = []
    size = 0
    wanted = least
    for chunk in chunks:
        pending.append(chunk)
        size += len(chunk)
        if size < wanted:
            continue
        data = b"".join(pending)
        end = cut(data)
        if end:
            yield Block(data[:end])
        rest = data[end:]
        if len(rest) > RECORD_BYTES:
            raise request.error(
                f"a record is longer than {RECORD_BYTES >> 30} GiB; close the quote that "
                f"may be open at {excerpt(rest[:200])!r}"
            )
        # Double the size before cutting again, so that a long record takes linear time.
        pending, size, wanted = [rest], len(rest), max(least, 2 * len(rest))
    yield from last_block(b"".join(pending))


def last_block(data: bytes) -> Iterator[Block]:
    """Yield the last block of a file, with a line end, unless it is empty."""
    if data:
        yield Block(data if data[-1] in b"\r\n" else data + b"\n", last=True)

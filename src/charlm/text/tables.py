"""Parquet tables that are read, processed on all cores and written in bounded memory.

Each page has the checksum that the format provides for. The checksum of the footer is charlm's
own, in the bytes before the footer, which readers of Parquet skip.
"""

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.checksums import damaged
from charlm.errors import CharlmError
from charlm.files import atomic, describe_os_error

MARK = b"charlm"
"""What precedes the checksum of a footer."""

BLOCK_BYTES = 1 << 20
"""Size of a unit of work: large enough to amortise a call, small enough for a cache."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, computed on all cores.

    Threads suffice, since Arrow, NumPy and hashlib release the interpreter's lock. Only a few items
    are in flight at a time, so memory stays bounded however long `items` is. The number of threads
    is Arrow's, which follows `OMP_NUM_THREADS`; it does not affect the results.
    """
    threads = pa.cpu_count()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def output(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` when the block ends; see `charlm.files.atomic`.

    Raises:
        CharlmError: It cannot be written.
    """
    try:
        with atomic(path) as temporary:
            yield temporary
    except OSError as error:
        error.filename = str(path)
        raise CharlmError(describe_os_error(error, "fix that and run again")) from None


class TableWriter:
    """Writes a Parquet file in row groups of at least `BLOCK_BYTES`.

    A row group ends where an added table ends, so the file's bytes depend only on the sequence of
    tables.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._tables: list[pa.Table] = []
        self._bytes = 0

    def add(self, table: pa.Table) -> None:
        """Append rows; all tables have the first one's schema."""
        table = table.replace_schema_metadata()
        if self._writer is None:
            self._schema = table.schema
            # Compression, dictionaries and statistics would cost most of the time of a stage.
            self._writer = pq.ParquetWriter(
                self._path,
                table.schema,
                compression="none",
                use_dictionary=["split"] if "split" in table.schema.names else False,
                write_statistics=False,
                write_page_checksum=True,
            )
        if table.schema != self._schema:
            table = table.cast(self._schema)
        if len(table):
            self._tables.append(table)
            self._bytes += table.nbytes
        if self._bytes >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """End the current row group."""
        if self._tables and self._writer:
            table = pa.concat_tables(self._tables)
            self._writer.write_table(table, row_group_size=len(table))
            self._tables, self._bytes = [], 0

    def add_metadata(self, key: str, value: str) -> None:
        """Store a key and its value in the file's footer."""
        assert self._writer is not None
        self._writer.add_key_value_metadata({key: value})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.flush()
        if self._writer:
            self._writer.close()
            if kind is None:
                _seal(self._path)


def write_table(path: str | Path, table: pa.Table) -> None:
    """Write a small table to a Parquet file atomically."""
    with atomic(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)
        _seal(temporary)


def _seal(path: Path) -> None:
    """Write the checksum of a Parquet file's footer before it."""
    with path.open("r+b") as file:
        footer = _footer(file)
        file.seek(-len(footer), os.SEEK_END)
        file.write(MARK + zlib.crc32(footer).to_bytes(4, "little") + footer)


def _footer(file: BinaryIO) -> bytes:
    """Return a Parquet file's footer with its length and the magic bytes at the end."""
    file.seek(-8, os.SEEK_END)
    size = int.from_bytes(file.read(4), "little") + 8
    file.seek(-size, os.SEEK_END)
    return file.read()


@contextmanager
def open_table(path: str | Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file that a stage wrote, or another program; its pages are checked when read.

    Raises:
        CharlmError: The file is missing or damaged.
    """
    try:
        with Path(path).open("rb") as file:
            footer = _footer(file)
            file.seek(max(0, file.tell() - len(footer) - len(MARK) - 4))
            mark, checksum = file.read(len(MARK)), file.read(4)
        if mark == MARK and checksum != zlib.crc32(footer).to_bytes(4, "little"):
            raise pa.ArrowInvalid("damaged")
        with pq.ParquetFile(path, page_checksum_verification=True) as opened:
            yield opened
    except FileNotFoundError:
        raise damaged(path, "there is no such file") from None
    except PermissionError:
        raise
    except (OSError, KeyError, ValueError, pa.ArrowException):
        raise damaged(path) from None


def read_table(path: str | Path, columns: list[str] | None = None) -> pa.Table:
    """Read a whole Parquet file that a stage wrote.

    Raises:
        CharlmError: The file is missing or damaged, or lacks a column.
    """
    with open_table(path) as file:
        if missing := set(columns or ()) - set(file.schema_arrow.names):
            raise damaged(path, f"has no column {min(missing)!r}")
        return file.read(columns)


def read_metadata(path: str | Path) -> pq.FileMetaData:
    """Return the metadata of a Parquet file that a stage wrote.

    Raises:
        CharlmError: The file is missing or damaged.
    """
    with open_table(path) as file:
        return file.metadata


def row_groups(
    path: str | Path, columns: list[str], *, shard: int = 0, shards: int = 1
) -> Iterator[pa.Table]:
    """Yield the row groups of a Parquet file that a stage wrote, one table per row group.

    Of several `shards`, each is an equal and contiguous share of the row groups. An empty share
    yields one empty table.

    Raises:
        CharlmError: The file is missing or damaged.
    """
    with open_table(path) as file:
        if missing := set(columns) - set(file.schema_arrow.names):
            raise damaged(path, f"has no column {min(missing)!r}")
        groups = file.num_row_groups
        share = range(groups * shard // shards, groups * (shard + 1) // shards)
        if not share:
            yield file.schema_arrow.empty_table().select(columns)
        for group in share:
            yield file.read_row_group(group, columns=columns, use_threads=False)


def column(table: pa.Table, name: str) -> pa.Array:
    """Return a column of a row group as one array."""
    return table[name].combine_chunks()


def utf8_buffer(texts: pa.Array) -> tuple[npt.NDArray[np.int64], memoryview]:
    """Return the offsets of the texts, shape (len(texts) + 1,), and the bytes they point into."""
    width = np.dtype(np.int64 if pa.types.is_large_string(texts.type) else np.int32)
    _, offsets, data = texts.buffers()
    if not len(texts):
        return np.zeros(1, np.int64), memoryview(b"")
    rows = slice(texts.offset, texts.offset + len(texts) + 1)
    return np.frombuffer(offsets, width)[rows].astype(np.int64), memoryview(data or b"")


def utf8_rows(texts: pa.Array) -> Iterator[memoryview]:
    """Yield the UTF-8 of each text, without a copy."""
    offsets, data = utf8_buffer(texts)
    return (data[start:end] for start, end in pairwise(offsets.tolist()))

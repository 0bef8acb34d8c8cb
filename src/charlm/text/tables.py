"""Parquet tables that are read, processed on all cores and written in bounded memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.errors import CharlmError
from charlm.files import atomic

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
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise CharlmError(f"{path}: cannot be written: {reason}; fix that and run again") from None


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


def row_groups(
    path: str | Path, columns: list[str], *, shard: int = 0, shards: int = 1
) -> Iterator[pa.Table]:
    """Yield the row groups of a Parquet file that a stage wrote, one table per row group.

    Of several `shards`, each is an equal and contiguous share of the row groups. An empty share
    yields one empty table.

    Raises:
        CharlmError: The file is missing or damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            groups = file.num_row_groups
            share = range(groups * shard // shards, groups * (shard + 1) // shards)
            if not share:
                yield file.schema_arrow.empty_table().select(columns)
            for group in share:
                yield file.read_row_group(group, columns=columns, use_threads=False)
    except (OSError, pa.ArrowException):
        raise CharlmError(f"{path}: it is missing or damaged; delete it and run again") from None


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

"""Helpers of the tests of readers."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from charlm.text.sources import decoding, delimited, record_boundaries
from charlm.text.sources.ingest import ingest


def read(folder: Path, source: str | list[str], **options: Any) -> pa.Table:
    """Ingest a source into a folder and return the documents; any row may be rejected."""
    options = {"max_rejected_fraction": 1.0, **options}
    ingest(source, folder / "documents.parquet", folder / "rejected.parquet", **options)
    return pq.read_table(folder / "documents.parquet")


def read_in_blocks_of(size: int, patch: pytest.MonkeyPatch) -> None:
    """Let readers read and parse blocks of few bytes."""
    patch.setattr(decoding, "READ_BYTES", size)
    patch.setattr(delimited, "CSV_BYTES", size)
    patch.setattr(delimited, "ARROW_BYTES", size + 1)
    patch.setattr(record_boundaries, "GUESS_BYTES", (size, 4 * size))


def rejected(folder: Path) -> list[dict[str, Any]]:
    """Return the rejected rows."""
    rows: list[dict[str, Any]] = pq.read_table(folder / "rejected.parquet").to_pylist()
    return rows


def write_csv(
    path: Path, rows: Iterable[Iterable[object]], header: Sequence[str] = ("label", "text")
) -> None:
    """Write a CSV file as the `csv` module writes it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def parquet(**columns: Sequence[object]) -> bytes:
    """Return a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def zstd_frame(content: bytes, window_log: int) -> bytes:
    """Return a zstd frame (RFC 8878) with one raw block and a window of 2 ** `window_log` bytes."""
    block = (len(content) << 3 | 1).to_bytes(3, "little") + content
    return b"\x28\xb5\x2f\xfd" + bytes([0, window_log - 10 << 3]) + block


GOOD = b"text,n\n" + b"".join(b"a line of text %d,1\n" % number for number in range(1000))

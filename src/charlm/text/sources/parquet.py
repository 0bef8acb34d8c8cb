"""Parquet files."""

import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.text.sources.records import Records, Request, excerpt, first_reason, one_line
from charlm.text.tables import BLOCK_BYTES, ordered_map


def read_parquet(path: Path, codec: str | None, request: Request) -> Iterator[Records]:
    """Yield the records of a Parquet file."""
    # Read through a buffer, since a row group may be gigabytes large.
    source = _unpacked(path, codec) if codec else path
    file = pq.ParquetFile(source, buffer_size=BLOCK_BYTES, pre_buffer=False)
    request.indices(file.schema_arrow.names)
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    rows = max(1, BLOCK_BYTES * file.metadata.num_rows // max(size, 1))
    batches = file.iter_batches(rows, columns=list(dict.fromkeys(request.columns)))
    return ordered_map(partial(_parse_batch, request=request), batches)


def check_parquet(path: Path, codec: str | None, request: Request) -> None:
    """Check that a Parquet file has the requested columns, unless it is compressed as a whole."""
    if codec is None:
        request.indices(pq.read_schema(path).names)


def _unpacked(path: Path, codec: str) -> IO[bytes]:
    """Decompress a file into a temporary one, since Parquet is read from its end."""
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - its reader closes it
    with path.open("rb") as file:
        shutil.copyfileobj(pa.CompressedInputStream(file, codec), unpacked)
    return unpacked


def _parse_batch(batch: pa.RecordBatch, *, request: Request) -> Records:
    """Return the records of a batch, with the rejected ones."""
    texts = []
    for name in request.text_columns:
        try:
            values = batch[name]
            if pa.types.is_dictionary(values.type):
                values = values.dictionary_decode()
            texts.append(values.cast(pa.string(), safe=False))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise request.error(
                f"column {name!r} does not hold text: {one_line(error)}; name a column of strings"
            ) from None
    kept = [batch[name] for name in request.keep_columns]
    try:
        for text in texts:
            text.validate(full=True)
    except pa.ArrowInvalid:
        pass
    else:
        return request.records(len(batch), np.arange(len(batch)), texts + kept)
    raw = [text.cast(pa.binary()).to_pylist() for text in texts]
    rejected = []
    for place, values in enumerate(zip(*raw, strict=True)):
        decoded = [value and value.decode("utf-8", "surrogateescape") for value in values]
        if reason := first_reason(decoded, request):
            rejected.append((place, reason, excerpt(" ".join(filter(None, decoded)))))
    places = np.setdiff1d(np.arange(len(batch)), [place for place, *_ in rejected])
    columns = [column.take(pa.array(places)) for column in texts + kept]
    return request.records(len(batch), places, columns, rejected=rejected)

"""Parquet files."""

import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from charlm.text.sources.compression import decompressed
from charlm.text.sources.records import Records, Request, excerpt, first_reason, one_line
from charlm.text.tables import BLOCK_BYTES, ordered_map


def read_parquet(path: Path, codec: str | None, request: Request) -> Iterator[Records]:
    """Yield the records of a Parquet file.

    In text columns, a list of strings is joined by the separator, as in JSON.
    """
    file = _open(path, codec)
    names = _columns(file, request)
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    rows = max(1, BLOCK_BYTES * file.metadata.num_rows // max(size, 1))
    batches = file.iter_batches(rows, columns=list(dict.fromkeys(names)))
    return ordered_map(partial(_parse_batch, names=names, request=request), batches)


def kept_types(path: Path, codec: str | None, request: Request) -> list[tuple[pa.DataType, bool]]:
    """Return the type of each column to keep, and whether the column has values.

    The type of a column without values says little: pandas calls it null or float.
    """
    file = _open(path, codec)
    names = _columns(file, request)[len(request.text_columns) :]
    types = [file.schema_arrow.field(name).type for name in names]
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    leaves = file.metadata.num_columns
    chunks = [group.column(leaf) for group in groups for leaf in range(leaves)]
    filled = {chunk.path_in_schema for chunk in chunks if not _is_null(chunk)}
    return [
        (kind, not pa.types.is_null(kind) and (name in filled or bool(kind.num_fields)))
        for name, kind in zip(names, types, strict=True)
    ]


def _is_null(chunk: pq.ColumnChunkMetaData) -> bool:
    """Return whether a column of a row group is known to have no value other than null."""
    known = chunk.is_stats_set and chunk.statistics.has_null_count
    return not chunk.num_values or bool(known and chunk.statistics.null_count == chunk.num_values)


def _open(path: Path, codec: str | None) -> pq.ParquetFile:
    # Read through a buffer, since a row group may be gigabytes large.
    source = _unpacked(path, codec) if codec else path
    return pq.ParquetFile(source, buffer_size=BLOCK_BYTES, pre_buffer=False)


def _columns(file: pq.ParquetFile, request: Request) -> list[str]:
    """Return the names in a file of the requested columns, text columns first."""
    names = file.schema_arrow.names
    return [names[index] for index in request.indices(names)]


def check_parquet(path: Path, codec: str | None, request: Request) -> None:
    """Check that a Parquet file has the requested columns, unless it is compressed as a whole."""
    if codec is None:
        request.indices(pq.read_schema(path).names)


def _unpacked(path: Path, codec: str) -> IO[bytes]:
    """Decompress a file into a temporary one, since Parquet is read from its end."""
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - its reader closes it
    with path.open("rb") as file:
        shutil.copyfileobj(decompressed(file, codec), unpacked)
    return unpacked


def _parse_batch(batch: pa.RecordBatch, *, names: list[str], request: Request) -> Records:
    """Return the records of a batch, with the rejected ones."""
    columns = [batch[name] for name in names]
    texts = [
        _as_text(column, name, request)
        for column, name in zip(columns, request.text_columns, strict=False)
    ]
    kept = columns[len(texts) :]
    if all(map(_is_usable, texts)):
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


def _is_usable(texts: pa.Array) -> bool:
    """Return whether all texts are UTF-8 without NUL."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return not pc.any(pc.match_substring(texts, "\0")).as_py()


def _as_text(values: pa.Array, name: str, request: Request) -> pa.Array:
    """Return a text column as strings, which may be invalid UTF-8.

    Raises:
        CharlmError: It holds neither text nor lists of strings.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), None, values)
    try:
        if _is_list(kind) and _is_string(kind.value_type):
            return _join(values.cast(pa.list_(pa.string()), safe=False), request.separator)
        return values.cast(pa.string(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise request.error(
            f"column {name!r} does not hold text: {one_line(error)}; name a column of strings"
        ) from None


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _is_string(kind: pa.DataType) -> bool:
    """Return whether the values of a type are strings, or bytes that may be UTF-8."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind in (
        *(pa.string(), pa.large_string(), pa.string_view(), pa.null()),
        *(pa.binary(), pa.large_binary(), pa.binary_view()),
    )


def _join(lists: pa.ListArray, separator: str) -> pa.Array:
    """Join the strings of each list; null without strings."""
    strings = lists.flatten()
    given = strings.is_valid()
    lengths = np.asarray(lists.value_lengths().fill_null(0))
    places = np.repeat(np.arange(len(lists)), lengths)[np.asarray(given)]
    numbers = np.bincount(places, minlength=len(lists))
    ends = np.concatenate([[0], np.cumsum(numbers)]).astype(np.int32)
    joined = pc.binary_join(pa.ListArray.from_arrays(ends, strings.filter(given)), separator)
    return pc.if_else(pa.array(numbers > 0), joined, None)

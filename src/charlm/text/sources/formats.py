"""The formats of source files, and their readers."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa

from charlm.errors import CharlmError
from charlm.text.sources.compression import CODECS, TOO_LONG_WINDOW, TrailingDataError
from charlm.text.sources.delimited import check_delimited, read_delimited
from charlm.text.sources.json_lines import read_json_lines
from charlm.text.sources.locations import PACKAGES, check_digest
from charlm.text.sources.parquet import check_parquet, kept_types, read_parquet
from charlm.text.sources.plain_text import read_plain_text
from charlm.text.sources.records import Records, Request, one_line

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
}

# File endings that cannot be read, and what to do instead.
UNREADABLE = dict.fromkeys([".zip", ".bz2", ".xz", ".7z", ".tar", ".tgz"], "unpack it") | {
    ".xlsx": "save its sheet as CSV",
    ".xls": "save its sheet as CSV",
}


READERS: dict[str, Callable[[Path, str | None, Request], Iterator[Records]]] = {
    "csv": partial(read_delimited, delimiter=","),
    "tsv": partial(read_delimited, delimiter="\t"),
    "jsonl": read_json_lines,
    "parquet": read_parquet,
    "text": read_plain_text,
}


CHECKS: dict[str, Callable[[Path, str | None, Request], None]] = {
    "csv": partial(check_delimited, delimiter=","),
    "tsv": partial(check_delimited, delimiter="\t"),
    "parquet": check_parquet,
}
"""The formats whose files begin or end with the names of their columns."""


def read_file(path: Path, request: Request, format: str) -> Iterator[Records]:
    """Yield the records of a file, block by block, in order.

    Args:
        path: The file; by its ending it may be compressed.
        request: The columns to read.
        format: One of `READERS`, or `auto`: by the file's ending.

    Raises:
        CharlmError: The format is unknown, or the file cannot be read.
    """
    format, codec = _format_and_codec(path, request, format)
    if request.name in map("package:{}".format, PACKAGES):
        check_digest(path, request)
    with _one_line_errors(request):
        yield from READERS[format](path, codec, request)


def check_file(path: Path, request: Request, format: str) -> None:
    """Check that a file has the requested columns, if its format has names of columns.

    Raises:
        CharlmError: The format is unknown, or the file cannot be read or lacks a column.
    """
    format, codec = _format_and_codec(path, request, format)
    if format in CHECKS:
        with _one_line_errors(request):
            CHECKS[format](path, codec, request)


def has_keys(path: Path, request: Request, format: str) -> bool:
    """Return whether each record of a file has names of its own, as JSON objects have.

    Raises:
        CharlmError: The format is unknown.
    """
    return _format_and_codec(path, request, format)[0] == "jsonl"


def read_kept_types(path: Path, request: Request, format: str) -> list[tuple[pa.DataType, bool]]:
    """Return the type of each column to keep of a file, and whether the column has values.

    Raises:
        CharlmError: As `read_file`.
    """
    format, codec = _format_and_codec(path, request, format)
    if format != "parquet":
        return [(pa.string(), True)] * len(request.keep_columns)
    with _one_line_errors(request):
        return kept_types(path, codec, request)


def format_of(path: Path) -> tuple[str, str | None]:
    """Return the format of a file by its ending, a key of `READERS`, and its compression.

    Raises:
        CharlmError: The ending is unknown.
    """
    return _format_and_codec(path, Request(str(path), (), (), "", "utf-8"), "auto")


def _format_and_codec(path: Path, request: Request, format: str) -> tuple[str, str | None]:
    """Return the format of a file, a key of `READERS`, and its compression."""
    ending = path.suffix.lower()
    codec = CODECS.get(ending)
    if format == "auto":
        plain = Path(path.stem).suffix.lower() if codec else ending
        if plain in UNREADABLE:
            raise request.error(f"{plain} files are not supported; {UNREADABLE[plain]}")
        if plain not in FORMATS:
            raise request.error(
                f"unknown file ending; set corpus.format to one of {', '.join(READERS)}"
            )
        format = FORMATS[plain]
    if format not in READERS:
        raise CharlmError(
            f"corpus.format: unknown format {format!r}; expected one of auto, {', '.join(READERS)}"
        )
    return format, codec


@contextmanager
def _one_line_errors(request: Request) -> Iterator[None]:
    """Turn exceptions from reading a file into a `CharlmError`, whose message is one line."""
    try:
        yield
    except FileNotFoundError:
        raise request.error("there is no such file; fix corpus.source") from None
    except PermissionError:
        raise request.error("permission denied; change its permissions") from None
    except UnicodeError as error:
        raise request.error(f"cannot be decoded: {one_line(error)}; set corpus.encoding") from None
    except TrailingDataError:
        raise request.error(
            "something that is not gzip data follows its end; if nothing is lost without that, "
            f"unpack it with `gzip -cd {request.name}` and read the unpacked file"
        ) from None
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        if TOO_LONG_WINDOW in str(error):
            raise request.error(
                "its zstd window is longer than 128 MiB; unpack it with "
                f"`zstd -d --long=31 {request.name}` and read the unpacked file"
            ) from None
        raise request.error(f"damaged or cut off: {one_line(error)}; replace it") from None

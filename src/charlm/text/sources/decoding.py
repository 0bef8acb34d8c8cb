"""The bytes of text files, decompressed and recoded to UTF-8."""

import codecs
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import ftfy.bad_codecs  # noqa: F401 - adds utf-8-variants, which reads CESU-8

from charlm.errors import CharlmError
from charlm.text.sources.compression import decompressed
from charlm.text.sources.records import Request

READ_BYTES = 1 << 18
"""Bytes read from a text file at a time."""

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # comes before UTF-16's mark, which is a prefix of it
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def _replace_undecodable(error: UnicodeError) -> tuple[str, int]:
    """Replace undecodable bytes by a lone surrogate, which `first_reason` finds."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error("charlm.undecodable", _replace_undecodable)


def check_encoding(encoding: str) -> None:
    """Check that Python knows a text encoding.

    Raises:
        CharlmError: It does not.
    """
    try:
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)("charlm.undecodable").decode(b"")
    except (LookupError, UnicodeError):
        raise CharlmError(
            f"corpus.encoding: unknown text encoding {encoding!r}; use utf-8, utf-16, cp1252, "
            "latin-1 or another one that Python knows"
        ) from None


def utf8_mark(path: Path, request: Request) -> int | None:
    """Return the length of a UTF-8 file's byte order mark; None for another encoding."""
    with path.open("rb") as file:
        encoding, mark = _encoding(file.read(4), request)
    return mark if encoding in ("utf-8", "utf-8-sig") else None


def utf8_chunks(path: Path, codec: str | None, request: Request) -> Iterator[bytes]:
    """Yield the bytes of a text file as UTF-8 without a byte order mark.

    Undecodable bytes become invalid UTF-8, which the parsers report.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        stream = decompressed(file, codec)
        start = stream.read(4)
        encoding, mark = _encoding(start, request)
        start = start[mark:]
        recode = _recoder(encoding)
        chunk = start + stream.read(READ_BYTES)
        _check_text(chunk, encoding, request)
        while chunk:
            yield recode(chunk, False)
            chunk = stream.read(READ_BYTES)
        yield recode(b"", True)
        request.check_size(path, size)


def _encoding(start: bytes, request: Request) -> tuple[str, int]:
    """Return the encoding of a text with this start, and the length of its byte order mark."""
    for mark, marked in BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return marked, len(mark)
    return codecs.lookup(request.encoding).name, 0


def _recoder(encoding: str) -> Callable[[bytes, bool], bytes]:
    """Return a function that recodes a chunk to UTF-8, told whether the chunk is the last."""
    if encoding in ("utf-8", "utf-8-sig"):
        return lambda chunk, final: chunk
    decoder = codecs.getincrementaldecoder(encoding)("charlm.undecodable")
    return lambda chunk, final: decoder.decode(chunk, final).encode("utf-8", "surrogatepass")


def _check_text(start: bytes, encoding: str, request: Request) -> None:
    """Check the first bytes of a text file.

    Raises:
        CharlmError: They are not text, or text in another encoding.
    """
    if start.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        ending = ".gz" if start.startswith(b"\x1f") else ".zst"
        raise request.error(f"it is compressed; rename it to end in {ending}")
    head = start[:1024]
    if encoding.startswith(("utf-16", "utf-32")) or b"\0" not in head:
        return
    for offset, order in ((1, "le"), (0, "be")):
        if head[offset::2].count(0) > len(head) // 4 > head[1 - offset :: 2].count(0) * 4:
            raise request.error(
                "it looks like UTF-16 without a byte order mark; set corpus.encoding to "
                f"utf-16-{order}"
            )
    raise request.error(
        f"not a text file: there is a NUL byte at offset {head.index(0)}; give a text file or set "
        "corpus.encoding"
    )

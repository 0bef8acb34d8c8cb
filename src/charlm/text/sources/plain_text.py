"""Plain text files, whose documents are the whole file, its lines or its paragraphs."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from charlm.text.sources.blocks import RECORD_BYTES, Block, join_blocks
from charlm.text.sources.decoding import utf8_chunks
from charlm.text.sources.records import Records, Request, excerpt, first_reason
from charlm.text.tables import BLOCK_BYTES, ordered_map

LINE_END = r"(?>\r\n|\r|\n)"

SEPARATORS = {
    "line": re.compile(LINE_END.encode()),
    "paragraph": re.compile(rf"{LINE_END}(?:[ \t]*+{LINE_END})++".encode()),
}
"""What separates documents: a line end, or blank lines."""

BLANK_LINES = re.compile(rf"\A(?:[ \t]*+{LINE_END})++")


def read_plain_text(path: Path, codec: str | None, request: Request) -> Iterator[Records]:
    """Yield the documents of a text file; lines and paragraphs without text are left out."""
    if request.keep_columns:
        raise request.error("plain text has no columns; leave corpus.keep_columns empty")
    chunks = utf8_chunks(path, codec, request)
    if request.document in SEPARATORS:
        separator = SEPARATORS[request.document]
        blocks = join_blocks(chunks, partial(_cut, separator), request, BLOCK_BYTES)
        return ordered_map(partial(_parse, request=request, separator=separator), blocks)
    return _read_whole(chunks, request)


def _read_whole(chunks: Iterator[bytes], request: Request) -> Iterator[Records]:
    """Yield a text file as one record."""
    data = bytearray()
    for chunk in chunks:
        if len(data) + len(chunk) > RECORD_BYTES:
            raise request.error(
                f"a document can have at most {RECORD_BYTES >> 30} GiB; set corpus.document to "
                "line or paragraph, or split the file into several"
            )
        data += chunk
    text = data.decode("utf-8", "surrogateescape")
    yield _collect([text or None], request)


def _cut(separator: re.Pattern[bytes], block: bytes) -> int:
    """Return the offset after the last separator; 0 if none is complete."""
    # More of the last separator may follow.
    ends = [found.end() for found in separator.finditer(block)]
    return next((end for end in reversed(ends) if end < len(block)), 0)


def _parse(block: Block, *, request: Request, separator: re.Pattern[bytes]) -> Records:
    """Return the documents of a block."""
    texts = [text.decode("utf-8", "surrogateescape") for text in separator.split(block.data)]
    if request.document == "paragraph":
        texts = [BLANK_LINES.sub("", text).rstrip("\r\n") for text in texts]
    return _collect([text for text in texts if text.strip()], request)


def _collect(texts: list[str] | list[str | None], request: Request) -> Records:
    """Return these documents as records, with the rejected ones."""
    usable: list[tuple[int, list[str | None]]] = []
    rejected: list[tuple[int, str, str]] = []
    for place, text in enumerate(texts):
        reason = first_reason([text], request)
        if text and reason:
            rejected.append((place, reason, excerpt(text)))
        else:
            usable.append((place, [text]))
    return request.collect(len(texts), usable, rejected)

"""Plain text files, each of which is one document."""

from collections.abc import Iterator
from pathlib import Path

from charlm.text.sources.blocks import RECORD_BYTES
from charlm.text.sources.decoding import utf8_chunks
from charlm.text.sources.records import Records, Request, excerpt, first_reason


def read_plain_text(path: Path, codec: str | None, request: Request) -> Iterator[Records]:
    """Yield a text file as one record."""
    if request.keep_columns:
        raise request.error("plain text has no columns; leave corpus.keep_columns empty")
    data = bytearray()
    for chunk in utf8_chunks(path, codec, request):
        if len(data) + len(chunk) > RECORD_BYTES:
            raise request.error(
                f"a document can have at most {RECORD_BYTES >> 30} GiB; split the file into several"
            )
        data += chunk
    text = data.decode("utf-8", "surrogateescape")
    reason = first_reason([text], request)
    if reason:
        yield request.collect(1, [], [(0, reason, excerpt(text))])
    else:
        yield request.collect(1, [(0, [text or None])], [])

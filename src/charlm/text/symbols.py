"""Symbols, the units of a vocabulary: characters (code points), graphemes or bytes."""

from collections.abc import Iterator
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from charlm.errors import CharlmError
from charlm.text.tables import utf8_buffer

Unit = Literal["character", "grapheme", "byte"]
UNITS: tuple[Unit, ...] = get_args(Unit)

UnsignedArray: TypeAlias = npt.NDArray[np.unsignedinteger]
"""An array of code points, bytes or token ids, in the smallest type that holds them."""

CODE_POINTS = 0x110000 - 0x800
"""Number of code points that a text can contain: all but the surrogates."""

PIECE_BYTES = 1 << 15
"""Bytes of text that are decoded at a time."""


def split_graphemes(text: str) -> list[str]:
    r"""Split a text into its extended grapheme clusters (UAX #29).

    >>> split_graphemes("ab\r\n")
    ['a', 'b', '\r\n']
    """
    import regex  # may be missing on a machine that only trains

    return regex.findall(r"\X", text)


def byte_symbol(byte: int) -> str:
    """Return the symbol of a byte.

    >>> byte_symbol(0x41), byte_symbol(0xE9)
    ('A', '<0xE9>')
    """
    return chr(byte) if byte < 0x80 else f"<0x{byte:02X}>"


def check_unicode(text: str, name: str = "text") -> None:
    """Check that a text has no lone surrogates, which UTF-8 cannot encode.

    Python uses surrogates for bytes of a file name or an argument that are not UTF-8.

    Raises:
        CharlmError: The text, called `name` in the message, contains a lone surrogate.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CharlmError(
            f"{name}: character {error.start + 1} is a lone surrogate ({text[error.start]!r}), "
            "perhaps from bytes that are not UTF-8; use valid text"
        ) from None


def utf8_pieces(texts: pa.Array) -> Iterator[memoryview]:
    """Yield the UTF-8 of all texts, one after another, in pieces that cut no code point."""
    offsets, view = utf8_buffer(texts)
    start, end = int(offsets[0]), int(offsets[-1])
    while start < end:
        stop = min(start + PIECE_BYTES, end)
        while stop < end and view[stop] & 0xC0 == 0x80:
            stop -= 1
        yield view[start:stop]
        start = stop


def code_points(utf8: memoryview) -> UnsignedArray:
    """Return the code points of a UTF-8 text, as uint8 if all are below 256, else as uint32."""
    text = str(utf8, "utf-8")
    try:
        return np.frombuffer(text.encode("latin-1"), np.uint8)
    except UnicodeEncodeError:
        return np.frombuffer(text.encode("utf-32-le"), np.uint32)

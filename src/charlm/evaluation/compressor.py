"""What a compressor needs for each text that follows on those before it."""

import lzma
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def compressed_nats(
    learned: Sequence[npt.NDArray[Any]], scored: Sequence[npt.NDArray[Any]]
) -> npt.NDArray[np.float64]:
    """Return the nats that each scored text takes, compressed after all texts before it.

    All texts are compressed as one by LZMA, the method of xz. Feeding the result back to the
    decompressor byte by byte shows how many compressed bytes stand for each text. A text's share is
    exact to a byte; the shares add up to the whole.

    Args:
        learned: Texts to learn from first, arrays of symbols.
        scored: The texts to compress after them.

    Returns:
        The nats of each scored text, shape (scored texts,).
    """
    texts = [text.tobytes() for text in (*learned, *scored)]
    compressed = lzma.compress(b"".join(texts), format=lzma.FORMAT_ALONE)
    decompressor = lzma.LZMADecompressor()
    # The bytes that end the stream belong to no text.
    restored = np.fromiter(
        (
            0 if decompressor.eof else len(decompressor.decompress(compressed[place : place + 1]))
            for place in range(len(compressed))
        ),
        np.int64,
        len(compressed),
    )
    ends = np.cumsum([len(text) for text in texts])
    spent = np.searchsorted(np.cumsum(restored), ends)
    shares = np.diff(spent, prepend=0)[len(learned) :]
    return shares * 8 * math.log(2)

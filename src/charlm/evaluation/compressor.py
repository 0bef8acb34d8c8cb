"""The cost of texts under a compressor that has seen all texts before them."""

import lzma
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def compressed_nats(
    training_texts: Sequence[npt.NDArray[np.integer]],
    scored_texts: Sequence[npt.NDArray[np.integer]],
) -> npt.NDArray[np.float64]:
    """Return the nats that each scored text takes, compressed after all texts before it.

    LZMA, the method of xz, compresses all texts as one. The decompressor then reads the result byte
    by byte, which shows how many compressed bytes each text takes. A text's share is exact to a
    byte, and the shares add up to the whole.

    Args:
        training_texts: Arrays of symbols that come first and are not scored.
        scored_texts: Arrays of symbols that are compressed after them.

    Returns:
        The nats of each scored text, shape (scored texts,).
    """
    texts = [text.tobytes() for text in (*training_texts, *scored_texts)]
    compressed = lzma.compress(b"".join(texts), format=lzma.FORMAT_ALONE)
    decompressor = lzma.LZMADecompressor()
    # The last bytes only mark the end of the stream and restore nothing.
    restored = np.fromiter(
        (
            0 if decompressor.eof else len(decompressor.decompress(compressed[place : place + 1]))
            for place in range(len(compressed))
        ),
        np.int64,
        len(compressed),
    )
    ends = np.cumsum([len(text) for text in texts])
    bytes_read = np.searchsorted(np.cumsum(np.append(0, restored)), ends)
    shares = np.diff(bytes_read, prepend=0)[len(training_texts) :]
    return shares * 8 * math.log(2)

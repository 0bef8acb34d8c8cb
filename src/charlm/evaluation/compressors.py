"""The cost of texts under compressors that have read all texts before them."""

import lzma
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pyppmd import Ppmd7Encoder

from charlm.text.vocabulary import Vocabulary

NATS_PER_BYTE = 8 * math.log(2)

PPMD_MEMORY = 1 << 30
"""Maximum memory of PPMd in bytes; when it is full, PPMd forgets all that it has learned.

PPMd takes only what it needs: about 4 bytes per character of English at order 6, 13 at order 10.
"""


def to_bytes(text: npt.NDArray[np.integer], vocabulary: Vocabulary) -> bytes:
    """Return the ids of a text's symbols as the bytes that a compressor does best with.

    These are the ids themselves if they fit a byte, otherwise the UTF-8 of the symbols: compressors
    read bytes and would take the two bytes of an id for two symbols. The special symbols become
    bytes that UTF-8 never contains, 0xFE for the unknown symbol and 0xFF for the end of a document.
    """
    if len(vocabulary) <= 256:
        return text.astype(np.uint8).tobytes()
    if vocabulary.unit == "byte":
        encoded = [bytes([id]) for id in range(256)] + [b""] * (len(vocabulary) - 256)
    else:
        encoded = [symbol.encode() for symbol in vocabulary.symbols]
    if vocabulary.unknown is not None:
        encoded[vocabulary.unknown] = b"\xfe"
    if vocabulary.end_of_document is not None:
        encoded[vocabulary.end_of_document] = b"\xff"
    return b"".join([encoded[id] for id in text.tolist()])


def xz_nats(
    training_texts: Sequence[bytes], scored_texts: Sequence[bytes]
) -> npt.NDArray[np.float64]:
    """Return the nats that each scored text takes, compressed by xz after all texts before it.

    LZMA, the method of xz, compresses all texts as one. The decompressor then reads the result byte
    by byte, which shows how many compressed bytes each text takes. A text's share is exact to a
    byte, and the shares add up to the whole.

    Args:
        training_texts: Texts that come first and are not scored.
        scored_texts: Texts that are compressed after them.

    Returns:
        The nats of each scored text, shape (scored texts,).
    """
    texts = [*training_texts, *scored_texts]
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
    nats: npt.NDArray[np.float64] = np.diff(bytes_read, prepend=0) * NATS_PER_BYTE
    return nats[len(training_texts) :]


def ppmd_nats(
    training_texts: Sequence[bytes], scored_texts: Sequence[bytes], order: int
) -> npt.NDArray[np.float64]:
    """Return the nats that each scored text takes, compressed by PPMd after all texts before it.

    PPMd (Shkarin 2002, variant H, as in 7-Zip) mixes contexts of up to `order` bytes. It compresses
    all texts as one stream. A text's cost is the growth of the compressed stream, exact to a byte.

    Args:
        training_texts: Texts that come first and are not scored.
        scored_texts: Texts that are compressed after them.
        order: The longest context, in bytes, from 2 to 64.

    Returns:
        The nats of each scored text, shape (scored texts,).
    """
    encoder = Ppmd7Encoder(order, PPMD_MEMORY)
    for text in training_texts:
        encoder.encode(text)
    grown = np.array([len(encoder.encode(text)) for text in scored_texts], np.float64)
    # The end of the stream belongs to the last text that is not empty.
    last = [number for number, text in enumerate(scored_texts) if text][-1:]
    grown[last] += len(encoder.flush())
    return grown * NATS_PER_BYTE

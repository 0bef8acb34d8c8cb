"""The shares of texts in what LZMA makes of them all."""

import lzma
import math

import numpy as np

from charlm.evaluation.compressor import compressed_nats

RANDOM = np.random.default_rng(0)
LEARNED = [RANDOM.integers(0, 20, size).astype(np.uint16) for size in (900, 0, 600)]


def compressed_bytes(texts: list[np.ndarray]) -> int:
    joined = b"".join(text.tobytes() for text in texts)
    return len(lzma.compress(joined, format=lzma.FORMAT_ALONE))


def test_the_shares_add_up_to_what_the_texts_add() -> None:
    scored = [RANDOM.integers(0, 20, size).astype(np.uint16) for size in (500, 0, 300, 900)]
    nats = compressed_nats(LEARNED, scored)
    added = compressed_bytes([*LEARNED, *scored]) - compressed_bytes(LEARNED)
    assert nats.shape == (4,)
    assert nats[1] == 0
    assert abs(nats.sum() - added * 8 * math.log(2)) < 10 * 8


def test_a_share_is_the_compressed_bytes_until_the_text_is_whole() -> None:
    scored = [RANDOM.integers(0, 20, size).astype(np.uint16) for size in (70, 1, 0, 200)]
    texts = [text.tobytes() for text in (*LEARNED, *scored)]
    compressed = lzma.compress(b"".join(texts), format=lzma.FORMAT_ALONE)
    needed, end = [], 0
    for text in texts:
        end += len(text)
        needed.append(
            next(
                length
                for length in range(len(compressed) + 1)
                if len(lzma.LZMADecompressor().decompress(compressed[:length])) >= end
            )
        )
    shares = np.diff(needed)[len(LEARNED) - 1 :]
    assert compressed_nats(LEARNED, scored).tolist() == (shares * 8 * math.log(2)).tolist()


def test_a_text_that_was_learned_costs_next_to_nothing() -> None:
    new = RANDOM.integers(0, 20, 900).astype(np.uint16)
    old, fresh = compressed_nats(LEARNED, [LEARNED[0], new])
    assert old < fresh / 20


def test_a_share_depends_on_what_stands_before_and_hardly_on_what_follows() -> None:
    texts = [RANDOM.integers(0, 20, 400).astype(np.uint8) for _ in range(6)]
    whole = compressed_nats(texts[:2], texts[2:])
    part = compressed_nats(texts[:2], texts[2:4])
    assert np.abs(whole[:2] - part).max() < 8 * 8

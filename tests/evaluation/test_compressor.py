"""Each text's share of the compressed size."""

import lzma
import math

import numpy as np
import numpy.typing as npt
import pytest

from charlm.evaluation.compressor import compressed_nats

RANDOM = np.random.default_rng(0)
TRAINING = [RANDOM.integers(0, 20, size).astype(np.uint16) for size in (900, 0, 600)]


def compressed_bytes(texts: list[npt.NDArray[np.uint16]]) -> int:
    joined = b"".join(text.tobytes() for text in texts)
    return len(lzma.compress(joined, format=lzma.FORMAT_ALONE))


def test_the_shares_add_up_to_the_growth_of_the_compressed_size() -> None:
    scored = [RANDOM.integers(0, 20, size).astype(np.uint16) for size in (500, 0, 300, 900)]
    nats = compressed_nats(TRAINING, scored)
    added = compressed_bytes([*TRAINING, *scored]) - compressed_bytes(TRAINING)
    assert nats.shape == (4,)
    assert nats[1] == 0
    assert abs(nats.sum() - added * 8 * math.log(2)) < 10 * 8


@pytest.mark.parametrize("training", [TRAINING, []])
def test_a_share_is_the_bytes_needed_to_restore_the_text(
    training: list[npt.NDArray[np.uint16]],
) -> None:
    scored = [RANDOM.integers(0, 20, size).astype(np.uint16) for size in (70, 1, 0, 200)]
    texts = [text.tobytes() for text in (*training, *scored)]
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
    shares = np.diff(needed, prepend=0)[len(training) :]
    assert compressed_nats(training, scored).tolist() == (shares * 8 * math.log(2)).tolist()


def test_a_training_text_costs_almost_nothing() -> None:
    new = RANDOM.integers(0, 20, 900).astype(np.uint16)
    old, fresh = compressed_nats(TRAINING, [TRAINING[0], new])
    assert old < fresh / 20


def test_a_share_hardly_depends_on_later_texts() -> None:
    texts = [RANDOM.integers(0, 20, 400).astype(np.uint8) for _ in range(6)]
    whole = compressed_nats(texts[:2], texts[2:])
    part = compressed_nats(texts[:2], texts[2:4])
    assert np.abs(whole[:2] - part).max() < 8 * 8

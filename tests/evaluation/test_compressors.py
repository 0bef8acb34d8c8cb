"""Each text's share of the compressed size."""

import lzma
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyppmd
import pytest

from charlm.evaluation.compressors import ppmd_nats, to_bytes, xz_nats
from charlm.text.vocabulary import Vocabulary

Compressor = Callable[[Sequence[bytes], Sequence[bytes]], npt.NDArray[np.float64]]
NATS_PER_BYTE = 8 * math.log(2)
RANDOM = np.random.default_rng(0)


def ppmd(training: Sequence[bytes], scored: Sequence[bytes]) -> npt.NDArray[np.float64]:
    return ppmd_nats(training, scored, 5)


def texts(*sizes: int) -> list[bytes]:
    return [RANDOM.integers(0, 20, size).astype(np.uint8).tobytes() for size in sizes]


def xz_size(joined: bytes) -> int:
    return len(lzma.compress(joined, format=lzma.FORMAT_ALONE))


def ppmd_size(joined: bytes) -> int:
    encoder = pyppmd.Ppmd7Encoder(5, 1 << 24)
    return len(encoder.encode(joined)) + len(encoder.flush())


TRAINING = texts(1800, 0, 1200)
both = pytest.mark.parametrize(
    ("compressor", "size"), [(xz_nats, xz_size), (ppmd, ppmd_size)], ids=["xz", "ppmd"]
)


@both
def test_the_shares_add_up_to_the_growth_of_the_compressed_size(
    compressor: Compressor, size: Callable[[bytes], int]
) -> None:
    scored = texts(500, 0, 300, 900)
    nats = compressor(TRAINING, scored)
    added = size(b"".join([*TRAINING, *scored])) - size(b"".join(TRAINING))
    assert nats.shape == (4,)
    assert nats[1] == 0
    assert abs(nats.sum() / NATS_PER_BYTE - added) < 10


@both
def test_a_training_text_costs_almost_nothing(
    compressor: Compressor, size: Callable[[bytes], int]
) -> None:
    old, fresh = compressor(TRAINING, [TRAINING[0], *texts(1800)])
    assert old < fresh / 3


@both
def test_a_text_costs_almost_nothing_the_second_time(
    compressor: Compressor, size: Callable[[bytes], int]
) -> None:
    first, second = compressor(TRAINING, texts(900) * 2)
    assert second < first / 3


@both
def test_a_share_hardly_depends_on_later_texts(
    compressor: Compressor, size: Callable[[bytes], int]
) -> None:
    scored = texts(400, 400, 400, 400)
    whole = compressor(TRAINING, scored)
    part = compressor(TRAINING, scored[:2])
    assert np.abs(whole[:2] - part).max() < 8 * NATS_PER_BYTE


@pytest.mark.parametrize("training", [TRAINING, []])
def test_a_share_of_xz_is_the_bytes_needed_to_restore_the_text(training: list[bytes]) -> None:
    scored = texts(70, 1, 0, 200)
    compressed = lzma.compress(b"".join([*training, *scored]), format=lzma.FORMAT_ALONE)
    needed, end = [], 0
    for text in (*training, *scored):
        end += len(text)
        needed.append(
            next(
                length
                for length in range(len(compressed) + 1)
                if len(lzma.LZMADecompressor().decompress(compressed[:length])) >= end
            )
        )
    shares = np.diff(needed, prepend=0)[len(training) :]
    assert xz_nats(training, scored).tolist() == (shares * NATS_PER_BYTE).tolist()


def test_the_end_of_a_ppmd_stream_belongs_to_the_last_text_that_is_not_empty() -> None:
    scored = texts(70, 200)
    assert ppmd([], scored).sum() == pytest.approx(ppmd_size(b"".join(scored)) * NATS_PER_BYTE)
    nats = ppmd(TRAINING, scored)
    assert ppmd(TRAINING, [*scored, b""]).tolist() == [*nats, 0]
    assert ppmd(TRAINING, [scored[0], *texts(10_000)])[0] == nats[0]
    assert ppmd([], []).shape == (0,)
    assert ppmd([], [b"", b""]).tolist() == [0, 0]


def test_ppmd_uses_contexts_of_the_given_order() -> None:
    letters = [b"%c" % letter for letter in RANDOM.integers(ord("a"), ord("d"), 900)]
    text = b"".join(letter + b"-----" + letter.upper() for letter in letters)
    cost = {order: ppmd_nats([text[:5600]], [text[5600:]], order).sum() for order in (3, 8)}
    assert cost[8] < 0.7 * cost[3]


def test_ids_that_fit_a_byte_are_compressed_as_they_are() -> None:
    vocabulary = Vocabulary(
        [chr(0x4E00 + number) for number in range(255)] + ["<unknown>"],
        [1] * 256,
        {"unknown": 255, "end_of_document": None},
    )
    assert to_bytes(np.array([0, 254, 255], np.uint8), vocabulary) == bytes([0, 254, 255])


def test_ids_of_a_larger_vocabulary_become_utf8() -> None:
    symbols = [chr(0x4E00 + number) for number in range(300)] + ["e\u0301", "<unknown>", "<end>"]
    vocabulary = Vocabulary(symbols, [1] * 303, {"unknown": 301, "end_of_document": 302})
    ids = np.array([299, 300, 301, 0, 302], np.uint16)
    expected = [symbols[299].encode(), "e\u0301".encode(), b"\xfe", symbols[0].encode(), b"\xff"]
    assert to_bytes(ids, vocabulary) == b"".join(expected)


def test_ids_of_bytes_become_these_bytes() -> None:
    symbols = [f"<0x{byte:02X}>" for byte in range(256)] + ["<end>"]
    vocabulary = Vocabulary(symbols, [1] * 257, {"unknown": None, "end_of_document": 256}, "byte")
    text = "aé中".encode()
    ids = np.append(np.frombuffer(text, np.uint8).astype(np.uint16), 256)
    assert to_bytes(ids, vocabulary) == text + b"\xff"

"""Streams read every symbol, in order, as a function of (seed, step) alone."""

import numpy as np
import pytest

from charlm.errors import CharlmError
from charlm.training.streams import Streams, seed_for

TEXT = np.arange(1000, dtype=np.uint16)


def test_what_is_to_predict_follows_what_is_read() -> None:
    streams = Streams(TEXT, batch_size=4, sequence_length=10, seed=0)
    for step in range(60):
        read, expected, _ = streams.window(step)
        assert read.shape == expected.shape == (10, 4)
        assert ((read + 1) % 1000 == expected).all()


def test_a_stream_goes_on_where_it_was_until_the_epoch_ends() -> None:
    streams = Streams(TEXT, batch_size=4, sequence_length=10, seed=0)
    assert streams.steps_per_epoch == 25
    for step in range(1, 60):
        (_, before, _), (read, _, fresh) = streams.window(step - 1), streams.window(step)
        assert fresh == (step % 25 == 0)
        assert (read[0] == before[-1]).all() != fresh


def test_an_epoch_reads_every_symbol_once() -> None:
    streams = Streams(TEXT, batch_size=4, sequence_length=10, seed=3)
    read = np.concatenate([streams.window(step)[0].numpy().ravel() for step in range(25, 50)])
    assert sorted(read) == list(range(1000))


def test_every_epoch_cuts_the_text_elsewhere() -> None:
    streams = Streams(TEXT, batch_size=4, sequence_length=10, seed=3)
    starts = [int(streams.window(25 * epoch)[0][0, 0]) for epoch in range(8)]
    assert starts == [seed_for(3, epoch) % 1000 for epoch in range(8)]
    assert len(set(starts)) == 8
    for step in range(25):
        turned = (streams.window(25 + step)[0] - starts[1]) % 1000
        assert (turned == (streams.window(step)[0] - starts[0]) % 1000).all()


def test_another_seed_cuts_the_text_elsewhere() -> None:
    windows = [
        Streams(TEXT, batch_size=4, sequence_length=10, seed=seed).window(7)[0].numpy()
        for seed in (0, 0, 1)
    ]
    assert (windows[0] == windows[1]).all()
    assert (windows[0] != windows[2]).any()


@pytest.mark.parametrize("size", [2, 3, 9, 31])
def test_a_short_text_shrinks_the_batch(size: int) -> None:
    streams = Streams(TEXT[:size], batch_size=64, sequence_length=10, seed=0)
    read, expected, _ = streams.window(0)
    assert read.numel() <= size
    assert ((read + 1) % size == expected).all()


def test_a_text_that_is_too_short_is_refused() -> None:
    with pytest.raises(CharlmError, match=r"1 symbols are too few to train on; use more text"):
        Streams(TEXT[:1], batch_size=1, sequence_length=1, seed=0)


def test_seeds_are_functions_of_their_parts() -> None:
    assert seed_for(1, 2) == seed_for(1, 2)
    assert len({seed_for(1, 2), seed_for(2, 1), seed_for(12), seed_for(1, 2, 0)}) == 4

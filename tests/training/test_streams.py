"""The streams read every token in order, and depend on the seed and the step alone."""

import logging

import numpy as np
import pytest

from charlm.errors import CharlmError
from charlm.training.streams import Streams, seed_for

TEXT = np.arange(1000, dtype=np.uint16)


def test_each_target_is_the_next_token() -> None:
    streams = Streams(TEXT, batch_size=4, sequence_length=10, seed=0)
    for step in range(60):
        tokens, targets, _ = streams.window(step)
        assert tokens.shape == targets.shape == (10, 4)
        assert ((tokens + 1) % 1000 == targets).all()


def test_a_window_continues_the_one_before_until_the_epoch_ends() -> None:
    streams = Streams(TEXT, batch_size=4, sequence_length=10, seed=0)
    assert streams.steps_per_epoch == 25
    for step in range(1, 60):
        _, targets_before, _ = streams.window(step - 1)
        tokens, _, starts_epoch = streams.window(step)
        assert starts_epoch == (step % 25 == 0)
        assert (tokens[0] == targets_before[-1]).all() != starts_epoch


def test_an_epoch_reads_every_token_once() -> None:
    streams = Streams(TEXT, batch_size=4, sequence_length=10, seed=3)
    tokens = np.concatenate([streams.window(step)[0].numpy().ravel() for step in range(25, 50)])
    assert sorted(tokens) == list(range(1000))


def test_every_epoch_cuts_the_text_at_other_places() -> None:
    streams = Streams(TEXT, batch_size=4, sequence_length=10, seed=3)
    offsets = [int(streams.window(25 * epoch)[0][0, 0]) for epoch in range(8)]
    assert offsets == [seed_for(3, epoch) % 1000 for epoch in range(8)]
    assert len(set(offsets)) == 8
    for step in range(25):
        second_epoch = (streams.window(25 + step)[0] - offsets[1]) % 1000
        assert (second_epoch == (streams.window(step)[0] - offsets[0]) % 1000).all()


def test_another_seed_cuts_the_text_at_other_places() -> None:
    windows = [
        Streams(TEXT, batch_size=4, sequence_length=10, seed=seed).window(7)[0].numpy()
        for seed in (0, 0, 1)
    ]
    assert (windows[0] == windows[1]).all()
    assert (windows[0] != windows[2]).any()


@pytest.mark.parametrize("size", [2, 3, 9, 31])
def test_a_short_text_reduces_the_window(size: int) -> None:
    streams = Streams(TEXT[:size], batch_size=64, sequence_length=10, seed=0)
    tokens, targets, _ = streams.window(0)
    assert tokens.numel() <= size
    assert ((tokens + 1) % size == targets).all()


@pytest.mark.parametrize(
    ("batch_size", "sequence_length", "messages"),
    [
        (4, 250, []),
        (
            5,
            250,
            ["the training text has only 1000 tokens: batch_size is 4 and sequence_length 250"],
        ),
        (1, 999, []),
        (
            1,
            1000,
            ["the training text has only 1000 tokens: batch_size is 1 and sequence_length 999"],
        ),
    ],
)
def test_a_reduced_window_is_announced(
    batch_size: int, sequence_length: int, messages: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Streams(TEXT, batch_size=batch_size, sequence_length=sequence_length, seed=0)
    assert caplog.messages == messages


def test_a_text_that_is_too_short_is_refused() -> None:
    with pytest.raises(CharlmError, match="fewer than two tokens, too few to train on; use more"):
        Streams(TEXT[:1], batch_size=1, sequence_length=1, seed=0)


def test_seeds_depend_on_their_parts_and_the_order_of_these() -> None:
    assert seed_for(1, 2) == seed_for(1, 2)
    assert len({seed_for(1, 2), seed_for(2, 1), seed_for(12), seed_for(1, 2, 0)}) == 4

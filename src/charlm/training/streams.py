"""The training text as streams read side by side, in order, for truncated backpropagation."""

import hashlib
import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.errors import CharlmError

log = logging.getLogger(__name__)


def seed_for(*parts: int) -> int:
    """Return a 63-bit seed that is a function of `parts` alone, such as (seed, step)."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Streams:
    """Windows of `batch_size` streams that each read their part of the text in order.

    The streams start at equal distances around the text, which is taken as a ring that each epoch
    turns to a new place. So every symbol is read, epochs cut the text at different points, and the
    window of a step is a function of (seed, step) alone.

    Args:
        tokens: The training symbols, one-dimensional, as it may be mapped from disk.
        batch_size: Number of streams; made smaller where the text is too short for it.
        sequence_length: Symbols a stream gives to one step; likewise.
        seed: Seed of the epochs' starting points.

    Raises:
        CharlmError: There are fewer than two symbols.
    """

    def __init__(
        self,
        tokens: npt.NDArray[Any],
        *,
        batch_size: int,
        sequence_length: int,
        seed: int,
    ) -> None:
        if len(tokens) < 2:
            raise CharlmError(
                f"tokens/train.npy: {len(tokens)} symbols are too few to train on; "
                "use more text or hold out less of it (splits)"
            )
        self.tokens = tokens
        self.seed = seed
        self.sequence_length = min(sequence_length, len(tokens) - 1)
        self.batch_size = min(batch_size, max(1, len(tokens) // self.sequence_length))
        if (self.batch_size, self.sequence_length) != (batch_size, sequence_length):
            log.warning(
                "the training text has %d symbols only: batch_size is %d and sequence_length %d",
                len(tokens),
                self.batch_size,
                self.sequence_length,
            )
        self.window_size = self.batch_size * self.sequence_length
        self.stream_length = len(tokens) // self.batch_size
        self.steps_per_epoch = self.stream_length // self.sequence_length

    def window(self, step: int) -> tuple[Tensor, Tensor, bool]:
        """Return the symbols read and those to predict in `step`, counted from 0.

        Returns:
            Two int64 tensors of shape (sequence_length, batch_size), the second one symbol on,
            and whether an epoch starts here, where the carried state ends.
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        turn = seed_for(self.seed, epoch) % len(self.tokens)
        starts = turn + np.arange(self.batch_size) * self.stream_length
        offsets = index * self.sequence_length + np.arange(self.sequence_length + 1)
        places = (offsets[:, None] + starts[None, :]) % len(self.tokens)
        window = torch.from_numpy(self.tokens[places].astype(np.int64))
        return window[:-1], window[1:], index == 0

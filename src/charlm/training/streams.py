"""The training text as parallel streams, for truncated backpropagation through time."""

import hashlib
import logging

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.errors import CharlmError

log = logging.getLogger(__name__)


def seed_for(*parts: int) -> int:
    """Return a 63-bit seed that depends on `parts` alone, such as a seed and a step."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Streams:
    """Windows of `batch_size` streams, each of which reads its part of the text in order.

    The text is a ring. The streams start at equal distances around it, in each epoch at another
    offset, so that every token is read and each epoch cuts the text at different places. The
    window of a step depends on the seed and the step alone.

    Args:
        tokens: The training text, one-dimensional; may be memory-mapped.
        batch_size: Number of streams. It is reduced if the text is too short.
        sequence_length: Tokens per stream and step. Reduced in the same way.
        seed: Seed of the offsets.

    Raises:
        CharlmError: There are fewer than two tokens.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.generic],
        *,
        batch_size: int,
        sequence_length: int,
        seed: int,
    ) -> None:
        if len(tokens) < 2:
            raise CharlmError(
                "tokens/train.npy: fewer than two tokens, too few to train on; use more text, or "
                "lower splits.validation and splits.test"
            )
        self.tokens = tokens
        self.seed = seed
        self.sequence_length = min(sequence_length, len(tokens) - 1)
        self.batch_size = min(batch_size, max(1, len(tokens) // self.sequence_length))
        if (self.batch_size, self.sequence_length) != (batch_size, sequence_length):
            log.warning(
                "the training text has only %d tokens: batch_size is %d and sequence_length %d",
                len(tokens),
                self.batch_size,
                self.sequence_length,
            )
        self.window_size = self.batch_size * self.sequence_length
        self.stream_length = len(tokens) // self.batch_size
        self.steps_per_epoch = self.stream_length // self.sequence_length

    def window(self, step: int) -> tuple[Tensor, Tensor, bool]:
        """Return the tokens of a step, counted from 0, and their targets.

        Returns:
            The tokens and the token that follows each, int64 of shape (sequence_length,
            batch_size), and whether an epoch starts here, so that the state must be reset.
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        offset = seed_for(self.seed, epoch) % len(self.tokens)
        starts = offset + np.arange(self.batch_size) * self.stream_length
        positions = index * self.sequence_length + np.arange(self.sequence_length + 1)
        places = (positions[:, None] + starts[None, :]) % len(self.tokens)
        window = torch.from_numpy(self.tokens[places].astype(np.int64))
        return window[:-1], window[1:], index == 0

"""Confidence intervals by the bootstrap over documents."""

import math

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
LEVEL = 0.95


def resampled_bits(
    nats: npt.NDArray[np.float64], characters: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64] | None:
    """Return bits per character of resamples of the documents, drawn with replacement.

    For the percentile bootstrap (Efron & Tibshirani 1993, chapter 13). Characters of one document
    are not independent, so whole documents are drawn. The draws depend only on the number of
    documents, so that systems scored in separate calls stay paired.

    Args:
        nats: Nats of each document under each system, shape (documents, systems).
        characters: Code points of each document, shape (documents,).

    Returns:
        Bits per character, shape (RESAMPLES, systems); None for fewer than two documents that are
        not empty.
    """
    nats, characters = nats[characters > 0], characters[characters > 0]
    documents = len(characters)
    if documents < 2:
        return None
    random = np.random.default_rng(0)
    bits = np.empty((RESAMPLES, nats.shape[1]))
    for resample in range(RESAMPLES):
        drawn = random.integers(0, documents, documents)
        times = np.bincount(drawn, minlength=documents)
        # Not a matrix product, whose rounding may depend on the number of threads.
        total = (times[:, None] * nats).sum(0)
        bits[resample] = total / (times * characters).sum() / math.log(2)
    return bits


def interval(values: npt.NDArray[np.float64] | None) -> list[float] | None:
    """Return the bounds of the middle 95 % of resampled values; None if there are no values."""
    if values is None:
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]

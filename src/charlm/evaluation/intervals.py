"""Confidence intervals by the bootstrap over documents."""

import math

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
LEVEL = 0.95


def resampled_bits(
    nats: npt.NDArray[np.float64], characters: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64] | None:
    """Return bits per character over sets of documents drawn anew, with replacement.

    The percentile bootstrap (Efron & Tibshirani 1993, chapter 13). Characters of one document are
    not independent of one another, so whole documents are drawn. As many documents always give the
    same draws: systems that are scored apart stay paired.

    Args:
        nats: Nats of each document under each system, shape (documents, systems).
        characters: Code points of each document, shape (documents,).

    Returns:
        Bits per character, shape (RESAMPLES, systems); None for fewer than two documents that hold
        any text.
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
        # Summed in order: a matrix product may have other bits on other numbers of threads.
        total = (times[:, None] * nats).sum(0)
        bits[resample] = total / (times * characters).sum() / math.log(2)
    return bits


def interval(values: npt.NDArray[np.float64] | None) -> list[float] | None:
    """Return the bounds between which the middle 95 % of resampled values lie; None of None."""
    if values is None:
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]

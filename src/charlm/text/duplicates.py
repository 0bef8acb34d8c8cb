"""Which documents repeat an earlier one, exactly or nearly."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BINS = 64
"""Numbers in a sketch: its estimate of a similarity of 0.8 has a standard error of 0.05."""

BAND = 4
"""Two documents are compared if so many neighbouring numbers of their sketches agree."""

SIMILAR = 0.8
"""From this share of common shingles on (the Jaccard index) documents are near duplicates."""

SHINGLE = 8
"""Characters in a shingle."""

EMPTY = np.iinfo(np.uint16).max
PIECE = 1 << 16


def repeated(fingerprints: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell which rows (of two numbers) are equal to an earlier one."""
    order = np.lexsort((fingerprints[:, 1], fingerprints[:, 0]))  # stable: the first comes first
    same = (fingerprints[order[1:]] == fingerprints[order[:-1]]).all(axis=1)
    result = np.zeros(len(fingerprints), np.bool_)
    result[order[1:][same]] = True
    return result


def sketch(text: str) -> NDArray[np.uint16]:
    """Return `BINS` numbers that agree between two texts about as often as their shingles do.

    One-permutation hashing (Li, Owen and Zhang, 2012): the shingles' hashes fall into bins, of
    which each keeps its least.
    """
    least = np.full(BINS, EMPTY, np.uint16)
    for hashes in _shingle_hashes(text):
        values = np.minimum(hashes >> np.uint64(32) & np.uint64(EMPTY), EMPTY - 1)
        np.minimum.at(least, hashes >> np.uint64(58), values.astype(np.uint16))
    return least


def _shingle_hashes(text: str) -> Iterator[NDArray[np.uint64]]:
    for start in range(0, max(len(text) - SHINGLE + 1, 1), PIECE):
        piece = text[start : start + PIECE + SHINGLE - 1].ljust(SHINGLE)
        codes = np.frombuffer(piece.encode("utf-32-le"), np.uint32).astype(np.uint64)
        hashes = np.zeros(len(codes) - SHINGLE + 1, np.uint64)
        for place in range(SHINGLE):
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + codes[place : place + len(hashes)]
        # The finaliser of MurmurHash3, so that every bit depends on the whole shingle.
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            hashes = (hashes ^ hashes >> np.uint64(33)) * np.uint64(factor)
        yield hashes ^ hashes >> np.uint64(33)


def nearly_repeated(sketches: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Tell which rows (of `BINS` numbers) are similar to an earlier one.

    Of the rows that share a band, each is compared with the first: linear in the rows, but for
    sorting.
    """
    result = np.zeros(len(sketches), np.bool_)
    for start in range(0, BINS, BAND):
        band = np.ascontiguousarray(sketches[:, start : start + BAND]).view(np.uint64)[:, 0]
        _, first, group = np.unique(band, return_index=True, return_inverse=True)
        earlier = first[group]
        rows = np.flatnonzero(earlier < np.arange(len(sketches)))
        ours, theirs = sketches[rows], sketches[earlier[rows]]
        filled = (ours != EMPTY) | (theirs != EMPTY)
        agreeing = ((ours == theirs) & filled).sum(axis=1)
        result[rows] |= agreeing >= SIMILAR * filled.sum(axis=1)
    return result

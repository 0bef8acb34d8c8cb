"""Duplicate documents: exact ones, and near duplicates."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

BINS = 64
"""Numbers in a sketch; it estimates a similarity of 0.8 with a standard error of 0.05."""

BAND = 4
"""Two documents are compared if this many consecutive numbers of their sketches agree."""

SIMILAR = 0.8
"""Near duplicates share at least this fraction of their shingles (the Jaccard index)."""

SHINGLE = 8
"""Characters in a shingle."""

EMPTY = np.iinfo(np.uint16).max
"""The number of a bin without shingles."""

PIECE = 1 << 16
"""Number of shingles that are hashed at a time."""


def repeated(fingerprints: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which rows are equal to an earlier one.

    Args:
        fingerprints: Two numbers per document, shape (documents, 2).
    """
    # A stable sort: equal fingerprints keep their order.
    order = np.lexsort((fingerprints[:, 1], fingerprints[:, 0]))
    same = (fingerprints[order[1:]] == fingerprints[order[:-1]]).all(axis=1)
    result = np.zeros(len(fingerprints), np.bool_)
    result[order[1:][same]] = True
    return result


def sketch(text: str) -> npt.NDArray[np.uint16]:
    """Return a sketch of a text, shape (BINS,).

    The fraction of numbers in which two sketches agree estimates the Jaccard index of the shingles
    of the two texts. This is one-permutation hashing (Li, Owen and Zhang, 2012): the hashes of the
    shingles fall into bins, each of which keeps its smallest.
    """
    least = np.full(BINS, EMPTY, np.uint16)
    for hashes in _shingle_hashes(text):
        values = np.minimum(hashes >> np.uint64(32) & np.uint64(EMPTY), EMPTY - 1)
        np.minimum.at(least, hashes >> np.uint64(58), values.astype(np.uint16))
    return least


def _shingle_hashes(text: str) -> Iterator[npt.NDArray[np.uint64]]:
    """Yield the hashes of the shingles of a text, `PIECE` of them at a time."""
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


def nearly_repeated(
    sketches: npt.NDArray[np.uint16], first_rows: int | None = None
) -> npt.NDArray[np.bool_]:
    """Return which rows are similar to an earlier one, or to one of the `first_rows` if given.

    Each row is compared with the first of the rows that share a band with it. So the time is linear
    in the number of rows, except for sorting.

    Args:
        sketches: One sketch per document, shape (documents, BINS).
        first_rows: Number of rows with which each row is compared; None for all earlier ones.
    """
    result = np.zeros(len(sketches), np.bool_)
    limits = np.minimum(
        np.arange(len(sketches)), len(sketches) if first_rows is None else first_rows
    )
    for start in range(0, BINS, BAND):
        band = np.ascontiguousarray(sketches[:, start : start + BAND]).view(np.uint64)[:, 0]
        _, first, group = np.unique(band, return_index=True, return_inverse=True)
        earlier = first[group]
        rows = np.flatnonzero(earlier < limits)
        ours, theirs = sketches[rows], sketches[earlier[rows]]
        filled = (ours != EMPTY) | (theirs != EMPTY)
        agreeing = ((ours == theirs) & filled).sum(axis=1)
        result[rows] |= agreeing >= SIMILAR * filled.sum(axis=1)
    return result

"""The split of each document: by a hash of its text, or by its position in the whole text."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from charlm.errors import CharlmError
from charlm.settings import SplitSettings
from charlm.text.tables import read_metadata

log = logging.getLogger(__name__)

NAMES = ("train", "validation", "test")

Method: TypeAlias = Literal["document", "contiguous"]

TINY_FRACTION = Fraction("0.02")
"""Fraction of the text below which a split is tiny."""
TINY_CHARACTERS = 2_000
"""Number of characters below which a split is tiny."""
LITTLE_TEXT = 20_000
"""Number of characters of a whole corpus below which scores mean little."""

METADATA_KEY = "split_method"
"""The key of the split method in the metadata of `corpus.parquet`."""


def split_method(corpus: str | Path) -> Method:
    """Return the method by which `clean` split a corpus.

    Raises:
        CharlmError: The corpus is missing or damaged.
    """
    metadata = read_metadata(corpus).metadata or {}
    return "contiguous" if metadata.get(METADATA_KEY.encode()) == b"contiguous" else "document"


def fingerprint(utf8: bytes | memoryview, *, key: str) -> bytes:
    """Return the keyed BLAKE2b hash (RFC 7693) of a UTF-8 text, 16 bytes."""
    return blake2b(utf8, key=key.encode("utf-8")[:64], digest_size=16).digest()


@dataclass(frozen=True)
class Split:
    """The split of each document, an index into `NAMES`, and where documents are cut."""

    method: Method
    numbers: npt.NDArray[np.int8]
    cuts: dict[int, list[int]]
    """For each document that reaches into another split; see `split_by_position`."""


def split_documents(
    fingerprints: npt.NDArray[np.uint64],
    characters: npt.NDArray[np.int64],
    settings: SplitSettings,
) -> Split:
    """Split documents as the settings say, and log how much is held out if that is little.

    The method `auto` splits by document, or by position if a split would be tiny otherwise.

    Args:
        fingerprints: As for `split_by_hash`.
        characters: Number of characters of each document, 0 if it is dropped.
        settings: The method, and the fractions of the splits.

    Raises:
        CharlmError: The fractions leave nothing to train on.
    """
    contiguous = Split("contiguous", *split_by_position(characters, settings))
    by_document = Split("document", split_by_hash(fingerprints, settings), {})
    split = contiguous if settings.method == "contiguous" else by_document
    sizes = _sizes(split, characters)
    if settings.method == "auto" and _any_tiny(sizes, settings):
        others = _sizes(contiguous, characters)
        if others[0]:
            log.info(
                "splits.method auto: split contiguously, since a split by document would hold out "
                f"{_held_out(sizes)}; held out: {_held_out(others)}"
            )
            split, sizes = contiguous, others
    if any(sizes[1:]) and sum(sizes) < LITTLE_TEXT:
        log.warning(
            f"the corpus has only {sum(sizes):,} characters, so its scores mean little; "
            "give more text"
        )
    return split


def _any_tiny(sizes: Sequence[int], settings: SplitSettings) -> bool:
    """Return whether a split is too small, given the number of characters of each.

    If the configuration asks for little, half of that is enough.
    """
    validation, test = _fractions(settings)
    if not validation + test:
        return False  # nothing is to be held out
    return any(
        size < TINY_CHARACTERS or size < min(TINY_FRACTION, fraction / 2) * sum(sizes)
        for size, fraction in zip(sizes, (1 - validation - test, validation, test), strict=True)
        if fraction
    )


def _held_out(sizes: Sequence[int]) -> str:
    """Describe how much is held out."""
    return " and ".join(
        f"{size:,} characters ({size / max(1, sum(sizes)):.1%}) for {name}"
        for name, size in zip(NAMES[1:], sizes[1:], strict=True)
    )


def _sizes(split: Split, characters: npt.NDArray[np.int64]) -> list[int]:
    """Return the number of characters in each split."""
    sizes = [int(characters[split.numbers == number].sum()) for number in range(len(NAMES))]
    for row, offsets in split.cuts.items():
        sizes[split.numbers[row]] -= int(characters[row])
        for name, start, end in pieces(int(characters[row]), offsets):
            sizes[NAMES.index(name)] += end - start
    return sizes


def split_by_hash(
    fingerprints: npt.NDArray[np.uint64], settings: SplitSettings
) -> npt.NDArray[np.int8]:
    """Return the split of each document, an index into `NAMES`, from its text alone.

    So adding documents moves none to another split, and equal documents share a split.

    Args:
        fingerprints: Two big-endian halves of the fingerprint of each document, shape
            (documents, 2); the first half decides.
        settings: The fractions of the splits.

    Raises:
        CharlmError: The fractions leave nothing to train on.
    """
    limits = np.array(hash_limits(settings), np.uint64)
    splits = 2 - np.searchsorted(limits, fingerprints[:, 0], side="right")
    return splits.astype(np.int8)


def hash_limits(settings: SplitSettings) -> tuple[int, int]:
    """Return the ends of the ranges of 64-bit hashes of test and validation documents.

    Hashes below the first limit are test documents, from there to below the second validation
    documents, and all others training documents.
    """
    validation, test = _fractions(settings)
    return ceil(test * 2**64), min(ceil((test + validation) * 2**64), 2**64 - 1)


def split_by_position(
    characters: npt.NDArray[np.int64], settings: SplitSettings
) -> tuple[npt.NDArray[np.int8], dict[int, list[int]]]:
    """Return the split of each document, and where documents are cut.

    Args:
        characters: Number of characters of each document, in order, shape (documents,).
        settings: The fractions of the splits.

    Returns:
        An index into `NAMES` for each document, of the split in which it begins; and for each
        document that reaches into another split, by its index, the offsets in it at which
        validation and test begin.

    Raises:
        CharlmError: The fractions leave nothing to train on.
    """
    ends = np.cumsum(characters)
    starts = ends - characters
    boundaries = contiguous_boundaries(int(ends[-1]), settings)
    splits = np.searchsorted(boundaries, starts, side="right").astype(np.int8)
    rows = {int(np.searchsorted(ends, boundary, side="right")) for boundary in boundaries}
    cuts = {
        row: [int(np.clip(edge - starts[row], 0, characters[row])) for edge in boundaries]
        for row in sorted(rows - {len(ends)})
    }
    return splits, {row: offsets for row, offsets in cuts.items() if any(offsets)}


def contiguous_boundaries(characters: int, settings: SplitSettings) -> tuple[int, int]:
    """Return the positions at which validation and test begin in a text of this length.

    Both are rounded down, as in nanoGPT.

    >>> contiguous_boundaries(1_115_394, SplitSettings(validation=0.1, test=0))
    (1003854, 1115394)
    """
    validation, test = _fractions(settings)
    return int(characters * (1 - validation - test)), int(characters * (1 - test))


def pieces(length: int, offsets: list[int]) -> list[tuple[str, int, int]]:
    """Return the non-empty pieces of a document that is cut: split, start and end.

    >>> pieces(9, [3, 9])
    [('train', 0, 3), ('validation', 3, 9)]
    """
    bounds = zip(NAMES, pairwise([0, *offsets, length]), strict=True)
    return [(name, start, end) for name, (start, end) in bounds if start < end]


def _fractions(settings: SplitSettings) -> tuple[Fraction, Fraction]:
    """Return the validation and test fractions as the exact decimals written: 0.1 is one tenth.

    Raises:
        CharlmError: They leave nothing to train on.
    """
    validation, test = Fraction(str(settings.validation)), Fraction(str(settings.test))
    if min(validation, test) < 0 or validation + test >= 1:
        raise CharlmError(
            f"splits: validation {settings.validation} and test {settings.test} leave nothing to "
            "train on; give fractions from 0 whose sum is below 1"
        )
    return validation, test

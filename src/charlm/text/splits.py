"""Which split a document, or a place in the whole text, belongs to."""

from fractions import Fraction
from hashlib import blake2b
from math import ceil

from charlm.errors import CharlmError

NAMES = ("train", "validation", "test")


def fractions(validation: float, test: float) -> tuple[Fraction, Fraction]:
    """Return both fractions as the exact decimals that were written: 0.1 is one tenth.

    Raises:
        CharlmError: if they are not fractions that leave something to train on.
    """
    exact = Fraction(str(validation)), Fraction(str(test))
    if min(exact) < 0 or sum(exact) >= 1:
        raise CharlmError(
            f"splits: validation {validation} and test {test} leave nothing to train on; "
            "give fractions from 0 whose sum is below 1"
        )
    return exact


def fingerprint(utf8: bytes | memoryview, *, key: str) -> bytes:
    """Return 16 bytes that stand for a text in UTF-8: BLAKE2b (RFC 7693), keyed."""
    return blake2b(utf8, key=key.encode("utf-8")[:64], digest_size=16).digest()


def document_limits(*, validation: float, test: float) -> tuple[int, int]:
    """Return the fingerprints' first 64 bits from which on a document is no test one, then train.

    Test documents lie below the first limit, validation documents from there to below the second.
    """
    validation_share, test_share = fractions(validation, test)
    return ceil(test_share * 2**64), min(ceil((test_share + validation_share) * 2**64), 2**64 - 1)


def split_of_document(text: str, *, validation: float, test: float, key: str) -> str:
    """Return `train`, `validation` or `test` from the document's text alone.

    A keyed hash decides: adding documents moves none, and equal documents share a split.
    """
    place = int.from_bytes(fingerprint(text.encode("utf-8"), key=key)[:8], "big")
    first, second = document_limits(validation=validation, test=test)
    return "test" if place < first else "validation" if place < second else "train"


def contiguous_boundaries(characters: int, *, validation: float, test: float) -> tuple[int, int]:
    """Return where validation and test begin in a text of so many code points.

    Both are rounded down, as nanoGPT does: 0.1 of 1,115,394 leaves 1,003,854 to train on.
    """
    validation_share, test_share = fractions(validation, test)
    return (
        int(characters * (1 - validation_share - test_share)),
        int(characters * (1 - test_share)),
    )

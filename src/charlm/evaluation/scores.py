"""Scores of held-out text in nats and bits per character.

Every score is per character (code point) of the cleaned text. Predicting the end of a document is
not counted. An unknown character costs the unknown symbol's probability, shared evenly among all
code points that are not in the vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Literal, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from charlm.evaluation.intervals import interval, resampled_bits
from charlm.text.tokens import TokenSplit

HeldOut = Literal["validation", "test"]
HELD_OUT: tuple[HeldOut, ...] = ("validation", "test")


class Score(TypedDict):
    """The score of a system on one split."""

    nats_per_character: float
    bits_per_character: float
    bits_per_character_interval: list[float] | None
    """The bounds of the 95 % bootstrap interval; None for fewer than two documents."""
    characters: int


class Scores(TypedDict):
    """The scores of a model or a baseline; that of an empty split is None."""

    validation: Score | None
    test: Score | None


Scalar = TypeVar("Scalar", bound=np.generic)


def by_document(
    values: Sequence[npt.NDArray[Scalar]], split: TokenSplit
) -> list[npt.NDArray[Scalar]]:
    """Return one array per document, from one array per text of the split."""
    return split.by_document(values[0]) if split.one_stream else list(values)


def document_nats(
    costs: Sequence[npt.NDArray[np.float32]], split: TokenSplit, unknown_nats: float
) -> npt.NDArray[np.float64]:
    """Return the cost of each document of a split in nats, shape (documents,).

    Args:
        costs: The nats of each symbol, one array per text of the split.
        split: The encoded split.
        unknown_nats: Nats that an unknown character costs in addition to the unknown symbol.
    """
    nats = [cost.sum(dtype=np.float64) for cost in by_document(costs, split)]
    return np.array(nats, np.float64) + split.documents["unknown_characters"] * unknown_nats


def score_of_split(nats: npt.NDArray[np.float64], split: TokenSplit) -> Score | None:
    """Return the score of a split, or None if the split is empty.

    Args:
        nats: Nats of each document, shape (documents,).
        split: The encoded split.
    """
    characters = split.documents["characters"]
    total = int(characters.sum())
    if not total:
        return None
    per_character = math.fsum(nats) / total
    return {
        "nats_per_character": per_character,
        "bits_per_character": per_character / math.log(2),
        "bits_per_character_interval": interval(resampled_bits(nats[:, None], characters)),
        "characters": total,
    }


def document_score_table(nats: npt.NDArray[np.float64], split: TokenSplit, name: str) -> pa.Table:
    """Return the score of each document: doc_id, split, characters, bits_per_character.

    Args:
        nats: Nats of each document, shape (documents,).
        split: The encoded split.
        name: The name of the split.
    """
    characters = split.documents["characters"]
    return pa.table(
        {
            "doc_id": pa.array(split.documents["doc_id"], pa.int64()),
            "split": pa.array([name] * len(characters), pa.string()),
            "characters": pa.array(characters, pa.int64()),
            "bits_per_character": nats / np.maximum(characters, 1) / math.log(2),
        }
    )

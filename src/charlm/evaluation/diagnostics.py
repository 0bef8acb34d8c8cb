"""Where a model goes wrong: loss by position and by class of character, and calibration."""

import math
import unicodedata
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from charlm.text.vocabulary import Vocabulary

CALIBRATION_BINS = 15
CLASSES = (
    "first letter of a word",
    "letter within a word",
    "digit",
    "space",
    "punctuation mark",
    "other character",
    "unknown character",
)
LETTER = CLASSES.index("letter within a word")

PositionLoss = TypedDict(
    "PositionLoss", {"from": int, "to": int, "symbols": int, "bits_per_symbol": float}
)
"""The mean loss of symbols at positions in a document, from 0; `to` is excluded."""
ClassLoss = TypedDict("ClassLoss", {"class": str, "symbols": int, "bits_per_symbol": float})
"""The mean loss of symbols of one class of `CLASSES`."""


class CalibrationBin(TypedDict):
    """Predictions of similar confidence."""

    symbols: int
    confidence: float
    """Their mean probability of the likeliest symbol."""
    accuracy: float
    """The share of them in which that symbol was right."""


class Calibration(TypedDict):
    """How well confidence matches accuracy."""

    expected_calibration_error: float
    bins: list[CalibrationBin]


Diagnostics = TypedDict(
    "Diagnostics",
    {"position": list[PositionLoss], "class": list[ClassLoss], "calibration": Calibration},
)
"""The diagnostics of one split."""


def diagnose(
    documents: Sequence[npt.NDArray[np.integer]],
    predictions: Sequence[npt.NDArray[np.void]],
    vocabulary: Vocabulary,
) -> Diagnostics:
    """Return the loss by position, the loss by class of character and the calibration.

    The loss is that of the symbols alone: it leaves out which of the characters outside the
    vocabulary an unknown character is.

    Args:
        documents: The symbols of each document.
        predictions: Their predictions by `charlm.model.scoring.predictions`, in the same shapes.
        vocabulary: The vocabulary.
    """
    whole = np.concatenate(predictions)
    bits = whole["nats"] / math.log(2)
    position = np.concatenate([np.arange(len(document)) for document in documents])
    class_of = _class_of(vocabulary)
    classes = np.concatenate([_classes(document, class_of) for document in documents])
    octave = np.frexp(position)[1]  # 0, 1, 2-3, 4-7, 8-15 …
    return {
        "position": [
            {"from": 2**number // 2, "to": max(1, 2**number), **_mean(bits[octave == number])}
            for number in np.unique(octave).tolist()
        ],
        "class": [
            {"class": name, **_mean(bits[classes == number])}
            for number, name in enumerate(CLASSES)
            if (classes == number).any()
        ],
        "calibration": calibration(whole["confidence"], whole["right"]),
    }


def calibration(confidence: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> Calibration:
    """Return the expected calibration error and the bins that it averages.

    Predictions fall into 15 bins of equal width by the probability of the likeliest symbol. The
    error is the difference between mean probability and accuracy in a bin, averaged over the bins
    with their sizes as weights (Guo et al. 2017, arXiv:1706.04599, equation 3).

    Args:
        confidence: The probability of the likeliest symbol, shape (symbols,).
        right: Whether that symbol was right, shape (symbols,).
    """
    bin_of = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    bins: list[CalibrationBin] = [
        {
            "symbols": int((bin_of == number).sum()),
            "confidence": float(confidence[bin_of == number].mean(dtype=np.float64)),
            "accuracy": float(right[bin_of == number].mean(dtype=np.float64)),
        }
        for number in np.unique(bin_of).tolist()
    ]
    gaps = (each["symbols"] * abs(each["confidence"] - each["accuracy"]) for each in bins)
    return {"expected_calibration_error": math.fsum(gaps) / len(confidence), "bins": bins}


class _Mean(TypedDict):
    symbols: int
    bits_per_symbol: float


def _mean(bits: npt.NDArray[np.float32]) -> _Mean:
    return {"symbols": len(bits), "bits_per_symbol": float(bits.mean(dtype=np.float64))}


def _classes(
    document: npt.NDArray[np.integer], class_of: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the index in `CLASSES` of each symbol of a document."""
    found: npt.NDArray[np.int64] = class_of[document]
    before = np.append(-1, found[:-1])
    found[(found == LETTER) & (before != LETTER)] = CLASSES.index("first letter of a word")
    return found


def _class_of(vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    """Return the index in `CLASSES` of each symbol; letters count as letters within a word."""
    kinds = {"L": "letter within a word", "M": "letter within a word", "N": "digit"}
    kinds |= {"P": "punctuation mark", "Z": "space"}
    names = [
        "space"
        if symbol.isspace()
        else kinds.get(unicodedata.category(symbol[0])[0], "other character")
        for symbol in vocabulary.symbols
    ]
    for special in (vocabulary.unknown, vocabulary.end_of_document):
        if special is not None:
            names[special] = "unknown character"
    return np.array([CLASSES.index(name) for name in names])

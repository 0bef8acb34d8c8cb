"""Where a model goes wrong: by position in the document, by class of character, by confidence."""

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

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


def diagnose(
    documents: Sequence[npt.NDArray[Any]],
    predictions: Sequence[npt.NDArray[Any]],
    vocabulary: Vocabulary,
) -> dict[str, Any]:
    """Return how well symbols were predicted, sorted in three ways.

    Args:
        documents: The symbols of each document.
        predictions: What `charlm.model.scoring.predictions` says of them, of the same shapes.
        vocabulary: The vocabulary.

    Returns:
        `position` and `class`: lists of records with `symbols` and `bits_per_symbol`;
        `calibration`: see `calibration`. Bits are those of the symbols alone: which of the unseen
        characters an unknown one is, is not among them.
    """
    whole = np.concatenate(predictions)
    bits = whole["nats"] / math.log(2)
    place = np.concatenate([np.arange(len(document)) for document in documents])
    class_of = _class_of(vocabulary)
    classes = np.concatenate([_classes(document, class_of) for document in documents])
    octave = np.frexp(place)[1]  # 0, 1, 2-3, 4-7, 8-15 …
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


def calibration(
    confidence: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the expected calibration error and the bins that it is the mean over.

    Predictions are put into 15 bins of equal width by the probability of the likeliest symbol. The
    error is the distance between mean probability and share of right predictions in a bin, averaged
    with the bins' sizes as weights (Guo et al. 2017, arXiv:1706.04599, equation 3).
    """
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    records = [
        {
            "symbols": int((bins == number).sum()),
            "confidence": float(confidence[bins == number].mean(dtype=np.float64)),
            "accuracy": float(right[bins == number].mean(dtype=np.float64)),
        }
        for number in np.unique(bins).tolist()
    ]
    apart = (each["symbols"] * abs(each["confidence"] - each["accuracy"]) for each in records)
    return {"expected_calibration_error": math.fsum(apart) / len(confidence), "bins": records}


def _mean(bits: npt.NDArray[Any]) -> dict[str, Any]:
    return {"symbols": len(bits), "bits_per_symbol": float(bits.mean(dtype=np.float64))}


def _classes(document: npt.NDArray[Any], class_of: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the place in `CLASSES` of each symbol of a document."""
    found: npt.NDArray[np.int64] = class_of[document]
    before = np.append(-1, found[:-1])
    found[(found == LETTER) & (before != LETTER)] = CLASSES.index("first letter of a word")
    return found


def _class_of(vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    """Return the place in `CLASSES` of each symbol, every letter taken as one within a word."""
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

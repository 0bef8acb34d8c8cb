"""How much each character of a text surprises a model."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from charlm.model.scoring import predictions
from charlm.model.store import load_model
from charlm.text.symbols import split_graphemes


def bits_of_characters(folder: str | Path, texts: Sequence[str]) -> list[list[float]]:
    """Return the bits that each character of some texts costs a model.

    The model reads each text from the initial state. A grapheme's bits count for each of its
    characters; those of a character's bytes are added up.

    Args:
        folder: The folder of the trained model.
        texts: The texts, of characters that the vocabulary can encode.
    """
    model, vocabulary = load_model(folder)
    tokens = [vocabulary.encode(text) for text in texts]
    found = predictions(model, tokens, vocabulary.end_of_document)
    bits = []
    for text, predicted in zip(texts, found, strict=True):
        each = predicted["nats"].astype(np.float64) / math.log(2)
        if vocabulary.unit == "byte":
            lengths = [len(character.encode()) for character in text]
            starts = np.cumsum([0, *lengths[:-1]])
            each = np.add.reduceat(each, starts) if lengths else each
        elif vocabulary.unit == "grapheme":
            each = np.repeat(each, [len(symbol) for symbol in split_graphemes(text)])
        bits.append(each.tolist())
    return bits

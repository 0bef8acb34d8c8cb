"""Evenly spaced samples of texts."""

from collections.abc import Sequence

import numpy as np


def evenly_spaced(texts: Sequence[str], most: int) -> list[str]:
    """Return at most this many of the texts, evenly spaced, the first and the last included.

    >>> evenly_spaced(["a", "b", "c", "d", "e"], 3)
    ['a', 'c', 'e']
    """
    places = np.linspace(0, len(texts) - 1, min(most, len(texts)))
    return [texts[place] for place in places.astype(int)]

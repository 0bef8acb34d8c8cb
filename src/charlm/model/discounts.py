"""The discounts of modified Kneser-Ney smoothing."""

import numpy as np
import numpy.typing as npt


def discounts(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the discounts of counts of 0, 1, 2, and 3 or more (Chen & Goodman 1999, eq. 26).

    A small text may lack the counts that the estimates need; it takes usual values.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    if n[1:5].all():
        share = n[1] / (n[1] + 2 * n[2])
        estimates = np.array([0.0] + [c - (c + 1) * share * n[c + 1] / n[c] for c in (1, 2, 3)])
        if estimates[1:].min() > 0:
            return estimates
    return np.array([0.0, 0.5, 1.0, 1.5])

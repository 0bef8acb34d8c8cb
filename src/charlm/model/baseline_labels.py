"""The names of the baselines as readers see them."""

from collections.abc import Mapping

BASELINE_LABELS = {
    "ngram": "{order}-gram",
    "kneser_ney": "Kneser-Ney, order {order}",
    "ppmd": "PPMd, order {order} (adapts)",
    "xz": "xz (adapts)",
}
"""The name of each baseline, a format string of its record. A baseline that adapts goes on learning
from the text that it is scored on."""


def baseline_label(name: str, record: Mapping[str, object]) -> str:
    """Return the name of a baseline as readers see it.

    >>> baseline_label("kneser_ney", {"order": 8})
    'Kneser-Ney, order 8'
    """
    return BASELINE_LABELS.get(name, name).format_map({"order": "?", **record})

"""The file `timing.json` of a model: what its training took."""

from typing import NotRequired, TypedDict

Timing = TypedDict(
    "Timing",
    {
        "seconds": float,
        "characters_per_second": int,
        "threads": NotRequired[int],
        "history.csv": NotRequired[str],
    },
)
"""The content of `timing.json`, with the checksum of `history.csv`."""

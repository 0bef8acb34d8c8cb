"""Character language models of your own text that you can reproduce, inspect and trust."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.sampling import TrainedModel

__version__ = "0.1.0"


def load(folder: str | Path, *, device: str = "cpu") -> "TrainedModel":
    """Load a trained model from its folder; see `charlm.sampling.load`."""
    from charlm import sampling

    return sampling.load(folder, device=device)

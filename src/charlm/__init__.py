"""Character language models of your own text that you can reproduce, inspect and trust."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

# The layers' threads meet at every step. By default a thread that is early spins for the others; on
# a busy machine it spins on the core that a late one needs, and training takes several times as
# long. Soon asleep is soon out of the way. (Read when PyTorch loads its OpenMP library.)
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    import torch

    from charlm.model.trained_model import TrainedModel

__version__ = "0.1.0"


def load(folder: str | Path, *, device: "str | torch.device" = "cpu") -> "TrainedModel":
    """Load a trained model from its folder; see `charlm.model.trained_model.load`."""
    from charlm.model import trained_model

    return trained_model.load(folder, device=device)

"""Character language models of your own text that you can reproduce, inspect and trust."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

# The threads of a recurrent layer wait for each other at every step. By default a waiting thread
# spins; on a busy machine it then blocks the core that another thread needs, and training takes
# several times as long. So let it sleep soon. (PyTorch's OpenMP library reads this when it loads.)
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    import torch

    from charlm.model.trained_model import TrainedModel

__version__ = "0.1.0"
DISTRIBUTION = "charlm-pipeline"
"""The name on PyPI, where `charlm` is another project."""


def load(folder: str | Path, *, device: "str | torch.device" = "cpu") -> "TrainedModel":
    """Load a trained model from its folder; see `charlm.model.trained_model.load`."""
    from charlm.model import trained_model

    return trained_model.load(folder, device=device)

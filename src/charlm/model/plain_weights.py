"""The weights of a model for other programs: nothing shared, nothing left out."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from charlm.model.ensemble import member_prefixes
from charlm.model.store import load_weights, read_description

Weights = dict[str, npt.NDArray[np.generic]]


def plain_weights(model_folder: str | Path) -> Weights:
    """Return all arrays of a trained model's file, by name.

    Embeddings that are one-hot, and output layers that share the embedding's weights, are arrays of
    their own.

    Raises:
        CharlmError: A file is missing, damaged or foreign.
    """
    description = read_description(model_folder)
    architecture, vocabulary = description.architecture, description.vocabulary
    weights: Weights = {name: tensor.numpy() for name, tensor in load_weights(model_folder).items()}
    for prefix in member_prefixes(architecture.members):
        if architecture.one_hot:
            weights[f"{prefix}embedding.weight"] = np.eye(len(vocabulary), dtype=np.float32)
        if architecture.tie_weights:
            weights[f"{prefix}output.weight"] = weights[f"{prefix}embedding.weight"]
    return weights


def identifier(name: str) -> str:
    """Return the name of a weight without dots, which many programs do not allow.

    >>> identifier("output.weight")
    'output_weight'
    """
    return name.replace(".", "_")

"""The models embedded in the page, with rounded weights, for its playground."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from charlm.model.ensemble import member_prefixes
from charlm.model.store import load_weights, read_architecture
from charlm.model.weights import GATE, TABLES

MAX_BYTES = 5_000_000
"""The maximum size of the weights of all models together."""


class EmbeddedModel(TypedDict):
    """What `templates/playground.js` needs of a model."""

    name: str
    cell: str
    members: list[str]
    """Prefixes of the members' weights; one empty prefix for a single network."""
    layers: int
    unit: str
    symbols: list[str]
    unknown: int | None
    end_of_document: int | None
    shapes: dict[str, list[int]]
    weights: str
    """Base64 of all float32 numbers, then all int8 numbers, both in the order of `shapes`. A
    vector is float32. A matrix is int8, with one float32 factor for each row."""


def embed(folders: Sequence[str | Path]) -> tuple[list[EmbeddedModel], list[str]]:
    """Return the models that fit into the page together, and the names of those that do not.

    Args:
        folders: The folders of trained models; the first ones take precedence.
    """
    embedded: list[EmbeddedModel] = []
    too_large = []
    room = MAX_BYTES
    for folder in map(Path, folders):
        model = _embedded(folder)
        if len(model["weights"]) <= room:
            room -= len(model["weights"])
            embedded.append(model)
        else:
            too_large.append(folder.name)
    return embedded, too_large


def _embedded(folder: Path) -> EmbeddedModel:
    architecture, vocabulary = read_architecture(folder)
    weights = {
        name: tensor.numpy()
        for name, tensor in sorted(load_weights(folder).items())
        if not name.startswith((TABLES, GATE))
    }
    note = " without its experts" if architecture.mixture else ""
    floats, integers = [], []
    for tensor in weights.values():
        if tensor.ndim == 1:
            floats.append(tensor)
        else:
            factors, rounded = quantize(tensor)
            floats.append(factors)
            integers.append(rounded)
    data = b"".join(
        part.astype(part.dtype.newbyteorder("<")).tobytes() for part in floats + integers
    )
    return {
        "name": f"{folder.name}{note}",
        "cell": architecture.cell,
        "members": member_prefixes(architecture.members),
        "layers": architecture.num_layers,
        "unit": vocabulary.unit,
        "symbols": vocabulary.symbols,
        "unknown": vocabulary.unknown,
        "end_of_document": vocabulary.end_of_document,
        "shapes": {name: list(tensor.shape) for name, tensor in weights.items()},
        "weights": base64.b64encode(data).decode(),
    }


def quantize(
    matrix: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """Round a matrix to int8, row by row.

    Args:
        matrix: The numbers, shape (rows, columns).

    Returns:
        The factor of each row, shape (rows,), and the rounded numbers. Their product approximates
        the matrix.
    """
    largest = np.abs(matrix).max(axis=1)
    factors = (np.where(largest > 0, largest, 1) / 127).astype(np.float32)
    return factors, np.rint(matrix / factors[:, None]).astype(np.int8)

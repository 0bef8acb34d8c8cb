"""The models that travel in the page, their weights rounded, for its playground."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from charlm.model.ensemble import member_prefixes

MOST_BYTES = 5_000_000
"""What the rounded weights of all models may take in the page."""


def pack(folders: Sequence[str | Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the models that fit into the page together, and the names of those that do not.

    Args:
        folders: The folders of trained models. The first ones go first.

    Returns:
        For each model that fits all that `templates/playground.js` needs. `weights`, in Base64,
        holds, each in the order of `shapes`, first all float32: a matrix's factors, one a row, or a
        whole vector; then all int8: a matrix's rows, to be multiplied by their factors.
    """
    packed: list[dict[str, Any]] = []
    too_large = []
    room = MOST_BYTES
    for folder in map(Path, folders):
        model = _packed(folder)
        if len(model["weights"]) <= room:
            room -= len(model["weights"])
            packed.append(model)
        else:
            too_large.append(folder.name)
    return packed, too_large


def _packed(folder: Path) -> dict[str, Any]:
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    weights = {
        name: tensor
        for name, tensor in sorted(load_file(folder / "model.safetensors").items())
        if not name.startswith("ngram.")
    }
    alone = " without its n-gram model" if description["architecture"].get("ngram_order") else ""
    vocabulary = description["vocabulary"]
    special = vocabulary["special"]
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
        "name": f"{folder.name}{alone}",
        "cell": description["architecture"]["cell"],
        "members": member_prefixes(description["architecture"].get("members", 1)),
        "layers": description["architecture"]["num_layers"],
        "unit": vocabulary["unit"],
        "symbols": vocabulary["symbols"],
        "unknown": special["unknown"],
        "end_of_document": special["end_of_document"],
        "shapes": {name: list(tensor.shape) for name, tensor in weights.items()},
        "weights": base64.b64encode(data).decode(),
    }


def quantize(
    matrix: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """Round a matrix (rows, columns) to int8, with a factor (rows,) for each row's largest."""
    largest = np.abs(matrix).max(axis=1)
    factors = (np.where(largest > 0, largest, 1) / 127).astype(np.float32)
    return factors, np.rint(matrix / factors[:, None]).astype(np.int8)

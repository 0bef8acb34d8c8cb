"""The models embedded in the page for its playground.

Weights are rounded to eight bits. Experts keep the counts of the contexts that are seen most often,
as many as fit, or none if the network alone predicts better. What this costs is measured on the
beginning of the held-out text.
"""

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from charlm.evaluation.scores import HeldOut
from charlm.model.base import LanguageModel
from charlm.model.ensemble import member_prefixes
from charlm.model.experts import Experts, pruned
from charlm.model.kneser_ney import CountTable, Integers
from charlm.model.mixture import Mixture
from charlm.model.scoring import predictions
from charlm.model.store import load_model, load_weights, read_description
from charlm.settings import Architecture
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary

MAX_BYTES = 2_100_000
"""The maximum size of all models together, as text in the page."""

NETWORK_BYTES = 1_800_000
"""The networks may take this much of it; the counts take the rest."""

MEASURED_SYMBOLS = 10_000
"""Symbols of held-out text on which the embedded models are compared with the whole ones."""


class Packed(TypedDict):
    """Arrays as text."""

    arrays: list[tuple[str, str, int]]
    """Name, type and length of each."""
    data: str
    """Their little-endian bytes, one array after another, as gzip in Base64."""


class EmbeddedMixture(TypedDict):
    """What `templates/mixture.js` needs of a mixture besides the counts."""

    order: int
    letters: list[int]
    """See `charlm.model.contexts.Contexts`."""
    experts: list[dict[str, Any]]
    """The `name` of each, and the index of the expert that is its `general` one, or None."""
    counts: int
    """The index of its tables in `Playground.counts`."""


class EmbeddedModel(TypedDict):
    """What `templates/model.js` needs of a model."""

    name: str
    cell: str
    members: list[str]
    """Prefixes of the members' weights; one empty prefix for a single network."""
    layers: int
    unit: str
    symbols: list[str]
    unknown: int | None
    end_of_document: int | None
    weights: Packed
    """A matrix W of a network is int8, with a float32 array `W.factors` of one factor a row. All
    other arrays are float32."""
    mixture: EmbeddedMixture | None


@dataclass(frozen=True)
class Fidelity:
    """How much of a model is embedded, and what the rest is worth."""

    name: str
    share: float | None
    """The share of its counts that is embedded, of their bytes; None without experts, 0 if the
    network alone is embedded because it predicts better than with the counts that fit."""
    whole_bits: float | None
    """Bits per symbol of the model itself; None without held-out text."""
    embedded_bits: float | None
    """Bits per symbol as embedded."""


@dataclass(frozen=True)
class Playground:
    """The models of the page."""

    models: Sequence[EmbeddedModel]
    counts: Sequence[Packed]
    """The tables of the experts. Models with the same counts share them."""
    fidelity: Sequence[Fidelity]
    too_large: Sequence[str]
    """Names of the models that do not fit."""


def embed(folders: Sequence[str | Path], tokens: str | Path, split: HeldOut | None) -> Playground:
    """Return the models that fit into the page together.

    Args:
        folders: The folders of trained models; the first ones take precedence.
        tokens: The folder of the encoded splits.
        split: The held-out text to measure them on; None if there is none.
    """
    models: list[EmbeddedModel] = []
    loaded: list[tuple[LanguageModel, Vocabulary]] = []
    too_large = []
    room = MAX_BYTES
    for folder in map(Path, folders):
        tensors = {name: tensor.numpy() for name, tensor in load_weights(folder).items()}
        weights = pack(_weights(tensors))
        if len(weights["data"]) > room - (MAX_BYTES - NETWORK_BYTES):
            too_large.append(folder.name)
            continue
        room -= len(weights["data"])
        loaded.append(load_model(folder))
        description = read_description(folder)
        architecture, vocabulary = description.architecture, description.vocabulary
        models.append(_describe(folder.name, architecture, vocabulary, weights))

    text = []
    if split and loaded:
        text = _beginning(TokenSplit.load(tokens, split, loaded[0][1]).texts)
    whole = [_bits(model, text, vocabulary) for model, vocabulary in loaded]
    digests = {
        index: _digest(model.experts)
        for index, (model, _) in enumerate(loaded)
        if isinstance(model, Mixture)
    }
    different = list(dict.fromkeys(digests.values()))
    counts: dict[str, Packed] = {}
    shares: dict[int, float] = {}
    for index, digest in digests.items():
        mixture = loaded[index][0]
        assert isinstance(mixture, Mixture)
        kept, counts[digest] = _fitting(mixture.experts, room // len(different))
        shares[index] = kept.bytes / max(1, mixture.experts.bytes)
        mixture.experts = kept
        models[index]["mixture"] = _describe_mixture(kept, different.index(digest))
    embedded = []
    for index, (model, vocabulary) in enumerate(loaded):
        network = model.network if isinstance(model, Mixture) else model
        _round(network)
        bits = _bits(model, text, vocabulary)
        alone = _bits(network, text, vocabulary) if isinstance(model, Mixture) else None
        # The gate has learned to trust all of the counts. With few of them it may do harm.
        if bits is not None and alone is not None and alone < bits:
            models[index]["mixture"], shares[index], bits = None, 0.0, alone
        embedded.append(bits)
    return Playground(
        models=models,
        counts=[counts[digest] for digest in different if any(each["mixture"] for each in models)],
        fidelity=[
            Fidelity(model["name"], shares.get(index), whole[index], embedded[index])
            for index, model in enumerate(models)
        ],
        too_large=too_large,
    )


def _describe(
    name: str, architecture: Architecture, vocabulary: Vocabulary, weights: Packed
) -> EmbeddedModel:
    return {
        "name": name,
        "cell": architecture.cell,
        "members": member_prefixes(architecture.members),
        "layers": architecture.num_layers,
        "unit": vocabulary.unit,
        "symbols": vocabulary.symbols,
        "unknown": vocabulary.unknown,
        "end_of_document": vocabulary.end_of_document,
        "weights": weights,
        "mixture": None,
    }


def _describe_mixture(experts: Experts, counts: int) -> EmbeddedMixture:
    contexts = experts.contexts
    names = list(experts.experts)
    assert contexts.letters is not None
    return {
        "order": contexts.order,
        "letters": contexts.letters.tolist(),
        "experts": [
            {"name": name, "general": names.index(expert.general) if expert.general else None}
            for name, expert in experts.experts.items()
        ],
        "counts": counts,
    }


def _fitting(experts: Experts, room: int) -> tuple[Experts, Packed]:
    """Return experts whose counts take at most `room` bytes in the page, and their tables."""
    tables = {name: experts.table(name) for name in experts.experts}
    budget: float = room
    while True:
        kept = pruned(tables, budget)
        packed = pack(_arrays(kept))
        if len(packed["data"]) <= room or not any(len(each.contexts) for each in kept.values()):
            return Experts(experts.contexts, experts.experts, kept), packed
        budget *= 0.97 * room / len(packed["data"])


def _arrays(tables: Mapping[str, CountTable]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of tables; the sorted contexts as differences, which compress better."""
    arrays = {}
    for name, table in tables.items():
        for array in CountTable.ARRAYS:
            values = getattr(table, array).numpy()
            if array == "contexts":
                values = np.diff(values, prepend=np.int32(0))
            elif values.dtype == np.int64:
                values = values.astype(np.int32)
            arrays[f"{name}.{array}"] = values
    return arrays


def _digest(experts: Experts) -> str:
    """Return a digest of the counts."""
    digest = hashlib.sha256()
    for name, array in _arrays({name: experts.table(name) for name in experts.experts}).items():
        digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def _weights(tensors: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a network and a gate, with the network's matrices rounded."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, tensor in sorted(tensors.items()):
        if name.startswith("experts."):
            continue
        if tensor.ndim == 1 or name.startswith("gate."):
            arrays[name] = tensor
        else:
            arrays[f"{name}.factors"], arrays[name] = quantize(tensor)
    return arrays


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


def _round(network: LanguageModel) -> None:
    """Round the matrices of a network as those in the page are."""
    for parameter in network.parameters():
        if parameter.ndim == 2:
            factors, rounded = quantize(parameter.detach().numpy())
            parameter.data = torch.from_numpy(factors[:, None] * rounded)


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> Packed:
    """Return arrays as text. The widest numbers come first, so that all are aligned."""
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)
    parts = [array.astype(array.dtype.newbyteorder("<")).tobytes() for _, array in ordered]
    # PyArrow's gzip is the same on all machines; Python's depends on the system's zlib.
    compressed = pa.Codec("gzip", compression_level=9).compress(b"".join(parts), asbytes=True)
    return {
        "arrays": [
            (name, f"{array.dtype.kind}{array.dtype.itemsize}", array.size)
            for name, array in ordered
        ],
        "data": base64.b64encode(compressed).decode(),
    }


def _beginning(texts: Iterable[Integers]) -> list[Integers]:
    """Return the first texts, `MEASURED_SYMBOLS` in all."""
    first = []
    room = MEASURED_SYMBOLS
    for text in texts:
        if room > 0 and len(text):
            first.append(text[:room])
            room -= len(text)
    return first


def _bits(model: LanguageModel, texts: Sequence[Integers], vocabulary: Vocabulary) -> float | None:
    """Return the bits per symbol of texts; None without a text."""
    if not texts:
        return None
    # More columns than texts would be computed for nothing.
    found = predictions(model, texts, vocabulary.end_of_document, min(64, len(texts)))
    return float(np.concatenate(found)["nats"].mean(dtype=np.float64)) / math.log(2)

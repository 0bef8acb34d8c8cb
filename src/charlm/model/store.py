"""Making, saving and loading models."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, NotRequired, TypedDict, cast

import torch
from safetensors.torch import save
from torch import Tensor

from charlm.errors import CharlmError
from charlm.files import atomic, write_text
from charlm.json_types import fits
from charlm.model.base import LanguageModel
from charlm.model.computation import TrainingDescription, how_to_compute
from charlm.model.contexts import Contexts, word_letters
from charlm.model.ensemble import Ensemble, Network, member_prefixes
from charlm.model.experts import Experts, expert_list
from charlm.model.mixture import Mixture
from charlm.model.network import CharacterLanguageModel
from charlm.model.weights import GATE, TABLES, foreign, read_weights
from charlm.recurrent import Precision
from charlm.settings import Architecture, EngineName, MixtureSettings
from charlm.text.vocabulary import Vocabulary


class Content(TypedDict):
    """The content of `model.json`."""

    format: Literal[1]
    architecture: dict[str, object]
    """The fields of `charlm.settings.Architecture`."""
    training: dict[str, object]
    """The fields of `TrainingDescription`, without which a model can be sampled."""
    vocabulary: dict[str, object]
    """The content of `vocabulary.json`."""
    digests: NotRequired[dict[str, str]]
    """SHA-256 of `model.safetensors`, and of all of the above as JSON; models that were saved by
    early versions have none."""


@dataclass(frozen=True)
class ModelDescription:
    """What `model.json` says.

    Attributes:
        architecture: The architecture of the model.
        vocabulary: Its vocabulary.
        training: How it was trained.
        weights_digest: The SHA-256 of its weights; None if an early version saved it.
    """

    architecture: Architecture
    vocabulary: Vocabulary
    training: TrainingDescription
    weights_digest: str | None


KEYS = frozenset(Content.__annotations__)

MAX_DESCRIPTION = 1 << 26
"""Bytes of the largest `model.json` that is read."""


def make_model(
    vocabulary_size: int,
    architecture: Architecture,
    *,
    engine: EngineName = "auto",
    precision: Precision = "float32",
) -> Network:
    """Return a new network or ensemble, without the experts of its mixture."""
    kind = CharacterLanguageModel if architecture.members == 1 else Ensemble
    return kind(vocabulary_size, architecture, engine=engine, precision=precision)


def make_contexts(vocabulary: Vocabulary, settings: MixtureSettings) -> Contexts:
    """Return the reader of the contexts of a mixture's experts."""
    letters = word_letters(vocabulary.symbols, vocabulary.special.values())
    return Contexts(settings.order, letters, vocabulary.end_of_document, len(vocabulary))


def save_model(
    folder: str | Path,
    model: LanguageModel,
    *,
    vocabulary: Vocabulary,
    architecture: Architecture,
    training: Mapping[str, object],
) -> None:
    """Write `model.json`, then `model.safetensors`: all that `load_model` needs.

    The description of a network has no mixture, even if `architecture` has one.
    """
    folder = Path(folder)
    if not isinstance(model, Mixture):
        architecture = replace(architecture, mixture=None)
    # The network's weights have the same names with and without a mixture.
    weights = {
        name.removeprefix("network."): tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    if architecture.tie_weights:
        for prefix in member_prefixes(architecture.members):
            del weights[f"{prefix}output.weight"]
    data = save(weights)
    description = {
        "format": 1,
        "architecture": asdict(architecture),
        "training": dict(training),
        "vocabulary": vocabulary.to_dict(),
    }
    description["digests"] = {
        "weights": hashlib.sha256(data).hexdigest(),
        "description": _digest(description),
    }
    write_text(folder / "model.json", json.dumps(description, indent=1, ensure_ascii=False) + "\n")
    with atomic(folder / "model.safetensors") as temporary:
        temporary.write_bytes(data)


def _digest(description: Mapping[str, object]) -> str:
    """Return the SHA-256 of a description without its digests."""
    content = {key: value for key, value in description.items() if key != "digests"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_description(folder: str | Path) -> ModelDescription:
    """Read a trained model's `model.json`.

    Raises:
        CharlmError: The file is missing or damaged, or does not describe a model.
    """
    path = Path(folder) / "model.json"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DESCRIPTION + 1)
        if len(data) > MAX_DESCRIPTION:
            raise ValueError("too large")
        content = json.loads(data)
        digest = _digest(content) if isinstance(content, dict) else None
    except FileNotFoundError:
        raise CharlmError(
            f"{path}: there is no such file; name the folder of a trained model"
        ) from None
    except OSError as error:
        raise CharlmError(f"{path}: {error.strerror}; name the folder of a trained model") from None
    except (ValueError, RecursionError) as error:
        raise CharlmError(f"{path}: not JSON ({error}); train the model again") from None
    if not isinstance(content, dict) or content.get("format") != 1:
        raise CharlmError(f"{path}: not a model of this version of charlm; train it again")
    try:
        digests = content.get("digests", {"description": digest})
        if not content.keys() <= KEYS or not fits(content, Content):
            raise ValueError("other keys or types")
        if digests["description"] != digest:
            raise ValueError("changed")
        return ModelDescription(
            Architecture.from_mapping(content["architecture"], "architecture"),
            Vocabulary.from_dict(content["vocabulary"]),
            cast(TrainingDescription, content["training"]),
            digests.get("weights"),
        )
    except (CharlmError, AttributeError, LookupError, TypeError, ValueError):
        raise CharlmError(f"{path}: damaged; train the model again") from None


def read_training(folder: str | Path) -> TrainingDescription:
    """Read from a trained model's `model.json` how it was trained.

    Raises:
        CharlmError: The file is missing or damaged, or does not say it.
    """
    training = read_description(folder).training
    if not fits(training, TrainingDescription):
        path = Path(folder) / "model.json"
        raise CharlmError(f"{path}: does not say how it was trained; train the model again")
    return training


def load_weights(folder: str | Path) -> dict[str, Tensor]:
    """Load the weights of a trained model, by their names in `model.safetensors`.

    Raises:
        CharlmError: A file is missing, damaged or foreign.
    """
    return _load_weights(folder, read_description(folder))


def _load_weights(folder: str | Path, description: ModelDescription) -> dict[str, Tensor]:
    return read_weights(
        Path(folder) / "model.safetensors",
        description.architecture,
        len(description.vocabulary),
        description.weights_digest,
    )


def load_model(
    folder: str | Path,
    *,
    engine: EngineName | None = None,
    precision: Precision | None = None,
    device: str | torch.device = "cpu",
) -> tuple[LanguageModel, Vocabulary]:
    """Load a trained model, in evaluation mode, and its vocabulary.

    `engine` and `precision` are by default those of `charlm.model.computation.how_to_compute`.

    Raises:
        CharlmError: A file is missing, damaged or foreign.
    """
    description = read_description(folder)
    architecture, vocabulary = description.architecture, description.vocabulary
    weights = _load_weights(folder, description)
    try:
        computation = how_to_compute(description.training, torch.device(device))
        engine, precision = engine or computation.engine, precision or computation.precision
        network = make_model(len(vocabulary), architecture, engine=engine, precision=precision)
        experts = _split_off(weights, TABLES)
        gate = _split_off(weights, GATE)
        if architecture.tie_weights:
            for prefix in member_prefixes(architecture.members):
                weights[f"{prefix}output.weight"] = weights[f"{prefix}embedding.weight"]
        network.load_state_dict(weights)
        model: LanguageModel = network
        if architecture.mixture:
            contexts = make_contexts(vocabulary, architecture.mixture)
            listed = expert_list(architecture.mixture.experts, architecture.mixture.order)
            model = Mixture(network, Experts.from_arrays(contexts, listed, experts))
            model.gate.load_state_dict(gate)
    except (CharlmError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        raise foreign(Path(folder) / "model.safetensors") from None
    return model.to(device).eval(), vocabulary


def _split_off(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove the tensors whose names begin with a prefix; return them, without it."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}

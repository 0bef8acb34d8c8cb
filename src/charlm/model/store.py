"""Making, saving and loading models."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypedDict, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from charlm.errors import CharlmError
from charlm.files import atomic, write_text
from charlm.model.base import LanguageModel
from charlm.model.ensemble import Ensemble, Network, member_prefixes
from charlm.model.kneser_ney import KneserNey
from charlm.model.mixture import InterpolatedModel
from charlm.model.network import CharacterLanguageModel
from charlm.recurrent import Precision
from charlm.settings import Architecture, EngineName
from charlm.text.vocabulary import Vocabulary


class TrainingDescription(TypedDict):
    """How a model was trained: all settings, of which these are read again."""

    steps: int
    device: str
    engine: str
    precision: str


class ModelDescription(TypedDict):
    """The content of `model.json`."""

    format: Literal[1]
    architecture: Mapping[str, object]
    """The fields of `charlm.settings.Architecture`."""
    training: TrainingDescription
    vocabulary: Mapping[str, object]
    """The content of `vocabulary.json`."""


def make_model(
    vocabulary_size: int,
    architecture: Architecture,
    *,
    engine: EngineName = "auto",
    precision: Precision = "float32",
) -> Network:
    """Return a new network or ensemble, without an n-gram model, which `add_ngram` adds."""
    kind = CharacterLanguageModel if architecture.members == 1 else Ensemble
    return kind(vocabulary_size, architecture, engine=engine, precision=precision)


def add_ngram(
    network: Network, architecture: Architecture, tokens: npt.NDArray[np.integer]
) -> LanguageModel:
    """Interpolate a trained network with the n-gram model of its training text.

    Args:
        network: The network.
        architecture: The network itself is returned if its `ngram_order` is 0.
        tokens: The training text, one-dimensional.
    """
    if not architecture.ngram_order:
        return network
    ngram = KneserNey.from_text(tokens, network.vocabulary_size, architecture.ngram_order)
    return InterpolatedModel(network, ngram, architecture.ngram_weight).to(network.device)


def save_model(
    folder: str | Path,
    model: LanguageModel,
    *,
    vocabulary: Vocabulary,
    architecture: Architecture,
    training: Mapping[str, object],
) -> None:
    """Write `model.json`, then `model.safetensors`: all that `load_model` needs."""
    folder = Path(folder)
    description = {
        "format": 1,
        "architecture": asdict(architecture),
        "training": dict(training),
        "vocabulary": vocabulary.to_dict(),
    }
    write_text(folder / "model.json", json.dumps(description, indent=1, ensure_ascii=False) + "\n")
    # The network's weights have the same names with and without an n-gram model.
    weights = {
        name.removeprefix("network."): tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if not (architecture.tie_weights and name.endswith("output.weight"))
    }
    with atomic(folder / "model.safetensors") as temporary:
        temporary.write_bytes(save(weights))


def read_description(folder: str | Path) -> ModelDescription:
    """Read a trained model's `model.json`.

    Raises:
        CharlmError: The file is missing or does not describe a model.
    """
    path = Path(folder) / "model.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CharlmError(
            f"{path}: there is no such file; name the folder of a trained model"
        ) from None
    except OSError as error:
        raise CharlmError(f"{path}: {error.strerror}; name the folder of a trained model") from None
    except (ValueError, RecursionError) as error:
        raise CharlmError(f"{path}: not JSON ({error}); train the model again") from None
    if not isinstance(description, dict) or description.get("format") != 1:
        raise CharlmError(f"{path}: not a model of this version of charlm; train it again")
    return cast(ModelDescription, description)


def read_architecture(folder: str | Path) -> tuple[Architecture, Vocabulary]:
    """Read a trained model's architecture and vocabulary from its `model.json`.

    Raises:
        CharlmError: The file is missing or damaged.
    """
    description = read_description(folder)
    try:
        architecture = Architecture.from_mapping(description["architecture"], "architecture")
        return architecture, Vocabulary.from_dict(description["vocabulary"])
    except (CharlmError, AttributeError, LookupError, TypeError, ValueError):
        path = Path(folder) / "model.json"
        raise CharlmError(f"{path}: damaged; train the model again") from None


def load_model(
    folder: str | Path,
    *,
    engine: EngineName = "auto",
    precision: Precision = "float32",
    device: str | torch.device = "cpu",
) -> tuple[LanguageModel, Vocabulary]:
    """Load a trained model, in evaluation mode, and its vocabulary.

    Raises:
        CharlmError: A file is missing, damaged or foreign.
    """
    architecture, vocabulary = read_architecture(folder)
    path = Path(folder) / "model.safetensors"
    try:
        network = make_model(len(vocabulary), architecture, engine=engine, precision=precision)
        weights = load_file(path)
        counts = {
            name.removeprefix("ngram."): weights.pop(name)
            for name in list(weights)
            if name.startswith("ngram.")
        }
        if bool(counts) != bool(architecture.ngram_order):
            raise ValueError("n-gram counts without an n-gram model, or the reverse")
        if architecture.tie_weights:
            for prefix in member_prefixes(architecture.members):
                weights[f"{prefix}output.weight"] = weights[f"{prefix}embedding.weight"]
        network.load_state_dict(weights)
        model: LanguageModel = network
        if architecture.ngram_order:
            ngram = KneserNey(len(vocabulary), counts)
            model = InterpolatedModel(network, ngram, architecture.ngram_weight)
    except FileNotFoundError:
        raise CharlmError(f"{path}: there is no such file; train the model again") from None
    except SafetensorError as error:
        raise CharlmError(f"{path}: damaged ({error}); train the model again") from None
    except OSError as error:
        raise CharlmError(f"{path}: {error.strerror or error}; train the model again") from None
    except (CharlmError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        raise CharlmError(
            f"{path}: does not belong to the model.json beside it; train the model again"
        ) from None
    return model.to(device).eval(), vocabulary

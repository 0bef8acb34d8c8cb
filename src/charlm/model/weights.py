"""The weights of a saved model, checked before they take any memory: a file may be from anyone."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from charlm.errors import CharlmError
from charlm.files import sha256_of
from charlm.model.ensemble import member_prefixes
from charlm.model.experts import NAMES, expert_list
from charlm.model.kneser_ney import CountTable
from charlm.model.network import CharacterLanguageModel
from charlm.settings import Architecture

TABLES = "experts.tables."
GATE = "gate."

DROPOUTS = ("embedding_dropout", "layer_dropout", "output_dropout", "weight_dropout")
LAYER_TENSORS = 4
"""Tensors of a recurrent layer: two matrices and two vectors."""

Header = Mapping[str, tuple[str, tuple[int, ...]]]
"""The type and the shape of each tensor, by its name."""


def read_weights(
    path: Path, architecture: Architecture, vocabulary_size: int, digest: str | None
) -> dict[str, Tensor]:
    """Read the weights of a model, by their names in the file.

    Types and shapes are compared with the architecture before anything is allocated, so a foreign
    file takes no more memory than its size.

    Args:
        path: The file.
        architecture: The architecture that `model.json` gives.
        vocabulary_size: The size of the vocabulary that `model.json` gives.
        digest: The SHA-256 of the file that `model.json` gives, if any.

    Raises:
        CharlmError: The file is missing, damaged or that of another model.
    """
    try:
        if digest not in (None, sha256_of(path)):
            raise CharlmError(
                f"{path}: damaged, or not of the model.json beside it; train the model again"
            )
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            header = {
                name: (str(each.get_dtype()), tuple(each.get_shape()))
                for name, each in slices.items()
            }
            _check_header(path, header, architecture, vocabulary_size)
            weights = {name: file.get_tensor(name) for name in header}
    except FileNotFoundError:
        raise CharlmError(f"{path}: there is no such file; train the model again") from None
    except SafetensorError as error:
        raise CharlmError(f"{path}: damaged ({error}); train the model again") from None
    except OSError as error:
        raise CharlmError(f"{path}: {error.strerror or error}; train the model again") from None
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        raise foreign(path) from None
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CharlmError(f"{path}: {name} holds NaN or infinity; train the model again")
    return weights


def _check_header(
    path: Path, header: Header, architecture: Architecture, vocabulary_size: int
) -> None:
    """See `check_header`; any error is that of a foreign file."""
    try:
        check_header(header, architecture, vocabulary_size)
    except (CharlmError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        raise foreign(path) from None


def foreign(path: Path) -> CharlmError:
    """Return the error of weights that do not fit the architecture."""
    return CharlmError(
        f"{path}: does not belong to the model.json beside it; train the model again"
    )


def check_header(header: Header, architecture: Architecture, vocabulary_size: int) -> None:
    """Check the types and shapes of all tensors but the experts', whose sizes depend on the text.

    Raises:
        ValueError, TypeError, RuntimeError, CharlmError: They do not fit the architecture.
    """
    check_architecture(architecture)
    network = {name: kind for name, kind in header.items() if not name.startswith((TABLES, GATE))}
    numbers = sum(math.prod(shape) for _, shape in network.values())
    layers = architecture.num_layers * architecture.members
    # What follows makes all layers, and the network makes a matrix of V x V numbers if one_hot.
    if layers * LAYER_TENSORS > len(network) or (
        architecture.one_hot and vocabulary_size**2 > 16 * numbers
    ):
        raise ValueError("too large for the file")
    if network != expected_header(architecture, vocabulary_size):
        raise ValueError("other shapes")
    names = {name.removeprefix(TABLES) for name in header if name.startswith(TABLES)}
    if architecture.mixture:
        order = architecture.mixture.order
        if order * len(CountTable.ARRAYS) > len(names):
            raise ValueError("too few tables")
        experts = expert_list(architecture.mixture.experts, order)
        if names != {f"{name}.{array}" for name in experts for array in CountTable.ARRAYS}:
            raise ValueError("other tables")
    elif len(network) < len(header):
        raise ValueError("superfluous experts")
    if any(kind != "F32" for name, (kind, _) in header.items() if name.startswith(GATE)):
        raise ValueError("a gate of another type")


def expected_header(architecture: Architecture, vocabulary_size: int) -> Header:
    """Return the types and shapes of a network's weights as they are saved: tied ones once."""
    with torch.device("meta"):  # shapes without memory
        weights = CharacterLanguageModel(vocabulary_size, architecture).state_dict()
    if architecture.tie_weights:
        del weights["output.weight"]
    return {
        f"{prefix}{name}": ("F32", tuple(tensor.shape))
        for prefix in member_prefixes(architecture.members)
        for name, tensor in weights.items()
    }


def check_architecture(architecture: Architecture) -> None:
    """Check the numbers of an architecture, whose types `Architecture.from_mapping` has checked.

    Raises:
        ValueError: One is out of range.
    """
    mixture = architecture.mixture
    sizes = (architecture.hidden_size, architecture.embedding_size)
    numbers = [architecture.members, architecture.num_layers]
    numbers += [size for size in sizes if isinstance(size, int)]
    numbers += [mixture.order] if mixture else []
    if min(numbers) < 1 or not all(0 <= getattr(architecture, name) < 1 for name in DROPOUTS):
        raise ValueError("out of range")
    if mixture and (
        not set(mixture.experts) <= set(NAMES)
        or len(set(mixture.experts)) < len(mixture.experts)
        or (mixture.order < 4 and "word1_suffix3" in mixture.experts)  # which reads three symbols
    ):
        raise ValueError("unknown experts")

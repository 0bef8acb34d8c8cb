"""The networks of a training: a new one, and trained ones to start or to learn from."""

from pathlib import Path

import torch

from charlm.errors import CharlmError
from charlm.model.devices import available_memory
from charlm.model.ensemble import Network
from charlm.model.mixture import Mixture
from charlm.model.store import load_model, make_model
from charlm.recurrent import Precision
from charlm.settings import Architecture, TrainingSettings
from charlm.text.vocabulary import Vocabulary
from charlm.training.distillation import Teacher
from charlm.training.memory import BYTES, count_parameters, is_out_of_memory
from charlm.training.optimization import BUFFERS
from charlm.training.streams import seed_for


def initial_network(
    vocabulary: Vocabulary,
    architecture: Architecture,
    training: TrainingSettings,
    *,
    device: torch.device,
    precision: Precision,
) -> Network:
    """Return the network to be trained, with its first weights.

    They are random, or those of the model that `training.init_from` names.

    Raises:
        CharlmError: The weights, their gradients and the optimizer's buffers do not fit into
            memory, or the model of `init_from` cannot be used.
    """
    network = _random_network(len(vocabulary), architecture, training, device, precision)
    if training.init_from:
        other = _load_network("init_from", training.init_from, vocabulary, training)
        try:
            network.load_state_dict(other.state_dict())
        except RuntimeError:
            raise CharlmError(
                f"{training.init_from}: training.init_from names a model of another architecture; "
                "give this model the same"
            ) from None
    return network.to(device).train()


def load_teacher(
    vocabulary: Vocabulary,
    training: TrainingSettings,
    *,
    device: torch.device,
    precision: Precision,
) -> Teacher | None:
    """Load the model that `training.teacher` names; None without one.

    Raises:
        CharlmError: It cannot be loaded or has another vocabulary.
    """
    if not training.teacher:
        return None
    network = _load_network("teacher", training.teacher, vocabulary, training, precision)
    return Teacher(network.to(device), training.teacher_weight)


def _random_network(
    vocabulary_size: int,
    architecture: Architecture,
    training: TrainingSettings,
    device: torch.device,
    precision: Precision,
) -> Network:
    with torch.device("meta"):  # shapes without memory
        weights = count_parameters(make_model(vocabulary_size, architecture))
    needed = float(BYTES * weights * (2 + len(BUFFERS[training.optimizer])))
    free = available_memory(device)
    free_now = "" if free is None else f", and {free / 1e6:,.0f} MB are free"
    too_large = CharlmError(
        f"training: a model of {weights:,} weights (hidden_size {architecture.hidden_size}) "
        f"needs at least {needed / 1e6:,.0f} MB of memory{free_now}; lower hidden_size, "
        "num_layers or members"
    )
    if free is not None and needed > free:
        raise too_large
    torch.manual_seed(seed_for(training.seed))
    try:
        return make_model(
            vocabulary_size, architecture, engine=training.engine, precision=precision
        )
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise too_large from None


def _load_network(
    key: str,
    folder: str,
    vocabulary: Vocabulary,
    training: TrainingSettings,
    precision: Precision = "float32",
) -> Network:
    """Load the network of a trained model, without its experts."""
    model, its_vocabulary = load_model(Path(folder), engine=training.engine, precision=precision)
    if its_vocabulary.symbols != vocabulary.symbols:
        raise CharlmError(
            f"{folder}: training.{key} names a model of another vocabulary; "
            "name one of the same corpus"
        )
    network = model.network if isinstance(model, Mixture) else model
    assert isinstance(network, Network)
    return network

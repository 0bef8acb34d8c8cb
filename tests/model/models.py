"""Small models with random weights."""

from dataclasses import replace

import numpy as np
import torch

from charlm.model.base import LanguageModel
from charlm.model.ensemble import Network
from charlm.model.experts import count_experts, expert_list
from charlm.model.kneser_ney import Integers
from charlm.model.mixture import Mixture
from charlm.model.store import make_contexts, make_model
from charlm.model.trained_model import TrainedModel
from charlm.settings import Architecture, MixtureSettings
from charlm.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary([*"abcdefg", "<unknown>"], [1] * 8, {"unknown": 7, "end_of_document": None})
TEXT = np.tile([0, 1, 2, 3, 0, 1, 5, 6], 9)

SMALL = Architecture(hidden_size=6, embedding_size=4, mixture=None)
DEEP = replace(SMALL, num_layers=2)
ONE_HOT = replace(SMALL, one_hot=True)
TIED = replace(SMALL, embedding_size=6, tie_weights=True)
ENSEMBLE = replace(SMALL, members=2)
MIXED = replace(SMALL, mixture=MixtureSettings(order=4))


def make(architecture: Architecture = SMALL) -> LanguageModel:
    """Return a model for `VOCABULARY`, whose experts have counted `TEXT`."""
    torch.manual_seed(0)
    return with_experts(make_model(len(VOCABULARY), architecture), architecture, VOCABULARY, TEXT)


def with_experts(
    network: Network, architecture: Architecture, vocabulary: Vocabulary, text: Integers
) -> LanguageModel:
    """Return the network, mixed by a gate with random weights if the architecture says so."""
    settings = architecture.mixture
    if not settings:
        return network
    experts = expert_list(settings.experts, settings.order)
    mixture = Mixture(
        network, count_experts(make_contexts(vocabulary, settings), experts, text, budget=1e9)
    )
    for parameter in mixture.gate.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return mixture


def random_tokens(*shape: int) -> torch.Tensor:
    return torch.randint(0, len(VOCABULARY), shape)


LETTERS = "abcdefghijklmnop "
WRITER = Architecture(hidden_size=24, embedding_size=8, mixture=None)


def letters_vocabulary(*, end_of_document: bool = True) -> Vocabulary:
    symbols = [*LETTERS, "<unknown>", *["<end_of_document>"] * end_of_document]
    end = len(LETTERS) + 1 if end_of_document else None
    special = {"unknown": len(LETTERS), "end_of_document": end}
    return Vocabulary(symbols, [1] * len(symbols), special)


def make_trained(
    architecture: Architecture = WRITER, *, end_of_document: bool = True
) -> TrainedModel:
    """Return a model for `LETTERS` whose predictions are far from uniform."""
    torch.manual_seed(1)
    vocabulary = letters_vocabulary(end_of_document=end_of_document)
    network = make_model(len(vocabulary), architecture)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    model = with_experts(network, architecture, vocabulary, np.arange(200) % 7)
    return TrainedModel(model.eval(), vocabulary)

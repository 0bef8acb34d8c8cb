"""Ensembles of networks."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.model.base import LanguageModel, State
from charlm.model.network import CharacterLanguageModel
from charlm.recurrent import Precision
from charlm.settings import Architecture, EngineName


class Ensemble(LanguageModel):
    """Networks of one architecture that are trained independently and predict together.

    Averaging their probabilities reduces the error that comes from random initial weights and
    dropout (Hansen & Salamon 1990, doi:10.1109/34.58871). The logits are the logarithms of the mean
    probabilities.

    Args:
        vocabulary_size: Number of symbols V.
        architecture: The architecture of each network, and their number, `members`.
        engine: Implementation of the recurrent layers.
        precision: Precision of the matrix products.
    """

    members: Sequence[CharacterLanguageModel]

    def __init__(
        self,
        vocabulary_size: int,
        architecture: Architecture,
        *,
        engine: EngineName = "auto",
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.members = nn.ModuleList(  # type: ignore[assignment]
            CharacterLanguageModel(
                vocabulary_size, architecture, engine=engine, precision=precision
            )
            for _ in range(architecture.members)
        )

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.members[0].device

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict the token that follows each token; see `LanguageModel.forward`."""
        logits, states = zip(
            *(
                member(tokens, part)
                for member, part in zip(self.members, self._split(state), strict=True)
            ),
            strict=True,
        )
        return _average(logits), _concatenate(states)

    def loss(
        self, tokens: Tensor, targets: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return the sum of the members' losses; see `CharacterLanguageModel.loss`."""
        losses, states = zip(
            *(
                member.loss(tokens, targets, part)
                for member, part in zip(self.members, self._split(state), strict=True)
            ),
            strict=True,
        )
        return torch.stack(losses).sum(0), _concatenate(states)

    def initial_logits(self, batch_size: int) -> Tensor:
        """Return the logits of a stream's first token, float32 of shape (batch_size, V)."""
        return _average([member.initial_logits(batch_size) for member in self.members])

    def initial_state(self, batch_size: int) -> State:
        """Return the state before any token is read."""
        return _concatenate([member.initial_state(batch_size) for member in self.members])

    def stepper(self, batch_size: int, state: State | None = None) -> Callable[[Tensor], Tensor]:
        """Return a function that reads one token of each stream; see `LanguageModel.stepper`."""
        steppers = [
            member.stepper(batch_size, part)
            for member, part in zip(self.members, self._split(state), strict=True)
        ]
        return lambda tokens: _average([step(tokens) for step in steppers])

    def _split(self, state: State | None) -> Sequence[State | None]:
        """Return each member's part of a state."""
        count = len(self.members)
        if state is None:
            return [None] * count
        return list(zip(*(tensor.chunk(count) for tensor in state), strict=True))


Network = CharacterLanguageModel | Ensemble
"""A model that gradient descent can train."""


def member_prefixes(members: int) -> list[str]:
    """Return what the names of each member's weights begin with.

    >>> member_prefixes(2)
    ['members.0.', 'members.1.']
    >>> member_prefixes(1)
    ['']
    """
    return [""] if members == 1 else [f"members.{number}." for number in range(members)]


def _average(logits: Sequence[Tensor]) -> Tensor:
    """Return the logarithm of the mean of the probabilities that several logits (..., V) give."""
    log_probabilities = torch.stack([functional.log_softmax(each, -1) for each in logits])
    return torch.logsumexp(log_probabilities, 0) - math.log(len(logits))


def _concatenate(states: Sequence[State]) -> State:
    """Return one state of all members."""
    return tuple(torch.cat(tensors) for tensors in zip(*states, strict=True))

"""Interpolation of a network with an n-gram model."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from charlm.model.base import LanguageModel, State
from charlm.model.ensemble import Network
from charlm.model.kneser_ney import KneserNey


class InterpolatedModel(LanguageModel):
    """A network and an n-gram model whose probabilities are averaged.

    The network generalizes; the n-gram model remembers passages that the text holds only once or
    twice. It is counted, not trained. The logits are the logarithms of the mean probabilities.

    Args:
        network: The network.
        ngram: The n-gram model, of the same vocabulary.
        weight: The n-gram model's share, between 0 and 1.
    """

    def __init__(self, network: Network, ngram: KneserNey, weight: float) -> None:
        super().__init__()
        self.network = network
        self.ngram = ngram
        self.weight = weight
        self.vocabulary_size = network.vocabulary_size

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.network.device

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict the token that follows each token; see `LanguageModel.forward`."""
        network_state, history = self._split(state, tokens.shape[1])
        logits, network_state = self.network(tokens, network_state)
        read = torch.cat([history, tokens])
        # The history after each token: (length, batch, order - 1).
        histories = read.unfold(0, len(history), 1)[1:]
        mixed = self._interpolate(logits.flatten(0, 1), histories.flatten(0, 1).T)
        return mixed.view_as(logits), (*network_state, read[len(tokens) :])

    def initial_logits(self, batch_size: int) -> Tensor:
        """Return the logits of a stream's first token, float32 of shape (batch_size, V)."""
        logits = self.network.initial_logits(batch_size)
        return self._interpolate(logits, self.ngram.initial_history(batch_size))

    def initial_state(self, batch_size: int) -> State:
        """Return the state before any token is read."""
        network_state = self.network.initial_state(batch_size)
        return (*network_state, self.ngram.initial_history(batch_size))

    def stepper(self, batch_size: int, state: State | None = None) -> Callable[[Tensor], Tensor]:
        """Return a function that reads one token of each stream; see `LanguageModel.stepper`."""
        network_state, history = self._split(state, batch_size)
        network_step = self.network.stepper(batch_size, network_state)

        def step(tokens: Tensor) -> Tensor:
            nonlocal history
            history = torch.cat([history[1:], tokens[None]])
            return self._interpolate(network_step(tokens), history)

        return step

    def _split(self, state: State | None, batch_size: int) -> tuple[State | None, Tensor]:
        """Return the network's part of a state, and the history."""
        if state is None:
            return None, self.ngram.initial_history(batch_size)
        *network_state, history = state
        return tuple(network_state), history

    def _interpolate(self, logits: Tensor, history: Tensor) -> Tensor:
        """Return the mixed logits (B, V) of logits (B, V) and histories (order - 1, B)."""
        return torch.logaddexp(
            functional.log_softmax(logits, -1) + math.log1p(-self.weight),
            self.ngram(history).log() + math.log(self.weight),
        )

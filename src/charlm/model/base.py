"""The interface of all language models."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

State: TypeAlias = tuple[Tensor, ...]
"""What a model remembers of the streams it reads: tensors with the streams in dimension 1.

For a GRU it is `(h,)` and for an LSTM `(h, c)`, each float32 of shape (num_layers, batch,
hidden_size). An ensemble concatenates its members' tensors along dimension 0. A mixture
appends the two tensors of `charlm.model.contexts.ContextState`."""


class LanguageModel(nn.Module, ABC):
    """Reads streams of tokens in parallel and predicts the next token of each.

    Attributes:
        vocabulary_size: Number of symbols V.
    """

    vocabulary_size: int

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device of the weights."""

    if TYPE_CHECKING:

        def __call__(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
            """See `forward`."""

    @abstractmethod
    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict the token that follows each token.

        Args:
            tokens: The tokens to read, int64 of shape (length, batch).
            state: The state before the first token; None for the initial state.

        Returns:
            The logits of the token after each one read, float32 of shape (length, batch, V), and
            the state after the last.
        """

    @abstractmethod
    def initial_logits(self, batch_size: int) -> Tensor:
        """Return the logits of a stream's first token, float32 of shape (batch_size, V)."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """Return the state before any token is read."""

    def stepper(self, batch_size: int, state: State | None = None) -> Callable[[Tensor], Tensor]:
        """Return a function that reads one token of each stream, without gradients.

        The function takes tokens, int64 of shape (batch_size,), and returns the logits of the
        tokens that follow, float32 of shape (batch_size, V). It keeps the state itself.

        Args:
            batch_size: Number of streams.
            state: The state to start from; None for the initial state.
        """

        def step(tokens: Tensor) -> Tensor:
            nonlocal state
            logits, state = self(tokens[None], state)
            return logits[0]

        return step

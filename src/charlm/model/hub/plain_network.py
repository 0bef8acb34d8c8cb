"""The network of a model in PyTorch's own layers, for use without charlm."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from charlm.model.base import LanguageModel, State


class PlainMember(nn.Module):
    """One network: embedding, recurrent layers, output layer."""

    def __init__(
        self, cell: str, vocabulary_size: int, embedding_size: int, hidden_size: int, layers: int
    ) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.recurrent = kind(embedding_size, hidden_size, layers)
        self.output = nn.Linear(hidden_size, vocabulary_size)


class PlainNetwork(LanguageModel):
    """A network, or an ensemble whose probabilities are averaged.

    Args:
        cell: `lstm` or `gru`.
        vocabulary_size: Number of symbols V.
        embedding_size: Width of the embedding.
        hidden_size: Width of the state.
        layers: Number of recurrent layers.
        members: Number of networks.
    """

    members: Sequence[PlainMember]

    def __init__(
        self,
        cell: str,
        vocabulary_size: int,
        embedding_size: int,
        hidden_size: int,
        layers: int,
        members: int,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.vocabulary_size = vocabulary_size
        self.layers = layers
        self.hidden_size = hidden_size
        self.members = nn.ModuleList(  # type: ignore[assignment]
            PlainMember(cell, vocabulary_size, embedding_size, hidden_size, layers)
            for _ in range(members)
        )

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict the token that follows each token; see `LanguageModel.forward`."""
        state = state or self.initial_state(tokens.shape[1])
        parts = zip(*(tensor.chunk(len(self.members)) for tensor in state), strict=True)
        logits, states = [], []
        for member, part in zip(self.members, parts, strict=True):
            before = tuple(tensor.contiguous() for tensor in part)
            inputs = member.embedding(tokens)
            hidden, after = member.recurrent(inputs, before if self.cell == "lstm" else before[0])
            logits.append(member.output(hidden))
            states.append(after if self.cell == "lstm" else (after,))
        following = tuple(torch.cat(tensors) for tensors in zip(*states, strict=True))
        return _mean(logits), following

    def initial_logits(self, batch_size: int) -> Tensor:
        """Return the logits of a stream's first token, float32 of shape (batch_size, V)."""
        hidden = torch.zeros(batch_size, self.hidden_size, device=self.device)
        return _mean([member.output(hidden) for member in self.members])

    def initial_state(self, batch_size: int) -> State:
        """Return the state before any token is read: zeros."""
        shape = (len(self.members) * self.layers, batch_size, self.hidden_size)
        tensors = 2 if self.cell == "lstm" else 1
        return tuple(torch.zeros(tensors, *shape, device=self.device))


def _mean(logits: list[Tensor]) -> Tensor:
    """Return the logarithm of the mean of the probabilities that several logits (..., V) give."""
    if len(logits) == 1:
        return logits[0]
    log_probabilities = torch.stack([each.log_softmax(-1) for each in logits])
    return log_probabilities.logsumexp(0) - math.log(len(logits))

"""The network: embedding, recurrent layers, output layer."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.errors import CharlmError
from charlm.model.base import LanguageModel, State
from charlm.recurrent import GRU, LSTM, Precision
from charlm.recurrent.dropout import dropout_mask
from charlm.settings import Architecture, EngineName


class CharacterLanguageModel(LanguageModel):
    """A recurrent network that predicts the next symbol.

    The architecture offers tied weights (Press & Wolf 2017, arXiv:1608.05859), dropout of whole
    symbols and locked masks (Gal & Ghahramani 2016, arXiv:1512.05287), and dropout of the recurrent
    weights (Merity et al. 2018, arXiv:1708.02182).

    Args:
        vocabulary_size: Number of symbols V.
        architecture: Sizes and dropouts; `members` and the n-gram model are ignored.
        engine: Implementation of the recurrent layers.
        precision: Precision of the matrix products; state and weights are always float32.

    Raises:
        CharlmError: The weights to tie differ in size.
    """

    one_hot: Tensor

    def __init__(
        self,
        vocabulary_size: int,
        architecture: Architecture,
        *,
        engine: EngineName = "auto",
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        hidden_size = architecture.hidden_size
        embedding_size = vocabulary_size if architecture.one_hot else architecture.embedding_size
        if hidden_size == "auto" or embedding_size == "auto":
            raise ValueError(
                "hidden_size or embedding_size is 'auto'; call automatic_architecture first"
            )
        self.vocabulary_size = vocabulary_size
        self.hidden_size = vocabulary_size if hidden_size == "vocabulary" else hidden_size
        self.embedding_dropout = architecture.embedding_dropout
        self.output_dropout = architecture.output_dropout
        self.locked_dropout = architecture.locked_dropout
        self.precision = precision

        # The kernels expect float32, whatever the caller's default dtype.
        float32 = torch.float32
        self.embedding = None
        if architecture.one_hot:
            identity = torch.eye(vocabulary_size, dtype=float32)
            self.register_buffer("one_hot", identity, persistent=False)
        else:
            self.embedding = nn.Embedding(vocabulary_size, embedding_size, dtype=float32)
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.recurrent = {"lstm": LSTM, "gru": GRU}[architecture.cell](
            embedding_size,
            self.hidden_size,
            architecture.num_layers,
            dtype=float32,
            dropout=architecture.layer_dropout,
            locked_dropout=architecture.locked_dropout,
            weight_dropout=architecture.weight_dropout,
            engine=engine,
            precision=precision,
        )
        self.output = nn.Linear(self.hidden_size, vocabulary_size, dtype=float32)
        nn.init.zeros_(self.output.bias)
        if architecture.tie_weights and self.embedding is not None:
            if embedding_size != self.hidden_size:
                raise CharlmError(
                    f"tie_weights: embedding_size {embedding_size} is not hidden_size "
                    f"{self.hidden_size}; make them equal"
                )
            self.output.weight = self.embedding.weight
        else:
            nn.init.uniform_(self.output.weight, -0.1, 0.1)

    @property
    def members(self) -> Sequence["CharacterLanguageModel"]:
        """The networks that are trained independently of each other: this one alone."""
        return [self]

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.output.weight.device

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict the token that follows each token; see `LanguageModel.forward`."""
        hidden, state = self.recurrent.forward_indices(tokens, self._input_vectors(), state)
        return self.predict(self._drop_output(hidden)), state

    def loss(
        self, tokens: Tensor, targets: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return the cross-entropy of each prediction.

        Args:
            tokens: The tokens to read, int64 of shape (length, batch).
            targets: The token that follows each, int64 of the same shape; or a distribution over
                all symbols instead, float32 of shape (length, batch, V).
            state: The state before the first token; None for the initial state.

        Returns:
            Nats, float32 of shape (length, batch), and the state after the last token.
        """
        logits, state = self(tokens, state)
        nats = functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(0, 1), reduction="none"
        )
        return nats.view_as(tokens), state

    def initial_logits(self, batch_size: int) -> Tensor:
        """Return the logits of a stream's first token: the output layer's for a state of zeros."""
        hidden = torch.zeros(batch_size, self.hidden_size, dtype=torch.float32, device=self.device)
        return self.predict(hidden)

    def initial_state(self, batch_size: int) -> State:
        """Return the state before any token is read: zeros."""
        shape = (self.recurrent.num_layers, batch_size, self.hidden_size)
        count = 2 if self.recurrent.cell == "lstm" else 1
        return tuple(torch.zeros(count, *shape, dtype=torch.float32, device=self.device))

    def stepper(self, batch_size: int, state: State | None = None) -> Callable[[Tensor], Tensor]:
        """Return a function that reads one token of each stream; see `LanguageModel.stepper`."""
        step = self.recurrent.stepper(batch_size, self._input_vectors())
        if state is not None:
            step.state = state
        return lambda tokens: self.predict(step(tokens))

    def predict(self, hidden: Tensor) -> Tensor:
        """Return the logits, float32 (..., V), for the last layer's outputs (..., hidden_size)."""
        if self.precision == "bfloat16":
            weight, bias = self.output.weight.bfloat16(), self.output.bias.bfloat16()
            return functional.linear(hidden.bfloat16(), weight, bias).float()
        logits: Tensor = self.output(hidden)
        return logits

    def _input_vectors(self) -> Tensor:
        """Return the vectors of all symbols (V, embedding_size), some dropped during training."""
        table = self.one_hot if self.embedding is None else self.embedding.weight
        if self.training and self.embedding_dropout:
            table = table * dropout_mask(table[:, :1], self.embedding_dropout)
        return table

    def _drop_output(self, hidden: Tensor) -> Tensor:
        if not (self.training and self.output_dropout):
            return hidden
        like = hidden[:1] if self.locked_dropout else hidden
        return hidden * dropout_mask(like, self.output_dropout)

"""The model: symbols -> vectors -> recurrent layers -> a distribution over the next symbol."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from charlm.errors import CharlmError
from charlm.files import atomic, write_text
from charlm.model.kneser_ney import Ngram
from charlm.recurrent import GRU, LSTM, EngineName, Precision
from charlm.recurrent.dropout import dropout_mask
from charlm.text.vocabulary import Vocabulary

State: TypeAlias = tuple[Tensor, ...]
"""What the recurrent layers carry from step to step: `(h,)` (GRU) or `(h, c)` (LSTM), each of shape
(num_layers, batch, hidden_size); of the members of an ensemble one below the other. An n-gram model
adds the symbols read last, (order - 1, batch)."""


class CharacterLanguageModel(nn.Module):
    """A recurrent character language model.

    Args:
        vocabulary_size: Number of symbols V.
        cell: `lstm` or `gru`.
        hidden_size: Width H of the state, or `vocabulary` for V.
        num_layers: Number of recurrent layers.
        embedding_size: Width E of the symbols' vectors.
        one_hot: One-hot symbols (E = V) in the place of learned vectors.
        tie_weights: Share the embedding's weights with the output layer (Press & Wolf 2017,
            arXiv:1608.05859).
        embedding_dropout: Probability that a symbol's whole vector is dropped for a sequence
            (Gal & Ghahramani 2016, arXiv:1512.05287).
        layer_dropout: Dropout between recurrent layers.
        output_dropout: Dropout of the last layer's output.
        weight_dropout: Dropout of the recurrent weights (Merity et al. 2018, arXiv:1708.02182).
        locked_dropout: One mask for all steps of a sequence in layer and output dropout.
        engine: Implementation of the recurrent layers.
        precision: `float32` or `bfloat16` for the products; state and weights stay in float32.

    Raises:
        CharlmError: A size is out of range, or weights of unequal sizes are tied.
    """

    one_hot: Tensor

    def __init__(
        self,
        vocabulary_size: int,
        *,
        cell: str = "lstm",
        hidden_size: int | str = 512,
        num_layers: int = 1,
        embedding_size: int = 128,
        one_hot: bool = False,
        tie_weights: bool = False,
        embedding_dropout: float = 0.0,
        layer_dropout: float = 0.0,
        output_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        locked_dropout: bool = False,
        engine: EngineName = "auto",
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.hidden_size = vocabulary_size if hidden_size == "vocabulary" else int(hidden_size)
        self.embedding_dropout = embedding_dropout
        self.output_dropout = output_dropout
        self.locked_dropout = locked_dropout
        self.precision = precision

        # The kernels expect float32, whatever the caller's default.
        float32 = torch.float32
        self.embedding = None
        if one_hot:
            eye = torch.eye(vocabulary_size, dtype=float32)
            self.register_buffer("one_hot", eye, persistent=False)
        else:
            self.embedding = nn.Embedding(vocabulary_size, embedding_size, dtype=float32)
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.recurrent = {"lstm": LSTM, "gru": GRU}[cell](
            vocabulary_size if one_hot else embedding_size,
            self.hidden_size,
            num_layers,
            dtype=float32,
            dropout=layer_dropout,
            locked_dropout=locked_dropout,
            weight_dropout=weight_dropout,
            engine=engine,
            precision=precision,
        )
        self.output = nn.Linear(self.hidden_size, vocabulary_size, dtype=float32)
        nn.init.zeros_(self.output.bias)
        if tie_weights and self.embedding is not None:
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
        """The models that train apart: this one alone."""
        return [self]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.output.weight.device

    def forward(self, symbols: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict each next symbol.

        Args:
            symbols: Ids of the symbols read, int64 of shape (length, batch).
            state: The state before the first symbol; None for zeros.

        Returns:
            Logits of the symbol after each one read, float32 of shape (length, batch, V), and the
            state after the last.
        """
        hidden, state = self.recurrent.forward_indices(symbols, self._table(), state)
        return self.predict(self._drop_output(hidden)), state

    def loss(
        self, symbols: Tensor, expected: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return the nats that each of the symbols `expected`, after each of `symbols`, costs.

        Arguments as in `forward`; `expected` has the shape of `symbols`, or is a distribution over
        all symbols for each of them, (length, batch, V).

        Returns:
            Nats, float32 of shape (length, batch), and the state after the last symbol.
        """
        logits, state = self(symbols, state)
        nats = functional.cross_entropy(
            logits.flatten(0, 1), expected.flatten(0, 1), reduction="none"
        )
        return nats.view_as(symbols), state

    def at_rest(self, batch_size: int) -> Tensor:
        """Return what the zero state predicts before any symbol is read, logits (B, V)."""
        hidden = torch.zeros(batch_size, self.hidden_size, dtype=torch.float32, device=self.device)
        return self.predict(hidden)

    def fresh_state(self, batch_size: int) -> State:
        """Return the state before any symbol is read: zeros."""
        shape = (self.recurrent.num_layers, batch_size, self.hidden_size)
        h, c = torch.zeros(2, *shape, dtype=torch.float32, device=self.device)
        return (h, c) if self.recurrent.cell == "lstm" else (h,)

    def stepper(self, batch_size: int, state: State | None = None) -> Callable[[Tensor], Tensor]:
        """Return a function that reads one symbol of each of B streams.

        It takes ids, int64 of shape (B,), gives the logits of the symbols that follow, (B, V), and
        keeps the streams' states itself, with no graph for gradients. They start from `state`, or
        fresh.
        """
        step = self.recurrent.stepper(batch_size, self._table())
        if state is not None:
            step.state = state
        return lambda symbols: self.predict(step(symbols))

    def predict(self, hidden: Tensor) -> Tensor:
        """Return the logits, float32 (..., V), that follow from outputs (..., H)."""
        if self.precision == "bfloat16":
            weight, bias = self.output.weight.bfloat16(), self.output.bias.bfloat16()
            return functional.linear(hidden.bfloat16(), weight, bias).float()
        logits: Tensor = self.output(hidden)
        return logits

    def _table(self) -> Tensor:
        """Return the vectors of all symbols, (V, E), some of them dropped in training."""
        table: Tensor = self.one_hot if self.embedding is None else self.embedding.weight
        if self.training and self.embedding_dropout:
            table = table * dropout_mask(table[:, :1], self.embedding_dropout)
        return table

    def _drop_output(self, hidden: Tensor) -> Tensor:
        if not (self.training and self.output_dropout):
            return hidden
        like = hidden[:1] if self.locked_dropout else hidden
        return hidden * dropout_mask(like, self.output_dropout)


class Ensemble(nn.Module):
    """Models of one architecture that learn apart and predict together.

    Their probabilities are averaged, which evens out what each got wrong by the chance of its
    first weights and its dropout (Hansen & Salamon 1990, doi:10.1109/34.58871). What it offers is
    what `CharacterLanguageModel` does; its logits are logarithms of mean probabilities.

    Args:
        members: Number of models.
        vocabulary_size: Number of symbols V.
        settings: Those of each `CharacterLanguageModel`.
    """

    members: Sequence[CharacterLanguageModel]

    def __init__(self, members: int, vocabulary_size: int, **settings: Any) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.members = nn.ModuleList(  # type: ignore[assignment]
            CharacterLanguageModel(vocabulary_size, **settings) for _ in range(members)
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.members[0].device

    def forward(self, symbols: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict each next symbol; see `CharacterLanguageModel.forward`."""
        each = [
            member(symbols, part)
            for member, part in zip(self.members, self._divided(state), strict=True)
        ]
        return _averaged([logits for logits, _ in each]), _joined([state for _, state in each])

    def loss(
        self, symbols: Tensor, expected: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return the sum of the members' losses, so that each learns as if it were alone."""
        each = [
            member.loss(symbols, expected, part)
            for member, part in zip(self.members, self._divided(state), strict=True)
        ]
        return torch.stack([loss for loss, _ in each]).sum(0), _joined([state for _, state in each])

    def at_rest(self, batch_size: int) -> Tensor:
        """Return what the zero state predicts before any symbol is read, logits (B, V)."""
        return _averaged([member.at_rest(batch_size) for member in self.members])

    def fresh_state(self, batch_size: int) -> State:
        """Return the state before any symbol is read."""
        return _joined([member.fresh_state(batch_size) for member in self.members])

    def stepper(self, batch_size: int, state: State | None = None) -> Callable[[Tensor], Tensor]:
        """Return a function that reads one symbol of each of B streams."""
        steps = [
            member.stepper(batch_size, part)
            for member, part in zip(self.members, self._divided(state), strict=True)
        ]
        return lambda symbols: _averaged([step(symbols) for step in steps])

    def _divided(self, state: State | None) -> Sequence[State | None]:
        """Return each member's part of a state."""
        if state is None:
            return [None] * len(self.members)
        return list(zip(*(part.chunk(len(self.members)) for part in state), strict=True))


def _averaged(logits: Sequence[Tensor]) -> Tensor:
    """Return the logarithm of the mean probability that several logits (…, V) give."""
    each = torch.stack([functional.log_softmax(part, -1) for part in logits])
    return torch.logsumexp(each, 0) - math.log(len(logits))


def _joined(states: Sequence[State]) -> State:
    return tuple(torch.cat(parts) for parts in zip(*states, strict=True))


Network = CharacterLanguageModel | Ensemble
"""What is trained."""


class WithNgram(nn.Module):
    """A network and an n-gram model that predict together: their probabilities are averaged.

    The network knows what is common, the n-gram model what the text has but once or twice. It is
    counted and not learned, and takes no part in training. What it offers else is what
    `CharacterLanguageModel` does; its logits are logarithms of mean probabilities.

    Args:
        network: The network.
        ngram: The n-gram model, of the same vocabulary.
        weight: Its share in the mean.
    """

    def __init__(self, network: Network, ngram: Ngram, weight: float) -> None:
        super().__init__()
        self.network = network
        self.ngram = ngram
        self.weight = weight
        self.vocabulary_size = network.vocabulary_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device

    def forward(self, symbols: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict each next symbol; see `CharacterLanguageModel.forward`."""
        parts, history = self._divided(state, symbols.shape[1])
        logits, parts = self.network(symbols, parts)
        read = torch.cat([history, symbols])
        # The history after each symbol: (length, batch, order - 1).
        histories = read.unfold(0, len(history), 1)[1:]
        mixed = self._mixed(logits.flatten(0, 1), histories.flatten(0, 1).T)
        return mixed.view_as(logits), _with_history(parts, read[len(symbols) :])

    def at_rest(self, batch_size: int) -> Tensor:
        """Return what is predicted before any symbol is read, logits (B, V)."""
        logits = self.network.at_rest(batch_size)
        return self._mixed(logits, self.ngram.fresh_history(batch_size))

    def fresh_state(self, batch_size: int) -> State:
        """Return the state before any symbol is read."""
        parts = self.network.fresh_state(batch_size)
        return _with_history(parts, self.ngram.fresh_history(batch_size))

    def stepper(self, batch_size: int, state: State | None = None) -> Callable[[Tensor], Tensor]:
        """Return a function that reads one symbol of each of B streams."""
        parts, history = self._divided(state, batch_size)
        step = self.network.stepper(batch_size, parts)

        def mixed_step(symbols: Tensor) -> Tensor:
            nonlocal history
            history = torch.cat([history[1:], symbols[None]])
            return self._mixed(step(symbols), history)

        return mixed_step

    def _divided(self, state: State | None, batch_size: int) -> tuple[State | None, Tensor]:
        """Return the network's part of a state, and the history."""
        if state is None:
            return None, self.ngram.fresh_history(batch_size)
        *parts, history = state
        return tuple(parts), history

    def _mixed(self, logits: Tensor, history: Tensor) -> Tensor:
        """Return the logarithm of the mean probability, of logits (B, V) and histories."""
        return torch.logaddexp(
            functional.log_softmax(logits, -1) + math.log1p(-self.weight),
            self.ngram(history).log() + math.log(self.weight),
        )


def _with_history(state: State, history: Tensor) -> State:
    return (*state, history)


LanguageModel = Network | WithNgram
"""What predicts."""


def make_model(
    vocabulary_size: int,
    *,
    members: int = 1,
    ngram_order: int = 0,
    ngram_weight: float = 0.0,
    **settings: Any,
) -> Network:
    """Return a new network of `settings`, or an ensemble of several, yet without an n-gram model.

    That joins it where training ends: see `with_ngram`.
    """
    if members == 1:
        return CharacterLanguageModel(vocabulary_size, **settings)
    return Ensemble(members, vocabulary_size, **settings)


def with_ngram(
    network: Network,
    architecture: Mapping[str, Any],
    tokens: npt.NDArray[Any],
) -> LanguageModel:
    """Return a trained network together with the n-gram model of its text, if it is to have one."""
    order = architecture.get("ngram_order", 0)
    if not order:
        return network
    ngram = Ngram.counted(tokens, network.vocabulary_size, order)
    return WithNgram(network, ngram, architecture["ngram_weight"]).to(network.device)


def member_prefixes(architecture: Mapping[str, Any]) -> list[str]:
    """Return what the names of each member's weights begin with: nothing, where it is alone."""
    members = architecture.get("members", 1)
    return [""] if members == 1 else [f"members.{number}." for number in range(members)]


def save_model(
    folder: str | Path,
    model: LanguageModel,
    *,
    vocabulary: Vocabulary,
    architecture: Mapping[str, Any],
    training: Mapping[str, Any],
) -> None:
    """Write `model.json` and then `model.safetensors`: all that is needed to load the model."""
    folder = Path(folder)
    description = {
        "format": 1,
        "architecture": dict(architecture),
        "training": dict(training),
        "vocabulary": vocabulary.to_dict(),
    }
    write_text(folder / "model.json", json.dumps(description, indent=1, ensure_ascii=False) + "\n")
    # The network's weights have the same names with and without an n-gram model.
    weights = {
        name.removeprefix("network."): tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if not (architecture.get("tie_weights") and name.endswith("output.weight"))
    }
    with atomic(folder / "model.safetensors") as temporary:
        temporary.write_bytes(save(weights))


def read_description(folder: str | Path) -> dict[str, Any]:
    """Read a trained model's `model.json`.

    Raises:
        CharlmError: It is missing, or not one of ours.
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
    return description


def load_model(
    folder: str | Path,
    *,
    engine: EngineName = "auto",
    precision: Precision = "float32",
    device: str | torch.device = "cpu",
) -> tuple[LanguageModel, Vocabulary]:
    """Load a trained model, ready to predict, and its vocabulary.

    Raises:
        CharlmError: A file is missing, damaged or foreign.
    """
    description = read_description(folder)
    path = Path(folder) / "model.safetensors"
    try:
        vocabulary = Vocabulary.from_dict(description["vocabulary"])
        architecture = description["architecture"]
        network = make_model(len(vocabulary), **architecture, engine=engine, precision=precision)
        weights = load_file(path)
        counts = {
            name.removeprefix("ngram."): weights.pop(name)
            for name in list(weights)
            if name.startswith("ngram.")
        }
        if architecture["tie_weights"]:
            for prefix in member_prefixes(architecture):
                weights[f"{prefix}output.weight"] = weights[f"{prefix}embedding.weight"]
        network.load_state_dict(weights)
        model: LanguageModel = network
        if architecture.get("ngram_order"):
            ngram = Ngram(len(vocabulary), counts)
            model = WithNgram(network, ngram, architecture["ngram_weight"])
    except FileNotFoundError:
        raise CharlmError(f"{path}: there is no such file; train the model again") from None
    except SafetensorError as error:
        raise CharlmError(f"{path}: damaged ({error}); train the model again") from None
    except OSError as error:
        raise CharlmError(f"{path}: {error.strerror or error}; train the model again") from None
    except (
        CharlmError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ):
        raise CharlmError(
            f"{path}: does not belong to the model.json beside it; train the model again"
        ) from None
    return model.to(device).eval(), vocabulary

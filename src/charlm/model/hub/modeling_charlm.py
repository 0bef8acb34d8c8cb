"""A model of charlm for the library transformers, in plain PyTorch.

`charlm export hub` copies this file and the modules that it imports beside the weights. It needs
PyTorch and NumPy, and not charlm.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from charlm.model.base import LanguageModel, State
from charlm.model.contexts import Contexts
from charlm.model.experts import Experts, expert_list
from charlm.model.gate import Gate
from charlm.model.hub.plain_network import PlainNetwork
from charlm.model.mixture import SUMMARIES, Mixture


class CharlmConfig(PretrainedConfig):
    """The architecture of a model: the content of `config.json`.

    Args:
        cell: `lstm` or `gru`.
        symbols: Number of symbols V. `vocab_size` is one more if the tokenizer has a symbol for the
            start of a text that the model never predicts.
        embedding_size: Width of the embedding.
        hidden_size: Width of the state.
        num_hidden_layers: Number of recurrent layers.
        members: Number of networks in the ensemble.
        mixture: The names of the `experts`, the `order` of the n-grams, and the type and the shape
            of each array of the `counts`; None for a network alone.
        end_of_document: The symbol that ends a document, or None.
        unknown_nats: Nats that `charlm score` adds to those of the unknown symbol for each
            character that the vocabulary lacks.
        kwargs: See `PretrainedConfig`.
    """

    model_type = "charlm"

    def __init__(
        self,
        cell: str = "lstm",
        symbols: int = 1,
        embedding_size: int = 1,
        hidden_size: int = 1,
        num_hidden_layers: int = 1,
        members: int = 1,
        mixture: dict[str, Any] | None = None,
        end_of_document: int | None = None,
        unknown_nats: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.cell = cell
        self.symbols = symbols
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.members = members
        self.mixture = mixture
        self.end_of_document = end_of_document
        self.unknown_nats = unknown_nats
        super().__init__(**kwargs)


@dataclass
class CharlmOutput(ModelOutput):
    """What the model returns.

    Attributes:
        loss: The mean nats of the labels.
        logits: Of the token after each one read, float32 of shape (batch, length, vocab_size).
        state: The state after the last token, to continue with.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    state: State | None = None


class Counts(nn.Module):
    """The arrays of one expert, before they are loaded."""

    def __init__(self, arrays: dict[str, tuple[str, list[int]]]) -> None:
        super().__init__()
        for name, (kind, shape) in arrays.items():
            self.register_buffer(name, torch.zeros(shape, dtype=getattr(torch, kind)))


class CharlmForCausalLM(PreTrainedModel, GenerationMixin):
    """A character language model: a network, and experts that count its training text."""

    config_class = CharlmConfig
    _is_stateful = True  # refuses assisted decoding, which would step back

    def __init__(self, config: CharlmConfig) -> None:
        super().__init__(config)
        self.network = PlainNetwork(
            config.cell,
            config.symbols,
            config.embedding_size,
            config.hidden_size,
            config.num_hidden_layers,
            config.members,
        )
        if config.mixture:
            counts = config.mixture["counts"]
            self.gate = Gate([0.0] * (1 + len(counts)), SUMMARIES + 2 * len(counts))
            self.counts = nn.ModuleDict({name: Counts(counts[name]) for name in counts})
            self.register_buffer("letters", torch.zeros(config.symbols, dtype=torch.int64))
        self._mixtures: dict[torch.device, Mixture] = {}
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the weights as the layers make them."""

    def language_model(self) -> LanguageModel:
        """Return the network, mixed with the experts if there are any.

        They are put together on first use, because transformers fills the arrays after `__init__`.
        """
        settings = self.config.mixture
        if not settings:
            return self.network
        device = self.network.device
        if device not in self._mixtures:
            end, symbols = self.config.end_of_document, self.config.symbols
            listed = expert_list(settings["experts"], settings["order"])
            arrays = {name: array.cpu() for name, array in self.counts.state_dict().items()}
            contexts = Contexts(settings["order"], self.letters, end, symbols)
            experts = Experts.from_arrays(contexts, listed, arrays).to(device)
            mixture = Mixture(self.network, experts)
            mixture.gate = self.gate
            self._mixtures[device] = mixture.eval()
        return self._mixtures[device]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        state: State | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> CharlmOutput:
        """Predict the token that follows each token.

        Args:
            input_ids: int64 of shape (batch, length). A text begins with the tokenizer's first
                token.
            attention_mask: Zero for padding, which is not read; shape (batch, length).
            labels: The tokens themselves; -100 for those whose prediction does not count.
            state: The state before the first token; None for a new text.
            logits_to_keep: Number of last positions whose logits are returned; 0 for all.
        """
        length = input_ids.shape[1]
        if attention_mask is None or bool(attention_mask[:, -length:].all()):
            logits, state = self._read(input_ids.T, state)
        else:
            logits, state = self._read_rows(input_ids, attention_mask[:, -length:].bool(), state)
        logits = logits.transpose(0, 1)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CharlmOutput(loss=loss, logits=logits[:, -logits_to_keep:], state=state)

    def _read(self, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Read tokens of shape (L, B); return logits (L, B, vocab_size), and the state after."""
        model = self.language_model()
        batch = tokens.shape[1]
        if self.config.vocab_size == self.config.symbols:
            return model(tokens, state)
        logits = []
        if state is None and bool((tokens[0] == self.config.symbols).all()):
            logits.append(model.initial_logits(batch)[None])
            state, tokens = model.initial_state(batch), tokens[1:]
        if len(tokens):
            following, state = model(tokens, state)
            logits.append(following)
        assert state is not None
        return functional.pad(torch.cat(logits), (0, 1), value=-torch.inf), state

    def _read_rows(
        self, input_ids: Tensor, mask: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        """Read rows one by one, without their padding, whose logits are zero."""
        logits = torch.zeros(*input_ids.T.shape, self.config.vocab_size, device=input_ids.device)
        states = []
        for row, (tokens, kept) in enumerate(zip(input_ids, mask, strict=True)):
            before = state and tuple(tensor[:, row : row + 1].contiguous() for tensor in state)
            found, after = self._read(tokens[kept][:, None], before)
            logits[kept, row] = found[:, 0]
            states.append(after)
        return logits, tuple(torch.cat(tensors, 1) for tensors in zip(*states, strict=True))

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, state: State | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return the arguments of the next call: after the first, only the newest token."""
        mask = kwargs.get("attention_mask")
        return {
            "input_ids": input_ids if state is None else input_ids[:, -1:],
            "attention_mask": mask,
            "state": state,
        }

    def _update_model_kwargs_for_generation(
        self, outputs: CharlmOutput, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        updated = super()._update_model_kwargs_for_generation(
            outputs, model_kwargs, *args, **kwargs
        )
        return {**updated, "state": outputs.state}

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def _beam_search(self, *_: Any, **__: Any) -> Tensor:
        raise ValueError("num_beams: beam search does not carry the state; leave it at 1")

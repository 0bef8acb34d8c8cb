"""An n-gram model alone, to compare a network or a mixture with."""

import torch
from torch import Tensor

from charlm.model.base import LanguageModel, State
from charlm.model.contexts import Contexts, ContextState, Reading
from charlm.model.experts import Experts, count_experts, expert_list
from charlm.model.kneser_ney import Integers
from charlm.text.vocabulary import Vocabulary


class NgramModel(LanguageModel):
    """Predicts what the longest n-gram of some experts predicts.

    Args:
        experts: The n-grams of all lengths.
    """

    def __init__(self, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.vocabulary_size = experts.contexts.vocabulary_size

    @classmethod
    def counted(cls, vocabulary: Vocabulary, tokens: Integers, order: int) -> "NgramModel":
        """Return the modified Kneser-Ney model of a text of shape (T,)."""
        contexts = Contexts(order, None, vocabulary.end_of_document, len(vocabulary))
        return cls(count_experts(contexts, expert_list((), order), tokens, budget=float("inf")))

    @property
    def device(self) -> torch.device:
        """The device of the counts."""
        return self.experts.table("ngram1").counts.device

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict the token that follows each token; see `LanguageModel.forward`."""
        before = ContextState(*(state or self.initial_state(tokens.shape[1])))
        reading, after = self.experts.contexts.read(tokens, before)
        return self._longest(reading, tokens.numel()).view(*tokens.shape, -1), after

    def initial_logits(self, batch_size: int) -> Tensor:
        """Return the logits of a stream's first token, float32 of shape (batch_size, V)."""
        contexts = self.experts.contexts
        reading = contexts.current(contexts.initial_state(batch_size))
        return self._longest(reading, batch_size)

    def _longest(self, reading: Reading, places: int) -> Tensor:
        no_others = torch.empty(places, 0, self.vocabulary_size, device=self.device)
        return self.experts.forward(reading, no_others).logits[:, self.experts.longest]

    def initial_state(self, batch_size: int) -> State:
        """Return the state before any token is read."""
        return self.experts.contexts.initial_state(batch_size)

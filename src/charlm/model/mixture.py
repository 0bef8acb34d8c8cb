"""A network and experts that predict together."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from charlm.model.base import LanguageModel, State
from charlm.model.contexts import ContextState, Reading
from charlm.model.experts import Experts, Opinions
from charlm.model.gate import Gate

SUMMARIES = 5
"""Features of the gate besides those of the experts; see `Mixture.opinions`."""


class Mixture(LanguageModel):
    """A network, and experts that were counted in its training text, weighed by a gate.

    The network generalizes; the experts remember what the text holds only once or twice. Before
    the gate is trained, the network and those experts that no other falls back on weigh the same.

    Args:
        network: The network.
        experts: The experts, of the same vocabulary.
    """

    def __init__(self, network: LanguageModel, experts: Experts) -> None:
        super().__init__()
        # Sensible weights even if the text is too short for the gate to learn much.
        fallbacks = {expert.general for expert in experts.experts.values()}
        first = [True, *(name not in fallbacks for name in experts.experts)]
        self.network = network
        self.experts = experts
        weights = [decides / sum(first) for decides in first]
        self.gate = Gate(weights, SUMMARIES + 2 * len(experts.experts))
        self.vocabulary_size = network.vocabulary_size

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.network.device

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict the token that follows each token; see `LanguageModel.forward`."""
        length, batch_size = tokens.shape
        at_a_time = self.experts.places // batch_size or 1
        logits = []
        for begin in range(0, length, at_a_time):
            opinions, state = self.opinions(tokens[begin : begin + at_a_time], state)
            logits.append(self.gate.forward(opinions))
        assert state is not None
        return torch.cat(logits).view(length, batch_size, -1), state

    def opinions(self, tokens: Tensor, state: State | None = None) -> tuple[Opinions, State]:
        """Return what the network, first, and the experts predict after each token.

        Args:
            tokens: int64 of shape (L, B).
            state: The state before the first token; None for the initial state.

        Returns:
            Opinions of N = L B places, with the gate's features, and the state after the tokens.
        """
        network_state, context_state = self._split(state, tokens.shape[1])
        logits, network_state = self.network(tokens, network_state)
        reading, context_state = self.experts.contexts.read(tokens, context_state)
        opinions = self._join(logits.flatten(0, 1), reading)
        return opinions, (*network_state, *context_state)

    def initial_logits(self, batch_size: int) -> Tensor:
        """Return the logits of a stream's first token, float32 of shape (batch_size, V)."""
        reading = self.experts.contexts.current(self.experts.contexts.initial_state(batch_size))
        return self.gate.forward(self._join(self.network.initial_logits(batch_size), reading))

    def initial_state(self, batch_size: int) -> State:
        """Return the state before any token is read."""
        context_state = self.experts.contexts.initial_state(batch_size)
        return (*self.network.initial_state(batch_size), *context_state)

    def stepper(self, batch_size: int, state: State | None = None) -> Callable[[Tensor], Tensor]:
        """Return a function that reads one token of each stream; see `LanguageModel.stepper`."""
        network_state, context_state = self._split(state, batch_size)
        network_step = self.network.stepper(batch_size, network_state)

        def step(tokens: Tensor) -> Tensor:
            nonlocal context_state
            reading, context_state = self.experts.contexts.read(tokens[None], context_state)
            return self.gate.forward(self._join(network_step(tokens), reading))

        return step

    def _split(self, state: State | None, batch_size: int) -> tuple[State | None, ContextState]:
        """Return the network's part of a state, and that of the contexts."""
        if state is None:
            return None, self.experts.contexts.initial_state(batch_size)
        *network_state, history, words = state
        return tuple(network_state), ContextState(history, words)

    def _join(self, logits: Tensor, reading: Reading) -> Opinions:
        """Return the opinions of the network and the experts.

        The features are the entropy and the largest log-probability of the network and of the
        longest n-gram, how far apart these two are, and what the experts know.
        """
        network = functional.log_softmax(logits, -1)
        together, known = self.experts(reading, network[:, None])
        ngram = together[:, 1 + self.experts.longest]
        both = torch.stack([network, ngram], 1)
        entropy = -(both.exp() * both).sum(-1)
        difference = (network.exp() - ngram.exp()).abs().sum(-1, keepdim=True)
        features = torch.cat([entropy, both.amax(-1), difference, known], 1)
        return Opinions(together, features)

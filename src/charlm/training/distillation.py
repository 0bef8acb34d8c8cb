"""Knowledge distillation: a model learns the predictions of another (Hinton et al. 2015)."""

import torch
from torch import Tensor

from charlm.model.base import State
from charlm.model.ensemble import Network


class Teacher:
    """A trained network whose predictions another one learns (arXiv:1503.02531).

    Args:
        network: The network, in evaluation mode.
        weight: Weight of its predictions in the targets.
    """

    def __init__(self, network: Network, weight: float) -> None:
        self.network = network
        self.weight = weight
        self.state: State | None = None

    @torch.no_grad()
    def distillation_targets(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mix the targets with the teacher's predictions and advance its state.

        Args:
            tokens: The tokens to read, int64 of shape (length, batch).
            targets: The token that follows each, of the same shape.

        Returns:
            Distributions over all symbols, float32 of shape (length, batch, V).
        """
        logits, self.state = self.network(tokens, self.state)
        mixture = logits.softmax(-1).mul_(self.weight)
        own_weight = mixture.new_full((*targets.shape, 1), 1 - self.weight)
        return mixture.scatter_add_(-1, targets.unsqueeze(-1), own_weight)

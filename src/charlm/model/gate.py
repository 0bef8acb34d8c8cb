"""The gate: weighs what several experts predict, place by place."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from charlm.model.experts import Opinions

HIDDEN = 32
"""Units of the hidden layer."""

LEAST_SCALE = 0.3
"""The least scale of a feature. Features that hardly vary, such as the logarithm of the length of
the counted text, still change when the experts are counted anew in a longer text."""


class Gate(nn.Module):
    """A log-linear mixture whose weights depend on what the experts know.

    With the probabilities p_k of K experts and features f of the place,

        p(w) ∝ product over k of p_k(w)^(a_k(f)),   a(f) = a_0 + A tanh(B f + b),

    a product of experts (Hinton 2002, doi:10.1162/089976602760128018) with the weights of a mixing
    network (Mahoney 2005, Florida Tech. CS-2005-16).

    Args:
        weights: The initial weight of each of the K experts.
        features: Number of features F.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, weights: Sequence[float], features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float32))
        self.register_buffer("scale", torch.ones(features, dtype=torch.float32))
        self.constant = nn.Parameter(torch.tensor(weights, dtype=torch.float32))
        self.hidden = nn.Linear(features, HIDDEN, dtype=torch.float32)
        self.output = nn.Linear(HIDDEN, len(weights), bias=False, dtype=torch.float32)
        nn.init.zeros_(self.output.weight)

    def standardize(self, features: Tensor) -> None:
        """Take the mean and the scale of the features from examples of shape (N, F)."""
        self.mean.copy_(features.mean(0))
        self.scale.copy_(features.std(0, correction=0).clamp(min=LEAST_SCALE))

    def forward(self, opinions: Opinions) -> Tensor:
        """Return the mixture's log-probabilities, float32 of shape (N, V)."""
        known = (opinions.features - self.mean) / self.scale
        weights = self.constant + self.output(torch.tanh(self.hidden(known)))
        return torch.log_softmax(torch.bmm(weights[:, None], opinions.logits)[:, 0], -1)

"""Averages of a model's weights over the steps of a training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of the parameters of a model by name."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@torch.no_grad()
def set_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into the parameters of a model."""
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])


class WeightAverage:
    """A running average of a model's weights, which often predicts better than the last weights.

    Args:
        model: The model.
        decay: Decay of an exponential moving average, which forgets faster at the beginning; None
            for the mean of all weights since the start (Polyak & Juditsky 1992).
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.model = model
        self.decay = decay
        self.count = 0
        self.weights = copy_weights(model)

    def next_rate(self) -> float:
        """Count an update, and return the weight that it gives to the current weights."""
        self.count += 1
        if self.decay is None:
            return 1 / self.count
        return 1 - min(self.decay, self.count / (9 + self.count))

    @torch.no_grad()
    def update(self, rate: float | Tensor) -> None:
        """Move the average towards the current weights of the model.

        Args:
            rate: The share of the way; see `next_rate`.
        """
        for name, parameter in self.model.named_parameters():
            self.weights[name].lerp_(parameter, rate)

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Put the average into the model for the duration of a `with` block."""
        own = copy_weights(self.model)
        set_weights(self.model, self.weights)
        try:
            yield
        finally:
            set_weights(self.model, own)

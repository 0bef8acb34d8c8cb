"""Optimizers, learning-rate schedules and averages of weights."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def make_optimizer(model: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Return the optimizer that `settings` (the section `training`) ask for.

    `rmsprop` is the notebook's update put right: a moving average of the *squared gradient* with
    decay 0.9, by whose root, plus 1e-7, the gradient is divided (Hinton 2012, lecture 6e).
    `ntasgd` is plain gradient descent, whose average is the trainer's matter. AdamW's weight decay
    is decoupled from the gradient (Loshchilov & Hutter 2019, arXiv:1711.05101), that of the others
    is added to it. Biases have none.
    """
    groups = [
        {
            "params": [parameter for parameter in model.parameters() if parameter.ndim > 1],
            "weight_decay": settings["weight_decay"],
        },
        {
            "params": [parameter for parameter in model.parameters() if parameter.ndim <= 1],
            "weight_decay": 0.0,
        },
    ]
    learning_rate = settings["learning_rate"]
    match settings["optimizer"]:
        case "adamw":
            return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=learning_rate, alpha=0.9, eps=1e-7)
        case "sgd":
            return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9)
        case _:
            return torch.optim.SGD(groups, lr=learning_rate)


def learning_rate_at(
    step: int, settings: Mapping[str, Any], *, steps: int | None, done: float = 0.0
) -> float:
    """Return the learning rate of `step`, counted from 0.

    A linear warm-up, then `cosine` (down to a hundredth; Loshchilov & Hutter 2017,
    arXiv:1608.03983), `step` (a tenth at 60 % of the way and again at 85 %) or `constant`.

    Args:
        step: The step, counted from 0.
        settings: The section `training`.
        steps: Number of all steps; None where a time limit ends the training.
        done: The fraction of the time limit that has passed, in that case.
    """
    highest: float = settings["learning_rate"]
    warmup: int = settings["warmup_steps"]
    if steps is not None:
        warmup = min(warmup, steps // 10)
        done = (step - warmup) / max(1, steps - warmup)
    if step < warmup:
        return highest * (step + 1) / warmup
    match settings["schedule"]:
        case "cosine":
            factor = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        case "step":
            factor = 1.0 if done < 0.6 else 0.1 if done < 0.85 else 0.01
        case _:
            factor = 1.0
    return highest * factor


class WeightAverage:
    """A running average of a model's weights, often better than the last of them.

    Args:
        model: The model whose weights to follow.
        decay: Of an exponential average, which forgets faster at the beginning; None for the mean
            of all weights since the start (Polyak & Juditsky 1992).
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.model = model
        self.decay = decay
        self.count = 0
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the model's weights of now."""
        self.count += 1
        rate = 1 / self.count
        if self.decay is not None:
            rate = 1 - min(self.decay, self.count / (9 + self.count))
        for name, parameter in self.model.named_parameters():
            self.weights[name].lerp_(parameter, rate)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the model while the block lasts."""
        own = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        set_weights(self.model, self.weights)
        try:
            yield
        finally:
            set_weights(self.model, own)


@torch.no_grad()
def set_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights`, by the names of parameters, into the model."""
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])

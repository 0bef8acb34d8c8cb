"""Optimizers and learning-rate schedules."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def make_optimizer(model: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Return the optimizer that `settings` (the section `training`) ask for.

    `rmsprop` is the notebook's update put right: a moving average of the *squared gradient* with
    decay 0.9, by whose root, plus 1e-7, the gradient is divided (Hinton 2012, lecture 6e).
    AdamW's weight decay is decoupled from the gradient (Loshchilov & Hutter 2019,
    arXiv:1711.05101), that of the others is added to it. Biases have none.
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
            return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99))
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=learning_rate, alpha=0.9, eps=1e-7)
        case _:
            return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9)


def learning_rate_at(step: int, steps: int, settings: Mapping[str, Any]) -> float:
    """Return the learning rate of `step`, counted from 0, out of `steps`.

    A linear warm-up, then `cosine` (down to a hundredth; Loshchilov & Hutter 2017,
    arXiv:1608.03983), `step` (a tenth at 60 % of the steps and again at 85 %) or `constant`.
    """
    highest: float = settings["learning_rate"]
    warmup: int = min(settings["warmup_steps"], steps // 10)
    if step < warmup:
        return highest * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    match settings["schedule"]:
        case "cosine":
            factor = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
        case "step":
            factor = 1.0 if done < 0.6 else 0.1 if done < 0.85 else 0.01
        case _:
            factor = 1.0
    return highest * factor

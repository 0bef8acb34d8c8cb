"""Optimizers, learning-rate schedules and averages of weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Optimizer:
    """The updates of weights; the interface is that of `torch.optim.Optimizer`.

    Those do the same, but making one imports all of PyTorch's compiler: seconds at each start.

    Args:
        kind: `adamw`, `rmsprop`, `sgd` (with momentum), or else plain gradient descent.
        groups: Parameters with a `weight_decay` each.
        learning_rate: That of the first step.
    """

    def __init__(self, kind: str, groups: list[dict[str, Any]], learning_rate: float) -> None:
        self.kind = kind
        self.param_groups = [{**group, "lr": learning_rate} for group in groups]
        self.state: dict[int, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient."""
        index = 0
        for group in self.param_groups:
            numbered = list(enumerate(group["params"], index))
            index += len(numbered)
            learned = [(number, p, p.grad) for number, p in numbered if p.grad is not None]
            if learned and self.kind == "adamw":
                self._adamw(learned, group)
            elif self.kind != "adamw":
                for number, parameter, gradient in learned:
                    decayed = gradient.add(parameter, alpha=group["weight_decay"])
                    self._descend(number, parameter, decayed, group["lr"])

    def _adamw(self, learned: Sequence[tuple[int, Tensor, Tensor]], group: dict[str, Any]) -> None:
        states = []
        for number, parameter, _ in learned:
            if number not in self.state:
                self.state[number] = {
                    "step": torch.zeros((), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
            states.append(self.state[number])
            states[-1]["step"] += 1
        _, parameters, gradients = zip(*learned, strict=True)
        torch._fused_adamw_(
            list(parameters),
            list(gradients),
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            lr=float(group["lr"]),
            beta1=0.9,
            beta2=0.99,
            weight_decay=group["weight_decay"],
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    def _descend(self, number: int, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        if self.kind == "rmsprop":
            if number not in self.state:
                self.state[number] = {"square_avg": torch.zeros_like(parameter)}
            squares = self.state[number]["square_avg"]
            squares.mul_(0.9).addcmul_(gradient, gradient, value=0.1)
            parameter.addcdiv_(gradient, squares.sqrt().add_(1e-7), value=-rate)
            return
        if self.kind == "sgd":
            if number in self.state:
                gradient = self.state[number]["momentum"].mul_(0.9).add_(gradient)
            else:
                self.state[number] = {"momentum": gradient}
        parameter.add_(gradient, alpha=-rate)


def make_optimizer(model: nn.Module, settings: Mapping[str, Any]) -> Optimizer:
    """Return the optimizer that `settings` (the section `training`) ask for.

    `rmsprop` is the notebook's update put right: a moving average of the *squared gradient* with
    decay 0.9, by whose root, plus 1e-7, the gradient is divided (Hinton 2012, lecture 6e).
    `ntasgd` is plain gradient descent, whose average is the trainer's matter. AdamW's weight decay
    is decoupled from the gradient (Loshchilov & Hutter 2019, arXiv:1711.05101), that of the others
    is added to it. Biases have none.
    """
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings["weight_decay"]},
        {"params": biases, "weight_decay": 0.0},
    ]
    return Optimizer(settings["optimizer"], groups, settings["learning_rate"])


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

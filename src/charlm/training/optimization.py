"""Optimizers.

They call the functions of `torch.optim`. Its classes do the same, but import PyTorch's compiler,
which takes seconds at each start.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from charlm.settings import OptimizerName

BUFFERS: Mapping[OptimizerName, tuple[str, ...]] = {
    "adamw": ("exp_avg", "exp_avg_sq"),
    "rmsprop": ("square_avg",),
    "sgd": ("momentum_buffer",),
    "ntasgd": (),
}
"""The buffers of each optimizer that have the shape of the parameters."""


@dataclass
class ParameterGroup:
    """Parameters with the same weight decay, and their buffers: one tensor per parameter."""

    parameters: list[Tensor]
    weight_decay: float
    buffers: dict[str, list[Tensor]]


class Optimizer:
    """Updates the parameters of a model by their gradients.

    - `adamw`: Adam with a weight decay that is decoupled from the gradient (Loshchilov & Hutter
      2019, arXiv:1711.05101).
    - `rmsprop`: divides the gradient by the root of a moving average of its square (Hinton 2012,
      lecture 6e).
    - `sgd`: gradient descent with momentum.
    - `ntasgd`: plain gradient descent. The trainer averages its weights.

    Biases have no weight decay.

    Args:
        name: The algorithm.
        model: The model, on its final device.
        weight_decay: Weight decay of the matrices.
    """

    def __init__(self, name: OptimizerName, model: nn.Module, weight_decay: float) -> None:
        self.name = name
        parameters = list(model.parameters())
        self.groups = [
            self._group([each for each in parameters if each.ndim > 1], weight_decay),
            self._group([each for each in parameters if each.ndim <= 1], 0.0),
        ]

    def _group(self, parameters: list[Tensor], weight_decay: float) -> ParameterGroup:
        buffers = {
            name: [torch.zeros_like(each, requires_grad=False) for each in parameters]
            for name in BUFFERS[self.name]
        }
        if self.name in ("adamw", "rmsprop"):
            buffers["step"] = [torch.zeros((), device=each.device) for each in parameters]
        return ParameterGroup(parameters, weight_decay, buffers)

    @torch.no_grad()
    def step(self, learning_rate: float | Tensor) -> None:
        """Update all parameters by their gradients.

        Args:
            learning_rate: The learning rate. If it is a tensor without dimensions, its number is
                read where the parameters are, so that the step can be part of a CUDA graph.
        """
        for group in self.groups:
            gradients = [each.grad for each in group.parameters if each.grad is not None]
            self._update(group, gradients, learning_rate)

    def _update(
        self, group: ParameterGroup, gradients: list[Tensor], learning_rate: float | Tensor
    ) -> None:
        buffers = group.buffers
        # Only these implementations read a learning rate from a tensor without waiting for it.
        as_tensor = isinstance(learning_rate, Tensor) or None
        match self.name:
            case "adamw":
                adamw(
                    group.parameters,
                    gradients,
                    buffers["exp_avg"],
                    buffers["exp_avg_sq"],
                    max_exp_avg_sqs=[],
                    state_steps=buffers["step"],
                    fused=True,
                    amsgrad=False,
                    beta1=0.9,
                    beta2=0.99,
                    lr=learning_rate,
                    weight_decay=group.weight_decay,
                    eps=1e-8,
                    maximize=False,
                )
            case "rmsprop":
                rmsprop(
                    group.parameters,
                    gradients,
                    buffers["square_avg"],
                    grad_avgs=[],
                    momentum_buffer_list=[],
                    state_steps=buffers["step"],
                    foreach=as_tensor,
                    capturable=bool(as_tensor),
                    lr=learning_rate,  # type: ignore[arg-type]
                    alpha=0.9,
                    eps=1e-7,
                    weight_decay=group.weight_decay,
                    momentum=0.0,
                    centered=False,
                )
            case "sgd" | "ntasgd":
                nothing: list[Tensor | None] = [None] * len(gradients)
                sgd(
                    group.parameters,
                    gradients,
                    [*buffers.get("momentum_buffer", nothing)],
                    fused=as_tensor,
                    weight_decay=group.weight_decay,
                    momentum=0.9 if self.name == "sgd" else 0.0,
                    lr=learning_rate,  # type: ignore[arg-type]
                    dampening=0.0,
                    nesterov=False,
                    maximize=False,
                )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the buffers by name."""
        return {
            f"{number}.{name}.{index}": buffer
            for number, group in enumerate(self.groups)
            for name, buffers in group.buffers.items()
            for index, buffer in enumerate(buffers)
        }

    def load_state_dict(self, buffers: Mapping[str, Tensor]) -> None:
        """Copy the buffers of a `state_dict`."""
        for name, buffer in self.state_dict().items():
            buffer.copy_(buffers[name])

"""Optimizers.

They call the functions of `torch.optim`. Its classes do the same, but import PyTorch's compiler,
which takes seconds at each start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from charlm.model.devices import has_fast_bfloat16
from charlm.recurrent.module import RecurrentModule
from charlm.settings import OptimizerName

BUFFERS: Mapping[OptimizerName, tuple[str, ...]] = {
    "muon": ("momentum_buffer",),
    "adamw": ("exp_avg", "exp_avg_sq"),
    "rmsprop": ("square_avg",),
    "sgd": ("momentum_buffer",),
    "ntasgd": (),
}
"""The buffers of each optimizer that have the shape of the parameters."""

MUON_MOMENTUM = 0.9

MUON_RATE = 2.5
"""The learning rate of Muon's matrices, as a multiple of that of the others."""

NEWTON_SCHULZ_STEPS = 5


@dataclass
class ParameterGroup:
    """Parameters with the same algorithm and weight decay.

    Attributes:
        algorithm: The algorithm.
        parameters: The parameters.
        weight_decay: Their weight decay.
        buffers: Tensors of the algorithm by name, one for each parameter.
        rows: Rows of each matrix that are a matrix of their own, for Muon.
    """

    algorithm: OptimizerName
    parameters: list[Tensor]
    weight_decay: float
    buffers: dict[str, list[Tensor]]
    rows: list[int]


class Optimizer:
    """Updates the parameters of a model by their gradients.

    - `muon`: updates each gate's matrices by their momentum, made orthogonal (Jordan et al. 2024,
      https://kellerjordan.github.io/posts/muon), and all other parameters as `adamw` does.
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
        parameters = list(model.parameters())
        rows = {}
        if name == "muon":
            layers = [each for each in model.modules() if isinstance(each, RecurrentModule)]
            rows = {
                weights: layer.hidden_size
                for layer in layers
                for weights in layer.parameters()
                if weights.ndim > 1
            }
        rest = [each for each in parameters if each not in rows]
        matrices = [each for each in rest if each.ndim > 1]
        vectors = [each for each in rest if each.ndim <= 1]
        algorithm: OptimizerName = "adamw" if name == "muon" else name
        self.groups = [_group(algorithm, matrices, weight_decay), _group(algorithm, vectors, 0.0)]
        if rows:
            self.groups.append(_group("muon", list(rows), weight_decay, list(rows.values())))

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
        match group.algorithm:
            case "muon":
                momenta = buffers["momentum_buffer"]
                for parts in zip(group.parameters, gradients, momenta, group.rows, strict=True):
                    _muon(*parts, learning_rate, group.weight_decay)
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
                    momentum=0.9 if group.algorithm == "sgd" else 0.0,
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


def _group(
    algorithm: OptimizerName,
    parameters: Sequence[Tensor],
    weight_decay: float,
    rows: Sequence[int] = (),
) -> ParameterGroup:
    buffers = {
        name: [torch.zeros_like(each, requires_grad=False) for each in parameters]
        for name in BUFFERS[algorithm]
    }
    if algorithm in ("adamw", "rmsprop"):
        buffers["step"] = [torch.zeros((), device=each.device) for each in parameters]
    return ParameterGroup(algorithm, [*parameters], weight_decay, buffers, list(rows))


def _muon(
    weights: Tensor,
    gradient: Tensor,
    momentum: Tensor,
    rows: int,
    learning_rate: float | Tensor,
    weight_decay: float,
) -> None:
    """Update matrices of `rows` rows each that stand below each other in `weights`."""
    momentum.mul_(MUON_MOMENTUM).add_(gradient)
    nesterov = gradient.add(momentum, alpha=MUON_MOMENTUM)
    shape = (-1, rows, weights.shape[1])
    update = orthogonalize(nesterov.reshape(shape)).reshape(weights.shape)
    scale = max(1.0, rows / weights.shape[1]) ** 0.5
    weights.mul_(1 - learning_rate * weight_decay)
    weights.sub_(update * (learning_rate * (MUON_RATE * scale)))


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return matrices with the same singular vectors, and singular values of about one.

    This is the Newton-Schulz iteration with the coefficients of Jordan et al. (2024), which bring
    the singular values between 0.7 and 1.2 soon, and no closer to one. It is computed in bfloat16
    where the processor supports that well.

    Args:
        matrices: Float32 of shape (number, rows, columns).
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if has_fast_bfloat16(x.device):
        x = x.bfloat16()
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = torch.baddbmm(
            x, torch.baddbmm(square, square, square, beta=-4.775, alpha=2.0315), x, beta=3.4445
        )
    x = x.to(matrices.dtype)
    return x.mT if is_tall else x

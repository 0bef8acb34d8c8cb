"""Optimizers against PyTorch's classes and their own equations."""

import copy
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from charlm.settings import OptimizerName
from charlm.training.optimization import Optimizer

NAMES: tuple[OptimizerName, ...] = ("adamw", "rmsprop", "sgd", "ntasgd")
Groups = list[dict[str, object]]
CLASSES: dict[OptimizerName, Callable[[Groups], torch.optim.Optimizer]] = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.99), fused=True),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.05, alpha=0.9, eps=1e-7),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9),
    "ntasgd": lambda groups: torch.optim.SGD(groups, lr=0.05),
}


@pytest.mark.parametrize("name", NAMES)
def test_updates_have_the_bits_of_pytorchs_classes(name: OptimizerName) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    peer_model = copy.deepcopy(model)
    optimizer = Optimizer(name, model, weight_decay=0.1)
    peer = CLASSES[name](
        [
            {"params": [p for p in peer_model.parameters() if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in peer_model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    for step in range(5):
        for group in peer.param_groups:
            group["lr"] = 0.05 / (step + 1)
        for own, other in zip(model.parameters(), peer_model.parameters(), strict=True):
            own.grad = torch.randn_like(own)
            other.grad = own.grad.clone()
        optimizer.step(0.05 / (step + 1))
        peer.step()
    for own, other in zip(model.parameters(), peer_model.parameters(), strict=True):
        assert torch.equal(own, other)


def test_rmsprop_divides_the_gradient_by_the_root_of_its_mean_square() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = Optimizer("rmsprop", model, weight_decay=0.0)
    weight, mean_square = 1.0, 0.0
    for gradient in (3.0, -2.0, 0.5):
        model.weight.grad = torch.tensor([[gradient]])
        optimizer.step(0.1)
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        weight -= 0.1 * gradient / (mean_square**0.5 + 1e-7)
        assert model.weight.item() == pytest.approx(weight, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_learns(name: OptimizerName) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = Optimizer(name, model, weight_decay=0.1)
    inputs = torch.randn(64, 3)
    targets = inputs.sum(1, keepdim=True)
    losses = []
    for _ in range(50):
        loss = (model(inputs) - targets).square().mean()
        model.zero_grad()
        loss.backward()
        optimizer.step(0.01)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_buffers_that_are_saved_and_loaded_continue_in_the_same_way(name: OptimizerName) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = Optimizer(name, model, weight_decay=0.1)
    gradients = [[torch.randn_like(each) for each in model.parameters()] for _ in range(4)]

    def update(optimizer: Optimizer, model: nn.Module, step: int) -> None:
        for parameter, gradient in zip(model.parameters(), gradients[step], strict=True):
            parameter.grad = gradient.clone()
        optimizer.step(0.1)

    update(optimizer, model, 0)
    update(optimizer, model, 1)
    other_model = copy.deepcopy(model)
    other = Optimizer(name, other_model, weight_decay=0.1)
    other.load_state_dict(optimizer.state_dict())
    for step in (2, 3):
        update(optimizer, model, step)
        update(other, other_model, step)
    assert torch.equal(model.weight, other_model.weight)
    assert torch.equal(model.bias, other_model.bias)


@pytest.mark.parametrize("name", NAMES)
def test_the_compiler_is_not_imported(name: OptimizerName) -> None:
    program = f"""
import sys, torch
from charlm.training.optimization import Optimizer
model = torch.nn.Linear(2, 2)
optimizer = Optimizer({name!r}, model, 0.1)
model(torch.ones(1, 2)).sum().backward()
torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
optimizer.step(0.1)
assert "torch._dynamo" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

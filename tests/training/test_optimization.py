"""Optimizers against PyTorch's classes and their own equations."""

import copy
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from charlm.recurrent import GRU, LSTM
from charlm.settings import OptimizerName
from charlm.training.optimization import MUON_RATE, Optimizer, orthogonalize

NAMES: tuple[OptimizerName, ...] = ("muon", "adamw", "rmsprop", "sgd", "ntasgd")
Groups = list[dict[str, object]]
CLASSES: dict[OptimizerName, Callable[[Groups], torch.optim.Optimizer]] = {
    # A model without recurrent layers has no matrices for Muon.
    "muon": lambda groups: torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.99), fused=True),
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


@pytest.mark.parametrize("layer", [LSTM, GRU])
def test_muon_updates_the_matrix_of_each_gate_as_pytorchs_class(layer: type[LSTM | GRU]) -> None:
    torch.manual_seed(0)
    model = layer(8, 24)
    gates = 4 if layer is LSTM else 3
    optimizer = Optimizer("muon", model, weight_decay=0.1)
    matrices = [each for each in model.parameters() if each.ndim > 1]
    blocks = [nn.Parameter(block.clone()) for each in matrices for block in each.detach().split(24)]
    assert len(blocks) == 2 * gates
    peer = torch.optim.Muon(blocks, momentum=0.9, weight_decay=0.0)
    for step in range(5):
        rate = 0.02 / (step + 1)
        gradients = [torch.randn_like(each) for each in matrices]
        for own, gradient in zip(matrices, gradients, strict=True):
            own.grad = gradient.clone()
        for vector in (each for each in model.parameters() if each.ndim == 1):
            vector.grad = torch.zeros_like(vector)
        parts = [block for each in gradients for block in each.split(24)]
        for block, part in zip(blocks, parts, strict=True):
            block.grad = part.clone()
            block.data *= 1 - rate * 0.1
        peer.param_groups[0]["lr"] = MUON_RATE * rate
        optimizer.step(rate)
        peer.step()
    updated = [block for each in matrices for block in each.detach().split(24)]
    for block, other in zip(updated, blocks, strict=True):
        torch.testing.assert_close(block, other.detach(), atol=4e-3, rtol=0)


@pytest.mark.parametrize("shape", [(2, 16, 16), (3, 32, 8), (1, 8, 32)])
def test_orthogonal_matrices_keep_their_singular_vectors(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    in_its_basis = left.mT @ orthogonalize(matrices) @ right.mT
    found = torch.diagonal(in_its_basis, dim1=1, dim2=2)
    well_conditioned = values > 0.1 * values.amax(1, keepdim=True)
    assert found[well_conditioned].min() > 0.6
    assert found.max() < 1.25
    rest = in_its_basis - torch.diag_embed(found)
    assert rest.abs().max() < 0.05


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

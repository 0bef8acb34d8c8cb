"""Optimizers against their equations, schedules against their shapes."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from charlm.training.optimization import WeightAverage, learning_rate_at, make_optimizer

SETTINGS = {
    "optimizer": "rmsprop",
    "learning_rate": 0.1,
    "weight_decay": 0.0,
    "warmup_steps": 10,
    "schedule": "cosine",
}


def test_rmsprop_divides_the_gradient_by_the_root_of_its_mean_square() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = make_optimizer(model, SETTINGS)
    weight, mean_square = 1.0, 0.0
    for gradient in (3.0, -2.0, 0.5):
        model.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        weight -= 0.1 * gradient / (mean_square**0.5 + 1e-7)
        assert model.weight.item() == pytest.approx(weight, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "sgd", "ntasgd"])
def test_every_optimizer_learns_and_leaves_biases_undecayed(optimizer: str) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    settings = SETTINGS | {"optimizer": optimizer, "learning_rate": 0.01, "weight_decay": 0.1}
    made = make_optimizer(model, settings)
    decay = {id(p): group["weight_decay"] for group in made.param_groups for p in group["params"]}
    assert decay == {id(model.weight): 0.1, id(model.bias): 0.0}
    inputs = torch.randn(64, 3)
    wanted = inputs.sum(1, keepdim=True)
    losses = []
    for _ in range(50):
        loss = (model(inputs) - wanted).square().mean()
        made.zero_grad()
        loss.backward()
        made.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


PEERS = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.99), fused=True),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.05, alpha=0.9, eps=1e-7),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9),
    "ntasgd": lambda groups: torch.optim.SGD(groups, lr=0.05),
}


@pytest.mark.parametrize("optimizer", PEERS)
def test_the_updates_are_pytorchs(optimizer: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    other = copy.deepcopy(model)
    settings = SETTINGS | {"optimizer": optimizer, "learning_rate": 0.05, "weight_decay": 0.1}
    own = make_optimizer(model, settings)
    groups = [
        {"params": [p for p in other.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in other.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    peer = PEERS[optimizer](groups)
    for step in range(5):
        for group in (*own.param_groups, *peer.param_groups):
            group["lr"] = 0.05 / (step + 1)
        for one, same in zip(model.parameters(), other.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            same.grad = one.grad.clone()
        own.step()
        peer.step()
    for one, same in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, same, rtol=1e-6, atol=1e-7)


def test_training_does_not_import_the_compiler() -> None:
    program = (
        "import sys, torch\n"
        "from charlm.training.optimization import make_optimizer\n"
        "model = torch.nn.Linear(2, 2)\n"
        "made = make_optimizer(model, {'optimizer': 'adamw', 'learning_rate': 0.1,"
        " 'weight_decay': 0.1})\n"
        "model(torch.ones(1, 2)).sum().backward()\n"
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
        "made.step()\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_schedules() -> None:
    rates = {
        schedule: [
            learning_rate_at(step, SETTINGS | {"schedule": schedule}, steps=100)
            for step in range(100)
        ]
        for schedule in ("cosine", "step", "constant")
    }
    for schedule, rate in rates.items():
        assert rate[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)]), schedule
        assert max(rate) == pytest.approx(0.1)
    assert rates["cosine"][10:] == sorted(rates["cosine"][10:], reverse=True)
    assert rates["cosine"][-1] < 0.0012
    assert set(rates["constant"][10:]) == {0.1}
    assert sorted({round(rate, 6) for rate in rates["step"][10:]}) == [0.001, 0.01, 0.1]


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("cosine", {0.0: 1.0, 1 / 3: 0.7525, 0.5: 0.505, 2 / 3: 0.2575, 1.0: 0.01}),
        ("step", {0.0: 1.0, 0.59: 1.0, 0.6: 0.1, 0.84: 0.1, 0.85: 0.01, 1.0: 0.01}),
        ("constant", {0.0: 1.0, 0.5: 1.0, 1.0: 1.0}),
    ],
)
def test_the_rates_of_a_schedule(schedule: str, factors: dict[float, float]) -> None:
    settings = SETTINGS | {"schedule": schedule, "warmup_steps": 100}
    for done, factor in factors.items():
        rate = pytest.approx(0.1 * factor)
        step = 100 + round(done * 900)
        assert learning_rate_at(step, settings, steps=1000) == rate, done
        assert learning_rate_at(step, settings, steps=None, done=done) == rate, done


def test_a_training_that_outlasts_its_minutes_stays_at_the_lowest_rate() -> None:
    assert learning_rate_at(200, SETTINGS, steps=None, done=1.5) == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("decay", "averages"),
    [
        # A tenth of the old is kept, then two elevenths, then three twelfths.
        (0.9, [9.1, 18.018182, 27.004545]),
        (0.15, [9.1, 18.365, 28.25475]),
        (None, [10.0, 15.0, 20.0]),
    ],
)
def test_the_average_of_weights(decay: float | None, averages: list[float]) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    average = WeightAverage(model, decay)
    for value, expected in zip((10.0, 20.0, 30.0), averages, strict=True):
        nn.init.constant_(model.weight, value)
        average.update()
        assert average.weights["weight"].item() == pytest.approx(expected, rel=1e-6)
    with average.in_place():
        assert model.weight.item() == pytest.approx(averages[-1], rel=1e-6)
    assert model.weight.item() == 30.0


def test_the_decay_of_an_average_is_reached_after_many_updates() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.9)
    for _ in range(200):
        average.update()
    nn.init.ones_(model.weight)
    average.update()
    assert average.weights["weight"].item() == pytest.approx(0.1)
    average.update()
    assert average.weights["weight"].item() == pytest.approx(0.19)


def test_the_warm_up_is_at_most_a_tenth_of_a_short_training() -> None:
    constant = SETTINGS | {"schedule": "constant"}
    assert learning_rate_at(0, constant, steps=5) == 0.1
    assert learning_rate_at(1, constant, steps=20) == 0.1

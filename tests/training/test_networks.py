"""The first weights of a training: random ones, or those of another model."""

from pathlib import Path

import pytest
import torch

from charlm.errors import CharlmError
from charlm.model.store import load_model
from charlm.settings import MixtureSettings
from charlm.training import networks
from charlm.training.mix_model import mix_model
from tests.training.small import new_trainer, run, settings, write_corpus

FROZEN = {"steps": 1, "learning_rate": 1e-12}


def test_training_starts_from_the_weights_of_another_model(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    first = run(tmp_path, "first", settings(steps=60, learning_rate=0.02))
    second = run(tmp_path, "second", settings(init_from=str(first), **FROZEN))
    before, after = (load_model(folder)[0].state_dict() for folder in (first, second))
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)


def test_a_model_of_another_architecture_to_start_from_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    first = run(tmp_path, "first", settings(steps=1))
    with pytest.raises(CharlmError, match="of another architecture"):
        run(tmp_path, "second", settings(init_from=str(first), hidden_size=17))


def test_only_the_network_of_a_mixture_is_used(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    alone = run(tmp_path, "alone", settings(steps=20))
    both = str(tmp_path / "both")
    mix_model(alone, tmp_path / "tokens", both, mixture=MixtureSettings(order=4), device="cpu")
    follower = run(tmp_path, "follower", settings(init_from=both, teacher=both, **FROZEN))
    before, after = (load_model(folder)[0].state_dict() for folder in (alone, follower))
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "copies"), [("muon", 3), ("adamw", 4), ("sgd", 3), ("ntasgd", 2)]
)
def test_a_model_that_does_not_fit_into_memory_is_refused(
    tmp_path: Path, optimizer: str, copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    how = settings(optimizer=optimizer)
    weights = sum(each.numel() for each in new_trainer(tmp_path, how).state.model.parameters())
    needed = 4 * copies * weights  # the weights, their gradients, the optimizer's buffers
    monkeypatch.setattr(networks, "available_memory", lambda _: needed)
    new_trainer(tmp_path, how)
    monkeypatch.setattr(networks, "available_memory", lambda _: needed - 1)
    with pytest.raises(CharlmError, match=rf"a model of {weights:,} weights .* lower hidden_size"):
        new_trainer(tmp_path, how)


def test_a_failed_allocation_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path)
    monkeypatch.setattr(networks, "available_memory", lambda _: None)
    with pytest.raises(CharlmError, match=r"\(hidden_size 10000000\) needs .* MB of memory; lower"):
        new_trainer(tmp_path, settings(hidden_size=10**7))

"""Mixing a trained network with experts: the files, and that each run writes the same bytes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.model.mixture import Mixture
from charlm.model.scoring import validation_loss
from charlm.model.store import load_model, read_description
from charlm.settings import MixtureSettings
from charlm.training.mix_model import mix_model
from tests.training.small import TEXT, outputs, run, settings, write_corpus

SETTINGS = MixtureSettings(order=6)


def mixed(folder: Path, network: Path, name: str, mixture: MixtureSettings | None) -> Path:
    mix_model(network, folder / "tokens", folder / name, mixture=mixture, device="cpu")
    return folder / name


def write_test_split(folder: Path) -> None:
    """Give the corpus a test split: the validation split once more."""
    for ending in ("npy", "documents.parquet"):
        validation = (folder / f"tokens/validation.{ending}").read_bytes()
        (folder / f"tokens/test.{ending}").write_bytes(validation)


@pytest.mark.parametrize("source", ["validation", "train_head"])
def test_a_mixture_predicts_better_than_its_network(tmp_path: Path, source: str) -> None:
    write_corpus(tmp_path, validation=TEXT[:2200])
    if source == "validation":
        write_test_split(tmp_path)
    network = run(tmp_path, "network", settings(steps=20), mixed=True)
    first, second = (mixed(tmp_path, network, name, SETTINGS) for name in "ab")
    assert outputs(first) == outputs(second)
    assert set(outputs(first)) == {"model.json", "model.safetensors", "history.csv"}
    assert (first / "history.csv").read_bytes() == (network / "history.csv").read_bytes()
    alone, _ = load_model(network)
    model, _ = load_model(first)
    assert isinstance(model, Mixture)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, alone.state_dict()[name])
    tokens = np.load(tmp_path / "tokens/validation.npy")[:-1]
    losses = validation_loss(model, tokens), validation_loss(alone, tokens)
    assert losses[0] is not None
    assert losses[1] is not None
    assert losses[0] < losses[1]
    description = json.loads((first / "model.json").read_text())
    assert description["training"].pop("gate_learned_on") == source
    assert description["training"] == json.loads((network / "model.json").read_text())["training"]
    assert read_description(first).architecture.mixture == SETTINGS


def test_the_experts_have_counted_all_of_the_training_text(tmp_path: Path) -> None:
    write_corpus(tmp_path, [TEXT, "zzzz zzzz"])
    network = run(tmp_path, "network", settings(), mixed=True)
    model, vocabulary = load_model(mixed(tmp_path, network, "m", SETTINGS))
    assert isinstance(model, Mixture)
    table = model.experts.table("ngram1")
    assert vocabulary.symbols.index("z") in table.symbols.tolist()
    counted = model.experts.table("ngram6").counts.sum()
    assert counted == len(np.load(tmp_path / "tokens/train.npy"))


def test_without_a_mixture_the_network_is_the_model(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    network = run(tmp_path, "network", settings())
    model = mixed(tmp_path, network, "m", None)
    assert outputs(model)["model.safetensors"] == outputs(network)["model.safetensors"]
    assert read_description(model).architecture == read_description(network).architecture
    assert json.loads((model / "model.json").read_text())["training"]["gate_learned_on"] is None


def test_the_time_of_mixing_is_a_part_of_the_training_time(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    network = run(tmp_path, "network", settings())
    before, after = (
        json.loads((folder / "timing.json").read_text())
        for folder in (network, mixed(tmp_path, network, "m", SETTINGS))
    )
    assert after["seconds"] > before["seconds"]
    assert after["characters_per_second"] == before["characters_per_second"]

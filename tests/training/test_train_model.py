"""Trainings from end to end: the files they write, and that these depend on the settings alone."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.errors import CharlmError
from charlm.model.scoring import validation_loss
from charlm.model.store import load_model
from charlm.text.vocabulary import Vocabulary
from charlm.training.gating import split_gate_text
from tests.training.small import outputs, run, settings, write_corpus, write_tokens


def curve(model: Path) -> list[float]:
    """Return the validation scores of a learning curve."""
    with (model / "history.csv").open() as file:
        return [float(row["validation_bits_per_character"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_model_learns_and_each_run_writes_the_same_bytes(tmp_path: Path, cell: str) -> None:
    write_corpus(tmp_path)
    arguments = settings(cell=cell, steps=60, learning_rate=0.05, output_dropout=0.1)
    first, second = (run(tmp_path, name, arguments) for name in "ab")
    assert outputs(first) == outputs(second)
    files = {"model.json", "model.safetensors", "history.csv", "learning_samples.json"}
    assert set(outputs(first)) == files
    with (first / "history.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(6, 61, 6))
    losses = curve(first)
    assert losses[-1] < 0.75 * losses[0]
    assert not (tmp_path / "checkpoints").exists()
    assert json.loads((first / "timing.json").read_text())["characters_per_second"] > 0


def test_the_number_of_threads_does_not_change_the_bytes(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    arguments = settings(hidden_size=65, batch_size=17, steps=6)
    models = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            models.append(outputs(run(tmp_path, f"threads{threads}", arguments)))
    finally:
        torch.set_num_threads(before)
    assert models[0] == models[1]


@pytest.mark.parametrize(("one", "same"), [(None, 2), (12, 20)])
def test_intervals_with_the_same_validations_write_the_same_files(
    tmp_path: Path, one: int | None, same: int
) -> None:
    write_corpus(tmp_path)
    models = [run(tmp_path, str(every), settings(validate_every=every)) for every in (one, same)]
    assert outputs(models[0]) == outputs(models[1])


def test_model_json_records_all_settings_as_they_were_resolved(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    model = run(tmp_path, "m", settings(precision="float32", engine="torch"))
    description = json.loads((model / "model.json").read_text())
    assert description["architecture"]["hidden_size"] == 16
    training = description["training"]
    assert (training["steps"], training["validate_every"]) == (12, 2)
    assert (training["device"], training["engine"]) == ("cpu", "torch")
    assert "checkpoint_every" not in training


def test_the_network_of_a_mixture_does_not_read_what_its_gate_learns_on(tmp_path: Path) -> None:
    write_corpus(tmp_path)  # without a test split, so that the gate learns on the training text
    train = np.load(tmp_path / "tokens/train.npy")
    mixed = outputs(run(tmp_path, "mixed", settings(steps=70), mixed=True))
    assert mixed != outputs(run(tmp_path, "alone", settings(steps=70)))
    vocabulary = Vocabulary.load(tmp_path / "vocabulary.json")
    unseen = len(split_gate_text(tmp_path / "tokens", vocabulary).gate)
    train[: unseen - 1] = train[: unseen - 1][::-1]
    write_tokens(tmp_path, "train", train)
    assert outputs(run(tmp_path, "reversed", settings(steps=70), mixed=True)) == mixed
    train[unseen + 190 : unseen + 200] = train[0]
    write_tokens(tmp_path, "train", train)
    assert outputs(run(tmp_path, "changed", settings(steps=70), mixed=True)) != mixed


def test_the_best_weights_are_saved_and_patience_ends_the_training(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    how = {"learning_rate": 0.05, "validate_every": 2, "schedule": "constant", "keep": "best"}
    folder = run(tmp_path, "m", settings(steps=400, patience=4, **how))
    losses = curve(folder)
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 4 < 200
    description = json.loads((folder / "model.json").read_text())
    assert description["training"]["steps"] == 2 * len(losses)
    model, _ = load_model(folder)
    nats = validation_loss(model, np.load(tmp_path / "tokens/validation.npy")[:-1])
    assert nats is not None
    assert nats / np.log(2) == pytest.approx(losses[best], abs=0.02)


def test_the_best_weights_need_a_validation_text(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    write_tokens(tmp_path, "validation", np.zeros(0, np.uint8))
    with pytest.raises(CharlmError, match="need validation text"):
        run(tmp_path, "m", settings(keep="best"))
    assert run(tmp_path, "m", settings()).exists()


def test_a_training_of_minutes_ends_in_time_and_warns_that_it_cannot_be_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    model = run(tmp_path, "m", settings(steps=None, minutes=0.02))
    assert "a training of 0.02 minutes cannot be repeated" in caplog.text
    assert json.loads((model / "model.json").read_text())["training"]["steps"] >= 1
    assert json.loads((model / "timing.json").read_text())["seconds"] < 30


def test_a_text_that_is_too_short_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    write_tokens(tmp_path, "train", np.zeros(1, np.uint8))
    with pytest.raises(CharlmError, match="too few to train on"):
        run(tmp_path, "m", settings())

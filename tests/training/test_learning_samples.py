"""The samples that are drawn at each validation."""

from pathlib import Path

import pytest
import torch

from charlm.checksums import read_json
from charlm.errors import CharlmError
from charlm.text.symbols import Unit
from charlm.training.learning_samples import LearningSamples, draw_learning_samples
from tests.training.small import new_trainer, outputs, run, settings, stop_after, write_corpus

DROPOUTS = {"output_dropout": 0.2, "weight_dropout": 0.2, "average": 0.9, "learning_rate": 0.05}


@pytest.mark.parametrize("unit", ["character", "byte"])
def test_each_validation_draws_the_same_three_temperatures(tmp_path: Path, unit: Unit) -> None:
    write_corpus(tmp_path, unit=unit)
    model = run(tmp_path, "m", settings(steps=60, learning_rate=0.05, sample_while_training=30))
    samples = read_json(model / "learning_samples.json", LearningSamples)["samples"]
    assert [sample["step"] for sample in samples[::3]] == list(range(6, 61, 6))
    assert [sample["temperature"] for sample in samples] == [0.5, 0.8, 1.0] * 10
    assert 0 < max(len(sample["text"]) for sample in samples) <= 30
    assert samples[0]["text"] != samples[-3]["text"], "it has learned something in between"


def test_samples_do_not_disturb_the_training(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    with_samples, without = (
        outputs(run(tmp_path, str(length), settings(sample_while_training=length, **DROPOUTS)))
        for length in (150, 0)
    )
    for name in ("model.safetensors", "history.csv"):
        assert with_samples[name] == without[name], name
    assert read_json(tmp_path / "0/learning_samples.json", LearningSamples) == {"samples": []}


def test_random_numbers_weights_and_mode_stay_as_they_are(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    trainer = new_trainer(tmp_path, settings(output_dropout=0.5))
    model, vocabulary = trainer.state.model.train(), trainer.vocabulary
    before = (
        torch.get_rng_state(),
        {name: each.clone() for name, each in model.state_dict().items()},
    )
    first, second = (draw_learning_samples(model, vocabulary, step=1, length=9) for _ in range(2))
    assert first == second, "drawn without dropout"
    assert model.training
    assert torch.equal(torch.get_rng_state(), before[0])
    assert all(torch.equal(each, before[1][name]) for name, each in model.state_dict().items())


def test_a_resumed_training_has_the_samples_from_before(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    whole = run(tmp_path, "whole", settings(steps=40))
    stop_after(tmp_path, "m", settings(steps=40), steps=23)
    resumed = run(tmp_path, "m", settings(steps=40))
    assert outputs(resumed) == outputs(whole)
    assert len(read_json(resumed / "learning_samples.json", LearningSamples)["samples"]) == 3 * 10


def test_nothing_is_drawn_from_weights_that_are_not_finite(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    trainer = new_trainer(tmp_path, settings())
    with torch.no_grad():
        trainer.state.model.members[0].output.bias.fill_(torch.nan)
    with pytest.raises(CharlmError, match="the weights are not finite at step 0; lower"):
        trainer.validate()

"""The training loop: a step, a validation, and losses that are not finite."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils import parameters_to_vector

from charlm.errors import CharlmError
from charlm.model.store import load_model
from tests.training.small import checkpoints, new_trainer, run, settings, steps_of, write_corpus


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("clip_norm", [0.01, 1e6, None])
def test_the_gradient_of_each_member_is_clipped_to_the_norm(
    tmp_path: Path, members: int, clip_norm: float | None
) -> None:
    write_corpus(tmp_path)
    plain = {"optimizer": "ntasgd", "schedule": "constant", "warmup_steps": 0, "weight_decay": 0.0}
    how = {"learning_rate": 0.5, "precision": "float32", **plain}
    updates = []
    for limit in (clip_norm, None):
        trainer = new_trainer(tmp_path, settings(members=members, clip_norm=limit, **how))
        networks = trainer.state.model.members
        before = [parameters_to_vector(each.parameters()).detach() for each in networks]
        trainer.advance()
        after = [parameters_to_vector(each.parameters()).detach() for each in networks]
        updates.append([new - old for old, new in zip(before, after, strict=True)])
    for clipped, whole in zip(*updates, strict=True):
        norm = float(whole.norm()) / 0.5
        assert 0.01 < norm < 1e6
        share = 1.0 if clip_norm is None else min(1.0, clip_norm / norm)
        torch.testing.assert_close(clipped, share * whole, rtol=1e-3, atol=1e-6)


def test_the_average_of_the_weights_is_saved(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    how = {"steps": 40, "learning_rate": 0.05, "schedule": "constant", "validate_every": 40}
    last, averaged = (
        load_model(run(tmp_path, str(average), settings(average=average, **how)))[0].state_dict()
        for average in (None, 0.9)
    )
    assert all((last[name] != averaged[name]).any() for name in last)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_average_has_the_decay_of_the_settings(tmp_path: Path, keep: str) -> None:
    write_corpus(tmp_path)
    how = {"average": 0.15, "learning_rate": 0.05, "warmup_steps": 0, "keep": keep}
    trainer = new_trainer(tmp_path, settings(validate_every=6, **how))
    model = trainer.state.model
    average = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for count in range(1, 7):
        trainer.advance()
        decay = min(0.15, count / (9 + count))  # 1/10, 2/11 and so on at the beginning
        for name, parameter in model.named_parameters():
            average[name] = decay * average[name] + (1 - decay) * parameter.detach()
    trainer.validate()
    trainer.state.use_final_weights()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, average[name], rtol=1e-5, atol=1e-6)


def test_ntasgd_averages_once_the_loss_no_longer_falls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    how = {"optimizer": "ntasgd", "learning_rate": 9.0, "schedule": "constant"}
    model = run(tmp_path, "m", settings(steps=60, validate_every=2, **how))
    with (model / "history.csv").open() as file:
        losses = [float(row["validation_bits_per_character"]) for row in csv.DictReader(file)]

    def start(interval: int) -> int:
        """Return the step of the first loss above one of more than `interval` losses before."""
        return 2 + 2 * next(
            number
            for number, loss in enumerate(losses)
            if loss > min(losses[: max(0, number - interval)], default=np.inf)
        )

    assert f"averaging the weights from step {start(5)} on" in caplog.text
    assert len({start(interval) for interval in (0, 4, 5)}) > 1


@pytest.mark.parametrize(("schedule", "factor"), [("cosine", 0.505), ("step", 1.0)])
def test_the_learning_rate_of_a_training_of_minutes_follows_the_clock(
    tmp_path: Path, schedule: str, factor: float
) -> None:
    write_corpus(tmp_path)
    how = {"steps": None, "minutes": 1e5, "warmup_steps": 0, "schedule": schedule}
    for share, expected in ((0.5, factor), (2.0, 0.01)):
        trainer = new_trainer(tmp_path, settings(learning_rate=0.004, **how))
        snapshot = trainer.state.snapshot(trainer.processes)
        snapshot.record["seconds"] = share * 60 * 1e5
        trainer.state.restore(snapshot, trainer.processes)
        trainer.advance()
        assert trainer.state.learning_rate == pytest.approx(0.004 * expected, rel=1e-4)


def test_a_loss_that_is_not_finite_ends_the_training_with_one_line(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    wild = settings(learning_rate=1e38, optimizer="sgd", clip_norm=None, schedule="constant")
    with pytest.raises(CharlmError, match=r"the loss is not finite at step \d+; lower"):
        run(tmp_path, "m", wild)
    assert not (tmp_path / "m" / "model.safetensors").exists()


def test_the_checkpoint_before_a_loss_that_is_not_finite_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    how = {"optimizer": "sgd", "clip_norm": None, "schedule": "constant", "checkpoint_every": 1}
    wild = settings(learning_rate=1e9, steps=400, cell="gru", **how)
    messages = []
    for _ in range(2):
        with pytest.raises(CharlmError, match=r"not finite at step \d+; lower") as error:
            run(tmp_path, "m", wild)
        messages.append(str(error.value))
    assert messages[0] == messages[1], "the second run resumes and ends at the same step"
    kept = checkpoints(tmp_path)
    assert kept
    for path in kept:
        assert all(tensor.isfinite().all() for tensor in load_file(path).values())
    assert f"resumed from step {steps_of(kept)[-1]}" in caplog.text

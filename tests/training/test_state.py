"""A training that was stopped and resumed ends in the bytes of one that was not."""

import signal
from pathlib import Path

import pytest
import torch

from tests.training.small import new_trainer, outputs, run, settings, stop_after, write_corpus


@pytest.mark.parametrize(
    "how",
    [
        {"optimizer": "adamw", "average": 0.9, "weight_dropout": 0.1},
        {"optimizer": "adamw", "cell": "gru", "keep": "best", "validate_every": 1},
        {"optimizer": "rmsprop", "cell": "gru", "members": 2},
        {"optimizer": "sgd", "tie_weights": True, "embedding_size": 16},
        {"optimizer": "ntasgd", "learning_rate": 9.0, "validate_every": 1, "steps": 20},
    ],
    ids=lambda how: how["optimizer"],
)
def test_a_resumed_training_ends_in_the_same_bytes(
    tmp_path: Path, how: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    arguments = settings(**{"num_layers": 2, "layer_dropout": 0.2, "embedding_dropout": 0.1} | how)
    whole = run(tmp_path, "whole", arguments)
    stopped = stop_after(tmp_path, "stopped", arguments, steps=7)
    assert stopped == 128 + signal.SIGTERM
    caplog.set_level("INFO")
    resumed = run(tmp_path, "stopped", arguments)
    assert "resumed from step " in caplog.text
    assert outputs(resumed) == outputs(whole)


def test_a_resumed_teacher_continues_at_the_same_place_of_the_text(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    teacher = run(tmp_path, "teacher", settings(cell="gru", steps=20))
    arguments = settings(teacher=str(teacher), output_dropout=0.1)
    whole = run(tmp_path, "whole", arguments)
    assert stop_after(tmp_path, "stopped", arguments, steps=7) == 128 + signal.SIGTERM
    assert outputs(run(tmp_path, "stopped", arguments)) == outputs(whole)


@pytest.mark.parametrize("steps", [0, 3])
def test_a_snapshot_restores_everything(tmp_path: Path, steps: int) -> None:
    write_corpus(tmp_path)
    teacher = str(run(tmp_path, "teacher", settings(steps=2)))
    how = settings(teacher=teacher, average=0.9, keep="best", validate_every=2)
    one, other = (new_trainer(tmp_path, how) for _ in range(2))
    for _ in range(steps):
        one.advance()
        if one.validation_is_due:
            one.validate()
    snapshot = one.state.snapshot(one.processes)
    other.state.restore(snapshot, other.processes)
    again = other.state.snapshot(other.processes)
    assert again.tensors.keys() == snapshot.tensors.keys()
    for name, tensor in snapshot.tensors.items():
        assert torch.equal(again.tensors[name], tensor), name
    seconds = snapshot.record["seconds"]
    assert again.record == {**snapshot.record, "seconds": pytest.approx(seconds, abs=10)}
    parts = {name.split(".")[0] for name in snapshot.tensors}
    always = {"model", "optimizer", "average", "loss_sum"}
    assert parts == always | ({"recurrent", "teacher", "best"} if steps else set())

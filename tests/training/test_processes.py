"""Two processes that share a batch train the model that one would train."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from charlm.errors import CharlmError
from tests.training.test_trainer import outputs, run, settings, write_corpus

ROOT = Path(__file__).parent.parent.parent
BATCH = {"batch_size": 4, "steps": 12, "validate_every": 4, "precision": "float32"}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_two_processes_train_what_one_would(tmp_path: Path, cell: str) -> None:
    write_corpus(tmp_path)
    one, two = (
        run(tmp_path, f"{count}", settings(cell=cell, processes=count, **BATCH)) for count in (1, 2)
    )
    wanted, made = (load_file(folder / "model.safetensors") for folder in (one, two))
    for name, tensor in wanted.items():
        torch.testing.assert_close(made[name], tensor, rtol=1e-4, atol=1e-5)
    curves = [(folder / "history.csv").read_text().splitlines() for folder in (one, two)]
    assert len(curves[0]) == len(curves[1]) == 4


def test_two_processes_learn_from_a_teacher_as_one_would(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    teacher = str(run(tmp_path, "teacher", settings(steps=20)))
    one, two = (
        run(tmp_path, f"{count}", settings(teacher=teacher, processes=count, **BATCH))
        for count in (1, 2)
    )
    wanted, made = (load_file(folder / "model.safetensors") for folder in (one, two))
    for name, tensor in wanted.items():
        torch.testing.assert_close(made[name], tensor, rtol=1e-4, atol=1e-5)


def test_two_processes_stop_and_go_on_to_the_same_bytes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    teacher = str(run(tmp_path, "teacher", settings(steps=20)))
    long = {**BATCH, "steps": 600, "validate_every": 300, "checkpoint_every": 20, "processes": 2}
    long |= {"teacher": teacher}
    whole = run(tmp_path, "whole", settings(**long))
    program = (
        "from pathlib import Path\n"
        "from tests.training.test_trainer import run, settings\n"
        f"run(Path({str(tmp_path)!r}), 'stopped', settings(**{long!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "checkpoints/stopped").glob("step-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == 128 + signal.SIGTERM
    assert list((tmp_path / "checkpoints/stopped").glob("step-*"))
    caplog.set_level("INFO")
    assert outputs(run(tmp_path, "stopped", settings(**long))) == outputs(whole)
    assert "resumed from step" in caplog.text
    assert json.loads((whole / "model.json").read_text())["training"]["processes"] == 2


def test_a_batch_that_cannot_be_shared_is_refused_in_one_line(tmp_path: Path) -> None:
    write_corpus(tmp_path)  # a text of 4,140 symbols, too short for a batch of four such sequences
    with pytest.raises(CharlmError, match="3 streams cannot be shared evenly among 2 processes"):
        run(tmp_path, "m", settings(batch_size=4, sequence_length=1300, processes=2))


def test_processes_that_hosts_cannot_share_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    monkeypatch.setenv("PET_NNODES", "3")
    with pytest.raises(CharlmError, match="2 cannot be shared evenly among 3 hosts"):
        run(tmp_path, "m", settings(processes=2))

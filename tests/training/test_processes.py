"""Two processes that share a batch train the same model as one process."""

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
from tests.conftest import ROOT
from tests.training.small import checkpoints, outputs, run, settings, write_corpus

BATCH: dict[str, object] = {
    "batch_size": 4,
    "steps": 12,
    "validate_every": 4,
    "precision": "float32",
    "optimizer": "adamw",  # Muon amplifies differences in the last bits of gradients
}


def assert_same_weights(one: Path, two: Path) -> None:
    expected, weights = (load_file(folder / "model.safetensors") for folder in (one, two))
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_two_processes_train_the_model_of_one(tmp_path: Path, cell: str) -> None:
    write_corpus(tmp_path)
    one, two = (
        run(tmp_path, f"{count}", settings(cell=cell, processes=count, **BATCH)) for count in (1, 2)
    )
    assert_same_weights(one, two)
    curves = [(folder / "history.csv").read_text().splitlines() for folder in (one, two)]
    assert len(curves[0]) == len(curves[1]) == 4


def test_two_processes_learn_from_a_teacher_like_one(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    teacher = str(run(tmp_path, "teacher", settings(steps=20)))
    one, two = (
        run(tmp_path, f"{count}", settings(teacher=teacher, processes=count, **BATCH))
        for count in (1, 2)
    )
    assert_same_weights(one, two)


def test_two_processes_that_were_stopped_end_in_the_same_bytes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    teacher = str(run(tmp_path, "teacher", settings(steps=20)))
    long = BATCH | {"steps": 600, "validate_every": 300, "checkpoint_every": 20}
    long |= {"processes": 2, "teacher": teacher}
    whole = run(tmp_path, "whole", settings(**long))
    program = (
        "from pathlib import Path\n"
        "from tests.training.small import run, settings\n"
        f"run(Path({str(tmp_path)!r}), 'stopped', settings(**{long!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    deadline = time.monotonic() + 120
    while not checkpoints(tmp_path, "stopped"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == 128 + signal.SIGTERM
    assert checkpoints(tmp_path, "stopped")
    caplog.set_level("INFO")
    assert outputs(run(tmp_path, "stopped", settings(**long))) == outputs(whole)
    assert "resumed from step" in caplog.text
    assert json.loads((whole / "model.json").read_text())["training"]["processes"] == 2


def test_a_batch_that_processes_cannot_share_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path)  # 4,140 tokens, too few for four sequences of 1,300
    with pytest.raises(CharlmError, match="3 streams cannot be shared evenly among 2 processes"):
        run(tmp_path, "m", settings(batch_size=4, sequence_length=1300, processes=2))


def test_processes_that_hosts_cannot_share_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    monkeypatch.setenv("PET_NNODES", "3")
    with pytest.raises(CharlmError, match="2 cannot be shared evenly among 3 hosts"):
        run(tmp_path, "m", settings(processes=2))

"""A training that is killed at any moment resumes bit for bit; with real processes and signals."""

import logging
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.conftest import TINY, Checkout
from tests.training.small import checkpoints, outputs, run, settings, write_corpus

LONG: dict[str, object] = {
    "steps": 1500,
    "checkpoint_every": 25,
    "hidden_size": 24,
    "batch_size": 8,
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP)


def train_and_log(folder: Path) -> None:
    logging.basicConfig(filename=folder / "log", level=logging.INFO, force=True)
    run(folder, "killed", settings(**LONG))


def start(folder: Path) -> BaseProcess:
    """Start a training in a new process, with an empty log."""
    (folder / "log").write_text("")
    # Forked from a process that has imported PyTorch, which takes seconds each time.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["charlm.training.train_model"])
    process = processes.Process(target=train_and_log, args=(folder,))
    process.start()
    return process


@pytest.mark.parametrize("kills", [8, pytest.param(20, marks=pytest.mark.full)])
def test_killed_at_random_moments(tmp_path: Path, kills: int) -> None:
    write_corpus(tmp_path)
    whole = run(tmp_path, "whole", settings(**LONG))
    chance = random.Random(0)
    resumed = 0
    for kill in range(kills):
        process = start(tmp_path)
        deadline = time.monotonic() + 60
        # Not before it trains: the interesting moments are those of steps and checkpoints.
        before = set(checkpoints(tmp_path, "killed"))
        while (
            process.is_alive()
            and set(checkpoints(tmp_path, "killed")) <= before
            and time.monotonic() < deadline
        ):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.15))
        with suppress(ProcessLookupError):
            os.kill(process.pid or 0, SIGNALS[kill % 4])
        process.join()
        resumed += "resumed from step" in (tmp_path / "log").read_text()
        if process.exitcode == 0:
            break
        asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        assert process.exitcode in (-signal.SIGKILL, *(128 + number for number in asked))
    assert kill >= kills // 2, "the training ended too soon to be killed often"
    assert resumed >= kill - 1
    start(tmp_path).join()
    assert outputs(tmp_path / "killed") == outputs(whole)


def trainings(group: int) -> list[int]:
    """Return the processes of a process group that train a model."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"train_model.py" in (place / "cmdline").read_bytes():
                number = int(place.name)
                found += [number] * (os.getpgid(number) == group)
    return found


def wait_for_group(group: int) -> None:
    """Wait until all processes of a group have ended: jobs may outlive their run and save."""
    deadline = time.monotonic() + 60
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.1)


# Each is a signal, and whether all processes of the run get it or only the trainings.
KILLED_ONCE = [(signal.SIGKILL, False), (signal.SIGKILL, True)]
KILLED_OFTEN = [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True), *KILLED_ONCE]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize(
    "signals", [KILLED_ONCE, pytest.param(KILLED_OFTEN, marks=pytest.mark.full)], ids=len
)
def test_a_killed_workflow_resumes(
    tiny_copy: Checkout, signals: list[tuple[signal.Signals, bool]]
) -> None:
    arguments = (
        *("sample", "--configfile", TINY, "--config"),
        "training={steps: 3000, batch_size: 8, sequence_length: 32, checkpoint_every: 20}",
        "models={gru: {cell: gru, hidden_size: 32, embedding_size: 16}}",
    )
    reference = tiny_copy.copy(tiny_copy.folder.parent / "reference")
    assert reference.snakemake(*arguments).returncode == 0
    folder = tiny_copy.folder / "results/tiny/checkpoints"
    for number, all_of_it in signals:
        with (tiny_copy.folder / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
                cwd=tiny_copy.folder,
                env=os.environ | {"PYTHONPATH": str(tiny_copy.folder / "src")},
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        before = set(folder.glob("*/step-*"))
        deadline = time.monotonic() + 120
        while set(folder.glob("*/step-*")) <= before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert process.poll() is None, "it ended too soon to be killed"
        if all_of_it:
            os.killpg(process.pid, number)
        else:
            for training in trainings(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(training, number)
        assert process.wait(60) != 0
        wait_for_group(process.pid)
        if number == signal.SIGINT:
            *_, last = (tiny_copy.folder / "stderr").read_text().splitlines()
            assert re.fullmatch(
                r"interrupted: (train/\w+ is saved at step \d+, )+run the same .*", last
            )
        assert list(folder.glob("*/step-*"))
    done = tiny_copy.snakemake(*arguments)
    assert done.returncode == 0, done.stderr
    assert "resumed from step" in done.stderr
    assert not folder.exists()
    model = "results/tiny/models/gru"
    resumed, whole = (outputs(each.folder / model) for each in (tiny_copy, reference))
    for name in ("model.safetensors", "model.json", "history.csv", "samples.jsonl"):
        assert resumed[name] == whole[name], name

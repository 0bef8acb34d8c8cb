"""The workflow on a real Slurm of one node makes the same bytes, whatever happens to its jobs."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster import slurm
from tests.cluster.slurm import Cluster
from tests.conftest import TINY, Checkout, digests

pytestmark = pytest.mark.cluster

CONFIG = ("--configfile", TINY)
LONG = (*CONFIG, "--config", "training={steps: 1000, validate_every: 500}")
MODEL = "results/tiny/models/lstm"
WEIGHTS = f"{MODEL}/model.safetensors"


@pytest.fixture(scope="session")
def long_run(encoded: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy in which a training that takes long enough to be stopped has run without Slurm."""
    made = encoded.copy(tmp_path_factory.mktemp("long") / "copy")
    done = made.snakemake(WEIGHTS, *LONG)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    """A list for the processes that a test starts; they are killed when it ends."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_checkpoint(checkout: Checkout) -> bool:
    return any((checkout.folder / "results/tiny/checkpoints/lstm").glob("step-*"))


def assert_ends_as_if_never_stopped(
    process: subprocess.Popen[str], checkout: Checkout, long_run: Checkout
) -> None:
    printed, _ = process.communicate(timeout=900)
    assert process.returncode == 0, printed
    assert "Trying to restart job" in printed
    assert "resumed from step" in (checkout.folder / "logs/tiny/train/lstm.log").read_text()
    assert digests(checkout.folder / MODEL) == digests(long_run.folder / MODEL)


def test_slurm_makes_the_same_bytes(
    cluster: Cluster,
    checkout: Checkout,
    tiny_run: Checkout,
    running: list[subprocess.Popen[str]],
) -> None:
    running.append(process := cluster.snakemake(checkout, "--set-scatter", "clean=2", *CONFIG))
    printed, _ = process.communicate(timeout=900)
    assert process.returncode == 0, printed
    assert digests(checkout.folder / "results/tiny") == digests(tiny_run.folder / "results/tiny")
    # Shards and training; also evaluation and samples if both models finish training together.
    assert printed.count("Submitted array job") >= 2
    assert "gpu:1" in cluster.ask("squeue", "-h", "--states=all", "-O", "tres-per-job")


def test_a_cancelled_training_is_submitted_again_and_resumes(
    cluster: Cluster,
    encoded_copy: Checkout,
    long_run: Checkout,
    running: list[subprocess.Popen[str]],
) -> None:
    running.append(process := cluster.snakemake(encoded_copy, WEIGHTS, *LONG))
    wait_for(lambda: has_checkpoint(encoded_copy), process)
    cluster.ask("scancel", *cluster.ask("squeue", "-ho", "%i").split())
    assert_ends_as_if_never_stopped(process, encoded_copy, long_run)


def test_a_training_that_runs_out_of_time_is_submitted_again_and_resumes(
    cluster: Cluster,
    encoded_copy: Checkout,
    long_run: Checkout,
    running: list[subprocess.Popen[str]],
) -> None:
    running.append(process := cluster.snakemake(encoded_copy, WEIGHTS, *LONG))
    wait_for(lambda: has_checkpoint(encoded_copy), process)
    # Time limits are whole minutes: stop the training until Slurm ends it.
    os.kill(trainer(encoded_copy.folder), signal.SIGSTOP)
    [job] = cluster.ask("squeue", "-ho", "%i").split()
    cluster.ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    assert_ends_as_if_never_stopped(process, encoded_copy, long_run)


def trainer(folder: Path) -> int:
    """Return the id of the process that trains in `folder`."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or [""]
        if command[-1].endswith(".train_model.py") and process.info["cwd"] == str(folder):
            return int(process.pid)
    raise AssertionError("no process trains")


def test_a_job_killed_because_of_its_memory_is_reported_in_one_line(
    cluster: Cluster, encoded_copy: Checkout, running: list[subprocess.Popen[str]]
) -> None:
    memory = ("--set-resources", "train_model:mem_mb=60", "--retries", "0")
    running.append(process := cluster.snakemake(encoded_copy, WEIGHTS, *memory, *LONG))
    printed, _ = process.communicate(timeout=900)
    assert process.returncode != 0
    line = (
        "of train_model was killed because of its memory; allow more: --set-resources train_model:"
    )
    assert [each for each in printed.splitlines() if line in each], printed


def test_a_partition_that_does_not_exist_ends_the_run_before_any_job(
    cluster: Cluster, checkout: Checkout
) -> None:
    profile = checkout.folder / "profiles/slurm/config.yaml"
    text = profile.read_text()
    profile.write_text(text.replace("# slurm_partition: NAME", "slurm_partition: nope"))
    printed, _ = cluster.snakemake(checkout, "ingest", *CONFIG).communicate(timeout=300)
    assert "Slurm: there is no partition 'nope'" in printed
    assert "to one of main, short" in printed
    assert "Traceback" not in printed
    assert "submitted" not in printed


def test_without_munge_the_run_ends_before_any_job(tmp_path: Path, checkout: Checkout) -> None:
    if reason := slurm.missing():
        pytest.skip(reason)
    silent = slurm.configure(tmp_path)
    printed, _ = silent.snakemake(checkout, "ingest", *CONFIG).communicate(timeout=300)
    lines = [line for line in printed.splitlines() if line.startswith("Slurm: no answer")]
    assert lines, printed
    assert "munge" in lines[0]
    assert "Traceback" not in printed

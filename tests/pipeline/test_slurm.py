"""Problems of Slurm, and jobs that it killed, are reported in one line each."""

import time
from pathlib import Path

import pytest

from charlm.errors import CharlmError
from charlm.pipeline.slurm import check_cluster, killed_jobs


def test_a_machine_without_slurm_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CharlmError, match=r"^Slurm: sinfo is not installed here; run on"):
        check_cluster([])


def test_only_jobs_that_were_killed_since_the_start_are_reported(tmp_path: Path) -> None:
    logs = {
        "rule_train_model/lstm/7.log": "slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT "
        "2026-01-01T00:00:00 DUE TO TIME LIMIT ***\n",
        "rule_encode/8.log": "slurmstepd-n1: error: StepId=8.0 exceeded memory limit "
        "(268918784 > 104857600), being killed\n",
        "rule_train_model/9_1.log": "slurmstepd: error: Detected 1 oom_kill event in StepId=9.0. "
        "Some of the step tasks have been OOM Killed.\n",
        "rule_clean/10.log": "slurmstepd-n1: error: *** JOB 10 ON n1 CANCELLED AT "
        "2026-01-01T00:00:00 ***\n",
    }
    for name, text in logs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(killed_jobs(tmp_path, since=time.time() - 60)) == [
        "Slurm: job 8 of encode was killed because of its memory; allow more: "
        "--set-resources encode:mem_mb=MEGABYTES",
        "Slurm: job 9_1 of train_model was killed because of its memory; allow more: "
        "--set-resources train_model:mem_mb=MEGABYTES",
        "Slurm: job 7 of train_model was killed because of its run time; allow more: "
        "--set-resources train_model:runtime=MINUTES",
    ]
    assert not list(killed_jobs(tmp_path, since=time.time() + 60))

"""Locks of a run that was killed are removed; those of a run that is alive are not."""

import subprocess
import sys
from pathlib import Path

import pytest

HOLD = """
import sys, time
from charlm.pipeline.run_lock import hold_job_lock, hold_run_lock, mark_cluster_run

hold_run_lock("logs/c", "results/c")
{then}
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Snakemake's locks of a run, and one of another workflow in the same folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".snakemake/locks"
    folder.mkdir(parents=True)
    (folder / "0.input.lock").write_text("posts.csv\nresults/c/corpus.parquet\n")
    (folder / "0.output.lock").write_text("results/c/corpus.parquet\n")
    (folder / "1.output.lock").write_text("results/cd/corpus.parquet\n")
    return folder


def start(then: str = "", code: str = HOLD) -> subprocess.Popen[bytes]:
    """Start a process that holds the lock."""
    command = [sys.executable, "-c", code.format(then=then)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_stale_locks_of_this_run_are_removed_and_live_ones_are_not(locks: Path) -> None:
    first = start()  # Snakemake would write its locks after this
    assert names(locks) == ["1.output.lock"]
    (locks / "0.output.lock").write_text("results/c/corpus.parquet\n")
    start().communicate()  # another process, while the first is alive
    assert names(locks) == ["0.output.lock", "1.output.lock"]
    first.kill()
    first.wait()
    start().communicate()
    assert names(locks) == ["1.output.lock"]


def test_a_job_that_outlives_its_run_keeps_the_locks(locks: Path) -> None:
    run = start()
    (locks / "0.output.lock").write_text("results/c/corpus.parquet\n")
    code = HOLD.replace('hold_run_lock("logs/c", "results/c")', "")
    job = start('hold_job_lock("logs/c/train/lstm.log")', code)
    run.kill()
    run.wait()
    start().communicate()
    assert "0.output.lock" in names(locks)
    job.kill()
    job.wait()
    start().communicate()
    assert "0.output.lock" not in names(locks)


def test_the_locks_of_a_run_on_a_cluster_stay_until_the_user_unlocks(locks: Path) -> None:
    run = start('mark_cluster_run("logs/c")')
    (locks / "0.output.lock").write_text("results/c/corpus.parquet\n")
    run.kill()
    run.wait()
    start().communicate()
    assert "0.output.lock" in names(locks)
    (locks / "0.output.lock").unlink()  # `snakemake --unlock`
    start().communicate()
    (locks / "0.output.lock").write_text("results/c/corpus.parquet\n")
    start().communicate()
    assert "0.output.lock" not in names(locks)

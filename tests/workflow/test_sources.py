"""A source that was replaced is read again; stages after `ingest` run without their source."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Checkout

CONFIG = "corpus: {name: posts, source: posts.csv}\nmodels: {m: {}}\n"
RUN = ("--configfile", "posts.yaml")


@pytest.fixture
def ingested(checkout: Checkout) -> Checkout:
    """A copy in which the posts have been read."""
    (checkout.folder / "posts.yaml").write_text(CONFIG)
    (checkout.folder / "posts.csv").write_text("text\n" + "a new post\n" * 5)
    done = checkout.snakemake("ingest", *RUN)
    assert done.returncode == 0, done.stderr
    return checkout


def test_a_replaced_source_is_noticed_and_a_deleted_one_is_not_missed(ingested: Checkout) -> None:
    assert ingested.planned("ingest", *RUN) == set()
    posts, backup = ingested.folder / "posts.csv", ingested.folder / "backup.csv"
    shutil.copy2(posts, ingested.folder / "same.csv")
    backup.write_text("text\n" + "an old post\n" * 5)
    os.utime(backup, (1, 1))
    backup.replace(posts)  # as `cp -p` and rsync do
    assert "ingest" in ingested.planned("ingest", *RUN)
    posts.unlink()
    (ingested.folder / "same.csv").replace(posts)
    assert "ingest" not in ingested.planned("ingest", *RUN)
    posts.unlink()
    assert ingested.planned("vocabulary", *RUN) == {"clean_shard", "clean", "vocabulary"}
    other = ("--config", "corpus={text_columns: [other]}")  # what was read is of no use for it
    assert "posts.csv: there is no such file" in ingested.snakemake("clean", *RUN, *other).stderr


def test_a_run_goes_on_after_the_one_before_was_killed(ingested: Checkout) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "vocabulary", *RUN]
    run = subprocess.Popen(
        command,
        cwd=ingested.folder,
        env=os.environ | {"PYTHONPATH": str(ingested.folder / "src")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    locks = ingested.folder / ".snakemake/locks"
    while not list(locks.glob("*.output.lock")):
        assert run.poll() is None
    os.killpg(run.pid, signal.SIGSTOP)  # alive, and not done before the second run starts
    second = ingested.snakemake("vocabulary", *RUN)
    assert "cannot be locked" in second.stderr
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert list(locks.glob("*.output.lock"))
    done = ingested.snakemake("vocabulary", *RUN)
    assert done.returncode == 0, done.stderr
    assert Path(ingested.folder / "results/posts/vocabulary.json").exists()

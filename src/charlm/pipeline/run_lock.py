"""The lock that tells whether a run of the workflow, or one of its jobs, is alive.

Snakemake locks the files of a run by files in `.snakemake/locks`, which stay when it is killed
(SIGKILL, a closed terminal, the out-of-memory killer). A lock of the kernel (`flock`) ends with the
processes that hold it: here, the run and all its jobs. So if nobody holds it, Snakemake's locks are
stale, and the next run removes them. A run that is alive is still refused by them.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

STATE = Path(".snakemake")
"""Where Snakemake keeps its state, in the working folder."""

CLUSTER = b"cluster"
"""Marks a run whose jobs may wait or run on other machines, which do not hold the lock."""

_held: dict[Path, int] = {}
"""The open files of the locks that this process holds until it ends."""


def hold_run_lock(logs: str, results: str) -> None:
    """Hold the lock of a run until this process ends; remove stale locks of Snakemake before.

    Args:
        logs: The folder of the run's logs, `logs/{corpus}`, which names the lock: runs of other
            corpora in the same working folder have locks of their own.
        results: The folder of the results, `results/{corpus}`.
    """
    path = _lock_file(logs)
    with suppress(OSError):  # a folder that cannot be written: Snakemake says so
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _held[path] = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with suppress(OSError):  # another process holds the lock
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_stale_locks(handle, results)
        fcntl.flock(handle, fcntl.LOCK_SH)


def hold_job_lock(log: str | Path) -> None:
    """Hold the lock of the run to which a job belongs until this process ends.

    Args:
        log: The job's log, in the folder of the run's logs. Without a run, as in `charlm train`,
            nothing is held.
    """
    for path in map(_lock_file, Path(log).parents):
        with suppress(OSError):
            handle = _held[path] = os.open(path, os.O_RDWR)
            fcntl.flock(handle, fcntl.LOCK_SH)


def mark_cluster_run(logs: str) -> None:
    """Mark a run whose jobs may not hold its lock: the next run leaves its locks alone."""
    if _lock_file(logs) in _held:
        os.pwrite(_held[_lock_file(logs)], CLUSTER, 0)


def _lock_file(logs: str | Path) -> Path:
    return STATE / "charlm_locks" / str(logs).replace("/", "_")


def _remove_stale_locks(handle: int, results: str) -> None:
    """Remove Snakemake's locks of files in `results`, unless the run was on a cluster."""
    stale = [
        path
        for path in (STATE / "locks").glob("*.lock")
        if any(
            line.startswith(f"{results}/")
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        )
    ]
    if not stale:
        os.truncate(handle, 0)
    elif os.pread(handle, len(CLUSTER), 0) != CLUSTER:
        for path in stale:
            path.unlink(missing_ok=True)

"""Problems of a Slurm cluster, and jobs that it killed."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from charlm.errors import CharlmError

KILLS = (
    (
        re.compile(r"exceeded (?:job )?memory limit|oom[_-]kill|out.of.memory handler", re.I),
        "killed because of its memory; allow more: --set-resources {rule}:mem_mb=MEGABYTES",
    ),
    (
        re.compile(r"CANCELLED AT \S+ DUE TO TIME LIMIT"),
        "killed because of its run time; allow more: --set-resources {rule}:runtime=MINUTES",
    ),
)
"""What slurmstepd logs when it kills a job, and the message for the user."""


def check_cluster(partitions: Iterable[str]) -> None:
    """Raise an error unless Slurm answers and has all of `partitions`.

    Raises:
        CharlmError: Slurm is not installed, does not answer or lacks a partition.
    """
    if shutil.which("sinfo") is None:
        raise CharlmError(
            "Slurm: sinfo is not installed here; run on a login node of the cluster, "
            "or without --profile profiles/slurm"
        )
    asked = subprocess.run(
        ["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        # The cause is the line about munge if there is one, else the last line.
        said = re.sub(r"^\w+: (?:fatal|error): ", "", asked.stderr.strip(), flags=re.MULTILINE)
        lines = said.splitlines() or ["sinfo printed nothing"]
        cause = next((line for line in lines if "munge" in line.lower()), lines[-1])
        raise CharlmError(
            f"Slurm: no answer ({cause.strip()}); "
            "start munged and slurmctld, or ask the cluster's administrator"
        )
    known = sorted(set(asked.stdout.split()))
    for partition in partitions:
        if partition not in known:
            raise CharlmError(
                f"Slurm: unknown partition {partition!r}; set slurm_partition in "
                f"profiles/slurm/config.yaml to one of {', '.join(known)}"
            )


def killed_jobs(logs: str | Path, *, since: float) -> Iterator[str]:
    """Yield a line for each job that Slurm killed because of its memory or its run time.

    Args:
        logs: The folder of Slurm's logs, which Snakemake's plugin sorts by rule.
        since: Logs last written before this time, in seconds since 1970, are ignored.
    """
    for log in sorted(Path(logs).glob("rule_*/**/*.log")):
        if log.stat().st_mtime < since:
            continue
        folder, *_ = log.relative_to(logs).parts
        text = log.read_text(encoding="utf-8", errors="replace")
        for pattern, line in KILLS:
            if pattern.search(text):
                rule = folder.removeprefix("rule_")
                yield f"Slurm: job {log.stem} of {rule} was {line.format(rule=rule)}"

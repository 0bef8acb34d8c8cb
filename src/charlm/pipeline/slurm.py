"""What is wrong with a Slurm cluster, or what it did to a job, said in one line."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from charlm.errors import CharlmError

ENDS = (
    (
        re.compile(r"exceeded (?:job )?memory limit|oom[_-]kill|out.of.memory handler", re.I),
        "killed for its memory; give it more, --set-resources {rule}:mem_mb=MEGABYTES",
    ),
    (
        re.compile(r"CANCELLED AT \S+ DUE TO TIME LIMIT"),
        "out of time; give it more, --set-resources {rule}:runtime=MINUTES",
    ),
)
"""What slurmstepd writes into the log of a job that it kills, and what to say of it."""


def check_cluster(partitions: Iterable[str]) -> None:
    """Raise an error where no Slurm answers, or where it lacks one of `partitions`.

    Raises:
        CharlmError: One line: no Slurm on this machine, none that answers, or no such partition.
    """
    if shutil.which("sinfo") is None:
        raise CharlmError(
            "Slurm: there is no sinfo on this machine; run on a login node of the cluster, "
            "or without --profile profiles/slurm"
        )
    asked = subprocess.run(
        ["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        # Of several lines the last but hints is the cause: "... Munge encode failed: ...".
        said = re.sub(r"^\w+: (?:fatal|error): ", "", asked.stderr.strip(), flags=re.MULTILINE)
        lines = said.splitlines() or ["no word from sinfo"]
        cause = next((line for line in lines if "munge" in line.lower()), lines[-1])
        raise CharlmError(
            f"Slurm: it does not answer ({cause.strip()}); "
            "see that munged and slurmctld run, or ask the cluster's administrator"
        )
    known = sorted(set(asked.stdout.split()))
    for partition in partitions:
        if partition not in known:
            raise CharlmError(
                f"Slurm: there is no partition {partition!r}; set slurm_partition in "
                f"profiles/slurm/config.yaml to one of {', '.join(known)}"
            )


def killed_jobs(logs: str | Path, *, since: float) -> Iterator[str]:
    """Yield a line for each job that Slurm killed for its memory or its time.

    Args:
        logs: The folder of Slurm's logs, which Snakemake's plugin sorts by rule.
        since: Logs that were last written before this time, in seconds since 1970, are left out.
    """
    for log in sorted(Path(logs).glob("rule_*/**/*.log")):
        if log.stat().st_mtime < since:
            continue
        folder, *_ = log.relative_to(logs).parts
        text = log.read_text(encoding="utf-8", errors="replace")
        for pattern, line in ENDS:
            if pattern.search(text):
                rule = folder.removeprefix("rule_")
                yield f"Slurm: job {log.stem} of {rule} was {line.format(rule=rule)}"

"""The time and memory of each job of a run."""

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from charlm.job_benchmarks import ENDING, number, read_benchmark
from charlm.report.html import Scale


@dataclass(frozen=True)
class RuleUsage:
    """What one job took."""

    name: str
    """The rule, and the model if it runs once for each."""
    begun: float
    """Seconds after the first job began."""
    seconds: float
    megabytes: float | None
    """The most memory; None if the job was too short to measure it."""
    cores: float | None
    """The mean number of busy cores; None if the job was too short to measure it."""


@dataclass(frozen=True)
class Usage:
    """What the jobs of a run took, in the order in which they began."""

    jobs: Sequence[RuleUsage]
    scale: Scale
    """The scale of time."""
    machine: str
    """The cores and the processors of the machine that makes the report."""


def read_usage(logs: Path) -> Usage | None:
    """Read the benchmarks of a run.

    The report's own job has none yet, and a rule that another run has made may have none.

    Args:
        logs: The folder `logs/{corpus}`.

    Returns:
        What the jobs took; None if there are no benchmarks.
    """
    found = []
    for path in sorted(logs.rglob(f"*{ENDING}")):
        row = read_benchmark(path)
        seconds = number(row.get("s"))
        if seconds is not None:
            name = str(path.relative_to(logs)).removesuffix(ENDING).replace("/", " ")
            begun = path.stat().st_mtime - seconds
            busy = number(row.get("cpu_time"))
            cores = None if busy is None or not seconds else busy / seconds
            found.append(RuleUsage(name, begun, seconds, number(row.get("max_rss")), cores))
    if not found:
        return None
    first = min(job.begun for job in found)
    jobs = [replace(job, begun=job.begun - first) for job in found]
    jobs.sort(key=lambda job: job.begun)
    scale = Scale(0, max(job.begun + job.seconds for job in jobs))
    return Usage(jobs, scale, describe_machine())


def describe_machine() -> str:
    """Return the number of cores and the processors of this machine."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    processor = named[1] if named else platform.processor() or platform.machine()
    cores = os.cpu_count() or 1
    parts = [f"{cores} {'core' if cores == 1 else 'cores'} ({processor})"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)

"""The time and memory of each rule, from the benchmark files that Snakemake writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charlm.report.html import Scale
from charlm.report.results import read_rows

ENDING = ".benchmark.tsv"


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


@dataclass(frozen=True)
class Usage:
    """What the jobs of a run took, in the order in which they began."""

    jobs: Sequence[RuleUsage]
    scale: Scale
    """The scale of time."""


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
        (row,) = read_rows(path, "\t", None, dict)[-1:] or [{}]
        seconds = _number(row.get("s"))
        if seconds is not None:
            name = str(path.relative_to(logs)).removesuffix(ENDING).replace("/", " ")
            begun = path.stat().st_mtime - seconds
            found.append(RuleUsage(name, begun, seconds, _number(row.get("max_rss"))))
    if not found:
        return None
    first = min(job.begun for job in found)
    jobs = [RuleUsage(job.name, job.begun - first, job.seconds, job.megabytes) for job in found]
    jobs.sort(key=lambda job: job.begun)
    return Usage(jobs, Scale(0, max(job.begun + job.seconds for job in jobs)))


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None

"""What a folder of results holds, how long it took, and what a rerun would do."""

import csv
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from charlm.errors import CharlmError
from charlm.job_benchmarks import benchmark_of, number, read_benchmark
from charlm.pipeline.run import environment, python_command, snakemake_command
from charlm.progress import duration


@dataclass
class StageStatus:
    """A stage with the state of its outputs."""

    name: str
    state: str
    """`made`, `missing`, `stale` with the reason, or `waits` for a stage before it."""
    seconds: float = 0.0
    """Time of its jobs, one after the other."""
    size: int = 0
    """Bytes of its outputs."""
    logs: set[str] = field(default_factory=set)


def status(results: str | Path, config: str | None = None) -> list[StageStatus]:
    """Return the stages of a run, in the order in which they run.

    Args:
        results: The folder `results/{corpus}`, below the folder in which the workflow runs.
        config: The configuration; None for the one that `charlm run` takes.

    Raises:
        CharlmError: The configuration is wrong, or is for another corpus.
    """
    command = snakemake_command([config] if config else [], options=["--summary"])
    done = subprocess.run(
        python_command(command),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(),
        check=False,
    )
    if done.returncode:
        *_, last = [line for line in done.stderr.splitlines() if line.strip()] or [""]
        raise CharlmError(last.strip().removeprefix("error: ") or "snakemake failed")
    rows = list(csv.DictReader(done.stdout.splitlines(), delimiter="\t"))
    place = Path(results).as_posix().rstrip("/") + "/"
    if not any(row["output_file"].startswith(place) for row in rows):
        used = command[command.index("--configfile") + 1]
        raise CharlmError(f"{results}: {used} is for other results; name their configuration")
    stages: dict[str, StageStatus] = {}
    for row in rows:
        if row["status"] == "removed temp file":
            continue
        stage = stages.setdefault(row["rule"], StageStatus(row["rule"], "made"))
        stage.size += _size(Path(row["output_file"]))
        stage.logs |= {log for log in row["log-file(s)"].split(",") if log != "-"}
        if row["status"] == "missing":
            stage.state = "missing"
        elif row["plan"] == "update pending" and stage.state != "missing":
            reason = row["status"]
            stage.state = f"stale: {reason}" if reason != "ok" else "stale: a stage before it runs"
    for stage in stages.values():
        stage.seconds = sum(map(_seconds, stage.logs))
    return sorted(stages.values(), key=_first_end)


def describe(stages: list[StageStatus]) -> Iterator[str]:
    """Yield the stages as lines of a table, and what a rerun would do."""
    for stage in stages:
        time = duration(stage.seconds) if stage.seconds else "-"
        size = f"{stage.size / 1e6:.1f} MB" if stage.size else "-"
        yield f"{stage.name:<16} {time:>12} {size:>10}  {stage.state}"
    pending = [stage.name for stage in stages if stage.state != "made"]
    yield f"A rerun would make: {', '.join(pending)}" if pending else "A rerun would do nothing."


def _first_end(stage: StageStatus) -> float:
    """Return when the first job of a stage ended; stages that have not run come last."""
    times = [Path(log).stat().st_mtime for log in stage.logs if Path(log).exists()]
    return min(times, default=float("inf"))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _seconds(log: str) -> float:
    """Return the time of the job with this log; 0 if it is not known."""
    return number(read_benchmark(benchmark_of(log)).get("s")) or 0.0

"""The jobs of a run, as Snakemake recorded them.

Snakemake stores a record of each job in `.snakemake/metadata`, and its benchmark beside its log.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakemake.io import IOFile
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence

from charlm.errors import CharlmError
from charlm.job_benchmarks import benchmark_of, number, read_benchmark

USAGE = {"cpu_time": "SEC", "max_rss": "E63"}
"""Columns of Snakemake's benchmarks and the UN/CEFACT codes of their units: seconds, mebibytes."""


@dataclass
class Job:
    """A job as Snakemake recorded it. Times are in seconds since the epoch."""

    name: str
    rule: str
    script: str
    inputs: Mapping[str, str | None]
    """The files that it read, and the SHA-256 that each had then, if known."""
    outputs: list[str]
    params: list[str]
    start: float
    end: float
    benchmark: Path

    @property
    def code(self) -> str:
        """The digest of the code that ran, which each rule has among its params."""
        found = [param[1:-1] for param in self.params if re.fullmatch("'[0-9a-f]{16}'", param)]
        return found[0] if found else "unknown"

    def usage(self) -> Iterator[tuple[str, str, str]]:
        """Yield the column, unit and value of each figure of Snakemake's benchmark."""
        row = read_benchmark(self.benchmark)
        for column, unit in USAGE.items():
            if number(row.get(column)) is not None:
                yield column, unit, row[column]


def find_jobs(targets: Sequence[str], results: Path) -> list[Job]:
    """Return the jobs that made `targets` and all their inputs, ordered by start.

    Raises:
        CharlmError: Snakemake has no record of how a target was made.
    """
    persistence = FilePersistence(path=Path(".snakemake").resolve())
    jobs: dict[str, Job] = {}
    waiting, seen = list(targets), set(targets)
    for path in waiting:  # grows in the loop
        made = persistence.metadata(IOFile(path))
        if made is None:
            if path in targets:
                raise CharlmError(
                    f"{path}: no record in .snakemake of how it was made; remove it and run again"
                )
        elif made.log[0] not in jobs:
            jobs[made.log[0]] = _job(made)
            waiting += [input for input in made.input if input not in seen]
            seen.update(made.input)
    for path in sorted({*seen, *map(str, results.rglob("*"))}):
        made = persistence.metadata(IOFile(path))
        if made is not None and made.log[0] in jobs:
            jobs[made.log[0]].outputs.append(path)
    return sorted(jobs.values(), key=lambda job: (job.start, job.name))


def recorded_sources(documents: str, corpus: Mapping[str, object]) -> list[str]:
    """Return the files that `ingest` read, or none if it did not run with these settings.

    Args:
        documents: Its output `documents.parquet`.
        corpus: Its parameter of this name.
    """
    if not Path(documents).exists():
        return []
    made = FilePersistence(path=Path(".snakemake").resolve()).metadata(IOFile(documents))
    return list(made.input) if made and repr(corpus) in made.params else []


def job_name(log: str | Path) -> str:
    """Return the name of a job, given its log.

    >>> job_name("logs/movie-reviews/train/lstm.log")
    'train/lstm'
    """
    log = Path(log).with_suffix("")
    return Path(*log.parts[log.parts.index("logs") + 2 :]).as_posix()


def _job(made: MetadataRecord) -> Job:
    log = Path(made.log[0])
    checksums = made.input_checksums or {}
    return Job(
        name=job_name(log),
        rule=made.rule,
        script=Path(made.code.strip().strip('"')).name,
        inputs={path: (checksums.get(path) or ":").split(":")[1] or None for path in made.input},
        outputs=[],
        params=made.params,
        start=made.starttime,
        end=made.endtime,
        benchmark=benchmark_of(log),
    )

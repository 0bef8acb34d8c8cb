"""What jobs took, from the benchmark files that Snakemake writes beside their logs."""

import csv
from collections.abc import Mapping
from pathlib import Path

ENDING = ".benchmark.tsv"


def benchmark_of(log: str | Path) -> Path:
    """Return the benchmark file of the job with this log."""
    return Path(log).with_suffix(ENDING)


def read_benchmark(path: Path) -> Mapping[str, str]:
    """Return the figures of a job by column; none if the file is missing or has no row.

    A figure that could not be measured is `-` or `NA`. The columns are `s`, the seconds,
    `max_rss`, in mebibytes, and others; see Snakemake's documentation of benchmarks.
    """
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return rows[-1] if rows else {}


def number(text: str | None) -> float | None:
    """Return a figure as a number, or None if it was not measured.

    >>> number("1.5"), number("-"), number(None)
    (1.5, None, None)
    """
    try:
        return float(text or "")
    except ValueError:
        return None

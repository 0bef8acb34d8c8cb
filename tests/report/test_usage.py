"""What the jobs of a run took is read from Snakemake's benchmark files."""

import os
import re
from pathlib import Path

from charlm.report.usage import read_usage

HEADER = "s\th:m:s\tmax_rss\tmean_load\tcpu_time\n"


def test_jobs_come_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for name, seconds, memory, busy, ended in (
        ("evaluate", "2.5", "300.5", "2.5", 1040),
        ("train/lstm", "30.0", "512.0", "45.0", 1035),
        ("ingest", "1.0", "-", "-", 1001),
    ):
        path = tmp_path / f"{name}.benchmark.tsv"
        path.write_text(f"{HEADER}{seconds}\t0:00:01\t{memory}\t9.0\t{busy}\n")
        os.utime(path, (ended, ended))
    (tmp_path / "broken.benchmark.tsv").write_text("")
    usage = read_usage(tmp_path)
    assert usage is not None
    assert [(job.name, job.begun, job.seconds, job.megabytes, job.cores) for job in usage.jobs] == [
        ("ingest", 0, 1.0, None, None),
        ("train lstm", 5, 30.0, 512.0, 1.5),
        ("evaluate", 37.5, 2.5, 300.5, 1.0),
    ]
    assert usage.scale.position(20) == "50.00%"
    assert re.match(r"[1-9]\d* cores? \(.+\)", usage.machine)


def test_a_run_without_benchmarks_has_no_usage(tmp_path: Path) -> None:
    assert read_usage(tmp_path / "logs") is None

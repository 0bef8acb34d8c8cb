"""`charlm status` says what is made, what is stale, and what a rerun would do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.cli import main
from charlm.progress import duration
from tests.conftest import TINY, Checkout


def status(checkout: Checkout, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "charlm.cli", "status", *arguments],
        cwd=checkout.folder,
        env=os.environ | {"PYTHONPATH": str(checkout.folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_missing_and_what_follows_from_it_is_named(tiny_copy: Checkout) -> None:
    lines = status(tiny_copy, "results/tiny", TINY).stdout.splitlines()
    assert lines[-2] == "A rerun would do nothing."
    assert lines[-1].startswith("best model: ")
    assert re.fullmatch(r"ingest +- +[\d.]+ MB  made", lines[0]), "it can be cached, hence no time"
    report = next(filter(None, (re.match(r"report +(.*?) s +([\d.]+) MB  made", x) for x in lines)))
    benchmark = (tiny_copy.folder / "logs/tiny/report.benchmark.tsv").read_text().splitlines()[1]
    assert report[1] + " s" == duration(float(benchmark.split("\t")[0]))
    pages = (tiny_copy.folder / "results/tiny").glob("report*.html")
    assert float(report[2]) == round(sum(page.stat().st_size for page in pages) / 1e6, 1)

    (tiny_copy.folder / "results/tiny/models/gru/samples.jsonl").unlink()
    lines = status(tiny_copy, "results/tiny", TINY).stdout.splitlines()
    states = dict(re.findall(r"^(\w+) .*  (\S.*)$", "\n".join(lines[:-2]), re.M))
    assert states["sample_model"] == "missing"
    assert states["train_model"] == "made"
    assert states["report"].startswith("stale")
    assert lines[-2] == "A rerun would make: sample_model, memorization, report"


def test_the_configuration_of_other_results_is_refused(tiny_run: Checkout, tmp_path: Path) -> None:
    done = status(tiny_run, "results/tiny")
    assert done.returncode == 1
    message = "results/tiny: config/config.yaml is for other results; name their configuration"
    assert done.stderr == f"charlm: {message}\n"


def test_a_mistake_in_the_configuration_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("corpus: {nam: a, name: a, source: a.csv}\n")
    assert main(["status", "results/a", "bad.yaml"]) == 1
    message = f"{tmp_path}/bad.yaml: corpus.nam: unknown key; did you mean 'name'?"
    assert capsys.readouterr().err == f"charlm: {message}\n"

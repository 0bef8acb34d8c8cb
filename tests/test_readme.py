"""The README's way from a CSV to a model works as written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SECTION = "## From your own CSV to a model in five minutes\n"


@pytest.mark.full
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_csv_becomes_a_model_and_a_report(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text("utf-8").split(SECTION)[1].split("\n## ")[0]
    commands = re.findall(r"^```\n(.*?)^```$", section, re.M | re.S)[0]
    assert "charlm run my.yaml" in commands
    command = tmp_path / "bin/charlm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m charlm.cli "$@"\n')
    command.chmod(0o755)
    posts = (f"{n},post {n} is about {n % 7} cats and {n % 5} dogs" for n in range(300))
    (tmp_path / "posts.csv").write_text("id,body\n" + "\n".join(posts) + "\n")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{command.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = tmp_path / "results/posts/report.html"
    assert report.exists()
    assert f"report: {report.as_uri()}" in done.stderr

"""The files that package indexes, archives and catalogues read agree with the package."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import charlm
from tests.conftest import ROOT, new_checkout

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_the_version_is_the_same_everywhere() -> None:
    versions = {
        "CITATION.cff": yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"],
        "codemeta.json": json.loads((ROOT / "codemeta.json").read_text())["version"],
    }
    assert versions == dict.fromkeys(versions, charlm.__version__)


def test_pixi_installs_the_package_by_its_name() -> None:
    packages = tomllib.loads((ROOT / "pixi.toml").read_text())["pypi-dependencies"]
    assert packages == {
        charlm.DISTRIBUTION: {"path": ".", "editable": True, "extras": ["workflow"]}
    }


def test_the_workflow_and_the_package_need_the_same_snakemake() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [requirement] = [
        each for each in project["optional-dependencies"]["workflow"] if "snakemake>" in each
    ]
    [stated] = re.findall(r'min_version\("(.*)"\)', (ROOT / "workflow/Snakefile").read_text())
    assert requirement == f"snakemake>={stated}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_jobs_run_targets_that_exist(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job.get("steps", [])]
    commands = "\n".join(step.get("run", "") for step in steps)
    targets = re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"^make (\S+)", commands, re.M)) <= set(targets)
    assert set(jobs) >= {need for job in jobs.values() for need in [job.get("needs")] if need}


def test_the_dependencies_table_names_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs/dependencies.md").read_text()
    named = set(re.findall(r"[\w-]+", " ".join(re.findall(r"^\| ([^|]*) \|", page, re.M))))
    needed = project["dependencies"] + project["optional-dependencies"]["workflow"]
    assert {re.split(r"[\[<>=]", each)[0].lower() for each in needed} <= {*named}


@pytest.mark.parametrize(
    ("arguments", "status"), [(["--lint"], 0), (["--dry-run", "--cores", "1"], 1)]
)
def test_without_the_package_one_line_says_how_to_install_it(
    tmp_path: Path, arguments: list[str], status: int
) -> None:
    folder = new_checkout(tmp_path / "checkout").folder
    run = "import sys; sys.modules['charlm'] = None; from snakemake.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", run, *arguments],
        cwd=folder,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    [line] = [line for line in done.stdout.splitlines() if "pip install" in line]
    assert "package of this workflow is incomplete or missing" in line
    assert "Traceback" not in done.stdout

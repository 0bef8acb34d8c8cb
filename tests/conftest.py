"""Shared fixtures: copies of the repository, and runs of the tiny preset."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
TINY = "config/presets/tiny.yaml"

# Hypothesis tries few inputs, always the same; many with `--hypothesis-profile=all`.
settings.register_profile("few", max_examples=50, derandomize=True, deadline=None)
settings.register_profile(
    "all", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("few")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that take minutes first, so that the workers finish at about the same time."""
    slowest = ("*/training/test_interruption.py", "*/workflow/test_*.py")
    items.sort(key=lambda item: not any(map(item.path.match, slowest)))


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository in which Snakemake runs."""

    folder: Path

    def snakemake(self, *arguments: str, cores: str = "2") -> subprocess.CompletedProcess[str]:
        """Run Snakemake with `arguments` in this copy."""
        return subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", cores, *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder / "src")},
            capture_output=True,
            text=True,
            check=False,
        )

    def planned(self, *arguments: str) -> set[str]:
        """Return the names of the rules that Snakemake would run."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return set(re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE))

    def copy(self, folder: Path) -> "Checkout":
        """Return a copy of this copy, including its results."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Checkout(folder)


def new_checkout(folder: Path) -> Checkout:
    """Copy the files of the working tree that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return Checkout(folder)


def digests(results: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, without the times in it."""
    found = {}
    for path in sorted(results.rglob("*")):
        if path.is_file() and path.name != "timing.json":
            data = path.read_bytes()
            if path.suffix == ".html":
                data, found_times = re.subn(rb"(?s)<(\w+)[^<>]* data-clock.*?</\1>", b"", data)
                assert found_times == 2
            found[str(path.relative_to(results))] = hashlib.sha256(data).hexdigest()
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh copy of the repository."""
    return new_checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Checkout:
    """A copy in which the tiny preset has run. Tests must not change it."""
    if worker_id == "master":
        folder = tmp_path_factory.mktemp("tiny")
    else:  # shared by the workers of pytest-xdist
        folder = tmp_path_factory.getbasetemp().parent / "tiny"
    with FileLock(folder.with_suffix(".lock")):
        made = Checkout(folder)
        if not (folder / "results/tiny/report.html").exists():
            shutil.rmtree(folder, ignore_errors=True)
            done = new_checkout(folder).snakemake("--configfile", TINY)
            assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def tiny_copy(tiny_run: Checkout, tmp_path: Path) -> Checkout:
    """A copy in which the tiny preset has run, which a test may change."""
    return tiny_run.copy(tmp_path / "copy")
